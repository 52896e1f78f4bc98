//! Costs of a known size.

use std::{
    io::Write as _,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    process::{Command, Stdio},
};

use super::{
    command,
    network::{Network, inside},
    run, succeeded,
};

/// How a program is attached to tc.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A tcx link (6.6 and later): goes with its file descriptor.
    Tcx,
    /// A filter of a clsact qdisc: goes with its device.
    Clsact,
}

/// What the spinning program answers.
pub const TC_ACT_OK: i32 = 0;
/// Let the next program or filter decide.
pub const TC_ACT_UNSPEC: i32 = -1;

/// A cost.
#[derive(Clone, Copy, Debug)]
pub enum Cost {
    /// A tc program that spins for so many nanoseconds.
    Spin {
        /// Nanoseconds.
        ns: i32,
        /// Side, that is namespace, of the device.
        side: &'static str,
        /// The device.
        device: &'static str,
        /// Egress or ingress.
        egress: bool,
        /// How it is attached.
        hook: Hook,
        /// What it answers.
        verdict: i32,
    },
    /// So many rules of nftables on the bridge's forward hook, none of which matches.
    Rules(u32),
    /// A token bucket of so many megabits a second at the server's port.
    Shape(u32),
}

/// An injected cost; removed when dropped.
pub struct Injected<'a> {
    network: &'a Network,
    cost: Cost,
    _link: Option<OwnedFd>,
}

/// Puts a cost into the network.
pub fn inject(network: &Network, cost: Cost) -> Injected<'_> {
    let link = match cost {
        Cost::Spin { ns, side, device, egress, hook, verdict } => {
            let program = spinner(ns, verdict);
            match hook {
                Hook::Tcx => Some(attach_tcx(&program, network, side, device, egress)),
                Hook::Clsact => {
                    attach_clsact(&program, network, side, device, egress);
                    None
                }
            }
        }
        Cost::Rules(count) => {
            let mut rules = String::from(
                "table bridge truth {\n chain forward {\n  type filter hook forward priority 0; policy accept;\n",
            );
            for rule in 0..count {
                rules += &format!("  ether saddr 02:00:00:00:{:02x}:{:02x} drop\n", rule >> 8, rule & 255);
            }
            rules += " }\n}\n";
            fed(&network.path("middle"), &["nft", "-f", "-"], &rules);
            None
        }
        Cost::Shape(megabits) => {
            let rate = format!("{megabits}mbit");
            let words = ["tc", "qdisc", "add", "dev", "veth-server", "root", "tbf", "rate", &rate, "burst", "3000"];
            network.run("middle", &[&words[..], &["latency", "200ms"]].concat());
            None
        }
    };
    Injected { network, cost, _link: link }
}

impl Drop for Injected<'_> {
    fn drop(&mut self) {
        let words = match self.cost {
            Cost::Spin { side, device, hook: Hook::Clsact, .. } => {
                self.network.enter(side, &["tc", "qdisc", "del", "dev", device, "clsact"])
            }
            Cost::Spin { .. } => return,
            Cost::Rules(_) => self.network.enter("middle", &["nft", "delete", "table", "bridge", "truth"]),
            Cost::Shape(_) => self.network.enter("middle", &["tc", "qdisc", "del", "dev", "veth-server", "root"]),
        };
        let _ = command(&words).output();
    }
}

/// Runs a program in a namespace with this input; its standard output.
pub fn fed(namespace: &str, words: &[&str], input: &str) -> String {
    let mut child = Command::new("nsenter")
        .arg(format!("--net={namespace}"))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    succeeded(&child.wait_with_output().unwrap())
}

/// Turns of the loop at most: more than the longest spin needs; the verifier follows no more than 8192 jumps.
const TURNS: i32 = 4_000;

/// One instruction.
pub fn instruction(code: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> u64 {
    u64::from(code)
        | u64::from(destination | source << 4) << 8
        | u64::from(offset as u16) << 16
        | u64::from(immediate as u32) << 32
}

/// A tc program that reads the clock until `ns` have passed.
pub fn spinner(ns: i32, verdict: i32) -> OwnedFd {
    const CALL_KTIME: (u8, i32) = (0x85, 5);
    let program = [
        instruction(CALL_KTIME.0, 0, 0, 0, CALL_KTIME.1),
        instruction(0xbf, 7, 0, 0, 0),     // r7 = r0
        instruction(0xb7, 8, 0, 0, TURNS), // r8 = TURNS
        instruction(CALL_KTIME.0, 0, 0, 0, CALL_KTIME.1),
        instruction(0x1f, 0, 7, 0, 0),  // r0 -= r7
        instruction(0x35, 0, 0, 2, ns), // if r0 >= ns goto +2
        instruction(0x07, 8, 0, 0, -1), // r8 -= 1
        instruction(0x55, 8, 0, -5, 0), // if r8 != 0 goto -5
        instruction(0xb7, 0, 0, 0, verdict),
        instruction(0x95, 0, 0, 0, 0),
    ];
    load(3, &program, "load the spinning program") // BPF_PROG_TYPE_SCHED_CLS
}

/// A tc program that goes through a loop so many times, fewer than [`TURNS`]: where instructions are the clock, a cost of an exact
/// size.
pub fn counted(loops: i32, verdict: i32) -> OwnedFd {
    assert!((1..TURNS).contains(&loops), "{loops}");
    let program = [
        instruction(0xb7, 8, 0, 0, loops), // r8 = loops
        instruction(0x07, 8, 0, 0, -1),    // r8 -= 1
        instruction(0x55, 8, 0, -2, 0),    // if r8 != 0 goto -2
        instruction(0xb7, 0, 0, 0, verdict),
        instruction(0x95, 0, 0, 0, 0),
    ];
    load(3, &program, "load the counted program") // BPF_PROG_TYPE_SCHED_CLS
}

/// Loads a program of this kind.
pub fn load(kind: u64, program: &[u64], what: &str) -> OwnedFd {
    let license = c"GPL";
    let mut attributes = [0u64; 16];
    attributes[0] = kind | (program.len() as u64) << 32;
    attributes[1] = program.as_ptr() as u64;
    attributes[2] = license.as_ptr() as u64;
    bpf(5, &attributes, what)
}

fn bpf(command: i32, attributes: &[u64; 16], what: &str) -> OwnedFd {
    // SAFETY: the attributes and what they point to outlive the call; a result of 0 or more is a new descriptor.
    unsafe {
        let result = libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(attributes));
        assert!(result >= 0, "cannot {what}: {}", std::io::Error::last_os_error());
        OwnedFd::from_raw_fd(result as i32)
    }
}

fn attach_tcx(program: &OwnedFd, network: &Network, side: &str, device: &str, egress: bool) -> OwnedFd {
    // BPF_TCX_EGRESS, BPF_TCX_INGRESS
    link(program, &network.path(side), device, if egress { 47 } else { 46 })
}

/// Attaches a program to a device by a link, which goes with its descriptor.
pub fn link(program: &OwnedFd, namespace: &str, device: &str, kind: u64) -> OwnedFd {
    let device = std::ffi::CString::new(device).unwrap();
    let program = program.as_raw_fd();
    let attach = move || {
        // SAFETY: the name outlives the call.
        let index = unsafe { libc::if_nametoindex(device.as_ptr()) };
        assert_ne!(index, 0, "no device {device:?}");
        let mut attributes = [0u64; 16];
        attributes[0] = program as u64 | u64::from(index) << 32;
        attributes[1] = kind;
        bpf(28, &attributes, "attach a link")
    };
    inside(namespace, attach).join().unwrap()
}

fn attach_clsact(program: &OwnedFd, network: &Network, side: &str, device: &str, egress: bool) {
    // A BPF file system of the test's own: not every machine has one.
    let mount = std::env::temp_dir().join(format!("{}-bpf", network.namespace(side)));
    std::fs::create_dir_all(&mount).unwrap();
    let directory = mount.to_str().unwrap();
    run(&["mount", "-t", "bpf", "none", directory]);
    let pin = format!("{directory}/spin");
    let path = std::ffi::CString::new(pin.clone()).unwrap();
    let mut attributes = [0u64; 16];
    attributes[0] = path.as_ptr() as u64;
    attributes[1] = program.as_raw_fd() as u64;
    // SAFETY: the attributes and the path outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, 6, attributes.as_ptr(), size_of_val(&attributes)) };
    let error = std::io::Error::last_os_error();
    let way = if egress { "egress" } else { "ingress" };
    let filter = ["tc", "filter", "add", "dev", device, way, "bpf", "da", "object-pinned", &pin];
    let words = network.enter(side, &filter);
    network.run(side, &["tc", "qdisc", "add", "dev", device, "clsact"]);
    let output = command(&words).output();
    run(&["umount", directory]);
    let _ = std::fs::remove_dir(&mount);
    assert_eq!(result, 0, "cannot pin: {error}");
    succeeded(&output.unwrap());
}
