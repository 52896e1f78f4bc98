//! Everything that a recording holds, from loading its programs to detaching them.

use std::{
    collections::{BTreeMap, HashMap},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::Result;
use netstrata_common::{Config, CpuState, MAX_NODES, Tally};
use tokio::io::unix::AsyncFd;

use super::{
    Calibration, calibrate, filter,
    function_costs::{self, HookCosts},
    gathered::{Gathered, Slice},
    governor::Governor,
    hotplug::Sampled,
    kept::{self, Costs, Key, Place},
    kernel_counters::Counters,
    load::Sizes,
    look::Look,
    maps::Batches,
    meanwhile::Meanwhile,
    priority::{Hurry, OnTime},
    probes::Group,
    session::Session,
    spool::Spool,
    tier::{self, Hooks},
    whole::WholeJourney,
};
use crate::{
    cli::RecordArgs,
    host::{
        clock::{monotonic_ns, unix_ns},
        cpu::{online, own_time},
        runtime,
    },
    kernel::{btf::KernelTypes, symbols::Symbols},
    logger, note,
    profile::{SoftirqVector, Topology},
    topology::Watcher,
};

/// The part of the tree's table after which packets are followed more thinly: ten halvings, to a packet in a thousand, fill a
/// third of it, and there may be two batches in it.
const THIN_AT: u32 = 32;
/// How many times longer than when costs were measured the programs take at most, unless they are interrupted.
const UNDISTURBED: f64 = 4.0;
/// What is missing where filters match more than their table holds.
const FILTERS_FULL: &str =
    "more devices and namespaces match the filters than were expected; some that came since are left out";

/// What is missing where tunnels have more ports than the programs look at.
const TUNNELS_FULL: &str = "the tunnels of this machine have more different ports than flows are looked for at; some that carry the flow may be left out";

/// Everything that a recording holds, in the thread that records.
pub(super) struct Recording {
    pub session: Session,
    /// Functions that were looked for at the start; else they are read at the end.
    pub symbols: Option<Symbols>,
    /// Taken at the end.
    pub watcher: Option<Watcher>,
    pub costs: Calibration,
    /// Under which they are kept, if they are.
    pub key: Option<Key>,
    /// What hooks cost, by way; zero without the function tier.
    pub hook_costs: HookCosts,
    /// What a program at the beginning or the end of a softirq costs; zero without the function tier.
    pub softirq_cost: f64,
    /// What hooks had done before the recording began, by CPU.
    pub first_tally: Vec<Tally>,
    /// Why spans are not split over functions, unless they are.
    pub no_functions: Option<String>,
    pub governor: Governor,
    pub config: Config,
    pub frequency: u64,
    /// The rate of CPU samples that was asked for.
    pub asked_hz: u64,
    pub source: &'static str,
    pub started: Instant,
    /// CLOCK_MONOTONIC at the start, as the programs see it.
    pub started_ns: u64,
    /// Unix time of it; 0 with a clock that counts instructions, whose date is made up.
    pub began_unix_ns: u64,
    /// Time during which journeys were observed.
    pub observed: Duration,
    /// Time during which softirqs were timed.
    pub softirq_observed: Duration,
    /// What had been timed of them until the last one ended.
    pub softirqs_before: Vec<SoftirqVector>,
    pub rates: Vec<(u64, u32)>,
    /// What was taken out of the tables.
    pub gathered: Gathered,
    /// Batches that have ended and were not taken yet, with when they did.
    pub ended: Vec<(Instant, Slice)>,
    /// Whether the last one had so many new nodes that several would fill the tables.
    pub crowded: bool,
    /// CPU time that taking the last ones took.
    pub taking: Duration,
    /// What is known of the batch that is being filled.
    pub slice: Slice,
    /// CPU samples when their stacks' last batch began, and whether those before are to be taken.
    pub samples_before: u64,
    /// See `samples_before`.
    pub samples_due: bool,
    /// New nodes of the tree when it began.
    pub nodes_before: u64,
    /// The same of the last batch that was taken out of the table.
    pub nodes_taken: u64,
    pub journeys: Vec<WholeJourney>,
    /// Those that were too many.
    pub journeys_not_kept: u64,
    pub counters: Counters,
    /// The same since the last batch.
    pub meanwhile: Option<Meanwhile>,
    /// CPU time of this process: at the start, at the end used meanwhile.
    pub own_cpu: Duration,
    /// That of the thread that records, by CPU.
    pub own_by_cpu: BTreeMap<usize, Duration>,
    /// And in this turn.
    pub used_in_turn: Duration,
    /// Since when journeys are observed, if they are.
    pub window: Option<Instant>,
    /// Time and NET_RX softirqs between two looks while journeys were observed in turns.
    pub looks: Vec<(u64, u64)>,
    /// The look before.
    pub last_look: Look,
    /// Since when softirqs are timed, if they are.
    pub softirq_window: Option<Instant>,
    /// What the CPUs had counted when the rates were fitted, and how long the probes had been attached.
    pub last_load: (Vec<CpuState>, Duration),
    /// When this turn began.
    pub turn: Instant,
    /// While probes are attached.
    pub on_time: Option<OnTime>,
    /// Tells when the ring fills faster than it is looked at.
    pub filling: Option<AsyncFd<OwnedFd>>,
    /// Tells when the programs said something.
    pub said: Option<AsyncFd<OwnedFd>>,
    /// Where is written what there is so far.
    pub spool: Option<Spool>,
    /// The CPUs that are sampled, if any.
    pub sampled: Option<Sampled>,
}

/// The programs, loaded, and what they cost here.
struct Prepared {
    session: Session,
    symbols: Option<Symbols>,
    costs: Calibration,
    key: Option<Key>,
    hook_costs: HookCosts,
    softirq_cost: f64,
    no_functions: Option<String>,
}

impl Prepared {
    fn new(args: &RecordArgs, types: &KernelTypes, topology: &Topology) -> Result<Self> {
        let sizes = Sizes {
            wanted: filter::wanted(args, topology).len(),
            slots: args.debug_slots,
            ring_bytes: args.debug_ring_bytes,
            nodes: args.debug_nodes,
            level: logger::asked() as u8,
            ..Sizes::default()
        };
        let (mut session, hooks) = tier::load(args, sizes, types)?;
        // What was asked for beyond that are other programs.
        let usual = sizes.level == 0 && sizes.slots.is_none() && sizes.nodes.is_none() && sizes.ring_bytes.is_none();
        let key = if usual { Key::now(hooks.is_ok()) } else { None };
        let place = Place::default();
        let found = key.as_ref().and_then(|key| place.find(key, kept::system_call_ns));
        let is_kept = found.is_some();
        let (mut symbols, mut no_functions) = (None, None);
        let costs = match hooks {
            Ok(mut hooked) => {
                let costs = match found {
                    Some(costs) => costs,
                    None => measure(&mut session, types, Some(&mut hooked))?,
                };
                let ways = &mut hooked.ways;
                if let Some(kept::Hooks { lacking: [no_fentry, no_kprobe], .. }) = costs.hooks.clone() {
                    ways.no_fentry = ways.no_fentry.take().or(no_fentry);
                    ways.no_kprobe = ways.no_kprobe.take().or(no_kprobe);
                }
                session.attach_functions(&hooked.symbols, types, &hooked.ways)?;
                symbols = Some(hooked.symbols);
                costs
            }
            Err(reason) => {
                no_functions = Some(reason);
                found.map_or_else(|| measure(&mut session, types, None), Ok)?
            }
        };
        log::info!("{}: {:?}", if is_kept { "costs were kept" } else { "costs were measured" }, costs.points);
        if let Some(key) = key.as_ref().filter(|_| !is_kept && costs.points.calm) {
            place.keep(key, &costs);
        }
        let (hook_costs, softirq_cost) = costs.hooks.map(|hooks| (hooks.costs, hooks.softirq_ns)).unwrap_or_default();
        Ok(Self { session, symbols, costs: costs.points, key, hook_costs, softirq_cost, no_functions })
    }
}

/// What the programs are told at first.
fn configuration(args: &RecordArgs, costs: &Calibration, every: u32) -> Config {
    let mut config = Config {
        sample_every: every,
        ring_every: 64,
        accept: 1,
        undisturbed_ns: (costs.alike_ns * UNDISTURBED) as u32,
        thin_after: (MAX_NODES / THIN_AT / online().map_or(1, |cpus| cpus.len() as u32)).max(1),
        ..Config::default()
    };
    filter::configure(args, &mut config);
    config
}

/// What probes cost now, and hooks where there are any.
fn measure(session: &mut Session, types: &KernelTypes, hooks: Option<&mut Hooks>) -> Result<Costs> {
    let points = calibrate(session)?;
    let hooks = match hooks {
        Some(Hooks { ways, symbols }) => {
            let costs = function_costs::measure(session, symbols, types, ways);
            let softirq_ns = function_costs::softirq_cost(session)?;
            Some(kept::Hooks { costs, softirq_ns, lacking: [ways.no_fentry.clone(), ways.no_kprobe.clone()] })
        }
        None => None,
    };
    Ok(Costs { points, hooks })
}

impl Recording {
    /// Loads, measures, and attaches.
    pub fn open(args: &RecordArgs) -> Result<Self> {
        let watcher = Watcher::start()?;
        filter::check(args, &watcher.current())?;
        let hurry = Hurry::begin();
        let types = KernelTypes::running()?;
        Symbols::check()?;
        let prepared = Prepared::new(args, &types, &watcher.current())?;
        drop(hurry);
        let reasons = types.drop_reasons().into_iter().collect();
        let mut recording = Self::of(args, prepared, watcher, reasons);
        recording.begin(args)?;
        Ok(recording)
    }

    /// Nothing is attached yet but hooks.
    fn of(args: &RecordArgs, prepared: Prepared, watcher: Watcher, reasons: HashMap<u32, String>) -> Self {
        let Prepared { session, symbols, costs, key, hook_costs, softirq_cost, no_functions } = prepared;
        let mut governor = Governor::new(args.budget, costs, args.sample_every);
        let frequency = governor.sampler_frequency(args.frequency);
        let config = configuration(args, &costs, governor.every);
        Self {
            session,
            symbols,
            watcher: Some(watcher),
            costs,
            key,
            hook_costs,
            softirq_cost,
            first_tally: Vec::new(),
            no_functions,
            rates: vec![(0, governor.every)],
            governor,
            config,
            frequency,
            asked_hz: args.frequency,
            source: "",
            started: Instant::now(),
            started_ns: monotonic_ns(),
            began_unix_ns: 0,
            observed: Duration::ZERO,
            softirq_observed: Duration::ZERO,
            softirqs_before: Vec::new(),
            gathered: Gathered::new(reasons),
            ended: Vec::new(),
            crowded: true,
            taking: Duration::ZERO,
            slice: Slice::default(),
            samples_before: 0,
            samples_due: false,
            nodes_before: 0,
            nodes_taken: 0,
            journeys: Vec::new(),
            journeys_not_kept: 0,
            counters: Counters::default(),
            meanwhile: None,
            own_cpu: own_time().total(),
            own_by_cpu: BTreeMap::new(),
            used_in_turn: Duration::ZERO,
            window: None,
            looks: Vec::new(),
            last_look: Look::default(),
            softirq_window: None,
            last_load: (Vec::new(), Duration::ZERO),
            turn: Instant::now(),
            on_time: None,
            filling: None,
            said: None,
            spool: None,
            sampled: None,
        }
    }

    /// From here on probes are attached.
    fn begin(&mut self, args: &RecordArgs) -> Result<()> {
        self.refresh_filters(args)?;
        self.filling = Some(runtime::readable(self.session.ring_descriptor()?)?);
        self.said = match &self.session.messages {
            Some(messages) => Some(runtime::readable(messages.descriptor()?)?),
            None => None,
        };
        // What they said while costs were measured.
        self.session.tell_messages();
        self.on_time = Some(OnTime::begin());
        self.draw_first()?;
        self.open_window()?;
        if self.frequency > 0 {
            let cpus = online()?;
            self.source = self.session.attach_sampler(self.frequency, &cpus)?;
            self.sampled = Some(Sampled::new(cpus));
            log::info!("{} CPU samples a second by {}", self.frequency, self.source);
        }
        self.session.attach(Group::Counts)?;
        if let Some(watcher) = &self.watcher {
            watcher.count_from_now();
        }
        self.started = Instant::now();
        self.started_ns = monotonic_ns();
        self.began_unix_ns = unix_ns();
        self.first_tally = self.session.tallies()?;
        self.counters = Counters::read()?;
        self.own_cpu = own_time().total();
        self.meanwhile = Some(Meanwhile::begin());
        self.turn = self.started;
        Ok(())
    }

    pub fn refresh_filters(&mut self, args: &RecordArgs) -> Result<()> {
        let is_first = self.config.vxlan_ports == Config::default().vxlan_ports;
        let of_devices = !args.netns.is_empty() || !args.container.is_empty() || !args.device.is_empty();
        if !is_first && !of_devices && args.flow.is_none() {
            return Ok(());
        }
        let topology = self.watcher.as_ref().map(Watcher::current).unwrap_or_default();
        // The programs are told with the next turn. Without a filter what a tunnel carries is told of those that there were at first.
        if !filter::find_tunnels(&topology, &mut self.config)
            && args.flow.is_some()
            && self.session.missing.insert("tunnels".into(), TUNNELS_FULL.into()).is_none()
        {
            note!("netstrata: {TUNNELS_FULL}");
        }
        if of_devices {
            let wanted = filter::wanted(args, &topology);
            let is_full = wanted.into_iter().any(|key| self.session.insert("WANTED", key, 1u32).is_err());
            // What was recorded until then is not to be lost.
            if is_full && self.session.missing.insert("filters".into(), FILTERS_FULL.into()).is_none() {
                note!("netstrata: {FILTERS_FULL}");
            }
        }
        Ok(())
    }

    /// Detaches and reads what is left; how long it took, and the kernel's own counters at the end.
    pub async fn end(&mut self) -> Result<(Duration, Counters)> {
        if let Some(watcher) = &self.watcher {
            watcher.count_to_now();
        }
        let duration = self.started.elapsed();
        self.session.detach(Group::Counts)?;
        if self.window.is_some() {
            self.end_journeys().await?;
            self.session.detach(Group::Journey)?;
        }
        self.close_softirq_window()?;
        self.session.detach_sampler()?;
        let counters = Counters::read()?;
        self.drain()?;
        let last = self.end_slice(duration, &self.session.cpu_states()?, true);
        let slices = self.ended.drain(..).map(|(_, slice)| slice).chain([last]).collect();
        self.gathered.take(&mut self.session, Batches::All, slices)?;
        self.gathered.take_samples(&mut self.session, Batches::All)?;
        self.session.tell_messages();
        Ok((duration, counters))
    }
}
