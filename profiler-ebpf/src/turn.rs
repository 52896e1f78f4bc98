//! Turnarounds: the application's own time from a read to its next send.
//!
//! What the programs do when the reader of a followed packet has it leaves the reader little of the caches, and its own time is longer for
//! that. So the turnaround after that one stands for it: a task's next one, whose packets are followed or, mostly, are not. A task has
//! its place wherever it runs: it may read on one CPU and send on another.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_smp_processor_id};
use netstrata_common::{DUES, Due, TurnKey, others_between};

use crate::{
    atomic::Atomic,
    cpu::{self, config, now, state},
    log,
    maps::{BPF_NOEXIST, DUE, TURNS, ZERO_NODE},
    skb,
    with_program::count_dues,
};

/// The place of a task, which it shares with others.
#[inline(always)]
fn place(task: u64) -> Option<&'static mut Due> {
    // SAFETY: a valid pointer into the map. Two tasks that write one entry each find that it is not theirs.
    DUE.get_ptr_mut(task as u32 & (DUES as u32 - 1)).map(|due| unsafe { &mut *due })
}

/// The task has read a packet, and its turnaround begins: after the account, which is not the application's.
#[inline(always)]
fn begin(due: &mut Due, more: u32) {
    let Some(cpu) = state() else { return };
    due.more = more;
    // SAFETY: a helper without arguments.
    due.cpu = unsafe { bpf_get_smp_processor_id() };
    due.seen = cpu.crossings as u32;
    due.begin_ns = now();
}

#[inline(always)]
fn forget(due: &mut Due) {
    due.task = 0;
    count_dues(-1);
}

/// A task has read a followed packet of that weight.
#[inline(always)]
pub fn read_followed(weight: u32, epoch: u32) {
    let task = bpf_get_current_pid_tgid();
    let Some(due) = place(task) else { return };
    if due.task == task && due.epoch == epoch && due.has_sent != 0 {
        begin(due, weight);
        return;
    }
    if due.task == 0 {
        count_dues(1);
    }
    due.task = task;
    due.weight = weight;
    due.epoch = epoch;
    due.has_sent = 0;
    due.begin_ns = 0;
}

/// A task has read a packet that is not followed, and there are some that have read a followed one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn read_other() -> i32 {
    let task = bpf_get_current_pid_tgid();
    let (Some(due), Some(config)) = (place(task), config()) else { return 0 };
    if due.task != task || due.epoch != config.epoch {
        return 0;
    }
    if due.has_sent == 0 {
        // The followed one was not the last one before the answer, which is the one that counts.
        forget(due);
    } else {
        begin(due, 0);
    }
    0
}

/// A task sends, and there are some that have read a followed packet: that ends its turnaround, or the next one is measured.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn sends(socket: u64) -> i32 {
    let task = bpf_get_current_pid_tgid();
    let (Some(due), Some(config)) = (place(task), config()) else { return 0 };
    if due.task != task || due.epoch != config.epoch {
        return 0;
    }
    if due.has_sent == 0 {
        due.has_sent = 1;
        return 0;
    }
    // More of the same answer.
    if due.begin_ns == 0 {
        return 0;
    }
    let now = now();
    let Some(cpu) = state() else { return 0 };
    // What other CPUs saw is not known.
    // SAFETY: a helper without arguments.
    let is_here = due.cpu == unsafe { bpf_get_smp_processor_id() };
    // But the send itself, which is the turnaround's end.
    let others = if is_here { others_between(due.seen, cpu.crossings as u32) } else { 0 };
    let (ns, weight) = (now.wrapping_sub(due.begin_ns), due.weight as u64 + due.more as u64);
    forget(due);
    let key = TurnKey { netns: skb::socket_netns(socket), pid: (task >> 32) as u32, batch: cpu::batch(&config.batch) };
    if TURNS.get_ptr(key).is_none() {
        let Some(zero) = ZERO_NODE.get(0) else { return 0 };
        if TURNS.insert(key, zero, BPF_NOEXIST).is_err() && log::tells_packets() {
            log::say_turns_full(key.pid as u64);
        }
    }
    if let Some(node) = TURNS.get_ptr_mut(key) {
        // SAFETY: a valid pointer into the map.
        unsafe { &mut *node }.take_in::<Atomic>(ns, weight, others);
    }
    0
}
