//! The function tier: splits the spans of followed packets over the kernel functions that run in them.
//!
//! Each context of a CPU (a task, or a softirq on top of it) knows the followed packet that it works on and the hooked
//! functions that are open. Whenever a hook is entered or left, or the packet crosses a point, the time since the last
//! such event is charged to the innermost open hook, or to the span itself where none is: that is exact self time. What
//! these programs take between their two looks at the clock is cut out of the journey.
//!
//! For all other packets a hook costs its dispatch and two look-ups. docs/functions.md tells the rules and why.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel_str_bytes};
use netstrata_common::{
    ARMED, CALIBRATING, CHAINS, Chain, Charge, CpuState, Current, Frame, FunctionKey, Head, Hook, Journey, KIND_FENTRY,
    KINDS, MAX_CHARGES, MAX_CROSSINGS, MAX_FRAMES, MAX_HOOKS, MAX_SLOTS, MAX_TOUCHED, Point, Take, Taken, Work,
};

use crate::{
    account::{BPF_NOEXIST, add},
    globals::{function_tier, offset},
    maps::{CHARGES, FUNCTION_HEAD, FUNCTION_WORK, FUNCTIONS, JOURNEYS, NFT_CHAINS, ZERO_FUNCTION},
    record::{self, now, state},
    skb,
};

const SPAN: u32 = Hook::Span as u32;
/// Netfilter's number of the IPv4, inet, IPv6 and bridge families, and of hooks in each.
const FAMILIES_IP: [u8; 3] = [1, 2, 10];
const FAMILY_BRIDGE: u8 = 7;
const NETFILTER_HOOKS: u8 = 5;

#[inline(always)]
fn head() -> Option<&'static mut Head> {
    // SAFETY: the entry is this CPU's own.
    FUNCTION_HEAD.get_ptr_mut(0).map(|head| unsafe { &mut *head })
}

#[inline(always)]
fn work_of(level: u32) -> Option<&'static mut Work> {
    // SAFETY: the entry is this CPU's own; one context of it.
    FUNCTION_WORK.get_ptr_mut(level & 1).map(|work| unsafe { &mut *work })
}

#[inline(always)]
fn journey_of(current: &Current) -> Option<&'static mut Journey> {
    // SAFETY: a valid pointer into the map.
    JOURNEYS.get_ptr_mut(current.slot.wrapping_sub(1)).map(|journey| unsafe { &mut *journey })
}

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

/// What the hook took since the last crossing.
#[inline(always)]
fn taken<'a>(head: &mut Head, work: &'a mut Work, hook: u32) -> &'a mut Taken {
    let index = hook as usize & (MAX_HOOKS - 1);
    let (generation, touched) = (work.generation, work.touched as usize);
    if work.taken[index].generation != generation {
        work.taken[index] = Taken { generation, ..Taken::default() };
        if touched < MAX_TOUCHED {
            work.list[touched & (MAX_TOUCHED - 1)] = index as u8;
            work.touched = touched as u32 + 1;
        } else {
            head.lost.too_many += 1;
        }
    }
    &mut work.taken[index]
}

/// Makes everything void that was taken since the last crossing.
#[inline(always)]
fn forget(work: &mut Work) {
    work.generation += 1;
    work.touched = 0;
}

/// The innermost open hook that was opened since the last crossing.
#[inline(always)]
fn top(work: &Work, base: u32) -> u32 {
    if work.depth > base {
        work.frames[work.depth.wrapping_sub(1) as usize & (MAX_FRAMES - 1)].hook as u32
    } else {
        SPAN
    }
}

/// Charges the time until `now`.
#[inline(always)]
fn charge(head: &mut Head, work: &mut Work, since: u64, now: u64) {
    let hook = top(work, work.current.base);
    let since = if work.current.since_ns > since { work.current.since_ns } else { since };
    let ns = now.saturating_sub(since);
    taken(head, work, hook).ns += ns;
    work.current.since_ns = if now > since { now } else { since };
}

#[inline(always)]
fn set_busy(head: &mut Head, level: u32, work: &Work) {
    head.busy[level as usize & 1] = (work.current.slot != 0) as u32 | work.depth;
}

/// When the current packet's last crossing was, if the CPU still works on it; else `None`.
#[inline(always)]
fn alive(level: u32) -> Option<u64> {
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
            let another = level != 0
                && cpu.object != journey.skb
                && (cpu.point == Point::Receive as u32 || cpu.point == Point::Gro as u32);
            (journey.skb != 0 && journey.id == current.id && journey.count == current.count && !another)
                .then_some(journey.last_ns)
        }
    }
}

/// The CPU no longer works on the current packet; it may go on with the one before.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn function_over(level: u64, now: u64) -> i32 {
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
fn shift(current: &mut Current, ns: u64) {
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
extern "C" fn function_cut(level: u64, begun: u64, exits: u64) -> i32 {
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

/// The row of an nftables chain, taken if it is new; the common one if there is none left.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn function_chain(address: u64) -> i32 {
    let first = (address >> 6 ^ address >> 10) as u32;
    for step in 0..CHAINS as u32 {
        let place = first.wrapping_add(step) & (CHAINS as u32 - 1);
        // SAFETY: a valid pointer into the map; entries are never changed.
        let taken = NFT_CHAINS.get_ptr(place).map(|chain| unsafe { (*chain).address });
        match taken {
            Some(other) if other != address => continue,
            Some(_) => {}
            None => {
                let mut chain = Chain { address, ..Chain::default() };
                let name: u64 = skb::read(address, offset!(nft_chain_name));
                let table: u64 = skb::read(address, offset!(nft_chain_table));
                let table: u64 = skb::read(table, offset!(nft_table_name));
                // SAFETY: the helper checks the address, and writes to our own array.
                unsafe {
                    let _ = bpf_probe_read_kernel_str_bytes(name as *const u8, &mut chain.name);
                    let _ = bpf_probe_read_kernel_str_bytes(table as *const u8, &mut chain.table);
                }
                // Another CPU may have taken it meanwhile.
                if NFT_CHAINS.insert(place, chain, BPF_NOEXIST).is_err() {
                    continue;
                }
            }
        }
        return (Hook::NftChain1 as u32 + place) as i32;
    }
    Hook::NftChain as i32
}

/// The row that a call is charged to.
#[inline(always)]
fn row(hook: u32, argument: u64) -> u32 {
    if hook == Hook::NftChain as u32 && offset!(nft_chain_name) != 0 {
        return function_chain(argument) as u32 & (MAX_HOOKS as u32 - 1);
    }
    if hook != Hook::NfOther as u32 {
        return hook;
    }
    let number: u8 = skb::read(argument, offset!(nf_state_hook));
    let family: u8 = skb::read(argument, offset!(nf_state_pf));
    if number >= NETFILTER_HOOKS {
        return hook;
    }
    if family == FAMILY_BRIDGE {
        return Hook::NfBridgePrerouting as u32 + number as u32;
    }
    if family == FAMILIES_IP[0] || family == FAMILIES_IP[1] || family == FAMILIES_IP[2] {
        return Hook::NfPrerouting as u32 + number as u32;
    }
    hook
}

/// The row of an action of Open vSwitch, by the kernel's number; 0 for those that are functions with hooks of their own.
const ACTIONS: [u8; 32] = {
    let mut rows = [Hook::OvsOther as u8; 32];
    // output, ct, ct_clear
    (rows[1], rows[12], rows[16]) = (0, 0, 0);
    rows[2] = Hook::OvsUserspace as u8;
    // set, set_masked
    (rows[3], rows[11]) = (Hook::OvsSet as u8, Hook::OvsSet as u8);
    // push_vlan, pop_vlan
    (rows[4], rows[5]) = (Hook::OvsVlan as u8, Hook::OvsVlan as u8);
    // sample, psample
    (rows[6], rows[25]) = (Hook::OvsSample as u8, Hook::OvsSample as u8);
    rows[7] = Hook::OvsRecirculate as u8;
    rows[8] = Hook::OvsHash as u8;
    let mut header = [9, 10, 14, 15, 17, 18, 22].as_slice();
    while let [number, rest @ ..] = header {
        rows[*number] = Hook::OvsHeader as u8;
        header = rest;
    }
    rows[19] = Hook::OvsMeter as u8;
    rows[20] = Hook::OvsClone as u8;
    rows
};
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
    // struct nlattr: length, type.
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

/// Another task than the one that works on the packet runs; its hooks are nobody's.
#[inline(always)]
fn is_other_task(work: &Work, level: u32) -> bool {
    level == 0 && work.current.slot != CALIBRATING && work.task != bpf_get_current_pid_tgid()
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
        head.lost.too_deep += 1;
    }
    set_busy(head, level, work);
    function_cut(level as u64, begun, 0);
    0
}

/// What the hook takes besides time.
#[inline(always)]
fn value(hook: u32, argument: u64, returned: u64) -> u32 {
    if hook == Hook::GroReceive as u32 {
        // GRO_MERGED and GRO_MERGED_FREE.
        (returned as u32 <= 1) as u32
    } else if hook == Hook::OvsLookup as u32 {
        skb::read(argument, 0)
    } else {
        0
    }
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
    head.lost.no_exit += (depth.wrapping_sub(found)) as u64 - last as u64;
    let frame = work.frames[at as usize & (MAX_FRAMES - 1)];
    // The kernel gets control once for functions that return together, and then calls the program of each.
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
    // So does one that was entered before the packet's last crossing, which handed it on.
    if work.current.slot != 0 && at < work.current.base {
        function_over(level as u64, begun);
    }
    if work.current.slot != 0 && at < work.current.base {
        function_over(level as u64, begun);
    }
    set_busy(head, level, work);
    function_cut(level as u64, begun, 1);
    0
}

/// A count as a charge holds it: the largest stands for all that are larger.
#[inline(always)]
fn short(count: u64) -> u16 {
    if count > u16::MAX as u64 { u16::MAX } else { count as u16 }
}

#[inline(always)]
fn shorts(counts: [u32; KINDS]) -> [u16; KINDS] {
    [short(counts[0] as u64), short(counts[1] as u64)]
}

/// Puts to a journey's charges what hooks did on its CPU while it lay in a queue: they may have kept it there. On another
/// CPU than the one that queued it nothing is known.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn function_waited(slot: u64, index: u64, same_cpu: u64) -> i32 {
    let slot = slot as u32 & (MAX_SLOTS as u32 - 1);
    let (Some(head), Some(charges)) = (head(), CHARGES.get_ptr_mut(slot)) else { return 0 };
    // SAFETY: a valid pointer into the map; only the CPU that works on the packet comes here.
    let charges = unsafe { &mut *charges };
    let at = charges.count as usize;
    if at >= MAX_CHARGES {
        head.lost.charges_full += 1;
        return 0;
    }
    let mut charge = Charge { index: index as u8, hook: SPAN as u8, calls: 1, ..Charge::default() };
    if same_cpu != 0 {
        let (now, before) = (&head.tally, &charges.queued);
        let ns = now.ns[0].wrapping_sub(before.ns[0]) + now.ns[1].wrapping_sub(before.ns[1]);
        charge.value = if ns > u32::MAX as u64 { u32::MAX } else { ns as u32 };
        charge.entered = since(now.entered, before.entered);
        charge.left = since(now.left, before.left);
        charge.idle = since(now.idle, before.idle);
        charge.tails = short(now.tails.wrapping_sub(before.tails));
        charge.softirqs = short(now.softirqs.wrapping_sub(before.softirqs));
    }
    charges.charges[at] = charge;
    charges.count = at as u32 + 1;
    charges.complete |= 1 << (index & 63);
    0
}

#[inline(always)]
fn since(now: [u64; KINDS], before: [u64; KINDS]) -> [u16; KINDS] {
    [short(now[0].wrapping_sub(before[0])), short(now[1].wrapping_sub(before[1]))]
}

/// Points after which the packet waits for the CPU: in the backlog, for its reader, or for Open vSwitch's daemon.
#[inline(always)]
fn waits_for_cpu(point: u32) -> bool {
    const WAITS: u32 =
        1 << Point::Rx as u32 | 1 << Point::Ready as u32 | 1 << Point::ReadyWake as u32 | 1 << Point::Consume as u32;
    WAITS >> (point & 31) & 1 != 0
}

/// Puts what the hooks took since the last crossing to a journey's charges.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn function_flush(level: u64, slot: u64, index: u64) -> i32 {
    let (Some(head), Some(work), Some(charges)) =
        (head(), work_of(level as u32), CHARGES.get_ptr_mut(slot as u32 & (MAX_SLOTS as u32 - 1)))
    else {
        return 0;
    };
    // SAFETY: a valid pointer into the map; only the CPU that works on the packet comes here.
    let charges = unsafe { &mut *charges };
    for place in 0..MAX_TOUCHED {
        if place as u32 >= work.touched {
            break;
        }
        let hook = work.list[place] as usize & (MAX_HOOKS - 1);
        let taken = &work.taken[hook];
        let at = charges.count as usize;
        if at >= MAX_CHARGES {
            head.lost.charges_full += 1;
            break;
        }
        charges.charges[at] = Charge {
            ns: if taken.ns > u32::MAX as u64 { u32::MAX } else { taken.ns as u32 },
            index: index as u8,
            hook: hook as u8,
            calls: taken.calls as u16,
            value: taken.value,
            returns: taken.returns as u16,
            entered: shorts(taken.entered),
            left: shorts(taken.left),
            nested: shorts(taken.nested),
            ends: taken.ends as u16,
            tails: taken.tails as u16,
            ..Charge::default()
        };
        charges.count = at as u32 + 1;
    }
    forget(work);
    0
}

/// Points after which the packet lies in a queue, or is gone.
#[inline(always)]
fn is_left(point: u32) -> bool {
    const LEFT: u32 = 1 << Point::Rx as u32
        | 1 << Point::Enqueue as u32
        | 1 << Point::Ready as u32
        | 1 << Point::ReadyWake as u32
        | 1 << Point::Copy as u32
        | 1 << Point::XmitEnd as u32
        | 1 << Point::Consume as u32
        | 1 << Point::Drop as u32;
    LEFT >> (point & 31) & 1 != 0
}

/// Points at which the packet is handed on to the next device or layer: functions that are open then get it back only
/// when it is gone.
#[inline(always)]
fn hands_on(point: u32) -> bool {
    point == Point::Queue as u32 || point == Point::Xmit as u32 || point == Point::Receive as u32
}

/// A followed packet crossed a point.
#[inline(always)]
pub fn crossed(journey: &Journey, slot: u32, index: u32, now: u64) {
    if function_tier() != 0 {
        function_crossed(slot as u64, index as u64, journey.last_point as u64, now);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn function_crossed(slot: u64, index: u64, point: u64, now: u64) -> i32 {
    let (slot, index, point) = (slot as u32 & (MAX_SLOTS as u32 - 1), index as u32, point as u32);
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
    let left = is_left(point);
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
        && (waits_for_cpu(before.point as u32) || point == Point::Copy as u32)
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
        let nests = point == Point::Queue as u32;
        match since {
            Some(since) if nests && current.slot < CALIBRATING => {
                head.lost.nested += (work.outer.slot != 0) as u64;
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
        let kept = same && !hands_on(point) && current.base <= work.depth;
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
    let ended = record::now();
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

/// A journey goes on, or a copy of it does, in another slot.
#[inline(always)]
pub fn moved(from: u64, to: u64, forks: u64) {
    if function_tier() != 0 {
        function_moved(from, to, forks);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn function_moved(from: u64, to: u64, forks: u64) -> i32 {
    let (from, to) = (from as u32 & (MAX_SLOTS as u32 - 1), to as u32 & (MAX_SLOTS as u32 - 1));
    let (Some(old), Some(new), Some(head)) = (CHARGES.get_ptr(from), CHARGES.get_ptr_mut(to), head()) else { return 0 };
    // SAFETY: valid pointers into the map.
    let (old, new) = unsafe { (&*old, &mut *new) };
    (new.count, new.complete, new.queued) = (old.count, old.complete, old.queued);
    let count = if old.count > MAX_CHARGES as u32 { MAX_CHARGES as u32 } else { old.count };
    // SAFETY: both are valid, and not smaller than what is copied.
    unsafe { skb::copy(&raw mut new.charges, &raw const old.charges, count * size_of::<Charge>() as u32) };
    if forks == 0
        && let Some(work) = work_of(head.level)
        && work.current.slot == from + 1
    {
        work.current.slot = to + 1;
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
        head.lost.no_exit += work.depth as u64;
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

/// A journey was accounted for under a path: so are its charges.
#[inline(always)]
pub fn closed(slot: u32, path: u64, weight: u32) {
    if function_tier() != 0 {
        function_closed(slot as u64, path, weight as u64);
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn function_closed(slot: u64, path: u64, weight: u64) -> i32 {
    let Some(charges) = CHARGES.get_ptr(slot as u32 & (MAX_SLOTS as u32 - 1)) else { return 0 };
    // SAFETY: a valid pointer into the map.
    let count = unsafe { (*charges).count };
    for number in 0..MAX_CHARGES as u32 {
        if number >= count {
            break;
        }
        function_charge(slot, number as u64, path, weight);
    }
    0
}

/// Adds one charge of a journey to the table.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn function_charge(slot: u64, number: u64, path: u64, weight: u64) -> i32 {
    let slot = slot as u32 & (MAX_SLOTS as u32 - 1);
    let (Some(charges), Some(journey)) = (CHARGES.get_ptr(slot), JOURNEYS.get_ptr(slot)) else { return 0 };
    // SAFETY: valid pointers into the maps.
    let (charges, journey) = unsafe { (&*charges, &*journey) };
    let number = number as usize;
    if number >= MAX_CHARGES {
        return 0;
    }
    let charge = &charges.charges[number];
    let index = charge.index as usize;
    if index >= MAX_CROSSINGS || index as u32 >= journey.count || charges.complete >> (index & 63) & 1 == 0 {
        return 0;
    }
    let ns = if charge.hook == SPAN as u8 { journey.crossings[index].delta_ns } else { charge.ns as u64 };
    let key = FunctionKey { path, index: index as u32, hook: charge.hook as u32 };
    if FUNCTIONS.get_ptr(key).is_none() {
        let Some(zero) = ZERO_FUNCTION.get(0) else { return 0 };
        let _ = FUNCTIONS.insert(key, zero, BPF_NOEXIST);
    }
    let Some(node) = FUNCTIONS.get_ptr_mut(key) else {
        if let Some(head) = head() {
            head.lost.table_full += weight;
        }
        return 0;
    };
    // SAFETY: a valid pointer into the map.
    let node = unsafe { &mut *node };
    add(&mut node.samples, 1);
    add(&mut node.calls, charge.calls as u64 * weight);
    add(&mut node.sum_ns, ns * weight);
    add(&mut node.returns, charge.returns as u64 * weight);
    add(&mut node.value, charge.value as u64 * weight);
    add(&mut node.softirqs, charge.softirqs as u64 * weight);
    add(&mut node.ends, charge.ends as u64 * weight);
    add(&mut node.tails, charge.tails as u64 * weight);
    for kind in 0..KINDS {
        add(&mut node.entered[kind], charge.entered[kind] as u64 * weight);
        add(&mut node.left[kind], charge.left[kind] as u64 * weight);
        add(&mut node.nested[kind], charge.nested[kind] as u64 * weight);
        add(&mut node.idle[kind], charge.idle[kind] as u64 * weight);
    }
    0
}

/// Index of the argument that a hook keeps.
pub const fn kept(hook: Hook) -> Option<usize> {
    match hook.info().take {
        Take::NetfilterHook(index) | Take::Behind(index) | Take::Chain(index) => Some(index as usize),
        Take::Nothing | Take::Merged(_) => None,
    }
}

/// Number of arguments of a function whose returned value is taken.
pub const fn arguments(hook: Hook) -> Option<usize> {
    match hook.info().take {
        Take::Merged(count) => Some(count as usize),
        _ => None,
    }
}
