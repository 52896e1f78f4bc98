//! Keeps the recording within its budget: how many packets are followed, and for which part of the time the probes are
//! attached at all.
//!
//! A crossing of a packet that is not followed costs little, but on a host that does nothing but pass small packets
//! those crossings alone exceed 1 % of a CPU. Below that only attaching in turns goes.

use std::time::Duration;

use super::Calibration;

/// Share of the budget that followed packets may use; dispatch may use the rest.
const FOLLOWED_SHARE: f64 = 0.4;
/// Share of the budget that CPU samples may use all the time, and that bursts of them may use: these split spans.
const SAMPLER_SHARE: f64 = 0.25;
const BURST_SHARE: f64 = 0.25;
/// Samples a second in a burst: so many that a burst is short, and few enough that their own time is not most of it.
pub const BURST_FREQUENCY: u64 = 7_993;
/// Share of the budget that attaching and detaching may use.
const TURNS_SHARE: f64 = 0.25;
/// Length of a turn of attaching and detaching: at least, and at most.
const TURN: [Duration; 2] = [Duration::from_millis(1000), Duration::from_millis(5000)];
/// The least part of a turn that is observed, whatever the budget says.
const LEAST_DUTY: f64 = 0.05;
/// Fewer samples a second say too little about a recording of some seconds, whatever they cost.
const LEAST_FREQUENCY: u64 = 199;
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
}

/// Decides rates.
#[derive(Clone, Debug)]
pub struct Governor {
    budget: f64,
    costs: Calibration,
    fixed: bool,
    /// Follow one packet in this many.
    pub every: u32,
    /// Part of the time in which the probes are attached.
    pub duty: f64,
}

impl Governor {
    /// `fixed` follows one packet in so many, all the time, whatever it costs.
    pub fn new(budget: f64, costs: Calibration, fixed: Option<u32>) -> Self {
        Self { budget, costs, fixed: fixed.is_some(), every: fixed.unwrap_or(64), duty: 1.0 }
    }

    /// How often the probes may be attached anew.
    pub fn turn(&self) -> Duration {
        Duration::from_nanos((self.costs.ns_per_turn / (TURNS_SHARE * self.budget)) as u64).clamp(TURN[0], TURN[1])
    }

    /// The rate of CPU samples that fits.
    pub fn sampler_frequency(&self, asked: u64) -> u64 {
        if self.fixed {
            return asked;
        }
        let affordable = SAMPLER_SHARE * self.budget * 1e9 / self.costs.ns_per_sample;
        asked.min((affordable as u64).max(LEAST_FREQUENCY))
    }

    /// How long a burst of samples may take in each turn: none where the probes are attached all the time anyway, so
    /// that every sample knows its place.
    pub fn burst(&self) -> Option<Duration> {
        if self.fixed || self.duty >= 1.0 {
            return None;
        }
        Some(self.turn().mul_f64(self.burst_duty()))
    }

    /// Part of the time that bursts may take.
    fn burst_duty(&self) -> f64 {
        let cost = BURST_FREQUENCY as f64 * self.costs.ns_per_sample / 1e9;
        (BURST_SHARE * self.budget / cost).min(MOST_BURSTS)
    }

    /// Adapts to what was seen. Returns whether the rate of followed packets changed.
    pub fn adapt(&mut self, load: Load, sampler_frequency: u64) -> bool {
        if self.fixed || load.seconds <= 0.0 {
            return false;
        }
        let sampler = sampler_frequency as f64 * self.costs.ns_per_sample / 1e9 + BURST_SHARE * self.budget;
        let left = (self.budget - sampler).max(0.2 * self.budget);
        let plain =
            (load.crossings - load.followed_crossings).max(0.0) / load.seconds * self.costs.ns_per_crossing / 1e9;
        let followed = load.followed_crossings / load.seconds * self.costs.ns_per_followed_crossing / 1e9;
        // The probes stay attached during a burst, too.
        let attached = if plain > 0.0 { left * (1.0 - FOLLOWED_SHARE) / plain } else { 1.0 };
        self.duty = if attached < 1.0 { (attached - self.burst_duty()).max(LEAST_DUTY) } else { 1.0 };
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COSTS: Calibration = Calibration {
        ns_per_crossing: 15.0,
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
        system_call_ns: 100.0,
        calm: true,
    };

    #[test]
    fn an_idle_host_is_watched_all_the_time() {
        let mut governor = Governor::new(0.01, COSTS, None);
        governor.adapt(Load { seconds: 1.0, crossings: 100.0, followed_crossings: 10.0 }, 999);
        assert_eq!(governor.duty, 1.0);
    }

    #[test]
    fn a_fixed_rate_stays() {
        let mut governor = Governor::new(0.01, COSTS, Some(1));
        governor.adapt(Load { seconds: 1.0, crossings: 1e8, followed_crossings: 1e8 }, 999);
        assert_eq!((governor.every, governor.duty), (1, 1.0));
    }

    proptest! {
        #[test]
        fn what_it_asks_for_keeps_to_the_budget(crossings in 1e3f64..5e6, budget in 0.005f64..0.2) {
            let mut governor = Governor::new(budget, COSTS, None);
            let frequency = governor.sampler_frequency(999);
            for _ in 0..20 {
                let followed = crossings / f64::from(governor.every);
                governor.adapt(Load { seconds: 1.0, crossings, followed_crossings: followed }, frequency);
            }
            let followed = crossings / f64::from(governor.every);
            let cost = governor.duty * ((crossings - followed) * 15.0 + followed * 400.0) / 1e9
                + frequency as f64 * COSTS.ns_per_sample / 1e9;
            let least = (LEAST_DUTY + governor.burst_duty()) * crossings * 15.0 / 1e9;
            prop_assert!(cost <= budget * 1.1 + least, "{cost} of {budget}");
        }
    }
}
