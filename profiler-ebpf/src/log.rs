//! What programs say where something rare happens that a user or a bug report needs.
//!
//! The loader sets the level before the programs are verified, and off is its default: then the verifier sees that nothing
//! is said, and takes the branches away. So a level is asked only on ways that are rare anyway. Each message is a function
//! of its own that takes numbers: so its buffers are not on the stack of its caller, of which there is little, and the
//! verifier checks it once.

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_log_ebpf::{
    debug,
    macro_support::{Level, level_enabled},
    warn,
};
use netstrata_common::{Loss, Lost, Point};

/// What messages are filed under.
macro_rules! say {
    ($say:ident, $($text:tt)*) => { $say!((), target: "netstrata", $($text)*) };
}

/// Whether the oddities of single packets are told, of which there may be many.
#[inline(always)]
pub fn tells_packets() -> bool {
    level_enabled(Level::Debug)
}

/// Whether it is told what makes a whole recording doubtful.
#[inline(always)]
pub fn tells_doubts() -> bool {
    level_enabled(Level::Warn)
}

/// Counts a loss; the first of its kind on a CPU is told, with what was lost.
#[inline(always)]
pub fn lose(lost: &mut Lost, loss: Loss, weight: u64, what: u64) {
    if tells_doubts() && lost[loss] == 0 {
        say_loss(loss as u64, what);
    }
    lost[loss] += weight;
}

/// Names in one piece, filled up with spaces: programs have no tables with pointers to text.
#[repr(transparent)]
struct Names<const LENGTH: usize, const COUNT: usize>([[u8; LENGTH]; COUNT]);

impl<const LENGTH: usize, const COUNT: usize> Names<LENGTH, COUNT> {
    #[inline(always)]
    fn of(&self, value: u64) -> &str {
        // SAFETY: the names are ASCII, or the table would not have been made.
        unsafe { core::str::from_utf8_unchecked(&self.0[value as usize & (COUNT - 1)]) }
    }
}

/// Makes the names of an enumeration, for a power of two of values.
macro_rules! names {
    ($of:ident, $count:literal) => {{
        const LENGTH: usize = {
            let (mut longest, mut at) = (0, 0);
            while at < $of::ALL.len() {
                let length = $of::ALL[at].name().len();
                longest = if length > longest { length } else { longest };
                at += 1;
            }
            longest
        };
        let (mut names, mut at) = ([[b' '; LENGTH]; $count], 0);
        while at < $of::ALL.len() {
            let name = $of::ALL[at].name();
            assert!(name.is_ascii());
            let mut letter = 0;
            while letter < name.len() {
                names[at][letter] = name.as_bytes()[letter];
                letter += 1;
            }
            at += 1;
        }
        Names(names)
    }};
}
static POINTS: Names<11, 32> = names!(Point, 32);
static LOSSES: Names<21, 32> = names!(Loss, 32);

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn say_loss(loss: u64, what: u64) -> i32 {
    // SAFETY: a helper without arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    say!(warn, "CPU {}: first loss of this kind ({:x}): {}", cpu, what, LOSSES.of(loss));
    0
}

/// A device has no namespace or no index: offsets may be wrong.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn say_odd_device(device: u64, netns: u64, ifindex: u64) -> i32 {
    say!(warn, "device {:x} has namespace {} and index {}: are the offsets right?", device, netns, ifindex);
    0
}

/// A crossing cannot follow the last one of what was followed at its address.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn say_stale(packet: u64, from: u64, to: u64) -> i32 {
    say!(
        debug,
        "packet {:x} cannot be the one that was followed here: {} -> {}",
        packet,
        POINTS.of(from),
        POINTS.of(to)
    );
    0
}

/// A crossing lies before the last one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn say_backwards(packet: u64, ns: u64, to: u64) -> i32 {
    say!(debug, "packet {:x} crosses {} ns before its last crossing: {}", packet, ns, POINTS.of(to));
    0
}

/// A journey has no room for another crossing beside its latest.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn say_too_long(packet: u64, to: u64) -> i32 {
    say!(debug, "packet {:x} has crossed too often for its crossings to be kept: {}", packet, POINTS.of(to));
    0
}

/// The spans of a journey do not sum to its time.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn say_mixed(id: u64, ns: u64) -> i32 {
    say!(debug, "journey {} of {} ns does not sum: two packets in one slot", id, ns);
    0
}

/// There are too many programs that read and answer.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn say_turns_full(pid: u64) -> i32 {
    say!(debug, "no room for the answers of process {}", pid);
    0
}
