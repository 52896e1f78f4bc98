//! The turns of a recording: windows in which journeys are observed, windows in which softirqs are timed, bursts of samples, and
//! looks at the load that fit the rates to the budget.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::Result;
use netstrata_common::{PAUSE_NS, SOFTIRQS, Softirq};
use tokio::{io::unix::AsyncFd, sync::oneshot, time::sleep};

use super::{
    governor::{BURST_FREQUENCY, Load},
    look::Look,
    probes::Group,
    recording::Recording,
};
use crate::{
    cli::RecordArgs,
    host::cpu::{online, own_time},
};

/// The longest time between two looks whether anything is due. The ring tells by itself when it fills; a timer remains for the
/// rest, which has no event: turns, and what the programs counted.
const TICK: Duration = Duration::from_millis(100);
/// Time between two looks at the load.
const LOOK: Duration = Duration::from_millis(50);
/// Time of each turn in which softirqs are timed.
const SOFTIRQ_WINDOW: Duration = Duration::from_millis(50);
/// Whole journeys that go through the ring, at most about so many a second.
const JOURNEYS_PER_SECOND: f64 = 20.0;
const MOST_JOURNEYS: usize = 2000;
/// Packets chosen between two looks that tell when traffic began or ended.
const TELLING: u64 = 20;
/// Beyond so many looks, neighbours become one.
const MOST_LOOKS: usize = 4096;
/// Time for followed packets to end before the probes are detached.
const DRAIN: Duration = Duration::from_millis(4);

impl Recording {
    /// Collects until told to stop, or until nobody can tell any more.
    pub async fn run(&mut self, args: &RecordArgs, mut until: oneshot::Receiver<()>) -> Result<()> {
        let mut looked = Instant::now();
        let mut softirqs_due = true;
        let turn = self.governor.turn();
        loop {
            let pause = sleep(self.pause(turn, looked));
            tokio::select! {
                biased;
                _ = &mut until => break,
                () = pause => {}
                () = ready(self.filling.as_ref()) => {}
                () = ready(self.said.as_ref()) => self.session.tell_messages(),
            }
            self.drain()?;
            if self.window.is_some() {
                if looked.elapsed() >= LOOK {
                    looked = Instant::now();
                    self.adapt()?;
                    self.note_look()?;
                }
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
        self.on_time = None;
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

    pub fn open_window(&mut self) -> Result<()> {
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
        log::debug!("journeys are observed: epoch {}", self.config.epoch);
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
    pub async fn end_journeys(&mut self) -> Result<()> {
        self.config.accept = 0;
        self.session.set_config(self.config)?;
        self.note_look()?;
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

    pub fn close_softirq_window(&mut self) -> Result<()> {
        if let Some(opened) = self.softirq_window.take() {
            self.softirq_observed += opened.elapsed();
            self.session.detach(Group::Softirq)?;
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
