//! The records that pass through maps and globals, for the loader.

use crate::*;

macro_rules! pod {
    ($($name:ty),* $(,)?) => { $(
        // SAFETY: `repr(C)`, made of integers only, no padding that is read.
        unsafe impl aya::Pod for $name {}
    )* };
}
pod!(
    Crossing,
    Journey,
    NodeKey,
    PathKey,
    Node,
    Path,
    Lost,
    CpuState,
    Config,
    DeviceKey,
    DropKey,
    SampleKey,
    TurnKey,
    Due,
    Softirq,
    Offsets,
    Stack,
    Charges,
    Work,
    Head,
    Chain,
    FunctionKey,
    FunctionNode,
    Tail,
    LongPath,
);
