//! What runs beside the pairs of a workload.

use crate::units::parse_share;

/// Name of busy loops, as a neighbour and as a workload of a worker.
pub const BUSY: &str = "busy";
/// The same of a flood of datagrams.
pub const FLOOD: &str = "udp-flood";
/// Busy loops of one entry.
const MOST: u32 = 256;

/// A kind of neighbour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Neighbour {
    /// Busy loops, each with a share of one CPU.
    Busy {
        /// How many.
        count: u32,
        /// Share of one CPU that each uses; none: what it gets.
        share: Option<f64>,
    },
    /// Datagrams through the same network, as fast as they go.
    UdpFlood,
}

/// Reads `N`, `N@SHARE` or `udp-flood`.
pub fn parse_neighbour(text: &str) -> Result<Neighbour, String> {
    if text == FLOOD {
        return Ok(Neighbour::UdpFlood);
    }
    let (count, share) = match text.split_once('@') {
        Some((count, share)) => (count, Some(parse_share(share)?)),
        None => (text, None),
    };
    match count.parse() {
        Ok(count) if (1..=MOST).contains(&count) => Ok(Neighbour::Busy { count, share }),
        Ok(_) => Err(format!("busy loops are 1 to {MOST}")),
        Err(_) => Err(format!("`{text}` is no neighbour; use N busy loops, N@10% or {FLOOD}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_loops_shares_or_floods() {
        assert_eq!(parse_neighbour("4"), Ok(Neighbour::Busy { count: 4, share: None }));
        assert_eq!(parse_neighbour("2@10%"), Ok(Neighbour::Busy { count: 2, share: Some(0.1) }));
        assert_eq!(parse_neighbour("udp-flood"), Ok(Neighbour::UdpFlood));
        for bad in ["", "0", "-1", "257", "tcp-flood", "2@", "2@0%", "2@150%", "@10%"] {
            assert!(parse_neighbour(bad).is_err(), "{bad}");
        }
    }
}
