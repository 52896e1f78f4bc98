//! What could not be recorded: the only list. The programs count by it, the recorder enters it into the profile, the verdict
//! on a profile and `docs/output.md` are made from it.
//!
//! A row says who counts and how the count is judged: without both there is none. That its counter counts is tested
//! (`profiler/tests/losses.rs`).

use core::ops::{Index, IndexMut};

use crate::named;

/// What is true of a loss.
pub struct LossInfo {
    /// Who counts it.
    pub counted_by: Counter,
    /// What it does to the verdict on a profile.
    pub judged: Judged,
    /// Why so.
    pub because: &'static str,
}

/// Who counts a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// The programs at the points of the datapath and those that sample CPUs, in [`crate::CpuState::lost`].
    Points,
    /// The programs of the function tier, in [`crate::Head::lost`]; a profile without that tier does not have it.
    Functions,
    /// The recorder. What the kernel does not tell it is not in the profile: that is not the same as 0.
    Recorder,
}

/// What a loss does to the verdict on a profile.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Judged {
    /// By the share that was lost.
    Share {
        /// What it is a share of.
        of: Whole,
        /// Beyond this a profile is degraded.
        degraded: Limit,
        /// Beyond this it is void.
        void: Option<Limit>,
        /// The reason that a reader gets, with `{lost}`, and `{whole}` and `{share}` where they help.
        reason: &'static str,
    },
    /// A single one degrades.
    Any {
        /// The reason that a reader gets, with `{lost}`.
        reason: &'static str,
    },
    /// Not at all, for the reason in the row.
    Never,
}

/// What a loss is a share of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// Packets that were to be followed, weighted.
    Packets,
    /// Their spans, weighted.
    Spans,
    /// Crossings of followed packets.
    FollowedCrossings,
    /// CPU samples.
    Samples,
    /// Calls of hooked functions.
    HookCalls,
}

impl Whole {
    /// The name in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Packets => "packets",
            Self::Spans => "spans of packets",
            Self::FollowedCrossings => "crossings of followed packets",
            Self::Samples => "CPU samples",
            Self::HookCalls => "calls of hooked functions",
        }
    }
}

/// A limit of what may be lost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// A larger share than this is beyond it (0 to 1) …
    pub share: f64,
    /// … if it is more than so many: of a few, one is a large share.
    pub more_than: u64,
}

const OF_PACKETS: &str = "{lost} of {whole} packets ({share})";
const ONE_PERCENT: Limit = Limit { share: 0.01, more_than: 0 };

/// Packets that nothing is known of, or not enough.
const fn packets(reason: &'static str, of: Whole) -> Judged {
    Judged::Share {
        of,
        degraded: Limit { share: 0.01, more_than: 10 },
        void: Some(Limit { share: 0.2, more_than: 100 }),
        reason,
    }
}

const fn one_percent(of: Whole, reason: &'static str) -> Judged {
    Judged::Share { of, degraded: ONE_PERCENT, void: None, reason }
}

named! {
    /// Something that could not be recorded; in the order in which a profile is judged.
    pub enum Loss: LossInfo;
    SlotBusy "slot_busy" "packets that were not followed, because the slot of their address was taken" {
        counted_by: Counter::Points, judged: packets(OF_PACKETS, Whole::Packets),
        because: "the rest stands for all packets, unless those that are missing are many or of one kind"
    };
    PathTooLong "path_too_long" "packets with more crossings than a journey holds: between the first ones and the latest ones lies one span" {
        counted_by: Counter::Points, judged: one_percent(Whole::Packets, OF_PACKETS),
        because: "a part of the longest ways is one span without a layer; their ends and times are whole"
    };
    PathsFull "paths_full" "packets that were not entered, because there were too many different paths" {
        counted_by: Counter::Points, judged: packets(OF_PACKETS, Whole::Packets),
        because: "whole paths are missing"
    };
    NodesFull "nodes_full" "spans that were not entered, because there were too many different ones" {
        counted_by: Counter::Points, judged: packets("{lost} of {whole} spans ({share})", Whole::Spans),
        because: "their time is unattributed"
    };
    MapBusy "map_busy" "packets or spans that were not entered, because another CPU held the table" {
        counted_by: Counter::Points, judged: packets(OF_PACKETS, Whole::Packets),
        because: "it hits all paths alike, the commonest most"
    };
    MissedNested "missed_nested" "runs of probes that the kernel skipped, because the probe ran on that CPU already" {
        counted_by: Counter::Recorder, judged: packets(OF_PACKETS, Whole::Packets),
        because: "each may have cost a packet a crossing"
    };
    CutByDetaching "cut_by_detaching" "packets that were on their way when the probes were detached for a while" {
        counted_by: Counter::Points, judged: packets(OF_PACKETS, Whole::Packets),
        because: "the slowest packets are the likeliest to be cut off"
    };
    InFlightAtEnd "in_flight_at_end" "packets that were on their way when the recording ended" {
        counted_by: Counter::Recorder, judged: packets(OF_PACKETS, Whole::Packets),
        because: "the slowest packets are the likeliest to be cut off"
    };
    RingFull "ring_full" "whole journeys for drawing, because the ring was full" {
        counted_by: Counter::Points, judged: Judged::Any { reason: "{lost} whole journeys for drawing were lost" },
        because: "they are few and chosen at random; what is drawn is no fair choice any more"
    };
    DropsFull "drops_full" "dropped packets, because there were too many different places" {
        counted_by: Counter::Points, judged: Judged::Any { reason: "{lost} drops were lost" },
        because: "drops are counted exactly"
    };
    SamplesFull "samples_full" "CPU samples, because there were too many different ones" {
        counted_by: Counter::Points, judged: one_percent(Whole::Samples, "{lost} CPU samples were lost"),
        because: "rare stacks are missing"
    };
    StacksFull "stacks_full" "stacks of CPU samples, because there were too many different ones" {
        counted_by: Counter::Points, judged: one_percent(Whole::Samples, "{lost} stacks of CPU samples were lost"),
        because: "their samples have no layer"
    };
    FunctionChargesFull "function_charges_full" "charges of functions, because a journey had too many" {
        counted_by: Counter::Functions, judged: one_percent(Whole::HookCalls, "{lost} charges of functions were lost"),
        because: "their time stays with the span"
    };
    FunctionTableFull "function_table_full" "figures of functions, because there were too many different ones" {
        counted_by: Counter::Functions,
        judged: one_percent(Whole::HookCalls, "{lost} figures of functions (weighted) were lost"),
        because: "their time stays with the span"
    };
    FunctionTooMany "function_too_many" "functions of a span beyond those that fit" {
        counted_by: Counter::Functions, judged: one_percent(Whole::HookCalls, "{lost} functions of a span were lost"),
        because: "their time stays with the span"
    };
    FunctionTooDeep "function_too_deep" "calls that were nested too deeply" {
        counted_by: Counter::Functions, judged: one_percent(Whole::HookCalls, "{lost} nested functions were lost"),
        because: "their time stays with the function around them"
    };
    TimeBackwards "time_backwards" "crossings earlier than the one before" {
        counted_by: Counter::Points,
        judged: Judged::Share {
            of: Whole::Packets,
            degraded: Limit { share: 0.001, more_than: 0 },
            void: None,
            reason: "{lost} crossings"
        },
        because: "the clocks of the CPUs differ, and spans between CPUs with them"
    };
    ClonesLost "clones_lost" "clones of followed packets that no slot was free for, or that came too late to be told from others" {
        counted_by: Counter::Points, judged: one_percent(Whole::Packets, OF_PACKETS),
        because: "clones count no packets, but their ways are missing"
    };
    AddressReused "address_reused" "crossings that could not be the next one of the packet at their address, whose end was not seen; without those that TCP had taken in, or that a socket of datagrams had announced" {
        counted_by: Counter::Points,
        judged: one_percent(Whole::FollowedCrossings, "{lost} of {whole} crossings of followed packets ({share})"),
        because: "the packet before is entered as used up where it was last seen"
    };
    StacksCut "stacks_cut" "stacks of CPU samples with more frames than are kept" {
        counted_by: Counter::Points,
        judged: Judged::Share {
            of: Whole::Samples,
            degraded: Limit { share: 0.1, more_than: 0 },
            void: None,
            reason: "{lost} of {whole} stacks of CPU samples are cut ({share})"
        },
        because: "the innermost frames name the layer; the outermost, which are missing, the context and the span"
    };
    FunctionNoExit "function_no_exit" "functions that were entered and whose return was not seen" {
        counted_by: Counter::Functions,
        judged: one_percent(Whole::HookCalls, "{lost} returns of functions were not seen"),
        because: "their time stays with the function around them"
    };
    FunctionNested "function_nested" "packets that were made within packets within packets" {
        counted_by: Counter::Functions, judged: one_percent(Whole::HookCalls, "{lost} packets within packets were lost"),
        because: "what functions took of the outermost is not told apart"
    };
    FunctionMissed "function_missed" "runs of the programs at functions that the kernel skipped, because they ran on that CPU already" {
        counted_by: Counter::Recorder,
        judged: one_percent(Whole::HookCalls, "{lost} runs of the programs at functions were skipped"),
        because: "their time stays with the function around them"
    };
    JourneysNotKept "journeys_not_kept" "whole journeys for drawing beyond those that a profile holds" {
        counted_by: Counter::Recorder, judged: Judged::Never,
        because: "the first ones suffice for drawing, and no figure is made from them"
    };
}

/// Counts of losses on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Lost([u64; Loss::ALL.len()]);

impl Default for Lost {
    fn default() -> Self {
        Self([0; Loss::ALL.len()])
    }
}

impl Index<Loss> for Lost {
    type Output = u64;

    #[inline(always)]
    fn index(&self, loss: Loss) -> &u64 {
        &self.0[loss as usize]
    }
}

impl IndexMut<Loss> for Lost {
    #[inline(always)]
    fn index_mut(&mut self, loss: Loss) -> &mut u64 {
        &mut self.0[loss as usize]
    }
}
