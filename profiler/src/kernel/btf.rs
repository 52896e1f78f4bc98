//! Offsets and tracepoints from the kernel's type information (BTF).
//!
//! The programs are built once and read kernel structures at offsets that are looked up here when they are loaded. The
//! offsets are checked against a device that is known before any figure is believed (`record::calibrate`).

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result};
use netstrata_common::Offsets;

use super::types::{Kind, Type, Types};
use crate::failure::Failure;

/// Where the running kernel keeps its BTF.
pub const RUNNING: &str = "/sys/kernel/btf/vmlinux";

/// Type information of a kernel.
pub struct KernelTypes {
    types: Arc<Types>,
    modules: Modules,
}

/// Where the types of modules are.
enum Modules {
    /// The running kernel tells those of loaded ones.
    Loaded,
    /// By name, each with what it needs of the kernel's.
    Recorded(BTreeMap<String, Vec<u8>>),
}

impl KernelTypes {
    /// Of the running kernel.
    pub fn running() -> Result<Self> {
        let refused = |error: &dyn std::fmt::Display| {
            Failure::Refused(format!(
                "this kernel does not tell its types ({RUNNING}: {error}); boot one built with CONFIG_DEBUG_INFO_BTF=y"
            ))
        };
        // A pipe would never end.
        if std::fs::metadata(RUNNING).is_ok_and(|there| !there.is_file()) {
            return Err(refused(&"no file").into());
        }
        let bytes = std::fs::read(RUNNING).map_err(|error| refused(&error))?;
        let types = Types::new(bytes, None).map_err(|error| refused(&error))?;
        Ok(Self { types: Arc::new(types), modules: Modules::Loaded })
    }

    /// Of a recorded kernel.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let types = Types::new(bytes.to_vec(), None).context("this is not BTF")?;
        Ok(Self { types: Arc::new(types), modules: Modules::Recorded(BTreeMap::new()) })
    }

    /// The same with a module of it.
    pub fn with_module(mut self, name: &str, bytes: Vec<u8>) -> Self {
        if let Modules::Recorded(modules) = &mut self.modules {
            modules.insert(name.to_owned(), bytes);
        }
        self
    }

    /// Byte offset of a field, through anonymous members, like `sock`, `__sk_common.skc_net`.
    pub fn offset(&self, structure: &str, path: &str) -> Result<u32> {
        let candidates = self.types.named(structure);
        anyhow::ensure!(!candidates.is_empty(), "the kernel has no `struct {structure}`");
        let found = candidates.into_iter().find_map(|candidate| {
            let mut offset = 0;
            let mut current = candidate;
            for field in path.split('.') {
                let (bits, inner) = member(current, field, &mut { MOST_MEMBERS })?;
                offset = bits.checked_add(offset)?;
                current = inner;
            }
            (offset % 8 == 0).then_some(offset / 8)
        });
        found.with_context(|| format!("`struct {structure}` of this kernel has no field `{path}`"))
    }

    /// Types of a module, if it is loaded and tells them.
    fn module(&self, name: &str) -> Option<Self> {
        match &self.modules {
            Modules::Loaded => {
                let bytes = std::fs::read(format!("/sys/kernel/btf/{name}")).ok()?;
                let types = Types::new(bytes, Some(Arc::clone(&self.types))).ok()?;
                Some(Self { types: Arc::new(types), modules: Modules::Loaded })
            }
            Modules::Recorded(recorded) => Self::from_bytes(recorded.get(name)?).ok(),
        }
    }

    /// Number of arguments that a raw tracepoint passes, or `None` if the kernel has no such tracepoint.
    pub fn tracepoint_arguments(&self, name: &str) -> Option<usize> {
        let types = self.types.named(&format!("btf_trace_{name}"));
        types.into_iter().find_map(|typedef| {
            let pointer = target_of(typedef, Kind::Typedef)?;
            let prototype = target_of(pointer, Kind::Pointer)?;
            // The first parameter is the tracepoint's private data.
            (prototype.kind() == Kind::Prototype).then(|| prototype.len().saturating_sub(1))
        })
    }

    /// Number of arguments of a function of the kernel itself, or `None` if the types do not describe it.
    pub fn function_arguments(&self, name: &str) -> Option<usize> {
        self.types.named(name).into_iter().find_map(|function| {
            let prototype = target_of(function, Kind::Function)?;
            (prototype.kind() == Kind::Prototype).then(|| prototype.len())
        })
    }

    /// Names of the reasons for which packets are dropped, by number.
    pub fn drop_reasons(&self) -> Vec<(u32, String)> {
        let kinds = self.types.named("skb_drop_reason").into_iter().filter(|kind| kind.kind() == Kind::Enum);
        let values = kinds.flat_map(Type::values);
        values
            .map(|(name, value)| {
                let name = String::from_utf8_lossy(name);
                (value, name.trim_start_matches("SKB_DROP_REASON_").trim_start_matches("SKB_").to_owned())
            })
            .collect()
    }

    /// All offsets that the programs need.
    pub fn offsets(&self) -> Result<Offsets> {
        let mut modules = BTreeMap::new();
        let mut offsets = Offsets::ZERO;
        for info in Offsets::ALL {
            // Of a module that is built in the kernel itself knows the types.
            let module = info.module.and_then(|name| modules.entry(name).or_insert_with(|| self.module(name)).as_ref());
            match module.unwrap_or(self).offset(info.structure, info.path) {
                Ok(offset) => (info.set)(&mut offsets, offset),
                Err(error) if info.required => return Err(error),
                Err(_) => {}
            }
        }
        Ok(offsets)
    }
}

/// Members that are looked at for one of a name. The largest structure has some hundreds, with those within.
const MOST_MEMBERS: u32 = 1 << 16;
/// Structures without a name that are looked into on the way.
const MOST_DEPTH: u32 = 1 << 9;
/// Names and qualifiers of one type: types that name each other in a circle have no end.
const MOST_NAMES: usize = 64;

/// Bit offset and type of a member, looked for in anonymous structures and unions too; `left` is how many may be looked at.
fn member<'a>(structure: Type<'a>, field: &str, left: &mut u32) -> Option<(u32, Type<'a>)> {
    if structure.kind() != Kind::Composite {
        return None;
    }
    structure.members().find_map(|(name, of, bits)| {
        *left = left.checked_sub(1)?;
        let inner = of.map(strip);
        if name == field.as_bytes() {
            Some((bits, inner?))
        } else if name.is_empty() {
            // A structure within itself, through others, is as deep as it is wide.
            *left = left.checked_sub(MOST_MEMBERS / MOST_DEPTH)?;
            let (offset, found) = member(inner?, field, left)?;
            Some((bits.checked_add(offset)?, found))
        } else {
            None
        }
    })
}

/// The type behind typedefs and qualifiers.
fn strip(mut current: Type<'_>) -> Type<'_> {
    for _ in 0..MOST_NAMES {
        let (Kind::Typedef | Kind::Qualifier, Some(next)) = (current.kind(), current.target()) else { break };
        current = next;
    }
    current
}

/// What a type of a kind points to or names.
fn target_of(of: Type<'_>, kind: Kind) -> Option<Type<'_>> {
    if of.kind() == kind { of.target() } else { None }
}
