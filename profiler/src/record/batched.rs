//! Reading and removing many entries of a map with one system call, which aya does one by one: a walk through the programs' tables
//! is seventeen thousand calls else, most of what ending a recording took.
//!
//! The kernel has this since 5.6, for arrays and for hash maps:
//! <https://elixir.bootlin.com/linux/v5.10.223/source/kernel/bpf/hashtab.c#L1371>.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use aya::Pod;
use aya_obj::generated::{bpf_attr, bpf_cmd};

/// Bytes of what one call reads at most, about.
const AT_ONCE: usize = 256 << 10;
/// Entries of one call at least: more than a list of a hash map has, which is read as a whole, most of the time; and at most.
const ENTRIES: [usize; 2] = [64, 1 << 16];
/// Words of a place in a map: the kernel puts an index there, or a key of a map whose keys are not larger.
const PLACE: usize = 8;

/// One call; how many entries it was about.
fn call(command: bpf_cmd, attr: &mut bpf_attr) -> (u32, io::Result<()>) {
    // SAFETY: the buffers that `attr` names are as large as it tells, and outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<bpf_attr>()) };
    let error = io::Error::last_os_error();
    // SAFETY: the call was about a batch.
    (unsafe { attr.batch.count }, if result == 0 { Ok(()) } else { Err(error) })
}

/// Calls `seen` with each entry, once: a list of a hash map is read as a whole, and entries stay in theirs. Of those that come or go
/// meanwhile some are missed.
pub(super) fn read<K: Pod, V: Pod>(map: BorrowedFd<'_>, mut seen: impl FnMut(&K, &V)) -> io::Result<()> {
    let mut room = (AT_ONCE / size_of::<(K, V)>()).clamp(ENTRIES[0], ENTRIES[1]);
    let (mut keys, mut values) = (Vec::<K>::new(), Vec::<V>::new());
    let (mut place, mut next) = ([0u64; PLACE], [0u64; PLACE]);
    let mut begun = false;
    loop {
        keys.clear();
        values.clear();
        keys.reserve(room);
        values.reserve(room);
        // SAFETY: made of integers only, for which all-zero is valid.
        let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
        attr.batch.in_batch = if begun { place.as_mut_ptr() as u64 } else { 0 };
        attr.batch.out_batch = next.as_mut_ptr() as u64;
        attr.batch.keys = keys.as_mut_ptr() as u64;
        attr.batch.values = values.as_mut_ptr() as u64;
        attr.batch.count = room as u32;
        attr.batch.map_fd = map.as_raw_fd() as u32;
        let (count, result) = call(bpf_cmd::BPF_MAP_LOOKUP_BATCH, &mut attr);
        let done = match result {
            Ok(()) => false,
            Err(error) => match error.raw_os_error() {
                // There are no more; those before the end were read.
                Some(libc::ENOENT) => true,
                Some(libc::ENOSPC) if room < ENTRIES[1] => {
                    room *= 2;
                    continue;
                }
                _ => return Err(error),
            },
        };
        let count = (count as usize).min(room);
        // SAFETY: both have room for as many, and the kernel has filled them.
        unsafe {
            keys.set_len(count);
            values.set_len(count);
        }
        keys.iter().zip(&values).for_each(|(key, value)| seen(key, value));
        if done {
            return Ok(());
        }
        (place, begun) = (next, true);
    }
}

/// Removes entries. That one is gone already is no error.
pub(super) fn remove<K: Pod>(map: BorrowedFd<'_>, keys: &[K]) -> io::Result<()> {
    let mut left = keys;
    while !left.is_empty() {
        // SAFETY: made of integers only, for which all-zero is valid.
        let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
        attr.batch.keys = left.as_ptr() as u64;
        attr.batch.count = left.len() as u32;
        attr.batch.map_fd = map.as_raw_fd() as u32;
        let (count, result) = call(bpf_cmd::BPF_MAP_DELETE_BATCH, &mut attr);
        let count = (count as usize).min(left.len());
        match result {
            Ok(()) => return Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                left = left.get(count + 1..).unwrap_or_default()
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
