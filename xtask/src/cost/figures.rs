//! What is made of a machine's result: the figures, each program's costs, and their comparison with those on record.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use super::kernel::{NAME, Program};

/// A figure.
pub struct Figure {
    /// Its key on record.
    pub key: &'static str,
    /// What a reader sees.
    pub name: &'static str,
    /// What it counts.
    pub unit: &'static str,
    /// Whether a change beyond [`LIMIT`] fails. What is not judged has its reason in `docs/cost.md`.
    pub judged: bool,
}

/// The greatest share by which a figure may differ from that on record.
pub const LIMIT: f64 = 0.02;
/// Digits behind the point that are kept.
const PRECISION: f64 = 100.0;
/// Nanoseconds of the clock for an instruction.
const NS_PER_INSTRUCTION: f64 = 2.0;

macro_rules! figures {
    ($($key:literal $name:literal $unit:literal $judged:literal;)*) => {
        /// Every figure, in the order of the tables.
        pub const FIGURES: &[Figure] =
            &[$(Figure { key: $key, name: $name, unit: $unit, judged: $judged },)*];
    };
}

figures! {
    "away" "crossing that is turned away" "instructions" true;
    "away_in_all" "the same, dispatch included" "instructions" false;
    "followed" "crossing of a followed packet" "instructions" true;
    "sample" "CPU sample" "instructions" false;
    "softirq" "programs of a softirq" "instructions" true;
    "hook_typed" "hook by fentry and fexit" "instructions" true;
    "hook_probed" "hook by kprobes" "instructions" true;
    "steps" "verifier, tracepoint tier" "steps" true;
    "steps_functions" "verifier, function tier" "steps" true;
    "size" "programs, tracepoint tier" "bytes" true;
    "size_functions" "programs, function tier" "bytes" true;
    "ready" "until a recording is ready" "ms" false;
    "ready_functions" "the same, function tier" "ms" false;
    "loss_round_trips" "default recording, round trips" "% lost" false;
    "loss_stream" "default recording, a stream" "% lost" false;
}

/// Programs of crossings whose mean is a crossing's cost, each with what stands for it on other kernels. Every one runs in
/// each round trip, so that the mean is of the same programs whatever else runs.
const CROSSINGS: &[&[&str]] = &[
    &["net_dev_queue"],
    &["net_dev_start_xmit"],
    &["net_dev_xmit"],
    &["netif_rx"],
    &["netif_receive_skb"],
    &["tcp_probe"],
    &["sk_data_ready", "sock_def_readable"],
    &["skb_copy_datagram_iovec"],
];
/// Programs of the same round trips that are no crossing's: what they take the crossings cost, too.
const BESIDES: &[&str] = &["tcp_rcv_space_adjust"];
/// Programs that are summed for a softirq.
const SOFTIRQ: &[&str] = &["softirq_raise", "softirq_entry", "softirq_exit", "napi_poll"];
/// Hooks of the kernel itself, and of modules, that a followed packet calls on its way.
const TYPED: &[&str] = &["ip_receive", "ip_deliver", "tcp_receive", "tcp_established"];
const PROBED: &[&str] = &["bridge_handle", "bridge_forward", "bridge_push", "veth_send"];
/// The part of a kind of result whose programs' costs are tables of their own.
const LISTED: [(&str, &str); 5] = [
    ("away", "programs"),
    ("followed", "programs"),
    ("functions", "programs"),
    ("away", "sampled"),
    ("away", "softirqs"),
];

/// What was measured on a kernel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// The kernel's release.
    pub release: String,
    /// Figures by key; some kernels do not tell all.
    pub figures: BTreeMap<String, f64>,
    /// Instructions of a run by program, turned away and followed.
    pub programs: BTreeMap<String, [Option<f64>; 2]>,
}

fn rounded(value: f64) -> f64 {
    (value * PRECISION).round() / PRECISION
}

/// A program's name as far as the kernel keeps it.
fn kept(name: &str) -> &str {
    &name[..name.len().min(NAME)]
}

/// A part of a result: programs, and what statistics themselves take of a run.
struct Part {
    programs: Vec<Program>,
    statistics_ns: f64,
}

impl Part {
    fn of(result: &Value, statistics_ns: f64, (recording, kind): (&str, &str)) -> Result<Self> {
        let list = result[recording][kind].as_array().with_context(|| format!("no programs of {recording}: {kind}"))?;
        let programs = list.iter().map(Program::from_json).collect::<Result<Vec<_>>>()?;
        Ok(Self { programs, statistics_ns })
    }

    fn instructions_of(&self, program: &Program) -> Option<f64> {
        (program.runs > 0)
            .then(|| (program.run_ns as f64 / program.runs as f64 - self.statistics_ns) / NS_PER_INSTRUCTION)
    }

    /// The sum over the programs of a name; several may share what the kernel keeps of theirs.
    fn instructions(&self, name: &str) -> Option<f64> {
        let programs = self.programs.iter().filter(|program| program.name == kept(name));
        programs.filter_map(|program| self.instructions_of(program)).reduce(|sum, next| sum + next)
    }

    /// Entry and exit of a hook.
    fn hook(&self, name: &str, ways: [&str; 2]) -> Option<f64> {
        let [entry, exit] = ways.map(|way| format!("{name}_{way}"));
        if kept(&entry) == kept(&exit) {
            return self.instructions(&entry);
        }
        Some(self.instructions(&entry)? + self.instructions(&exit)?)
    }

    fn mean(values: Vec<Option<f64>>) -> Option<f64> {
        let count = values.len() as f64;
        values.into_iter().sum::<Option<f64>>().map(|sum| sum / count)
    }

    fn crossing(&self) -> Option<f64> {
        let crossings = CROSSINGS.iter().map(|names| names.iter().find_map(|name| self.instructions(name)));
        let besides: Option<f64> = BESIDES.iter().map(|name| self.instructions(name)).sum();
        Some(Self::mean(crossings.collect())? + besides? / CROSSINGS.len() as f64)
    }

    /// `None` where the kernel does not tell.
    fn steps(&self) -> Option<f64> {
        let sum: u64 = self.programs.iter().map(|program| u64::from(program.verified)).sum();
        (sum > 0).then_some(sum as f64)
    }

    fn size(&self) -> f64 {
        self.programs.iter().map(|program| f64::from(program.bytes)).sum()
    }

    /// Runs of programs at crossings.
    fn crossings(&self) -> u64 {
        let is_crossing =
            |program: &&Program| CROSSINGS.iter().flat_map(|names| names.iter()).any(|name| kept(name) == program.name);
        self.programs.iter().filter(is_crossing).map(|program| program.runs).sum()
    }
}

impl Measured {
    /// Reckons it from the result of a machine.
    pub fn from_result(result: &Value) -> Result<Self> {
        let number = |path: &str| result.pointer(path).and_then(Value::as_f64).with_context(|| format!("no {path}"));
        let nothing = Part::of(result, 0.0, LISTED[0])?;
        let nothing = nothing.programs.iter().find(|program| program.name.is_empty() && program.runs > 0);
        let nothing = nothing.context("the program that does nothing did not run")?;
        let statistics_ns = nothing.run_ns as f64 / nothing.runs as f64;
        let part = |listed| Part::of(result, statistics_ns, listed);
        let [away, followed, functions, sampled, softirqs] = LISTED.map(part);
        let (mut away, mut followed, mut functions) = (away?, followed?, functions?);
        // Not one of netstrata's.
        for part in [&mut away, &mut followed, &mut functions] {
            part.programs.retain(|program| !program.name.is_empty());
        }
        let (sampled, softirqs) = (sampled?, softirqs?);
        let round_trips = nothing.runs as f64 / QUEUED_PER_ROUND_TRIP;
        let more_ns = number("/away/round_trip_ns")? - number("/round_trip_ns")?;
        let figures = [
            ("away", away.crossing()),
            ("away_in_all", Some(more_ns * round_trips / away.crossings() as f64 / NS_PER_INSTRUCTION)),
            ("followed", followed.crossing()),
            ("sample", sampled.instructions("cpu_sample")),
            ("softirq", SOFTIRQ.iter().map(|name| softirqs.instructions(name)).sum()),
            ("hook_typed", Part::mean(TYPED.iter().map(|name| functions.hook(name, ["fentry", "fexit"])).collect())),
            (
                "hook_probed",
                Part::mean(PROBED.iter().map(|name| functions.hook(name, ["kprobe", "kretprobe"])).collect()),
            ),
            ("steps", followed.steps()),
            ("steps_functions", functions.steps()),
            ("size", Some(followed.size())),
            ("size_functions", Some(functions.size())),
            ("ready", number("/followed/ready_ms").ok()),
            ("ready_functions", number("/functions/ready_ms").ok()),
            ("loss_round_trips", loss(result, 0)),
            ("loss_stream", loss(result, 1)),
        ];
        let figures = figures.into_iter().filter_map(|(key, value)| Some((key.to_owned(), rounded(value?))));
        let mut programs: BTreeMap<String, [Option<f64>; 2]> = BTreeMap::new();
        for (column, part) in [&away, &followed].into_iter().enumerate() {
            for name in part.programs.iter().filter(|program| program.runs >= ENOUGH).map(|program| &program.name) {
                programs.entry(name.clone()).or_default()[column] = part.instructions(name).map(rounded);
            }
        }
        let release = result["release"].as_str().context("no release")?.to_owned();
        Ok(Self { release, figures: figures.collect(), programs })
    }

    /// As it stands on record.
    pub fn to_json(&self) -> Value {
        let programs: Map<String, Value> =
            self.programs.iter().map(|(name, costs)| (name.clone(), json!(costs))).collect();
        json!({"release": self.release, "figures": self.figures, "programs": programs})
    }

    /// The reverse.
    pub fn from_json(value: &Value) -> Result<Self> {
        let object = |key: &str| value[key].as_object().with_context(|| format!("no {key} on record"));
        let mut figures = BTreeMap::new();
        for (key, value) in object("figures")? {
            figures.insert(key.clone(), value.as_f64().with_context(|| format!("{key} is no number"))?);
        }
        let programs =
            object("programs")?.iter().map(|(name, costs)| (name.clone(), [costs[0].as_f64(), costs[1].as_f64()]));
        let release = value["release"].as_str().context("no release on record")?.to_owned();
        Ok(Self { release, figures, programs: programs.collect() })
    }
}

/// A round trip's packets are queued at their sender's device and at the bridge's port.
const QUEUED_PER_ROUND_TRIP: f64 = 4.0;
/// Programs that run more seldom belong to no round trip.
const ENOUGH: u64 = 1000;

/// The share of a pace that recording took, in percent; `None` if that was not asked for.
fn loss(result: &Value, index: usize) -> Option<f64> {
    let took = result["default"]["took_ns"][index].as_f64()?;
    let without = result["default"]["without_ns"][index].as_f64()?;
    Some(100.0 * (1.0 - without / took))
}

/// A figure beside that on record.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// What is compared.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// On record; `None` if it is not.
    pub recorded: Option<f64>,
    /// Measured; `None` if it could not be.
    pub measured: Option<f64>,
    /// Whether it may not be so.
    pub fails: bool,
}

impl Compared {
    /// By which share it changed.
    pub fn change(&self) -> Option<f64> {
        let (recorded, measured) = (self.recorded?, self.measured?);
        (recorded != 0.0).then(|| measured / recorded - 1.0)
    }
}

/// Compares all figures that are judged or known. One that is missing now, or has never been written down, fails, too:
/// nobody would notice that it is not watched.
pub fn compare(recorded: &Measured, measured: &Measured) -> Vec<Compared> {
    let row = |figure: &Figure| {
        let [recorded, measured] = [recorded, measured].map(|all| all.figures.get(figure.key).copied());
        let mut row = Compared { name: figure.name, unit: figure.unit, recorded, measured, fails: false };
        let known = recorded.is_some() || measured.is_some();
        row.fails = figure.judged && known && row.change().is_none_or(|change| change.abs() > LIMIT);
        known.then_some(row)
    };
    FIGURES.iter().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine's result in which a run of each program takes what its table says.
    fn result(crossing_ns: u64) -> Value {
        let program = |id: usize, name: &str, mean: u64, runs: u64| json!({"id": id, "name": kept(name), "run_ns": mean * runs, "runs": runs, "verified": 10, "bytes": 80});
        let crossings = |mean: u64| -> Vec<Value> {
            let names = CROSSINGS.iter().enumerate();
            let mut list: Vec<Value> = names.map(|(id, names)| program(id, names[0], mean, 2000)).collect();
            list.extend(BESIDES.iter().map(|name| program(98, name, 96, 2000)));
            list.push(program(99, "", 96, 4000));
            list
        };
        let named = |names: &[&str], mean: u64| -> Vec<Value> {
            names.iter().enumerate().map(|(id, name)| program(id, name, mean, 2000)).collect()
        };
        let hooks: Vec<String> = TYPED
            .iter()
            .map(|name| (name, ["fentry", "fexit"]))
            .chain(PROBED.iter().map(|name| (name, ["kprobe", "kretprobe"])))
            .flat_map(|(name, ways)| ways.map(|way| format!("{name}_{way}")))
            .collect();
        let hooks: Vec<&str> = hooks.iter().map(String::as_str).collect();
        json!({
            "release": "6.1.0-50-amd64",
            "round_trip_ns": 10_000.0,
            "away": {"round_trip_ns": 11_600.0, "programs": crossings(crossing_ns), "sampled": named(&["cpu_sample"], 9096),
                "softirqs": named(SOFTIRQ, 196)},
            "followed": {"programs": crossings(1096), "ready_ms": 5650},
            "functions": {"programs": named(&hooks, 596), "ready_ms": 25_000},
            "default": {"took_ns": [100, 50], "without_ns": [98, 50]},
        })
    }

    fn measured(crossing_ns: u64) -> Measured {
        Measured::from_result(&result(crossing_ns)).expect("a result")
    }

    #[test]
    fn figures_are_instructions_without_those_of_the_statistics() {
        let figures = measured(296).figures;
        for (key, value) in [
            ("away", 100.0),
            // 1,600 ns more for a round trip, in which these programs run 16 times.
            ("away_in_all", 50.0),
            ("followed", 500.0),
            ("sample", 4500.0),
            ("softirq", 200.0),
            ("hook_typed", 500.0),
            ("hook_probed", 500.0),
            ("steps", 90.0),
            ("steps_functions", 160.0),
            ("size", 720.0),
            ("ready", 5650.0),
            ("loss_round_trips", 2.0),
            ("loss_stream", 0.0),
        ] {
            assert_eq!(figures.get(key), Some(&value), "{key}");
        }
        let keys: Vec<&str> = FIGURES.iter().map(|figure| figure.key).collect();
        assert!(figures.keys().all(|key| keys.contains(&key.as_str())), "{figures:?}");
        assert_eq!(figures.len(), keys.len());
    }

    #[test]
    fn each_program_has_its_costs() {
        let programs = measured(296).programs;
        assert_eq!(programs.get("skb_copy_datagr"), Some(&[Some(100.0), Some(500.0)]));
        assert_eq!(programs.len(), CROSSINGS.len() + BESIDES.len());
    }

    #[test]
    fn a_program_that_did_not_run_leaves_no_mean_of_the_others() {
        let mut result = result(296);
        result["away"]["programs"][0]["runs"] = 0.into();
        assert_eq!(Measured::from_result(&result).expect("a result").figures.get("away"), None);
    }

    #[test]
    fn three_percent_more_or_less_of_one_figure_fails_and_it_alone() {
        let recorded = measured(296);
        for (ns, fails) in [(296, false), (298, false), (302, true), (290, true)] {
            let failed: Vec<_> = compare(&recorded, &measured(ns)).into_iter().filter(|row| row.fails).collect();
            assert_eq!(failed.len(), usize::from(fails), "{ns} ns");
            assert!(failed.iter().all(|row| row.name == "crossing that is turned away"));
        }
    }

    #[test]
    fn every_judged_figure_fails_when_it_is_three_percent_higher() {
        let recorded = measured(296);
        for figure in FIGURES {
            let mut higher = recorded.clone();
            let value = higher.figures.get_mut(figure.key).expect("every figure");
            *value *= 1.03;
            let fails = compare(&recorded, &higher).iter().any(|row| row.fails);
            assert_eq!(fails, figure.judged, "{}", figure.key);
        }
    }

    #[test]
    fn a_figure_that_is_gone_fails_unless_it_never_was() {
        let (recorded, mut gone) = (measured(296), measured(296));
        gone.figures.remove("hook_typed");
        assert!(compare(&recorded, &gone).iter().any(|row| row.fails && row.measured.is_none()));
        assert!(compare(&gone, &recorded).iter().any(|row| row.fails && row.recorded.is_none()));
        assert!(!compare(&gone, &gone.clone()).iter().any(|row| row.fails));
    }

    #[test]
    fn what_stands_on_record_is_what_was_measured() {
        let measured = measured(296);
        assert_eq!(Measured::from_json(&measured.to_json()).expect("a record"), measured);
    }
}
