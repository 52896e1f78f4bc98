//! Containers that runtimes make without a daemon, and what they are called. Needs root, busybox and the runtimes.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{fs, os::unix::fs::symlink, path::Path, process::Command, thread::sleep, time::Duration};

use netstrata::topology::{Container, scan};
use support::{directory::Directory, process::Process, ready::say_left_out, run, wait::until};

/// A root directory with one program, of root alone: nspawn and runc mind.
fn root_directory(at: &Path) {
    for inner in ["bin", "proc", "dev", "sys", "etc", "tmp", "usr"] {
        fs::create_dir_all(at.join(inner)).unwrap();
    }
    let paths = std::env::var_os("PATH").unwrap();
    let busybox = std::env::split_paths(&paths).map(|path| path.join("busybox")).find(|path| path.is_file());
    fs::copy(busybox.unwrap(), at.join("bin/busybox")).unwrap();
    symlink("busybox", at.join("bin/sleep")).unwrap();
    fs::write(at.join("etc/os-release"), "ID=none\n").unwrap();
}

/// A container of runc; removed when dropped.
struct OfRunc(String);

impl OfRunc {
    fn new(name: &str, bundle: &Path, root: &Path) -> Self {
        fs::create_dir_all(bundle).unwrap();
        let bundle = bundle.to_str().unwrap();
        run(&["runc", "spec", "--bundle", bundle]);
        let file = format!("{bundle}/config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        config["process"]["args"] = serde_json::json!(["/bin/sleep", "60"]);
        config["process"]["terminal"] = false.into();
        config["root"] = serde_json::json!({ "path": root });
        fs::write(&file, config.to_string()).unwrap();
        let status = Process::quiet(Command::new("runc").args(["run", "--detach", "--bundle", bundle, name])).end();
        assert!(status.success(), "runc: {status}");
        Self(name.to_owned())
    }
}

impl Drop for OfRunc {
    fn drop(&mut self) {
        let _ = Command::new("runc").args(["delete", "--force", &self.0]).status();
    }
}

/// Removes the empty groups that runtimes leave when they are killed, when dropped.
struct Groups(Vec<String>);

impl Drop for Groups {
    fn drop(&mut self) {
        let mounts = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
        for mount in mounts.chain([Path::new("/sys/fs/cgroup").to_owned()]) {
            for name in &self.0 {
                // The processes in it end a moment after who ran them. One that others use stays.
                let path = mount.join(name);
                let is_gone = || fs::remove_dir(&path).is_ok() || !path.exists();
                (0..20).find(|_| {
                    is_gone() || {
                        sleep(Duration::from_millis(50));
                        false
                    }
                });
            }
        }
    }
}

fn named(name: &str) -> Option<Container> {
    scan().unwrap().containers.into_iter().find(|container| container.name == name)
}

#[test]
fn containers_without_a_daemon_are_named_and_their_namespaces_too() {
    let Some(_alone) = ready!("busybox") else { return };
    let directory = Directory::new();
    let root = directory.file("root");
    root_directory(&root);
    let name = |engine: &str| format!("nstest-{engine}-{}", std::process::id());
    let of_lxc = ["payload", "monitor"].map(|part| format!("lxc.{part}.{}", name("lxc")));
    // Dropped after what runs.
    let _groups = Groups(of_lxc.into_iter().chain(["lxc.pivot", "payload", "supervisor"].map(str::to_owned)).collect());
    let mut running: Vec<Box<dyn std::any::Any>> = Vec::new();
    let mut engines = Vec::new();
    for (engine, program) in [("runc", "runc"), ("nspawn", "systemd-nspawn"), ("lxc", "lxc-execute")] {
        if !support::ready::is_installed(program) {
            say_left_out(test_name!(), engine, &format!("needs `{program}`"));
            continue;
        }
        engines.push(engine);
        let name = name(engine);
        match engine {
            "runc" => running.push(Box::new(OfRunc::new(&name, &directory.file("bundle"), &root))),
            "nspawn" => running.push(Box::new(Process::quiet(
                Command::new(program)
                    .args(["-q", "--register=no", "--keep-unit", "--private-network", "--as-pid2", "-M", &name, "-D"])
                    .arg(&root)
                    .args(["/bin/sleep", "60"]),
            ))),
            _ => {
                let place = directory.file("lxc");
                fs::create_dir_all(place.join(&name)).unwrap();
                let config = place.join(&name).join("config");
                let text = format!("lxc.rootfs.path = dir:{}\nlxc.net.0.type = empty\n", root.display());
                fs::write(&config, text).unwrap();
                let mut command = Command::new(program);
                command.arg("-P").arg(&place).args(["-n", &name, "-f"]).arg(&config).args(["--", "/bin/sleep", "60"]);
                running.push(Box::new(Process::quiet(&mut command)));
            }
        }
    }
    for engine in engines {
        let name = name(engine);
        until("a container", || named(&name).is_some_and(|container| container.netns != 0));
        let container = named(&name).unwrap();
        assert_eq!(container.engine, engine);
        assert_eq!(scan().unwrap().namespace_name(container.netns), name);
    }
}
