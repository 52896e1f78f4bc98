//! What the kernel knows of a worker's sockets.

use std::{net::TcpStream, os::fd::AsRawFd};

/// `SK_MEMINFO_DROPS` of `SO_MEMINFO`.
/// <https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/sock_diag.h#L60>
const DROPS: usize = 8;
const MEMINFO_VARS: usize = 9;

/// `tcpi_total_retrans` of a connection.
pub fn retransmits(stream: &TcpStream) -> Option<u64> {
    // SAFETY: all zeroes is a valid `tcp_info`; the kernel writes at most `length` bytes to it.
    unsafe {
        let mut info: libc::tcp_info = std::mem::zeroed();
        let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
        let result = libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &mut length,
        );
        (result == 0).then_some(u64::from(info.tcpi_total_retrans))
    }
}

/// Packets that found this socket's buffer full.
pub fn dropped_at(socket: &impl AsRawFd) -> Option<u64> {
    let mut info = [0u32; MEMINFO_VARS];
    let mut length = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to the array, which is as long.
    let result = unsafe {
        let place = info.as_mut_ptr().cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_MEMINFO, place, &mut length)
    };
    (result == 0 && length as usize > DROPS * size_of::<u32>()).then_some(u64::from(info[DROPS]))
}
