//! The kernel programs, loaded: what is there, what is missing, and what the kernel skipped. Loading is in `load`, attaching in
//! `attach`, reading and writing their maps in `maps`.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd},
};

use anyhow::Result;
use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
    programs::{perf_event::PerfEventLinkId, raw_trace_point::RawTracePointLinkId},
};
use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_prog_info};

use super::{
    function_probe::FunctionProbe,
    functions::{Attached, Functions, Ways},
    messages::Messages,
    probes::{self, Probe},
};
use crate::kernel::{btf::KernelTypes, symbols::Symbols};

/// Loaded programs with their maps.
pub struct Session {
    pub(super) ebpf: Ebpf,
    /// Mapped once: mapping it anew for each look would cost more than all else that the recorder does.
    pub(super) ring: RingBuf<MapData>,
    /// What the programs say, if they say anything.
    pub(super) messages: Option<Messages>,
    /// Attached links by program.
    pub(super) links: Vec<(&'static Probe, RawTracePointLinkId)>,
    pub(super) samplers: Vec<(&'static str, PerfEventLinkId)>,
    /// Hooked functions.
    pub(super) functions: Functions,
    /// Programs that the kernel has.
    pub(super) available: Vec<&'static Probe>,
    /// Functions that packets cross.
    pub(super) function_probes: Vec<FunctionProbe>,
    /// Programs that it lacks, with what is lost.
    pub missing: BTreeMap<String, String>,
}

impl Session {
    /// Names of the probes that can be attached.
    pub fn probe_names(&self) -> Vec<String> {
        let names = self.available.iter().map(|probe| probe.name.to_owned());
        let functions = self.function_probes.iter().filter(|function| function.seen);
        names.chain(functions.map(|function| format!("{} (kprobe)", function.probe.name))).collect()
    }

    /// How functions can be hooked here.
    pub fn function_ways(&mut self, symbols: &Symbols, types: &KernelTypes) -> Ways {
        Functions::ways(&mut self.ebpf, symbols, types)
    }

    /// Hooks all functions that can be. They stay so until the session ends or they are taken off.
    pub fn attach_functions(&mut self, symbols: &Symbols, types: &KernelTypes, ways: &Ways) -> Result<()> {
        self.functions = Functions::attach(&mut self.ebpf, symbols, types, ways)?;
        Ok(())
    }

    /// Takes the hooks off their functions; tells what was hooked, and what was not.
    pub fn detach_functions(&mut self) -> (Vec<Attached>, BTreeMap<String, String>) {
        let mut functions = std::mem::take(&mut self.functions);
        (std::mem::take(&mut functions.attached), std::mem::take(&mut functions.missing))
    }

    /// What is hooked, and what is not.
    pub fn hooked(&self) -> (Vec<Attached>, BTreeMap<String, String>) {
        (self.functions.attached.clone(), self.functions.missing.clone())
    }

    /// Tells what the programs said.
    pub(super) fn tell_messages(&mut self) {
        self.messages.iter_mut().for_each(Messages::tell);
    }

    /// The loaded object.
    pub(super) fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    /// Runs that the kernel skipped because the same program was already running on that CPU; `None` if it does not tell.
    pub fn missed_nested(&self) -> Option<u64> {
        self.misses(probes::tracepoints().map(|probe| probe.name))
    }

    /// The same of the programs at functions.
    pub fn missed_functions(&self) -> Option<u64> {
        let names = self.functions.programs();
        self.misses(names.iter().map(String::as_str))
    }

    fn misses<'a>(&self, names: impl Iterator<Item = &'a str>) -> Option<u64> {
        names
            .filter_map(|name| self.ebpf.program(name))
            .filter_map(|program| program.fd().ok())
            .map(|fd| recursion_misses(fd.as_fd()))
            .sum()
    }
}

/// `bpf_prog_info.recursion_misses` of a program; `None` if the kernel does not tell, which it does since 5.12:
/// <https://git.kernel.org/linus/9ed9e9ba2337>.
fn recursion_misses(fd: BorrowedFd<'_>) -> Option<u64> {
    // SAFETY: both are plain C structures for which all-zero is valid.
    let (mut info, mut attr): (bpf_prog_info, bpf_attr) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    attr.info.bpf_fd = fd.as_raw_fd() as u32;
    attr.info.info = &raw mut info as u64;
    attr.info.info_len = size_of::<bpf_prog_info>() as u32;
    // SAFETY: `attr` names a buffer of the length that it tells, which outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &raw mut attr, size_of::<bpf_attr>()) };
    // SAFETY: the call was about `info`; the kernel has put there how much of it it knows.
    let known = unsafe { attr.info.info_len } as usize;
    let needed = std::mem::offset_of!(bpf_prog_info, recursion_misses) + size_of::<u64>();
    (result == 0 && known >= needed).then_some(info.recursion_misses)
}
