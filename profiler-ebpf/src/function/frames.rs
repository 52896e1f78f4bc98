//! Hooked functions are entered and return; actions of Open vSwitch begin.

use netstrata_common::{CALIBRATING, Frame, Hook, KIND_FENTRY, KINDS, Loss, MAX_FRAMES, Work};

use super::{
    rows::{ACTIONS, row, value},
    work::{alive, charge, function_cut, function_over, head, is_other_task, set_busy, taken, top, work_of},
};
use crate::{cpu::now, skb};

/// Whether hooks have something to do here; counted if not.
#[inline(always)]
fn has_work(kind: usize) -> bool {
    let Some(head) = head() else { return false };
    let busy = head.busy[(head.level & 1) as usize] != 0;
    if !busy {
        head.tally.idle[kind] += 1;
    }
    busy
}

/// A hooked function is entered.
#[inline(always)]
pub fn entry(hook: Hook, kind: usize, stack: impl Fn() -> u64, argument: impl Fn() -> u64) {
    if has_work(kind) {
        function_entry(hook as u64, kind as u64, stack(), argument());
    }
}

/// A hooked function returns.
#[inline(always)]
pub fn exit(hook: Hook, kind: usize, returned: impl Fn() -> u64) {
    if has_work(kind) {
        function_exit(hook as u64, kind as u64, returned());
    }
}

/// Place of the innermost open frame of a hook, plus 1; 0 if it is not open.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn function_find(level: u64, hook: u64) -> u64 {
    let Some(work) = work_of(level as u32) else { return 0 };
    let mut at = work.depth;
    for _ in 0..MAX_FRAMES {
        if at == 0 {
            break;
        }
        if work.frames[at.wrapping_sub(1) as usize & (MAX_FRAMES - 1)].program == hook as u32 {
            break;
        }
        at -= 1;
    }
    at as u64
}

/// `program` of the frame of an action: it ends where the next begins, or where they all end.
const ACTION: u32 = Hook::OvsOther as u32;

/// Whether the innermost open frame is an action's.
#[inline(always)]
fn ends_in_action(work: &Work) -> bool {
    work.frames[work.depth.wrapping_sub(1) as usize & (MAX_FRAMES - 1)].program == ACTION
}

/// Open vSwitch begins an action of a flow: a netlink attribute.
#[inline(always)]
pub fn action(attribute: u64) {
    if let Some(head) = head()
        && head.busy[(head.level & 1) as usize] != 0
    {
        function_action(attribute);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn function_action(attribute: u64) -> i32 {
    let begun = now();
    let Some(head) = head() else { return 0 };
    let level = head.level & 1;
    let Some(work) = work_of(level) else { return 0 };
    if is_other_task(work, level) {
        return 0;
    }
    let Some(since) = alive(level) else { return 0 };
    charge(head, work, since, begun);
    let caller = top(work, work.current.base);
    // The way into a tracepoint's program costs about what the way into fentry does.
    taken(head, work, caller).entered[KIND_FENTRY] += 1;
    if work.depth > work.current.base && ends_in_action(work) {
        work.depth -= 1;
    }
    // struct nlattr: length, type. https://elixir.bootlin.com/linux/v6.12.117/source/include/uapi/linux/netlink.h#L229
    let number: u16 = skb::read(attribute, 2);
    let row = ACTIONS[number as usize & 31] as u32;
    let depth = work.depth as usize;
    if row != 0 && depth < MAX_FRAMES {
        taken(head, work, row).calls += 1;
        work.frames[depth & (MAX_FRAMES - 1)] = Frame { program: ACTION, hook: row as u16, ..Frame::default() };
        work.depth = depth as u32 + 1;
    }
    function_cut(level as u64, begun, 0);
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn function_entry(hook: u64, kind: u64, stack: u64, argument: u64) -> i32 {
    let begun = now();
    let (hook, kind) = (hook as u32, kind as usize & (KINDS - 1));
    let Some(head) = head() else { return 0 };
    let level = head.level & 1;
    let Some(work) = work_of(level) else { return 0 };
    head.tally.entered[kind] += 1;
    if is_other_task(work, level) {
        head.tally.ns[0] += now().wrapping_sub(begun);
        return 0;
    }
    let since = alive(level);
    if since.is_none() && work.current.slot != 0 {
        function_over(level as u64, begun);
    }
    let charged = row(hook, argument);
    if let Some(since) = since {
        charge(head, work, since, begun);
        let caller = top(work, work.current.base);
        taken(head, work, caller).entered[kind] += 1;
        taken(head, work, charged).calls += 1;
        if work.outer.slot != 0 {
            work.nested[kind] += 1;
        }
    }
    // Also without a packet: what is entered below an open function returns before it.
    let depth = work.depth as usize;
    if depth < MAX_FRAMES {
        let caller = &mut work.frames[depth.wrapping_sub(1) & (MAX_FRAMES - 1)];
        if stack != 0 && depth > 0 && caller.stack == stack {
            caller.tail = 1;
        }
        work.frames[depth & (MAX_FRAMES - 1)] = Frame { argument, stack, program: hook, hook: charged as u16, tail: 0 };
        work.depth = depth as u32 + 1;
    } else {
        head.lost[Loss::FunctionTooDeep] += 1;
    }
    set_busy(head, level, work);
    function_cut(level as u64, begun, 0);
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn function_exit(hook: u64, kind: u64, returned: u64) -> i32 {
    let begun = now();
    let (hook, kind) = (hook as u32, kind as usize & (KINDS - 1));
    let Some(head) = head() else { return 0 };
    let level = head.level & 1;
    let Some(work) = work_of(level) else { return 0 };
    head.tally.left[kind] += 1;
    if is_other_task(work, level) {
        head.tally.ns[1] += now().wrapping_sub(begun);
        return 0;
    }
    let since = alive(level);
    match since {
        Some(since) => charge(head, work, since, begun),
        None if work.current.slot != 0 => {
            function_over(level as u64, begun);
        }
        None => {}
    }
    let depth = work.depth;
    let found = function_find(level as u64, hook as u64) as u32;
    if found == 0 {
        // A function that was entered before the packet came returns: the CPU is done with the packet.
        if work.current.slot != 0 && work.current.slot != CALIBRATING {
            function_over(level as u64, begun);
        }
        set_busy(head, level, work);
        function_cut(level as u64, begun, 1);
        return 0;
    }
    let at = found - 1;
    // An action that was the last ends here.
    let last = depth > found && ends_in_action(work);
    head.lost[Loss::FunctionNoExit] += (depth.wrapping_sub(found)) as u64 - last as u64;
    let frame = work.frames[at as usize & (MAX_FRAMES - 1)];
    // The kernel gets control once for functions that return together, and then calls the program of each:
    // `rethook_trampoline_handler` in https://elixir.bootlin.com/linux/v6.12.117/source/kernel/trace/rethook.c
    let together =
        frame.stack != 0 && at > 0 && work.frames[at.wrapping_sub(1) as usize & (MAX_FRAMES - 1)].stack == frame.stack;
    head.tally.left[kind] -= together as u64;
    head.tally.tails += together as u64;
    let of_packet = since.is_some() && at >= work.current.base;
    if of_packet {
        let value = value(hook, frame.argument, returned);
        let taken = taken(head, work, frame.hook as u32);
        taken.value += value;
        taken.returns += (frame.tail == 0) as u32;
    }
    work.depth = at;
    if of_packet {
        let caller = top(work, work.current.base);
        let taken = taken(head, work, caller);
        taken.left[kind] += !together as u32;
        taken.tails += together as u32;
    }
    // So does one that was entered before the packet's last crossing, which handed it on; and then it may have been entered
    // before the packet that was at work outside of this one.
    for _current_then_outer in 0..2 {
        if work.current.slot != 0 && at < work.current.base {
            function_over(level as u64, begun);
        }
    }
    set_busy(head, level, work);
    function_cut(level as u64, begun, 1);
    0
}
