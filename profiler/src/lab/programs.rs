//! The programs that drive a workload: whether they can do what is asked, and their words.

use std::{net::SocketAddr, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, bail};

use super::{cleanup::Lab, mesh, network::Network};
use crate::{
    choices::{
        Builtin, Driver, ELEPHANT_BYTES, External, FLOW_BYTES, Neighbour, Program, Tool, Workload, workload_names,
    },
    cli::{Ip, LabRunArgs, Pin},
    failure::Failure,
    host::{process, program},
};

/// How long a program may take to say its version.
const STEP: Duration = Duration::from_secs(10);
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
    let Driver::External(External { tool, .. }) = workload.driver else { return Ok(()) };
    if args.pin != Pin::None {
        return Err(Failure::Usage(format!("--pin works with the built-in workloads, not with {name}")));
    }
    if let Some(missing) = tool.programs().into_iter().find(|program| program::find_system(program.name).is_none()) {
        return Err(Failure::Refused(format!(
            "{} is not installed (Debian: apt-get install {})",
            missing.name, missing.package
        )));
    }
    if args.ip == Ip::V6 && matches!(tool, Tool::Sockperf(_)) {
        let mut command = Command::new(tool.programs()[0].name);
        command.arg("--version");
        let said = process::run(command, STEP, true);
        if let Some(old) = said.ok().as_deref().and_then(without_ipv6) {
            return Err(Failure::Refused(format!("sockperf speaks IPv6 since 3.8, and this is {old}")));
        }
    }
    if matches!(tool, Tool::Sockperf(_)) && args.pairs > 1 {
        return Err(Failure::Usage("sockperf drives one pair; use --pairs 1 or a built-in workload".into()));
    }
    Ok(())
}

/// The release of a sockperf that has no IPv6, from what it says of its version.
fn without_ipv6(said: &str) -> Option<&str> {
    let release = said.split_once("version ")?.1.split(|c: char| c != '.' && !c.is_ascii_digit()).next()?;
    let (major, minor) = release.split_once('.')?;
    let number: (u32, u32) = (major.parse().ok()?, minor.split('.').next()?.parse().ok()?);
    (number < (3, 8)).then_some(release)
}

/// Bytes of one message: the sizes that are asked for, or the workload's own.
pub fn message_sizes(workload: &Workload, args: &LabRunArgs) -> Vec<u64> {
    if args.size.is_empty() { vec![workload.default_size()] } else { args.size.clone() }
}

/// What one run of the traffic is to be.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// How long it measures.
    pub duration: Duration,
    /// Requests a second as a run before had them, for programs that count requests.
    pub rate: Option<f64>,
}

impl From<Duration> for Load {
    fn from(duration: Duration) -> Self {
        Self { duration, rate: None }
    }
}

/// The words of server and client.
pub fn words(
    workload: &Workload,
    args: &LabRunArgs,
    lab: &Lab,
    network: &Network,
    load: Load,
) -> anyhow::Result<[Vec<String>; 2]> {
    let size = message_sizes(workload, args).first().copied().unwrap_or_default();
    match workload.driver {
        Driver::Builtin(builtin) => {
            let program = path_of(&program::netstrata()?)?;
            let words = worker_words(workload.name, builtin, &size.to_string(), args, network, load.duration);
            let mut words = words.map(|words| std::iter::once(program.clone()).chain(words).collect::<Vec<_>>());
            let places = mesh::places(args, network)?;
            if !places.is_empty() {
                words[0].extend(mesh::words(&places, 1, PORT));
                words[1].extend(mesh::words(&places, 0, PORT));
            }
            Ok(words)
        }
        Driver::External(external) => {
            let found = |program: Program| {
                let file = program::find_system(program.name);
                path_of(&file.with_context(|| format!("{} is not installed", program.name))?)
            };
            let [server, client] = external.tool.programs().map(found);
            external_words([&server?, &client?], external, size, args, lab, network, load)
        }
    }
}

fn path_of(program: &Path) -> anyhow::Result<String> {
    Ok(program.to_str().context("the program's path is not UTF-8")?.to_owned())
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
    let listen = SocketAddr::new(network.address, PORT).to_string();
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
    // The first process is the client, and listens to nobody.
    let (listen, target) = match builtin {
        Builtin::AllToAll => {
            let second = SocketAddr::new(network.address, PORT + 1).to_string();
            (second.clone(), second)
        }
        _ => (listen, network.target(PORT).to_string()),
    };
    [("--listen", listen, server), ("--connect", target, client)].map(|(side, socket, cpu)| {
        let words = ["lab", "worker", side, &socket].map(str::to_owned);
        words.into_iter().chain(common.clone()).chain(cpu.iter().map(|word| (*word).to_owned())).collect()
    })
}

/// The words of both sides of programs of others.
fn external_words(
    [server, client]: [&str; 2],
    External { tool, udp }: External,
    size: u64,
    args: &LabRunArgs,
    lab: &Lab,
    network: &Network,
    load: Load,
) -> anyhow::Result<[Vec<String>; 2]> {
    let (target, pairs) = (network.target(PORT), args.pairs.to_string());
    let (port, address) = (PORT.to_string(), network.address.to_string());
    let (target_port, target_address) = (target.port().to_string(), target.ip().to_string());
    let to = (target_address.as_str(), target_port.as_str());
    // All of them take whole seconds.
    let (seconds, bytes) = (load.duration.as_secs_f64().ceil().to_string(), size.to_string());
    let words: [Vec<&str>; 2] = match tool {
        Tool::Iperf3 => {
            // As fast as the socket takes it, not iperf3's own 1 Mbit/s.
            let udp: &[&str] = if udp { &["-u", "-b", "0"] } else { &[] };
            let words = [client, "-c", to.0, "-p", to.1, "-t", &seconds, "-J", "-P", &pairs, "-l", &bytes];
            [vec![server, "-s", "-1", "-J", "-p", &port], [&words, udp].concat()]
        }
        Tool::Sockperf(test) => {
            let tcp: &[&str] = if udp { &[] } else { &["--tcp"] };
            let listens = [server, "server", "-i", &address, "-p", &port];
            let words = [client, test, "-i", to.0, "-p", to.1, "-t", &seconds, "-m", &bytes];
            [[&listens, tcp].concat(), [&words[..], tcp].concat()]
        }
        Tool::Http => {
            let directory = lab.directory().join("nginx");
            return Ok([
                web_server(server, &path_of(&directory)?, &SocketAddr::new(network.address, PORT).to_string(), size)?,
                [client, "-t", "1", "-c", &pairs, "-d", &seconds, "--latency", &format!("http://{target}/")]
                    .map(str::to_owned)
                    .into(),
            ]);
        }
        Tool::Redis => {
            let requests = requests(load, args.pairs).to_string();
            // It keeps nothing, so that it writes nothing.
            let listens =
                ["--bind", &address, "--port", &port, "--save", "", "--appendonly", "no", "--protected-mode", "no"];
            let asks = ["-h", to.0, "-p", to.1, "-c", &pairs, "-n", &requests, "-d", &bytes, "-t", "set"];
            return Ok([(server, &listens[..]), (client, &asks)].map(|(program, words)| {
                std::iter::once(program).chain(words.iter().copied()).map(str::to_owned).collect()
            }));
        }
    };
    Ok(words.map(|words| words.into_iter().map(str::to_owned).collect()))
}

/// Requests where nobody knows yet how many a second there are: few enough for an emulated processor.
const FIRST_REQUESTS: u64 = 1000;

/// How many requests a run has that is to take so long.
pub fn requests(load: Load, pairs: u32) -> u64 {
    let least = FIRST_REQUESTS.max(10 * u64::from(pairs));
    load.rate.map_or(least, |rate| ((rate * load.duration.as_secs_f64()) as u64).max(least))
}

/// What makes a page and a configuration in a directory of the lab's, and becomes nginx: where the server runs may be a container, which
/// sees no file of this machine.
const WEB_SERVER: &str = "mkdir -p \"$1\" && printf %s \"$2\" >\"$1/nginx.conf\" && printf %s \"$3\" >\"$1/index.html\" && \
                          exec \"$0\" -e stderr -p \"$1\" -c \"$1/nginx.conf\"";

/// The words of a web server with one page of this size: one process, which keeps all that it writes in the directory.
fn web_server(nginx: &str, directory: &str, listens: &str, size: u64) -> anyhow::Result<Vec<String>> {
    let shell = path_of(&program::find_system("sh").context("sh is not installed")?)?;
    let own = |name: &str| format!("{name}_temp_path {directory}/{name};");
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(own).concat();
    // A single process is the one worker. Connections last as long as the client wants.
    let configuration = format!(
        "daemon off; master_process off; user root root; error_log stderr; pid {directory}/pid; events {{ worker_connections 512; }} \
         http {{ access_log off; default_type text/plain; sendfile on; tcp_nopush on; keepalive_timeout 1h; \
         keepalive_requests 1000000000; {temporary} \
         server {{ listen {listens}; root {directory}; }} }}"
    );
    let page = "x".repeat(size as usize);
    Ok([&shell, "-c", WEB_SERVER, nginx, directory, &configuration, &page].map(str::to_owned).into())
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
    fn what_counts_requests_has_as_many_as_fit_into_its_time() {
        let load = |rate, seconds| Load { duration: Duration::from_secs(seconds), rate };
        assert_eq!(requests(load(None, 5), 1), FIRST_REQUESTS);
        assert_eq!(requests(load(None, 5), 500), 5000);
        assert_eq!(requests(load(Some(20_000.0), 5), 1), 100_000);
        assert_eq!(requests(load(Some(10.0), 1), 1), FIRST_REQUESTS, "a rate of a slow start decides nothing");
    }

    #[test]
    fn a_web_server_writes_into_its_directory_only() {
        let words = web_server("/usr/sbin/nginx", "/run/lab/1/nginx", "10.0.0.2:5201", 5).expect("there is a shell");
        assert_eq!((&words[3], &words[6]), (&"/usr/sbin/nginx".to_owned(), &"xxxxx".to_owned()));
        let paths: Vec<&str> = words[5].split([' ', ';']).filter(|word| word.starts_with('/')).collect();
        assert!(paths.len() >= 7 && paths.iter().all(|path| path.starts_with("/run/lab/1/nginx")), "{paths:?}");
    }

    #[test]
    fn a_sockperf_without_ipv6_is_known_by_its_release() {
        let said = |release: &str| format!("sockperf, version {release} \n   compiled 2021-08-23 12:14:23\n");
        let old = ["3.7-no.git", "2.8", "3.8-no.git", "3.10-0.git", "4.0"]
            .map(|release| without_ipv6(&said(release)).is_some());
        assert_eq!(old, [true, true, false, false, false]);
        assert_eq!((without_ipv6("version x"), without_ipv6("")), (None, None));
    }

    #[test]
    fn floods_use_ports_behind_the_pairs() {
        let neighbours = vec![Neighbour::UdpFlood, Neighbour::Busy { count: 2, share: None }, Neighbour::UdpFlood];
        assert_eq!(ports_used(&LabRunArgs { pairs: 3, neighbours, ..LabRunArgs::default() }), 5);
    }
}
