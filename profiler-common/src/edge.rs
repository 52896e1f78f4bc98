//! The edges of lineage: how one packet goes on as another. The only list of them.

macro_rules! edges {
    ($($variant:ident $name:literal $about:literal;)*) => {
        /// How a packet at a crossing came from the one at the crossing before.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Edge { $(#[doc = $about] $variant,)* }

        impl Edge {
            /// Every edge with its name and what happened.
            pub const ALL: &'static [(Edge, &'static str, &'static str)] =
                &[$((Edge::$variant, $name, $about),)*];
        }
    };
}

edges! {
    Same "same" "it is the same skb";
    Segment "segment" "software segmentation cut one skb into several; the journey goes on with one of them, chosen at random";
    Rebuild "rebuild" "the data was copied into a new skb (XDP on a veth), and the old one freed";
    Clone "clone" "a clone of the skb goes its own way (a flooding bridge, an action of Open vSwitch)";
    Merge "merge" "GRO merged the skb into an earlier one of its flow";
    Userspace "userspace" "a program had the packet: it read it from a tun device and sent it over UDP, or the other way about; or Open vSwitch's daemon sent it back";
    Coalesce "coalesce" "TCP joined the data with the last skb of the socket's queue";
}

impl Edge {
    /// The name that profiles and documents use.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The edge of a name, or `None`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|entry| entry.1 == name).map(|entry| entry.0)
    }

    /// The edge of a number that a kernel program wrote, or `None`.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.get(id as usize).map(|entry| entry.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_indexed_by_the_edge() {
        for (index, entry) in Edge::ALL.iter().enumerate() {
            assert_eq!(entry.0 as usize, index);
            assert_eq!(Edge::from_id(index as u8), Some(entry.0));
        }
    }
}
