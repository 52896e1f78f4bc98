//! Containers: from Docker's socket, from Podman's files, and otherwise from the cgroups of processes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{ErrorKind, Read as _, Write as _},
    os::unix::{fs::MetadataExt as _, net::UnixStream},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::{
    Container, Topology,
    process::{Processes, cgroup_inode, container_in_cgroups, is_trusted, netns_of},
};

/// Processes listed per container or namespace.
pub(super) const FEW: usize = 8;
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// For all that one engine tells.
const TIMEOUT: Duration = Duration::from_secs(3);
/// No answer of an engine about a host's containers is longer.
const ANSWER_BYTES: usize = 16 << 20;
const PIECE: usize = 64 << 10;
const PODMAN: [&str; 2] = ["/var/lib/containers/storage", "/run/containers/storage"];

/// What an engine tells about a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    name: String,
    engine: &'static str,
    /// Its first process, 0 if unknown.
    pid: u32,
}

/// What engines told, kept from scan to scan: they are asked again only when something new appears.
#[derive(Debug, Default)]
pub(super) struct Engines {
    known: BTreeMap<String, Known>,
    asked: bool,
    ids: BTreeSet<String>,
}

impl Engines {
    /// Containers now. Engines are asked if `news` (a new namespace) or if a container's id is new.
    pub fn containers(&mut self, processes: &Processes, news: bool, notes: &mut Vec<String>) -> Vec<Container> {
        let mut found: BTreeMap<String, Container> = BTreeMap::new();
        let mut members: Vec<_> = processes.by_pid.iter().collect();
        members.sort_by_key(|(pid, _)| **pid);
        for (pid, process) in &members {
            let Some((id, engine)) = &process.container else { continue };
            let container = found.entry(id.clone()).or_insert_with(|| Container {
                id: id.clone(),
                name: short(id),
                engine: (*engine).to_owned(),
                netns: process.netns,
                ..Container::default()
            });
            if container.pids.len() < FEW {
                container.pids.push(**pid);
            }
        }
        let ids: BTreeSet<String> = found.keys().cloned().collect();
        if !self.asked || news || ids != self.ids {
            self.asked = true;
            self.ids = ids;
            let sockets = members.iter().flat_map(|(_, process)| process.docker_sockets.iter().cloned());
            self.ask(sockets, notes);
        }
        for (id, known) in &self.known {
            let alive = processes.by_pid.get(&known.pid);
            let container = match (found.contains_key(id), alive) {
                // An engine may run where processes have no cgroup of their own: its word on the pid is enough.
                (false, Some(_)) => found.entry(id.clone()).or_default(),
                (true, _) => found.entry(id.clone()).or_default(),
                (false, None) => continue,
            };
            container.id.clone_from(id);
            container.name.clone_from(&known.name);
            known.engine.clone_into(&mut container.engine);
            if let Some(process) = alive {
                container.netns = process.netns;
                if !container.pids.contains(&known.pid) {
                    container.pids.insert(0, known.pid);
                }
            }
        }
        for container in found.values_mut() {
            container.cgroup = container.pids.first().map_or(0, |pid| cgroup_inode(*pid));
        }
        found.into_values().collect()
    }

    fn ask(&mut self, daemons: impl Iterator<Item = String>, notes: &mut Vec<String>) {
        let mut sockets = BTreeSet::from([DOCKER_SOCKET.to_owned()]);
        sockets.extend(daemons);
        if let Ok(host) = std::env::var("DOCKER_HOST")
            && let Some(path) = host.strip_prefix("unix://")
        {
            sockets.insert(path.to_owned());
        }
        let before = std::mem::take(&mut self.known);
        let believed = |socket: &&String| fs::metadata(socket).is_ok_and(|there| is_trusted(&[there.uid()]));
        for socket in sockets.iter().filter(believed) {
            if let Err(error) = self.ask_docker(socket, &before) {
                notes.push(format!("Docker at {socket} did not tell its containers: {error:#}"));
            }
        }
        for storage in PODMAN {
            let Ok(text) = fs::read_to_string(format!("{storage}/overlay-containers/containers.json")) else {
                continue;
            };
            for (id, name) in podman_names(&text) {
                let pid = PODMAN.iter().find_map(|storage| {
                    let file = format!("{storage}/overlay-containers/{id}/userdata/pidfile");
                    fs::read_to_string(file).ok()?.trim().parse().ok()
                });
                self.known.insert(id, Known { name, engine: "podman", pid: pid.unwrap_or(0) });
            }
        }
    }

    fn ask_docker(&mut self, socket: &str, before: &BTreeMap<String, Known>) -> anyhow::Result<()> {
        // One for all: a recording waits for it.
        let until = Instant::now() + TIMEOUT;
        for (id, name) in docker_names(&get(socket, "/containers/json", until)?)? {
            let pid = match before.get(&id) {
                Some(known) if Path::new(&format!("/proc/{}", known.pid)).exists() => known.pid,
                // A container that ended since the list was made has no pid; it is not worth a word.
                _ => {
                    let json = get(socket, &format!("/containers/{id}/json"), until);
                    json.ok().and_then(|json| docker_pid(&json)).unwrap_or(0)
                }
            };
            self.known.insert(id, Known { name, engine: "docker", pid });
        }
        Ok(())
    }
}

fn short(id: &str) -> String {
    id.chars().take(12).collect()
}

/// The body of a GET answer. HTTP/1.0, so that the end of the stream is the end of the body.
fn get(socket: &str, path: &str, until: Instant) -> anyhow::Result<String> {
    let left = || until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()).context("it is too slow");
    left()?;
    let mut stream = UnixStream::connect(socket).context("cannot connect")?;
    stream.set_write_timeout(Some(left()?))?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: docker\r\n\r\n");
    stream.write_all(request.as_bytes()).context("cannot ask")?;
    let (mut answer, mut piece) = (Vec::new(), vec![0; PIECE]);
    // A limit for each read would let an answer come a byte at a time.
    while answer.len() < ANSWER_BYTES {
        stream.set_read_timeout(Some(left()?))?;
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("no answer"),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").context("not an HTTP answer")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) != Some("200") {
        bail!("it answered {status:?}");
    }
    Ok(body.to_owned())
}

/// Id and name of each container in the answer to `/containers/json`.
fn docker_names(json: &str) -> anyhow::Result<Vec<(String, String)>> {
    let list: Value = serde_json::from_str(json).context("not a list of containers")?;
    let list = list.as_array().context("not a list of containers")?;
    Ok(list
        .iter()
        .filter_map(|item| {
            let id = item.get("Id")?.as_str()?.to_owned();
            // Links of other containers are names too, like "/other/alias": the own name has one slash.
            let names = item.get("Names").and_then(Value::as_array);
            let name = names
                .into_iter()
                .flatten()
                .filter_map(|name| name.as_str()?.strip_prefix('/'))
                .find(|name| !name.contains('/'))
                .map_or_else(|| short(&id), str::to_owned);
            Some((id, name))
        })
        .collect())
}

/// The first process in the answer to `/containers/ID/json`.
fn docker_pid(json: &str) -> Option<u32> {
    let value: Value = serde_json::from_str(json).ok()?;
    u32::try_from(value.pointer("/State/Pid")?.as_u64()?).ok().filter(|pid| *pid != 0)
}

/// Id and name of each container in Podman's `containers.json`.
fn podman_names(json: &str) -> Vec<(String, String)> {
    let list: Value = serde_json::from_str(json).unwrap_or_default();
    let items = list.as_array().into_iter().flatten();
    items
        .filter_map(|item| {
            let id = item.get("id")?.as_str()?.to_owned();
            let name = item.pointer("/names/0").and_then(Value::as_str).map_or_else(|| short(&id), str::to_owned);
            Some((id, name))
        })
        .collect()
}

/// The name of the container that a process runs in: by its cgroup, or else by the mount namespace that it shares
/// with a container's process. None if it runs in no container.
pub fn container_of_pid(pid: u32, topology: &Topology) -> Option<String> {
    if let Some(container) = topology.containers.iter().find(|container| container.pids.contains(&pid)) {
        return Some(container.name.clone());
    }
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    if let Some((id, _)) = container_in_cgroups(&cgroups) {
        let known = topology.containers.iter().find(|container| container.id == id);
        return Some(known.map_or_else(|| short(&id), |container| container.name.clone()));
    }
    let mount = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/mnt")).ok();
    let own = mount(&pid.to_string())?;
    if mount("self").as_ref() == Some(&own) || mount("1").as_ref() == Some(&own) {
        return None;
    }
    let netns = netns_of(pid).ok()?;
    let shares = |container: &&Container| {
        container.netns == netns
            && container.pids.first().and_then(|first| mount(&first.to_string())) == Some(own.clone())
    };
    topology.containers.iter().find(shares).map(|container| container.name.clone())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn docker_json_gives_ids_names_and_pids() {
        let json =
            r#"[{"Id":"aa11","Names":["/web/db","/db"],"State":"running"},{"Id":"0123456789abcdef","Names":[]},{}]"#;
        let names = docker_names(json).unwrap();
        assert_eq!(names, [("aa11".into(), "db".into()), ("0123456789abcdef".into(), "0123456789ab".into())]);
        assert!(docker_names(r#"{"message":"no"}"#).is_err());
        assert_eq!(docker_pid(r#"{"State":{"Pid":42}}"#), Some(42));
        assert_eq!(docker_pid(r#"{"State":{"Pid":0}}"#), None);
        assert_eq!(docker_pid("x"), None);
    }

    #[test]
    fn podman_json_gives_ids_and_names() {
        let json = r#"[{"id":"aa11","names":["db"]},{"id":"bb22"}]"#;
        assert_eq!(podman_names(json), [("aa11".into(), "db".into()), ("bb22".into(), "bb22".into())]);
        assert_eq!(podman_names("x"), []);
    }

    #[test]
    fn an_answer_that_comes_a_byte_at_a_time_is_given_up() {
        let directory = std::env::temp_dir().join(format!("netstrata-slow-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("d.sock");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let answer = format!("HTTP/1.0 200 OK\r\n\r\n[{}]", " ".repeat(1000));
            // It ends when its reader is gone.
            for byte in answer.bytes() {
                if stream.write_all(&[byte]).is_err() {
                    return false;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            true
        });
        let until = Instant::now() + Duration::from_millis(200);
        assert!(get(path.to_str().unwrap(), "/containers/json", until).is_err());
        assert!(!server.join().unwrap(), "its reader had the patience for all of it");
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn an_engine_is_asked_over_its_socket() {
        let directory = std::env::temp_dir().join(format!("netstrata-docker-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("d.sock");
        let _ = fs::remove_file(&path);
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let mut lines = Vec::new();
            for body in [r#"[{"Id":"aa11","Names":["/db"]}]"#, r#"{"State":{"Pid":1}}"#] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut buffer = [0; 512];
                let length = stream.read(&mut buffer).unwrap();
                lines.push(String::from_utf8_lossy(&buffer[..length]).lines().next().unwrap().to_owned());
                write!(stream, "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}").unwrap();
            }
            lines
        });
        let mut engines = Engines::default();
        engines.ask_docker(path.to_str().unwrap(), &BTreeMap::new()).unwrap();
        assert_eq!(server.join().unwrap(), ["GET /containers/json HTTP/1.0", "GET /containers/aa11/json HTTP/1.0"]);
        assert_eq!(engines.known["aa11"], Known { name: "db".into(), engine: "docker", pid: 1 });
        assert!(get(path.to_str().unwrap(), "/", Instant::now() + TIMEOUT).is_err());
        fs::remove_dir_all(&directory).unwrap();
    }
}
