//! Names of kernel functions by address, from `/proc/kallsyms`.

use anyhow::{Context as _, Result};

use crate::failure::Failure;

/// Functions by address.
pub struct Symbols {
    /// (address, place of the name), ascending.
    table: Vec<(u64, u32)>,
    /// All names, each ended by a line feed: one allocation, because there are more than a hundred thousand.
    names: String,
}

impl Symbols {
    /// Of the running kernel. Addresses are all zero without CAP_SYSLOG: refused, because no stack could be named.
    pub fn running() -> Result<Self> {
        let text = std::fs::read_to_string("/proc/kallsyms").context("cannot read /proc/kallsyms")?;
        let symbols = Self::parse(&text);
        if symbols.table.is_empty() {
            return Err(Failure::Refused(
                "the kernel hides its symbol addresses: run as root or with CAP_SYSLOG, or set \
                 kernel.kptr_restrict=0 and kernel.perf_event_paranoid=1"
                    .into(),
            )
            .into());
        }
        Ok(symbols)
    }

    /// Reads the format of kallsyms; only code, only real addresses.
    pub fn parse(text: &str) -> Self {
        let mut table = Vec::new();
        let mut names = String::new();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else { continue };
            let Some(address) = u64::from_str_radix(address, 16).ok().filter(|address| *address != 0) else { continue };
            if matches!(kind, "t" | "T" | "w" | "W") {
                table.push((address, names.len() as u32));
                names.push_str(name);
                names.push('\n');
            }
        }
        // Of several names for one address the first in the kernel's list counts.
        table.sort_by_key(|entry| entry.0);
        table.dedup_by_key(|entry| entry.0);
        table.shrink_to_fit();
        names.shrink_to_fit();
        Self { table, names }
    }

    /// The function that an address lies in.
    pub fn name(&self, address: u64) -> &str {
        match self.table.partition_point(|entry| entry.0 <= address) {
            0 => "[unknown]",
            after => self.names[self.table[after - 1].1 as usize..].lines().next().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_function_before_it() {
        let symbols = Symbols::parse("0000000000001000 T first\n0000000000003000 t third\n0000000000002000 D data\n");
        assert_eq!(symbols.name(0x1000), "first");
        assert_eq!(symbols.name(0x2fff), "first");
        assert_eq!(symbols.name(0x3001), "third");
        assert_eq!(symbols.name(0x0fff), "[unknown]");
    }
}
