//! The kernel programs: one for each probe point, and four for each hooked function.
//!
//! Each module imports only modules that stand above it here. Maps in brackets are only read; of the others the module
//! writes entries. A point enters where its row says first, and goes upwards from there.
//!
//! | module | what it does | what enters here | maps |
//! |---|---|---|---|
//! | `globals` | what the loader writes before the programs are verified: constants to them | | |
//! | `maps` | the maps, and nothing else | | |
//! | `log` | what programs say where something rare happens | | |
//! | `atomic` | additions that other CPUs may make at the same moment | | |
//! | `masked` | numbers of which the compiler knows nothing | | |
//! | `skb` | reads of kernel structures | | |
//! | `cpu` | the state of this CPU, the profiler's wishes, the clock, devices met lately | | CPUS (CONFIG) |
//! | `ip` | headers of IP, behind extension headers and in tunnels; flows that filters ask for | | |
//! | `slots` | where the journey of a packet is kept; the addresses that are no packet's | | KEYS JOURNEYS |
//! | `long` | crossings of long journeys, beyond those in their slots | | TAILS |
//! | `print` | fingerprints of packets and flows | | |
//! | `with_program` | packets that are looked for by fingerprint: in the hands of programs, or held in pieces | | KEYS TUNNELLED UPCALLED HELD |
//! | `fresh` | where packets begin | | |
//! | `drops` | what is counted all the time: dropped packets, segments sent again | count_drop, count_retransmit | DROPS |
//! | `function::rows` | which row of the table of hooks a call is charged to, and what it takes | | NFT_CHAINS |
//! | `function::work` | what a CPU works on: the packet, the open hooks, the time since the last event | | FUNCTION_HEAD FUNCTION_WORK JOURNEYS |
//! | `function::charges` | what hooks took of a journey's spans, and of a path's | | CHARGES FUNCTIONS (JOURNEYS) (ZERO_FUNCTION) |
//! | `function::crossings` | the packet that is worked on changes: points and softirqs | function_softirq_entry, function_softirq_exit | CHARGES JOURNEYS |
//! | `function::frames` | hooked functions are entered and return | every hook, function_ovs_do_execute_action | |
//! | `function` | the door of the function tier | | |
//! | `end` | a journey ends: its spans are added to the tree | | JOURNEYS PATHS LONG_PATHS NODES RING (CONFIG) (ZERO_NODE) (ZERO_PATH) |
//! | `moves` | a journey moves to another skb's slot | | JOURNEYS |
//! | `fragments` | datagrams in fragments | | |
//! | `lineage` | the packet goes on as another skb: cut, copied, cloned, merged | | |
//! | `staged` | large packets that WireGuard cuts | wg_packet_send_staged_packets | |
//! | `tunnel` | the packet goes on through a tunnel's program | | |
//! | `upcall` | the packet goes on through Open vSwitch's daemon | | |
//! | `follow` | a followed packet crosses a point | | JOURNEYS (WANTED) |
//! | `choose` | whether a packet is followed | | JOURNEYS |
//! | `pieces` | packets that a queueing discipline cuts | | |
//! | `turn` | turnarounds: a task reads, and sends | | DUE TURNS (ZERO_NODE) |
//! | `reader` | a reader copies or frees a packet | | |
//! | `record` | the hot path: what every crossing of every packet does | every [`Point`](netstrata_common::Point), napi_gro_receive_exit, napi_gro_frags_exit | |
//! | `softirq` | exact times of softirqs | softirq_raise, softirq_entry, softirq_exit, napi_poll | SOFTIRQ |
//! | `sample` | CPU samples | cpu_sample, burst_sample | SAMPLES STACKS NEW_STACK (CONFIG) |
//! | `probe` | the programs of the points, of softirqs and of samples, each a line | | |
//! | `hook` | the programs of the function tier, stamped from the table of hooks | | |
//!
//! `probe`, `hook` and `function` differ so: `probe` has the programs that see packets, one for each tracepoint, and they
//! are there in every recording. `hook` has the programs that time kernel functions, an entry and an exit in two ways for
//! each row of the table; the loader loads those that it attaches, and none where the function tier is off. `function` has
//! no programs: it is what those of `hook` do, and what a crossing of a followed packet does for them.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![feature(macro_metavar_expr_concat)]
#![expect(clippy::needless_borrows_for_generic_args, reason = "what maps take by value would not fit the stack")]

mod atomic;
mod choose;
mod cpu;
mod drops;
mod end;
mod follow;
mod fragments;
mod fresh;
mod function;
mod globals;
mod hook;
mod ip;
mod lineage;
mod log;
mod long;
mod maps;
mod masked;
mod moves;
mod pieces;
mod print;
mod probe;
mod reader;
mod record;
mod sample;
mod skb;
mod slots;
mod softirq;
mod staged;
mod tunnel;
mod turn;
mod upcall;
mod with_program;

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
