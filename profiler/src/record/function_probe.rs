//! The probe of a function that packets cross: loaded and attached only while the function is there.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::{
    Ebpf,
    programs::{KProbe, ProgramError, kprobe::KProbeLinkId},
};

use super::{
    probes::{At, Probe},
    refusal::Refusal,
};
use crate::kernel::{events, symbols};

/// Behind the place at a function's beginning that ftrace patches, where its arguments are still where they were: with `endbr64`, which
/// takes 4 bytes, and without. A probe at that place itself is ftrace's, which looks at each of the kernel's functions when one comes or
/// goes: 9 million instructions on 6.1, and 27 million to take it off. Where an instruction does not begin the kernel refuses.
const BEHIND: &[u64] = if cfg!(target_arch = "x86_64") { &[5, 9, 0] } else { &[0] };

/// What keeps it attached.
pub(super) enum Link {
    /// By the function's address, until it is dropped.
    Address(#[expect(dead_code, reason = "kept for being dropped")] OwnedFd),
    /// By its name.
    Name(KProbeLinkId),
}

/// The probe of a function that packets cross.
pub(super) struct FunctionProbe {
    pub probe: &'static Probe,
    /// Its program has been verified, which takes time that nobody should pay for an unused module.
    loaded: bool,
    /// While it is attached.
    pub link: Option<Link>,
    /// Where the function is, if it is one of the kernel itself: those of modules move.
    address: Option<u64>,
    /// It is not attached with the others.
    pub left_out: bool,
    /// It was attached once.
    pub seen: bool,
}

impl FunctionProbe {
    pub fn of(probe: &'static Probe) -> Self {
        Self { probe, loaded: false, link: None, address: None, left_out: false, seen: false }
    }

    /// What is said where it cannot be used.
    pub fn missing(probe: &Probe, error: ProgramError) -> String {
        format!("{}; lost: {}", Refusal::of_program(probe.name, error), probe.lost)
    }

    /// Loads the program if the function is there, which it tells.
    pub fn load(&mut self, ebpf: &mut Ebpf) -> Result<bool, ProgramError> {
        let there = self.probe.is_loaded();
        if there && !self.loaded {
            self.program(ebpf)?.load()?;
            self.loaded = true;
            let own = matches!(self.probe.at, At::Function { module: None, .. });
            self.address = own.then(|| symbols::address_of(self.probe.name)).flatten();
        }
        Ok(there)
    }

    /// Attaches it, if the function is there.
    pub fn attach(&mut self, ebpf: &mut Ebpf) -> Result<(), ProgramError> {
        if self.load(ebpf)? {
            let (name, address) = (self.probe.name, self.address);
            let program = self.program(ebpf)?;
            let descriptor = program.fd()?.as_fd();
            let try_at = |behind: &u64| {
                let tried = address.map(|address| events::attach_at(address + behind, descriptor))?;
                tried.inspect_err(|error| log::debug!("{name}+{behind}: {error}")).ok()
            };
            let link = match BEHIND.iter().find_map(try_at) {
                Some(event) => Link::Address(event),
                None => Link::Name(self.program(ebpf)?.attach(name, 0)?),
            };
            (self.link, self.seen) = (Some(link), true);
        }
        Ok(())
    }

    /// Takes it off.
    pub fn detach(&mut self, ebpf: &mut Ebpf) -> Result<(), ProgramError> {
        match self.link.take() {
            Some(Link::Name(link)) => self.program(ebpf)?.detach(link),
            Some(Link::Address(_)) | None => Ok(()),
        }
    }

    fn program<'a>(&self, ebpf: &'a mut Ebpf) -> Result<&'a mut KProbe, ProgramError> {
        ebpf.program_mut(self.probe.name).ok_or(ProgramError::NotLoaded)?.try_into()
    }
}
