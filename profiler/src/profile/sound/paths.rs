//! Journeys: by class, single ones, and by time.

use std::collections::HashMap;

use super::{Sound, Totals, folded, fraction, histogram, within};
use crate::profile::{
    BatchCounts, BatchHost, BatchPath, BatchRecord, BatchTurns, BatchWork, Far, FunctionRecord, JourneyRecord,
    PathRecord, Profile,
};

/// What no path has: the programs keep fewer crossings.
const MOST_CROSSINGS: usize = netstrata_common::END_TO_END as usize;

/// Spans of each path.
pub(super) type Spans = HashMap<u64, usize>;

/// Whether paths can be such.
pub(super) fn check(paths: &[PathRecord], totals: &mut Totals) -> Result<Spans, String> {
    let mut spans = Spans::with_capacity(paths.len());
    for path in paths {
        of_path(path, totals)?;
        if spans.insert(path.id, path.spans.len()).is_some() {
            return Err(format!("path {:016x} is there twice", path.id));
        }
    }
    Ok(spans)
}

fn of_path(path: &PathRecord, totals: &mut Totals) -> Sound {
    let PathRecord {
        id: _,
        crossings,
        crossings_left_out: _,
        end: _,
        reason: _,
        protocol: _,
        samples,
        packets,
        wire_packets,
        bytes,
        payload_bytes,
        skbs_at_end_micro,
        edges,
        cpu_hops,
        end_to_end,
        spans,
        peers: _,
        functions,
        counted_elsewhere: _,
        folded: class,
    } = path;
    if crossings.is_empty() || crossings.len() > MOST_CROSSINGS || spans.len() != crossings.len() - 1 {
        return Err(format!("a path has {} spans between {} crossings", spans.len(), crossings.len()));
    }
    for (what, number) in [
        ("packets followed on paths", samples),
        ("packets of paths", packets),
        ("wire packets of paths", wire_packets),
        ("bytes of paths", bytes),
        ("bytes of data of paths", payload_bytes),
        ("millionths of packets at the end of paths", skbs_at_end_micro),
        ("changes of CPU", cpu_hops),
    ] {
        totals.add(what, *number);
    }
    totals.add_wide("crossings of packets", u128::from(*packets) * crossings.len() as u128);
    for (at, _) in edges {
        within("crossing", usize::from(*at), crossings.len())?;
    }
    histogram(end_to_end, "nanoseconds of journeys", totals)?;
    for span in spans {
        histogram(span, "nanoseconds of spans", totals)?;
    }
    for function in functions {
        within("span", function.span as usize, spans.len())?;
        of_function(function, totals);
    }
    class.iter().for_each(|class| folded(class, totals));
    Ok(())
}

fn of_function(function: &FunctionRecord, totals: &mut Totals) {
    let FunctionRecord {
        span: _,
        hook: _,
        calls,
        returns,
        sum_ns,
        value,
        entered,
        left,
        nested,
        idle,
        softirqs,
        ends,
        tails,
    } = function;
    totals.add("nanoseconds of functions", *sum_ns);
    totals.add("units of what functions took", *value);
    let counts = [calls, returns, softirqs, ends, tails].into_iter();
    for count in counts.chain([entered, left, nested, idle].into_iter().flatten()) {
        totals.add("calls of functions", *count);
    }
}

/// Whether single journeys can be such. One may be of a path that is not there: those are many, and few are kept.
pub(super) fn journeys(journeys: &[JourneyRecord], parts: usize, totals: &mut Totals) -> Sound {
    for journey in journeys {
        let JourneyRecord { part, path: _, start_ns, bytes: _, wire_packets: _, crossings } = journey;
        within("recording", *part as usize, parts)?;
        totals.add("nanoseconds of single journeys", *start_ns);
        crossings.iter().for_each(|(ns, _)| totals.add("nanoseconds of single journeys", *ns));
    }
    Ok(())
}

/// Whether slices can be such.
pub(super) fn batches(
    batches: &[BatchRecord],
    profile: &Profile,
    parts: usize,
    of_paths: &Spans,
    totals: &mut Totals,
) -> Sound {
    for batch in batches {
        let BatchRecord {
            end_ns,
            part,
            windows,
            look: (with_traffic_ns, softirqs),
            paths,
            turnarounds,
            samples,
            bursts,
            samples_ns,
            host: BatchHost { stolen_ns, paid_ns, drops },
            work,
            softirqs: timed,
            work_in_windows,
        } = batch;
        within("recording", *part as usize, parts)?;
        totals.add("drops of slices", *drops);
        for ns in [end_ns, samples_ns, with_traffic_ns, stolen_ns, paid_ns] {
            totals.add("nanoseconds of slices", *ns);
        }
        windows.iter().for_each(|(_, until)| totals.add("nanoseconds of windows", *until));
        if windows.iter().any(|(from, until)| from > until) {
            return Err("a window that ends before it begins".into());
        }
        totals.add("softirqs of slices", *softirqs);
        super::cpu::vectors(timed, totals);
        for (id, sums) in paths {
            of_batch(sums, of_paths.get(id).copied(), totals)?;
        }
        for BatchTurns { netns: _, pid: _, count, sum_ns, far } in turnarounds {
            totals.add("turnarounds of slices", *count);
            totals.add("nanoseconds of turnarounds of slices", *sum_ns);
            of_far(far, totals)?;
        }
        for (taken, of) in [(samples, profile.cpu.entries.len()), (bursts, profile.cpu.bursts.len())] {
            for (entry, count) in taken {
                within("sample", *entry as usize, of)?;
                totals.add("CPU samples of slices", *count);
            }
        }
        for BatchWork { ns, done } in [work, work_in_windows].into_iter().flatten() {
            totals.add("nanoseconds of work", *ns);
            totals.add("work", *done);
        }
    }
    Ok(())
}

fn of_batch(sums: &BatchPath, spans: Option<usize>, totals: &mut Totals) -> Sound {
    let BatchPath { packets, sum_ns, spans_ns, far, counts } = sums;
    let BatchCounts { packets: all, bytes, cpu_hops, skbs_at_end_micro } = counts;
    for (what, count) in [
        ("counted packets of slices", all),
        ("bytes of slices", bytes),
        ("changes of CPUs of slices", cpu_hops),
        ("skbs at the end of slices", skbs_at_end_micro),
    ] {
        totals.add(what, *count);
    }
    totals.add("packets of slices", *packets);
    totals.add("nanoseconds of journeys of slices", *sum_ns);
    spans_ns.iter().for_each(|ns| totals.add("nanoseconds of spans of slices", *ns));
    if let Some(spans) = spans {
        within("span", spans_ns.len(), spans + 1)?;
    }
    far.values().try_for_each(|far| of_far(far, totals))
}

fn of_far(far: &Far, totals: &mut Totals) -> Sound {
    let Far { values, sum } = far;
    totals.add("nanoseconds of far values", *sum);
    fraction("a number of far values", *values)
}
