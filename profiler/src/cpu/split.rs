//! How samples split a packet's span into layers.
//!
//! A sample carries its *place*: the last crossing of that CPU, where a span may have begun. It belongs to the span only
//! if its stack still works on the packet: the function that fired the crossing must be in the stack ([`roots`]). Of
//! that stack only the frames inside the root count.

use std::collections::BTreeMap;

use netstrata_common::{Layer, Point};

use super::{
    account::{Context, context_of, stack_of},
    classify::{Classifier, InSpan},
};
use crate::profile::{CrossingRecord, Profile, SampleRecord};

/// Samples of the spans that begin at one crossing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// By layer of the datapath, `tc` included; `Layer::Observer` is what tracers took; none where no frame decided.
    pub layers: BTreeMap<Option<Layer>, u64>,
    /// The part of `tc` that ran on egress.
    pub tc_egress: u64,
    /// The part of `tc` that ran on ingress.
    pub tc_ingress: u64,
}

impl Places {
    /// Adds the samples of another place.
    pub fn merge(&mut self, other: &Self) {
        for (layer, count) in &other.layers {
            *self.layers.entry(*layer).or_default() += count;
        }
        self.tc_egress += other.tc_egress;
        self.tc_ingress += other.tc_ingress;
    }

    /// Lets each sample count so many times.
    pub fn weigh(&mut self, times: u64) {
        self.layers.values_mut().for_each(|count| *count *= times);
        self.tc_egress *= times;
        self.tc_ingress *= times;
    }

    /// All samples.
    pub fn total(&self) -> u64 {
        self.layers.values().sum()
    }
}

/// Whether devices transmit by it: the root after `Xmit` where `dev_hard_start_xmit` was compiled into its caller.
fn transmits(function: &str) -> bool {
    Layer::ALL.iter().any(|layer| layer.info().transmit.contains(&function))
}

fn in_span(classifier: &Classifier, stack: &[u32], point: Point) -> Option<InSpan> {
    classifier.span_layer(stack, point.info().runs_in).or_else(|| {
        if point != Point::Xmit {
            return None;
        }
        // The device's own function is inside the span: its caller is the root.
        let root = stack.iter().position(|&frame| transmits(classifier.name(frame)))? + 1;
        let decided = classifier.deciding(stack, root);
        Some(InSpan { root, frame: decided.map(|decided| decided.0), layer: decided.map(|decided| decided.1) })
    })
}

/// Samples of spans by the crossing that they begin at: all there are, to tell how a span splits.
pub fn split_table(profile: &Profile) -> BTreeMap<CrossingRecord, Places> {
    table_of(profile, profile.cpu.entries.iter().chain(&profile.cpu.bursts))
}

/// The same without bursts: each stands for a period of the sampler.
pub fn steady_table(profile: &Profile) -> BTreeMap<CrossingRecord, Places> {
    table_of(profile, profile.cpu.entries.iter())
}

fn table_of<'a>(
    profile: &'a Profile,
    samples: impl Iterator<Item = &'a SampleRecord>,
) -> BTreeMap<CrossingRecord, Places> {
    let classifier = Classifier::new(&profile.cpu.symbols);
    let mut table: BTreeMap<CrossingRecord, Places> = BTreeMap::new();
    for sample in samples {
        let Some(place) = sample.place else { continue };
        let stack = stack_of(profile, sample);
        let context = context_of(&classifier, sample, stack, profile.cpu.tasks.get(sample.task as usize));
        if matches!(context, Context::User | Context::Idle) {
            continue;
        }
        let Some(inside) = in_span(&classifier, stack, place.point) else { continue };
        let places = table.entry(place).or_default();
        *places.layers.entry(inside.layer).or_default() += sample.count;
        if inside.layer == Some(Layer::Tc) {
            let from = inside.frame.unwrap_or(inside.root);
            let egress = stack[from..stack.len().min(inside.root + 1)]
                .iter()
                .map(|&frame| classifier.name(frame))
                .any(|name| matches!(name, "sch_handle_egress" | "__dev_queue_xmit"));
            if egress {
                places.tc_egress += sample.count;
            } else {
                places.tc_ingress += sample.count;
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::testdata::{self, place};

    fn split(point: Point, stack: &str) -> Option<Places> {
        let here = place(point, 3);
        split_table(&testdata::profile(&[(1, 0, Some(stack), Some(here), 1)])).remove(&here)
    }

    fn layer(point: Point, stack: &str) -> Option<Option<Layer>> {
        split(point, stack).map(|places| *places.layers.keys().next().expect("the test has it"))
    }

    #[test]
    fn a_sample_belongs_to_a_span_only_while_its_root_runs() {
        let core = "__netif_receive_skb_core.constprop.0;__netif_receive_skb_one_core;process_backlog";
        assert_eq!(layer(Point::Receive, &format!("br_forward;br_handle_frame;{core}")), Some(Some(Layer::Bridge)));
        assert_eq!(layer(Point::Route, "ip_forward;ip_rcv;__netif_receive_skb_one_core"), Some(Some(Layer::Ip)));
        assert_eq!(layer(Point::Receive, "tcp_recvmsg;inet_recvmsg;do_syscall_64"), None);
        assert_eq!(layer(Point::Queue, "tbf_enqueue;__dev_queue_xmit;ip_finish_output2"), Some(Some(Layer::Qdisc)));
        assert_eq!(layer(Point::Enqueue, "__alloc_skb;__dev_queue_xmit;ip_finish_output2"), Some(None));
        assert_eq!(layer(Point::Xmit, "_raw_spin_lock;veth_xmit;dev_hard_start_xmit"), Some(Some(Layer::Veth)));
        assert_eq!(layer(Point::Xmit, "_raw_spin_lock;veth_xmit;__dev_queue_xmit"), Some(Some(Layer::Veth)));
        assert_eq!(layer(Point::Xmit, "foo_xmit;dev_hard_start_xmit"), Some(Some(Layer::Nic)));
        assert_eq!(layer(Point::Send, "memcpy;tcp_sendmsg_locked;tcp_sendmsg"), Some(None));
        assert_eq!(layer(Point::Send, "ip_output;__tcp_transmit_skb;tcp_sendmsg_locked"), Some(Some(Layer::Ip)));
        assert_eq!(layer(Point::Gro, "tcp4_gro_receive;napi_gro_receive;virtnet_poll"), Some(Some(Layer::Gro)));
        assert_eq!(layer(Point::Copy, "tcp_recvmsg;inet_recvmsg"), None);
    }

    #[test]
    fn an_interrupt_on_top_of_a_span_has_no_layer() {
        let stack = "virtnet_poll;net_rx_action;handle_softirqs;irq_exit_rcu;asm_common_interrupt;br_forward;__netif_receive_skb_core";
        assert_eq!(layer(Point::Receive, stack), Some(None));
    }

    #[test]
    fn tc_is_told_apart_by_direction() {
        let tc = "cls_bpf_classify;tcf_classify;tc_run";
        let ways = |point, stack: String| split(point, &stack).map(|places| (places.tc_egress, places.tc_ingress));
        assert_eq!(ways(Point::Receive, format!("{tc};__netif_receive_skb_core;process_backlog")), Some((0, 1)));
        assert_eq!(
            ways(Point::Receive, format!("{tc};__dev_queue_xmit;br_forward;__netif_receive_skb_core")),
            Some((1, 0))
        );
        assert_eq!(
            ways(Point::Send, format!("{tc};sch_handle_egress;__dev_queue_xmit;tcp_sendmsg_locked")),
            Some((1, 0))
        );
        assert_eq!(ways(Point::Receive, "bpf_prog_0123456789abcdef_x;__netif_receive_skb_core".into()), Some((0, 1)));
        assert_eq!(
            ways(
                Point::Receive,
                "bpf_prog_0123456789abcdef_x;__dev_queue_xmit;br_forward;__netif_receive_skb_core".into()
            ),
            Some((1, 0))
        );
    }

    #[test]
    fn user_and_idle_samples_belong_to_no_span() {
        let here = place(Point::Receive, 3);
        let rows = [(1, 0, None, Some(here), 4), (0, 0, Some("pv_native_safe_halt;do_idle"), Some(here), 9)];
        assert!(split_table(&testdata::profile(&rows)).is_empty());
    }

    #[test]
    fn a_stream_is_split_at_its_places() {
        let table = split_table(&testdata::stream());
        let bridge = &table[&place(Point::Receive, 3)];
        assert_eq!(bridge.layers, [(Some(Layer::Netfilter), 15), (Some(Layer::Bridge), 67)].into());
        assert_eq!(bridge.total(), 82);
        let arrived = &table[&place(Point::Receive, 5)];
        assert_eq!(arrived.layers, [(Some(Layer::Tcp), 50), (Some(Layer::Conntrack), 12)].into());
        let send = &table[&place(Point::Send, 0)];
        assert_eq!(send.layers, [(None, 90), (Some(Layer::Tcp), 55)].into());
    }
}
