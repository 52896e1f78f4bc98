//! What the profiler tells the programs. All records are `repr(C)` without hidden padding.

/// What the profiler tells the programs; may change while they run.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Config {
    /// Follow one packet in this many.
    pub sample_every: u32,
    /// Send one followed journey in this many through the ring; 0: none.
    pub ring_every: u32,
    /// 0: start no journeys; 1: start them; [`ACCEPT_AND_DISCARD`]: follow them, but keep nothing.
    pub accept: u32,
    /// Filters in force: bit 0 namespace, bit 1 device, bit 2 flow.
    pub filters: u32,
    /// Protocol of the flow filter, or 0.
    pub flow_protocol: u32,
    /// IPv4 address (network order) of the flow filter, or 0.
    pub flow_address: u32,
    /// Port of the flow filter in host order, or 0.
    pub flow_port: u32,
    /// Number of the attachment window; packets followed in an earlier one were lost from sight.
    pub epoch: u32,
    /// Longer than this the programs take for a crossing only if they were interrupted, nanoseconds; 0: not known.
    pub undisturbed_ns: u32,
    /// Number of the batch that figures are added to. When the profiler has named the next one, no program adds to this one any
    /// more as soon as those that run have ended, and it can be read and removed.
    pub batch: u32,
}

/// Follow packets to their end and throw the journey away: tells what following costs without the account.
pub const ACCEPT_AND_DISCARD: u32 = 2;

/// Filter bit: the journey touches a chosen namespace.
pub const FILTER_NETNS: u32 = 1;
/// Filter bit: the journey touches a chosen device.
pub const FILTER_DEVICE: u32 = 2;
/// Filter bit: the packet belongs to a chosen flow.
pub const FILTER_FLOW: u32 = 4;
