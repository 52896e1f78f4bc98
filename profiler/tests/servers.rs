//! Servers and clients of others, nginx with wrk and redis-server with redis-benchmark: what the client counted is what
//! reached the server's reader, and what came back. Live; needs root and these programs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use netstrata::{
    analysis::{PathAccount, SpanKind, path_accounts},
    profile::read,
};
use netstrata_common::{Layer, Point, Protocol};
use support::{
    NETSTRATA, command,
    directory::Directory,
    network::Network,
    process::Process,
    run,
    wait::{PATIENCE, until},
};

const PORT: u16 = 5350;

/// A server that listens, with what it needs.
struct Server {
    process: Process,
    network: Network,
    directory: Directory,
    /// What a client asks, which is the same each time.
    request: String,
    /// Bytes of an answer.
    answer: u64,
}

impl Server {
    /// Starts a server in its namespace and asks it once.
    fn start(network: Network, directory: Directory, words: &[&str], request: String) -> Self {
        let process = Process::quiet(&mut command(&network.enter("server", words)));
        let answer = ask(&network, request.clone());
        Self { process, network, directory, request, answer }
    }

    /// How often it had nothing to do and slept, by the kernel's count. Both servers work in their first thread alone.
    fn slept(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
        count.trim().parse().unwrap()
    }

    /// Follows all packets while a client asks.
    fn record(&self, client: &[&str], counted: impl FnOnce(&str) -> u64) -> Seen {
        let file = self.directory.word("profile");
        let before = self.slept();
        let words = [NETSTRATA, "record", "--sample-every", "1", "--tier", "tracepoint", "-o", &file, "--"];
        let client = self.network.enter("client", client);
        let said = run(&words.into_iter().chain(client.iter().map(String::as_str)).collect::<Vec<_>>());
        let slept = self.slept() - before;
        let ends = ["client", "server"].map(|side| self.network.inode(side));
        let of = |[from, to]: [u32; 2], bytes| Way::of(&path_accounts(&read(file.as_ref()).unwrap()), from, to, bytes);
        Seen {
            asked: counted(&said),
            slept,
            requests: of(ends, self.request.len() as u64),
            answers: of([ends[1], ends[0]], self.answer),
        }
    }
}

/// Asks once, as soon as the server listens; bytes of the answer.
fn ask(network: &Network, request: String) -> u64 {
    let address = SocketAddr::new(network.address().parse().unwrap(), PORT);
    let client = network.inside("client", move || {
        let mut connection = None;
        until("the server", || {
            connection = TcpStream::connect(address).ok();
            connection.is_some()
        });
        let mut connection = connection.unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection.write_all(request.as_bytes()).unwrap();
        connection.read(&mut [0; 4096]).unwrap() as u64
    });
    client.join().unwrap()
}

/// What was followed of one direction to its reader.
#[derive(Debug, Default)]
struct Way {
    packets: u64,
    /// Messages, by their bytes: packets may be merged.
    messages: u64,
    /// Packets that met a reader that slept.
    wakes: u64,
    /// Nanoseconds for which data waited for a reader that was busy.
    in_socket: u64,
    /// Nanoseconds that it took to wake a reader that slept.
    waking: u64,
}

impl Way {
    fn of(paths: &[PathAccount], from: u32, to: u32, size: u64) -> Self {
        let mut way = Self::default();
        let mut bytes = 0;
        for path in paths {
            let record = &path.record;
            let ends = [record.crossings.first(), record.crossings.last()].map(|crossing| crossing.unwrap().netns);
            if record.protocol != Protocol::TCP
                || record.payload_bytes == 0
                || !record.end.is_read()
                || ends != [from, to]
            {
                continue;
            }
            let waited = |layer| -> u64 {
                let spans = path.spans.iter().filter(|span| span.kind == SpanKind::Wait && span.layer == Some(layer));
                spans.map(|span| span.sum_ns).sum()
            };
            way.packets += record.packets;
            if record.crossings.iter().any(|crossing| crossing.point == Point::ReadyWake) {
                way.wakes += record.packets;
            }
            bytes += record.payload_bytes;
            way.in_socket += waited(Layer::Socket);
            way.waking += waited(Layer::Wakeup);
        }
        way.messages = bytes / size;
        way
    }
}

/// One recording, beside what client and server know.
#[derive(Debug)]
struct Seen {
    /// Requests that the client counted.
    asked: u64,
    slept: u64,
    requests: Way,
    answers: Way,
}

impl Seen {
    /// Packets are what the client counted, and wake the server as often as it slept.
    fn agrees(&self) {
        println!("{self:?}");
        assert!(self.asked > 1000, "{self:?}");
        for way in [&self.requests, &self.answers] {
            for count in [way.packets, way.messages] {
                assert!(count.abs_diff(self.asked) <= self.asked / 20, "{count} of {}: {self:?}", self.asked);
            }
        }
        // It looks before it sleeps: what comes in between wakes nobody.
        assert!(self.requests.wakes.abs_diff(self.slept) <= self.asked / 10, "{self:?}");
    }
}

/// One client asks a server that has nothing else to do, many ask one that is busy.
fn judge(one: &Seen, many: &Seen) {
    one.agrees();
    many.agrees();
    // How often the first sleeps depends on where the scheduler puts both ends; the other hardly has the time.
    let no_such = "no such servers here";
    assert!(one.slept * many.asked > many.slept * one.asked, "{no_such}: {one:?} {many:?}");
    assert!(many.slept < many.asked / 2, "{no_such}: {many:?}");
    assert!(many.requests.in_socket > many.requests.waking, "{many:?}");
}

/// nginx with one process and all that it writes in the directory.
fn nginx() -> Server {
    let (network, directory) = (Network::pair(), Directory::new());
    let address = format!("{}:{PORT}", network.address());
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path {};\n", directory.word(what)))
        .concat();
    let configuration = format!(
        "daemon off;\nmaster_process off;\nerror_log stderr;\npid {};\nevents {{ worker_connections 64; }}\n\
         http {{\naccess_log off;\nkeepalive_requests 1000000000;\n{temporary}\
         server {{ listen {address}; location / {{ return 200 \"hello\"; }} }}\n}}\n",
        directory.word("pid")
    );
    let file = directory.word("nginx.conf");
    fs::write(&file, configuration).unwrap();
    let prefix = directory.word("");
    let words = ["nginx", "-e", "stderr", "-p", &prefix, "-c", &file];
    // As wrk asks.
    Server::start(network, directory, &words, format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

#[test]
fn requests_of_wrk_reach_nginx_and_wait_for_it_where_it_is_busy() {
    let Some(_alone) = ready!("nsenter", "nginx", "wrk") else { return };
    let server = nginx();
    let page = format!("http://{}:{PORT}/", server.network.address());
    let [one, many] = ["-c1", "-c16"].map(|connections| {
        server.record(&["wrk", "-t1", connections, "-d1s", &page], |said| {
            assert!(!said.contains("Socket errors") && !said.contains("Non-2xx"), "{said}");
            let count = said.lines().find_map(|line| line.split_once(" requests in ")).unwrap().0;
            count.trim().parse().unwrap()
        })
    });
    judge(&one, &many);
}

#[test]
fn requests_of_redis_benchmark_reach_redis_and_wait_for_it_where_it_is_busy() {
    let Some(_alone) = ready!("nsenter", "redis-server", "redis-benchmark") else { return };
    let (network, directory) = (Network::pair(), Directory::new());
    let (port, home, address) = (PORT.to_string(), directory.word(""), network.address());
    let keeps_nothing = ["--save", "", "--appendonly", "no", "--protected-mode", "no", "--dir", &home];
    let words = [&["redis-server", "--port", &port, "--bind", address], &keeps_nothing[..]].concat();
    // As redis-benchmark asks without `-r`; there is no such key.
    let request = "*2\r\n$3\r\nGET\r\n$16\r\nkey:__rand_int__\r\n".to_owned();
    let server = Server::start(network, directory, &words, request);
    let [one, many] = [("1", "10000"), ("50", "30000")].map(|(clients, requests)| {
        let words = ["redis-benchmark", "-h", address, "-p", &port, "-t", "get", "-c", clients, "-n", requests, "-q"];
        server.record(&words, |said| {
            assert!(said.contains("requests per second"), "{said}");
            requests.parse().unwrap()
        })
    });
    judge(&one, &many);
}
