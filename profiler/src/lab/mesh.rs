//! All-to-all: which process runs where, and with which words.

use std::{net::SocketAddr, rc::Rc};

use super::network::{At, Network};
use crate::{
    choices::{Builtin, Driver, Workload},
    cli::LabRunArgs,
    failure::Failure,
};

/// The fewest that are more than a pair's two ends.
const LEAST: u32 = 2;

/// Processes of all-to-all that are asked for; 0 for other workloads.
pub fn processes(args: &LabRunArgs) -> u32 {
    let wanted = Workload::find(&args.workload).is_some_and(|found| found.driver == Driver::Builtin(Builtin::AllToAll));
    if wanted { args.pairs.max(LEAST) } else { 0 }
}

/// Where each process runs, the client's first, and the address of each; none for other workloads.
///
/// # Errors
/// [`Failure::Usage`] for a mode that has no place for them.
pub fn places(args: &LabRunArgs, network: &Network) -> Result<Vec<At>, Failure> {
    let count = processes(args) as usize;
    if count == 0 {
        return Ok(Vec::new());
    }
    let two = [&network.client, &network.server].map(|place| (place.clone(), network.address));
    if std::ptr::addr_eq(Rc::as_ptr(&network.client), Rc::as_ptr(&network.server)) {
        // All on one stack.
        return Ok(two.into_iter().cycle().take(count).collect());
    }
    let found: Vec<_> = two.into_iter().chain(network.others.iter().cloned()).take(count).collect();
    if found.len() < count {
        return Err(Failure::Usage(format!(
            "all-to-all of {count} needs a container for each: modes none, host and bridge have them"
        )));
    }
    Ok(found)
}

/// What tells a process which one it is, and where all of them are; `port` is the first one's.
pub fn words(places: &[At], rank: usize, port: u16) -> Vec<String> {
    let peers: Vec<String> =
        places.iter().zip(0..).map(|((_, at), rank)| SocketAddr::new(*at, port + rank).to_string()).collect();
    ["--rank".to_owned(), rank.to_string(), "--peers".into(), peers.join(",")].into()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{
        host::process::Process,
        lab::{cleanup::Lab, network::Place},
    };

    struct Nowhere;

    impl Place for Nowhere {
        fn spawn(&self, _: &Lab, _: &[String]) -> anyhow::Result<Process> {
            anyhow::bail!("there is nothing")
        }
    }

    fn args(workload: &str, pairs: u32) -> LabRunArgs {
        LabRunArgs { workload: workload.into(), pairs, ..LabRunArgs::default() }
    }

    #[test]
    fn each_process_has_a_place_of_its_own_or_all_share_one() {
        let (one, other): (Rc<dyn Place>, Rc<dyn Place>) = (Rc::new(Nowhere), Rc::new(Nowhere));
        let shared = Network::new(one.clone(), one.clone(), Ipv4Addr::LOCALHOST);
        assert_eq!(places(&args("all-to-all", 4), &shared).unwrap().len(), 4);
        assert_eq!(places(&args("tcp-rr", 4), &shared).unwrap().len(), 0);
        let mut apart = Network::new(one.clone(), other.clone(), Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(places(&args("all-to-all", 1), &apart).unwrap().len(), 2);
        let refused = places(&args("all-to-all", 3), &apart).map(|found| found.len()).unwrap_err();
        assert!(refused.to_string().contains("none, host and bridge"), "{refused}");
        apart.others.push((one, Ipv4Addr::new(10, 0, 0, 3).into()));
        let found = places(&args("all-to-all", 3), &apart).unwrap();
        assert_eq!(words(&found, 2, 5201), ["--rank", "2", "--peers", "10.0.0.2:5201,10.0.0.2:5202,10.0.0.3:5203"]);
    }
}
