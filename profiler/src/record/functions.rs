//! The function tier's loader: finds the function of each hook in the running kernel, loads the programs that this needs,
//! and attaches them. A hook that cannot be attached costs its row, never the recording.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use aya::{
    Btf, Ebpf,
    programs::{
        FEntry, FExit, KProbe, ProgramError, RawTracePoint, fentry::FEntryLink, fexit::FExitLink, kprobe::KProbeLink,
        raw_trace_point::RawTracePointLink,
    },
};
use netstrata_common::{Hook, Take, Way};

use super::{
    object::program,
    probes::{FUNCTION_OVS_ACTION, FUNCTION_SOFTIRQS, PROBES},
    refusal::Refusal,
};
use crate::{
    kernel::{
        btf::KernelTypes,
        symbols::{Function, Symbols},
    },
    profile::NOT_THERE,
};

/// Threads that detach: the kernel waits for a grace period for each probe, and waits together for those of many threads.
const DETACHING: usize = 16;

/// A hook that is attached, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The hook.
    pub hook: Hook,
    /// Name of the function, as the kernel knows it.
    pub function: String,
    /// Its module, empty for the kernel itself.
    pub module: String,
    /// How.
    pub way: Way,
}

/// Detaches when dropped. The fields hold what keeps the programs attached.
#[expect(dead_code, reason = "kept for being dropped")]
enum Link {
    Fentry(FEntryLink),
    Fexit(FExitLink),
    Kprobe(KProbeLink),
    Tracepoint(RawTracePointLink),
}

/// Ways that this kernel allows, with the reason where it does not.
#[derive(Clone, Debug, Default)]
pub struct Ways {
    /// Why fentry cannot be used; `None`: it can.
    pub no_fentry: Option<String>,
    /// Why kprobes cannot be used; `None`: they can.
    pub no_kprobe: Option<String>,
}

impl Ways {
    /// Whether functions can be hooked at all.
    pub fn any(&self) -> bool {
        self.no_fentry.is_none() || self.no_kprobe.is_none()
    }

    /// Why functions cannot be hooked.
    pub fn reason(&self) -> String {
        let text = |reason: &Option<String>| reason.clone().unwrap_or_default();
        format!("kprobes: {}; fentry: {}", text(&self.no_kprobe), text(&self.no_fentry))
    }
}

/// The attached hooks.
#[derive(Default)]
pub struct Functions {
    /// What is attached.
    pub attached: Vec<Attached>,
    /// Hooks that are not, with the reason.
    pub missing: BTreeMap<String, String>,
    links: Vec<Link>,
}

/// A function that a hook can be put on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The function.
    pub function: &'a Function,
    /// The kernel's types describe it under this name, so that fentry can be tried.
    pub typed: bool,
}

/// The candidates of a hook in a kernel, the best first.
pub fn candidates<'a>(hook: Hook, symbols: &'a Symbols, types: &KernelTypes) -> Vec<Candidate<'a>> {
    let mut found = Vec::new();
    for wanted in hook.info().functions {
        let (module, name) = wanted.split_once(':').map_or((None, *wanted), |(module, name)| (Some(module), name));
        let mut functions: Vec<&Function> = symbols
            .functions(name)
            .iter()
            .filter(|function| module.is_none_or(|module| function.module == module))
            .collect();
        // What the compiler left whole before what it made of it.
        functions.sort_by_key(|function| function.name != name);
        for function in functions {
            let arguments = if function.module.is_empty() { types.function_arguments(&function.name) } else { None };
            let typed = match hook.info().take {
                Take::Merged(count) => arguments == Some(usize::from(count)),
                _ => arguments.is_some(),
            };
            found.push(Candidate { function, typed });
        }
    }
    found
}

/// Why a hook is not attached.
#[derive(Debug, thiserror::Error)]
enum Unhooked {
    #[error("{NOT_THERE} {0} (its module is not loaded, or this kernel has none)")]
    NotThere(&'static str),
    #[error("{0} can only be reached by kprobes, which this kernel lacks")]
    OnlyByKprobe(String),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{0:#}")]
    Program(#[from] anyhow::Error),
}

impl Functions {
    /// Tries each way on the function that costs are measured with.
    pub fn ways(ebpf: &mut Ebpf, symbols: &Symbols, types: &KernelTypes) -> Ways {
        let mut attempt = |way: Way| match Self::calibration(ebpf, symbols, types, way, "") {
            Ok(_) => None,
            Err(error) => Some(format!("{error:#}")),
        };
        Ways { no_fentry: attempt(Way::Fentry), no_kprobe: attempt(Way::Kprobe) }
    }

    /// Attaches only the hook that costs are measured with, to the first of its functions whose name ends so.
    pub fn calibration(ebpf: &mut Ebpf, symbols: &Symbols, types: &KernelTypes, way: Way, name: &str) -> Result<Self> {
        let mut functions = Self::default();
        let btf =
            if way == Way::Fentry { Some(Btf::from_sys_fs().context("cannot read the kernel's types")?) } else { None };
        let mut reason = anyhow::anyhow!("the kernel has no function to try it on");
        let candidates = candidates(Hook::Calibration, symbols, types);
        for candidate in candidates.into_iter().filter(|candidate| candidate.function.name.ends_with(name)) {
            match functions.attach_at(ebpf, Hook::Calibration, &candidate, way, btf.as_ref()) {
                Ok(()) => return Ok(functions),
                Err(error) => reason = error.into(),
            }
        }
        Err(reason)
    }

    /// Attaches only the programs that see softirqs.
    pub fn softirqs(ebpf: &mut Ebpf) -> Result<Self> {
        let mut functions = Self::default();
        functions.attach_softirqs(ebpf)?;
        Ok(functions)
    }

    fn attach_softirqs(&mut self, ebpf: &mut Ebpf) -> Result<()> {
        FUNCTION_SOFTIRQS.into_iter().try_for_each(|name| self.attach_tracepoint(ebpf, name))
    }

    fn attach_tracepoint(&mut self, ebpf: &mut Ebpf, name: &str) -> Result<()> {
        let tracepoint = tracepoint_of(name);
        let program: &mut RawTracePoint = program(ebpf, name)?;
        let mut attach = || {
            if program.fd().is_err() {
                program.load()?;
            }
            let link = program.attach(tracepoint)?;
            program.take_link(link)
        };
        self.links.push(Link::Tracepoint(attach().map_err(|error| Refusal::of_program(name, error))?));
        Ok(())
    }

    /// Attaches everything that can be.
    pub fn attach(ebpf: &mut Ebpf, symbols: &Symbols, types: &KernelTypes, ways: &Ways) -> Result<Self> {
        let mut functions = Self::default();
        let btf = match ways.no_fentry {
            None => Some(Btf::from_sys_fs().context("cannot read the kernel's types")?),
            Some(_) => None,
        };
        functions.attach_softirqs(ebpf)?;
        if let Err(reason) = functions.attach_tracepoint(ebpf, FUNCTION_OVS_ACTION) {
            let name = tracepoint_of(FUNCTION_OVS_ACTION);
            functions.missing.insert(name.to_owned(), format!("{NOT_THERE} {name} ({reason:#})"));
        }
        let wanted = Hook::ALL.iter().filter(|hook| !hook.info().functions.is_empty() && **hook != Hook::Calibration);
        for hook in wanted {
            if let Err(reason) = functions.attach_hook(ebpf, *hook, symbols, types, ways, btf.as_ref()) {
                functions.missing.insert(hook.name().to_owned(), reason.to_string());
            }
        }
        Ok(functions)
    }

    /// Attaches one hook at the best candidate that takes it.
    fn attach_hook(
        &mut self,
        ebpf: &mut Ebpf,
        hook: Hook,
        symbols: &Symbols,
        types: &KernelTypes,
        ways: &Ways,
        btf: Option<&Btf>,
    ) -> Result<(), Unhooked> {
        let mut reason = Unhooked::NotThere(hook.info().functions[0]);
        for candidate in candidates(hook, symbols, types) {
            if candidate.typed && ways.no_fentry.is_none() {
                match self.attach_at(ebpf, hook, &candidate, Way::Fentry, btf) {
                    Ok(()) => return Ok(()),
                    Err(error) => reason = error,
                }
            }
            if ways.no_kprobe.is_none() {
                match self.attach_at(ebpf, hook, &candidate, Way::Kprobe, btf) {
                    Ok(()) => return Ok(()),
                    Err(error) => reason = error,
                }
            } else if !candidate.typed {
                reason = Unhooked::OnlyByKprobe(candidate.function.name.clone());
            }
        }
        Err(reason)
    }

    /// Attaches one hook at one candidate: the exit first, so that nothing is entered that is not left.
    fn attach_at(
        &mut self,
        ebpf: &mut Ebpf,
        hook: Hook,
        candidate: &Candidate<'_>,
        way: Way,
        btf: Option<&Btf>,
    ) -> Result<(), Unhooked> {
        let name = |suffix: &str| format!("{}_{suffix}", Hook::PROGRAMS[hook as usize]);
        let at = |error: ProgramError| Refusal::of_program(&candidate.function.name, error);
        let links = match way {
            Way::Fentry => {
                let btf = btf.context("the kernel's types were not read")?;
                let exit = attach_exit(program(ebpf, &name("fexit"))?, &candidate.function.name, btf).map_err(at)?;
                [exit, attach_entry(program(ebpf, &name("fentry"))?, &candidate.function.name, btf).map_err(at)?]
            }
            Way::Kprobe => {
                let exit = attach_kprobe(program(ebpf, &name("kretprobe"))?, candidate.function).map_err(at)?;
                [exit, attach_kprobe(program(ebpf, &name("kprobe"))?, candidate.function).map_err(at)?]
            }
        };
        self.links.extend(links);
        let Function { name: function, module, .. } = candidate.function;
        self.attached.push(Attached { hook, function: function.clone(), module: module.clone(), way });
        Ok(())
    }

    /// Names of the programs in use.
    pub fn programs(&self) -> Vec<String> {
        self.attached
            .iter()
            .flat_map(|attached| {
                let name = Hook::PROGRAMS[attached.hook as usize];
                let suffixes = match attached.way {
                    Way::Fentry => ["fentry", "fexit"],
                    Way::Kprobe => ["kprobe", "kretprobe"],
                };
                suffixes.map(|suffix| format!("{name}_{suffix}"))
            })
            .collect()
    }
}

/// The tracepoint of a program of the function tier.
fn tracepoint_of(program: &str) -> &'static str {
    PROBES.iter().find(|probe| probe.name == program).and_then(|probe| probe.tracepoint()).unwrap_or_default()
}

/// Loaded anew for each function; and before 5.13 a program can be attached only once.
fn attach_exit(program: &mut FExit, function: &str, btf: &Btf) -> Result<Link, ProgramError> {
    if program.fd().is_ok() {
        program.unload()?;
    }
    program.load(function, btf)?;
    let link = program.attach()?;
    program.take_link(link).map(Link::Fexit)
}

/// The same at the entry.
fn attach_entry(program: &mut FEntry, function: &str, btf: &Btf) -> Result<Link, ProgramError> {
    if program.fd().is_ok() {
        program.unload()?;
    }
    program.load(function, btf)?;
    let link = program.attach()?;
    program.take_link(link).map(Link::Fentry)
}

/// A kprobe or a kretprobe.
fn attach_kprobe(program: &mut KProbe, function: &Function) -> Result<Link, ProgramError> {
    if program.fd().is_err() {
        program.load()?;
    }
    // A name that two modules have is told apart where the kernel reads `module:name` (since 6.7).
    let Function { name, module, .. } = function;
    let link = program.attach(if function.ambiguous { format!("{module}:{name}") } else { name.clone() }, 0)?;
    program.take_link(link).map(Link::Kprobe)
}

impl Drop for Functions {
    fn drop(&mut self) {
        let mut shares: Vec<Vec<Link>> = (0..DETACHING).map(|_| Vec::new()).collect();
        for (index, link) in std::mem::take(&mut self.links).into_iter().enumerate() {
            shares[index % DETACHING].push(link);
        }
        std::thread::scope(|scope| {
            for share in shares.into_iter().filter(|share| !share.is_empty()) {
                scope.spawn(move || drop(share));
            }
        });
    }
}
