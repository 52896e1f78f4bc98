//! Docker, which tells its containers over a socket.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    path::Path,
    time::Instant,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::{
    known::{Known, short},
    names::of_pod,
};
use crate::topology::process::is_trusted;

/// No answer of an engine about a host's containers is longer.
const ANSWER_BYTES: usize = 16 << 20;
const PIECE: usize = 64 << 10;

/// All containers by id. Those whose first process `known` tells are not asked for one by one.
pub(super) fn ask(
    socket: &Path,
    known: impl Fn(&str) -> Option<u32>,
    until: Instant,
) -> anyhow::Result<Vec<(String, Known)>> {
    let mut containers = Vec::new();
    for (id, name) in names(&get(socket, "/containers/json", until)?)? {
        // A container that ended since the list was made has no process; it is not worth a word.
        let pid = known(&id).or_else(|| pid(&get(socket, &format!("/containers/{id}/json"), until).ok()?)).unwrap_or(0);
        containers.push((id, Known { name, engine: "docker", pid, started: None }));
    }
    Ok(containers)
}

/// The body of a GET answer. HTTP/1.0, so that the end of the stream is the end of the body.
fn get(socket: &Path, path: &str, until: Instant) -> anyhow::Result<String> {
    let left = || until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()).context("it is too slow");
    left()?;
    let mut stream = UnixStream::connect(socket).context("cannot connect")?;
    // Whoever owns the name of a socket need not be who listens there.
    ensure!(listener(&stream).is_some_and(|user| is_trusted(&[user])), "another user listens there");
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

/// The user who listens at the other end of a stream.
fn listener(stream: &UnixStream) -> Option<u32> {
    let mut who = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes no more than `length` bytes to `who`, which has as many.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut who).cast(),
            &raw mut length,
        )
    };
    (result == 0).then_some(who.uid)
}

/// Id and name of each container in the answer to `/containers/json`.
fn names(json: &str) -> anyhow::Result<Vec<(String, String)>> {
    let list: Value = serde_json::from_str(json).context("not a list of containers")?;
    let list = list.as_array().context("not a list of containers")?;
    Ok(list
        .iter()
        .filter_map(|item| {
            let id = item.get("Id")?.as_str()?.to_owned();
            let label = |name: &str| item.get("Labels")?.get(name)?.as_str();
            // Kubernetes on Docker: the container "POD" holds the others' namespaces.
            let of_pod =
                label("io.kubernetes.pod.namespace").zip(label("io.kubernetes.pod.name")).map(|(space, pod)| {
                    of_pod(space, pod, label("io.kubernetes.container.name").filter(|name| *name != "POD"))
                });
            // Links of other containers are names too, like "/other/alias": the own name has one slash.
            let names = item.get("Names").and_then(Value::as_array);
            let mut own = names.into_iter().flatten().filter_map(|name| name.as_str()?.strip_prefix('/'));
            let name = of_pod
                .or_else(|| own.find(|name| !name.contains('/')).map(str::to_owned))
                .unwrap_or_else(|| short(&id));
            Some((id, name))
        })
        .collect())
}

/// The first process in the answer to `/containers/ID/json`.
fn pid(json: &str) -> Option<u32> {
    let value: Value = serde_json::from_str(json).ok()?;
    u32::try_from(value.pointer("/State/Pid")?.as_u64()?).ok().filter(|pid| *pid != 0)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::{fs, os::unix::net::UnixListener, path::PathBuf, thread, time::Duration};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A socket in a directory of its own.
    struct Socket(PathBuf);

    impl Socket {
        fn new(name: &str) -> (Self, UnixListener) {
            let directory = std::env::temp_dir().join(format!("netstrata-{name}-{}", std::process::id()));
            fs::create_dir_all(&directory).unwrap();
            let socket = Self(directory);
            let listener = UnixListener::bind(socket.path()).unwrap();
            (socket, listener)
        }

        fn path(&self) -> PathBuf {
            self.0.join("d.sock")
        }
    }

    impl Drop for Socket {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_answers_give_ids_names_and_pids() {
        let json = r#"[{"Id":"aa11","Names":["/web/db","/db"],"State":"running"},{"Id":"0123456789abcdef","Names":[]},{},
            {"Id":"bb22","Names":["/k8s_app_web_default_1_0"],"Labels":{"io.kubernetes.pod.namespace":"default",
             "io.kubernetes.pod.name":"web","io.kubernetes.container.name":"app"}},
            {"Id":"cc33","Names":["/k8s_POD_web_default_1_0"],"Labels":{"io.kubernetes.pod.namespace":"default",
             "io.kubernetes.pod.name":"web","io.kubernetes.container.name":"POD"}}]"#;
        let expected = [
            ("aa11", "db"),
            ("0123456789abcdef", "0123456789ab"),
            ("bb22", "default/web/app"),
            ("cc33", "default/web"),
        ];
        assert_eq!(names(json).unwrap(), expected.map(|(id, name)| (id.to_owned(), name.to_owned())));
        assert!(names(r#"{"message":"no"}"#).is_err());
        assert_eq!(pid(r#"{"State":{"Pid":42}}"#), Some(42));
        assert_eq!(pid(r#"{"State":{"Pid":0}}"#), None);
        assert_eq!(pid("x"), None);
    }

    #[test]
    fn an_answer_that_comes_a_byte_at_a_time_is_given_up() {
        let (socket, listener) = Socket::new("slow");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let answer = format!("HTTP/1.0 200 OK\r\n\r\n[{}]", " ".repeat(1000));
            // It ends when its reader is gone.
            for byte in answer.bytes() {
                if stream.write_all(&[byte]).is_err() {
                    return false;
                }
                thread::sleep(Duration::from_millis(5));
            }
            true
        });
        let until = Instant::now() + Duration::from_millis(200);
        assert!(get(&socket.path(), "/containers/json", until).is_err());
        assert!(!server.join().unwrap(), "its reader had the patience for all of it");
    }

    #[test]
    fn an_engine_is_asked_over_its_socket() {
        let (socket, listener) = Socket::new("docker");
        let server = thread::spawn(move || {
            let mut lines = Vec::new();
            for body in [r#"[{"Id":"aa11","Names":["/db"]},{"Id":"bb22","Names":["/web"]}]"#, r#"{"State":{"Pid":1}}"#]
            {
                let (mut stream, _) = listener.accept().unwrap();
                let mut buffer = [0; 512];
                let length = stream.read(&mut buffer).unwrap();
                lines.push(String::from_utf8_lossy(&buffer[..length]).lines().next().unwrap().to_owned());
                write!(stream, "HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{body}").unwrap();
            }
            lines
        });
        let known = |id: &str| (id == "bb22").then_some(7);
        let containers = ask(&socket.path(), known, Instant::now() + PATIENCE).unwrap();
        assert_eq!(server.join().unwrap(), ["GET /containers/json HTTP/1.0", "GET /containers/aa11/json HTTP/1.0"]);
        let expected = [("aa11", "db", 1), ("bb22", "web", 7)]
            .map(|(id, name, pid)| (id.to_owned(), Known { name: name.into(), engine: "docker", pid, started: None }));
        assert_eq!(containers, expected);
        assert!(get(&socket.path(), "/", Instant::now() + PATIENCE).is_err());
    }

    #[test]
    fn who_listens_is_known() {
        let (socket, _listener) = Socket::new("who");
        let stream = UnixStream::connect(socket.path()).unwrap();
        assert!(listener(&stream).is_some_and(|user| is_trusted(&[user])));
    }
}
