//! The probe of a function that packets cross: loaded and attached only while the function is there.

use aya::{
    Ebpf,
    programs::{KProbe, ProgramError, kprobe::KProbeLinkId},
};

use super::{probes::Probe, refusal::Refusal};

/// The probe of a function that packets cross.
pub(super) struct FunctionProbe {
    pub probe: &'static Probe,
    /// Its program has been verified, which takes time that nobody should pay for an unused module.
    loaded: bool,
    /// While it is attached.
    pub link: Option<KProbeLinkId>,
    /// It is not attached with the others.
    pub left_out: bool,
    /// It was attached once.
    pub seen: bool,
}

impl FunctionProbe {
    pub fn of(probe: &'static Probe) -> Self {
        Self { probe, loaded: false, link: None, left_out: false, seen: false }
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
        }
        Ok(there)
    }

    /// Attaches it, if the function is there.
    pub fn attach(&mut self, ebpf: &mut Ebpf) -> Result<(), ProgramError> {
        if self.load(ebpf)? {
            let link = self.program(ebpf)?.attach(self.probe.name, 0)?;
            (self.link, self.seen) = (Some(link), true);
        }
        Ok(())
    }

    fn program<'a>(&self, ebpf: &'a mut Ebpf) -> Result<&'a mut KProbe, ProgramError> {
        ebpf.program_mut(self.probe.name).ok_or(ProgramError::NotLoaded)?.try_into()
    }
}
