//! Whether a live test can run here; if not it says why, as docs/testing.md wants it, and is no failure.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Live tests share a kernel: its devices, its CPUs, its sampling.
static ONE: Mutex<()> = Mutex::new(());

/// The right to run alone.
pub type Alone = MutexGuard<'static, ()>;

/// Waits for the other tests of this file; `None`, said why, where the test cannot run: without root or a program.
pub fn ready_for(test: &str, programs: &[&str]) -> Option<Alone> {
    let lacking = programs.iter().find(|program| !is_installed(program));
    match lacking {
        _ if !is_root() => say_skipped(test, "needs root"),
        Some(program) => say_skipped(test, &format!("needs `{program}`")),
        None => return Some(ONE.lock().unwrap_or_else(PoisonError::into_inner)),
    }
    None
}

/// Whether this process may do everything.
pub fn is_root() -> bool {
    // SAFETY: a plain system call without arguments.
    unsafe { libc::geteuid() == 0 }
}

/// Whether a program is found.
pub fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|directory| directory.join(program).is_file())
}

/// Counted by `cargo xtask test`, which takes a line that begins so for one test.
pub fn say_skipped(test: &str, reason: &str) {
    println!("skipped: {test}: {}", reason.trim());
}

/// Not counted: the rest of the test runs.
pub fn say_left_out(test: &str, part: &str, reason: &str) {
    println!("left out: {test}: {part}: {}", reason.trim());
}

/// The name of the test around a function, from the function's own path: CRATE::TEST::FUNCTION.
pub fn test_around<Function>(_: Function) -> &'static str {
    std::any::type_name::<Function>().split("::").nth(1).unwrap()
}

/// The name of the test that this stands in.
#[macro_export]
macro_rules! test_name {
    () => {{
        fn here() {}
        $crate::support::ready::test_around(here)
    }};
}

/// [`ready_for`] the test that this stands in, with `ip` and these programs.
#[macro_export]
macro_rules! ready {
    ($($program:expr),*) => {
        $crate::support::ready::ready_for($crate::test_name!(), &["ip", $($program),*])
    };
}

/// Says that the test that this stands in cannot run, and ends it.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        $crate::support::ready::say_skipped($crate::test_name!(), &format!($($reason)*));
        return;
    }};
}
