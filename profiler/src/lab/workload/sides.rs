//! Both sides of a workload: the sockets, a thread for each pair, a common start and a common end.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{Arc, Barrier},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};

use super::{ANSWERED, CONNECT_LIMIT, FlowPlan, Pair, connections, flow_plan, tcp, udp};
use crate::{
    choices::Builtin,
    cli::LabWorkerArgs,
    host::cpu::{CpuTimes, CpuUse},
    output::print,
    profile::measures::MachineUse,
};

fn offset(address: SocketAddr, pair: u32) -> anyhow::Result<SocketAddr> {
    let port = u32::from(address.port()) + pair;
    Ok(SocketAddr::new(address.ip(), u16::try_from(port).context("ports end at 65535")?))
}

fn join(threads: Vec<thread::JoinHandle<io::Result<Pair>>>) -> anyhow::Result<Vec<Pair>> {
    let mut results = Vec::new();
    for handle in threads {
        match handle.join() {
            Ok(result) => results.push(result?),
            Err(_) => bail!("a thread of the worker panicked"),
        }
    }
    Ok(results)
}

/// A socket of a server.
pub enum Listening {
    /// Of streams.
    Tcp(TcpListener),
    /// Of datagrams.
    Udp(UdpSocket),
}

/// Listens for each pair.
pub fn listen(workload: Builtin, address: SocketAddr, pairs: u32) -> anyhow::Result<Vec<Listening>> {
    let mut sockets = Vec::new();
    for pair in 0..pairs {
        let address = offset(address, pair)?;
        let socket = if workload.is_udp() {
            UdpSocket::bind(address).map(Listening::Udp)
        } else {
            TcpListener::bind(address).map(Listening::Tcp)
        };
        sockets.push(socket.with_context(|| format!("cannot listen on {address}"))?);
    }
    Ok(sockets)
}

/// Serves one client with each socket. Prints `ready`.
pub fn serve(workload: Builtin, sockets: Vec<Listening>, args: &LabWorkerArgs) -> anyhow::Result<Vec<Pair>> {
    let size = args.size as usize;
    let mut threads = Vec::new();
    for socket in sockets {
        threads.push(thread::Builder::new().name("ns-server".into()).spawn(move || answer(workload, &socket, size))?);
    }
    print("ready\n")?;
    join(threads)
}

/// The server's side of a pair.
fn answer(workload: Builtin, socket: &Listening, size: usize) -> io::Result<Pair> {
    use Builtin::{AllToAll, Fct, TcpCrr, TcpRr, TcpStream, UdpRr, UdpStream};
    match (workload, socket) {
        (TcpStream, Listening::Tcp(listener)) => tcp::sink(listener.accept()?.0, size),
        (TcpRr, Listening::Tcp(listener)) => tcp::echo(listener.accept()?.0, size),
        (TcpCrr, Listening::Tcp(listener)) => connections::answer_each(listener, size),
        (Fct, Listening::Tcp(listener)) => connections::read_flows(listener, size),
        (UdpStream, Listening::Udp(socket)) => udp::count(socket, size),
        (UdpRr, Listening::Udp(socket)) => udp::answer(socket, size),
        // Of all-to-all no side is a pair's.
        (AllToAll, _)
        | (TcpStream | TcpRr | TcpCrr | Fct, Listening::Udp(_))
        | (UdpStream | UdpRr, Listening::Tcp(_)) => Err(mismatch()),
    }
}

/// Sockets are made for the workload that they are used by.
fn mismatch() -> io::Error {
    io::Error::other("the workload has no such socket")
}

enum Target {
    Tcp(TcpStream),
    Udp(UdpSocket),
    /// Each transaction or flow connects anew.
    Address(SocketAddr),
}

fn reach(workload: Builtin, address: SocketAddr) -> io::Result<Target> {
    match workload {
        Builtin::TcpStream | Builtin::TcpRr => TcpStream::connect_timeout(&address, CONNECT_LIMIT).map(Target::Tcp),
        Builtin::UdpStream | Builtin::UdpRr => {
            let any: SocketAddr = if address.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
            UdpSocket::bind(any).and_then(|socket| socket.connect(address).map(|()| Target::Udp(socket)))
        }
        Builtin::TcpCrr | Builtin::Fct | Builtin::AllToAll => Ok(Target::Address(address)),
    }
}

/// The client's side of a pair.
fn ask(
    workload: Builtin,
    target: &Target,
    size: usize,
    duration: Duration,
    (plan, first): (FlowPlan, u64),
) -> io::Result<Pair> {
    use Builtin::{AllToAll, Fct, TcpCrr, TcpRr, TcpStream, UdpRr, UdpStream};
    match (workload, target) {
        (TcpStream, Target::Tcp(stream)) => tcp::pour(stream, size, duration),
        (TcpRr, Target::Tcp(stream)) => tcp::ask(stream, size, duration),
        (TcpCrr, Target::Address(address)) => connections::ask_each(*address, size, duration),
        (Fct, Target::Address(address)) => connections::send_flows(*address, plan, first, size, duration),
        (UdpStream, Target::Udp(socket)) => udp::flood(socket, size, duration),
        (UdpRr, Target::Udp(socket)) => udp::ask(socket, size, duration),
        (AllToAll | TcpStream | TcpRr | TcpCrr | Fct | UdpStream | UdpRr, _) => Err(mismatch()),
    }
}

/// What the machine did, of which nothing else is known yet.
pub fn machine_use(used: CpuUse) -> MachineUse {
    MachineUse {
        cpus: used.cpus,
        elapsed_ns: used.elapsed_ns,
        busy_ns: used.busy_ns,
        busy_share: used.busy_share,
        ..MachineUse::default()
    }
}

/// Runs all pairs from a common start, and looks at the machine before and after.
pub fn drive(
    workload: Builtin,
    address: SocketAddr,
    args: &LabWorkerArgs,
    pairs: u32,
) -> anyhow::Result<(Vec<Pair>, Option<MachineUse>)> {
    let mut targets = Vec::new();
    for pair in 0..pairs {
        let address = offset(address, pair)?;
        targets.push(reach(workload, address).with_context(|| format!("cannot connect to {address}"))?);
    }
    if args.announce
        && let Some(Target::Tcp(stream)) = targets.first_mut()
    {
        tcp::ask_once(stream, args.size as usize)?;
        print(&format!("{ANSWERED}\n"))?;
    }
    let plan = flow_plan(args);
    let (start, end) = (Arc::new(Barrier::new(targets.len() + 1)), Arc::new(Barrier::new(targets.len() + 1)));
    let (size, duration) = (args.size as usize, args.duration);
    let mut threads = Vec::new();
    for (number, target) in targets.into_iter().enumerate() {
        let (start, end) = (start.clone(), end.clone());
        threads.push(thread::Builder::new().name("ns-client".into()).spawn(move || {
            start.wait();
            // Pairs begin at different places of the plan, so that their elephants do not come together.
            let result = ask(workload, &target, size, duration, (plan, number as u64));
            end.wait();
            match target {
                Target::Tcp(_) => {}
                Target::Udp(socket) => udp::end_datagrams(&socket),
                Target::Address(address) => connections::end(address),
            }
            result
        })?);
    }
    let before = CpuTimes::now();
    start.wait();
    end.wait();
    // Where the kernel does not tell, there is no such figure.
    let machine = before.and_then(|before| Ok(CpuTimes::now()?.since(&before))).ok().flatten();
    Ok((join(threads)?, machine.map(machine_use)))
}
