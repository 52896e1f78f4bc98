//! Offsets and tracepoints from the kernel's type information (BTF).
//!
//! The programs are built once and read kernel structures at offsets that are looked up here when they are loaded. The
//! offsets are checked against a device that is known before any figure is believed (`record::calibrate`).

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use btf_rs::{Btf, BtfType, Type};
use netstrata_common::Offsets;

use crate::failure::Failure;

/// Where the running kernel keeps its BTF.
pub const RUNNING: &str = "/sys/kernel/btf/vmlinux";

/// Type information of a kernel.
pub struct KernelTypes {
    btf: Btf,
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
        // Read at once: the library reads a file in many small pieces.
        let bytes = std::fs::read(RUNNING).map_err(|error| refused(&error))?;
        let btf = Btf::from_bytes(&bytes).map_err(|error| refused(&error))?;
        Ok(Self { btf, modules: Modules::Loaded })
    }

    /// Of a recorded kernel.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Ok(Self {
            btf: Btf::from_bytes(bytes).context("this is not BTF")?,
            modules: Modules::Recorded(BTreeMap::new()),
        })
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
        let candidates = self
            .btf
            .resolve_types_by_name(structure)
            .with_context(|| format!("the kernel has no `struct {structure}`"))?;
        let found = candidates.into_iter().find_map(|candidate| {
            let mut offset = 0;
            let mut current = candidate;
            for field in path.split('.') {
                let (bits, member) = self.member(&current, field)?;
                offset += bits;
                current = member;
            }
            (offset % 8 == 0).then_some(offset / 8)
        });
        found.with_context(|| format!("`struct {structure}` of this kernel has no field `{path}`"))
    }

    /// Bit offset and type of a member, looked for in anonymous structures and unions too.
    fn member(&self, structure: &Type, field: &str) -> Option<(u32, Type)> {
        let (Type::Struct(structure) | Type::Union(structure)) = structure else { return None };
        structure.members.iter().find_map(|member| {
            let name = self.btf.resolve_name(member).unwrap_or_default();
            let inner = self.strip(self.btf.resolve_chained_type(member).ok()?);
            if name == field {
                Some((member.bit_offset(), inner))
            } else if name.is_empty() {
                self.member(&inner, field).map(|(offset, found)| (member.bit_offset() + offset, found))
            } else {
                None
            }
        })
    }

    /// The type behind typedefs and qualifiers.
    fn strip(&self, mut current: Type) -> Type {
        loop {
            let next = match &current {
                Type::Typedef(inner) => self.btf.resolve_chained_type(inner),
                Type::Const(inner) | Type::Volatile(inner) | Type::Restrict(inner) => {
                    self.btf.resolve_chained_type(inner)
                }
                _ => return current,
            };
            match next {
                Ok(next) => current = next,
                Err(_) => return current,
            }
        }
    }

    /// Types of a module, if it is loaded and tells them.
    fn module(&self, name: &str) -> Option<Self> {
        match &self.modules {
            Modules::Loaded => {
                let btf = Btf::from_split_file(format!("/sys/kernel/btf/{name}"), &self.btf).ok()?;
                Some(Self { btf, modules: Modules::Loaded })
            }
            Modules::Recorded(recorded) => Self::from_bytes(recorded.get(name)?).ok(),
        }
    }

    /// Number of arguments that a raw tracepoint passes, or `None` if the kernel has no such tracepoint.
    pub fn tracepoint_arguments(&self, name: &str) -> Option<usize> {
        let types = self.btf.resolve_types_by_name(&format!("btf_trace_{name}")).ok()?;
        types.into_iter().find_map(|typedef| {
            let Type::Typedef(typedef) = typedef else { return None };
            let Type::Ptr(pointer) = self.btf.resolve_chained_type(&typedef).ok()? else { return None };
            let Type::FuncProto(prototype) = self.btf.resolve_chained_type(&pointer).ok()? else { return None };
            // The first parameter is the tracepoint's private data.
            Some(prototype.parameters.len().saturating_sub(1))
        })
    }

    /// Number of arguments of a function of the kernel itself, or `None` if the types do not describe it.
    pub fn function_arguments(&self, name: &str) -> Option<usize> {
        let types = self.btf.resolve_types_by_name(name).ok()?;
        types.into_iter().find_map(|function| {
            let Type::Func(function) = function else { return None };
            let Type::FuncProto(prototype) = self.btf.resolve_chained_type(&function).ok()? else { return None };
            Some(prototype.parameters.len())
        })
    }

    /// Names of the reasons for which packets are dropped, by number.
    pub fn drop_reasons(&self) -> Vec<(u32, String)> {
        let Ok(types) = self.btf.resolve_types_by_name("skb_drop_reason") else { return Vec::new() };
        let mut reasons = Vec::new();
        for kind in types {
            if let Type::Enum(list) = kind {
                for member in &list.members {
                    let name = self.btf.resolve_name(member as &dyn BtfType).unwrap_or_default();
                    let short = name.trim_start_matches("SKB_DROP_REASON_").trim_start_matches("SKB_").to_owned();
                    reasons.push((member.val(), short));
                }
            }
        }
        reasons
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
