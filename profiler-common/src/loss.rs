//! What could not be recorded. All records are `repr(C)` without hidden padding.

/// What could not be recorded, counted per CPU by cause.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Lost {
    /// Packets not followed because the slot of their address was taken (weighted).
    pub slot_busy: u64,
    /// Journeys cut because they had too many crossings.
    pub too_long: u64,
    /// Journeys (weighted) not entered because no path was free.
    pub paths_full: u64,
    /// Spans (weighted) not entered because no node was free.
    pub nodes_full: u64,
    /// Whole journeys not shown because the ring was full.
    pub ring_full: u64,
    /// Crossings of a followed address that could not follow its last one: the address was reused unseen.
    pub stale: u64,
    /// Packets (weighted) lost from sight because the probes were detached meanwhile.
    pub cut: u64,
    /// Crossings earlier than the one before.
    pub backwards: u64,
    /// Drops not entered because the table was full.
    pub drops_full: u64,
    /// CPU samples not entered because the table was full.
    pub samples_full: u64,
    /// CPU samples whose stack could not be kept.
    pub stacks_full: u64,
    /// CPU samples whose stack had more frames than are kept.
    pub stacks_cut: u64,
    /// Kernel memory that could not be read.
    pub unreadable: u64,
    /// Map updates refused because of a concurrent one (EBUSY).
    pub busy: u64,
    /// Clones (weighted) of followed packets that no slot was free for.
    pub clones: u64,
}
