//! Where a recording cannot be written: told before anything is attached, in a sentence, with the code of who is to blame.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{ffi::CString, fs, os::unix::fs::PermissionsExt as _, path::Path};

use netstrata::profile;
use support::{directory::Directory, errors, netstrata};

/// What `record` says of a place, and its code.
fn refused(place: &str, ran: &Path) -> (Option<i32>, String) {
    let output = netstrata(&["record", "-o", place, "--", "touch", ran.to_str().unwrap()]);
    assert!(!ran.exists(), "{place}: refused only after the recording");
    (output.status.code(), errors(&output))
}

#[test]
fn a_place_that_will_not_do_is_refused_before_the_recording() {
    let directory = Directory::new();
    let (inner, pipe, ran) = (directory.word("inner"), directory.word("pipe"), directory.file("ran"));
    fs::create_dir(&inner).unwrap();
    let name = CString::new(pipe.clone()).unwrap();
    // SAFETY: the name ends with NUL and lives until the call has ended.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let missing = directory.word("none/x.prof");
    for (place, why) in [
        (missing.as_str(), "there is no directory"),
        (&inner, "is a directory"),
        (&format!("{inner}/"), "is a directory"),
        (&pipe, "nobody reads from"),
    ] {
        let (code, said) = refused(place, &ran);
        assert!(code == Some(2) && said.contains(why) && said.lines().count() == 1, "{place}: {code:?} {said}");
    }
    let left: Vec<_> = fs::read_dir(directory.file("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_sum_replaces_a_link_and_is_private_and_a_full_disk_is_told() {
    let directory = Directory::new();
    let (link, victim) = (directory.file("sum.prof"), directory.file("victim"));
    fs::write(&victim, "precious").unwrap();
    std::os::unix::fs::symlink(&victim, &link).unwrap();
    let one = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/profiles/tcp-rr-host.prof");
    let one = one.to_str().unwrap();
    assert!(netstrata(&["merge", one, "-o", &directory.word("sum.prof")]).status.success());
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    let there = fs::symlink_metadata(&link).unwrap();
    assert!(there.is_file() && there.permissions().mode() & 0o777 == 0o600);
    profile::read(&link).unwrap();
    let full = netstrata(&["merge", one, "-o", "/dev/full"]);
    let said = errors(&full);
    assert!(full.status.code() == Some(3) && said.lines().count() == 1 && said.contains("/dev/full"), "{said}");
    assert_eq!(said.matches("os error").count(), 1, "{said}");
}

#[test]
fn a_recording_that_finds_no_place_at_its_end_is_not_lost() {
    let Some(_alone) = ready!() else { return };
    let output = netstrata(&["record", "--duration", "200ms", "-o", "/dev/full"]);
    let said = errors(&output);
    let elsewhere = said.split("it is in ").nth(1).and_then(|rest| rest.split(" instead").next()).unwrap_or_default();
    let elsewhere = Path::new(elsewhere);
    let rescued = profile::read(elsewhere);
    let _ = fs::remove_file(elsewhere);
    assert!(output.status.code() == Some(3) && rescued.is_ok(), "{said}");
    assert_eq!(said.lines().filter(|line| line.contains("/dev/full")).count(), 1, "{said}");
}
