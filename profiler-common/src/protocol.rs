//! IP protocols by number and name.

/// An IP protocol number; 0 where none is known. Serialized as the number.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "user", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct Protocol(pub u8);

macro_rules! protocols {
    ($($variant:ident $number:literal $name:literal;)*) => {
        impl Protocol {
            $(#[doc = concat!("The protocol `", $name, "`.")] pub const $variant: Self = Self($number);)*

            /// Protocols that have a name here.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$variant, $name),)*];
        }
    };
}

// The numbers: <https://www.iana.org/assignments/protocol-numbers>.
protocols! {
    ICMP 1 "icmp";
    TCP 6 "tcp";
    UDP 17 "udp";
    ICMPV6 58 "icmpv6";
}

impl Protocol {
    /// The protocol's name, or `None` where this table has none.
    pub fn name(self) -> Option<&'static str> {
        Self::ALL.iter().find(|row| row.0 == self).map(|row| row.1)
    }

    /// The protocol of a name, or `None`.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|row| row.1 == name).map(|row| row.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_and_unnamed_numbers_have_none() {
        for (protocol, name) in Protocol::ALL {
            assert_eq!((protocol.name(), Protocol::from_name(name)), (Some(*name), Some(*protocol)));
        }
        assert_eq!((Protocol(132).name(), Protocol::default().name(), Protocol::from_name("sctp")), (None, None, None));
    }
}
