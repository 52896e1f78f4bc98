//! How much a file may hold, asked before memory is taken for it: a few kilobytes can be made to stand for gigabytes.

use std::{collections::BTreeMap, fmt, io::Read, marker::PhantomData};

use super::Profile;
use flate2::read::DeflateDecoder;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};

/// Bytes of the profile's text, and of its file. The largest recordings have a tenth of it: all paths of all batches.
pub(super) const MOST_BYTES: usize = 128 << 20;
/// Values in the text: each takes some 30 bytes at most, but for those of lists that have a limit of their own.
const MOST_VALUES: u64 = 4 << 20;
/// What is inflated at once.
const PIECE: usize = 64 << 10;

/// Paths: a recording keeps a thousand and some classes, and most of those that are added are alike.
pub(super) const PATHS: usize = 1 << 16;
/// Namespaces, devices, containers.
pub(super) const PLACES: usize = 1 << 18;
/// CPU samples that differ, by their stacks or tasks.
pub(super) const SAMPLES: usize = 1 << 18;
/// Names of functions, and stacks of them.
const STACKS: usize = 1 << 20;
/// Drops that differ, and processes with turnarounds: the programs hold a thousand of each.
pub(super) const FEW: usize = 1 << 16;
/// Paths of a slice.
pub(super) const BATCH_PATHS: usize = 1 << 14;
/// How often a device may have to be looked for among the others, a process among those of all slices.
const MOST_LOOKS: usize = 1 << 28;
/// Slices of a recording, and recordings of a sum.
pub(super) const BATCHES: usize = super::MOST_BATCHES;

/// Whether a profile is of a size that can be thought about in some seconds.
pub(super) fn fits(profile: &Profile) -> Result<(), String> {
    let Profile { paths, topology, cpu, drops, turnarounds, batches, .. } = profile;
    let crossings: usize = paths.iter().map(|path| path.crossings.len()).sum();
    let of_batches: usize = batches.iter().map(|batch| batch.turnarounds.len()).sum();
    for (what, count, most) in [
        ("paths", paths.len(), PATHS),
        ("namespaces", topology.namespaces.len(), PLACES),
        ("devices", topology.devices.len(), PLACES),
        ("containers", topology.containers.len(), PLACES),
        ("samples", cpu.entries.len() + cpu.bursts.len(), SAMPLES),
        ("names of functions", cpu.symbols.len(), STACKS),
        ("stacks", cpu.stacks.len(), STACKS),
        ("tasks", cpu.tasks.len(), SAMPLES),
        ("places of drops", drops.len(), FEW),
        ("turnarounds", turnarounds.len(), FEW),
        ("slices", batches.len(), BATCHES),
        ("looks for devices", crossings.saturating_mul(topology.devices.len()), MOST_LOOKS),
        ("looks for processes", of_batches.saturating_mul(turnarounds.len()), MOST_LOOKS),
    ] {
        if count > most {
            return Err(format!("{count} {what} are more than a profile holds"));
        }
    }
    Ok(())
}

/// Why a text could not be taken.
pub(super) enum Refused {
    /// It does not inflate.
    Broken(std::io::Error),
    /// It is too large.
    TooLarge(&'static str),
}

/// The text that a deflated body stands for.
pub(super) fn inflated(body: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut decoder = DeflateDecoder::new(body);
    let (mut text, mut piece, mut scan) = (Vec::new(), vec![0; PIECE], Scan::default());
    loop {
        let length = decoder.read(&mut piece).map_err(Refused::Broken)?;
        if length == 0 {
            return Ok(text);
        }
        if text.len() + length > MOST_BYTES {
            return Err(Refused::TooLarge("more text than any"));
        }
        scan.over(&piece[..length]);
        if scan.values > MOST_VALUES {
            return Err(Refused::TooLarge("more values than any"));
        }
        text.extend_from_slice(&piece[..length]);
    }
}

/// Counts values of a JSON text as it comes: whatever takes memory follows a bracket or a comma outside of words.
#[derive(Default)]
struct Scan {
    values: u64,
    in_word: bool,
    escaped: bool,
}

impl Scan {
    fn over(&mut self, piece: &[u8]) {
        for byte in piece {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_word => self.escaped = true,
                b'"' => self.in_word = !self.in_word,
                b'{' | b'[' | b',' if !self.in_word => self.values += 1,
                _ => {}
            }
        }
    }
}

/// A list of at most so many: of things that take far more memory than text.
pub(super) fn at_most<'de, const MOST: usize, T: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<T>, D::Error> {
    struct List<const MOST: usize, T>(PhantomData<T>);
    impl<'de, const MOST: usize, T: Deserialize<'de>> Visitor<'de> for List<MOST, T> {
        type Value = Vec<T>;

        fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
            write!(to, "a list of at most {MOST}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(next) = from.next_element()? {
                if list.len() == MOST {
                    return Err(A::Error::invalid_length(MOST + 1, &self));
                }
                list.push(next);
            }
            Ok(list)
        }
    }
    from.deserialize_seq(List::<MOST, T>(PhantomData))
}

/// A map of at most so many.
pub(super) fn at_most_pairs<'de, const MOST: usize, K, V, D>(from: D) -> Result<BTreeMap<K, V>, D::Error>
where
    K: Deserialize<'de> + Ord,
    V: Deserialize<'de>,
    D: Deserializer<'de>,
{
    struct Pairs<const MOST: usize, K, V>(PhantomData<(K, V)>);
    impl<'de, const MOST: usize, K: Deserialize<'de> + Ord, V: Deserialize<'de>> Visitor<'de> for Pairs<MOST, K, V> {
        type Value = BTreeMap<K, V>;

        fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
            write!(to, "a map of at most {MOST}")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = from.next_entry()? {
                if map.len() == MOST {
                    return Err(A::Error::invalid_length(MOST + 1, &self));
                }
                map.insert(key, value);
            }
            Ok(map)
        }
    }
    from.deserialize_map(Pairs::<MOST, K, V>(PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_maps_end_where_their_limit_is() {
        let list = |text: &str| at_most::<2, u8, _>(&mut serde_json::Deserializer::from_str(text)).is_ok();
        let map = |text: &str| at_most_pairs::<2, u8, u8, _>(&mut serde_json::Deserializer::from_str(text)).is_ok();
        assert!(list("[1,2]") && !list("[1,2,3]"));
        assert!(map(r#"{"1":1,"2":2}"#) && !map(r#"{"1":1,"2":2,"3":3}"#));
    }

    #[test]
    fn values_are_counted_outside_of_words() {
        for (text, values) in [(r#"{"a":[1,2]}"#, 3), (r#"["[,{", "\",", "\\", 1]"#, 4), ("", 0)] {
            let mut scan = Scan::default();
            text.as_bytes().chunks(1).for_each(|piece| scan.over(piece));
            assert_eq!(scan.values, values, "{text}");
        }
    }
}
