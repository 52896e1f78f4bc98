//! The turns of a recording: windows in which journeys are observed, windows in which softirqs are timed, bursts of samples, and
//! looks at the load that fit the rates to the budget.

use std::{
    hash::{BuildHasher as _, RandomState},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::Result;
use netstrata_common::{CpuState, MAX_NODES, MAX_STACKS, PAUSE_NS, Softirq};
use tokio::{io::unix::AsyncFd, sync::oneshot, time::sleep};

use super::{
    first::first,
    gathered::Slice,
    governor::{BATCH, BURST_FREQUENCY, Load},
    hotplug::Sampled,
    look::Look,
    maps::Batches,
    probes::Group,
    recording::Recording,
    softirqs,
};
use crate::{
    cli::RecordArgs,
    host::{
        clock::thread_cpu_ns,
        cpu::{here, online, own_time},
    },
    profile::add_softirqs,
};

/// The longest time between two looks whether anything is due. The ring tells by itself when it fills; a timer remains for the
/// rest, which has no event: turns, and what the programs counted.
const TICK: Duration = Duration::from_millis(100);
/// Time between two looks at the load.
const LOOK: Duration = Duration::from_millis(50);
/// The least length of a batch within a window, and how many it holds at least if they are not shorter: of each there is something to
/// take, which costs a tenth of a millisecond and more.
const WINDOW_SLICE: Duration = Duration::from_millis(10);
const WINDOW_SLICES: u32 = 4;
/// A batch has few nodes if so many of it would fill the table.
const CROWD: u64 = 64;
/// Time of each turn in which softirqs are timed.
const SOFTIRQ_WINDOW: Duration = Duration::from_millis(50);
/// Whole journeys that go through the ring, at most about so many a second.
const JOURNEYS_PER_SECOND: f64 = 20.0;
const MOST_JOURNEYS: usize = 2000;
/// Packets chosen between two looks that tell when traffic began or ended.
const TELLING: u64 = 20;
/// Of a shorter time the recorder's own share is not told.
const LONG_ENOUGH: Duration = Duration::from_secs(1);
/// Beyond so many looks, neighbours become one.
const MOST_LOOKS: usize = 4096;
/// A program that began before a batch ended has ended by then.
const SETTLED: Duration = Duration::from_millis(20);
/// Time for followed packets to end before the probes are detached.
const DRAIN: Duration = Duration::from_millis(4);

impl Recording {
    /// Collects until told to stop, or until nobody can tell any more.
    pub async fn run(&mut self, args: &RecordArgs, mut until: oneshot::Receiver<()>) -> Result<()> {
        let mut looked = Instant::now();
        let mut sliced = looked;
        let mut softirqs_due = true;
        let mut used = thread_cpu_ns();
        loop {
            let turn = self.governor.turn();
            let pause = sleep(self.pause(turn, looked, sliced));
            tokio::select! {
                biased;
                _ = &mut until => break,
                () = pause => {}
                () = ready(self.filling.as_ref()) => {}
                () = ready(self.said.as_ref()) => self.session.tell_messages(),
            }
            self.drain()?;
            self.take_batch()?;
            self.spool(args);
            self.sample_new_cpus()?;
            if self.window.is_some() && looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.adapt()?;
            }
            if sliced.elapsed() >= self.slice_time() {
                sliced = Instant::now();
                self.end_batch(&self.session.cpu_states()?)?;
            }
            if self.window.is_some() {
                let duty = self.governor.duty;
                if duty < 1.0 && self.turn.elapsed() >= turn.mul_f64(duty) {
                    self.end_journeys().await?;
                    self.take_burst().await?;
                    self.session.detach(Group::Journey)?;
                }
                // Probes of softirqs lie within the spans of journeys: they wait until those are not observed, if ever.
                if softirqs_due && self.softirq_window.is_none() && (self.window.is_none() || duty >= 1.0) {
                    softirqs_due = false;
                    self.open_softirq_window()?;
                }
            }
            if self.softirq_window.is_some_and(|opened| opened.elapsed() >= self.softirq_time()) {
                self.close_softirq_window()?;
            }
            used = self.note_own(used);
            if self.turn.elapsed() >= turn {
                self.next_turn(args)?;
                softirqs_due = true;
            }
        }
        self.note_own(used);
        self.on_time = None;
        // What it takes to end the recording does not disturb what was recorded.
        self.own_cpu = own_time().total().saturating_sub(self.own_cpu);
        Ok(())
    }

    /// Samples CPUs that came since the last look, too.
    fn sample_new_cpus(&mut self) -> Result<()> {
        let Some(cpus) = self.sampled.as_mut().and_then(Sampled::came) else { return Ok(()) };
        log::info!("a CPU came: now {cpus:?} are sampled");
        self.session.detach_sampler()?;
        // One may have gone again: the next look tells.
        if self.session.attach_sampler(self.frequency, cpus).is_err() {
            self.sampled = Some(Sampled::new(Vec::new()));
        }
        Ok(())
    }

    fn next_turn(&mut self, args: &RecordArgs) -> Result<()> {
        self.turn = Instant::now();
        let used = std::mem::take(&mut self.used_in_turn);
        if self.governor.duty < 1.0 {
            self.governor.note_turn(used);
        }
        self.refresh_filters(args)?;
        if self.window.is_none() {
            self.open_window()?;
        }
        Ok(())
    }

    /// Bills what this thread used since the last time; on the CPU on which it is, where it was most of the time.
    fn note_own(&mut self, before: u64) -> u64 {
        let now = thread_cpu_ns();
        let used = Duration::from_nanos(now.saturating_sub(before));
        self.used_in_turn += used;
        *self.own_by_cpu.entry(here()).or_default() += used;
        now
    }

    /// How long a batch lasts. Windows are short, and hold several, unless these would fill the tables.
    fn slice_time(&self) -> Duration {
        match (self.window.is_some() && self.governor.duty < 1.0, self.crowded) {
            (false, _) if self.window.is_some() => self.governor.batch(self.taking, self.started.elapsed()),
            (false, _) => BATCH[0],
            (true, true) => LOOK,
            (true, false) => {
                (self.governor.turn().mul_f64(self.governor.duty) / WINDOW_SLICES).clamp(WINDOW_SLICE, LOOK)
            }
        }
    }

    /// How long after its end a batch is taken. Each time the tables are walked: where a window goes on, all of it at once, unless a part
    /// fills them.
    fn taken_after(&self) -> Duration {
        let fills = self.nodes_before.saturating_sub(self.nodes_taken) > MAX_NODES as u64 / 16;
        match (self.window.is_some(), self.governor.duty < 1.0) {
            (true, true) if !fills => self.governor.turn(),
            (true, false) if !fills => LOOK,
            _ => SETTLED,
        }
    }

    /// How long softirqs are timed: half as long where there are so many that the budget does not pay for all crossings.
    fn softirq_time(&self) -> Duration {
        if self.governor.duty < 1.0 { SOFTIRQ_WINDOW / 2 } else { SOFTIRQ_WINDOW }
    }

    /// Until something is due.
    fn pause(&self, turn: Duration, looked: Instant, sliced: Instant) -> Duration {
        let in_turn = |part: f64| turn.mul_f64(part).saturating_sub(self.turn.elapsed());
        // Without a window nothing is due before the next one that does not tell by itself, but the end of a batch.
        let next = if self.window.is_some() { TICK } else { BATCH[0].saturating_sub(sliced.elapsed()) };
        let mut due = next.min(in_turn(1.0));
        if let Some((ended, _)) = self.ended.first() {
            due = due.min(self.taken_after().saturating_sub(ended.elapsed()));
        }
        if self.window.is_some() {
            due = due.min(LOOK.saturating_sub(looked.elapsed()));
            if self.governor.duty < 1.0 {
                due = due.min(in_turn(self.governor.duty)).min(self.slice_time().saturating_sub(sliced.elapsed()));
            }
        }
        if let Some(opened) = self.softirq_window {
            due = due.min(self.softirq_time().saturating_sub(opened.elapsed()));
        }
        due.max(Duration::from_micros(100))
    }

    /// Attached time of the journey probes so far.
    pub fn attached(&self) -> Duration {
        self.observed + self.window.map_or(Duration::ZERO, |opened| opened.elapsed())
    }

    /// Fits the rates to the load of the busiest CPU since the last look.
    fn adapt(&mut self) -> Result<()> {
        let states = self.session.cpu_states()?;
        let fills = new_nodes(&states).saturating_sub(self.nodes_before) > MAX_NODES as u64 / 4
            || samples(&states).saturating_sub(self.samples_before) > u64::from(MAX_STACKS) / 2;
        if fills && self.ended.is_empty() {
            self.end_batch(&states)?;
        }
        let attached = self.attached();
        let seconds = (attached.saturating_sub(self.last_load.1)).as_secs_f64();
        if seconds < 0.02 {
            return Ok(());
        }
        let before = |cpu: usize| self.last_load.0.get(cpu).copied().unwrap_or_default();
        let running = self.started.elapsed();
        // Threads whose CPU is not known may be on any: the bill has them there, too.
        let known: Duration = self.own_by_cpu.values().sum();
        let elsewhere = own_time().total().saturating_sub(self.own_cpu).saturating_sub(known);
        let loads = states.iter().enumerate().map(|(cpu, state)| Load {
            seconds,
            crossings: state.crossings.saturating_sub(before(cpu).crossings) as f64,
            followed_crossings: state.followed_crossings.saturating_sub(before(cpu).followed_crossings) as f64,
            own: share_of(self.own_by_cpu.get(&cpu).copied().unwrap_or_default() + elsewhere, running),
        });
        let load = self.governor.busiest(loads);
        let followed: u64 = states.iter().map(|state| state.followed).sum();
        let followed_before: u64 = self.last_load.0.iter().map(|state| state.followed).sum();
        let per_second = followed.saturating_sub(followed_before) as f64 / seconds;
        self.last_load = (states, attached);
        let ring_every = ((per_second / JOURNEYS_PER_SECOND) as u32).max(1);
        if self.governor.adapt(load, self.frequency) {
            self.rates.push((self.started.elapsed().as_nanos() as u64, self.governor.every));
            log::debug!(
                "one packet in {} is followed, for {:.3} of the time: {load:?}",
                self.governor.every,
                self.governor.duty
            );
        } else if ring_every == self.config.ring_every {
            return Ok(());
        }
        self.config.sample_every = self.governor.every;
        self.config.ring_every = ring_every;
        self.session.set_config(self.config)
    }

    /// Draws which packet is the first that each CPU follows: the recording begins at any moment between two choices.
    pub fn draw_first(&mut self) -> Result<()> {
        let mut states = self.session.cpu_states()?;
        for state in &mut states {
            state.every = self.config.sample_every;
            state.skip = first(state.every, || RandomState::new().hash_one(0));
        }
        self.session.set_per_cpu("CPUS", 0, states)
    }

    /// From here on programs add to a new batch.
    fn end_batch(&mut self, states: &[CpuState]) -> Result<()> {
        if self.window.is_some() {
            self.note_look(states);
        }
        let samples = samples(states);
        let ended = self.end_slice(self.started.elapsed(), states, false);
        self.config.batch = self.config.batch.wrapping_add(1);
        if samples.saturating_sub(self.samples_before) > u64::from(MAX_STACKS) / 2 {
            self.config.stack_batch = self.config.batch;
            (self.samples_before, self.samples_due) = (samples, true);
        }
        self.session.set_config(self.config)?;
        self.ended.push((Instant::now(), ended));
        let nodes = new_nodes(states);
        self.crowded = nodes.saturating_sub(self.nodes_before) > MAX_NODES as u64 / CROWD;
        self.nodes_before = nodes;
        Ok(())
    }

    /// What is known of the batch that ends so long after the recording began.
    pub fn end_slice(&mut self, since: Duration, states: &[CpuState], last: bool) -> Slice {
        let end_ns = since.as_nanos() as u64;
        let (begin_ns, slice) = (self.slice.end_ns, std::mem::take(&mut self.slice));
        self.slice.end_ns = end_ns;
        let host = self.meanwhile.as_mut().map(|host| host.since(last, &self.costs, states));
        Slice {
            host: host.unwrap_or_default(),
            batch: self.config.batch,
            end_ns,
            samples_ns: end_ns.saturating_sub(begin_ns),
            ..slice
        }
    }

    /// Takes the batches that have ended, when no program can be at work on them any more.
    fn take_batch(&mut self) -> Result<()> {
        if self.ended.first().is_none_or(|(ended, _)| ended.elapsed() < self.taken_after()) {
            return Ok(());
        }
        let settled = self.ended.iter().take_while(|(ended, _)| ended.elapsed() >= SETTLED).count();
        let slices: Vec<Slice> = self.ended.drain(..settled).map(|(_, slice)| slice).collect();
        let Some(last) = slices.last().map(|slice| slice.batch) else { return Ok(()) };
        let (begun, before) = (thread_cpu_ns(), Batches::Before(last.wrapping_add(1)));
        self.gathered.take(&mut self.session, before, slices)?;
        // Stacks of a batch that has not ended are told by another number.
        if self.samples_due && self.ended.is_empty() {
            self.samples_due = false;
            self.gathered.take_samples(&mut self.session, before)?;
        }
        self.nodes_taken = self.nodes_before;
        self.taking = Duration::from_nanos(thread_cpu_ns().saturating_sub(begun));
        log::debug!("batches to {last} taken in {:?}", self.taking);
        Ok(())
    }

    pub fn open_window(&mut self) -> Result<()> {
        // What the CPUs saw last belongs to the window before.
        let mut states = self.session.cpu_states()?;
        for state in &mut states {
            (state.point, state.object, state.pending_socket) = (0, 0, 0);
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
        log::debug!("journeys are observed: epoch {}", self.config.epoch);
        self.last_look = Look::now(&self.session.cpu_states()?);
        Ok(())
    }

    /// Notes how busy the network was since the last look: with all that the kernel counts it tells whether the turns that are
    /// observed are like the rest.
    fn note_look(&mut self, states: &[CpuState]) {
        let before = std::mem::replace(&mut self.last_look, Look::now(states));
        let now = &self.last_look;
        let (mut from, mut until) = (before.at_ns, now.at_ns);
        let since = |ns: u64| ns.saturating_sub(self.started_ns);
        self.slice.windows.push((since(from), since(until)));
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
        let look = (until.saturating_sub(from), now.softirqs.saturating_sub(before.softirqs));
        self.slice.look = (self.slice.look.0 + look.0, self.slice.look.1 + look.1);
        if self.governor.duty >= 1.0 {
            return;
        }
        self.looks.push(look);
        if self.looks.len() >= MOST_LOOKS {
            self.looks =
                self.looks.chunks(2).map(|two| two.iter().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))).collect();
        }
    }

    /// No journeys begin any more, and those under way get the time to end.
    pub async fn end_journeys(&mut self) -> Result<()> {
        self.config.accept = 0;
        self.session.set_config(self.config)?;
        self.note_look(&self.session.cpu_states()?);
        if let Some(opened) = self.window.take() {
            self.observed += opened.elapsed();
            log::debug!("no journeys begin any more after {:?}", opened.elapsed());
        }
        sleep(DRAIN).await;
        Ok(())
    }

    /// Samples densely for a moment. Journeys must not be observed: a sample takes far longer than a crossing.
    async fn take_burst(&mut self) -> Result<()> {
        if let Some(length) = self.governor.burst() {
            self.session.attach_burst(BURST_FREQUENCY, &online()?)?;
            sleep(length).await;
            self.session.detach_burst()?;
        }
        Ok(())
    }

    fn open_softirq_window(&mut self) -> Result<()> {
        // An entry or raise seen in the last window has nothing to do with this one.
        for (vector, mut values) in (0..).zip(self.session.per_cpu::<Softirq>("SOFTIRQ")?) {
            for value in &mut values {
                (value.entry_ns, value.raise_ns) = (0, 0);
            }
            self.session.set_per_cpu("SOFTIRQ", vector, values)?;
        }
        self.session.attach(Group::Softirq)?;
        self.softirq_window = Some(Instant::now());
        Ok(())
    }

    pub fn close_softirq_window(&mut self) -> Result<()> {
        if let Some(opened) = self.softirq_window.take() {
            self.softirq_observed += opened.elapsed();
            self.session.detach(Group::Softirq)?;
            let now = softirqs::timed(&self.session)?;
            let before = std::mem::replace(&mut self.softirqs_before, now.clone());
            add_softirqs(&mut self.slice.softirqs, softirqs::since(before, now));
            log::debug!("softirqs were timed for {:?}", opened.elapsed());
        }
        Ok(())
    }

    pub fn drain(&mut self) -> Result<()> {
        let before = self.journeys.len() as u64 + self.journeys_not_kept;
        let (journeys, not_kept) = (&mut self.journeys, &mut self.journeys_not_kept);
        self.session.drain_journeys(|journey| {
            if journeys.len() >= MOST_JOURNEYS {
                *not_kept += 1;
            } else {
                journeys.push(journey);
            }
        })?;
        match self.journeys.len() as u64 + self.journeys_not_kept - before {
            0 => {}
            more => log::trace!("{more} whole journeys lay in the ring"),
        }
        Ok(())
    }
}

/// The share of a CPU that the recorder uses; what it takes to begin is no measure of a recording of any length.
fn share_of(own: Duration, running: Duration) -> f64 {
    own.as_secs_f64() / running.max(LONG_ENOUGH).as_secs_f64()
}

fn samples(states: &[CpuState]) -> u64 {
    states.iter().map(|state| state.samples + state.burst_samples).sum()
}

fn new_nodes(states: &[CpuState]) -> u64 {
    states.iter().map(|state| state.new_nodes).sum()
}

/// Waits until the programs tell that something lies in a ring.
async fn ready(ring: Option<&AsyncFd<OwnedFd>>) {
    match ring {
        // That it cannot be waited for is no reason not to look at it when it is time.
        Some(ring) => match ring.readable().await {
            Ok(mut ready) => ready.clear_ready(),
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
