//! `netstrata doctor`: what this kernel and these privileges allow, layer by layer, in plain words.
//!
//! Looks first (files under /proc and /sys, the kernel's BTF), then loads the programs without attaching them. Nothing
//! is changed.

mod config;
mod facts;
mod layers;
mod text;

use std::process::ExitCode;

use anyhow::Result;
use netstrata_common::Tier;
use serde::Serialize;

pub use layers::{Sight, Support, support};

use crate::{
    cli::{FormatArgs, TextFormat},
    host::{cpu, facts::kernel_release},
    kernel::{btf::KernelTypes, privilege},
    output::print,
    record::{self, Refusal, Session, Sizes, stand_in},
};

/// Everything that `doctor` found. As JSON it is `netstrata.doctor/1`.
#[derive(Clone, Debug, Serialize)]
pub struct Examination {
    /// `netstrata.doctor/1`.
    pub schema: &'static str,
    /// Release of the kernel.
    pub kernel: String,
    /// Machine architecture.
    pub arch: &'static str,
    /// Online CPUs.
    pub cpus: usize,
    /// Recording can work here, with these privileges.
    pub can_record: bool,
    /// What to do, most important first; empty where all is well.
    pub advice: Vec<String>,
    /// Whether the programs could be loaded.
    pub load: Check,
    /// Ways to look into the kernel.
    pub tiers: Vec<TierFinding>,
    /// Facts that decide, or explain.
    pub checks: Vec<Check>,
    /// Capabilities of this process.
    pub capabilities: Vec<Capability>,
    /// Tracepoints.
    pub probes: Vec<Tracepoint>,
    /// Layers of the datapath.
    pub layers: Vec<layers::Finding>,
}

/// The answer to one question.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// "yes", "no", or "unknown" where this process may not see it.
    pub answer: &'static str,
    /// What was found, and what follows from it.
    pub why: String,
    /// What to do where the answer hinders; empty otherwise.
    pub advice: String,
}

impl Check {
    fn new(name: &'static str, good: bool, why: impl Into<String>, advice: &str) -> Self {
        let answer = if good { "yes" } else { "no" };
        Self { name, answer, why: why.into(), advice: if good { String::new() } else { advice.to_owned() } }
    }

    fn unknown(name: &'static str, why: impl Into<String>) -> Self {
        Self { name, answer: "unknown", why: why.into(), advice: String::new() }
    }

    /// Whether the answer is yes.
    pub fn good(&self) -> bool {
        self.answer == "yes"
    }
}

/// A way to look into the kernel, and whether it is open.
#[derive(Clone, Debug, Serialize)]
pub struct TierFinding {
    /// Which.
    #[serde(rename = "name")]
    pub tier: Tier,
    /// This netstrata uses it here.
    pub available: bool,
    /// Why, or why not.
    pub why: String,
}

/// A capability of this process.
#[derive(Clone, Debug, Serialize)]
pub struct Capability {
    /// Name.
    pub name: &'static str,
    /// This process has it.
    pub has: bool,
    /// Recording is refused without it.
    pub required: bool,
    /// What it is for.
    pub why: &'static str,
}

/// A tracepoint.
#[derive(Clone, Debug, Serialize)]
pub struct Tracepoint {
    /// Name of the tracepoint and of our program.
    pub name: &'static str,
    /// "journey" or "softirq": what it is attached for.
    pub group: &'static str,
    /// The kernel has it.
    pub available: bool,
    /// Arguments that it passes.
    pub arguments: Option<usize>,
    /// Without it there is no recording.
    pub required: bool,
    /// What is lost without it.
    pub lost: &'static str,
}

/// Runs `netstrata doctor`.
pub fn run(args: &FormatArgs) -> Result<ExitCode> {
    let examination = examine()?;
    let output = match args.format {
        TextFormat::Text => text::text(&examination),
        TextFormat::Json => serde_json::to_string_pretty(&examination)? + "\n",
    };
    print(&output)?;
    Ok(ExitCode::from(if examination.can_record { 0 } else { 3 }))
}

/// What was found of a machine, before anything follows from it.
struct Found {
    kernel: String,
    cpus: usize,
    types: Option<KernelTypes>,
    btf: Check,
    load: Check,
    symbols: Check,
    sampler: Check,
    settings: Vec<Check>,
    kprobes: bool,
    config: config::BuildConfig,
    /// Effective capabilities.
    mask: u64,
}

/// Looks at the running kernel and at this process.
///
/// # Errors
/// When not even the CPUs can be told.
pub fn examine() -> Result<Examination> {
    let cpus = cpu::online()?;
    let types = KernelTypes::running();
    let btf = facts::btf(types.as_ref().err());
    let types = types.ok();
    Ok(conclude(Found {
        kernel: kernel_release(),
        cpus: cpus.len(),
        load: load(types.as_ref()),
        types,
        btf,
        symbols: facts::symbols(),
        sampler: facts::sampler(cpus[0]),
        settings: facts::settings(),
        kprobes: record::has_kprobes(),
        config: config::BuildConfig::running(),
        mask: privilege::effective(),
    }))
}

fn conclude(found: Found) -> Examination {
    let Found { btf, load, symbols, sampler, config, .. } = found;
    let probes = probes(found.types.as_ref());
    let capabilities = capabilities(found.mask);
    let can_record = btf.good() && load.good() && symbols.good() && sampler.good();
    let present = |name: &str| {
        probes.iter().any(|probe| probe.name == name && (probe.available || stand_in(probe.name).is_some()))
    };
    let layers = layers::findings(&present, sampler.good() && symbols.good(), &config);
    let tier = |tier: &Tier| {
        let (available, why) = match tier {
            Tier::Tracepoint => tracepoints(&probes, &load),
            Tier::Sampling => sampling(&sampler, &symbols),
            Tier::Function => facts::functions(found.kprobes, &config),
        };
        TierFinding { tier: *tier, available, why }
    };
    let tiers = Tier::ALL.iter().map(tier).collect();
    let mut checks = vec![btf, symbols, sampler];
    checks.extend(found.settings);
    let mut advice: Vec<String> = std::iter::once(&load)
        .chain(&checks)
        .map(|check| check.advice.clone())
        .filter(|text| !text.is_empty())
        .collect();
    advice.extend(capability_advice(&capabilities));
    // What "run as root, or with the capabilities" covers need not be said again one by one.
    if load.advice == LOAD_ADVICE {
        advice.retain(|text| !text.starts_with("give the program CAP_"));
    }
    let mut seen = std::collections::BTreeSet::new();
    advice.retain(|text| seen.insert(text.clone()));
    Examination {
        schema: "netstrata.doctor/1",
        kernel: found.kernel,
        arch: std::env::consts::ARCH,
        cpus: found.cpus,
        can_record,
        advice,
        load,
        tiers,
        checks,
        capabilities,
        probes,
        layers,
    }
}

const LOAD_ADVICE: &str = "run as root, or with CAP_BPF, CAP_PERFMON and CAP_SYSLOG";

/// Loads the programs and lets them go again.
fn load(types: Option<&KernelTypes>) -> Check {
    const NAME: &str = "programs load";
    let Some(types) = types else {
        return Check::new(NAME, false, "not tried: without BTF the programs cannot be fitted to this kernel", "");
    };
    match Session::load(types, &Sizes::default()) {
        Ok(session) => {
            let missing = session.missing.len();
            let but = if missing == 0 { String::new() } else { format!(", {missing} left out (see tracepoints)") };
            Check::new(NAME, true, format!("{} programs passed the verifier{but}", session.probe_names().len() + 1), "")
        }
        Err(error) => {
            let lacking = privilege::missing_required(privilege::effective());
            let why = error.downcast_ref::<Refusal>().map(|refusal| refusal.sentence(&std::env::temp_dir()));
            let why = why.unwrap_or_else(|| format!("{error:#}"));
            Check::new(NAME, false, why, if lacking.is_empty() { "" } else { LOAD_ADVICE })
        }
    }
}

fn probes(types: Option<&KernelTypes>) -> Vec<Tracepoint> {
    record::tracepoints()
        .map(|probe| {
            let point = probe.tracepoint().unwrap_or(probe.name);
            let arguments = types.and_then(|types| types.tracepoint_arguments(point));
            Tracepoint {
                name: point,
                group: probe.group.name(),
                available: arguments.is_some(),
                arguments,
                required: probe.required,
                lost: match stand_in(probe.name) {
                    Some(_) if arguments.is_none() => {
                        "nothing: a probe on the function that it announces stands for it"
                    }
                    _ => probe.lost,
                },
            }
        })
        .collect()
}

fn capabilities(mask: u64) -> Vec<Capability> {
    privilege::CAPABILITIES
        .iter()
        .map(|entry| Capability {
            name: entry.name,
            has: privilege::has(mask, entry),
            required: entry.required,
            why: entry.why,
        })
        .collect()
}

/// One sentence for the capabilities that are only liked; the required ones are named by what they hinder.
fn capability_advice(capabilities: &[Capability]) -> Option<String> {
    let names = |required: bool| -> Vec<&str> {
        capabilities.iter().filter(|entry| !entry.has && entry.required == required).map(|entry| entry.name).collect()
    };
    let (required, liked) = (names(true), names(false));
    if !required.is_empty() {
        return Some(format!("give the program {}", required.join(" and ")));
    }
    (!liked.is_empty()).then(|| format!("with {} more would be seen (below)", liked.join(", ")))
}

fn tracepoints(probes: &[Tracepoint], load: &Check) -> (bool, String) {
    let have = probes.iter().filter(|probe| probe.available).count();
    let lacking: Vec<&str> =
        probes.iter().filter(|probe| probe.required && !probe.available).map(|probe| probe.name).collect();
    let why = if !lacking.is_empty() {
        format!("this kernel lacks {}", lacking.join(", "))
    } else if load.good() {
        format!("{have} of {} tracepoints, loaded for a test; journeys of packets and softirq times", probes.len())
    } else {
        format!("{have} of {} tracepoints exist, but the programs cannot be loaded", probes.len())
    };
    (lacking.is_empty() && load.good(), why)
}

fn sampling(sampler: &Check, symbols: &Check) -> (bool, String) {
    let why = if !sampler.good() {
        sampler.why.clone()
    } else if !symbols.good() {
        "CPUs can be sampled, but the functions of their stacks have no names".into()
    } else {
        format!("CPU time by layer; {}", sampler.why)
    };
    (sampler.good() && symbols.good(), why)
}

#[cfg(test)]
mod tests {
    use netstrata_common::Layer;

    use super::*;

    /// A machine with a recorded kernel, where all is well but these capabilities.
    fn machine(types: Option<KernelTypes>, mask: u64) -> Found {
        let good = |name| Check::new(name, true, "", "");
        Found {
            kernel: "6.12.0".to_owned(),
            cpus: 4,
            types,
            btf: good("BTF"),
            load: good("programs load"),
            symbols: good("kernel symbols"),
            sampler: good("CPU sampling"),
            settings: Vec::new(),
            kprobes: true,
            config: config::BuildConfig::default(),
            mask,
        }
    }

    fn recorded(version: &str) -> KernelTypes {
        let path = format!("{}/../fixtures/kernels/{version}/btf", env!("CARGO_MANIFEST_DIR"));
        KernelTypes::from_bytes(&std::fs::read(path).expect("a recorded kernel")).expect("types")
    }

    #[test]
    fn the_text_fits_a_terminal_and_names_every_probe_capability_and_layer() {
        for (version, mask) in [("5.10", 0), ("6.1", 1 << 38), ("6.12", u64::MAX), ("7.2", u64::MAX)] {
            let examination = conclude(machine(Some(recorded(version)), mask));
            let text = text::text(&examination);
            for line in text.lines() {
                assert!(line.chars().count() <= 100, "{line}");
                assert_eq!(line, line.trim_end());
            }
            let names = record::tracepoints().filter_map(record::Probe::tracepoint);
            let names = names.chain(privilege::CAPABILITIES.iter().map(|entry| entry.name));
            for name in names.chain(Layer::ALL.iter().filter(|layer| layer.info().datapath).map(|layer| layer.name())) {
                assert!(text.contains(name), "{name}");
            }
        }
    }

    #[test]
    fn where_all_is_well_it_can_record_and_nothing_is_advised() {
        let examination = conclude(machine(Some(recorded("6.12")), u64::MAX));
        assert!(examination.can_record && examination.advice.is_empty(), "{:?}", examination.advice);
        let tiers: Vec<_> = examination.tiers.iter().map(|tier| (tier.tier, tier.available)).collect();
        assert_eq!(tiers, [Tier::Tracepoint, Tier::Sampling, Tier::Function].map(|tier| (tier, true)));
    }

    #[test]
    fn what_hinders_is_advised_once_and_most_important_first() {
        let found = Found {
            sampler: Check::new("CPU sampling", false, "", "give the program CAP_PERFMON, or run as root"),
            load: Check::new("programs load", false, "", LOAD_ADVICE),
            kprobes: false,
            ..machine(Some(recorded("6.12")), 0)
        };
        let examination = conclude(found);
        assert!(!examination.can_record && examination.tiers.iter().all(|tier| !tier.available));
        assert_eq!(examination.advice, [LOAD_ADVICE]);
    }

    #[test]
    fn a_kernel_without_types_says_so_and_loads_nothing() {
        let check = load(None);
        assert!(!check.good() && check.why.contains("BTF"));
        let found = Found { btf: Check::new("BTF", false, "", "boot another"), load: check, ..machine(None, u64::MAX) };
        let examination = conclude(found);
        assert!(!examination.can_record && !examination.probes.is_empty());
        assert!(examination.probes.iter().all(|probe| !probe.available));
        assert_eq!(examination.advice, ["boot another"]);
    }

    #[test]
    fn missing_capabilities_are_named_the_required_ones_first() {
        assert_eq!(capability_advice(&capabilities(0)).as_deref(), Some("give the program CAP_BPF and CAP_PERFMON"));
        assert!(capability_advice(&capabilities(1 << 38 | 1 << 39)).is_some_and(|text| text.contains("CAP_SYSLOG")));
        assert_eq!(capability_advice(&capabilities(u64::MAX)), None);
    }
}
