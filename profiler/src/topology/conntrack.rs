//! What connection tracking dropped: to the kernel's tracepoint these are drops of a netfilter hook like those of a rule.

/// Packets that the calling thread's namespace dropped because connection tracking had no room for them: its table was
/// full, or there was no memory. None where the kernel does not tell.
/// <https://elixir.bootlin.com/linux/v6.12.117/source/net/netfilter/nf_conntrack_core.c#L2031>
pub(super) fn dropped() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/thread-self/net/stat/nf_conntrack").ok()?)
}

/// The sum of a column over all CPUs; figures are hexadecimal.
fn parse(text: &str) -> Option<u64> {
    let mut lines = text.lines();
    let column = lines.next()?.split_whitespace().position(|name| name == "drop")?;
    lines.map(|line| u64::from_str_radix(line.split_whitespace().nth(column)?, 16).ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_is_found_by_its_name_and_summed_over_cpus() {
        let text = "entries  clashres found insert_failed drop early_drop\n\
                    00000040  00000000 00000001 00000003 0000001f 00000002\n\
                    00000040  00000000 00000001 00000003 00000001 00000002\n";
        assert_eq!(parse(text), Some(32));
        assert_eq!(parse("entries found\n1 2\n"), None);
        assert_eq!(parse(""), None);
    }
}
