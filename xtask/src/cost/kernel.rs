//! What the kernel knows of loaded programs, and attaching one that another process has loaded.
//!
//! Plain system calls: of the programs that print this, few know the steps of the verifier.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// Commands of bpf(2): <https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/bpf.h#L938>
const PROG_LOAD: libc::c_long = 5;
const PROG_GET_NEXT_ID: libc::c_long = 11;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const RAW_TRACEPOINT_OPEN: libc::c_long = 17;
/// `BPF_PROG_TYPE_RAW_TRACEPOINT`.
const TYPE_RAW_TRACEPOINT: u64 = 17;
/// `mov r0, 0` and `exit`.
const NOTHING: [u64; 2] = [0xb7, 0x95];
/// `PERF_EVENT_IOC_SET_BPF`.
const SET_BPF: libc::c_ulong = 0x4004_2408;
/// Where statistics of programs are switched on and off.
const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// Longest name of a program that the kernel keeps.
pub const NAME: usize = 15;

/// `struct bpf_prog_info`, as far as it is read. An older kernel leaves what it does not know 0.
/// <https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/bpf.h#L6533>
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Info {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_bytes: u32,
    translated_bytes: u32,
    code: [u64; 2],
    load_time: u64,
    user: u32,
    maps: u32,
    map_ids: u64,
    name: [u8; 16],
    device: [u32; 2],
    netns: [u64; 2],
    symbols: [u32; 2],
    symbol_buffers: [u64; 2],
    btf: u32,
    function_size: u32,
    functions: u64,
    counts: [u32; 2],
    lines: [u64; 2],
    line_sizes: [u32; 3],
    tags: u32,
    tag_buffer: u64,
    run_ns: u64,
    runs: u64,
    missed: u64,
    verified: u32,
    attached: [u32; 3],
}

/// A loaded program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its number, which grows from program to program.
    pub id: u32,
    /// The first [`NAME`] letters of its name.
    pub name: String,
    /// Time of its runs while statistics were on.
    pub run_ns: u64,
    /// Runs meanwhile.
    pub runs: u64,
    /// Instructions that the verifier went through; 0 before 5.16, which does not tell.
    pub verified: u32,
    /// Its size in the kernel's form.
    pub bytes: u32,
}

impl Program {
    /// As it is passed on from the machine.
    pub fn to_json(&self) -> Value {
        let Self { id, name, run_ns, runs, verified, bytes } = self;
        json!({"id": id, "name": name, "run_ns": run_ns, "runs": runs, "verified": verified, "bytes": bytes})
    }

    /// The reverse.
    pub fn from_json(value: &Value) -> Result<Self> {
        let number = |key: &str| value[key].as_u64().with_context(|| format!("a program without `{key}`"));
        Ok(Self {
            id: u32::try_from(number("id")?)?,
            name: value["name"].as_str().context("a program without a name")?.to_owned(),
            run_ns: number("run_ns")?,
            runs: number("runs")?,
            verified: u32::try_from(number("verified")?)?,
            bytes: u32::try_from(number("bytes")?)?,
        })
    }
}

/// Calls bpf(2). What the attributes point to must outlive the call.
fn bpf(command: libc::c_long, attributes: &mut [u64; 16]) -> io::Result<libc::c_int> {
    // SAFETY: the attributes are a buffer of the size that is told, longer than any kernel's of those that are called; each
    // caller puts pointers there only to what it holds.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_mut_ptr(), size_of_val(attributes)) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}

fn descriptor(command: libc::c_long, attributes: &mut [u64; 16]) -> io::Result<OwnedFd> {
    // SAFETY: the commands that come here give a new descriptor, which nobody else owns.
    bpf(command, attributes).map(|number| unsafe { OwnedFd::from_raw_fd(number) })
}

/// Switches statistics of programs on or off.
pub fn statistics(on: bool) -> Result<()> {
    std::fs::write(STATISTICS, if on { "1" } else { "0" }).with_context(|| format!("cannot write {STATISTICS}"))
}

/// All loaded programs.
pub fn programs() -> Result<Vec<Program>> {
    let mut found = Vec::new();
    let mut attributes = [0; 16];
    loop {
        match bpf(PROG_GET_NEXT_ID, &mut attributes) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(found),
            result => result.context("the kernel does not list its programs")?,
        };
        let next = attributes[0] >> 32;
        attributes = [next, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        // One that has gone meanwhile.
        let Ok(program) = open(next) else { continue };
        found.push(about(&program)?);
    }
}

fn open(id: u64) -> io::Result<OwnedFd> {
    let mut attributes = [0; 16];
    attributes[0] = id;
    descriptor(PROG_GET_FD_BY_ID, &mut attributes)
}

fn about(program: &OwnedFd) -> Result<Program> {
    let mut info = Info::default();
    let mut attributes = [0; 16];
    attributes[0] = program.as_raw_fd() as u64 | (size_of::<Info>() as u64) << 32;
    attributes[1] = (&raw mut info).expose_provenance() as u64;
    bpf(OBJ_GET_INFO_BY_FD, &mut attributes).context("the kernel tells nothing of a program")?;
    let name = CStr::from_bytes_until_nul(&info.name).unwrap_or_default().to_string_lossy().into_owned();
    let Info { id, run_ns, runs, verified, translated_bytes: bytes, .. } = info;
    Ok(Program { id, name, run_ns, runs, verified, bytes })
}

/// Loads a program that does nothing and attaches it to a tracepoint: what its runs take is what statistics take.
pub fn attach_nothing(tracepoint: &CStr) -> Result<[OwnedFd; 2]> {
    let mut attributes = [0; 16];
    attributes[0] = TYPE_RAW_TRACEPOINT | (NOTHING.len() as u64) << 32;
    attributes[1] = NOTHING.as_ptr().expose_provenance() as u64;
    attributes[2] = c"GPL".as_ptr().expose_provenance() as u64;
    let program = descriptor(PROG_LOAD, &mut attributes).context("cannot load a program that does nothing")?;
    let link = attach(&program, tracepoint)?.context("a new program is attached already")?;
    Ok([program, link])
}

/// Attaches a program that another process has loaded to its tracepoint; `None` if it is attached there.
pub fn attach_to_tracepoint(id: u32, tracepoint: &CStr) -> Result<Option<OwnedFd>> {
    attach(&open(id.into())?, tracepoint)
}

fn attach(program: &OwnedFd, tracepoint: &CStr) -> Result<Option<OwnedFd>> {
    let mut attributes = [0; 16];
    attributes[0] = tracepoint.as_ptr().expose_provenance() as u64;
    attributes[1] = program.as_raw_fd() as u64;
    match descriptor(RAW_TRACEPOINT_OPEN, &mut attributes) {
        Ok(link) => Ok(Some(link)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => {
            Err(error).with_context(|| format!("cannot attach a program to {}", tracepoint.to_string_lossy()))
        }
    }
}

/// Attaches a program that another process has loaded to a clock of the first CPU.
pub fn attach_to_clock(id: u32, period_ns: u64) -> Result<OwnedFd> {
    let program = open(id.into())?;
    // `struct perf_event_attr` in its first version: PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK.
    // https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/perf_event.h#L379
    let mut attributes = [0u64; 8];
    attributes[0] = 1 | (size_of_val(&attributes) as u64) << 32;
    attributes[2] = period_ns;
    let (every_task, first_cpu, no_group, no_flags) = (-1, 0, -1, 0u64);
    // SAFETY: the attributes are a buffer of the size that they tell.
    let event = unsafe {
        libc::syscall(libc::SYS_perf_event_open, &raw const attributes, every_task, first_cpu, no_group, no_flags)
    };
    anyhow::ensure!(event >= 0, "no clock to sample with: {}", io::Error::last_os_error());
    // SAFETY: the call gave a new descriptor, which nobody else owns.
    let event = unsafe { OwnedFd::from_raw_fd(event as libc::c_int) };
    // SAFETY: two descriptors, and no memory.
    let result = unsafe { libc::ioctl(event.as_raw_fd(), SET_BPF, program.as_raw_fd()) };
    anyhow::ensure!(result == 0, "cannot attach a program to a clock: {}", io::Error::last_os_error());
    Ok(event)
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn what_is_read_lies_where_the_kernel_puts_it() {
        // From `pahole -C bpf_prog_info vmlinux` of 6.12.
        let offsets = [
            offset_of!(Info, translated_bytes),
            offset_of!(Info, name),
            offset_of!(Info, run_ns),
            offset_of!(Info, runs),
            offset_of!(Info, verified),
            size_of::<Info>(),
        ];
        assert_eq!(offsets, [20, 64, 192, 200, 216, 232]);
    }

    #[test]
    fn a_program_survives_its_passage() {
        let program =
            Program { id: 7, name: "net_dev_queue".into(), run_ns: 1 << 40, runs: 9, verified: 350, bytes: 4096 };
        assert_eq!(Program::from_json(&program.to_json()).expect("a program"), program);
        assert!(Program::from_json(&json!({"id": 1})).is_err());
    }
}
