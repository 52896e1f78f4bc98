//! The compiled object, and a program of it that is to be of a kind.

use anyhow::{Context as _, Result};
use aya::{
    Ebpf,
    programs::{Program, ProgramError},
};

/// The compiled programs.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/netstrata-ebpf"));

/// The program of this name.
pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut Program, Error = ProgramError>,
{
    Ok(ebpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?)
}
