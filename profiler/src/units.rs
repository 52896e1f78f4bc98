//! Words of the command line turned into values.

use std::{net::IpAddr, time::Duration};

use netstrata_common::Protocol;

/// Reads a duration: a number with `ms`, `s`, `m` or `h`; without unit seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("unknown unit `{other}`; use ms, s, m or h")),
    };
    match digits.parse::<f64>() {
        // A nanosecond is the least that there is.
        Ok(number) if (1e-9..=7.0 * 86400.0).contains(&(number * unit)) => Ok(Duration::from_secs_f64(number * unit)),
        Ok(_) => Err("a duration lies above 0 and within 7 days".into()),
        Err(_) => Err("a duration is a number with a unit, like 10s or 500ms".into()),
    }
}

/// Reads a rate in bits per second: a number with `kbit`, `mbit` or `gbit`.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    let units = [("kbit", 1e3), ("mbit", 1e6), ("gbit", 1e9)];
    let found = units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?.parse::<f64>().ok()?, scale)));
    match found {
        Some((number, scale)) if (1.0..=1e12).contains(&(number * scale)) => Ok((number * scale) as u64),
        _ => Err("a rate is a number with kbit, mbit or gbit, like 1gbit".into()),
    }
}

/// What is less is a slip: no packet would be followed.
const LEAST_SHARE: f64 = 1e-6;

/// Reads a share: `1%`, `0.5%` or a fraction like `0.01`.
pub fn parse_share(text: &str) -> Result<f64, String> {
    let (digits, scale) = match text.strip_suffix('%') {
        Some(digits) => (digits, 0.01),
        None => (text, 1.0),
    };
    match digits.parse::<f64>() {
        Ok(number) if (LEAST_SHARE..=1.0).contains(&(number * scale)) => Ok(number * scale),
        _ => Err("a share lies within 0.0001 % and 100 %, like 1% or 0.01".into()),
    }
}

/// Larger thresholds are a slip: `1` is all of it, and one percent was meant.
const MOST_THRESHOLD: f64 = 0.5;

/// Reads a change that counts: a share of at most one half.
pub fn parse_threshold(text: &str) -> Result<f64, String> {
    let share = parse_share(text)?;
    if share <= MOST_THRESHOLD {
        return Ok(share);
    }
    let meant = if text.ends_with('%') { String::new() } else { format!("; was `{text}%` meant?") };
    Err(format!("that is {:.0} %, and a threshold is at most {:.0} %{meant}", 100.0 * share, 100.0 * MOST_THRESHOLD))
}

/// Reads a number of bytes: plain, with `kB`, `MB`, `GB` (powers of 1000) or `K`, `M`, `G`, `KiB`, `MiB`, `GiB` (powers
/// of 1024, as benchmarks take them).
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "K" | "k" | "KiB" => 1024.0,
        "M" | "MiB" => 1_048_576.0,
        "G" | "GiB" => 1_073_741_824.0,
        other => return Err(format!("unknown unit `{other}`; use kB, MB, GB or K, M, G (of 1024)")),
    };
    match digits.parse::<f64>() {
        Ok(number) if (1.0..=1e12).contains(&(number * unit)) => Ok((number * unit) as u64),
        Ok(_) => Err("a size lies within 1 byte and 1000 GB".into()),
        Err(_) => Err("a size is a number of bytes, like 64, 64K or 5MB".into()),
    }
}

/// A flow: any part may be left open. Replies match too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// IP protocol.
    pub protocol: Option<Protocol>,
    /// Either end's address.
    pub address: Option<IpAddr>,
    /// Either end's port.
    pub port: Option<u16>,
}

/// Reads `[PROTOCOL:][ADDRESS][:PORT]`; an address of IPv6 stands in brackets, or alone.
pub fn parse_flow(text: &str) -> Result<Flow, String> {
    let mut flow = Flow::default();
    let mut rest = text;
    // Names begin alike: icmp, icmpv6.
    let named = |(protocol, name): &(Protocol, &str)| {
        let after = text.strip_prefix(name)?;
        (after.is_empty() || after.starts_with(':')).then(|| (*protocol, after.strip_prefix(':').unwrap_or(after)))
    };
    if let Some((protocol, after)) = Protocol::ALL.iter().find_map(named) {
        flow.protocol = Some(protocol);
        rest = after;
    }
    if let Ok(address) = rest.parse() {
        flow.address = Some(address);
        rest = "";
    } else if let Some((address, port)) = rest.rsplit_once(':').filter(|(_, port)| !port.ends_with(']')) {
        flow.port = Some(parse_port(port)?);
        rest = address;
    } else if rest.bytes().all(|byte| byte.is_ascii_digit()) && !rest.is_empty() {
        flow.port = Some(parse_port(rest)?);
        rest = "";
    }
    if !rest.is_empty() {
        flow.address = Some(parse_address(rest)?);
    }
    // What a socket of IPv6 calls an address of IPv4 is that on the way.
    flow.address = flow.address.map(|address| address.to_canonical());
    if let (Some(Protocol::ICMP | Protocol::ICMPV6), Some(_)) = (flow.protocol, flow.port) {
        return Err("icmp has no ports".into());
    }
    if flow == Flow::default() {
        return Err(
            "a flow names a protocol, an address or a port, like tcp:10.0.0.2:5201 or tcp:[fd00::2]:5201".into()
        );
    }
    Ok(flow)
}

/// Reads a port; 0 would stand for any.
fn parse_port(text: &str) -> Result<u16, String> {
    let port = text.parse::<u16>().ok().filter(|port| *port > 0);
    port.ok_or_else(|| format!("`{text}` is not a port: one lies within 1 and 65535"))
}

fn parse_address(text: &str) -> Result<IpAddr, String> {
    let Some(within) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return text.parse().ok().filter(IpAddr::is_ipv4).ok_or_else(|| {
            let hint = if text.contains(':') {
                "; an IPv6 address before a port stands in brackets, like [fd00::2]:5201"
            } else {
                ""
            };
            format!("`{text}` is not an IPv4 address{hint}")
        });
    };
    within.parse().map(IpAddr::V6).map_err(|_| format!("`{within}` is not an IPv6 address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_units() {
        assert_eq!(parse_rate("1gbit"), Ok(1_000_000_000));
        assert_eq!(parse_rate("0.5mbit"), Ok(500_000));
        for wrong in ["1", "gbit", "-1gbit", "0mbit", "1tbit", "0.0001kbit"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("3"), Ok(Duration::from_secs(3)));
        for bad in ["", "s", "-1s", "0s", "10d", "1e9h", "1e-12s", "nan"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shares_are_percent_or_fraction() {
        assert_eq!(parse_share("1%"), Ok(0.01));
        assert_eq!(parse_share("0.5"), Ok(0.5));
        for bad in ["0", "-1%", "101%", "x", "1e-20%", "nan"] {
            assert!(parse_share(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_threshold_of_all_is_a_slip() {
        for (text, share) in [("1%", 0.01), ("0.02", 0.02), ("50%", 0.5)] {
            assert_eq!(parse_threshold(text), Ok(share));
        }
        assert!(parse_threshold("1").is_err_and(|said| said.contains("100 %") && said.contains("was `1%` meant?")));
        assert!(parse_threshold("60%").is_err_and(|said| !said.contains("meant")));
        assert!(parse_threshold("0").is_err());
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [("64", 64), ("64K", 65_536), ("5MB", 5_000_000), ("1.5kB", 1500), ("1GiB", 1 << 30)] {
            assert_eq!(parse_bytes(text), Ok(bytes));
        }
        for bad in ["", "0", "-1", "K", "5 MB", "1TB", "1e30", "nan", "5mb"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flows_have_optional_parts() {
        // A port of 0 would be any; the control messages have none.
        for wrong in ["tcp::0", "0", "tcp:10.0.0.2:0", "icmp::8", "icmpv6:[fd00::2]:1", "tcp:65536"] {
            assert!(parse_flow(wrong).is_err(), "{wrong}");
        }
        let address = Some(IpAddr::from([10, 0, 0, 2]));
        assert_eq!(
            parse_flow("tcp:10.0.0.2:5201"),
            Ok(Flow { protocol: Some(Protocol::TCP), address, port: Some(5201) })
        );
        assert_eq!(parse_flow("udp::53"), Ok(Flow { protocol: Some(Protocol::UDP), address: None, port: Some(53) }));
        assert_eq!(parse_flow("tcp:80"), Ok(Flow { protocol: Some(Protocol::TCP), address: None, port: Some(80) }));
        assert_eq!(parse_flow("10.0.0.2"), Ok(Flow { protocol: None, address, port: None }));
        assert_eq!(parse_flow("tcp"), Ok(Flow { protocol: Some(Protocol::TCP), address: None, port: None }));
        for bad in ["", "sctp:1", "10.0.0", "tcp:1.2.3.4:99999", "tcpx:1"] {
            assert!(parse_flow(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flows_of_ipv6_have_brackets_around_the_address_or_nothing_else() {
        let address = "fd00::2".parse().ok();
        let (tcp, icmp) = (Some(Protocol::TCP), Some(Protocol::ICMPV6));
        assert_eq!(parse_flow("tcp:[fd00::2]:5201"), Ok(Flow { protocol: tcp, address, port: Some(5201) }));
        for text in ["tcp:[fd00::2]", "tcp:fd00::2"] {
            assert_eq!(parse_flow(text), Ok(Flow { protocol: tcp, address, port: None }), "{text}");
        }
        assert_eq!(parse_flow("[fd00::2]:53"), Ok(Flow { protocol: None, address, port: Some(53) }));
        assert_eq!(parse_flow("icmpv6:fd00::2"), Ok(Flow { protocol: icmp, address, port: None }));
        assert_eq!(parse_flow("icmpv6"), Ok(Flow { protocol: icmp, address: None, port: None }));
        let mapped = parse_flow("tcp:[::ffff:10.0.0.2]:80").map(|flow| flow.address);
        assert_eq!(mapped, Ok(Some(IpAddr::from([10, 0, 0, 2]))));
        for bad in ["tcp:[fd00::2", "tcp:[fd00::2]x", "tcp:[10.0.0.2]:1", "tcp:[fd00::g]:1", "tcp:fd00::2:x:5201"] {
            assert!(parse_flow(bad).is_err(), "{bad}");
        }
    }
}
