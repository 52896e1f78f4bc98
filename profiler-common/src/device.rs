//! Devices, and packets dropped at them. All records are `repr(C)` without hidden padding.

/// A device, or with `ifindex` 0 a whole namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceKey {
    /// Inode number of the namespace.
    pub netns: u32,
    /// Index of the device.
    pub ifindex: u32,
}

/// Key of dropped packets.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DropKey {
    /// Address of the code that dropped.
    pub location: u64,
    /// Reason as the kernel numbers it; 0 where it has none.
    pub reason: u32,
    /// Where.
    pub netns: u32,
    /// Where.
    pub ifindex: u32,
    /// Batch: the recorder takes those that have ended.
    pub batch: u32,
}
