//! Traffic whose bytes are counted where they are read, and what the kernel counts meanwhile.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    sync::mpsc,
};

use serde_json::Value;

use super::{network::Network, wait::PATIENCE};

/// Packets that a device has sent.
pub fn sent(network: &Network, side: &str, device: &str) -> u64 {
    let text = network.run(side, &["ip", "-s", "-j", "link", "show", device]);
    serde_json::from_str::<Value>(&text).unwrap()[0]["stats64"]["tx"]["packets"].as_u64().unwrap()
}

/// A counter of `/proc/net/snmp`.
pub fn snmp(network: &Network, side: &str, protocol: &str, field: &str) -> u64 {
    let text = network.run(side, &["cat", "/proc/self/net/snmp"]);
    let mut lines = text.lines().filter(|line| line.starts_with(&format!("{protocol}:")));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let column = names.split_whitespace().position(|name| name == field).unwrap();
    values.split_whitespace().nth(column).unwrap().parse().unwrap()
}

/// Sends so many bytes over one connection to the server; what the reader got.
pub fn tcp(network: &Network, port: u16, bytes: usize) -> u64 {
    let address = SocketAddr::new(network.address().parse().unwrap(), port);
    let (ready, is_ready) = mpsc::channel();
    let server = network.inside("server", move || {
        let listener = TcpListener::bind(address).unwrap();
        ready.send(()).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut buffer, mut total) = (vec![0; 1 << 17], 0);
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => return total,
                count => total += count as u64,
            }
        }
    });
    is_ready.recv_timeout(PATIENCE).unwrap();
    let client = network.inside("client", move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let piece = vec![7; 1 << 16];
        for _ in 0..bytes / piece.len() {
            stream.write_all(&piece).unwrap();
        }
    });
    client.join().unwrap();
    server.join().unwrap()
}

/// Sets an option of a socket that is an integer.
pub fn set_option(socket: &impl AsRawFd, level: i32, name: i32, value: i32) {
    // SAFETY: the value is an integer that outlives the call.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), 4) };
    assert_eq!(result, 0, "option {name} of level {level}: {}", std::io::Error::last_os_error());
}

/// Gives a socket room for all that is sent at a time.
pub fn with_room(socket: &impl AsRawFd) {
    set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 8 << 20);
}
