//! Attaching and detaching: programs at tracepoints and at functions, and the samplers of CPUs.

use std::{
    io::ErrorKind,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use aya::programs::{
    PerfEvent, ProgramError, RawTracePoint,
    perf_event::{HardwareEvent, PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent},
    raw_trace_point::RawTracePointLinkId,
};

use super::{
    function_probe::FunctionProbe,
    object::program,
    probes::{BURST, Group, READY_FUNCTION, SAMPLER},
    refusal::Refusal,
    session::Session,
};

impl Session {
    /// Whether the function that stands for the tracepoint of ready sockets is not attached with the others; false if none
    /// does.
    pub fn leave_ready_function_out(&mut self, out: bool) -> bool {
        let ready = self.function_probes.iter_mut().find(|function| function.probe.name == READY_FUNCTION);
        ready.map(|function| function.left_out = out).is_some()
    }

    /// Attaches a group.
    pub fn attach(&mut self, group: Group) -> Result<()> {
        let (begun, others) = (Instant::now(), self.links.len());
        if group == Group::Journey {
            self.attach_functions_of_journeys();
        }
        for probe in self.available.iter().filter(|probe| probe.group == group) {
            let program: &mut RawTracePoint = program(&mut self.ebpf, probe.name)?;
            let point = probe.tracepoint().unwrap_or(probe.name);
            let link = attach_to(program, point).map_err(|error| Refusal::of_program(probe.name, error))?;
            self.links.push((probe, link));
        }
        log::debug!("{group:?}: {} programs attached in {:?}", self.links.len() - others, begun.elapsed());
        Ok(())
    }

    /// Attaches one probe that was detached alone.
    pub fn attach_probe(&mut self, name: &str) -> Result<()> {
        for probe in self.available.iter().filter(|probe| probe.name == name) {
            let program: &mut RawTracePoint = program(&mut self.ebpf, probe.name)?;
            let link = attach_to(program, probe.tracepoint().unwrap_or(probe.name))
                .map_err(|error| Refusal::of_program(probe.name, error))?;
            self.links.push((probe, link));
        }
        Ok(())
    }

    /// Detaches one probe; false if it is not attached.
    pub fn detach_probe(&mut self, name: &str) -> Result<bool> {
        let Some(at) = self.links.iter().position(|(probe, _)| probe.name == name) else { return Ok(false) };
        let (probe, link) = self.links.swap_remove(at);
        let program: &mut RawTracePoint = program(&mut self.ebpf, probe.name)?;
        program.detach(link).with_context(|| format!("cannot detach {name}"))?;
        Ok(true)
    }

    /// One that cannot be attached costs what is seen there, not the recording.
    fn attach_functions_of_journeys(&mut self) {
        let Self { ebpf, function_probes, missing, .. } = self;
        function_probes.retain_mut(|function| {
            if function.left_out {
                return true;
            }
            let attached = function.attach(ebpf);
            let (probe, fine) = (function.probe, attached.is_ok());
            if let Err(error) = attached {
                missing.insert(probe.key().to_owned(), FunctionProbe::missing(probe, error));
            }
            fine
        });
    }

    /// Detaches a group, starts of journeys first.
    pub fn detach(&mut self, group: Group) -> Result<()> {
        let begun = Instant::now();
        let (going, staying): (Vec<_>, _) =
            std::mem::take(&mut self.links).into_iter().partition(|(probe, _)| probe.group == group);
        self.links = staying;
        for (probe, link) in going.into_iter().rev() {
            let program: &mut RawTracePoint = program(&mut self.ebpf, probe.name)?;
            program.detach(link).with_context(|| format!("cannot detach {}", probe.name))?;
        }
        for function in self.function_probes.iter_mut().filter(|_| group == Group::Journey).rev() {
            function.detach(&mut self.ebpf).with_context(|| format!("cannot detach {}", function.probe.name))?;
        }
        log::debug!("{group:?}: detached in {:?}", begun.elapsed());
        Ok(())
    }

    /// Starts sampling every CPU. Returns what is counted: "cycles" or "cpu-clock".
    pub fn attach_sampler(&mut self, frequency: u64, cpus: &[u32]) -> Result<&'static str> {
        let hardware = PerfEventConfig::Hardware(HardwareEvent::CpuCycles);
        match self.attach_sampler_of(SAMPLER, hardware, SamplePolicy::Frequency(frequency), cpus) {
            Ok(()) => Ok("cycles"),
            // Most virtual machines have no counters.
            Err(error) => {
                log::trace!("CPU cycles cannot be counted: {error:#}");
                self.detach_samplers(SAMPLER)?;
                self.attach_clock(SAMPLER, frequency, cpus)?;
                Ok("cpu-clock")
            }
        }
    }

    /// Starts a burst of samples on every CPU.
    pub fn attach_burst(&mut self, frequency: u64, cpus: &[u32]) -> Result<()> {
        self.attach_clock(BURST, frequency, cpus)
    }

    /// A fixed period: the kernel's own adaptation to a frequency starts far off and takes its time.
    fn attach_clock(&mut self, name: &'static str, frequency: u64, cpus: &[u32]) -> Result<()> {
        let clock = PerfEventConfig::Software(SoftwareEvent::CpuClock);
        self.attach_sampler_of(name, clock, SamplePolicy::Period(1_000_000_000 / frequency), cpus)
    }

    fn attach_sampler_of(
        &mut self,
        name: &'static str,
        event: PerfEventConfig,
        policy: SamplePolicy,
        cpus: &[u32],
    ) -> Result<()> {
        for &cpu in cpus {
            let program: &mut PerfEvent = program(&mut self.ebpf, name)?;
            let link = program
                .attach(event, PerfEventScope::AllProcessesOneCpu { cpu }, policy, false)
                .map_err(|error| Refusal::of_program(name, error))?;
            self.samplers.push((name, link));
        }
        Ok(())
    }

    /// Stops sampling.
    pub fn detach_sampler(&mut self) -> Result<()> {
        self.detach_samplers(SAMPLER)
    }

    /// Ends a burst.
    pub fn detach_burst(&mut self) -> Result<()> {
        self.detach_samplers(BURST)
    }

    fn detach_samplers(&mut self, name: &'static str) -> Result<()> {
        let (going, staying): (Vec<_>, _) =
            std::mem::take(&mut self.samplers).into_iter().partition(|link| link.0 == name);
        self.samplers = staying;
        for (_, link) in going {
            let program: &mut PerfEvent = program(&mut self.ebpf, name)?;
            program.detach(link).context("cannot detach the sampler")?;
        }
        Ok(())
    }
}

/// Attaches a program that may have been detached just before. A process that was forked meanwhile holds copies of the
/// attachments until it runs its own program; until then the kernel says that they exist.
fn attach_to(program: &mut RawTracePoint, point: &str) -> Result<RawTracePointLinkId, ProgramError> {
    const PATIENCE: Duration = Duration::from_secs(2);
    let begin = Instant::now();
    loop {
        match program.attach(point) {
            Err(ProgramError::SyscallError(error))
                if error.io_error.kind() == ErrorKind::AlreadyExists && begin.elapsed() < PATIENCE =>
            {
                // Nothing tells when that process has got so far: it is a matter of microseconds, and never of the recorder's
                // own commands, whose start waits until they run.
                std::thread::sleep(Duration::from_millis(1));
            }
            result => return result,
        }
    }
}
