//! What a CPU works on: the packet, the open hooks, and the time since the last event.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use netstrata_common::{
    ARMED, CALIBRATING, CpuState, Current, Head, Hook, Journey, Loss, MAX_FRAMES, MAX_HOOKS, MAX_TOUCHED, Points,
    Taken, Work,
};

use crate::{
    cpu::{now, state},
    maps::{FUNCTION_HEAD, FUNCTION_WORK, JOURNEYS},
};

pub const SPAN: u32 = Hook::Span as u32;

#[inline(always)]
pub fn head() -> Option<&'static mut Head> {
    // SAFETY: the entry is this CPU's own.
    FUNCTION_HEAD.get_ptr_mut(0).map(|head| unsafe { &mut *head })
}

#[inline(always)]
pub fn work_of(level: u32) -> Option<&'static mut Work> {
    // SAFETY: the entry is this CPU's own; one context of it.
    FUNCTION_WORK.get_ptr_mut(level & 1).map(|work| unsafe { &mut *work })
}

#[inline(always)]
fn journey_of(current: &Current) -> Option<&'static mut Journey> {
    // SAFETY: a valid pointer into the map.
    JOURNEYS.get_ptr_mut(current.slot.wrapping_sub(1)).map(|journey| unsafe { &mut *journey })
}

/// What the hook took since the last crossing.
#[inline(always)]
pub fn taken<'a>(head: &mut Head, work: &'a mut Work, hook: u32) -> &'a mut Taken {
    let index = hook as usize & (MAX_HOOKS - 1);
    let (generation, touched) = (work.generation, work.touched as usize);
    if work.taken[index].generation != generation {
        work.taken[index] = Taken { generation, ..Taken::default() };
        if touched < MAX_TOUCHED {
            work.list[touched & (MAX_TOUCHED - 1)] = index as u8;
            work.touched = touched as u32 + 1;
        } else {
            head.lost[Loss::FunctionTooMany] += 1;
        }
    }
    &mut work.taken[index]
}

/// Makes everything void that was taken since the last crossing.
#[inline(always)]
pub fn forget(work: &mut Work) {
    work.generation += 1;
    work.touched = 0;
}

/// The innermost open hook that was opened since the last crossing.
#[inline(always)]
pub fn top(work: &Work, base: u32) -> u32 {
    if work.depth > base {
        work.frames[work.depth.wrapping_sub(1) as usize & (MAX_FRAMES - 1)].hook as u32
    } else {
        SPAN
    }
}

/// Charges the time until `now`.
#[inline(always)]
pub fn charge(head: &mut Head, work: &mut Work, since: u64, now: u64) {
    let hook = top(work, work.current.base);
    let since = if work.current.since_ns > since { work.current.since_ns } else { since };
    let ns = now.saturating_sub(since);
    taken(head, work, hook).ns += ns;
    work.current.since_ns = if now > since { now } else { since };
}

#[inline(always)]
pub fn set_busy(head: &mut Head, level: u32, work: &Work) {
    head.busy[level as usize & 1] = (work.current.slot != 0) as u32 | work.depth;
}

/// When the current packet's last crossing was, if the CPU still works on it; else `None`.
#[inline(always)]
pub fn alive(level: u32) -> Option<u64> {
    let since = function_alive(level as u64);
    (since != NOT_ALIVE).then_some(since)
}

const NOT_ALIVE: u64 = u64::MAX;

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn function_alive(level: u64) -> u64 {
    work_of(level as u32).and_then(|work| last_crossing(&work.current, level as u32)).unwrap_or(NOT_ALIVE)
}

#[inline(always)]
fn last_crossing(current: &Current, level: u32) -> Option<u64> {
    let cpu = state()?;
    match current.slot {
        0 => None,
        // The choice was made, or the packet was chosen and crossed.
        ARMED => (cpu.pending_socket != 0).then_some(0),
        CALIBRATING => Some(0),
        _ => {
            let journey = journey_of(current)?;
            // In a softirq the next packet's reception is the end of this one's. A task may have been interrupted by one.
            let another =
                level != 0 && Points::TAKE_UP.has(cpu.point) && (cpu.object != journey.skb || cpu.in_list != 0);
            (journey.skb != 0 && journey.id == current.id && journey.count == current.count && !another)
                .then_some(journey.last_ns)
        }
    }
}

/// The CPU no longer works on the current packet; it may go on with the one before.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn function_over(level: u64, now: u64) -> i32 {
    let (Some(head), Some(work)) = (head(), work_of(level as u32)) else { return 0 };
    forget(work);
    let (base, outer) = (work.current.base, work.outer);
    work.current = outer;
    work.outer.slot = 0;
    if outer.slot == 0 {
        return 0;
    }
    // What lay between is the work of the function that was open when the inner packet was made.
    let hook = if base > outer.base {
        work.frames[base.wrapping_sub(1) as usize & (MAX_FRAMES - 1)].hook as u32
    } else {
        SPAN
    };
    let nested = work.nested;
    let taken = taken(head, work, hook);
    taken.ns += now.saturating_sub(outer.since_ns);
    for (all, nested) in taken.nested.iter_mut().zip(nested) {
        *all += nested;
    }
    work.current.since_ns = now;
    0
}

/// Cuts time out of the journey of a packet that the CPU works on.
#[inline(always)]
pub fn shift(current: &mut Current, ns: u64) {
    times(current).shift(ns);
    current.since_ns += ns;
}

/// Where the times of a packet are that the CPU works on.
enum Times {
    None,
    Armed(&'static mut CpuState),
    Of(&'static mut Journey),
}

impl Times {
    #[inline(always)]
    fn shift(self, ns: u64) {
        match self {
            Times::None => {}
            Times::Armed(cpu) => cpu.pending_ns += ns,
            Times::Of(journey) => {
                journey.start_ns += ns;
                journey.last_ns += ns;
            }
        }
    }
}

#[inline(always)]
fn times(current: &Current) -> Times {
    match current.slot {
        0 => Times::None,
        // Nobody's journey, so that what is measured does what is done for a packet.
        // SAFETY: a valid pointer into the map.
        CALIBRATING => JOURNEYS.get_ptr_mut(0).map_or(Times::None, |journey| Times::Of(unsafe { &mut *journey })),
        ARMED => state().map_or(Times::None, Times::Armed),
        _ => match journey_of(current) {
            Some(journey) if journey.id == current.id => Times::Of(journey),
            _ => Times::None,
        },
    }
}

/// Cuts what this program took out of the journeys that the CPU works on.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn function_cut(level: u64, begun: u64, exits: u64) -> i32 {
    let (Some(head), Some(work)) = (head(), work_of(level as u32)) else { return 0 };
    if work.outer.slot != 0 {
        let ns = now().wrapping_sub(begun);
        shift(&mut work.outer, ns);
    }
    let times = times(&work.current);
    let place = exits as usize & 1;
    // As little as can be after the last look at the clock: that time is the packet's.
    let ended = now();
    let ns = ended.wrapping_sub(begun);
    match times {
        Times::None => head.tally.ns[place] += ns,
        _ => head.tally.cut_ns[place] += ns,
    }
    times.shift(ns);
    work.current.since_ns = ended;
    0
}

/// Another task than the one that works on the packet runs; its hooks are nobody's.
#[inline(always)]
pub fn is_other_task(work: &Work, level: u32) -> bool {
    level == 0 && work.current.slot != CALIBRATING && work.task != bpf_get_current_pid_tgid()
}
