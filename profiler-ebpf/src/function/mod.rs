//! The function tier: splits the spans of followed packets over the kernel functions that run in them.
//!
//! Each context of a CPU (a task, or a softirq on top of it) knows the followed packet that it works on and the hooked
//! functions that are open. Whenever a hook is entered or left, or the packet crosses a point, the time since the last
//! such event is charged to the innermost open hook, or to the span itself where none is: that is exact self time. What
//! these programs take between their two looks at the clock is cut out of the journey.
//!
//! For all other packets a hook costs its dispatch and two look-ups. docs/functions.md tells the rules and why.

mod charges;
mod crossings;
mod frames;
mod rows;
mod work;

pub use charges::{closed, moved};
pub use crossings::{armed, crossed, softirq_entry, softirq_exit};
pub use frames::{action, entry, exit};
