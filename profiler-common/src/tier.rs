//! How finely this kernel lets packets be followed, and how functions are hooked.

use crate::named;

named! {
    /// What a span, or a part of it, was measured by.
    #[derive(Default)]
    pub enum Tier;
    #[default]
    Tracepoint "tracepoint" "between two crossings of tracepoints";
    Sampling "sampling" "a part of such a span, sized by CPU samples within it";
    Function "function" "a part of such a span that hooked functions measured, or left";
}

named! {
    /// How a function is hooked.
    #[derive(Default)]
    pub enum Way;
    #[default]
    Fentry "fentry" "fentry and fexit: entry and exit through the function's own patch site";
    Kprobe "kprobe" "kprobe and kretprobe: breakpoints";
}
