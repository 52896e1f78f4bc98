//! A private Docker daemon in a network namespace of its own: its bridges, its netfilter rules and its FORWARD policy
//! never touch the host's.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{
    cleanup::{self, Lab},
    namespace::Namespace,
    rootfs::{self, WORKER},
};
use crate::{
    cli::Ip,
    host::{
        process::{self, Process},
        program, runtime, signal,
    },
};

const START_LIMIT: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_secs(60);
/// Releases before 27 take rules of IPv6 for an experiment.
const WITH_IPV6: &str = r#"{"ipv6": true, "fixed-cidr-v6": "fd00:d0c::/64", "ip6tables": true, "experimental": true}"#;
const IMAGE: &str = "netstrata-lab";

/// Why Docker cannot be used here, if so.
pub fn missing() -> Option<String> {
    let absent: Vec<&str> =
        ["docker", "dockerd"].into_iter().filter(|name| program::find_system(name).is_none()).collect();
    if absent.len() == 2 {
        Some("docker is not installed (Debian: apt-get install docker.io iptables)".into())
    } else if let [name] = absent[..] {
        Some(format!("{name} is not installed (Debian: apt-get install docker.io iptables)"))
    } else if program::find_system("iptables").is_none() {
        Some("Docker needs iptables (Debian: apt-get install iptables)".into())
    } else {
        None
    }
}

/// A running private daemon with the lab's image; dropping it stops it.
pub struct Daemon {
    directory: PathBuf,
    cgroup: String,
    // Fields are dropped in order: the daemon before its namespace.
    process: Process,
    namespace: Namespace,
}

impl Daemon {
    /// Starts dockerd in a namespace of this name and makes the image.
    pub fn start(lab: &Lab, name: &str, ip: Ip) -> anyhow::Result<Self> {
        let directory = lab.directory().join(name);
        fs::create_dir_all(&directory)?;
        let namespace = Namespace::new(lab, name)?.speaking(ip);
        let path = |name: &str| directory.join(name).display().to_string();
        let mut command = Command::new(program::find_system("dockerd").context("dockerd is not installed")?);
        command.args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")]);
        command.args(["-H", &format!("unix://{}", path("sock")), "--config-file", &path("daemon.json")]);
        command.args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--log-level", "error"]);
        fs::write(path("daemon.json"), if ip == Ip::V6 { WITH_IPV6 } else { "{}" })?;
        // Debian's iptables lie in /usr/sbin, which a user's PATH may lack.
        let search = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{search}:/usr/sbin:/sbin"));
        // A second daemon sees what the first one made.
        if !lab.directory().join("strays").exists() {
            lab.note_strays()?;
        }
        let process = Process::spawn(command, Some(&namespace.path()), libc::SIGTERM, Some(&lab.children()))?;
        let mut daemon = Self { directory, cgroup: lab.cgroup(), process, namespace };
        daemon.wait()?;
        daemon.import(&image(lab)?).context("cannot make the image of the containers")?;
        Ok(daemon)
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            signal::check()?;
            if self.run(&["version"]).is_ok() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("dockerd did not answer within {START_LIMIT:?}");
            }
            runtime::wait(self.process.goes_on(Duration::from_millis(50)))?;
        }
    }

    /// The client with its words, speaking to this daemon alone.
    fn docker(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program::find_system("docker").unwrap_or_else(|| "docker".into()));
        command.arg("-H").arg(format!("unix://{}", self.directory.join("sock").display())).args(words);
        command.env("DOCKER_CONFIG", self.directory.join("client"));
        command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT");
        command
    }

    /// Runs the client with these words and gives what it says.
    pub fn run(&self, words: &[&str]) -> anyhow::Result<String> {
        process::run(self.docker(words), STEP, true)
    }

    fn import(&self, archive: &Path) -> anyhow::Result<()> {
        self.run(&["import", &archive.display().to_string(), IMAGE]).map(drop)
    }

    /// The namespace that this daemon takes for the host.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The namespaces of its own in which this daemon keeps devices of the network with this id: an overlay's bridge
    /// and tunnel.
    pub fn sandboxes(&self, network: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.directory.join("exec/netns")).into_iter().flatten().flatten();
        // `1-` and the first ten digits of the id.
        let own = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('-'));
            name.is_some_and(|(_, id)| id.len() >= 10 && network.starts_with(id))
        };
        entries.map(|entry| entry.path()).filter(own).collect()
    }
}

/// The archive of the image, made once a lab. No image can be counted on to be there or to be pulled: the
/// containers hold the lab's own programs and nothing else.
fn image(lab: &Lab) -> anyhow::Result<PathBuf> {
    let archive = lab.directory().join("image.tar");
    if archive.exists() {
        return Ok(archive);
    }
    let root = lab.directory().join("image");
    rootfs::fill(&root)?;
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".");
    process::run(tar, STEP, true)?;
    fs::remove_dir_all(root)?;
    Ok(archive)
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.process.stop(libc::SIGTERM, Duration::from_secs(20));
    }
}

/// A container that only waits; programs are started in it. Dropping it removes it.
pub struct Container {
    daemon: Rc<Daemon>,
    name: String,
    pid: u32,
}

impl Container {
    /// Starts a container with these options of `docker run`, which name its network.
    pub fn start(daemon: &Rc<Daemon>, lab: &Lab, name: &str, options: &[&str]) -> anyhow::Result<Self> {
        let name = lab.namespace(name);
        // A group of the lab's own, so that its removal leaves no empty group behind. The last part keeps the
        // name by which tools know Docker's containers.
        let group = format!("/{}/docker", daemon.cgroup);
        let mut container = Self { daemon: daemon.clone(), name, pid: 0 };
        let idle = [WORKER, "lab", "worker", "--workload", "idle", "--size", "1", "--duration", "24h"];
        let run = ["run", "-d", "--name", &container.name, "--cgroup-parent", &group];
        daemon.run(&[&run[..], options, &[IMAGE], &idle].concat())?;
        let pid = container.inspect("{{.State.Pid}}")?;
        container.pid = pid.parse().with_context(|| format!("`{pid}` is not a process"))?;
        if container.pid == 0 {
            bail!("container {} ended at once", container.name);
        }
        Ok(container)
    }

    fn inspect(&self, format: &str) -> anyhow::Result<String> {
        let text = self.daemon.run(&["inspect", "--format", format, &self.name])?;
        Ok(text.trim().to_owned())
    }

    /// Its name, as the daemon knows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Address on its network.
    pub fn address(&self) -> anyhow::Result<IpAddr> {
        let field = if self.daemon.namespace.ip_version() == Ip::V6 { "GlobalIPv6Address" } else { "IPAddress" };
        let text = self.inspect(&format!("{{{{range .NetworkSettings.Networks}}}}{{{{.{field}}}}}{{{{end}}}}"))?;
        text.parse().with_context(|| format!("container {} has the address `{text}`", self.name))
    }

    /// Process id of its first process, as this namespace sees it.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// A command that runs `words` inside.
    pub fn exec(&self, words: &[String]) -> Command {
        let mut command = self.daemon.docker(&["exec", &self.name]);
        command.args(rootfs::words_inside(words));
        command
    }

    /// Kills all processes of the container but the first.
    pub fn sweep(&self) {
        let space = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let Some(own) = space(self.pid).filter(|own| Some(own) != space(std::process::id()).as_ref()) else { return };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        for pid in entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
            if pid != self.pid && space(pid).as_ref() == Some(&own) {
                process::kill(pid, libc::SIGKILL);
            }
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = process::run(self.daemon.docker(&["rm", "-f", &self.name]), STEP, false);
        cleanup::remove_cgroups(std::process::id());
    }
}
