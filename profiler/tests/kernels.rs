//! Resolution on recorded kernels: what `fixtures/kernels` says, against what `bpftool` says about the whole BTF of the
//! same kernels. Debian 5.10 (5.10.223), 6.1 (6.1.176), 6.12 (6.12.117), 7.2 (7.2.13), and a hardened 6.18.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use netstrata::{
    kernel::btf::KernelTypes,
    record::{Probe, tracepoints},
};
use netstrata_common::Offsets;

const KERNELS: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", "7.2"];

fn kernel(version: &str) -> KernelTypes {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/kernels").join(version);
    let types = KernelTypes::from_bytes(&std::fs::read(directory.join("btf")).unwrap()).unwrap();
    match std::fs::read(directory.join("nf_tables")) {
        Ok(module) => types.with_module("nf_tables", module),
        // Built in, or of a kernel whose modules tell no types.
        Err(_) => types,
    }
}

/// From `bpftool btf dump file BTF format raw` of each whole kernel (of nf_tables: `bpftool btf dump --base-btf BTF file
/// MODULE.BTF format raw`), bytes; a column for each of [`KERNELS`].
fn expected(column: usize) -> Offsets {
    let row = |values: [u32; KERNELS.len()]| values[column];
    Offsets {
        // Modules tell their types since 5.11; in 6.18 it is built in.
        nft_chain_name: row([0, 88, 88, 88, 88]),
        nft_chain_table: row([0, 64, 64, 64, 64]),
        nft_table_name: row([0, 248, 384, 384, 432]),
        skb_dev: row([16, 16, 16, 16, 16]),
        skb_sk: row([24, 24, 24, 24, 24]),
        skb_dst: row([88, 88, 88, 88, 88]),
        dst_dev: row([0, 0, 0, 0, 0]),
        skb_iif: row([144, 144, 148, 144, 148]),
        skb_len: row([112, 112, 112, 112, 112]),
        skb_data_len: row([116, 116, 116, 116, 116]),
        skb_napi_id: row([156, 156, 160, 156, 160]),
        skb_protocol: row([176, 180, 180, 176, 180]),
        skb_mac_header: row([182, 186, 186, 182, 186]),
        skb_head: row([192, 200, 200, 192, 200]),
        skb_end: row([188, 192, 192, 188, 192]),
        skb_data: row([200, 208, 208, 200, 208]),
        skb_network_header: row([180, 184, 184, 180, 184]),
        skb_transport_header: row([178, 182, 182, 178, 182]),
        shinfo_frags: row([48, 48, 48, 48, 48]),
        shinfo_gso_segs: row([6, 6, 6, 6, 6]),
        shinfo_gso_size: row([4, 4, 4, 4, 4]),
        shinfo_nr_frags: row([2, 2, 2, 2, 2]),
        skb_inner_network_header: row([172, 176, 176, 172, 176]),
        skb_cloned: row([126, 126, 126, 126, 126]),
        dev_ifindex: row([256, 216, 224, 224, 224]),
        dev_net: row([1264, 1272, 280, 264, 264]),
        dev_link_ops: row([2104, 2120, 2280, 2088, 2392]),
        dev_flags: row([544, 192, 176, 176, 176]),
        link_ops_kind: row([16, 16, 16, 40, 48]),
        net_inum: row([136, 144, 136, 176, 280]),
        sk_net: row([48, 48, 48, 48, 48]),
        sk_owned: row([140, 156, 324, 324, 320]),
        sk_protocol: row([540, 516, 574, 532, 540]),
        sk_num: row([14, 14, 14, 14, 14]),
        sk_queue_tail: row([216, 224, 176, 176, 176]),
        tcp_rcv_nxt: row([1416, 1424, 1712, 1664, 1768]),
        tcp_copied_seq: row([1420, 1428, 1520, 1464, 1504]),
        sk_wq: row([288, 296, 256, 256, 256]),
        wq_head: row([8, 8, 8, 8, 8]),
        wq_wait: row([0, 0, 0, 0, 0]),
        epoll_link: row([48, 40, 40, 40, 40]),
        epoll_queue: row([64, 56, 56, 56, 56]),
        epoll_item: row([16, 8, 8, 8, 8]),
        epoll_of_item: row([80, 72, 72, 72, 72]),
        epoll_sleepers: row([40, 40, 40, 40, 32]),
        epoll_pollers: row([64, 64, 64, 64, 56]),
        // No recorded kernel keeps the module's types.
        wg_staged_tail: row([0, 0, 0, 0, 0]),
        nf_state_hook: row([0, 0, 0, 0, 0]),
        nf_state_pf: row([4, 1, 1, 1, 1]),
    }
}

/// Arguments after the private one, from the same source.
const ARGUMENTS: &[(&str, [Option<usize>; KERNELS.len()])] = &[
    ("kfree_skb", [Some(2), Some(3), Some(4), Some(4), Some(4)]),
    ("consume_skb", [Some(1), Some(1), Some(2), Some(2), Some(2)]),
    ("skb_copy_datagram_iovec", [Some(2), Some(2), Some(2), Some(2), Some(2)]),
    ("tcp_rcv_space_adjust", [Some(1), Some(1), Some(1), Some(1), Some(1)]),
    ("sk_data_ready", [None, None, Some(1), Some(1), Some(1)]),
    ("fib_table_lookup", [Some(4), Some(4), Some(4), Some(4), Some(4)]),
    ("fib6_table_lookup", [Some(4), Some(4), Some(4), Some(4), Some(4)]),
    ("tcp_retransmit_skb", [Some(2), Some(2), Some(2), Some(3), Some(3)]),
    ("tcp_probe", [Some(2), Some(2), Some(2), Some(2), Some(2)]),
    ("napi_gro_frags_exit", [Some(1), Some(1), Some(1), Some(1), Some(1)]),
    ("napi_gro_frags_entry", [Some(1), Some(1), Some(1), Some(1), Some(1)]),
    ("napi_gro_receive_exit", [Some(1), Some(1), Some(1), Some(1), Some(1)]),
    ("netif_receive_skb", [Some(1), Some(1), Some(1), Some(1), Some(1)]),
    ("napi_gro_receive_entry", [Some(1), Some(1), Some(1), Some(1), Some(1)]),
    ("netif_rx", [Some(1), Some(1), Some(1), Some(1), Some(1)]),
    ("net_dev_xmit", [Some(4), Some(4), Some(4), Some(4), Some(4)]),
    ("net_dev_start_xmit", [Some(2), Some(2), Some(2), Some(2), Some(2)]),
    ("qdisc_enqueue", [None, Some(3), Some(3), Some(3), Some(3)]),
    ("tcp_sendmsg_locked", [None, None, None, Some(4), Some(4)]),
    ("net_dev_queue", [Some(1), Some(1), Some(1), Some(1), Some(1)]),
    ("softirq_exit", [Some(1), Some(1), Some(1), Some(1), Some(1)]),
    ("softirq_entry", [Some(1), Some(1), Some(1), Some(1), Some(1)]),
    ("softirq_raise", [Some(1), Some(1), Some(1), Some(1), Some(1)]),
    ("napi_poll", [Some(3), Some(3), Some(3), Some(3), Some(3)]),
];

#[test]
fn offsets_are_those_of_each_kernel() {
    for (column, version) in KERNELS.iter().enumerate() {
        assert_eq!(kernel(version).offsets().unwrap(), expected(column), "{version}");
    }
}

#[test]
fn without_the_module_its_fields_are_not_known_and_nothing_else_changes() {
    let path = format!("{}/../fixtures/kernels/6.12/btf", env!("CARGO_MANIFEST_DIR"));
    let alone = KernelTypes::from_bytes(&std::fs::read(path).unwrap()).unwrap().offsets().unwrap();
    let column = KERNELS.iter().position(|version| *version == "6.12").unwrap();
    assert_eq!(alone, Offsets { nft_chain_name: 0, nft_chain_table: 0, nft_table_name: 0, ..expected(column) });
}

#[test]
fn a_field_that_is_required_and_missing_is_no_recording() {
    // A module's file alone lacks everything that is not its own.
    let path = format!("{}/../fixtures/kernels/6.12/nf_tables", env!("CARGO_MANIFEST_DIR"));
    let error = KernelTypes::from_bytes(&std::fs::read(path).unwrap()).unwrap().offsets().unwrap_err();
    assert!(format!("{error:#}").contains("sk_buff"), "{error:#}");
}

#[test]
fn tracepoints_and_their_arguments_are_those_of_each_kernel() {
    for point in tracepoints().filter_map(Probe::tracepoint) {
        assert!(ARGUMENTS.iter().any(|row| row.0 == point), "the arguments of {point} are not looked at");
    }
    for (column, version) in KERNELS.iter().enumerate() {
        let types = kernel(version);
        for (name, arguments) in ARGUMENTS {
            assert_eq!(types.tracepoint_arguments(name), arguments[column], "{name} of {version}");
        }
        assert_eq!(types.tracepoint_arguments("no_such_tracepoint"), None);
    }
}

#[test]
fn every_required_probe_is_in_every_kernel_and_every_probe_in_the_newest() {
    for version in KERNELS {
        let types = kernel(version);
        for probe in tracepoints().filter(|probe| probe.required || version == "7.2") {
            let point = probe.tracepoint().unwrap();
            assert!(types.tracepoint_arguments(point).is_some(), "{point} of {version}");
        }
    }
}

#[test]
fn drop_reasons_have_the_numbers_of_each_kernel() {
    // NETFILTER_DROP and CONSUMED moved; 5.10 has no reasons at all.
    for (version, netfilter, consumed) in
        [("6.1", 7, None), ("6.12", 11, Some(1)), ("6.18", 12, Some(1)), ("7.2", 12, Some(1))]
    {
        let reasons = kernel(version).drop_reasons();
        let number = |name: &str| reasons.iter().find(|reason| reason.1 == name).map(|reason| reason.0);
        assert_eq!(number("NETFILTER_DROP"), Some(netfilter), "{version}");
        assert_eq!(number("CONSUMED"), consumed, "{version}");
    }
    assert_eq!(kernel("5.10").drop_reasons(), []);
}

#[test]
fn a_field_that_does_not_exist_is_named() {
    let types = kernel("6.12");
    let error = format!("{:#}", types.offset("sk_buff", "nothing").unwrap_err());
    assert!(error.contains("sk_buff") && error.contains("nothing"), "{error}");
    let error = format!("{:#}", types.offset("no_such_struct", "x").unwrap_err());
    assert!(error.contains("no_such_struct"), "{error}");
    assert!(KernelTypes::from_bytes(b"not BTF").is_err());
}
