//! Modes of the real Docker engine.

use std::{net::Ipv4Addr, rc::Rc};

use super::{
    super::{
        cleanup::Session,
        docker::{Container, Daemon},
        process::Process,
    },
    Network, Place, Site,
};

impl Place for Container {
    fn spawn(&self, session: &Session, words: &[String]) -> anyhow::Result<Process> {
        Process::spawn(self.exec(words), None, libc::SIGKILL, Some(&session.children()))
    }

    fn inside(&self, _child: u32) -> u32 {
        self.pid()
    }

    fn sweep(&self) {
        Container::sweep(self);
    }
}

/// Two containers on the network of the daemon's namespace.
pub fn host(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let [client, server] = containers(site, true)?;
    Ok(Network::new(client, server, Ipv4Addr::LOCALHOST))
}

/// Two containers on Docker's default bridge.
pub fn bridge(site: &mut Site<'_>) -> anyhow::Result<Network> {
    let [client, server] = containers(site, false)?;
    let address = server.address()?;
    Ok(Network::new(client, server, address))
}

fn containers(site: &mut Site<'_>, host: bool) -> anyhow::Result<[Rc<Container>; 2]> {
    let session = site.session;
    let daemon = site.shared.get_or_make(|| Daemon::start(session))?;
    let start =
        |side: &str| Container::start(&daemon, session, &format!("{}-{side}", site.mode.name), host).map(Rc::new);
    Ok([start("client")?, start("server")?])
}
