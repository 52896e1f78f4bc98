//! CPU samples by layer, context, CPU and task.
//!
//! A sample is *idle* if it was taken in the idle task outside of softirqs and interrupts, as the kernel itself counts
//! idle time; every other sample is busy. Counts are whole numbers; shares are computed from them at the end.

use std::collections::{BTreeMap, BTreeSet};

use netstrata_common::{Layer, named};

use super::classify::{Boundary, Classifier};
use crate::profile::{Profile, SampleRecord, TaskRecord};

named! {
    /// In whose name a CPU worked; in the order of output.
    pub enum Context;
    User "user" "user mode";
    Task "task" "a system call, an exception or a kernel thread";
    Softirq "softirq" "a softirq on top of a task, or on top of an interrupt";
    Ksoftirqd "ksoftirqd" "a ksoftirqd thread";
    Hardirq "hardirq" "an interrupt; the sampling interrupt itself is not part of a stack";
    Idle "idle" "the idle task outside of softirqs and interrupts";
}

/// A task, for use as a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    /// Process id; 0 is the idle task.
    pub pid: u32,
    /// Name of the thread.
    pub comm: String,
    /// Container it runs in, if any.
    pub container: Option<String>,
}

impl From<&TaskRecord> for TaskKey {
    fn from(task: &TaskRecord) -> Self {
        Self { pid: task.pid, comm: task.comm.clone(), container: task.container.clone() }
    }
}

/// Work of one kind at one place: a station of a stream is a set of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Station {
    /// The CPU.
    pub cpu: u16,
    /// The context.
    pub context: Context,
    /// The layer; none where no frame has one.
    pub layer: Option<Layer>,
}

/// Samples taken while a task was current (softirqs on top of it included).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskAccount {
    /// All samples.
    pub samples: u64,
    /// By context.
    pub contexts: BTreeMap<Context, u64>,
    /// Busy samples by context and layer.
    pub layers: BTreeMap<(Context, Option<Layer>), u64>,
    /// Busy samples by CPU, context and layer.
    pub stations: BTreeMap<Station, u64>,
}

/// A task that has at least this part of its time in layers of the datapath is one of the traffic.
const OF_TRAFFIC: f64 = 0.02;
/// Standard deviations within which chance decides: with 4 of 200 samples a task would be one of the traffic in one recording, and with
/// 3 none in the next.
const CERTAIN: f64 = 2.0;

/// Names of the tasks of an account that send, receive or forward, and do not only bear softirqs that interrupt them. Where its own
/// samples cannot tell, those of all that it is compared with do: what counts as traffic in one must in the other.
pub fn of_traffic<'a>(account: &'a CpuAccount, compared: &[&CpuAccount]) -> BTreeSet<&'a str> {
    let together = on_way(compared.iter().copied());
    let mut names = on_way([account]);
    names.retain(|name, own| {
        let [least, most] = part_of(*own);
        let seems = |[on_way, all]: [u64; 2]| on_way as f64 >= OF_TRAFFIC * all as f64;
        least >= OF_TRAFFIC || most >= OF_TRAFFIC && seems(together.get(name).copied().unwrap_or(*own))
    });
    names.into_keys().collect()
}

/// Samples of tasks by name: in layers that packets pass, and all.
fn on_way<'a>(accounts: impl IntoIterator<Item = &'a CpuAccount>) -> BTreeMap<&'a str, [u64; 2]> {
    let mut names: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for (task, of) in accounts.into_iter().flat_map(|account| &account.tasks) {
        let [on_way, all] = names.entry(&task.comm).or_default();
        let [more, of_all] = of.on_way();
        (*on_way, *all) = (*on_way + more, *all + of_all);
    }
    names.retain(|_, [on_way, _]| *on_way > 0);
    names
}

/// Between what and what the part lies that some of all are, by Wilson's interval.
fn part_of([some, all]: [u64; 2]) -> [f64; 2] {
    let (all, z) = (all as f64, CERTAIN);
    let share = some as f64 / all;
    let middle = share + z * z / (2.0 * all);
    let half = z * (share * (1.0 - share) / all + z * z / (4.0 * all * all)).sqrt();
    [middle - half, middle + half].map(|part| part / (1.0 + z * z / all))
}

impl TaskAccount {
    /// Busy samples.
    pub fn busy(&self) -> u64 {
        self.layers.values().sum()
    }

    /// Samples of its own, no interrupt's: in layers that packets pass, and all.
    fn on_way(&self) -> [u64; 2] {
        let own = |context: Context| context != Context::Softirq && context != Context::Hardirq;
        let layers = || self.layers.iter().filter(|((context, _), _)| own(*context));
        let on_way = |layer: Layer| layer.is_datapath() && layer != Layer::Userspace;
        let datapath = layers().filter(|((_, layer), _)| layer.is_some_and(on_way)).map(|entry| entry.1);
        [datapath.sum(), layers().map(|entry| entry.1).sum()]
    }

    /// Samples that are work of the traffic: of a task of it all, of another one the softirqs on top of it.
    pub fn of_traffic(&self, all: bool) -> impl Iterator<Item = (&Station, u64)> {
        let counts = move |station: &Station| all || station.context == Context::Softirq;
        self.stations.iter().filter(move |(station, _)| counts(station)).map(|(station, samples)| (station, *samples))
    }
}

/// Where CPU time went. Counts are samples; `period_ns` turns them into time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuAccount {
    /// Time that one sample stands for.
    pub period_ns: u64,
    /// All samples: `idle + busy`.
    pub samples: u64,
    /// Samples of the idle task.
    pub idle: u64,
    /// All others.
    pub busy: u64,
    /// Busy samples without a layer.
    pub unattributed: u64,
    /// Busy samples by layer; with `unattributed` they sum to `busy`.
    pub layers: BTreeMap<Layer, u64>,
    /// By context, idle included.
    pub contexts: BTreeMap<Context, u64>,
    /// By CPU and context, idle included.
    pub cpus: BTreeMap<(u16, Context), u64>,
    /// By task, the idle task included.
    pub tasks: BTreeMap<TaskKey, TaskAccount>,
    /// Busy samples by CPU, context and layer.
    pub stations: BTreeMap<Station, u64>,
}

impl CpuAccount {
    /// The time that samples stand for.
    pub fn ns(&self, samples: u64) -> u64 {
        samples.saturating_mul(self.period_ns)
    }

    /// Samples as a share of busy samples (0 to 1).
    pub fn share(&self, samples: u64) -> f64 {
        if self.busy == 0 { 0.0 } else { samples as f64 / self.busy as f64 }
    }

    /// Busy samples without a layer, as a share of busy samples (0 to 1).
    pub fn unattributed_share(&self) -> f64 {
        self.share(self.unattributed)
    }
}

impl CpuAccount {
    /// The CPUs that were sampled.
    pub fn numbers(&self) -> Vec<u16> {
        let mut cpus: Vec<u16> = self.cpus.keys().map(|key| key.0).collect();
        cpus.dedup();
        cpus
    }

    /// Samples of a CPU, busy and idle.
    pub fn of_cpu(&self, cpu: u16) -> (u64, u64) {
        let of = |idle: bool| -> u64 {
            let rows = self.cpus.iter().filter(|(key, _)| key.0 == cpu && (key.1 == Context::Idle) == idle);
            rows.map(|row| row.1).sum()
        };
        (of(false), of(true))
    }

    /// Busy share of each CPU in so much time. A CPU that is idle without a tick has no samples: what a sample stands for, and the time,
    /// tell.
    pub fn busy_in(&self, duration_ns: u64) -> Vec<(u16, f64)> {
        let share = |cpu| (cpu, self.ns(self.of_cpu(cpu).0) as f64 / duration_ns.max(1) as f64);
        self.numbers().into_iter().map(share).collect()
    }

    /// The busy ones as a share of all (0 to 1).
    pub fn busy_share(&self, cpu: u16) -> f64 {
        let (busy, idle) = self.of_cpu(cpu);
        if busy + idle == 0 { 0.0 } else { busy as f64 / (busy + idle) as f64 }
    }
}

/// The context of a sample.
pub fn context_of(classifier: &Classifier, sample: &SampleRecord, stack: &[u32], task: Option<&TaskRecord>) -> Context {
    if sample.user {
        return Context::User;
    }
    let ksoftirqd = task.is_some_and(|task| task.comm.starts_with("ksoftirqd/"));
    match classifier.boundary(stack) {
        Some(Boundary::Hardirq) => Context::Hardirq,
        _ if ksoftirqd => Context::Ksoftirqd,
        Some(Boundary::Softirq) => Context::Softirq,
        None if task.is_some_and(|task| task.pid == 0) => Context::Idle,
        None => Context::Task,
    }
}

/// Layer of a sample in a context: user mode and idleness need no stack.
pub(crate) fn layer_of(classifier: &Classifier, context: Context, stack: &[u32]) -> Option<Layer> {
    match context {
        Context::User => Some(Layer::Userspace),
        Context::Idle => Some(Layer::Idle),
        _ => classifier.sample_layer(stack),
    }
}

/// The frames of a sample, innermost first; empty if it has none.
pub(crate) fn stack_of<'a>(profile: &'a Profile, sample: &SampleRecord) -> &'a [u32] {
    sample.stack.and_then(|at| profile.cpu.stacks.get(at as usize)).map_or(&[], Vec::as_slice)
}

/// The account of a profile's CPU samples.
pub fn account(profile: &Profile) -> CpuAccount {
    let classifier = Classifier::new(&profile.cpu.symbols);
    let mut account = CpuAccount { period_ns: profile.cpu.period_ns, ..CpuAccount::default() };
    for sample in &profile.cpu.entries {
        let task = profile.cpu.tasks.get(sample.task as usize);
        let stack = stack_of(profile, sample);
        let context = context_of(&classifier, sample, stack, task);
        let count = sample.count;
        account.samples += count;
        *account.contexts.entry(context).or_default() += count;
        *account.cpus.entry((sample.cpu, context)).or_default() += count;
        let by_task = account.tasks.entry(task.map(TaskKey::from).unwrap_or_default()).or_default();
        by_task.samples += count;
        *by_task.contexts.entry(context).or_default() += count;
        if context == Context::Idle {
            account.idle += count;
            continue;
        }
        let layer = layer_of(&classifier, context, stack);
        account.busy += count;
        match layer {
            Some(layer) => *account.layers.entry(layer).or_default() += count,
            None => account.unattributed += count,
        }
        *by_task.layers.entry((context, layer)).or_default() += count;
        let station = Station { cpu: sample.cpu, context, layer };
        *by_task.stations.entry(station).or_default() += count;
        *account.stations.entry(station).or_default() += count;
    }
    account
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::testdata;

    #[test]
    fn a_task_that_only_bears_softirqs_or_computes_is_none_of_the_traffic() {
        let of = |entries: &[(Context, Layer, u64)]| {
            let mut task = TaskAccount::default();
            for &(context, layer, count) in entries {
                let layer = Some(layer);
                *task.layers.entry((context, layer)).or_default() += count;
                *task.stations.entry(Station { cpu: 0, context, layer }).or_default() += count;
            }
            let key = TaskKey { pid: 7, comm: "task".into(), container: None };
            CpuAccount { tasks: [(key, task)].into(), ..CpuAccount::default() }
        };
        let busy = |account: &CpuAccount| {
            let names = of_traffic(account, &[account]);
            let of = |(task, of): (&TaskKey, &TaskAccount)| {
                of.of_traffic(names.contains(&*task.comm)).map(|(_, samples)| samples).sum::<u64>()
            };
            account.tasks.iter().map(of).sum::<u64>()
        };
        assert_eq!(busy(&of(&[(Context::User, Layer::Userspace, 900), (Context::Softirq, Layer::Tcp, 100)])), 100);
        assert_eq!(busy(&of(&[(Context::User, Layer::Userspace, 900), (Context::Task, Layer::Tcp, 100)])), 1000);
        assert_eq!(busy(&of(&[(Context::Task, Layer::Memory, 995), (Context::Task, Layer::Tcp, 5)])), 0);
        // What chance decides in one recording, both decide together, and for both alike.
        let seldom = |samples| of(&[(Context::User, Layer::Userspace, 200), (Context::Task, Layer::Tcp, samples)]);
        let [few, fewer, some, none, most] = [4, 3, 20, 0, 200].map(seldom);
        let together = |one: &CpuAccount, other: &CpuAccount| of_traffic(one, &[one, other]).len();
        assert_eq!([together(&few, &fewer), together(&fewer, &few), together(&few, &few)], [0; 3]);
        assert_eq!([together(&few, &some), together(&some, &few)], [1, 1]);
        assert_eq!([together(&none, &most), together(&most, &none)], [0, 1], "another task of the same name");
    }

    #[test]
    fn every_sample_is_counted_once_in_each_view() {
        let profile = testdata::stream();
        let account = account(&profile);
        assert_eq!(account.samples, profile.cpu.samples);
        assert_eq!(account.samples, account.idle + account.busy);
        assert_eq!(account.busy, account.layers.values().sum::<u64>() + account.unattributed);
        assert_eq!(account.samples, account.contexts.values().sum::<u64>());
        assert_eq!(account.samples, account.cpus.values().sum::<u64>());
        assert_eq!(account.samples, account.tasks.values().map(|task| task.samples).sum::<u64>());
        assert_eq!(account.busy, account.stations.values().sum::<u64>());
        let by_task: u64 = account.tasks.values().flat_map(|task| task.layers.values()).sum();
        assert_eq!(account.busy, by_task);
    }

    #[test]
    fn a_stream_over_a_bridge_is_split_by_layer_and_context() {
        let account = account(&testdata::stream());
        assert_eq!((account.idle, account.busy, account.unattributed), (484, 526, 3));
        assert_eq!(account.layers[&Layer::Bridge], 45 + 22);
        assert_eq!(account.layers[&Layer::Copy], 90 + 110);
        assert_eq!(account.layers[&Layer::Userspace], 61);
        assert_eq!(account.layers[&Layer::Wakeup], 18 + 9);
        assert_eq!(account.layers[&Layer::SkbMemory], 25 + 14);
        assert_eq!(account.contexts[&Context::Softirq], 45 + 15 + 50 + 12 + 18);
        assert_eq!(account.contexts[&Context::Ksoftirqd], 22);
        assert_eq!(account.contexts[&Context::Hardirq], 2);
        assert_eq!(account.contexts[&Context::User], 61);
        let station = Station { cpu: 0, context: Context::Softirq, layer: Some(Layer::Conntrack) };
        assert_eq!(account.stations[&station], 12);
        let sender = TaskKey { pid: 100, comm: "iperf3".into(), container: Some("client".into()) };
        assert_eq!(account.tasks[&sender].contexts[&Context::Softirq], 140);
        assert_eq!(account.ns(3), 3_000_000);
        assert!((account.unattributed_share() - 3.0 / 526.0).abs() < 1e-12);
    }

    #[test]
    fn contexts_follow_the_innermost_boundary() {
        let softirq = "br_forward;net_rx_action;handle_softirqs;__irq_exit_rcu;common_interrupt;asm_common_interrupt";
        for (task, stack, context) in [
            (0, "pv_native_safe_halt;do_idle", Context::Idle),
            (0, &format!("{softirq};pv_native_safe_halt;do_idle"), Context::Softirq),
            (0, "handle_irq_event;handle_edge_irq;asm_common_interrupt;pv_native_safe_halt", Context::Hardirq),
            (1, softirq, Context::Softirq),
            (1, "tcp_sendmsg;do_syscall_64", Context::Task),
            (1, "handle_irq_event;asm_common_interrupt;net_rx_action;handle_softirqs;tcp_sendmsg", Context::Hardirq),
            (1, "__local_bh_enable_ip;tcp_sendmsg", Context::Task),
            (3, "br_forward;net_rx_action;handle_softirqs;run_ksoftirqd", Context::Ksoftirqd),
            (3, "__schedule;schedule;smpboot_thread_fn", Context::Ksoftirqd),
        ] {
            let account = account(&testdata::profile(&[(task, 0, Some(stack), None, 1)]));
            assert_eq!(account.contexts.keys().collect::<Vec<_>>(), [&context], "{stack}");
        }
    }

    #[test]
    fn a_lost_stack_is_unattributed_and_an_empty_profile_has_no_shares() {
        let mut profile = testdata::profile(&[(1, 0, None, None, 5)]);
        profile.cpu.entries[0].user = false;
        let lost = account(&profile);
        assert_eq!((lost.busy, lost.unattributed), (5, 5));
        assert_eq!(account(&Profile::default()).unattributed_share(), 0.0);
    }
}
