//! What observing cost, CPU by CPU: a budget that is kept on average is no comfort to the CPU that pays for all.

use std::{collections::BTreeMap, time::Duration};

use netstrata_common::CpuState;

use super::calibrate::Calibration;

/// What is on the bill.
pub struct Bill<'a> {
    /// What each thing cost, as measured.
    pub costs: &'a Calibration,
    /// What the work on followed packets took in the recording, as a multiple of that.
    pub pace: f64,
    /// What the programs counted, by CPU.
    pub states: &'a [CpuState],
    /// Softirqs that were timed, by CPU.
    pub softirqs: &'a [u64],
    /// What hooks took, by CPU; empty without the function tier.
    pub hooks_ns: &'a [f64],
    /// CPU time of the recorder: attaching and detaching, drains, scans, all its threads.
    pub own: Duration,
    /// The part of it that is known by CPU.
    pub own_by_cpu: &'a BTreeMap<usize, Duration>,
    /// How long it went on.
    pub duration: Duration,
}

/// Shares of CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    /// Of all CPUs.
    pub mean: f64,
    /// Of the one that paid most, as if what is not known by CPU had been there.
    pub busiest: f64,
}

impl Bill<'_> {
    /// What it comes to, of so many CPUs.
    pub fn shares(&self, cpus: usize) -> Shares {
        let known: Vec<f64> = (0..self.states.len()).map(|cpu| self.ns_on(cpu)).collect();
        let known_own: Duration = self.own_by_cpu.values().sum();
        let elsewhere = self.own.saturating_sub(known_own).as_nanos() as f64;
        let time = (self.duration.as_nanos() as f64).max(1.0);
        Shares {
            mean: (known.iter().sum::<f64>() + elsewhere) / (time * cpus.max(1) as f64),
            busiest: (known.iter().copied().fold(0.0, f64::max) + elsewhere) / time,
        }
    }

    /// What programs at crossings and samples cost on all CPUs as if they were no slower than when that was measured, nanoseconds.
    pub fn programs_ns(costs: &Calibration, states: &[CpuState]) -> f64 {
        states.iter().map(|state| programs_ns(costs, state, 1.0)).sum()
    }

    /// What is known to have been paid by a CPU, nanoseconds.
    fn ns_on(&self, cpu: usize) -> f64 {
        let costs = self.costs;
        let softirqs = self.softirqs.get(cpu).copied().unwrap_or(0);
        let own = self.own_by_cpu.get(&cpu).copied().unwrap_or_default();
        programs_ns(costs, &self.states[cpu], self.pace)
            + softirqs as f64 * costs.ns_per_timed_softirq
            + self.hooks_ns.get(cpu).copied().unwrap_or(0.0)
            + own.as_nanos() as f64
    }
}

/// What programs at crossings and samples cost on a CPU, nanoseconds.
fn programs_ns(costs: &Calibration, state: &CpuState, pace: f64) -> f64 {
    (state.crossings.saturating_sub(state.followed_crossings) + state.counted) as f64 * costs.charged_ns[0]
        + state.followed_crossings as f64 * costs.charged_ns[1] * pace
        + (state.samples + state.burst_samples) as f64 * costs.charged_ns[2]
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: fn() -> Calibration =
        || Calibration { charged_ns: [10.0, 100.0, 1000.0], ns_per_timed_softirq: 50.0, ..Calibration::default() };

    /// A bill of 10 µs on two CPUs, on which nothing stands yet.
    fn bill<'a>(costs: &'a Calibration, states: &'a [CpuState; 2], own: &'a BTreeMap<usize, Duration>) -> Bill<'a> {
        Bill {
            costs,
            pace: 1.0,
            states,
            softirqs: &[],
            hooks_ns: &[],
            own: own.values().sum(),
            own_by_cpu: own,
            duration: Duration::from_micros(10),
        }
    }

    #[test]
    fn everything_that_observing_costs_is_on_the_bill() {
        let (costs, nothing) = (COSTS(), BTreeMap::new());
        let on_first = |state: CpuState| [state, CpuState::default()];
        let share = |bill: Bill<'_>| bill.shares(2).busiest;
        let idle = on_first(CpuState::default());
        assert_eq!(bill(&costs, &idle, &nothing).shares(2), Shares::default());
        let states = on_first(CpuState { crossings: 11, followed_crossings: 1, ..CpuState::default() });
        assert_eq!(share(bill(&costs, &states, &nothing)), 0.02);
        assert_eq!(
            share(Bill { pace: 3.0, ..bill(&costs, &states, &nothing) }),
            0.04,
            "slower than when it was measured"
        );
        let states = on_first(CpuState { counted: 20, ..CpuState::default() });
        assert_eq!(share(bill(&costs, &states, &nothing)), 0.02, "as one that turns a packet away");
        let states = on_first(CpuState { samples: 1, burst_samples: 2, ..CpuState::default() });
        assert_eq!(share(bill(&costs, &states, &nothing)), 0.3);
        assert_eq!(share(Bill { softirqs: &[20, 10], ..bill(&costs, &idle, &nothing) }), 0.1);
        assert_eq!(share(Bill { hooks_ns: &[0.0, 500.0], ..bill(&costs, &idle, &nothing) }), 0.05);
        let own = BTreeMap::from([(1, Duration::from_nanos(700))]);
        assert_eq!(share(bill(&costs, &idle, &own)), 0.07);
    }

    #[test]
    fn the_busiest_cpu_pays_more_than_the_mean_and_what_is_not_known_by_cpu() {
        let (costs, own) = (COSTS(), BTreeMap::from([(0, Duration::from_nanos(100)), (1, Duration::from_nanos(300))]));
        let states = [CpuState { samples: 1, ..CpuState::default() }, CpuState { samples: 4, ..CpuState::default() }];
        let shares = Bill { own: Duration::from_nanos(500), ..bill(&costs, &states, &own) }.shares(2);
        assert_eq!((shares.mean, shares.busiest), (0.275, 0.44));
    }
}
