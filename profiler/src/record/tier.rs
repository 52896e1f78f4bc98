//! Which tier is loaded: functions are hooked where the kernel lets them be, the budget pays for it, and nobody said otherwise.

use anyhow::Result;

use super::{functions::Ways, load::Sizes, probes::has_kprobes, session::Session};
use crate::{
    cli::{RecordArgs, TierArg},
    failure::Failure,
    kernel::{btf::KernelTypes, symbols::Symbols},
    profile::NOT_ASKED,
};

/// Hooks stay attached for the whole recording, and a packet meets dozens: a smaller budget does not pay for them.
const FUNCTIONS_FROM: f64 = 0.05;
const NOT_AFFORDED: &str = "hooks cost more than the budget allows; --tier function, or --budget of at least 5%";

/// How functions can be hooked, and where they are.
pub(super) struct Hooks {
    pub ways: Ways,
    pub symbols: Symbols,
}

/// Loads the programs in the tier that was asked for; with what is needed to hook functions, or why they are not hooked.
pub(super) fn load(
    args: &RecordArgs,
    sizes: Sizes,
    types: &KernelTypes,
) -> Result<(Session, std::result::Result<Hooks, String>)> {
    if args.tier == TierArg::Tracepoint {
        return Ok((Session::load(types, &sizes)?, Err(NOT_ASKED.into())));
    }
    if args.tier == TierArg::Auto && args.sample_every.is_none() && args.budget < FUNCTIONS_FROM {
        log::info!("tracepoints alone: {NOT_AFFORDED}");
        return Ok((Session::load(types, &sizes)?, Err(NOT_AFFORDED.into())));
    }
    let symbols = Symbols::running()?;
    // Where there are kprobes the function tier will most likely do; where not, fentry is tried first.
    let mut functions = has_kprobes();
    loop {
        let mut session = Session::load(types, &Sizes { functions, ..sizes })?;
        let ways = session.function_ways(&symbols, types);
        if !ways.any() {
            log::info!("no function can be hooked: {}", ways.reason());
        }
        if ways.any() == functions {
            return match (functions, args.tier) {
                (true, _) => Ok((session, Ok(Hooks { ways, symbols }))),
                (false, TierArg::Function) => Err(Failure::Refused(format!(
                    "this kernel lets no function be hooked ({}); leave --tier out, or use --tier tracepoint",
                    ways.reason()
                ))
                .into()),
                (false, _) => Ok((session, Err(ways.reason()))),
            };
        }
        functions = ways.any();
    }
}
