//! A running recording: a thread that owns the programs, keeps to the budget and collects.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use netstrata_common::{Config, CpuState, Journey, PAUSE_NS, SOFTIRQS, Softirq, Tally};

use super::{
    Calibration, assemble, calibrate, filter,
    function_costs::{self, HookCosts},
    functions::{Ways, has_kprobes},
    governor::{BURST_FREQUENCY, Governor, Load},
    kernel_counters::{Counters, forget_peak_memory, receive_softirqs},
    session::{Group, Session, Sizes},
};
use crate::{
    cli::{RecordArgs, TierArg},
    failure::Failure,
    host::{
        clock::monotonic_ns,
        cpu::{online, own_time},
    },
    kernel::{self, btf::KernelTypes, symbols::Symbols},
    profile::{NOT_ASKED, Profile},
    topology::Watcher,
};

/// The longest time between two looks whether anything is due.
const TICK: Duration = Duration::from_millis(100);
/// Time between two looks at the load.
const LOOK: Duration = Duration::from_millis(50);
/// Time of each turn in which softirqs are timed.
const SOFTIRQ_WINDOW: Duration = Duration::from_millis(50);
/// Whole journeys that go through the ring, at most about so many a second.
const JOURNEYS_PER_SECOND: f64 = 20.0;
const MOST_JOURNEYS: usize = 2000;
/// How many times longer than when costs were measured the programs take at most, unless they are interrupted.
const UNDISTURBED: f64 = 4.0;
/// Packets chosen between two looks that tell when traffic began or ended.
const TELLING: u64 = 20;
/// Beyond so many looks, neighbours become one.
const MOST_LOOKS: usize = 4096;
/// Time for followed packets to end before the probes are detached.
const DRAIN: Duration = Duration::from_millis(4);

/// Whether this thread runs as soon as it wants to: on a busy host it would come back late from every sleep, and the probes
/// would stay attached for several times as long as the budget allows. Where that is not allowed, it is late.
pub(super) fn keep_time(keep: bool) {
    let policy = if keep { libc::SCHED_RR } else { libc::SCHED_OTHER };
    let parameters = libc::sched_param { sched_priority: i32::from(keep) };
    // SAFETY: affects this thread only, which waits for something most of the time.
    unsafe { libc::sched_setscheduler(0, policy | libc::SCHED_RESET_ON_FORK, &raw const parameters) };
}

/// Puts this thread, and those that it starts, before others until it is dropped: loading and measuring take a second of CPU
/// time, which on a busy host would be half a minute, and disturb what is measured. No real-time priority, which would keep
/// the kernel's own threads from running. Where it is not allowed, it takes as long as it takes.
struct Hurry(libc::c_int);

impl Hurry {
    const FIRST: libc::c_int = -20;

    fn begin() -> Self {
        // SAFETY: both affect and ask this thread only.
        unsafe {
            let before = libc::getpriority(libc::PRIO_PROCESS, 0);
            libc::setpriority(libc::PRIO_PROCESS, 0, Self::FIRST);
            Self(before)
        }
    }
}

impl Drop for Hurry {
    fn drop(&mut self) {
        // SAFETY: affects this thread only.
        unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, self.0) };
    }
}

/// A recording that runs.
pub struct Recorder {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Profile>>,
}

impl Recorder {
    /// Attaches everything, then returns.
    pub fn start(args: &RecordArgs) -> Result<Self> {
        let mask = kernel::privilege::effective();
        let missing = kernel::privilege::missing_required(mask);
        if !missing.is_empty() {
            return Err(Failure::Refused(format!(
                "recording needs {}; run as root, or give the program those capabilities",
                missing.join(" and ")
            ))
            .into());
        }
        forget_peak_memory();
        let stop = Arc::new(AtomicBool::new(false));
        let (ready, attached) = mpsc::channel();
        let (args, until) = (args.clone(), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("ns-recorder".into())
            .spawn(move || {
                let mut recording = Recording::open(&args)?;
                // The receiver may be gone only if the starter died; then the loop ends at once.
                let _ = ready.send(());
                recording.run(&args, &until)?;
                recording.finish(&args)
            })
            .context("cannot start a thread")?;
        if attached.recv().is_err() {
            return Err(match thread.join() {
                Ok(Ok(_)) => anyhow::anyhow!("the recorder ended before it began"),
                Ok(Err(error)) => error,
                Err(_) => anyhow::anyhow!("the recorder panicked"),
            });
        }
        Ok(Self { stop, thread })
    }

    /// Detaches everything and returns what was recorded.
    pub fn stop(self) -> Result<Profile> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().map_err(|_| anyhow::anyhow!("the recorder panicked"))?
    }
}

/// What a look at the load saw.
#[derive(Default)]
struct Look {
    /// CLOCK_MONOTONIC.
    at_ns: u64,
    /// NET_RX softirqs so far.
    softirqs: u64,
    /// Packets chosen so far.
    followed: u64,
}

impl Look {
    fn now(states: &[CpuState]) -> Self {
        let followed = states.iter().map(|state| state.followed).sum();
        Self { at_ns: monotonic_ns(), softirqs: receive_softirqs(), followed }
    }
}

/// Everything that a recording holds, in the recorder's thread.
pub(super) struct Recording {
    pub session: Session,
    /// Names of the drop reasons.
    pub reasons: HashMap<u32, String>,
    pub symbols: kernel::symbols::Symbols,
    /// Taken at the end.
    pub watcher: Option<Watcher>,
    pub costs: Calibration,
    /// What hooks cost, by way; zero without the function tier.
    pub hook_costs: HookCosts,
    /// What a program at the beginning or the end of a softirq costs; zero without the function tier.
    pub softirq_cost: f64,
    /// What hooks had done before the recording began.
    pub first_tally: Tally,
    /// Why spans are not split over functions, unless they are.
    pub no_functions: Option<String>,
    pub governor: Governor,
    pub config: Config,
    pub frequency: u64,
    pub source: &'static str,
    pub started: Instant,
    /// CLOCK_MONOTONIC at the start, as the programs see it.
    pub started_ns: u64,
    /// Time during which journeys were observed.
    pub observed: Duration,
    /// Time during which softirqs were timed.
    pub softirq_observed: Duration,
    pub rates: Vec<(u64, u32)>,
    pub journeys: Vec<Journey>,
    pub counters: Counters,
    /// CPU time of this process: at the start, at the end used meanwhile.
    pub own_cpu: Duration,
    window: Option<Instant>,
    /// Time and NET_RX softirqs between two looks while journeys were observed in turns.
    pub looks: Vec<(u64, u64)>,
    last_look: Look,
    softirq_window: Option<Instant>,
    last_load: (Vec<CpuState>, Duration),
    turn: Instant,
}

impl Recording {
    fn open(args: &RecordArgs) -> Result<Self> {
        let watcher = Watcher::start()?;
        filter::check(args, &watcher.current())?;
        let hurry = Hurry::begin();
        let types = kernel::btf::KernelTypes::running()?;
        let symbols = kernel::symbols::Symbols::running()?;
        let sizes = Sizes {
            slots: args.debug_slots,
            ring_bytes: args.debug_ring_bytes,
            nodes: args.debug_nodes,
            ..Sizes::default()
        };
        let (mut session, ways) = load(args, sizes, &symbols, &types)?;
        let costs = calibrate(&mut session)?;
        let (mut hook_costs, mut softirq_cost) = (HookCosts::default(), 0.0);
        let mut no_functions = None;
        match ways {
            Ok(mut ways) => {
                hook_costs = function_costs::measure(&mut session, &symbols, &types, &mut ways);
                softirq_cost = function_costs::softirq_cost(&mut session)?;
                session.attach_functions(&symbols, &types, &ways)?;
            }
            Err(reason) => no_functions = Some(reason),
        }
        drop(hurry);
        let governor = Governor::new(args.budget, costs, args.sample_every);
        let frequency = governor.sampler_frequency(args.frequency);
        let mut config = Config {
            sample_every: governor.every,
            ring_every: 64,
            accept: 1,
            undisturbed_ns: (costs.alike_ns * UNDISTURBED) as u32,
            ..Config::default()
        };
        filter::configure(args, &mut config);
        let mut recording = Self {
            session,
            reasons: types.drop_reasons().into_iter().collect(),
            symbols,
            watcher: Some(watcher),
            costs,
            hook_costs,
            softirq_cost,
            first_tally: Tally::default(),
            no_functions,
            rates: vec![(0, governor.every)],
            governor,
            config,
            frequency,
            source: "",
            started: Instant::now(),
            started_ns: monotonic_ns(),
            observed: Duration::ZERO,
            softirq_observed: Duration::ZERO,
            journeys: Vec::new(),
            counters: Counters::default(),
            own_cpu: own_time().total(),
            window: None,
            looks: Vec::new(),
            last_look: Look::default(),
            softirq_window: None,
            last_load: (Vec::new(), Duration::ZERO),
            turn: Instant::now(),
        };
        // Freeing a million small pieces takes its time.
        drop(types);
        recording.refresh_filters(args)?;
        // From here on probes are attached.
        keep_time(true);
        recording.open_window()?;
        if frequency > 0 {
            recording.source = recording.session.attach_sampler(frequency, &online()?)?;
        }
        recording.started = Instant::now();
        recording.started_ns = monotonic_ns();
        recording.first_tally = recording.session.tally()?;
        recording.counters = Counters::read()?;
        recording.own_cpu = own_time().total();
        recording.turn = recording.started;
        Ok(recording)
    }

    fn refresh_filters(&mut self, args: &RecordArgs) -> Result<()> {
        if !args.netns.is_empty() || !args.container.is_empty() || !args.device.is_empty() {
            let topology = self.watcher.as_ref().map(Watcher::current).unwrap_or_default();
            for key in filter::wanted(args, &topology) {
                self.session.insert("WANTED", key, 1u32)?;
            }
        }
        Ok(())
    }

    /// Collects until told to stop.
    fn run(&mut self, args: &RecordArgs, until: &AtomicBool) -> Result<()> {
        let mut looked = Instant::now();
        let mut softirqs_due = true;
        let turn = self.governor.turn();
        while !until.load(Ordering::Relaxed) {
            std::thread::park_timeout(self.pause(turn, looked));
            self.drain()?;
            if self.window.is_some() {
                if looked.elapsed() >= LOOK {
                    looked = Instant::now();
                    self.adapt()?;
                    self.note_look()?;
                }
                let duty = self.governor.duty;
                if duty < 1.0 && self.turn.elapsed() >= turn.mul_f64(duty) {
                    self.end_journeys()?;
                    self.take_burst()?;
                    self.session.detach(Group::Journey)?;
                }
                // Probes of softirqs lie within the spans of journeys: they wait until those are not observed, if ever.
                if softirqs_due && self.softirq_window.is_none() && (self.window.is_none() || duty >= 1.0) {
                    softirqs_due = false;
                    self.open_softirq_window()?;
                }
            }
            if self.softirq_window.is_some_and(|opened| opened.elapsed() >= SOFTIRQ_WINDOW) {
                self.close_softirq_window()?;
            }
            if self.turn.elapsed() >= turn {
                self.turn = Instant::now();
                self.refresh_filters(args)?;
                softirqs_due = true;
                if self.window.is_none() {
                    self.open_window()?;
                }
            }
        }
        keep_time(false);
        // What it takes to end the recording does not disturb what was recorded.
        self.own_cpu = own_time().total().saturating_sub(self.own_cpu);
        Ok(())
    }

    /// Until something is due.
    fn pause(&self, turn: Duration, looked: Instant) -> Duration {
        let in_turn = |part: f64| turn.mul_f64(part).saturating_sub(self.turn.elapsed());
        let mut due = TICK.min(in_turn(1.0));
        if self.window.is_some() {
            due = due.min(LOOK.saturating_sub(looked.elapsed()));
            if self.governor.duty < 1.0 {
                due = due.min(in_turn(self.governor.duty));
            }
        }
        if let Some(opened) = self.softirq_window {
            due = due.min(SOFTIRQ_WINDOW.saturating_sub(opened.elapsed()));
        }
        due.max(Duration::from_micros(100))
    }

    /// Attached time of the journey probes so far.
    fn attached(&self) -> Duration {
        self.observed + self.window.map_or(Duration::ZERO, |opened| opened.elapsed())
    }

    /// Fits the rates to the load of the busiest CPU since the last look.
    fn adapt(&mut self) -> Result<()> {
        let states = self.session.cpu_states()?;
        let attached = self.attached();
        let seconds = (attached.saturating_sub(self.last_load.1)).as_secs_f64();
        if seconds < 0.02 {
            return Ok(());
        }
        let before = |cpu: usize| self.last_load.0.get(cpu).copied().unwrap_or_default();
        let busiest = states
            .iter()
            .enumerate()
            .map(|(cpu, state)| {
                let crossings = state.crossings.saturating_sub(before(cpu).crossings) as f64;
                let followed = state.followed_crossings.saturating_sub(before(cpu).followed_crossings) as f64;
                (crossings, followed)
            })
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .unwrap_or_default();
        let followed: u64 = states.iter().map(|state| state.followed).sum();
        let followed_before: u64 = self.last_load.0.iter().map(|state| state.followed).sum();
        let per_second = followed.saturating_sub(followed_before) as f64 / seconds;
        self.last_load = (states, attached);
        let load = Load { seconds, crossings: busiest.0, followed_crossings: busiest.1 };
        let ring_every = ((per_second / JOURNEYS_PER_SECOND) as u32).max(1);
        if self.governor.adapt(load, self.frequency) {
            self.rates.push((self.started.elapsed().as_nanos() as u64, self.governor.every));
        } else if ring_every == self.config.ring_every {
            return Ok(());
        }
        self.config.sample_every = self.governor.every;
        self.config.ring_every = ring_every;
        self.session.set_config(self.config)
    }

    fn open_window(&mut self) -> Result<()> {
        // What the CPUs saw last belongs to the window before.
        let mut states = self.session.cpu_states()?;
        for state in &mut states {
            (state.point, state.object, state.pending_socket, state.turn_task) = (0, 0, 0, 0);
        }
        self.session.set_per_cpu("CPUS", 0, states)?;
        self.config.epoch += 1;
        self.config.accept = 0;
        self.session.set_config(self.config)?;
        self.session.attach(Group::Journey)?;
        // Only now does a CPU's last crossing tell the place of a sample: before, crossings in between are not seen.
        self.config.accept = 1;
        self.session.set_config(self.config)?;
        self.window = Some(Instant::now());
        self.last_look = Look::now(&self.session.cpu_states()?);
        Ok(())
    }

    /// Notes how busy the network was since the last look: with all that the kernel counts it tells whether the turns that are
    /// observed are like the rest.
    fn note_look(&mut self) -> Result<()> {
        if self.governor.duty >= 1.0 {
            return Ok(());
        }
        let states = self.session.cpu_states()?;
        let before = std::mem::replace(&mut self.last_look, Look::now(&states));
        let now = &self.last_look;
        let (mut from, mut until) = (before.at_ns, now.at_ns);
        // Traffic may have begun or ended in between. Few packets do not tell.
        if now.followed.saturating_sub(before.followed) >= TELLING {
            let busy = states.iter().filter(|state| state.chosen_ns > from);
            let (began, ended) = busy.fold((u64::MAX, 0), |(began, ended), state| {
                (began.min(state.busy_since_ns), ended.max(state.chosen_ns))
            });
            from = from.max(began);
            if until.saturating_sub(ended) > PAUSE_NS {
                until = ended;
            }
        }
        self.looks.push((until.saturating_sub(from), now.softirqs.saturating_sub(before.softirqs)));
        if self.looks.len() >= MOST_LOOKS {
            self.looks =
                self.looks.chunks(2).map(|two| two.iter().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))).collect();
        }
        Ok(())
    }

    /// No journeys begin any more, and those under way get the time to end.
    fn end_journeys(&mut self) -> Result<()> {
        self.config.accept = 0;
        self.session.set_config(self.config)?;
        self.note_look()?;
        if let Some(opened) = self.window.take() {
            self.observed += opened.elapsed();
        }
        std::thread::sleep(DRAIN);
        Ok(())
    }

    /// Samples densely for a moment. Journeys must not be observed: a sample takes far longer than a crossing.
    fn take_burst(&mut self) -> Result<()> {
        if let Some(length) = self.governor.burst() {
            self.session.attach_burst(BURST_FREQUENCY, &online()?)?;
            std::thread::sleep(length);
            self.session.detach_burst()?;
        }
        Ok(())
    }

    fn open_softirq_window(&mut self) -> Result<()> {
        // An entry or raise seen in the last window has nothing to do with this one.
        for vector in 0..SOFTIRQS as u32 {
            let mut values: Vec<Softirq> = self.session.per_cpu::<Softirq>("SOFTIRQ")?.swap_remove(vector as usize);
            for value in &mut values {
                (value.entry_ns, value.raise_ns) = (0, 0);
            }
            self.session.set_per_cpu("SOFTIRQ", vector, values)?;
        }
        self.session.attach(Group::Softirq)?;
        self.softirq_window = Some(Instant::now());
        Ok(())
    }

    fn close_softirq_window(&mut self) -> Result<()> {
        if let Some(opened) = self.softirq_window.take() {
            self.softirq_observed += opened.elapsed();
            self.session.detach(Group::Softirq)?;
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<()> {
        let journeys = &mut self.journeys;
        self.session.drain_ring(|bytes| {
            if bytes.len() == size_of::<Journey>() && journeys.len() < MOST_JOURNEYS {
                // SAFETY: the programs put whole `Journey`s into the ring; the length was checked.
                journeys.push(unsafe { bytes.as_ptr().cast::<Journey>().read_unaligned() });
            }
        })
    }

    /// Detaches and puts the profile together.
    fn finish(mut self, args: &RecordArgs) -> Result<Profile> {
        let duration = self.started.elapsed();
        let _hurry = Hurry::begin();
        if self.window.is_some() {
            self.end_journeys()?;
            self.session.detach(Group::Journey)?;
        }
        self.close_softirq_window()?;
        self.session.detach_sampler()?;
        let counters = Counters::read()?;
        self.drain()?;
        assemble::profile(self, args, duration, &counters)
    }
}

/// Hooks stay attached for the whole recording, and a packet meets dozens: a smaller budget does not pay for them.
const FUNCTIONS_FROM: f64 = 0.05;
const NOT_AFFORDED: &str = "hooks cost more than the budget allows; --tier function, or --budget of at least 5%";

/// Loads the programs in the tier that was asked for; with the ways in which functions can be hooked, or why they are
/// not.
fn load(
    args: &RecordArgs,
    sizes: Sizes,
    symbols: &Symbols,
    types: &KernelTypes,
) -> Result<(Session, std::result::Result<Ways, String>)> {
    if args.tier == TierArg::Tracepoint {
        return Ok((Session::load(types, &sizes)?, Err(NOT_ASKED.into())));
    }
    if args.tier == TierArg::Auto && args.sample_every.is_none() && args.budget < FUNCTIONS_FROM {
        return Ok((Session::load(types, &sizes)?, Err(NOT_AFFORDED.into())));
    }
    // Where there are kprobes the function tier will most likely do; where not, fentry is tried first.
    let mut functions = has_kprobes();
    loop {
        let mut session = Session::load(types, &Sizes { functions, ..sizes })?;
        let ways = session.function_ways(symbols, types);
        if ways.any() == functions {
            return match (functions, args.tier) {
                (true, _) => Ok((session, Ok(ways))),
                (false, TierArg::Function) => Err(Failure::Refused(format!(
                    "this kernel lets no function be hooked ({}); leave --tier out, or use --tier tracepoint",
                    ways.reason()
                ))
                .into()),
                (false, _) => Ok((session, Err(ways.reason()))),
            };
        }
        functions = ways.any();
    }
}
