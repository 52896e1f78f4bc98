//! The kernel programs, loaded: which of them this kernel has, attaching and detaching them, and their maps.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, HashMap, MapData, PerCpuArray, RingBuf},
    programs::{
        KProbe, PerfEvent, ProgramError, RawTracePoint,
        kprobe::KProbeLinkId,
        perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent},
        raw_trace_point::RawTracePointLinkId,
    },
};
use netstrata_common::{
    Config, CpuState, DropKey, FunctionKey, FunctionNode, GLOBAL_WORDS, Head, MAX_SLOTS, Node, NodeKey, Path,
    SampleKey, Stack, Tally, TurnKey,
};

use super::functions::{Attached, Functions, Ways};
use crate::{
    failure::Failure,
    kernel::{btf::KernelTypes, symbols::Symbols},
};

/// A program and when it is wanted.
pub struct Probe {
    /// Name of the program and of its tracepoint.
    pub name: &'static str,
    /// Which group it is attached with.
    pub group: Group,
    /// Without it there is no recording.
    pub required: bool,
    /// What is lost where the kernel lacks it.
    pub lost: &'static str,
}

/// Programs that are attached and detached together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Journeys of packets.
    Journey,
    /// Softirq times.
    Softirq,
}

macro_rules! probes {
    ($($group:ident $name:literal $required:literal $lost:literal;)*) => {
        /// Every tracepoint program, in the order in which they are attached: ends of journeys first, starts last, so
        /// that nothing starts that could not be followed.
        pub const PROBES: &[Probe] = &[
            $(Probe { name: $name, group: Group::$group, required: $required, lost: $lost },)*
        ];
    };
}

probes! {
    Journey "kfree_skb" true "drops";
    Journey "consume_skb" true "the end of packets that nobody reads";
    Journey "skb_copy_datagram_iovec" true "the reader's copy";
    Journey "sk_data_ready" false "the split between protocol work and waking the reader (needs 6.3)";
    Journey "fib_table_lookup" false "the place of the route look-up";
    Journey "tcp_retransmit_skb" false "retransmits";
    Journey "tcp_probe" false "the split between IP and TCP, and segments that waited for a busy socket";
    Journey "netif_receive_skb" true "reception";
    Journey "napi_gro_receive_entry" false "GRO";
    Journey "napi_gro_receive_exit" false "what GRO merged";
    Journey "netif_rx" true "the backlog queue";
    Journey "net_dev_xmit" true "the end of transmission";
    Journey "net_dev_start_xmit" true "the start of transmission";
    Journey "qdisc_enqueue" false "the difference between passing and waiting in a qdisc (needs 5.15)";
    Journey "tcp_sendmsg_locked" false "TCP's own send work, before the first device (needs 6.15)";
    Journey "net_dev_queue" true "the start of journeys";
    Softirq "softirq_exit" false "softirq times";
    Softirq "softirq_entry" false "softirq times";
    Softirq "softirq_raise" false "the wait between raise and entry of a softirq";
    Softirq "napi_poll" false "packets per poll";
}

/// A function that packets cross, and that no tracepoint announces. Its probe is attached with those of journeys.
struct FunctionPoint {
    /// Name of the function and of its program.
    name: &'static str,
    /// The tracepoint that it stands for where a kernel lacks that.
    stands_for: Option<&'static str>,
    /// The module that has it, which may be loaded at any time.
    module: Option<&'static str>,
    /// What is lost without it.
    lost: &'static str,
}

/// What sockets announce data with, unless a protocol of the kernel's own owns them.
const READY_FUNCTION: &str = "sock_def_readable";

/// Every such function, where functions can be hooked.
const FUNCTION_POINTS: &[FunctionPoint] = &[
    FunctionPoint {
        name: READY_FUNCTION,
        stands_for: Some("sk_data_ready"),
        module: None,
        lost: "the split between protocol work and waking the reader",
    },
    FunctionPoint {
        name: "ovs_flow_key_extract_userspace",
        stands_for: None,
        module: Some("openvswitch"),
        lost: "the way of packets that Open vSwitch gets back from its daemon",
    },
    FunctionPoint {
        name: "ovs_dp_upcall",
        stands_for: None,
        module: Some("openvswitch"),
        lost: "the way of packets that Open vSwitch sends to its daemon",
    },
];

impl FunctionPoint {
    /// Under which name it is missing.
    fn key(&self) -> &'static str {
        self.stands_for.unwrap_or(self.name)
    }

    fn missing(&self, error: &ProgramError) -> String {
        format!("{}: {}; lost: {}", self.name, describe(error), self.lost)
    }

    /// Whether the function is there now; that of the kernel itself always is.
    fn is_loaded(&self) -> bool {
        self.module.is_none_or(|module| std::path::Path::new("/sys/module").join(module).exists())
    }
}

/// The function whose probe stands for a tracepoint that a kernel lacks, where functions can be hooked.
pub fn stand_in(tracepoint: &str) -> Option<&'static str> {
    let point = FUNCTION_POINTS.iter().find(|point| point.stands_for == Some(tracepoint))?;
    super::functions::has_kprobes().then_some(point.name)
}

/// The probe of such a function.
struct FunctionProbe {
    point: &'static FunctionPoint,
    /// Its program has been verified, which takes time that nobody should pay for an unused module.
    loaded: bool,
    /// While it is attached.
    link: Option<KProbeLinkId>,
    /// It is not attached with the others.
    left_out: bool,
    /// It was attached once.
    seen: bool,
}

impl FunctionProbe {
    fn of(point: &'static FunctionPoint) -> Self {
        Self { point, loaded: false, link: None, left_out: false, seen: false }
    }

    /// Loads the program if the function is there, which it tells.
    fn load(&mut self, ebpf: &mut Ebpf) -> Result<bool, ProgramError> {
        let there = self.point.is_loaded();
        if there && !self.loaded {
            self.program(ebpf)?.load()?;
            self.loaded = true;
        }
        Ok(there)
    }

    /// Attaches it, if the function is there.
    fn attach(&mut self, ebpf: &mut Ebpf) -> Result<(), ProgramError> {
        if self.load(ebpf)? {
            let link = self.program(ebpf)?.attach(self.point.name, 0)?;
            (self.link, self.seen) = (Some(link), true);
        }
        Ok(())
    }

    fn program<'a>(&self, ebpf: &'a mut Ebpf) -> Result<&'a mut KProbe, ProgramError> {
        ebpf.program_mut(self.point.name).ok_or(ProgramError::NotLoaded)?.try_into()
    }
}

/// The program that samples CPUs all the time.
const SAMPLER: &str = "cpu_sample";
/// The one that samples them densely for moments, to split spans.
const BURST: &str = "burst_sample";

/// What is loaded, and sizes that a hidden option can make tiny.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    /// Slots for followed packets.
    pub slots: Option<u32>,
    /// Bytes of the ring.
    pub ring_bytes: Option<u32>,
    /// Nodes of the tree.
    pub nodes: Option<u32>,
    /// Spans are split over functions.
    pub functions: bool,
}

/// Loaded programs with their maps.
pub struct Session {
    ebpf: Ebpf,
    /// Mapped once: mapping it anew for each look would cost more than all else that the recorder does.
    ring: RingBuf<MapData>,
    /// Attached links by program.
    links: Vec<(&'static str, aya::programs::raw_trace_point::RawTracePointLinkId)>,
    samplers: Vec<(&'static str, aya::programs::perf_event::PerfEventLinkId)>,
    /// Hooked functions.
    functions: Functions,
    /// Programs that the kernel has.
    available: Vec<&'static Probe>,
    /// Functions that packets cross.
    function_probes: Vec<FunctionProbe>,
    /// Programs that it lacks, with what is lost.
    pub missing: BTreeMap<String, String>,
}

impl Session {
    /// Loads the programs, fitted to the running kernel. Nothing is attached yet.
    pub fn load(types: &KernelTypes, sizes: &Sizes) -> Result<Self> {
        let offsets = types.offsets().context("this kernel's packet structures are not what netstrata knows")?;
        let slots = sizes.slots.unwrap_or(MAX_SLOTS as u32).clamp(1, MAX_SLOTS as u32).next_power_of_two();
        let slot_mask = slots - 1;
        let has_reason = u32::from(types.tracepoint_arguments("kfree_skb").unwrap_or(0) >= 3);
        let reason_consumed =
            types.drop_reasons().iter().find(|reason| reason.1 == "CONSUMED").map_or(0, |reason| reason.0);
        let function_tier = u32::from(sizes.functions);
        let mut loader = EbpfLoader::new();
        loader
            .override_global("FUNCTION_TIER", &function_tier, true)
            .override_global("OFFSETS", &offsets, true)
            .override_global("SLOT_MASK", &slot_mask, true)
            .override_global("HAS_REASON", &has_reason, true)
            .override_global("REASON_CONSUMED", &reason_consumed, true);
        // An entry for each slot in use, or as good as none.
        loader.map_max_entries("CHARGES", if sizes.functions { slots } else { 1 });
        if !sizes.functions {
            loader.map_max_entries("FUNCTIONS", 1);
        }
        if let Some(nodes) = sizes.nodes {
            loader.map_max_entries("NODES", nodes.max(1));
        }
        if let Some(bytes) = sizes.ring_bytes {
            // A power of two of pages, or the kernel refuses.
            loader.map_max_entries("RING", bytes.max(4096).next_power_of_two());
        }
        let mut ebpf =
            loader.load(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netstrata-ebpf"))).map_err(refused)?;
        let mut missing = BTreeMap::new();
        let mut available = Vec::new();
        for probe in PROBES {
            if types.tracepoint_arguments(probe.name).is_none() {
                if probe.required {
                    return Err(Failure::Refused(format!(
                        "this kernel has no tracepoint {}, without which {} cannot be seen",
                        probe.name, probe.lost
                    ))
                    .into());
                }
                missing.insert(probe.name.to_owned(), format!("not in this kernel; lost: {}", probe.lost));
                continue;
            }
            let program: &mut RawTracePoint = program(&mut ebpf, probe.name)?;
            match program.load() {
                Ok(()) => available.push(probe),
                Err(error) if probe.required => return Err(refused_program(error, probe.name)),
                Err(error) => {
                    missing.insert(probe.name.to_owned(), format!("{error}; lost: {}", probe.lost));
                }
            }
        }
        let mut function_probes = Vec::new();
        for point in FUNCTION_POINTS.iter().filter(|_| super::functions::has_kprobes()) {
            if point.stands_for.is_some_and(|tracepoint| !missing.contains_key(tracepoint)) {
                continue;
            }
            let mut probe = FunctionProbe::of(point);
            match probe.load(&mut ebpf) {
                Ok(_) => {
                    point.stands_for.and_then(|tracepoint| missing.remove(tracepoint));
                    function_probes.push(probe);
                }
                Err(error) => {
                    missing.entry(point.key().to_owned()).or_insert_with(|| point.missing(&error));
                }
            }
        }
        for name in [SAMPLER, BURST] {
            let sampler: &mut PerfEvent = program(&mut ebpf, name)?;
            sampler.load().map_err(|error| refused_program(error, name))?;
        }
        let ring = RingBuf::try_from(ebpf.take_map("RING").context("no map RING")?)?;
        Ok(Self {
            ebpf,
            ring,
            links: Vec::new(),
            samplers: Vec::new(),
            functions: Functions::default(),
            available,
            function_probes,
            missing,
        })
    }

    /// Names of the probes that can be attached.
    pub fn probe_names(&self) -> Vec<String> {
        let names = self.available.iter().map(|probe| probe.name.to_owned());
        let functions = self.function_probes.iter().filter(|probe| probe.seen);
        names.chain(functions.map(|probe| format!("{} (kprobe)", probe.point.name))).collect()
    }

    /// How functions can be hooked here.
    pub fn function_ways(&mut self, symbols: &Symbols, types: &KernelTypes) -> Ways {
        Functions::ways(&mut self.ebpf, symbols, types)
    }

    /// Hooks all functions that can be. They stay so until the session ends or they are taken off.
    pub fn attach_functions(&mut self, symbols: &Symbols, types: &KernelTypes, ways: &Ways) -> Result<()> {
        self.functions = Functions::attach(&mut self.ebpf, symbols, types, ways)?;
        Ok(())
    }

    /// Takes the hooks off their functions; tells what was hooked, and what was not.
    pub fn detach_functions(&mut self) -> (Vec<Attached>, BTreeMap<String, String>) {
        let mut functions = std::mem::take(&mut self.functions);
        (std::mem::take(&mut functions.attached), std::mem::take(&mut functions.missing))
    }

    /// The loaded object.
    pub(super) fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Whether the function that stands for the tracepoint of ready sockets is not attached with the others; false if none
    /// does.
    pub fn leave_ready_function_out(&mut self, out: bool) -> bool {
        let ready = self.function_probes.iter_mut().find(|probe| probe.point.name == READY_FUNCTION);
        ready.map(|probe| probe.left_out = out).is_some()
    }

    /// Attaches a group.
    pub fn attach(&mut self, group: Group) -> Result<()> {
        if group == Group::Journey {
            self.attach_function_points()?;
        }
        for probe in self.available.iter().filter(|probe| probe.group == group) {
            let program: &mut RawTracePoint = program(&mut self.ebpf, probe.name)?;
            let link = attach_to(program, probe.name).map_err(|error| refused_program(error, probe.name))?;
            self.links.push((probe.name, link));
        }
        Ok(())
    }

    /// One that cannot be attached costs what is seen there, not the recording.
    fn attach_function_points(&mut self) -> Result<()> {
        let mut failed = Vec::new();
        for (index, probe) in self.function_probes.iter_mut().enumerate().filter(|(_, probe)| !probe.left_out) {
            if let Err(error) = probe.attach(&mut self.ebpf) {
                self.missing.insert(probe.point.key().to_owned(), probe.point.missing(&error));
                failed.push(index);
            }
        }
        for index in failed.into_iter().rev() {
            self.function_probes.remove(index);
        }
        Ok(())
    }

    /// Detaches a group, starts of journeys first.
    pub fn detach(&mut self, group: Group) -> Result<()> {
        let of_group = |name: &str| PROBES.iter().any(|probe| probe.name == name && probe.group == group);
        let (going, staying) = std::mem::take(&mut self.links).into_iter().partition(|link| of_group(link.0));
        self.links = staying;
        let mut going: Vec<_> = going;
        going.reverse();
        for (name, link) in going {
            let program: &mut RawTracePoint = program(&mut self.ebpf, name)?;
            program.detach(link).with_context(|| format!("cannot detach {name}"))?;
        }
        for probe in self.function_probes.iter_mut().filter(|_| group == Group::Journey).rev() {
            if let Some(link) = probe.link.take() {
                let program: &mut KProbe = program(&mut self.ebpf, probe.point.name)?;
                program.detach(link).with_context(|| format!("cannot detach {}", probe.point.name))?;
            }
        }
        Ok(())
    }

    /// Whether a group is attached.
    pub fn is_attached(&self, group: Group) -> bool {
        self.links.iter().any(|link| PROBES.iter().any(|probe| probe.name == link.0 && probe.group == group))
    }

    /// Starts sampling every CPU. Returns what is counted: "cycles" or "cpu-clock".
    pub fn attach_sampler(&mut self, frequency: u64, cpus: &[u32]) -> Result<&'static str> {
        let hardware = PerfEventConfig::Hardware(aya::programs::perf_event::HardwareEvent::CpuCycles);
        match self.attach_sampler_of(SAMPLER, hardware, SamplePolicy::Frequency(frequency), cpus) {
            Ok(()) => Ok("cycles"),
            Err(_) => {
                self.detach_samplers(SAMPLER)?;
                self.attach_clock(SAMPLER, frequency, cpus)?;
                Ok("cpu-clock")
            }
        }
    }

    /// Starts a burst of samples on every CPU.
    pub fn attach_burst(&mut self, frequency: u64, cpus: &[u32]) -> Result<()> {
        self.attach_clock(BURST, frequency, cpus)
    }

    /// A fixed period: the kernel's own adaptation to a frequency starts far off and takes its time.
    fn attach_clock(&mut self, name: &'static str, frequency: u64, cpus: &[u32]) -> Result<()> {
        let clock = PerfEventConfig::Software(SoftwareEvent::CpuClock);
        self.attach_sampler_of(name, clock, SamplePolicy::Period(1_000_000_000 / frequency), cpus)
    }

    fn attach_sampler_of(
        &mut self,
        name: &'static str,
        event: PerfEventConfig,
        policy: SamplePolicy,
        cpus: &[u32],
    ) -> Result<()> {
        for &cpu in cpus {
            let program: &mut PerfEvent = program(&mut self.ebpf, name)?;
            let link = program
                .attach(event, PerfEventScope::AllProcessesOneCpu { cpu }, policy, false)
                .map_err(|error| refused_program(error, name))?;
            self.samplers.push((name, link));
        }
        Ok(())
    }

    /// Stops sampling.
    pub fn detach_sampler(&mut self) -> Result<()> {
        self.detach_samplers(SAMPLER)
    }

    /// Ends a burst.
    pub fn detach_burst(&mut self) -> Result<()> {
        self.detach_samplers(BURST)
    }

    fn detach_samplers(&mut self, name: &'static str) -> Result<()> {
        let (going, staying): (Vec<_>, _) =
            std::mem::take(&mut self.samplers).into_iter().partition(|link| link.0 == name);
        self.samplers = staying;
        for (_, link) in going {
            let program: &mut PerfEvent = program(&mut self.ebpf, name)?;
            program.detach(link).context("cannot detach the sampler")?;
        }
        Ok(())
    }

    /// Tells the programs what to do.
    pub fn set_config(&mut self, config: Config) -> Result<()> {
        let mut map: Array<_, Config> = Array::try_from(self.ebpf.map_mut("CONFIG").context("no map CONFIG")?)?;
        map.set(0, config, 0).context("cannot set the configuration")
    }

    /// The state of every CPU.
    pub fn cpu_states(&self) -> Result<Vec<CpuState>> {
        let map: PerCpuArray<&MapData, CpuState> = PerCpuArray::try_from(self.map("CPUS")?)?;
        Ok(map.get(&0, 0)?.iter().copied().collect())
    }

    /// Time that was cut out of journeys on a CPU for what crossings do for the function tier.
    pub fn functions_cut_ns(&self, cpu: usize) -> Result<u64> {
        let heads: Vec<Head> = self.per_cpu::<Head>("FUNCTION_HEAD")?.swap_remove(0);
        Ok(heads.get(cpu).map_or(0, |head| head.cut_ns))
    }

    /// What hooks did so far, on all CPUs.
    pub fn tally(&self) -> Result<Tally> {
        let heads: Vec<Head> = self.per_cpu::<Head>("FUNCTION_HEAD")?.swap_remove(0);
        Ok(heads.iter().fold(Tally::default(), |sum, head| sum.plus(&head.tally)))
    }

    /// Entries of a hash map. A map that changes meanwhile may repeat or miss some.
    pub fn entries<K: Pod, V: Pod>(&self, name: &str) -> Result<Vec<(K, V)>> {
        let map: HashMap<&MapData, K, V> = HashMap::try_from(self.map(name)?)?;
        map.iter().map(|entry| entry.with_context(|| format!("cannot read map {name}"))).collect()
    }

    /// Calls `take` for each entry of a hash map, one at a time: values may be large.
    pub fn for_each<K: Pod, V: Pod>(&self, name: &str, mut take: impl FnMut(K, &V)) -> Result<()> {
        let map: HashMap<&MapData, K, V> = HashMap::try_from(self.map(name)?)?;
        for entry in map.iter() {
            let (key, value) = entry.with_context(|| format!("cannot read map {name}"))?;
            take(key, &value);
        }
        Ok(())
    }

    /// The values of an array that `keep` wants.
    pub fn array<V: Pod>(&self, name: &str, keep: impl Fn(&V) -> bool) -> Result<Vec<V>> {
        let map: Array<&MapData, V> = Array::try_from(self.map(name)?)?;
        let mut kept = Vec::new();
        for value in map.iter() {
            let value = value.with_context(|| format!("cannot read map {name}"))?;
            if keep(&value) {
                kept.push(value);
            }
        }
        Ok(kept)
    }

    /// A per-CPU array: index, then CPU.
    pub fn per_cpu<V: Pod>(&self, name: &str) -> Result<Vec<Vec<V>>> {
        let map: PerCpuArray<&MapData, V> = PerCpuArray::try_from(self.map(name)?)?;
        (0..map.len()).map(|index| Ok(map.get(&index, 0)?.iter().copied().collect())).collect()
    }

    /// Overwrites an entry of a per-CPU array.
    pub fn set_per_cpu<V: Pod>(&mut self, name: &str, index: u32, values: Vec<V>) -> Result<()> {
        let map = self.ebpf.map_mut(name).with_context(|| format!("no map {name}"))?;
        let mut map: PerCpuArray<&mut MapData, V> = PerCpuArray::try_from(map)?;
        map.set(index, values.try_into()?, 0).with_context(|| format!("cannot write map {name}"))
    }

    /// Inserts into a hash map.
    pub fn insert<K: Pod, V: Pod>(&mut self, name: &str, key: K, value: V) -> Result<()> {
        let map = self.ebpf.map_mut(name).with_context(|| format!("no map {name}"))?;
        let mut map: HashMap<&mut MapData, K, V> = HashMap::try_from(map)?;
        map.insert(key, value, 0).with_context(|| format!("cannot write map {name}"))
    }

    /// Forgets everything that was recorded. Nothing may be attached.
    pub fn clear(&mut self) -> Result<()> {
        self.clear_hash::<NodeKey, Node>("NODES")?;
        self.clear_hash::<u64, Path>("PATHS")?;
        self.clear_hash::<SampleKey, u64>("SAMPLES")?;
        self.clear_hash::<u64, Stack>("STACKS")?;
        self.clear_hash::<DropKey, u64>("DROPS")?;
        self.clear_hash::<TurnKey, Node>("TURNS")?;
        self.clear_hash::<FunctionKey, FunctionNode>("FUNCTIONS")?;
        let cpus = self.cpu_states()?.len();
        self.set_per_cpu("CPUS", 0, vec![CpuState::default(); cpus])?;
        self.drain_ring(|_| ())?;
        // The addresses of followed packets, which the programs keep in their global memory.
        let map = self.ebpf.map_mut(".bss").context("no map .bss")?;
        let mut words: Array<&mut MapData, [u64; GLOBAL_WORDS]> = Array::try_from(map)?;
        words.set(0, [0; GLOBAL_WORDS], 0).context("cannot clear the slots")
    }

    fn clear_hash<K: Pod, V: Pod>(&mut self, name: &str) -> Result<()> {
        let map = self.ebpf.map_mut(name).with_context(|| format!("no map {name}"))?;
        let mut map: HashMap<&mut MapData, K, V> = HashMap::try_from(map)?;
        let keys: Vec<K> = map.keys().collect::<Result<_, _>>()?;
        for key in keys {
            map.remove(&key).with_context(|| format!("cannot clear map {name}"))?;
        }
        Ok(())
    }

    /// Takes what lies in the ring.
    pub fn drain_ring(&mut self, mut take: impl FnMut(&[u8])) -> Result<()> {
        while let Some(item) = self.ring.next() {
            take(&item);
        }
        Ok(())
    }

    /// Runs that the kernel skipped because the same program was already running on that CPU.
    pub fn missed_nested(&self) -> u64 {
        self.misses(PROBES.iter().map(|probe| probe.name))
    }

    /// The same of the programs at functions.
    pub fn missed_functions(&self) -> u64 {
        let names = self.functions.programs();
        self.misses(names.iter().map(String::as_str))
    }

    fn misses<'a>(&self, names: impl Iterator<Item = &'a str>) -> u64 {
        names
            .filter_map(|name| self.ebpf.program(name))
            .filter_map(|program| program.fd().ok())
            .map(|fd| recursion_misses(std::os::fd::AsFd::as_fd(fd)))
            .sum()
    }

    fn map(&self, name: &str) -> Result<&aya::maps::Map> {
        self.ebpf.map(name).with_context(|| format!("no map {name}"))
    }
}

pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    Ok(ebpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?)
}

/// Attaches a program that may have been detached just before. A process that was forked meanwhile holds copies of the
/// attachments until it runs its own program; until then the kernel says that they exist.
fn attach_to(program: &mut RawTracePoint, point: &str) -> Result<RawTracePointLinkId, ProgramError> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let begin = Instant::now();
    loop {
        match program.attach(point) {
            Err(ProgramError::SyscallError(error))
                if error.io_error.kind() == ErrorKind::AlreadyExists && begin.elapsed() < PATIENCE =>
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            result => return result,
        }
    }
}

/// The sentence for a refused load or attachment.
fn refused(error: impl std::error::Error + Send + Sync + 'static) -> anyhow::Error {
    refused_text(&describe(&error))
}

fn refused_program(error: ProgramError, name: &str) -> anyhow::Error {
    refused_text(&format!("{name}: {}", describe(&error)))
}

fn refused_text(what: &str) -> anyhow::Error {
    let lacking = crate::kernel::privilege::missing_required(crate::kernel::privilege::effective());
    let advice = if lacking.is_empty() {
        "run `netstrata doctor` for what this kernel allows".to_owned()
    } else {
        format!("run as root, or with {}", lacking.join(" and "))
    };
    Failure::Refused(format!("the kernel refused a program ({what}); {advice}")).into()
}

/// An error with its causes in one line; of a verifier's log only the end.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut current = Some(error);
    while let Some(error) = current {
        let part = error.to_string();
        if !text.contains(&part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&part);
        }
        current = error.source();
    }
    if std::env::var_os("NETSTRATA_VERIFIER_LOG").is_some() {
        return text;
    }
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    match lines.as_slice() {
        [first, .., before, last] if lines.len() > 4 => format!("{first} … {before} {last}"),
        _ => lines.join(" "),
    }
}

/// `bpf_prog_info.recursion_misses` of a program, 0 if the kernel does not tell.
fn recursion_misses(fd: std::os::fd::BorrowedFd<'_>) -> u64 {
    use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_prog_info};
    use std::os::fd::AsRawFd as _;
    // SAFETY: both are plain C structures for which all-zero is valid.
    let (mut info, mut attr): (bpf_prog_info, bpf_attr) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    attr.info.bpf_fd = fd.as_raw_fd() as u32;
    attr.info.info = &raw mut info as u64;
    attr.info.info_len = size_of::<bpf_prog_info>() as u32;
    // SAFETY: `attr` names a buffer of the length that it tells, which outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &raw mut attr, size_of::<bpf_attr>()) };
    if result == 0 { info.recursion_misses } else { 0 }
}
