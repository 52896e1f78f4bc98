//! The maps of the programs: what they are told, and what they counted.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
};

use anyhow::{Context as _, Result};
use aya::{
    Pod,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray},
};
use netstrata_common::{
    Config, CpuState, DropKey, Due, FunctionKey, FunctionNode, GLOBAL_WORDS, Head, Journey, LongPath, Node, NodeKey,
    Path, PathKey, SOFTIRQS, SampleKey, Softirq, Stack, Tail, Tally, TurnKey,
};

use super::{batched, session::Session, whole::WholeJourney};

/// Batches of figures.
#[derive(Clone, Copy, Debug)]
pub enum Batches {
    /// Those with smaller numbers than this.
    Before(u32),
    /// All; nothing may be attached.
    All,
}

impl Batches {
    /// Whether one is among them. Numbers may begin again.
    pub fn holds(self, batch: u32) -> bool {
        match self {
            Self::Before(limit) => (batch.wrapping_sub(limit) as i32) < 0,
            Self::All => true,
        }
    }
}

impl Session {
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
        Ok(self.tallies()?.iter().fold(Tally::default(), |sum, tally| sum.plus(tally)))
    }

    /// The same by CPU.
    pub fn tallies(&self) -> Result<Vec<Tally>> {
        let heads: Vec<Head> = self.per_cpu::<Head>("FUNCTION_HEAD")?.swap_remove(0);
        Ok(heads.into_iter().map(|head| head.tally).collect())
    }

    /// Entries of a hash map. Of those that come or go meanwhile some are missed.
    pub fn entries<K: Pod, V: Pod>(&self, name: &str) -> Result<Vec<(K, V)>> {
        let mut entries = Vec::new();
        self.read(name, |key, value| entries.push((*key, *value)))?;
        Ok(entries)
    }

    /// Removes the entries of a hash map that `wanted` wants, and calls `take` for each.
    /// Other entries may come meanwhile, and are taken or not; to these no program may add any more.
    pub fn take<K: Pod, V: Pod>(
        &mut self,
        name: &str,
        wanted: impl Fn(&K) -> bool,
        mut take: impl FnMut(K, &V),
    ) -> Result<()> {
        let mut taken = Vec::new();
        self.read(name, |key: &K, value: &V| {
            if wanted(key) {
                take(*key, value);
                taken.push(*key);
            }
        })?;
        batched::remove(self.descriptor(name)?, &taken).with_context(|| format!("cannot take from map {name}"))
    }

    /// The same of entries whose keys are known, if they are there.
    pub fn take_known<K: Pod, V: Pod>(&mut self, name: &str, keys: &[K], mut take: impl FnMut(K, &V)) -> Result<()> {
        let map: HashMap<&MapData, K, V> = HashMap::try_from(self.map(name)?)?;
        let mut taken = Vec::new();
        for key in keys {
            match map.get(key, 0) {
                Ok(value) => {
                    take(*key, &value);
                    taken.push(*key);
                }
                Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(error).with_context(|| format!("cannot read map {name}")),
            }
        }
        batched::remove(self.descriptor(name)?, &taken).with_context(|| format!("cannot take from map {name}"))
    }

    /// The values of an array that `keep` wants.
    pub fn array<V: Pod>(&self, name: &str, keep: impl Fn(&V) -> bool) -> Result<Vec<V>> {
        let mut kept = Vec::new();
        self.read(name, |_: &u32, value: &V| {
            if keep(value) {
                kept.push(*value);
            }
        })?;
        Ok(kept)
    }

    fn read<K: Pod, V: Pod>(&self, name: &str, seen: impl FnMut(&K, &V)) -> Result<()> {
        batched::read(self.descriptor(name)?, seen).with_context(|| format!("cannot read map {name}"))
    }

    fn descriptor(&self, name: &str) -> Result<BorrowedFd<'_>> {
        let (Map::Array(map) | Map::HashMap(map)) = self.map(name)? else {
            anyhow::bail!("map {name} is read in another way");
        };
        Ok(map.fd().as_fd())
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
        self.clear_hash::<PathKey, Path>("PATHS")?;
        self.clear_hash::<PathKey, LongPath>("LONG_PATHS")?;
        self.clear_hash::<SampleKey, u64>("SAMPLES")?;
        self.clear_hash::<u64, Stack>("STACKS")?;
        self.clear_hash::<DropKey, u64>("DROPS")?;
        self.clear_hash::<TurnKey, Node>("TURNS")?;
        self.clear_hash::<FunctionKey, FunctionNode>("FUNCTIONS")?;
        let cpus = self.cpu_states()?.len();
        self.set_per_cpu("CPUS", 0, vec![CpuState::default(); cpus])?;
        for vector in 0..SOFTIRQS as u32 {
            self.set_per_cpu("SOFTIRQ", vector, vec![Softirq::default(); cpus])?;
        }
        self.drain_ring(|_| ())?;
        let mut taken = Vec::new();
        self.read("DUE", |place: &u32, due: &Due| taken.extend((due.task != 0).then_some(*place)))?;
        let mut due: Array<&mut MapData, Due> = Array::try_from(self.ebpf.map_mut("DUE").context("no map DUE")?)?;
        for place in taken {
            due.set(place, Due::default(), 0).context("cannot clear the turnarounds")?;
        }
        // The addresses of followed packets, which the programs keep in their global memory.
        let map = self.ebpf.map_mut(".bss").context("no map .bss")?;
        let mut words: Array<&mut MapData, [u64; GLOBAL_WORDS]> = Array::try_from(map)?;
        words.set(0, [0; GLOBAL_WORDS], 0).context("cannot clear the slots")
    }

    fn clear_hash<K: Pod, V: Pod>(&mut self, name: &str) -> Result<()> {
        self.take(name, |_: &K| true, |_, _: &V| ())
    }

    /// A descriptor of the ring that can be waited for.
    pub fn ring_descriptor(&self) -> Result<OwnedFd> {
        // SAFETY: the ring is open for as long as it is borrowed here.
        let ring = unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) };
        ring.try_clone_to_owned().context("cannot wait for the ring")
    }

    /// Takes what lies in the ring.
    pub fn drain_ring(&mut self, mut take: impl FnMut(&[u8])) -> Result<()> {
        while let Some(item) = self.ring.next() {
            take(&item);
        }
        Ok(())
    }

    /// Takes the whole journeys that lie in the ring.
    pub fn drain_journeys(&mut self, mut take: impl FnMut(WholeJourney)) -> Result<()> {
        // Each tail lies before its journey; other CPUs' may lie between.
        let mut tails = BTreeMap::new();
        self.drain_ring(|bytes| {
            if bytes.len() == size_of::<Tail>() {
                // SAFETY: the programs put whole `Tail`s into the ring; the length was checked.
                let tail = unsafe { bytes.as_ptr().cast::<Tail>().read_unaligned() };
                tails.insert((tail.id, tail.slot), tail.crossings);
            } else if bytes.len() == size_of::<Journey>() {
                // SAFETY: the same of `Journey`s.
                let journey = unsafe { bytes.as_ptr().cast::<Journey>().read_unaligned() };
                let tail = if journey.tail == 0 { None } else { tails.remove(&(journey.id, 0)) };
                if journey.tail == 0 || tail.is_some() {
                    take(WholeJourney::of(journey, tail.as_ref()));
                }
            }
        })
    }

    fn map(&self, name: &str) -> Result<&Map> {
        self.ebpf.map(name).with_context(|| format!("no map {name}"))
    }
}
