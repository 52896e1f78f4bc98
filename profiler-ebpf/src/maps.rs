//! The maps. Sizes that the loader may change are set there.

use core::cell::UnsafeCell;

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use netstrata_common::{
    CHAINS, Chain, Charges, Config, CpuState, DUES, DeviceKey, DropKey, Due, FunctionKey, FunctionNode, GLOBAL_WORDS,
    HELD_PACKETS, Head, Journey, LONG_PATHS as MOST_LONG_PATHS, LongPath, MAX_DROPS, MAX_NODES, MAX_PATHS, MAX_SLOTS,
    MAX_STACKS, Node, NodeKey, Path, PathKey, SOFTIRQS, SampleKey, Softirq, Stack, TAILS as MOST_TAILS,
    TUNNELLED_PACKETS, Tail, TurnKey, UPCALLED_PACKETS, WithProgram, Work,
};

/// Update of a map: only if the key is new.
pub const BPF_NOEXIST: u64 = 1;
/// Update of a key that another CPU inserted meanwhile.
pub const EEXIST: i32 = -17;
/// Update while another one changes the same bucket.
pub const EBUSY: i32 = -16;

/// State of each CPU.
#[map]
pub static CPUS: PerCpuArray<CpuState> = PerCpuArray::with_max_entries(1, 0);

/// What the profiler says while the programs run.
#[map]
pub static CONFIG: Array<Config> = Array::with_max_entries(1, 0);

/// Followed packets, by slot.
#[map]
pub static JOURNEYS: Array<Journey> = Array::with_max_entries(MAX_SLOTS as u32, 0);

/// Crossings of long journeys, beyond those in their slots.
#[map]
pub static TAILS: Array<Tail> = Array::with_max_entries(MOST_TAILS as u32, 0);

/// Figures of paths and their spans.
#[map]
pub static NODES: HashMap<NodeKey, Node> = HashMap::with_max_entries(MAX_NODES, 0);

/// Paths by hash and batch.
#[map]
pub static PATHS: HashMap<PathKey, Path> = HashMap::with_max_entries(MAX_PATHS, 0);

/// The other crossings of long paths.
#[map]
pub static LONG_PATHS: HashMap<PathKey, LongPath> = HashMap::with_max_entries(MOST_LONG_PATHS, 0);

/// Never written: what a new node is made from (a node is larger than the stack).
#[map]
pub static ZERO_NODE: Array<Node> = Array::with_max_entries(1, 0);

/// The same of a new path.
#[map]
pub static ZERO_PATH: Array<Path> = Array::with_max_entries(1, 0);

/// Whole journeys of a share of the followed packets.
#[map]
pub static RING: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Namespaces and devices that the filters want.
#[map]
pub static WANTED: HashMap<DeviceKey, u32> = HashMap::with_max_entries(1024, 0);

/// Dropped packets.
#[map]
pub static DROPS: HashMap<DropKey, u64> = HashMap::with_max_entries(MAX_DROPS, 0);

/// The application's time between reading and sending.
#[map]
pub static TURNS: HashMap<TurnKey, Node> = HashMap::with_max_entries(1024, 0);

/// Tasks whose next turnaround is measured.
#[map]
pub static DUE: Array<Due> = Array::with_max_entries(DUES as u32, 0);

/// Softirq vectors.
#[map]
pub static SOFTIRQ: PerCpuArray<Softirq> = PerCpuArray::with_max_entries(SOFTIRQS as u32, 0);

/// What hooks took of the spans of journeys under way, by slot. One entry where the function tier is off.
#[map]
pub static CHARGES: Array<Charges> = Array::with_max_entries(MAX_SLOTS as u32, 0);

/// What hooks took of the spans of paths.
#[map]
pub static FUNCTIONS: HashMap<FunctionKey, FunctionNode> = HashMap::with_max_entries(16384, 0);

/// Never written: what a new entry is made from (there is not enough stack for one).
#[map]
pub static ZERO_FUNCTION: Array<FunctionNode> = Array::with_max_entries(1, 0);

/// nftables chains that have rows of their own, by row.
#[map]
pub static NFT_CHAINS: HashMap<u32, Chain> = HashMap::with_max_entries(CHAINS as u32, 0);

/// What hooks look at first.
#[map]
pub static FUNCTION_HEAD: PerCpuArray<Head> = PerCpuArray::with_max_entries(1, 0);

/// What each CPU works on: as a task, and in a softirq.
#[map]
pub static FUNCTION_WORK: PerCpuArray<Work> = PerCpuArray::with_max_entries(2, 0);

/// CPU samples.
#[map]
pub static SAMPLES: HashMap<SampleKey, u64> = HashMap::with_max_entries(32768, 0);

/// Stacks of the CPU samples, by hash. Not the kernel's own stack map, which loses stacks whose hashes collide:
/// <https://elixir.bootlin.com/linux/v6.12.117/source/kernel/bpf/stackmap.c#L304>.
#[map]
pub static STACKS: HashMap<u64, Stack> = HashMap::with_max_entries(MAX_STACKS, 0);

/// Where a stack is put before it is known to be new (it is larger than the programs' own stack).
#[map]
pub static NEW_STACK: PerCpuArray<Stack> = PerCpuArray::with_max_entries(1, 0);

/// Packets in the hands of tunnels' programs, by fingerprint.
#[map]
pub static TUNNELLED: Array<WithProgram> = Array::with_max_entries(TUNNELLED_PACKETS as u32, 0);

/// Packets in the hands of Open vSwitch's daemons, by fingerprint.
#[map]
pub static UPCALLED: Array<WithProgram> = Array::with_max_entries(UPCALLED_PACKETS as u32, 0);

/// Packets that are held in pieces, by fingerprint.
#[map]
pub static HELD: Array<WithProgram> = Array::with_max_entries(HELD_PACKETS as u32, 0);

/// The addresses of followed packets, by slot: what every crossing of every packet asks first. A plain global array,
/// because its look-up costs a multiplication and a load.
/// In the last words, how many packets tunnels' programs have, and how many are held in pieces.
pub struct Keys(UnsafeCell<[u64; GLOBAL_WORDS]>);

// SAFETY: entries are read and written whole, as volatile 8-byte accesses. Two CPUs that claim one slot at the same
// moment can mix two packets; `JOURNEYS[slot].skb` tells them apart.
unsafe impl Sync for Keys {}

impl Keys {
    /// The first word.
    #[inline(always)]
    pub fn first(&self) -> *mut u64 {
        self.0.get().cast()
    }
}

#[unsafe(no_mangle)]
pub static KEYS: Keys = Keys(UnsafeCell::new([0; GLOBAL_WORDS]));
