//! The programs that drive a workload: whether they can do what is asked, and their words.

use std::{net::SocketAddrV4, time::Duration};

use anyhow::{Context as _, bail};

use super::network::Network;
use crate::{
    choices::{Builtin, Driver, ELEPHANT_BYTES, External, FLOW_BYTES, Neighbour, Workload, workload_names},
    cli::{LabRunArgs, Pin},
    failure::Failure,
    host::program,
};

/// The port of the first pair.
pub const PORT: u16 = 5201;

/// Ports that a run uses, from [`PORT`] on: one for each pair, and one for each flood beside them.
pub fn ports_used(args: &LabRunArgs) -> u32 {
    let floods = args.neighbours.iter().filter(|neighbour| **neighbour == Neighbour::UdpFlood).count();
    args.pairs + floods as u32
}

/// The workload that is asked for, if its program is installed and it can do what is asked.
pub fn find(args: &LabRunArgs) -> anyhow::Result<&'static Workload> {
    let name = args.workload.as_str();
    let Some(workload) = Workload::find(name) else {
        let known = format!("{}, {}", workload_names(true), workload_names(false));
        bail!(Failure::Usage(format!("unknown workload `{name}`; known: {known}")));
    };
    check(workload, args)?;
    Ok(workload)
}

fn check(workload: &Workload, args: &LabRunArgs) -> Result<(), Failure> {
    let Workload { name, sizes, .. } = workload;
    if let Some(size) = args.size.iter().find(|size| !sizes.contains(size)) {
        let (least, most) = (sizes.start(), sizes.end());
        return Err(Failure::Usage(format!(
            "--size of {name} lies within {least} and {most} bytes, and {size} does not"
        )));
    }
    let flows = args.flow_size.is_some() || args.elephants.is_some() || args.elephant_size.is_some();
    if flows && workload.driver != Driver::Builtin(Builtin::Fct) {
        return Err(Failure::Usage(format!(
            "--flow-size, --elephants and --elephant-size belong to --workload fct, not to {name}"
        )));
    }
    if args.elephant_size.is_some() && args.elephants.is_none() {
        return Err(Failure::Usage("--elephant-size needs --elephants SHARE, like --elephants 20%".into()));
    }
    let Driver::External(External { program, .. }) = workload.driver else { return Ok(()) };
    if args.pin != Pin::None {
        return Err(Failure::Usage(format!("--pin works with the built-in workloads, not with {name}")));
    }
    if program::find_system(program).is_none() {
        return Err(Failure::Refused(format!("{program} is not installed (Debian: apt-get install {program})")));
    }
    if program == "sockperf" && args.pairs > 1 {
        return Err(Failure::Usage("sockperf drives one pair; use --pairs 1 or a built-in workload".into()));
    }
    Ok(())
}

/// Bytes of one message: the sizes that are asked for, or the workload's own.
pub fn message_sizes(workload: &Workload, args: &LabRunArgs) -> Vec<u64> {
    if args.size.is_empty() { vec![workload.default_size()] } else { args.size.clone() }
}

/// The words of server and client.
pub fn words(
    workload: &Workload,
    args: &LabRunArgs,
    network: &Network,
    duration: Duration,
) -> anyhow::Result<[Vec<String>; 2]> {
    let size = message_sizes(workload, args).first().copied().unwrap_or_default().to_string();
    let (program, [server, client]) = match workload.driver {
        Driver::Builtin(builtin) => {
            (program::netstrata()?, worker_words(workload.name, builtin, &size, args, network, duration))
        }
        Driver::External(external) => {
            let program = program::find_system(external.program);
            let program = program.with_context(|| format!("{} is not installed", external.program))?;
            (program, external_words(external, &size, args, network, duration))
        }
    };
    let program = program.to_str().context("the program's path is not UTF-8")?.to_owned();
    Ok([server, client].map(|words: Vec<String>| std::iter::once(program.clone()).chain(words).collect()))
}

/// The words of both sides of a built-in workload.
fn worker_words(
    name: &str,
    builtin: Builtin,
    size: &str,
    args: &LabRunArgs,
    network: &Network,
    duration: Duration,
) -> [Vec<String>; 2] {
    let listen = SocketAddrV4::new(network.address, PORT).to_string();
    let pairs = args.pairs.to_string();
    let mut common: Vec<String> =
        ["--workload", name, "--size", size, "--pairs", &pairs, "--duration"].map(str::to_owned).into();
    common.push(format!("{}ms", duration.as_millis().max(1)));
    if builtin == Builtin::Fct {
        let elephant = args.elephant_size.unwrap_or(ELEPHANT_BYTES);
        common.extend(["--flow-size".into(), args.flow_size.unwrap_or(FLOW_BYTES).to_string()]);
        common.extend(["--elephant-size".into(), elephant.to_string()]);
        common.extend(["--elephants".into(), args.elephants.unwrap_or(0.0).to_string()]);
    }
    let patience = network.client.patience();
    if !patience.is_zero() {
        common.extend(["--patience".into(), format!("{}ms", patience.as_millis())]);
    }
    let (server, client): (&[&str], &[&str]) = match args.pin {
        Pin::None => (&[], &[]),
        Pin::Same => (&["--cpu", "0"], &["--cpu", "0"]),
        Pin::Different => (&["--cpu", "1"], &["--cpu", "0"]),
    };
    let target = network.target(PORT).to_string();
    [("--listen", listen, server), ("--connect", target, client)].map(|(side, socket, cpu)| {
        let words = ["lab", "worker", side, &socket].map(str::to_owned);
        words.into_iter().chain(common.clone()).chain(cpu.iter().map(|word| (*word).to_owned())).collect()
    })
}

/// The words of both sides of a program of others.
fn external_words(
    external: External,
    size: &str,
    args: &LabRunArgs,
    network: &Network,
    duration: Duration,
) -> [Vec<String>; 2] {
    let (target, pairs) = (network.target(PORT), args.pairs.to_string());
    let (port, address) = (PORT.to_string(), network.address.to_string());
    let (target_port, target_address) = (target.port().to_string(), target.ip().to_string());
    // Both programs take whole seconds.
    let seconds = duration.as_secs_f64().ceil().to_string();
    let words: [Vec<&str>; 2] = match external.test {
        None => {
            // As fast as the socket takes it, not iperf3's own 1 Mbit/s.
            let udp: &[&str] = if external.udp { &["-u", "-b", "0"] } else { &[] };
            let client = ["-c", &target_address, "-p", &target_port, "-t", &seconds, "-J", "-P", &pairs, "-l", size];
            [vec!["-s", "-1", "-J", "-p", &port], [&client, udp].concat()]
        }
        Some(test) => {
            let tcp: &[&str] = if external.udp { &[] } else { &["--tcp"] };
            let server = ["server", "-i", &address, "-p", &port];
            let client = [test, "-i", &target_address, "-p", &target_port, "-t", &seconds, "-m", size];
            [[&server, tcp].concat(), [&client[..], tcp].concat()]
        }
    };
    words.map(|words| words.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(workload: &str, change: impl FnOnce(&mut LabRunArgs)) -> Result<&'static str, u8> {
        let mut args = LabRunArgs { workload: workload.into(), pairs: 1, ..LabRunArgs::default() };
        change(&mut args);
        find(&args)
            .map(|workload| workload.name)
            .map_err(|error| error.downcast::<Failure>().expect("a failure").code())
    }

    #[test]
    fn unknown_workloads_and_sizes_are_wrong_usage() {
        assert_eq!(found("ftp", |_| ()), Err(2));
        assert_eq!(found("udp-rr", |args| args.size = vec![64, 70_000]), Err(2));
        assert_eq!(found("udp-stream", |args| args.size = vec![65_507]), Ok("udp-stream"));
        assert_eq!(found("udp-stream", |args| args.size = vec![65_508]), Err(2));
        assert_eq!(found("iperf3-udp", |args| args.size = vec![65_508]), Err(2));
        assert_eq!(found("tcp-rr", |args| args.size = vec![1]), Ok("tcp-rr"));
    }

    #[test]
    fn options_of_flows_belong_to_flows() {
        assert_eq!(found("tcp-stream", |args| args.elephants = Some(0.2)), Err(2));
        assert_eq!(found("fct", |args| args.elephant_size = Some(1)), Err(2));
        assert_eq!(found("fct", |args| args.elephants = Some(0.2)), Ok("fct"));
    }

    #[test]
    fn floods_use_ports_behind_the_pairs() {
        let neighbours = vec![Neighbour::UdpFlood, Neighbour::Busy { count: 2, share: None }, Neighbour::UdpFlood];
        assert_eq!(ports_used(&LabRunArgs { pairs: 3, neighbours, ..LabRunArgs::default() }), 5);
    }
}
