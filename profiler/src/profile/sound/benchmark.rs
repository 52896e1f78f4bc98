//! A benchmark's figures.

use super::{Sound, Totals, fraction, fractions};
use crate::profile::{
    Benchmark,
    measures::{Creation, Datagrams, FlowTimes, MachineUse, NeighbourUse, PairSpread, SideUse},
};

/// Whether its figures can be such.
pub(super) fn check(benchmark: &Benchmark) -> Sound {
    let Benchmark {
        tool: _,
        workload: _,
        throughput_bits_per_s,
        transactions_per_s,
        round_trip_ns,
        round_trip_far_ns,
        round_trip_p50_ns,
        round_trip_p90_ns,
        round_trip_p99_ns,
        round_trip_p999_ns,
        round_trip_max_ns,
        messages_per_s,
        message_bytes,
        pairs: _,
        duration_s,
        unmeasured_s,
        retransmits,
        failed,
        pin: _,
        ip: _,
        client,
        server,
        machine,
        pair_spread,
        flows,
        datagrams,
        creation,
        neighbours,
    } = benchmark;
    let mut totals = Totals::default();
    let rates = [
        throughput_bits_per_s,
        transactions_per_s,
        round_trip_ns,
        round_trip_far_ns,
        round_trip_p50_ns,
        round_trip_p90_ns,
        round_trip_p99_ns,
        round_trip_p999_ns,
        round_trip_max_ns,
        messages_per_s,
        duration_s,
        unmeasured_s,
    ];
    fractions(rates.into_iter().flatten().map(|value| ("a benchmark's figure", *value)))?;
    for count in [message_bytes, retransmits, failed].into_iter().flatten() {
        totals.add("of a benchmark", *count);
    }
    for side in [client, server].into_iter().flatten() {
        used(side, &mut totals)?;
    }
    machine.iter().try_for_each(|machine| of_machine(machine, &mut totals))?;
    pair_spread.iter().try_for_each(spread)?;
    flows.iter().try_for_each(|flows| of_flows(flows, &mut totals))?;
    datagrams.iter().try_for_each(|datagrams| of_datagrams(datagrams, &mut totals))?;
    creation.iter().for_each(|creation| made(creation, &mut totals));
    neighbours.iter().try_for_each(neighbour)?;
    totals.check()
}

fn of_datagrams(datagrams: &Datagrams, totals: &mut Totals) -> Sound {
    let Datagrams { sent, refused, received, lost, lost_share, lost_at_socket, reordered } = datagrams;
    let counts = [Some(*sent), Some(*refused), Some(*received), Some(*lost), *lost_at_socket, *reordered];
    counts.into_iter().flatten().for_each(|count| totals.add("datagrams of a benchmark", count));
    fraction("a share of lost datagrams", *lost_share)
}

fn made(creation: &Creation, totals: &mut Totals) {
    let Creation { built_ns, first_answer_ns } = creation;
    totals.add("nanoseconds of building", *built_ns);
    totals.add("nanoseconds until a first answer", *first_answer_ns);
}

fn used(side: &SideUse, totals: &mut Totals) -> Sound {
    let SideUse { cpu_share, user_ns, system_ns, cpu_us_per_transaction, cpu_ns_per_byte } = side;
    [user_ns, system_ns].into_iter().flatten().for_each(|ns| totals.add("nanoseconds of a benchmark's CPU time", *ns));
    let figures = [Some(*cpu_share), *cpu_us_per_transaction, *cpu_ns_per_byte];
    fractions(figures.into_iter().flatten().map(|value| ("a benchmark's CPU time", value)))
}

fn of_machine(machine: &MachineUse, totals: &mut Totals) -> Sound {
    let MachineUse { cpus: _, elapsed_ns, busy_ns, busy_share, busy_us_per_transaction, busy_ns_per_byte } = machine;
    totals.add("nanoseconds of a benchmark", *elapsed_ns);
    totals.add("busy nanoseconds of a benchmark", *busy_ns);
    let figures = [Some(*busy_share), *busy_us_per_transaction, *busy_ns_per_byte];
    fractions(figures.into_iter().flatten().map(|value| ("a machine's busy time", value)))
}

fn spread(spread: &PairSpread) -> Sound {
    let PairSpread { figure: _, min, median, max, coefficient_of_variation } = spread;
    fractions([min, median, max, coefficient_of_variation].map(|value| ("a spread of pairs", *value)))
}

fn of_flows(flows: &FlowTimes, totals: &mut Totals) -> Sound {
    let FlowTimes { class: _, count, flow_bytes, mean_ns, p50_ns, p90_ns, p99_ns, max_ns } = flows;
    let counts = [Some(*count), *flow_bytes, *p50_ns, *p90_ns, *p99_ns, Some(*max_ns)];
    counts.into_iter().flatten().for_each(|count| totals.add("of a benchmark's flows", count));
    fraction("a flow's mean time", *mean_ns)
}

fn neighbour(neighbour: &NeighbourUse) -> Sound {
    let NeighbourUse { kind: _, count: _, asked_share, cpu_share, sent_bits_per_s, received_bits_per_s } = neighbour;
    let figures = [asked_share, cpu_share, sent_bits_per_s, received_bits_per_s];
    fractions(figures.into_iter().flatten().map(|value| ("a neighbour's figure", *value)))
}
