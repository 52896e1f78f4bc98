//! Keeps the recording within its budget: how many packets are followed, and for which part of the time the probes are
//! attached at all.
//!
//! A crossing of a packet that is not followed costs little, but on a host that does nothing but pass small packets
//! those crossings alone exceed 1 % of a CPU. Below that only attaching in turns goes.

use std::time::Duration;

use super::Calibration;
use crate::profile::MOST_BATCHES;

/// Share of the budget that followed packets may use; dispatch may use the rest.
const FOLLOWED_SHARE: f64 = 0.4;
/// Share of the budget that CPU samples may use all the time, and that bursts of them may use: these split spans.
const SAMPLER_SHARE: f64 = 0.25;
const BURST_SHARE: f64 = 0.25;
/// Samples a second in a burst: so many that a burst is short, and few enough that their own time is not most of it.
pub const BURST_FREQUENCY: u64 = 7_993;
/// The least share of it that remains for packets, whatever samples and the recorder itself use.
const LEAST_LEFT: f64 = 0.2;
/// Share of the budget that attaching and detaching may use, and what else is done in each turn.
const TURNS_SHARE: f64 = 0.25;
/// Length of a turn of attaching and detaching: at least, and at most before there were some.
const TURN: [Duration; 2] = [Duration::from_millis(1000), Duration::from_millis(2000)];
/// After each so many turns they may be longer by as much.
const ENOUGH_TURNS: u32 = 8;
/// The longest later on, and where one costs more than the budget allows for all; as much longer after as many turns as a profile
/// has batches, because more of them are joined anyway.
const LONGEST_TURN: Duration = Duration::from_secs(10);
/// Length of a batch where there are no turns: at least, and at most.
pub const BATCH: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];
/// So many batches tell how they differ.
const ENOUGH_BATCHES: u32 = 16;
/// The least part of a turn that is observed, whatever the budget says: on a CPU on which dispatch alone takes a fifth of the time,
/// as in emulated machines, a twentieth of it took as much as the whole budget.
const LEAST_DUTY: f64 = 0.03;
/// And the least part of the time that bursts take.
const LEAST_BURSTS: f64 = 0.005;
/// Fewer samples a second say too little about a recording of some seconds, whatever they cost.
const LEAST_FREQUENCY: u64 = 99;
/// The greatest part of the time that bursts take.
const MOST_BURSTS: f64 = 0.1;
const MOST_EVERY: f64 = 65_536.0;

/// What happened on the busiest CPU while the probes were attached.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Attached time.
    pub seconds: f64,
    /// Crossings.
    pub crossings: f64,
    /// Crossings of followed packets.
    pub followed_crossings: f64,
    /// Share of the CPU that the recorder itself uses there.
    pub own: f64,
}

/// Decides rates.
#[derive(Clone, Debug)]
pub struct Governor {
    budget: f64,
    costs: Calibration,
    fixed: bool,
    /// What a turn has taken so far, all that the recorder does in it included, and how many there were.
    turns: (Duration, u32),
    /// Part of the budget that bursts may use.
    burst_share: f64,
    /// Part of the time that bursts take.
    bursts: f64,
    /// Follow one packet in this many.
    pub every: u32,
    /// Part of the time in which the probes are attached, bursts left out.
    pub duty: f64,
}

impl Governor {
    /// `fixed` follows one packet in so many, all the time, whatever it costs.
    pub fn new(budget: f64, costs: Calibration, fixed: Option<u32>) -> Self {
        Self {
            budget,
            costs,
            burst_share: BURST_SHARE,
            bursts: affordable_bursts(BURST_SHARE * budget, &costs),
            fixed: fixed.is_some(),
            turns: Default::default(),
            every: fixed.unwrap_or(64),
            duty: 1.0,
        }
    }

    /// How often the probes may be attached anew.
    pub fn turn(&self) -> Duration {
        let attaching = Duration::from_nanos(self.costs.ns_per_turn as u64);
        let (used, turns) = self.turns;
        let one = used.checked_div(turns).unwrap_or_default().max(attaching);
        // At first turns are short whatever they cost: fewer than some say nothing about how sure figures are. Later they are as long as
        // the budget asks for.
        let longest = LONGEST_TURN * (1 + turns / MOST_BATCHES as u32);
        let most = (TURN[1] * (1 + turns / ENOUGH_TURNS)).min(longest);
        let wanted = one.div_f64(TURNS_SHARE * self.budget).clamp(TURN[0], most);
        // Where attaching costs so much that it alone would be more than the budget, there are fewer turns.
        wanted.max(one.div_f64(self.budget).min(longest))
    }

    /// How long a batch lasts where journeys are observed all the time, so long after the beginning: so that taking one, which took this
    /// long, takes no more of the budget than turns do, and there are enough batches at any time to tell how they differ.
    pub fn batch(&self, taking: Duration, running: Duration) -> Duration {
        let most = (running / ENOUGH_BATCHES).clamp(BATCH[0], BATCH[1]);
        taking.div_f64(TURNS_SHARE * self.budget).clamp(BATCH[0], most)
    }

    /// Notes what the recorder used in a turn: that is more than attaching and detaching.
    pub fn note_turn(&mut self, used: Duration) {
        self.turns = (self.turns.0 + used, self.turns.1 + 1);
    }

    /// The load of the CPU that pays most.
    pub fn busiest(&self, loads: impl Iterator<Item = Load>) -> Load {
        let cost = |load: &Load| {
            let [plain, followed] = self.shares(load);
            plain + followed + load.own
        };
        loads.max_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or_default()
    }

    /// Shares of a CPU that packets cost which are turned away, and which are followed.
    fn shares(&self, load: &Load) -> [f64; 2] {
        let plain = (load.crossings - load.followed_crossings).max(0.0) * self.costs.charged_ns[0];
        let followed = load.followed_crossings * self.costs.charged_ns[1];
        [plain, followed].map(|ns| if load.seconds > 0.0 { ns / load.seconds / 1e9 } else { 0.0 })
    }

    /// The rate of CPU samples that fits. Where none are asked for there are no bursts either.
    pub fn sampler_frequency(&mut self, asked: u64) -> u64 {
        if asked == 0 {
            (self.burst_share, self.bursts) = (0.0, 0.0);
        }
        if self.fixed || asked == 0 {
            return asked;
        }
        let affordable = SAMPLER_SHARE * self.budget * 1e9 / self.costs.charged_ns[2];
        asked.min((affordable as u64).max(LEAST_FREQUENCY))
    }

    /// How long a burst of samples may take in each turn: none where the probes are attached all the time anyway, so
    /// that every sample knows its place.
    pub fn burst(&self) -> Option<Duration> {
        let none = self.fixed || self.duty >= 1.0 || self.bursts == 0.0;
        (!none).then(|| self.turn().mul_f64(self.bursts))
    }

    /// Adapts to what was seen. Returns whether the rate of followed packets changed.
    pub fn adapt(&mut self, load: Load, sampler_frequency: u64) -> bool {
        if self.fixed || load.seconds <= 0.0 {
            return false;
        }
        // Bursts have their part of what the recorder itself leaves.
        let bursts = self.burst_share * (self.budget - load.own).max(LEAST_LEFT * self.budget);
        let sampler = sampler_frequency as f64 * self.costs.charged_ns[2] / 1e9 + bursts;
        let left = (self.budget - sampler - load.own).max(LEAST_LEFT * self.budget);
        let [plain, followed] = self.shares(&load);
        // The probes stay attached during a burst, too: of the time that they may be, it takes half at most.
        let attached = if plain > 0.0 { left * (1.0 - FOLLOWED_SHARE) / plain } else { 1.0 };
        self.bursts = affordable_bursts(bursts, &self.costs).min((attached / 2.0).max(LEAST_BURSTS));
        self.duty = if attached < 1.0 { (attached - self.bursts).max(LEAST_DUTY) } else { 1.0 };
        // While the probes are attached only for a part of the time, packets may be followed more densely.
        let allowed = left * FOLLOWED_SHARE / self.duty;
        let wanted = f64::from(self.every) * followed / allowed;
        // Powers of two, and only when clearly off, so that the rate is steady.
        let steps = wanted.clamp(1.0, MOST_EVERY).log2().ceil();
        let next = 2f64.powf(steps) as u32;
        let changes = next > self.every || next * 2 < self.every;
        if changes {
            self.every = next;
        }
        changes
    }
}

/// Part of the time that bursts may take whose samples cost so much of it.
fn affordable_bursts(share: f64, costs: &Calibration) -> f64 {
    let cost = BURST_FREQUENCY as f64 * costs.charged_ns[2] / 1e9;
    (share / cost).min(MOST_BURSTS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COSTS: Calibration = Calibration {
        ns_per_crossing: 15.0,
        charged_ns: [15.0, 400.0, 2000.0],
        ns_per_followed_crossing: 400.0,
        ns_in_span_per_crossing: 150.0,
        ns_in_span_interval: [150.0, 150.0],
        ns_in_span_at_return: 60.0,
        ns_uncut_per_crossing: 180.0,
        alike_ns: 0.0,
        ns_in_span_at_ready: 0.0,
        crossings_per_datagram: 6.0,
        ns_per_turn: 1e7,
        ns_per_sample: 2000.0,
        ns_per_timed_softirq: 100.0,
        system_call_ns: 100.0,
        calm: true,
    };

    #[test]
    fn an_idle_host_is_watched_all_the_time() {
        let mut governor = Governor::new(0.01, COSTS, None);
        governor.adapt(Load { seconds: 1.0, crossings: 100.0, followed_crossings: 10.0, own: 0.0 }, 999);
        assert_eq!(governor.duty, 1.0);
    }

    #[test]
    fn a_fixed_rate_stays() {
        let mut governor = Governor::new(0.01, COSTS, Some(1));
        governor.adapt(Load { seconds: 1.0, crossings: 1e8, followed_crossings: 1e8, own: 0.0 }, 999);
        assert_eq!((governor.every, governor.duty), (1, 1.0));
    }

    #[test]
    fn rates_are_those_of_the_cpu_that_pays_most() {
        let governor = Governor::new(0.01, COSTS, None);
        let load = |crossings, followed_crossings, own| Load { seconds: 1.0, crossings, followed_crossings, own };
        // More packets, but few that are followed; and one that the recorder is on.
        let loads = [load(2e5, 0.0, 0.0), load(1e5, 2e4, 0.0), load(0.0, 0.0, 0.009)];
        assert_eq!(governor.busiest(loads.into_iter()).followed_crossings, 2e4);
        assert_eq!(governor.busiest(loads[..1].iter().copied().chain([loads[2]])).own, 0.009);
        assert_eq!(governor.busiest(std::iter::empty()).seconds, 0.0);
    }

    #[test]
    fn what_the_recorder_uses_is_taken_from_what_packets_may_cost() {
        let duty = |own| {
            let mut governor = Governor::new(0.01, COSTS, None);
            governor.adapt(Load { seconds: 1.0, crossings: 3e5, followed_crossings: 0.0, own }, 199);
            governor.duty
        };
        assert!(duty(0.0) > duty(0.002) && duty(0.002) > duty(0.004), "{} {}", duty(0.0), duty(0.002));
        assert_eq!(duty(0.02), duty(1.0), "a part is left for packets");
    }

    #[test]
    fn bursts_take_no_more_than_half_of_the_time_that_probes_may_be_attached() {
        let mut governor = Governor::new(0.01, COSTS, None);
        let bursts = |governor: &mut Governor, crossings: f64| {
            governor.adapt(Load { seconds: 1.0, crossings, followed_crossings: 0.0, own: 0.0 }, 199);
            governor.burst().map(|length| length.div_duration_f64(governor.turn()))
        };
        assert_eq!(bursts(&mut governor, 1e3), None, "samples know their place all the time");
        let [some, many, most] = [1e6, 5e6, 1e9].map(|crossings| bursts(&mut governor, crossings).unwrap_or_default());
        assert!(some > many && many > most, "{some} {many} {most}");
        assert!((most - LEAST_BURSTS).abs() < 1e-6, "{most}");
        assert_eq!(governor.sampler_frequency(0), 0);
        assert_eq!(bursts(&mut governor, 1e6), None, "no samples are asked for");
    }

    #[test]
    fn turns_are_the_longer_the_more_is_done_in_them() {
        let mut governor = Governor::new(0.01, Calibration { ns_per_turn: 1e6, ..COSTS }, None);
        assert_eq!(governor.turn(), TURN[0]);
        governor.note_turn(Duration::from_millis(3));
        governor.note_turn(Duration::from_millis(7));
        assert_eq!(governor.turn(), Duration::from_secs(2));
        governor.note_turn(Duration::from_millis(35));
        assert_eq!(governor.turn(), TURN[1], "15 ms are 0.75 % of it");
        governor.note_turn(Duration::from_millis(75));
        assert_eq!(governor.turn(), Duration::from_secs(3), "30 ms are all of the budget");
        governor.note_turn(Duration::from_secs(1));
        assert_eq!(governor.turn(), LONGEST_TURN);
    }

    #[test]
    fn turns_keep_to_their_share_of_the_budget_once_there_were_some() {
        let mut governor = Governor::new(0.01, Calibration { ns_per_turn: 1e6, ..COSTS }, None);
        let mut noted = |turns: u32| {
            (0..turns).for_each(|_| governor.note_turn(Duration::from_millis(15)));
            governor.turn()
        };
        assert_eq!([noted(7), noted(1)], [TURN[1], 2 * TURN[1]]);
        assert_eq!(noted(100), Duration::from_secs(6), "15 ms are a quarter of a hundredth of it");
    }

    #[test]
    fn turns_of_a_long_recording_are_as_long_as_their_cost_asks_for() {
        let mut governor = Governor::new(0.01, Calibration { ns_per_turn: 1e6, ..COSTS }, None);
        let mut after = |turns: u32| {
            (0..turns).for_each(|_| governor.note_turn(Duration::from_millis(400)));
            governor.turn().as_secs()
        };
        // 400 ms are a quarter of a hundredth of 160 s.
        assert_eq!([after(63), after(1), after(64), after(6400)], [10, 20, 30, 160]);
    }

    #[test]
    fn batches_are_the_longer_the_more_taking_one_costs_and_there_are_always_enough() {
        let governor = Governor::new(0.01, COSTS, None);
        let batch =
            |taking, running| governor.batch(Duration::from_millis(taking), Duration::from_secs(running)).as_millis();
        assert_eq!(batch(0, 3600), 250);
        assert_eq!(batch(2, 3600), 800, "2 ms are a quarter of a hundredth of it");
        assert_eq!([batch(200, 3), batch(200, 32), batch(200, 3600)], [250, 2000, 5000]);
    }

    proptest! {
        #[test]
        fn what_it_asks_for_keeps_to_the_budget(crossings in 1e3f64..5e6, budget in 0.005f64..0.2) {
            let mut governor = Governor::new(budget, COSTS, None);
            let frequency = governor.sampler_frequency(999);
            for _ in 0..20 {
                let followed = crossings / f64::from(governor.every);
                governor.adapt(Load { seconds: 1.0, crossings, followed_crossings: followed, own: 0.0 }, frequency);
            }
            let followed = crossings / f64::from(governor.every);
            let cost = governor.duty * ((crossings - followed) * 15.0 + followed * 400.0) / 1e9
                + frequency as f64 * COSTS.ns_per_sample / 1e9;
            let least = (LEAST_DUTY + governor.bursts) * crossings * 15.0 / 1e9;
            prop_assert!(cost <= budget * 1.1 + least, "{cost} of {budget}");
        }
    }
}
