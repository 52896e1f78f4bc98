//! Where some functions and variables of the running kernel are that the programs ask for, from `/proc/kallsyms`.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
};

/// Functions that drivers free packets with, whose transmission is complete or which they drop. The kernel names the one that it was
/// called from, or the one itself.
const DRIVERS_FREE: [&str; 4] =
    ["dev_kfree_skb_any_reason", "__dev_kfree_skb_any", "dev_kfree_skb_irq_reason", "net_tx_action"];
/// Where descriptions of pages and pages begin, where that is not the same at each boot.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/arch/x86/kernel/head64.c#L61>
const PAGES: [&str; 2] = ["vmemmap_base", "page_offset_base"];
/// Where they begin if nothing is moved about, with four levels of page tables.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/Documentation/arch/x86/x86_64/mm.rst>
const UNMOVED_PAGES: [u64; 2] = [0xffff_ea00_0000_0000, 0xffff_8880_0000_0000];
/// Where the code begins then.
const UNMOVED_TEXT: u64 = 0xffff_ffff_8100_0000;

/// What was found; zeros where nothing was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The kernel's own code: its begin and its end.
    pub text: [u64; 2],
    /// Begin and end of each of the functions that drivers free packets with.
    pub drivers_free: [u64; 2 * DRIVERS_FREE.len()],
    /// Where descriptions of pages and pages begin, or the addresses of the variables that say it.
    pub pages: [u64; 2],
}

impl Places {
    /// Of the running kernel; nothing where it hides its addresses.
    pub fn running() -> Self {
        let mut places =
            File::open("/proc/kallsyms").map_or_else(|_| Self::default(), |file| Self::of(BufReader::new(file)));
        let levels = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        if places.pages.contains(&0) {
            let unmoved = cfg!(target_arch = "x86_64") && places.text[0] == UNMOVED_TEXT && !levels.contains(" la57");
            places.pages = if unmoved { UNMOVED_PAGES } else { [0; 2] };
        }
        places
    }

    /// Reads the format of kallsyms, in which the kernel's own symbols stand first and ascend.
    fn of(text: impl BufRead) -> Self {
        let mut places = Self::default();
        let mut open: Option<(usize, u64)> = None;
        for line in text.lines().map_while(Result::ok) {
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(_), Some(name), None) = (words.next(), words.next(), words.next(), words.next())
            else {
                break;
            };
            let Ok(address) = u64::from_str_radix(address, 16) else { continue };
            if let Some((at, begin)) = open.filter(|(_, begin)| address > *begin) {
                places.drivers_free[2 * at..2 * at + 2].copy_from_slice(&[begin, address]);
                open = None;
            }
            match name {
                "_stext" => places.text[0] = address,
                "_etext" => places.text[1] = address,
                _ => {}
            }
            if let Some(at) = PAGES.iter().position(|variable| *variable == name) {
                places.pages[at] = address;
            }
            if let Some(at) = DRIVERS_FREE.iter().position(|function| *function == name) {
                open = Some((at, address));
            }
        }
        places
    }

    /// The functions, for tests.
    #[cfg(test)]
    fn function(&self, at: usize) -> std::ops::Range<u64> {
        self.drivers_free[2 * at]..self.drivers_free[2 * at + 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81ea9c50 T dev_kfree_skb_irq_reason
ffffffff81ea9d00 T dev_kfree_skb_any_reason
ffffffff81ea9d00 T __pfx_something
ffffffff81ea9d80 T netif_rx
ffffffff82276508 T _etext
ffffffff82a3c0c8 D vmemmap_base
ffffffff82a3c0d8 D page_offset_base
ffffffffc0001000 t net_tx_action\t[other]
";

    #[test]
    fn functions_end_where_the_next_begins_and_modules_have_none_of_them() {
        let places = Places::of(TEXT.as_bytes());
        assert_eq!(places.text, [0xffff_ffff_8100_0000, 0xffff_ffff_8227_6508]);
        assert_eq!(places.pages, [0xffff_ffff_82a3_c0c8, 0xffff_ffff_82a3_c0d8]);
        assert_eq!(places.function(0), 0xffff_ffff_81ea_9d00..0xffff_ffff_81ea_9d80);
        assert_eq!(places.function(2), 0xffff_ffff_81ea_9c50..0xffff_ffff_81ea_9d00);
        assert_eq!(places.function(3), 0..0);
    }

    #[test]
    fn hidden_addresses_are_no_places() {
        let hidden = TEXT.replace("ffffffff8", "000000000");
        let zeros: String = hidden.lines().map(|line| format!("0000000000000000{}\n", &line[16..])).collect();
        assert_eq!(Places::of(zeros.as_bytes()), Places::default());
    }
}
