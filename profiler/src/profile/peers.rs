//! Who was at the other end of a wire.

use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Who was at the other end of a wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// One machine.
    Address(IpAddr),
    /// More than one.
    Several,
}

impl Peer {
    /// As the programs tell it; none where there was none.
    pub(crate) fn of(told: netstrata_common::Peer) -> Option<Self> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&told[0].to_ne_bytes());
        bytes[8..].copy_from_slice(&told[1].to_ne_bytes());
        match told {
            [0, 0] => None,
            netstrata_common::SEVERAL_PEERS => Some(Self::Several),
            _ => Some(Self::Address(Ipv6Addr::from(bytes).to_canonical())),
        }
    }

    /// The name in reports.
    pub fn name(&self) -> String {
        match self {
            Self::Address(address) => address.to_string(),
            Self::Several => "other hosts".into(),
        }
    }
}

/// Adds who was at the other ends of packets of the same class.
pub(crate) fn add_peers(sum: &mut [Option<Peer>; 2], more: [Option<Peer>; 2]) {
    for (sum, more) in sum.iter_mut().zip(more) {
        match (&sum, more) {
            (_, None) => {}
            (None, Some(peer)) => *sum = Some(peer),
            (Some(known), Some(peer)) if *known == peer => {}
            (Some(_), Some(_)) => *sum = Some(Peer::Several),
        }
    }
}

#[cfg(test)]
mod tests {
    use netstrata_common::{SEVERAL_PEERS, peer_of_ipv4};

    use super::*;

    #[test]
    fn an_address_is_told_as_it_stands_in_memory() {
        let name = |told| Peer::of(told).map(|peer| peer.name());
        assert_eq!(name(peer_of_ipv4(u32::from_ne_bytes([10, 9, 0, 2]))).as_deref(), Some("10.9.0.2"));
        let bytes = "fd09::2".parse::<Ipv6Addr>().map(|address| address.octets()).unwrap_or_default();
        let word = |at: usize| u64::from_ne_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|byte| bytes[at + byte]));
        assert_eq!(name([word(0), word(8)]).as_deref(), Some("fd09::2"));
        assert_eq!(name(SEVERAL_PEERS).as_deref(), Some("other hosts"));
        assert_eq!(name([0; 2]), None);
    }

    #[test]
    fn of_two_there_are_several_in_whatever_order() {
        let [one, other] = ["10.9.0.2", "10.9.0.3"].map(|text| text.parse().ok().map(Peer::Address));
        let sum = |parts: &[&Option<Peer>]| {
            let mut sum = [None, None];
            parts.iter().for_each(|part| add_peers(&mut sum, [(*part).clone(), None]));
            sum
        };
        assert_eq!(sum(&[&one, &None, &one]), [one.clone(), None]);
        assert_eq!(sum(&[&one, &other, &one]), [Some(Peer::Several), None]);
        assert_eq!(sum(&[&other, &Some(Peer::Several)]), [Some(Peer::Several), None]);
    }
}
