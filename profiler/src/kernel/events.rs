//! Events of the kernel's performance counters (`perf_event_open`).

use std::{
    fs,
    io::{Error, Result},
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use aya_obj::generated::{PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_SET_BPF, perf_event_attr};

/// <https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/perf_event.h#L1333>
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;
/// The number of kprobes among events, where they can be opened as such: since 4.17.
const KPROBES: &str = "/sys/bus/event_source/devices/kprobe/type";

/// An event that is not described yet.
pub fn event(kind: u32) -> perf_event_attr {
    // SAFETY: a plain C structure for which all-zero is valid.
    let mut attributes: perf_event_attr = unsafe { std::mem::zeroed() };
    attributes.type_ = kind;
    attributes.size = size_of::<perf_event_attr>() as u32;
    attributes
}

/// Opens an event of all tasks on a CPU.
///
/// # Errors
/// What the kernel says.
pub fn open(attributes: &perf_event_attr, cpu: u32) -> Result<OwnedFd> {
    // SAFETY: the structure tells its own size and outlives the call.
    let descriptor = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            std::ptr::from_ref(attributes),
            -1 as libc::pid_t,
            cpu as libc::c_int,
            -1 as libc::c_int,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    match i32::try_from(descriptor) {
        // SAFETY: the descriptor was just opened and nobody else has it.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(Error::last_os_error()),
    }
}

/// Attaches a kprobe's program at an address of the kernel, for as long as what is returned lives. By name the kernel looks through
/// all of its symbols each time: tens of milliseconds on an emulated processor.
///
/// # Errors
/// What the kernel says: it has no kprobes, or does not allow one there.
pub fn attach_at(address: u64, program: BorrowedFd<'_>) -> Result<OwnedFd> {
    let mut attributes = event(fs::read_to_string(KPROBES)?.trim().parse().map_err(Error::other)?);
    // No name, which would be `config1`.
    attributes.__bindgen_anon_4.config2 = address;
    // The program runs on all CPUs, whichever the event is opened for.
    let event = open(&attributes, 0)?;
    for (request, argument) in [(PERF_EVENT_IOC_SET_BPF, program.as_raw_fd()), (PERF_EVENT_IOC_ENABLE, 0)] {
        // SAFETY: both requests take an integer; the descriptors are open.
        if unsafe { libc::ioctl(event.as_raw_fd(), libc::c_ulong::from(request), argument) } < 0 {
            return Err(Error::last_os_error());
        }
    }
    Ok(event)
}
