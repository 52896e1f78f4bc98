//! The edges of lineage: how one packet goes on as another. The only list of them.

use crate::named;

named! {
    /// How a packet at a crossing came from the one at the crossing before.
    pub enum Edge;
    Same "same" "it is the same skb";
    Segment "segment" "software segmentation cut one skb into several; the journey goes on with one of them, chosen at random";
    Rebuild "rebuild" "the data went into a new skb, and the old one was freed (XDP on a veth, or a redirect to an ifb device where a packet leaves another)";
    Clone "clone" "a clone of the skb goes its own way (a flooding bridge, an action of Open vSwitch)";
    Merge "merge" "GRO merged the skb into an earlier one of its flow";
    Userspace "userspace" "a program had the packet: it read it from a tun device and sent it over UDP, or the other way about; or Open vSwitch's daemon sent it back";
    Coalesce "coalesce" "TCP joined the data with the last skb of the socket's queue";
    Handed "handed" "it is the same skb, which another CPU took from its backlog, where the CPU that ran GRO had put it (RPS)";
    Fragment "fragment" "IP cut a datagram that is larger than the MTU; the journey goes on with the first fragment, and counts once";
    Reassemble "reassemble" "the fragments are one datagram again; the journey goes on with the one that came last";
}
