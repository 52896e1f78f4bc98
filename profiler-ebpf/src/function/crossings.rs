//! Packets cross points, and softirqs begin and end: who is worked on changes.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use netstrata_common::{ARMED, CALIBRATING, Current, Hook, Journey, KINDS, Loss, MAX_CROSSINGS, Point, Points};

use super::{
    charges::{function_flush, function_waited},
    work::{SPAN, alive, charge, forget, function_over, head, set_busy, shift, taken, top, work_of},
};
use crate::{
    cpu::{self, now},
    globals::function_tier,
    maps::{CHARGES, JOURNEYS},
    slots,
};

/// A followed packet crossed a point.
#[inline(always)]
pub fn crossed(journey: &Journey, slot: u32, index: u32, now: u64) {
    if function_tier() != 0 {
        function_crossed(slot as u64, index as u64, journey.last_point as u64, now);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
#[expect(
    clippy::too_many_lines,
    reason = "a program of its own for the verifier: cut in two, each crossing would pay a call more"
)]
pub extern "C" fn function_crossed(slot: u64, index: u64, point: u64, now: u64) -> i32 {
    let (slot, index, point) = (slots::index(slot), index as u32, point as u32);
    let Some(head) = head() else { return 0 };
    let level = head.level & 1;
    let (Some(work), Some(journey), Some(charges)) =
        (work_of(level), JOURNEYS.get_ptr_mut(slot), CHARGES.get_ptr_mut(slot))
    else {
        return 0;
    };
    // SAFETY: valid pointers into the maps; only the CPU that works on the packet comes here.
    let (journey, charges) = unsafe { (&mut *journey, &mut *charges) };
    let span = index as usize;
    if span >= MAX_CROSSINGS {
        // The spans of a journey's tail are not split.
        if work.current.slot == slot + 1 {
            function_over(level as u64, now);
            set_busy(head, level, work);
        }
        return 0;
    }
    if index == 0 {
        (charges.count, charges.complete) = (0, 0);
        // What was taken since is adopted when the packet is queued.
        if point == Point::Send as u32 {
            return 0;
        }
    }
    if level == 0 {
        let task = bpf_get_current_pid_tgid();
        if work.task != task {
            work.task = task;
            work.depth = 0;
            (work.current.slot, work.outer.slot) = (0, 0);
            forget(work);
        }
    }
    let current = work.current;
    let same = current.slot == slot + 1 && current.id == journey.id && current.count == index;
    let adopted = current.slot == ARMED && index == 1 && journey.crossings[0].point == Point::Send as u8;
    let left = Points::LEFT.has(point);
    if same || adopted {
        let before = now.wrapping_sub(journey.crossings[span].delta_ns);
        charge(head, work, before, now);
        let innermost = top(work, work.current.base);
        taken(head, work, innermost).ends += 1;
        // The charge of the span itself marks it as split.
        taken(head, work, SPAN).calls = 1;
        function_flush(level as u64, slot as u64, index as u64);
        charges.complete |= 1 << (index & 63);
    } else if let Some(before) = journey.crossings.get(span.wrapping_sub(1))
        && (Points::WAIT_FOR_CPU.has(before.point as u32) || point == Point::Copy as u32)
    {
        function_waited(slot as u64, index as u64, (before.cpu == journey.crossings[span].cpu) as u64);
    }
    if same || adopted {
        // Its own functions were open.
    } else if left {
        charges.queued = head.tally;
        return 0;
    } else if current.slot != 0 {
        let since = alive(level);
        let nests = Points::BEGIN_MADE.has(point);
        match since {
            Some(since) if nests && current.slot < CALIBRATING => {
                head.lost[Loss::FunctionNested] += (work.outer.slot != 0) as u64;
                charge(head, work, since, now);
                function_flush(level as u64, current.slot.wrapping_sub(1) as u64, current.count as u64);
                work.outer = work.current;
                work.nested = [0; KINDS];
            }
            _ => {
                forget(work);
                work.outer.slot = 0;
            }
        }
    }
    if left {
        function_over(level as u64, now);
    } else {
        let kept = same && !Points::HAND_ON.has(point) && current.base <= work.depth;
        work.current = Current {
            slot: slot + 1,
            count: index + 1,
            id: journey.id,
            since_ns: now,
            base: if kept { current.base } else { work.depth },
            pad: 0,
        };
        let innermost = top(work, work.current.base);
        taken(head, work, innermost).ends += 1;
    }
    set_busy(head, level, work);
    charges.queued = head.tally;
    let ended = cpu::now();
    let ns = ended.wrapping_sub(now);
    journey.start_ns += ns;
    journey.last_ns += ns;
    head.cut_ns += ns;
    if left {
        // The packet before it, if there is one, goes on.
        shift(&mut work.current, ns);
    } else {
        work.current.since_ns = ended;
        if work.outer.slot != 0 {
            shift(&mut work.outer, ns);
        }
    }
    0
}

/// TCP takes bytes from the application, and the next packet will be chosen: its time begins.
#[inline(always)]
pub fn armed(now: u64) {
    if function_tier() != 0 {
        function_armed(now);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn function_armed(now: u64) -> i32 {
    let (Some(head), Some(work)) = (head(), work_of(0)) else { return 0 };
    if head.level & 1 != 0 {
        return 0;
    }
    forget(work);
    work.task = bpf_get_current_pid_tgid();
    work.depth = 0;
    work.outer.slot = 0;
    work.current = Current { slot: ARMED, since_ns: now, ..Current::default() };
    set_busy(head, 0, work);
    0
}

/// A softirq begins, maybe on top of a task that works on a packet.
pub fn softirq_entry() {
    let Some(head) = head() else { return };
    head.tally.softirqs += 1;
    head.level = 1;
    if head.busy[0] != 0 {
        function_interrupted(0);
    }
}

/// A softirq ends.
pub fn softirq_exit() {
    let Some(head) = head() else { return };
    head.tally.softirqs += 1;
    head.level = 0;
    if head.busy[1] != 0
        && let Some(work) = work_of(1)
    {
        head.lost[Loss::FunctionNoExit] += work.depth as u64;
        work.depth = 0;
        (work.current.slot, work.outer.slot) = (0, 0);
        forget(work);
        head.busy[1] = 0;
    }
    if head.busy[0] != 0 {
        function_interrupted(1);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn function_interrupted(ends: u64) -> i32 {
    let (Some(head), Some(work)) = (head(), work_of(0)) else { return 0 };
    if work.current.slot == 0 || work.task != bpf_get_current_pid_tgid() {
        return 0;
    }
    let Some(since) = alive(0) else { return 0 };
    let now = now();
    if ends == 0 {
        charge(head, work, since, now);
        return 0;
    }
    let since = if work.current.since_ns > since { work.current.since_ns } else { since };
    let taken = taken(head, work, Hook::Interrupted as u32);
    taken.ns += now.saturating_sub(since);
    taken.calls += 1;
    work.current.since_ns = now;
    0
}
