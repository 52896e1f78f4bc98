//! What the profiler tells the programs. All records are `repr(C)` without hidden padding.

/// Different ports of tunnels that flows are looked for at.
pub const TUNNEL_PORTS: usize = 8;

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
    /// Version of IP of the flow filter's address, or 0: any address.
    pub flow_version: u32,
    /// Port of the flow filter in host order, or 0.
    pub flow_port: u32,
    /// Number of the attachment window; packets followed in an earlier one were lost from sight.
    pub epoch: u32,
    /// Longer than this the programs take for a crossing only if they were interrupted, nanoseconds; 0: not known.
    pub undisturbed_ns: u32,
    /// Number of the batch that figures are added to. When the profiler has named the next one, no program adds to this one any
    /// more as soon as those that run have ended, and it can be read and removed.
    pub batch: u32,
    /// The same of the stacks of CPU samples, which fill slowly: a new number only when their table may be full.
    pub stack_batch: u32,
    /// After twice as many new nodes of the tree in a batch a CPU follows half as many packets, and half as many again after
    /// each as many more; 0: never. So a table that would fill before it is emptied is filled by fewer packets, which count the more.
    pub thin_after: u32,
    /// Address of the flow filter as it stands in a header: 4 bytes in the lower half of the first number, or all 16.
    pub flow_address: [u64; 2],
    /// Ports at which VXLAN is received, those that are not used 0.
    pub vxlan_ports: [u16; TUNNEL_PORTS],
    /// The same of Geneve.
    pub geneve_ports: [u16; TUNNEL_PORTS],
}

impl Config {
    /// The rate at which a CPU follows packets after so many new nodes in a batch.
    #[inline(always)]
    pub fn every(&self, new_nodes: u64) -> u32 {
        let every = self.sample_every & MOST_EVERY;
        let halvings = (new_nodes as u32).checked_div(self.thin_after).unwrap_or(0);
        let halvings = if halvings == 0 { 0 } else { halvings - 1 };
        let every = every << if halvings > MOST_HALVINGS { MOST_HALVINGS } else { halvings };
        if every > MOST_EVERY { MOST_EVERY } else { every }
    }
}

/// No CPU follows fewer than one packet in so many.
const MOST_EVERY: u32 = 0xf_ffff;
const MOST_HALVINGS: u32 = 10;

/// Follow packets to their end and throw the journey away: tells what following costs without the account.
pub const ACCEPT_AND_DISCARD: u32 = 2;

/// Filter bit: the journey touches a chosen namespace.
pub const FILTER_NETNS: u32 = 1;
/// Filter bit: the journey touches a chosen device.
pub const FILTER_DEVICE: u32 = 2;
/// Filter bit: the packet belongs to a chosen flow.
pub const FILTER_FLOW: u32 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuller_a_batch_the_fewer_packets_are_followed() {
        let config = Config { sample_every: 3, thin_after: 100, ..Config::default() };
        let rates = [0, 99, 199, 200, 350, 1099, 1100, 1_000_000].map(|nodes| config.every(nodes));
        assert_eq!(rates, [3, 3, 3, 6, 12, 1536, 3072, 3072]);
        assert_eq!(Config { thin_after: 0, ..config }.every(u64::MAX), 3);
        assert_eq!(Config { sample_every: MOST_EVERY, ..config }.every(600), MOST_EVERY);
    }
}
