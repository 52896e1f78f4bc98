//! Loading: the object is fitted to the running kernel, and programs are left out that the kernel does not have.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader,
    maps::RingBuf,
    programs::{Program, ProgramError},
};
use netstrata_common::MAX_SLOTS;

use super::{
    function_probe::FunctionProbe,
    functions::Functions,
    messages::Messages,
    object::OBJECT,
    probes::{self, BURST, Probe, SAMPLER, has_kprobes},
    refusal::Refusal,
    session::Session,
};
use crate::{
    host::cpu::online,
    kernel::{btf::KernelTypes, places::Places},
    threads,
};

/// Threads that verify programs beside the first one: more would wait for the longest program.
const MOST_VERIFIERS: usize = 3;

/// What is loaded, how much it says, and sizes that a hidden option can make tiny.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    /// Slots for followed packets.
    pub slots: Option<u32>,
    /// Bytes of the ring.
    pub ring_bytes: Option<u32>,
    /// Nodes of the tree.
    pub nodes: Option<u32>,
    /// Devices and namespaces that filters name now.
    pub wanted: usize,
    /// Spans are split over functions.
    pub functions: bool,
    /// How much the programs say, as a [`log::LevelFilter`]; 0: nothing.
    pub level: u8,
}

/// Programs that the kernel has, and those that it lacks with what is lost.
#[derive(Default)]
struct Found {
    available: Vec<&'static Probe>,
    function_probes: Vec<FunctionProbe>,
    missing: BTreeMap<String, String>,
}

impl Session {
    /// Loads the programs, fitted to the running kernel. Nothing is attached yet.
    ///
    /// # Errors
    /// [`Refusal`] where the kernel refuses.
    pub fn load(types: &KernelTypes, sizes: &Sizes) -> Result<Self> {
        let begun = Instant::now();
        let mut ebpf = object(types, sizes)?;
        log::debug!("the object is read and its maps are made after {:?}", begun.elapsed());
        let mut found = Found::default();
        let wanted = probes::tracepoints().filter(|probe| is_known(types, probe)).map(|probe| probe.name);
        let mut verified = verify(&mut ebpf, &wanted.chain([SAMPLER, BURST]).collect());
        for probe in probes::tracepoints() {
            found.add_tracepoint(verified.remove(probe.name), probe)?;
        }
        for probe in probes::functions().filter(|_| has_kprobes()) {
            found.load_function(&mut ebpf, probe);
        }
        for name in [SAMPLER, BURST] {
            let result = verified.remove(name).with_context(|| format!("no program {name}"))?;
            result.map_err(|error| Refusal::of_program(name, error))?;
        }
        let messages = (sizes.level > 0).then(|| Messages::of(&mut ebpf)).transpose()?;
        let (programs, functions) = (found.available.len(), found.function_probes.len());
        log::info!("{programs} programs at tracepoints, {functions} at functions verified in {:?}", begun.elapsed());
        found.missing.iter().for_each(|(name, reason)| log::info!("without {name}: {reason}"));
        let ring = RingBuf::try_from(ebpf.take_map("RING").context("no map RING")?)?;
        Ok(Self {
            ebpf,
            ring,
            messages,
            links: Vec::new(),
            samplers: Vec::new(),
            functions: Functions::default(),
            available: found.available,
            function_probes: found.function_probes,
            missing: found.missing,
        })
    }
}

/// The least ring, on most processors.
const PAGE: u32 = 4096;
/// Devices and namespaces that the object has room for.
const WANTED: u32 = 1024;

/// The object with its maps made; no program is loaded yet.
fn object(types: &KernelTypes, sizes: &Sizes) -> Result<Ebpf> {
    let offsets = types.offsets().context("this kernel's packet structures are not what netstrata knows")?;
    let slots = sizes.slots.unwrap_or(MAX_SLOTS as u32).clamp(1, MAX_SLOTS as u32).next_power_of_two();
    let slot_mask = slots - 1;
    let has_reason = u32::from(types.tracepoint_arguments("kfree_skb").unwrap_or(0) >= 3);
    let reason_consumed =
        types.drop_reasons().iter().find(|reason| reason.1 == "CONSUMED").map_or(0, |reason| reason.0);
    let reason_unspecified =
        types.drop_reasons().iter().find(|reason| reason.1 == "NOT_SPECIFIED").map_or(0, |reason| reason.0);
    let places = Places::running();
    log::debug!("slots {slots}, reasons of drops {has_reason}, {offsets:?}, {places:x?}");
    let function_tier = u32::from(sizes.functions);
    let mut loader = EbpfLoader::new();
    loader
        .override_global("FUNCTION_TIER", &function_tier, true)
        .override_global("OFFSETS", &offsets, true)
        .override_global("REASON_UNSPECIFIED", &reason_unspecified, true)
        .override_global("TEXT", &places.text, true)
        .override_global("DRIVERS_FREE", &places.drivers_free, true)
        .override_global("PAGES", &places.pages, true)
        .override_global("SLOT_MASK", &slot_mask, true)
        .override_global("HAS_REASON", &has_reason, true)
        .override_global("REASON_CONSUMED", &reason_consumed, true)
        .override_global("AYA_LOG_LEVEL", &sizes.level, true);
    // An entry for each slot in use, or as good as none.
    loader.map_max_entries("CHARGES", if sizes.functions { slots } else { 1 });
    if !sizes.functions {
        loader.map_max_entries("FUNCTIONS", 1);
    }
    if sizes.level == 0 {
        // Nobody writes there; a page is the least.
        loader.map_max_entries("AYA_LOGS", PAGE);
    }
    // As many again may come while it is recorded.
    if let Some(wanted) = u32::try_from(2 * sizes.wanted).ok().filter(|wanted| *wanted > WANTED) {
        loader.map_max_entries("WANTED", wanted);
    }
    if let Some(nodes) = sizes.nodes {
        loader.map_max_entries("NODES", nodes.max(1));
    }
    if let Some(bytes) = sizes.ring_bytes {
        // A power of two of pages, or the kernel refuses.
        loader.map_max_entries("RING", bytes.max(PAGE).next_power_of_two());
    }
    Ok(loader.load(OBJECT).map_err(Refusal::of_object)?)
}

/// Whether the kernel has what a program is attached to.
fn is_known(types: &KernelTypes, probe: &Probe) -> bool {
    probe.tracepoint().is_some_and(|name| types.tracepoint_arguments(name).is_some())
}

/// How verifying went, by program.
type Verified = HashMap<String, Result<(), ProgramError>>;

/// Verifies programs, each once, on all CPUs: that takes most of the time until a recording is ready.
fn verify(ebpf: &mut Ebpf, names: &HashSet<&str>) -> Verified {
    let programs = Mutex::new(ebpf.programs_mut().filter(|(name, _)| names.contains(name)));
    let verified = Mutex::new(Verified::new());
    let work = || {
        // Not in the condition of the loop, which would hold the lock while it runs.
        let next = || programs.lock().unwrap_or_else(PoisonError::into_inner).next();
        while let Some((name, program)) = next() {
            let result = match program {
                Program::RawTracePoint(program) => program.load(),
                Program::PerfEvent(program) => program.load(),
                _ => Err(ProgramError::UnexpectedProgramType),
            };
            verified.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), result);
        }
    };
    let others = online().map_or(0, |cpus| cpus.len() - 1).min(MOST_VERIFIERS);
    std::thread::scope(|scope| {
        for _ in 0..others {
            // One that does not start leaves its work to the others.
            let _ = std::thread::Builder::new().name(threads::VERIFY.into()).spawn_scoped(scope, work);
        }
        work();
    });
    verified.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Found {
    /// `verified` is how it went; `None` if the kernel has no such tracepoint.
    fn add_tracepoint(
        &mut self,
        verified: Option<Result<(), ProgramError>>,
        probe: &'static Probe,
    ) -> Result<(), Refusal> {
        let lost = match verified.map(|result| result.map_err(|error| Refusal::of_program(probe.name, error))) {
            Some(Ok(())) => {
                self.available.push(probe);
                return Ok(());
            }
            Some(Err(refusal)) if probe.required => return Err(refusal),
            None if probe.required => return Err(Refusal::NoTracepoint { name: probe.name, lost: probe.lost }),
            Some(Err(refusal)) => format!("{refusal}; lost: {}", probe.lost),
            None => format!("not in this kernel; lost: {}", probe.lost),
        };
        self.missing.insert(probe.name.to_owned(), lost);
        Ok(())
    }

    /// One that stands for a tracepoint is loaded only where that is missing.
    fn load_function(&mut self, ebpf: &mut Ebpf, probe: &'static Probe) {
        if probe.stands_for().is_some_and(|tracepoint| !self.missing.contains_key(tracepoint)) {
            return;
        }
        let mut function = FunctionProbe::of(probe);
        match function.load(ebpf) {
            Ok(_) => {
                probe.stands_for().and_then(|tracepoint| self.missing.remove(tracepoint));
                self.function_probes.push(function);
            }
            Err(error) => {
                self.missing.entry(probe.key().to_owned()).or_insert_with(|| FunctionProbe::missing(probe, error));
            }
        }
    }
}
