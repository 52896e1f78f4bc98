//! `cargo xtask btf-reduce [--base BASE] IN OUT`: makes a recorded kernel's BTF small enough to keep.
//!
//! IN is the section `.BTF` of a kernel (`/sys/kernel/btf/vmlinux`, or `bpftool btf dump` of it with `-O binary`). OUT
//! keeps the structures whose fields the programs read, with everything they contain by value, so that every member
//! offset is the kernel's own; the tracepoints of the datapath with their prototypes; and the reasons of drops. What a
//! pointer points to is replaced by `void`. Of a module IN is the section `.BTF` of its file, and BASE that of its kernel, whose
//! types it continues; OUT then stands alone. The format: <https://docs.kernel.org/6.12/bpf/btf.html>.

use std::{collections::HashMap, path::Path};

use anyhow::{Context as _, Result, bail, ensure};

use crate::offset::Offsets;

/// The enumeration of the reasons of drops.
const REASONS: &str = "skb_drop_reason";

/// Whether a structure or an enumeration is kept: those whose fields the programs read.
fn is_root(name: &str) -> bool {
    name == REASONS || Offsets::ALL.iter().any(|info| info.structure == name)
}

/// Tracepoints that are kept, by the beginning of their name.
const TRACEPOINTS: &[&str] = &[
    "net_dev_",
    "netif_",
    "napi_",
    "kfree_skb",
    "consume_skb",
    "skb_copy_",
    "sock_",
    "sk_data_",
    "tcp_",
    "udp_",
    "inet_",
    "qdisc_",
    "fib_",
    "fib6_",
    "neigh_",
    "br_",
    "softirq_",
    "sched_switch",
    "sched_waking",
    "sched_wakeup",
];

const HEADER: usize = 24;
const MAGIC: u16 = 0xeb9f;

/// Kinds of the format, as far as they are told apart here.
mod kind {
    pub const INT: u32 = 1;
    pub const PTR: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const FWD: u32 = 7;
    pub const TYPEDEF: u32 = 8;
    pub const RESTRICT: u32 = 11;
    pub const FUNC: u32 = 12;
    pub const FUNC_PROTO: u32 = 13;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const FLOAT: u32 = 16;
    pub const DECL_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// A type as it stands in the file.
#[derive(Clone, Debug, PartialEq)]
struct Record {
    name: u32,
    info: u32,
    size_or_type: u32,
    rest: Vec<u32>,
}

impl Record {
    fn kind(&self) -> u32 {
        self.info >> 24 & 0x1f
    }

    /// Words that follow the head of a kind.
    fn words(info: u32) -> Result<usize> {
        let count = (info & 0xffff) as usize;
        Ok(match info >> 24 & 0x1f {
            kind::INT | kind::VAR | kind::DECL_TAG => 1,
            kind::ARRAY => 3,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 3 * count,
            kind::ENUM | kind::FUNC_PROTO => 2 * count,
            kind::PTR | kind::FWD | kind::TYPEDEF..=kind::RESTRICT | kind::FUNC | kind::FLOAT | kind::TYPE_TAG => 0,
            other => bail!("unknown kind {other}: this format is newer than this program"),
        })
    }

    /// Places in `rest` that hold offsets of names.
    fn names(&self) -> impl Iterator<Item = usize> + use<> {
        let step = match self.kind() {
            kind::STRUCT | kind::UNION | kind::ENUM64 => 3,
            kind::ENUM | kind::FUNC_PROTO => 2,
            _ => usize::MAX,
        };
        let end = if step == usize::MAX { 0 } else { self.rest.len() };
        (0..end).step_by(step.min(end.max(1)))
    }

    /// Places in `rest` that hold ids of types.
    fn types(&self) -> Vec<usize> {
        match self.kind() {
            kind::ARRAY => vec![0, 1],
            kind::STRUCT | kind::UNION => (1..self.rest.len()).step_by(3).collect(),
            kind::FUNC_PROTO => (1..self.rest.len()).step_by(2).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether `size_or_type` is the id of a type.
    fn refers(&self) -> bool {
        matches!(self.kind(), kind::PTR | kind::TYPEDEF..=kind::RESTRICT | kind::FUNC_PROTO | kind::TYPE_TAG)
    }
}

/// A whole file, taken apart.
#[derive(Default)]
struct Blob {
    /// Type N is at N - 1; 0 is `void`.
    records: Vec<Record>,
    strings: Vec<u8>,
}

impl Blob {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let word = |at: usize| -> Result<u32> {
            let slice = bytes.get(at..at + 4).context("the file ends within a type")?;
            Ok(u32::from_le_bytes([slice[0], slice[1], slice[2], slice[3]]))
        };
        ensure!(bytes.get(..2) == Some(&MAGIC.to_le_bytes()[..]), "this is not BTF of a little-endian kernel");
        let start = word(4)? as usize;
        let (types, types_len) = (start + word(8)? as usize, word(12)? as usize);
        let (strings, strings_len) = (start + word(16)? as usize, word(20)? as usize);
        let mut records = Vec::new();
        let mut at = types;
        while at < types + types_len {
            let info = word(at + 4)?;
            let words = Record::words(info)?;
            let rest = (0..words).map(|index| word(at + 12 + 4 * index)).collect::<Result<_>>()?;
            records.push(Record { name: word(at)?, info, size_or_type: word(at + 8)?, rest });
            at += 12 + 4 * words;
        }
        let strings = bytes.get(strings..strings + strings_len).context("the file ends within its strings")?.to_vec();
        Ok(Self { records, strings })
    }

    fn name(&self, offset: u32) -> &str {
        let rest = self.strings.get(offset as usize..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
        std::str::from_utf8(&rest[..end]).unwrap_or_default()
    }

    fn write(&self) -> Vec<u8> {
        let mut types = Vec::new();
        for record in &self.records {
            for word in [record.name, record.info, record.size_or_type].iter().chain(&record.rest) {
                types.extend_from_slice(&word.to_le_bytes());
            }
        }
        let mut out = Vec::with_capacity(HEADER + types.len() + self.strings.len());
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&[1, 0]);
        for word in [HEADER, 0, types.len(), types.len(), self.strings.len()] {
            out.extend_from_slice(&(word as u32).to_le_bytes());
        }
        out.extend_from_slice(&types);
        out.extend_from_slice(&self.strings);
        out
    }
}

/// Copies what is wanted from one file to another.
struct Copier<'a> {
    from: &'a Blob,
    to: Blob,
    /// New ids by old ones.
    ids: HashMap<u32, u32>,
    strings: HashMap<String, u32>,
    /// The one pointer that stands for all pointers of members and parameters.
    pointer: Option<u32>,
}

impl Copier<'_> {
    fn string(&mut self, offset: u32) -> u32 {
        let name = self.from.name(offset).to_owned();
        if name.is_empty() {
            return 0;
        }
        let strings = &mut self.to.strings;
        *self.strings.entry(name).or_insert_with_key(|name| {
            let at = strings.len() as u32;
            strings.extend_from_slice(name.as_bytes());
            strings.push(0);
            at
        })
    }

    fn push(&mut self, record: Record) -> u32 {
        self.to.records.push(record);
        self.to.records.len() as u32
    }

    /// The new id of an old type; `deep` follows pointers.
    fn copy(&mut self, id: u32, deep: bool) -> Result<u32> {
        if id == 0 {
            return Ok(0);
        }
        if let Some(new) = self.ids.get(&id) {
            return Ok(*new);
        }
        let mut record = self.from.records.get(id as usize - 1).context("a type refers to none")?.clone();
        if record.kind() == kind::PTR && !deep {
            if let Some(pointer) = self.pointer {
                return Ok(pointer);
            }
            let pointer = self.push(Record { size_or_type: 0, ..record });
            self.pointer = Some(pointer);
            return Ok(pointer);
        }
        record.name = self.string(record.name);
        for at in record.names() {
            record.rest[at] = self.string(record.rest[at]);
        }
        // In place before what it contains, so that cycles end.
        let new = self.push(record.clone());
        self.ids.insert(id, new);
        let through = deep && matches!(record.kind(), kind::TYPEDEF | kind::PTR);
        if record.refers() {
            record.size_or_type = self.copy(record.size_or_type, through)?;
        }
        for at in record.types() {
            record.rest[at] = self.copy(record.rest[at], false)?;
        }
        self.to.records[new as usize - 1] = record;
        Ok(new)
    }
}

/// The reduced BTF; of a module with the whole BTF of its kernel.
fn reduce(bytes: &[u8], base: Option<&[u8]>) -> Result<Vec<u8>> {
    let own = Blob::parse(bytes)?;
    let base = base.map(Blob::parse).transpose()?.unwrap_or_default();
    // Numbers of types and offsets of names go on where the kernel's end.
    let first = base.records.len();
    let from = Blob {
        records: base.records.into_iter().chain(own.records).collect(),
        strings: [base.strings, own.strings].concat(),
    };
    let mut copier = Copier {
        to: Blob { records: Vec::new(), strings: vec![0] },
        ids: HashMap::new(),
        strings: HashMap::new(),
        pointer: None,
        from: &from,
    };
    for (index, record) in from.records.iter().enumerate().skip(first) {
        let name = from.name(record.name);
        let wanted = match record.kind() {
            kind::STRUCT | kind::UNION | kind::ENUM => is_root(name),
            kind::TYPEDEF => name
                .strip_prefix("btf_trace_")
                .is_some_and(|name| TRACEPOINTS.iter().any(|beginning| name.starts_with(beginning))),
            _ => false,
        };
        if wanted {
            copier.copy(index as u32 + 1, record.kind() == kind::TYPEDEF)?;
        }
    }
    Ok(copier.to.write())
}

/// Reads IN, writes OUT.
pub fn run(from: &Path, to: &Path, base: Option<&Path>) -> Result<()> {
    let read = |path: &Path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let (bytes, base) = (read(from)?, base.map(read).transpose()?);
    let reduced = reduce(&bytes, base.as_deref()).with_context(|| format!("cannot reduce {}", from.display()))?;
    std::fs::write(to, &reduced).with_context(|| format!("cannot write {}", to.display()))?;
    eprintln!("{} bytes -> {} bytes", bytes.len(), reduced.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct net { struct other *p; int i; }`, `struct other`, and `typedef void (*btf_trace_net_dev_queue)(int)`.
    fn example() -> Vec<u8> {
        let strings = b"\0net\0p\0i\0other\0btf_trace_net_dev_queue\0int\0".to_vec();
        let at = |name: &str| {
            let text = String::from_utf8_lossy(&strings).into_owned();
            text.find(&format!("\0{name}\0")).expect("a name") as u32 + 1
        };
        let head = |kind: u32, count: u32| kind << 24 | count;
        let record = |name, info, size_or_type, rest: &[u32]| Record { name, info, size_or_type, rest: rest.to_vec() };
        Blob {
            records: vec![
                record(at("int"), head(kind::INT, 0), 4, &[32]),
                record(at("other"), head(kind::STRUCT, 0), 8, &[]),
                record(0, head(kind::PTR, 0), 2, &[]),
                record(at("net"), head(kind::STRUCT, 2), 16, &[at("p"), 3, 0, at("i"), 1, 64]),
                record(at("btf_trace_net_dev_queue"), head(kind::TYPEDEF, 0), 6, &[]),
                record(0, head(kind::PTR, 0), 7, &[]),
                record(0, head(kind::FUNC_PROTO, 1), 0, &[0, 1]),
            ],
            strings: strings.clone(),
        }
        .write()
    }

    #[test]
    fn what_pointers_point_to_goes_and_offsets_and_prototypes_stay() {
        let reduced = Blob::parse(&reduce(&example(), None).expect("reduced")).expect("BTF");
        let names: Vec<&str> = reduced.records.iter().map(|record| reduced.name(record.name)).collect();
        assert!(!names.contains(&"other"), "{names:?}");
        let net = &reduced.records[names.iter().position(|name| *name == "net").expect("kept")];
        assert_eq!((net.rest[2], net.rest[5], net.size_or_type), (0, 64, 16));
        let pointee = |id: u32| reduced.records[id as usize - 1].size_or_type;
        assert_eq!(pointee(net.rest[1]), 0);
        let trace = &reduced.records[names.iter().position(|name| name.starts_with("btf_trace")).expect("kept")];
        let prototype = &reduced.records[pointee(trace.size_or_type) as usize - 1];
        assert_eq!((prototype.kind(), prototype.rest.len()), (kind::FUNC_PROTO, 2));
    }

    /// A module's `struct nft_chain { struct net net2; int i; }` on top of the example, whose seven types it continues.
    fn module() -> Vec<u8> {
        let base = Blob::parse(&example()).expect("BTF").strings;
        let i = base.windows(3).position(|at| at == b"\0i\0").expect("a name") as u32 + 1;
        let (name, member) = (base.len() as u32, base.len() as u32 + 10);
        let rest = vec![member, 4, 0, i, 1, 128];
        let record = Record { name, info: kind::STRUCT << 24 | 2, size_or_type: 24, rest };
        Blob { records: vec![record], strings: b"nft_chain\0net2\0".to_vec() }.write()
    }

    #[test]
    fn a_module_takes_from_its_kernel_what_it_contains_and_nothing_else() {
        let reduced = Blob::parse(&reduce(&module(), Some(&example())).expect("reduced")).expect("BTF");
        let names: Vec<&str> = reduced.records.iter().map(|record| reduced.name(record.name)).collect();
        assert_eq!(names, ["nft_chain", "net", "", "int"]);
        let chain = &reduced.records[0];
        assert_eq!((reduced.name(chain.rest[0]), reduced.name(chain.rest[3])), ("net2", "i"));
        assert_eq!((chain.rest[1], chain.rest[4], chain.rest[5]), (2, 4, 128));
        let alone = Blob::parse(&reduce(&module(), None).expect("reduced")).expect("BTF");
        assert_eq!(alone.records, [], "without its kernel its names mean nothing");
    }

    #[test]
    fn reducing_twice_changes_nothing_more() {
        let once = reduce(&example(), None).expect("reduced");
        assert_eq!(reduce(&once, None).expect("reduced").len(), once.len());
    }

    #[test]
    fn what_is_not_btf_is_refused() {
        assert!(reduce(b"ELF", None).is_err());
        assert!(reduce(&example()[..60], None).is_err());
    }
}
