//! What the kernel refused: typed, so that whoever can do something about it can tell the cases apart, and said in one sentence.

use std::{
    fs::File,
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use aya::{EbpfError, maps::MapError, programs::ProgramError};
use thiserror::Error;

use super::hindrance;
use crate::kernel::privilege;

/// Why a program or its object could not be loaded or attached.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The process may not.
    #[error("{what}: {error}; it lacks {}", .lacking.join(" and "))]
    Privilege {
        /// The program, or the object.
        what: String,
        /// Capabilities that it lacks.
        lacking: Vec<&'static str>,
        /// What the kernel said.
        error: io::Error,
    },
    /// The verifier does not accept a program.
    #[error("{program}: the verifier refused it ({error}): {verdict}")]
    Verifier {
        /// The program.
        program: String,
        /// Its last words that are no statistics.
        verdict: String,
        /// All that it said.
        log: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// The kernel does not have a required tracepoint.
    #[error("this kernel has no tracepoint {name}, without which {lost} cannot be seen")]
    NoTracepoint {
        /// Its name.
        name: &'static str,
        /// What is lost without it.
        lost: &'static str,
    },
    /// What a program is to be attached to is not there.
    #[error("{program}: there is nothing of that name to attach it to: {error}")]
    NoHook {
        /// The program.
        program: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// A map cannot be made.
    #[error("map {map} cannot be made: {error}")]
    Map {
        /// Its name.
        map: String,
        /// What the kernel said.
        error: io::Error,
    },
    /// A call failed for a reason of its own.
    #[error("{program}: {call}: {error}")]
    Call {
        /// The program.
        program: String,
        /// The system call.
        call: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// The object does not fit the kernel.
    #[error("the programs do not fit this kernel: {}", one_line(.0))]
    Object(#[source] EbpfError),
    /// Anything else that is wrong with one program.
    #[error("{program}: {}", one_line(.error))]
    Program {
        /// The program.
        program: String,
        /// What is wrong.
        error: ProgramError,
    },
}

impl Refusal {
    /// Why a program was not loaded or attached.
    pub(super) fn of_program(program: &str, error: ProgramError) -> Self {
        let program = program.to_owned();
        let (call, error) = match error {
            ProgramError::LoadError { io_error, verifier_log } => {
                let log = verifier_log.to_string();
                // Not for what it says of the program.
                let other = matches!(io_error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
                if let Some(verdict) = verdict(&log).filter(|_| !other && !hindrance::is_locked_down()) {
                    return Self::Verifier { program, verdict, log, error: io_error };
                }
                ("bpf_prog_load", io_error)
            }
            ProgramError::SyscallError(error) => (error.call, error.io_error),
            ProgramError::MapError(MapError::CreateError { name, io_error }) => return Self::of_map(name, io_error),
            error => return Self::Program { program, error },
        };
        match error.kind() {
            ErrorKind::PermissionDenied if !lacking().is_empty() => {
                Self::Privilege { what: program, lacking: lacking(), error }
            }
            ErrorKind::NotFound => Self::NoHook { program, error },
            _ => Self::Call { program, call, error },
        }
    }

    /// Why the object was not loaded.
    pub(super) fn of_object(error: EbpfError) -> Self {
        match error {
            EbpfError::MapError(MapError::CreateError { name, io_error }) => Self::of_map(name, io_error),
            error => Self::Object(error),
        }
    }

    fn of_map(map: String, error: io::Error) -> Self {
        let lacking = lacking();
        if error.kind() == ErrorKind::PermissionDenied && !lacking.is_empty() {
            return Self::Privilege { what: format!("map {map}"), lacking, error };
        }
        Self::Map { map, error }
    }

    /// What the user can do about it.
    fn advice(&self) -> String {
        match self {
            Self::Privilege { lacking, .. } => format!("run as root, or with {}", lacking.join(" and ")),
            Self::Map { error, .. } if error.kind() == ErrorKind::OutOfMemory => {
                "maps take some tens of megabytes: free memory, or raise the limit of this control group".into()
            }
            _ => hindrance::advice().unwrap_or_else(|| "run `netstrata doctor` for what this kernel allows".into()),
        }
    }

    /// All that a user is told, in a sentence. A verifier's log goes into a file in `directory`, and the sentence tells which.
    pub fn sentence(&self, directory: &Path) -> String {
        let kept = match self {
            Self::NoTracepoint { .. } => return self.to_string(),
            Self::Verifier { program, log, .. } => match keep_log(directory, program, log) {
                Ok(path) => format!("; its whole log is in {}", path.display()),
                Err(error) => format!("; its whole log could not be kept: {error}"),
            },
            _ => String::new(),
        };
        format!("the kernel refused a program ({self}){kept}; {}", self.advice())
    }
}

fn lacking() -> Vec<&'static str> {
    privilege::missing_required(privilege::effective())
}

/// The last line of a verifier's log that is not about its own work; `None` if there is none: then it was not the verifier.
fn verdict(log: &str) -> Option<String> {
    const STATISTICS: [&str; 4] = ["processed ", "verification time", "stack depth", "peak_states"];
    let said = |line: &&str| !line.is_empty() && !STATISTICS.iter().any(|words| line.starts_with(words));
    log.lines().rev().map(str::trim).find(said).map(str::to_owned)
}

/// Writes a verifier's log into a new file; only its owner may read it, because it tells addresses of the kernel.
fn keep_log(directory: &Path, program: &str, log: &str) -> io::Result<PathBuf> {
    const MOST: u32 = 100;
    for number in 1..=MOST {
        let path = directory.join(format!("netstrata-{program}-{number}.verifier.log"));
        match File::options().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => return file.write_all(log.as_bytes()).map(|()| path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// An error with its causes in one line, each said once.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut current = Some(error);
    while let Some(error) = current {
        let part = error.to_string();
        if !text.contains(&part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&part);
        }
        current = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use aya_obj::VerifierLog;

    use super::*;

    const LOG: &str = "0: R1=ctx()\n5: (79) r1 = *(u64 *)(r2 +8)\nR2 invalid mem access 'scalar'\n\
                       processed 6 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0\n";

    fn refused(log: &str, number: i32) -> Refusal {
        let error = io::Error::from_raw_os_error(number);
        Refusal::of_program(
            "netif_rx",
            ProgramError::LoadError { io_error: error, verifier_log: VerifierLog::new(log.into()) },
        )
    }

    #[test]
    fn a_verifiers_verdict_is_said_and_its_log_is_kept_for_the_owner_only() {
        let directory = std::env::temp_dir().join(format!("netstrata-refusal-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let refusal = refused(LOG, libc::EACCES);
        for number in 1..=2 {
            let path = directory.join(format!("netstrata-netif_rx-{number}.verifier.log"));
            let sentence = refusal.sentence(&directory);
            assert!(sentence.contains("R2 invalid mem access 'scalar')"), "{sentence}");
            assert!(sentence.contains(&format!("its whole log is in {}; run", path.display())), "{sentence}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), LOG);
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn cases_are_told_apart() {
        let statistics = "processed 6 insns (limit 1000000)\n";
        assert!(matches!(refused(statistics, libc::ENOMEM), Refusal::Call { call: "bpf_prog_load", .. }));
        assert!(matches!(refused("", libc::ENOENT), Refusal::NoHook { .. }));
        assert!(matches!(refused(LOG, libc::EPERM), Refusal::Verifier { .. }));
        assert!(matches!(refused(LOG, libc::EMFILE), Refusal::Call { .. }), "it was accepted, and had no descriptor");
        let map = MapError::CreateError { name: "NODES".into(), io_error: io::Error::from_raw_os_error(libc::ENOMEM) };
        let refusal = Refusal::of_object(EbpfError::MapError(map));
        assert!(refusal.sentence(Path::new("/")).contains("map NODES cannot be made"), "{refusal}");
        assert!(refusal.advice().contains("memory"));
        let twice = Refusal::of_program("x", ProgramError::NotLoaded).to_string();
        assert_eq!(twice, "x: the program is not loaded");
    }
}
