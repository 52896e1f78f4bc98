//! Names of kernel functions by address, from `/proc/kallsyms`.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{BufRead, BufReader},
};

use anyhow::{Context as _, Result};
use netstrata_common::Hook;

use crate::failure::Failure;

const RUNNING: &str = "/proc/kallsyms";
const CANNOT_READ: &str = "cannot read /proc/kallsyms";

/// Functions by address.
pub struct Symbols {
    /// (address, place of the name), ascending.
    table: Vec<(u64, u32)>,
    /// All names, each ended by a line feed: one allocation, because there are more than a hundred thousand.
    names: String,
    /// Functions that hooks want, by the name that the source gives them.
    functions: HashMap<String, Vec<Function>>,
}

/// A function that a probe can be put on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name, with what the compiler appended.
    pub name: String,
    /// Its module, empty for the kernel itself.
    pub module: String,
    /// There is another function of this name.
    pub ambiguous: bool,
}

fn hidden() -> anyhow::Error {
    Failure::Refused(
        "the kernel hides its symbol addresses: run as root or with CAP_SYSLOG, or set kernel.kptr_restrict=0 and \
         kernel.perf_event_paranoid=1"
            .into(),
    )
    .into()
}

/// Where a function of the kernel itself is: the first of this name, which the kernel would take, too. `None` if it is hidden.
pub fn address_of(name: &str) -> Option<u64> {
    address_in(BufReader::new(File::open(RUNNING).ok()?), name)
}

fn address_in(text: impl BufRead, name: &str) -> Option<u64> {
    for line in text.lines() {
        let line = line.ok()?;
        let mut words = line.split_ascii_whitespace();
        if let (Some(address), Some("t" | "T"), Some(found), None) =
            (words.next(), words.next(), words.next(), words.next())
            && found == name
        {
            return u64::from_str_radix(address, 16).ok().filter(|address| *address != 0);
        }
    }
    None
}

/// The name that the source gives a function: without the suffixes of clones.
fn source_name(name: &str) -> &str {
    let base = name.find('.').map_or(name, |dot| &name[..dot]);
    // A part that is seldom executed is not the function.
    if name.contains(".cold") { name } else { base }
}

impl Symbols {
    /// Of the running kernel.
    ///
    /// # Errors
    /// As [`Symbols::check`].
    pub fn running() -> Result<Self> {
        let text = std::fs::read_to_string(RUNNING).context(CANNOT_READ)?;
        let symbols = Self::parse(&text);
        if symbols.table.is_empty() { Err(hidden()) } else { Ok(symbols) }
    }

    /// Whether the running kernel tells its symbols, without reading a hundred thousand of them.
    ///
    /// # Errors
    /// Addresses are all zero without CAP_SYSLOG: refused, because no stack could be named.
    pub fn check() -> Result<()> {
        Self::check_first(BufReader::new(File::open(RUNNING).context(CANNOT_READ)?))
    }

    /// The first function tells what all the others would: of data there are symbols at zero.
    fn check_first(text: impl BufRead) -> Result<()> {
        for line in text.lines() {
            let line = line.context(CANNOT_READ)?;
            let mut words = line.split_ascii_whitespace();
            if let (Some(address), Some("t" | "T")) = (words.next(), words.next()) {
                let seen = u64::from_str_radix(address, 16).is_ok_and(|address| address != 0);
                return if seen { Ok(()) } else { Err(hidden()) };
            }
        }
        Err(hidden())
    }

    /// Reads the format of kallsyms; only code, only real addresses.
    pub fn parse(text: &str) -> Self {
        let mut table = Vec::new();
        let mut names = String::new();
        let mut functions: HashMap<String, Vec<Function>> = HashMap::new();
        let wanted: HashSet<&str> = Hook::ALL
            .iter()
            .flat_map(|hook| hook.info().functions)
            .map(|name| name.split_once(':').map_or(*name, |(_, name)| name))
            .collect();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(kind), Some(name)) = (words.next(), words.next(), words.next()) else { continue };
            let Some(address) = u64::from_str_radix(address, 16).ok().filter(|address| *address != 0) else { continue };
            if matches!(kind, "t" | "T" | "w" | "W") {
                table.push((address, names.len() as u32));
                names.push_str(name);
                names.push('\n');
                if wanted.contains(source_name(name)) {
                    let module = words.next().map_or("", |word| word.trim_matches(['[', ']']));
                    functions.entry(source_name(name).to_owned()).or_default().push(Function {
                        name: name.to_owned(),
                        module: module.to_owned(),
                        ambiguous: false,
                    });
                }
            }
        }
        for list in functions.values_mut() {
            for index in 0..list.len() {
                list[index].ambiguous = list.iter().filter(|other| other.name == list[index].name).count() > 1;
            }
        }
        // Of several names for one address the first in the kernel's list counts.
        table.sort_by_key(|entry| entry.0);
        table.dedup_by_key(|entry| entry.0);
        table.shrink_to_fit();
        names.shrink_to_fit();
        Self { table, names, functions }
    }

    /// Functions that the source gives this name, if a hook wants it.
    pub fn functions(&self, name: &str) -> &[Function] {
        self.functions.get(name).map_or(&[], Vec::as_slice)
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
    fn a_function_of_the_kernel_itself_is_found_by_its_whole_name() {
        let find = |name| {
            let text = "0000000000000000 T hidden\n0000000000001000 D data\n0000000000001000 T first.cold\n\
                        ffffffff81002000 t first\nffffffff81003000 T first\nffffffffc0000000 T moved\t[module]\n";
            address_in(text.as_bytes(), name)
        };
        assert_eq!(find("first"), Some(0xffff_ffff_8100_2000));
        assert_eq!([find("hidden"), find("data"), find("moved"), find("fir")], [None; 4]);
    }

    #[test]
    fn functions_of_hooks_are_found_with_their_module_and_suffix() {
        let symbols = Symbols::parse(
            "0000000000001000 t br_nf_forward_ip.part.0\t[br_netfilter]\n0000000000002000 t gre_rcv\t[gre]\n\
             0000000000003000 t gre_rcv\t[ip_gre]\n0000000000004000 t br_forward.cold\t[bridge]\n\
             0000000000005000 T ip_rcv\n0000000000006000 T unheard_of\n",
        );
        let function =
            |name: &str, module: &str, ambiguous| Function { name: name.into(), module: module.into(), ambiguous };
        assert_eq!(symbols.functions("ip_rcv"), [function("ip_rcv", "", false)]);
        assert_eq!(symbols.functions("br_nf_forward_ip"), [function("br_nf_forward_ip.part.0", "br_netfilter", false)]);
        assert_eq!(
            symbols.functions("gre_rcv"),
            [function("gre_rcv", "gre", true), function("gre_rcv", "ip_gre", true)]
        );
        assert!(symbols.functions("br_forward").is_empty() && symbols.functions("unheard_of").is_empty());
    }

    #[test]
    fn hidden_addresses_are_seen_at_the_first_function() {
        let check = |text: &str| Symbols::check_first(text.as_bytes()).is_ok();
        assert!(check("0000000000000000 A fixed_percpu_data\nffffffff81000000 T _text\n0000000000000000 T odd\n"));
        assert!(!check("0000000000000000 A fixed_percpu_data\n0000000000000000 T _text\n"));
        assert!(!check(""));
    }

    #[test]
    fn an_address_belongs_to_the_function_before_it() {
        let symbols = Symbols::parse("0000000000001000 T first\n0000000000003000 t third\n0000000000002000 D data\n");
        assert_eq!(symbols.name(0x1000), "first");
        assert_eq!(symbols.name(0x2fff), "first");
        assert_eq!(symbols.name(0x3001), "third");
        assert_eq!(symbols.name(0x0fff), "[unknown]");
    }
}
