//! Which packet of a CPU is the first that is followed.

/// How many packets it is until the first that is chosen, if one in `every` is: distances are even between 1 and `2 * every - 1`,
/// long ones are the likelier to be met, and the moment at which one is met lies anywhere in it. That is the lesser of two
/// that are drawn evenly.
pub fn first(every: u32, mut random: impl FnMut() -> u64) -> u32 {
    if every <= 1 {
        return 1;
    }
    let longest = u64::from(every) * 2 - 1;
    // Of all places before or at a place there are as many as its number: the lesser of two different ones of `2 * every`.
    let (one, other) = (random() % (longest + 1), random() % longest);
    let other = if other >= one { other + 1 } else { other };
    one.min(other) as u32 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By drawing each pair of numbers once: how often each distance comes out, of so many.
    fn drawn(every: u32) -> (Vec<u64>, u64) {
        let longest = u64::from(every) * 2 - 1;
        let mut counts = vec![0; longest as usize + 1];
        for one in 0..=longest {
            for other in 0..longest {
                let mut numbers = [one, other].into_iter();
                counts[first(every, || numbers.next().expect("two are drawn")) as usize] += 1;
            }
        }
        (counts, (longest + 1) * longest)
    }

    #[test]
    fn the_first_packet_is_followed_as_often_as_any_other() {
        for every in [2, 3, 16] {
            let (counts, all) = drawn(every);
            // How likely a packet is chosen: the first choice falls on it, or one after an earlier choice does.
            let longest = counts.len() - 1;
            let mut chosen = vec![0.0; 3 * longest];
            for at in 1..chosen.len() {
                let first = if at <= longest { counts[at] as f64 / all as f64 } else { 0.0 };
                let later: f64 = (1..=longest.min(at - 1)).map(|distance| chosen[at - distance] / longest as f64).sum();
                chosen[at] = first + later;
                assert!(
                    (chosen[at] - 1.0 / f64::from(every)).abs() < 1e-9,
                    "1 in {every}, packet {at}: {}",
                    chosen[at]
                );
            }
        }
    }

    #[test]
    fn every_packet_is_followed_from_the_first_one_on_where_all_are() {
        assert_eq!((first(0, || 7), first(1, || 7)), (1, 1));
    }
}
