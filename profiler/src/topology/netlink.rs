//! Reads devices over a blocking netlink socket of the calling thread's namespace.
//!
//! A dump is one request and a stream of messages: no reactor is needed for it, and a plain socket costs the
//! background watcher a fraction of what a connection task would. The messages are those of `netlink-packet-route`.

use std::net::IpAddr;

use anyhow::Context as _;
use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{
        InfoData, InfoGeneve, InfoGre, InfoGre6, InfoIpTunnel, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo,
        LinkLayerType, LinkMessage, LinkXdp, XdpAttached,
    },
    nsid::{NsidAttribute, NsidMessage},
};
use rtnetlink::{
    packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload},
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};

use super::{
    Device, DeviceCounters, Tunnel,
    answers::{Answers, Gaps, whole},
};

/// The kernel fills at most 32 KiB per read of a dump.
const READ_BYTES: usize = 64 * 1024;

/// A device as its own namespace tells it, before the other ends are looked up.
#[derive(Clone, Debug, Default)]
pub(super) struct RawLink {
    /// The device without `peer` and `lower`.
    pub device: Device,
    /// Its counters.
    pub stats: DeviceCounters,
    /// IFLA_LINK: index of the device that it hangs on.
    pub link: Option<u32>,
    /// IFLA_LINK_NETNSID: the namespace of `link`, by the number that this namespace knows it; none: the same.
    pub link_nsid: Option<i32>,
}

/// A netlink socket that stays in the namespace where it was opened.
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens a socket in the namespace of the calling thread.
    pub fn open() -> anyhow::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE).context("cannot open a netlink socket")?;
        socket.bind_auto().context("cannot bind a netlink socket")?;
        socket.connect(&SocketAddr::new(0, 0)).context("cannot connect a netlink socket")?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(READ_BYTES) })
    }

    /// All devices of the namespace, which has inode `netns`, with their addresses; and what may be missing of them.
    pub fn links(&mut self, netns: u32) -> anyhow::Result<(Vec<RawLink>, Gaps)> {
        let (messages, mut gaps) = self.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        let mut links = raw_links(netns, messages);
        let (messages, more) = self.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        gaps += more;
        for message in messages {
            let RouteNetlinkMessage::NewAddress(message) = message else { continue };
            let Some(text) = address_text(&message) else { continue };
            if let Some(link) = links.iter_mut().find(|link| link.device.ifindex == message.header.index) {
                link.device.addresses.push(text);
            }
        }
        Ok((links, gaps))
    }

    /// The number by which the socket's namespace knows the namespace that `fd` refers to; none if it has none.
    pub fn nsid_of(&mut self, fd: std::os::fd::BorrowedFd<'_>) -> anyhow::Result<Option<i32>> {
        use std::os::fd::AsRawFd as _;
        let mut request = NsidMessage::default();
        request.attributes.push(NsidAttribute::Fd(fd.as_raw_fd().cast_unsigned()));
        let answers = self.request(&RouteNetlinkMessage::GetNsId(request), 0)?;
        Ok(answers.messages.iter().find_map(|message| match message {
            RouteNetlinkMessage::NewNsId(answer) => answer.attributes.iter().find_map(|attribute| match attribute {
                NsidAttribute::Id(id) if *id >= 0 => Some(*id),
                _ => None,
            }),
            _ => None,
        }))
    }

    /// Everything of a kind.
    fn dump(&mut self, request: &RouteNetlinkMessage) -> anyhow::Result<(Vec<RouteNetlinkMessage>, Gaps)> {
        whole(|| self.request(request, NLM_F_DUMP))
    }

    /// Sends a request and reads its answers.
    fn request(&mut self, request: &RouteNetlinkMessage, flags: u16) -> anyhow::Result<Answers> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request.clone()));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).context("cannot send a netlink request")?;

        let mut answers = Answers::to(self.sequence, flags != 0);
        loop {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0).context("cannot read a netlink answer")?;
            if answers.take(&self.buffer)? {
                return Ok(answers);
            }
        }
    }
}

/// Devices of a dump's bytes, as if the kernel had sent them: what a search for odd messages calls.
///
/// # Errors
/// As a dump of the kernel's.
#[doc(hidden)]
pub fn devices_of(netns: u32, bytes: &[u8]) -> anyhow::Result<Vec<Device>> {
    let mut answers = Answers::to(1, true);
    answers.take(bytes)?;
    Ok(raw_links(netns, answers.messages).into_iter().map(|link| link.device).collect())
}

fn raw_links(netns: u32, messages: Vec<RouteNetlinkMessage>) -> Vec<RawLink> {
    let links = messages.into_iter().filter_map(|message| match message {
        RouteNetlinkMessage::NewLink(link) => Some(raw_link(netns, link)),
        _ => None,
    });
    links.collect()
}

fn address_text(message: &AddressMessage) -> Option<String> {
    // IFA_LOCAL is the device's own address; IFA_ADDRESS is the other end's on point-to-point devices.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })?;
    Some(format!("{address}/{}", message.header.prefix_len))
}

/// Reads one link message.
fn raw_link(netns: u32, message: LinkMessage) -> RawLink {
    let mut raw = RawLink::default();
    let mut below = None;
    raw.device.netns = netns;
    raw.device.ifindex = message.header.index;
    raw.device.up = message.header.flags.contains(LinkFlags::Up);
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => raw.device.name = name,
            LinkAttribute::Mtu(mtu) => raw.device.mtu = mtu,
            LinkAttribute::Address(bytes) => raw.device.mac = mac_text(&bytes),
            LinkAttribute::Qdisc(kind) => raw.device.qdisc = kind,
            LinkAttribute::Controller(index) if index != 0 => raw.device.master = Some(index),
            LinkAttribute::Link(index) if index != 0 => raw.link = Some(index),
            LinkAttribute::Xdp(found) => raw.device.xdp = xdp_mode(&found).into(),
            LinkAttribute::LinkNetNsId(id) if id >= 0 => raw.link_nsid = Some(id),
            LinkAttribute::Stats64(stats) => {
                raw.stats = DeviceCounters {
                    netns,
                    ifindex: message.header.index,
                    rx_packets: stats.rx_packets,
                    rx_bytes: stats.rx_bytes,
                    tx_packets: stats.tx_packets,
                    tx_bytes: stats.tx_bytes,
                    rx_dropped: stats.rx_dropped,
                    tx_dropped: stats.tx_dropped,
                };
            }
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    match info {
                        LinkInfo::Kind(kind) => raw.device.kind = kind.to_string(),
                        LinkInfo::Data(data) => (raw.device.tunnel, below) = tunnel(&data),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    if raw.device.kind.is_empty() {
        raw.device.kind = match message.header.link_layer_type {
            LinkLayerType::Loopback => "loopback".to_owned(),
            _ => "nic".to_owned(),
        };
    }
    // vxlan tells the device below among its parameters only.
    raw.link = raw.link.or(below.filter(|index| *index != 0));
    (raw.stats.netns, raw.stats.ifindex) = (netns, raw.device.ifindex);
    raw
}

/// Who runs a device's XDP program.
fn xdp_mode(found: &[LinkXdp]) -> &'static str {
    let attached = found.iter().find_map(|attribute| match attribute {
        LinkXdp::Attached(attached) => Some(attached),
        _ => None,
    });
    match attached {
        None | Some(XdpAttached::None) => "",
        Some(XdpAttached::SocketBuffer) => "generic",
        Some(XdpAttached::Hardware) => "hardware",
        Some(XdpAttached::Driver) => "driver",
        Some(_) => "several",
    }
}

/// Kinds that are one end of a pair.
pub(super) fn is_pair(kind: &str) -> bool {
    matches!(kind, "veth" | "netkit" | "vxcan")
}

fn mac_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn some_address(address: IpAddr) -> Option<String> {
    (!address.is_unspecified()).then(|| address.to_string())
}

/// Parameters of a tunnel, and the index of the device below if they name one.
fn tunnel(data: &InfoData) -> (Option<Tunnel>, Option<u32>) {
    let mut tunnel = Tunnel::default();
    let mut below = None;
    match data {
        InfoData::Vxlan(items) => {
            for item in items {
                match item {
                    InfoVxlan::Id(id) => tunnel.id = Some(*id),
                    InfoVxlan::Local(address) => tunnel.local = some_address((*address).into()),
                    InfoVxlan::Local6(address) => tunnel.local = some_address((*address).into()),
                    InfoVxlan::Group(address) => tunnel.remote = some_address((*address).into()),
                    InfoVxlan::Group6(address) => tunnel.remote = some_address((*address).into()),
                    InfoVxlan::Port(port) => tunnel.port = Some(*port),
                    InfoVxlan::Link(index) => below = Some(*index),
                    _ => {}
                }
            }
        }
        InfoData::Geneve(items) => {
            for item in items {
                match item {
                    InfoGeneve::Id(id) => tunnel.id = Some(*id),
                    InfoGeneve::Local(address) => tunnel.local = some_address((*address).into()),
                    InfoGeneve::Local6(address) => tunnel.local = some_address((*address).into()),
                    InfoGeneve::Remote(address) => tunnel.remote = some_address((*address).into()),
                    InfoGeneve::Remote6(address) => tunnel.remote = some_address((*address).into()),
                    InfoGeneve::Port(port) => tunnel.port = Some(*port),
                    _ => {}
                }
            }
        }
        _ => return tunnel_of_packets(data),
    }
    (Some(tunnel), below)
}

/// The same of a tunnel that carries packets of IP, without an identifier of a network.
fn tunnel_of_packets(data: &InfoData) -> (Option<Tunnel>, Option<u32>) {
    let mut tunnel = Tunnel::default();
    let mut below = None;
    match data {
        InfoData::IpTunnel(items) => {
            for item in items {
                match item {
                    InfoIpTunnel::Local(address) => tunnel.local = some_address(*address),
                    InfoIpTunnel::Remote(address) => tunnel.remote = some_address(*address),
                    InfoIpTunnel::Link(index) => below = Some(*index),
                    _ => {}
                }
            }
        }
        InfoData::GreTun(items) | InfoData::GreTap(items) | InfoData::ErSpan(items) => {
            for item in items {
                match item {
                    InfoGre::Local(address) => tunnel.local = some_address((*address).into()),
                    InfoGre::Remote(address) => tunnel.remote = some_address((*address).into()),
                    InfoGre::Link(index) => below = Some(*index),
                    _ => {}
                }
            }
        }
        InfoData::GreTun6(items) | InfoData::GreTap6(items) | InfoData::Ip6ErSpan(items) => {
            for item in items {
                match item {
                    InfoGre6::Local(address) => tunnel.local = some_address((*address).into()),
                    InfoGre6::Remote(address) => tunnel.remote = some_address((*address).into()),
                    InfoGre6::Link(index) => below = Some(*index),
                    _ => {}
                }
            }
        }
        _ => return (None, None),
    }
    (Some(tunnel), below)
}
