//! What is told about a container, and whether it still holds.

use std::fs;

use crate::topology::process::{numbers_are_the_kernels, started};

/// What is told about a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub name: String,
    pub engine: &'static str,
    /// Its first process, 0 if unknown.
    pub pid: u32,
    /// When that was started, in clock ticks since the boot, where it is told.
    pub started: Option<u64>,
}

impl Known {
    /// Whether its first process is the one that has its number now: files may outlast a container.
    pub fn is_alive(&self) -> bool {
        self.pid != 0 && self.started.is_none_or(|ticks| started(self.pid) == Some(ticks))
    }

    /// The same of what files tell, where numbers of processes may be those of another process namespace.
    pub fn is_here(&self) -> bool {
        let mount = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
        let own = mount(&self.pid.to_string());
        let is_apart = own.is_some() && own != mount("1") && own != mount("self");
        is_apart && (self.started.is_some() || numbers_are_the_kernels()) && self.is_alive()
    }
}

/// As engines shorten ids.
const SHORT: usize = 12;

/// What an id is called where nothing has a name.
pub(super) fn short(id: &str) -> String {
    let is_made = id.len() > SHORT && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_made { id[..SHORT].to_owned() } else { id.to_owned() }
}
