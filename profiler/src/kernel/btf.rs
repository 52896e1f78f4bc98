//! Offsets and tracepoints from the kernel's type information (BTF).
//!
//! The programs are built once and read kernel structures at offsets that are looked up here when they are loaded. The
//! offsets are checked against a device that is known before any figure is believed (`record::session`).

use anyhow::{Context as _, Result};
use btf_rs::{Btf, BtfType, Type};
use netstrata_common::Offsets;

use crate::failure::Failure;

/// Where the running kernel keeps its BTF.
pub const RUNNING: &str = "/sys/kernel/btf/vmlinux";

/// Type information of a kernel.
pub struct KernelTypes {
    btf: Btf,
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
        Ok(Self { btf })
    }

    /// Of a recorded kernel.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Ok(Self { btf: Btf::from_bytes(bytes).context("this is not BTF")? })
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

    /// Types of a module of the running kernel, if it is loaded and tells them.
    fn module(&self, name: &str) -> Option<Self> {
        let path = format!("/sys/kernel/btf/{name}");
        Btf::from_split_file(path, &self.btf).ok().map(|btf| Self { btf })
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
        // Names of nftables' chains can be done without.
        let nft = self.module("nf_tables");
        let of_nft = |structure: &str, path: &str| {
            let types = nft.as_ref().unwrap_or(self);
            types.offset(structure, path).unwrap_or(0)
        };
        Ok(Offsets {
            nft_chain_name: of_nft("nft_chain", "name"),
            nft_chain_table: of_nft("nft_chain", "table"),
            nft_table_name: of_nft("nft_table", "name"),
            skb_dev: self.offset("sk_buff", "dev")?,
            skb_sk: self.offset("sk_buff", "sk")?,
            skb_dst: self.offset("sk_buff", "_skb_refdst")?,
            dst_dev: self.offset("dst_entry", "dev")?,
            skb_iif: self.offset("sk_buff", "skb_iif")?,
            skb_len: self.offset("sk_buff", "len")?,
            skb_head: self.offset("sk_buff", "head")?,
            skb_end: self.offset("sk_buff", "end")?,
            skb_data: self.offset("sk_buff", "data")?,
            skb_network_header: self.offset("sk_buff", "network_header")?,
            skb_transport_header: self.offset("sk_buff", "transport_header")?,
            shinfo_gso_segs: self.offset("skb_shared_info", "gso_segs")?,
            dev_ifindex: self.offset("net_device", "ifindex")?,
            dev_net: self.offset("net_device", "nd_net.net")?,
            dev_link_ops: self.offset("net_device", "rtnl_link_ops")?,
            dev_flags: self.offset("net_device", "flags")?,
            link_ops_kind: self.offset("rtnl_link_ops", "kind")?,
            net_inum: self.offset("net", "ns.inum")?,
            sk_net: self.offset("sock", "__sk_common.skc_net.net")?,
            sk_num: self.offset("sock", "__sk_common.skc_num")?,
            sk_queue_tail: self.offset("sock", "sk_receive_queue.prev")?,
            tcp_rcv_nxt: self.offset("tcp_sock", "rcv_nxt")?,
            tcp_copied_seq: self.offset("tcp_sock", "copied_seq")?,
            sk_wq: self.offset("sock", "sk_wq")?,
            wq_head: self.offset("socket_wq", "wait.head")?,
            nf_state_hook: self.offset("nf_hook_state", "hook").unwrap_or_default(),
            nf_state_pf: self.offset("nf_hook_state", "pf").unwrap_or_default(),
        })
    }
}
