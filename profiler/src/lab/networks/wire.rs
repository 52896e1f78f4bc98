//! Modes of two machines with a wire: client and server in an emulated machine each, joined by network cards. Each machine
//! records itself.

use std::{cell::RefCell, rc::Rc, time::Duration};

use anyhow::Context as _;

use super::local::ADDRESSES;
use crate::{
    choices::{Clock, DEFAULT_KERNEL, RunsOn, find_kernel},
    host::{emulated, process::Process, program},
    lab::{
        cleanup::Lab,
        guest::{Boot, Guest},
        namespace::Namespace,
        network::{Network, Place, Recorder, Site},
    },
};

/// Queues of a card, one for each CPU of its machine.
const QUEUES: u32 = 2;
/// The bridge that is the wire.
const WIRE: &str = "wire0";
/// Where a machine keeps its recording.
const RECORDING: &str = "/tmp/recording";
/// An emulated processor verifies programs, and writes a recording, in a minute if its host is busy.
const PATIENCE: Duration = Duration::from_secs(180);
/// The card where the environment names no other one that qemu has: e1000e, vmxnet3, igb.
const CARD: &str = "virtio-net-pci";
/// Variable that does.
const CARD_VARIABLE: &str = "NETSTRATA_CARD";

/// Addresses of the hosts, where containers have others.
const HOSTS: [&str; 2] = ["192.168.77.2", "192.168.77.3"];
/// What of a machine's kernel is loaded: drivers of cards, and devices.
const DRIVERS: &[&str] =
    &["virtio_pci", "virtio_net", "e1000e", "vmxnet3", "igb", "veth", "bridge", "vxlan", "bonding", "8021q"];

/// One of the two machines: the programs of its side run on the host itself, or in a container there.
struct End {
    guest: Guest,
    /// Words before those of a program.
    enter: &'static [&'static str],
    /// Options of the recording that the next program is run under.
    recording: RefCell<Option<Vec<String>>>,
}

impl End {
    fn spawn_inside(&self, lab: &Lab, words: &[String]) -> anyhow::Result<Process> {
        Process::spawn(self.guest.exec(words)?, None, libc::SIGKILL, Some(&lab.children()))
    }
}

impl Place for End {
    fn spawn(&self, lab: &Lab, words: &[String]) -> anyhow::Result<Process> {
        let mut all = Vec::new();
        if let Some(options) = self.recording.take() {
            let program = program::netstrata()?;
            let program = program.to_str().context("the program's path is not UTF-8")?;
            all.extend([program, "record", "-o", RECORDING].map(str::to_owned));
            all.extend(options);
            all.push("--".into());
        }
        all.extend(self.enter.iter().map(|word| (*word).to_owned()));
        all.extend(words.iter().cloned());
        self.spawn_inside(lab, &all)
    }

    fn inside(&self, _child: u32) -> u32 {
        self.guest.id()
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }

    fn sweep(&self) {
        self.guest.sweep();
    }

    fn recorder(&self) -> Option<&dyn Recorder> {
        Some(self)
    }
}

impl Recorder for End {
    fn record_next(&self, options: Vec<String>) {
        self.recording.replace(Some(options));
    }

    fn recorded(&self, lab: &Lab) -> anyhow::Result<Process> {
        self.spawn_inside(lab, &["/bin/busybox", "base64", RECORDING].map(str::to_owned))
    }
}

/// The cards themselves.
pub fn host(site: &mut Site<'_>) -> anyhow::Result<Network> {
    build(site, &[], &|_, own| format!("ip address add {own}/24 dev eth0\nip link set eth0 up\n"))
}

/// On each host a container at a bridge, of which the card is a port.
pub fn bridge(site: &mut Site<'_>) -> anyhow::Result<Network> {
    build(site, CONTAINER, &|_, own| container(own) + "ip link set eth0 master br0\nip link set eth0 up\n")
}

/// On each host a container at a bridge, of which a VXLAN over the cards is a port.
pub fn vxlan(site: &mut Site<'_>) -> anyhow::Result<Network> {
    build(site, CONTAINER, &|side, own| {
        let (here, there) = (HOSTS[side], HOSTS[1 - side]);
        container(own)
            + &format!(
                "ip address add {here}/24 dev eth0\nip link set eth0 up\n\
                 ip link add vx0 type vxlan id 77 dstport 4789 local {here} remote {there}\n\
                 ip link set vx0 master br0\nip link set vx0 up\n\
                 ip -n pod link set eth0 mtu 1450\n"
            )
    })
}

/// A VLAN on a bond of the card. The driver makes the first bond when it is loaded.
pub fn bond_vlan(site: &mut Site<'_>) -> anyhow::Result<Network> {
    build(site, &[], &|_, own| {
        format!(
            "ip link set bond0 type bond mode active-backup miimon 100\n\
             ip link set eth0 down\nip link set eth0 master bond0\nip link set bond0 up\n\
             ip link add link bond0 name bond0.77 type vlan id 77\n\
             ip address add {own}/24 dev bond0.77\nip link set bond0.77 up\n"
        )
    })
}

const CONTAINER: &[&str] = &["/bin/ip", "netns", "exec", "pod"];

/// Makes a container that is at a bridge of its host.
fn container(address: &str) -> String {
    format!(
        "ip netns add pod\nip -n pod link set lo up\n\
         ip link add br0 type bridge\nip link set br0 up\n\
         ip link add veth-pod type veth peer name eth0 netns pod\n\
         ip link set veth-pod master br0\nip link set veth-pod up\n\
         ip -n pod address add {address}/24 dev eth0\nip -n pod link set eth0 up\n"
    )
}

/// Boots both machines at a wire. `set_up` says what is made in them: of the side and its address.
fn build(
    site: &Site<'_>,
    enter: &'static [&'static str],
    set_up: &dyn Fn(usize, &str) -> String,
) -> anyhow::Result<Network> {
    let kernel = match (emulated::inside(), site.args.machine) {
        (Some((kernel, _)), _) | (None, RunsOn::Emulated(kernel)) => kernel,
        (None, RunsOn::Here) => find_kernel(DEFAULT_KERNEL)?,
    };
    let wire = site.namespace("wire")?;
    wire.add_bridge(WIRE)?;
    let card = std::env::var(CARD_VARIABLE).unwrap_or_else(|_| CARD.to_owned());
    let mut guests = Vec::new();
    for (side, name) in ["tap-client", "tap-server"].into_iter().enumerate() {
        add_tap(&wire, name, card == CARD)?;
        let boot = Boot {
            kernel,
            cpus: QUEUES,
            memory_mib: 1536,
            card: card_words(&card, name, side),
            drivers: DRIVERS,
            programs: &["ip", "ethtool", "tc"],
            set_up: set_up(side, &ADDRESSES[side].to_string()),
            parameters: emulated::kernel_parameters(kernel, Clock::Wall),
        };
        guests.push(Guest::boot(site.lab, &wire, &format!("{}-{name}", site.mode), &boot)?);
    }
    // Both come up beside each other.
    for guest in &mut guests {
        guest.wait().context("the machine does not start")?;
    }
    let [client, server] = <[Guest; 2]>::try_from(guests)
        .map_err(|_| anyhow::anyhow!("two machines"))?
        .map(|guest| End { guest, enter, recording: RefCell::new(None) });
    Ok(Network::new(Rc::new(client), Rc::new(server), ADDRESSES[1]).keep(wire))
}

/// A tap device at the wire: with several queues, and the header that lets whole segments through, where the card has them.
fn add_tap(wire: &Namespace, name: &str, whole: bool) -> anyhow::Result<()> {
    let mut words = vec!["tuntap", "add", "dev", name, "mode", "tap"];
    if whole {
        words.extend(["vnet_hdr", "multi_queue"]);
    }
    wire.ip(&words)?;
    wire.ip(&["link", "set", name, "master", WIRE])?;
    wire.up(name)
}

/// The words of qemu for a card.
fn card_words(card: &str, tap: &str, side: usize) -> Vec<String> {
    let whole = card == CARD;
    let queues = if whole { format!(",queues={QUEUES}") } else { String::new() };
    let vectors = if whole { format!(",mq=on,vectors={}", 2 * QUEUES + 2) } else { String::new() };
    [
        "-netdev".to_owned(),
        format!("tap,id=card,ifname={tap},script=no,downscript=no,vhost=off{queues}"),
        "-device".into(),
        format!("{card},netdev=card,mac=02:00:00:00:77:0{}{vectors}", side + 2),
    ]
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_of_another_driver_has_one_queue_and_cuts_itself() {
        let words = card_words(CARD, "tap-client", 0).join(" ");
        assert!(words.contains("queues=2 ") && words.contains("mq=on,vectors=6"), "{words}");
        let words = card_words("e1000e", "tap-client", 1).join(" ");
        assert!(!words.contains("queues=") && words.ends_with("e1000e,netdev=card,mac=02:00:00:00:77:03"), "{words}");
    }

    #[test]
    fn containers_are_behind_a_bridge() {
        assert!(container("10.0.0.1").contains("address add 10.0.0.1/24"));
    }
}
