//! No service starts because its package was installed: the lab and the tests start what they need, and end it.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

/// What Debian's packages ask before they start a service, with systemd or without (policy-rc.d(8)).
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Keeps services from being started; gone when dropped.
pub struct Quiet {
    policy: Option<PathBuf>,
}

impl Quiet {
    /// Where the machine has a policy, that one decides.
    pub fn keep() -> Self {
        Self::at(Path::new(POLICY)).unwrap_or_else(|error| {
            eprintln!("setup: packages may start their services: cannot write {POLICY}: {error}");
            Self { policy: None }
        })
    }

    fn at(path: &Path) -> io::Result<Self> {
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(path) {
            Ok(mut file) => {
                let quiet = Self { policy: Some(path.to_owned()) };
                file.write_all(policy(std::process::id()).as_bytes())?;
                Ok(quiet)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Self { policy: None }),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(policy) = &self.policy {
            let _ = fs::remove_file(policy);
        }
    }
}

/// Refuses starts while the set-up runs: one that was killed leaves a policy that refuses nothing. What runs already may
/// be started anew, as an upgraded library wants.
fn policy(setup: u32) -> String {
    format!(
        "#!/bin/sh\n# Written by the set-up of netstrata for as long as it installs.\nkill -0 {setup} 2>/dev/null || exit 0\n\
         case \" $* \" in *\" start \"*) exit 101 ;; esac\nexit 0\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(policy: &str, words: &[&str]) -> Option<i32> {
        let status = std::process::Command::new("sh").args(["-c", policy, "policy-rc.d"]).args(words).status();
        status.expect("a shell").code()
    }

    #[test]
    fn only_starts_are_refused_and_only_by_a_set_up_that_runs() {
        let running = policy(std::process::id());
        assert_eq!(answer(&running, &["nginx.service", "start"]), Some(101));
        assert_eq!(answer(&running, &["--quiet", "nginx", "start", "5"]), Some(101));
        assert_eq!(answer(&running, &["nginx.service", "restart"]), Some(0));
        // No process has the greatest id that there could be.
        assert_eq!(answer(&policy(i32::MAX as u32), &["nginx.service", "start"]), Some(0));
    }

    #[test]
    fn a_policy_goes_and_one_of_the_machine_stays() {
        let path = std::env::temp_dir().join(format!("netstrata-policy-{}", std::process::id()));
        drop(Quiet::at(&path).expect("a policy"));
        assert!(!path.exists());
        fs::write(&path, "theirs").expect("written");
        drop(Quiet::at(&path).expect("none of its own"));
        let kept = fs::read_to_string(&path);
        fs::remove_file(&path).expect("removed");
        assert_eq!(kept.expect("still there"), "theirs");
    }
}
