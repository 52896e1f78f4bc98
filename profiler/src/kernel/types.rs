//! Type information as the kernel lays it out (BTF), read where it lies: a kernel describes more than a hundred thousand types, of
//! which a few dozen are asked for, so nothing is made of the others but a place in an index.
//! The format: <https://docs.kernel.org/6.12/bpf/btf.html>.

use std::{ops::Range, sync::Arc};

use anyhow::{Context as _, Result, bail, ensure};

const MAGIC: u16 = 0xeb9f;
const WORD: usize = size_of::<u32>();
/// Words of a type before those of its kind.
const HEAD: usize = 3;
/// Lists of the index of names, a power of two: two types in each of them, in a kernel of today.
const LISTS: usize = 1 << 16;

/// A kind of types, as far as they are told apart here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A structure or a union.
    Composite,
    /// An enumeration of 32 bits.
    Enum,
    /// A pointer.
    Pointer,
    /// Another name.
    Typedef,
    /// `const`, `volatile`, `restrict`, or a tag.
    Qualifier,
    /// A function.
    Function,
    /// What a function takes and returns.
    Prototype,
    /// Anything else.
    Other,
}

/// A type.
#[derive(Clone, Copy)]
pub struct Type<'a> {
    of: &'a Types,
    /// Where it begins.
    at: usize,
}

/// The types of a kernel, or of a module over those of its kernel.
pub struct Types {
    bytes: Vec<u8>,
    strings: Range<usize>,
    /// Where each type begins. Their numbers follow those of `base`; 0 is `void`.
    places: Vec<u32>,
    base: Option<Arc<Types>>,
    /// The newest named type of each list plus one, and of each type the one before it in its list; 0: none.
    newest: Vec<u32>,
    before: Vec<u32>,
}

impl Types {
    /// Reads types, which may continue those of a kernel.
    pub fn new(bytes: Vec<u8>, base: Option<Arc<Self>>) -> Result<Self> {
        ensure!(
            bytes.get(..2) == Some(&MAGIC.to_ne_bytes()[..]),
            "this is no type information of this kind of processor"
        );
        let header =
            |index: usize| word(&bytes, index * WORD).map(|value| value as usize).context("the header is cut off");
        let start = header(1)?;
        let section = |at: usize, length: usize| -> Result<Range<usize>> {
            let begin = start.saturating_add(header(at)?);
            let section = begin..begin.saturating_add(header(length)?);
            ensure!(section.end <= bytes.len(), "it is cut off");
            Ok(section)
        };
        let (within, strings) = (section(2, 3)?, section(4, 5)?);
        let mut types = Self { strings, places: Vec::new(), base, newest: vec![0; LISTS], before: Vec::new(), bytes };
        types.places.reserve(within.len() / 24);
        let mut at = within.start;
        while at < within.end {
            let words = HEAD + types.words_after(at)?;
            types.enter(at);
            at += words * WORD;
        }
        ensure!(at == within.end, "a type is cut off");
        Ok(types)
    }

    /// Words that follow the head of the type at a place.
    fn words_after(&self, at: usize) -> Result<usize> {
        let info = word(&self.bytes, at + WORD).context("a type is cut off")?;
        let count = (info & 0xffff) as usize;
        Ok(match info >> 24 & 0x1f {
            1 | 14 | 17 => 1,
            2 | 7..=12 | 16 | 18 => 0,
            3 => 3,
            4 | 5 | 15 | 19 => 3 * count,
            6 | 13 => 2 * count,
            other => bail!("unknown kind {other}: this kernel is newer than this program"),
        })
    }

    /// Enters a type into the index.
    fn enter(&mut self, at: usize) {
        let name = Type { of: self, at }.name();
        let list = (!name.is_empty()).then(|| list(name));
        self.places.push(at as u32);
        self.before.push(match list {
            Some(list) => std::mem::replace(&mut self.newest[list], self.places.len() as u32),
            None => 0,
        });
    }

    /// Types of this name, those of the kernel first.
    pub fn named<'a>(&'a self, name: &str) -> Vec<Type<'a>> {
        let mut found = Vec::new();
        let mut next = self.newest[list(name.as_bytes())];
        while let Some(index) = (next as usize).checked_sub(1) {
            let one = Type { of: self, at: self.places[index] as usize };
            if one.name() == name.as_bytes() {
                found.push(one);
            }
            next = self.before[index];
        }
        found.extend(self.base.iter().flat_map(|base| base.named(name).into_iter().rev()));
        found.reverse();
        found
    }

    /// The type of this number; `None` for `void`.
    fn numbered(&self, number: u32) -> Option<Type<'_>> {
        match (number as usize).checked_sub(1 + self.types_before()) {
            Some(own) => Some(Type { of: self, at: *self.places.get(own)? as usize }),
            None => self.base.as_ref()?.numbered(number),
        }
    }

    /// Types of the kernel, before those of a module.
    fn types_before(&self) -> usize {
        self.base.as_ref().map_or(0, |base| base.types_before() + base.places.len())
    }

    /// The text at a place of the list of names, which continues the kernel's.
    fn text(&self, place: usize) -> &[u8] {
        let before = self.base.as_ref().map_or(0, |base| base.strings.len());
        let Some(own) = place.checked_sub(before) else {
            return self.base.as_ref().map_or(&[], |base| base.text(place));
        };
        let rest = self.bytes[self.strings.clone()].get(own..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

impl<'a> Type<'a> {
    fn word(self, index: usize) -> u32 {
        word(&self.of.bytes, self.at + index * WORD).unwrap_or(0)
    }

    fn name(self) -> &'a [u8] {
        self.of.text(self.word(0) as usize)
    }

    /// What kind of type it is.
    pub fn kind(self) -> Kind {
        match self.word(1) >> 24 & 0x1f {
            2 => Kind::Pointer,
            4 | 5 => Kind::Composite,
            6 => Kind::Enum,
            8 => Kind::Typedef,
            9..=11 | 18 => Kind::Qualifier,
            12 => Kind::Function,
            13 => Kind::Prototype,
            _ => Kind::Other,
        }
    }

    /// How many members, values or parameters it has.
    pub fn len(self) -> usize {
        (self.word(1) & 0xffff) as usize
    }

    /// The type that it points to, names, qualifies or returns; `None`: `void`.
    pub fn target(self) -> Option<Self> {
        self.of.numbered(self.word(2))
    }

    /// Members of a structure or union: name, type, and bits before it.
    pub fn members(self) -> impl Iterator<Item = (&'a [u8], Option<Self>, u32)> {
        let has_sizes = self.word(1) >> 31 != 0;
        (0..self.len()).map(move |index| {
            let at = HEAD + 3 * index;
            let offset = self.word(at + 2);
            // The size of a field of bits stands before its place.
            let bits = if has_sizes { offset & 0xff_ffff } else { offset };
            (self.of.text(self.word(at) as usize), self.of.numbered(self.word(at + 1)), bits)
        })
    }

    /// Names of an enumeration, and their values.
    pub fn values(self) -> impl Iterator<Item = (&'a [u8], u32)> {
        (0..self.len()).map(move |index| {
            let at = HEAD + 2 * index;
            (self.of.text(self.word(at) as usize), self.word(at + 1))
        })
    }
}

/// The word at a place.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(WORD)?)?;
    Some(u32::from_ne_bytes(word.try_into().ok()?))
}

/// The list of a name.
fn list(name: &[u8]) -> usize {
    crc32fast::hash(name) as usize % LISTS
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOID: u32 = 0;

    /// A file of types with their words, and of names.
    fn file(types: &[&[u32]], names: &str) -> Vec<u8> {
        let words: Vec<u32> = types.concat();
        let mut bytes = [MAGIC.to_ne_bytes(), [1, 0]].concat();
        let length = (words.len() * WORD) as u32;
        for value in [24, 0, length, length, names.len() as u32].into_iter().chain(words) {
            bytes.extend(value.to_ne_bytes());
        }
        bytes.extend(names.as_bytes());
        bytes
    }

    const fn info(kind: u32, count: u32) -> u32 {
        kind << 24 | count
    }

    #[test]
    fn what_a_module_adds_continues_the_types_and_names_of_its_kernel() {
        // int, and a pointer to it.
        let kernel = file(&[&[1, info(1, 0), 4, 32], &[0, info(2, 0), 1]], "\0int\0");
        let kernel = Arc::new(Types::new(kernel, None).expect("types"));
        // struct own { int *first; int second : 3; }
        let own = [5, info(4, 2) | 1 << 31, 16, 9, 2, 0, 15, 1, 3 << 24 | 64];
        let module = Types::new(file(&[&own], "own\0first\0second\0"), Some(Arc::clone(&kernel))).expect("types");
        let found = module.named("own");
        let [own] = found[..] else { panic!("{} of them", found.len()) };
        let members: Vec<_> = own.members().map(|(name, of, bits)| (name, of.map(Type::kind), bits)).collect();
        assert_eq!(members, [(&b"first"[..], Some(Kind::Pointer), 0), (&b"second"[..], Some(Kind::Other), 64)]);
        let first = own.members().next().and_then(|(_, of, _)| of?.target()).expect("a pointer to something");
        assert_eq!(first.name(), b"int");
        assert_eq!((module.named("int").len(), kernel.named("own").len()), (1, 0));
    }

    #[test]
    fn void_has_no_type_and_nothing_is_read_beyond_the_end() {
        let whole = file(&[&[1, info(8, 0), VOID], &[3, info(6, 1), 4, 5, 7]], "\0t\0e\0A\0");
        let types = Types::new(whole.clone(), None).expect("types");
        assert!(types.named("t")[0].target().is_none());
        assert_eq!(types.named("e")[0].values().collect::<Vec<_>>(), [(&b"A"[..], 7)]);
        for length in 0..whole.len() {
            assert!(Types::new(whole[..length].to_vec(), None).is_err(), "{length} bytes");
        }
        assert!(Types::new(file(&[&[0, info(31, 0), 0]], "\0"), None).is_err(), "a kind of the future");
        // A number that no type has.
        let wrong = Types::new(file(&[&[1, info(8, 0), 99]], "\0t\0"), None).expect("types");
        assert!(wrong.named("t")[0].target().is_none());
    }
}
