//! The reference plugins of the Container Network Interface, called as its specification says: the configuration on
//! standard input, everything else in the environment.
//! <https://github.com/containernetworking/cni/blob/v1.1.2/SPEC.md#section-3-execution-of-network-configurations>

use std::{
    fs::{self, File},
    net::IpAddr,
    path::{Path, PathBuf},
    process::Command,
    rc::Rc,
    time::Duration,
};

use anyhow::Context as _;
use serde_json::Value;

use super::{cleanup::Lab, namespace::Namespace};
use crate::{
    cli::Ip,
    host::{process::Process, program, runtime},
};

/// Where Debian puts the plugins, and where they are put by hand.
const DIRECTORIES: &[&str] = &["/usr/lib/cni", "/opt/cni/bin"];
const STEP: Duration = Duration::from_secs(10);
/// The name that the interface gets inside.
const INTERFACE: &str = "eth0";

/// Why this plugin cannot be used here, if so.
pub fn missing(plugin: &str) -> Option<String> {
    for name in [plugin, "host-local"] {
        if find(name).is_none() {
            return Some(format!(
                "the CNI plugin `{name}` is not installed (Debian: apt-get install containernetworking-plugins)"
            ));
        }
    }
    if program::find_system("iptables").is_none() {
        return Some("the CNI plugins need iptables (Debian: apt-get install iptables)".into());
    }
    None
}

fn find(plugin: &str) -> Option<PathBuf> {
    DIRECTORIES.iter().map(|directory| Path::new(directory).join(plugin)).find(|path| path.is_file())
}

/// A network: the configurations of its plugins, in the order in which they are called, and the namespace that they take
/// for the host.
pub struct CniNetwork {
    plugins: Vec<(PathBuf, Value)>,
    /// Where configurations are put for the plugins to read.
    directory: PathBuf,
    host: Rc<Namespace>,
}

impl CniNetwork {
    /// Writes the configuration of a network; addresses are given by the plugin `host-local`, whose state stays within
    /// the lab.
    pub fn new(lab: &Lab, host: Rc<Namespace>, name: &str, configurations: Vec<Value>) -> anyhow::Result<Self> {
        let directory = lab.directory().join(name);
        fs::create_dir_all(&directory)?;
        let mut plugins = Vec::new();
        for mut configuration in configurations {
            configuration["cniVersion"] = "0.4.0".into();
            configuration["name"] = name.into();
            if configuration["ipam"].is_object() {
                configuration["ipam"]["type"] = "host-local".into();
                configuration["ipam"]["dataDir"] = directory.join("addresses").display().to_string().into();
            }
            let plugin = configuration["type"].as_str().context("a network has a plugin")?;
            let plugin = find(plugin).with_context(|| format!("the CNI plugin `{plugin}` is not installed"))?;
            plugins.push((plugin, configuration));
        }
        Ok(Self { plugins, directory, host })
    }

    /// Calls all plugins to put a container into the network, each with the result of the one before; gives the last one's.
    fn add(&self, container: &Namespace) -> anyhow::Result<String> {
        self.plugins.iter().try_fold(String::new(), |result, plugin| self.call("ADD", plugin, &result, container, true))
    }

    /// Calls them to take it out, the last one first, with the result of the whole.
    fn delete(&self, container: &Namespace, result: &str) {
        for plugin in self.plugins.iter().rev() {
            // The namespaces go next, and with them whatever a plugin would have left.
            let _ = self.call("DEL", plugin, result, container, false);
        }
    }

    /// Calls a plugin for a container.
    fn call(
        &self,
        verb: &str,
        (plugin, configuration): &(PathBuf, Value),
        before: &str,
        container: &Namespace,
        heed: bool,
    ) -> anyhow::Result<String> {
        let mut configuration = configuration.clone();
        if !before.is_empty() {
            configuration["prevResult"] = serde_json::from_str(before).context("a CNI plugin's result is not JSON")?;
        }
        let path = self.directory.join("network.json");
        fs::write(&path, configuration.to_string())?;
        let mut command = Command::new(plugin);
        command.env("CNI_COMMAND", verb).env("CNI_CONTAINERID", container.name()).env("CNI_NETNS", container.path());
        command.env("CNI_IFNAME", INTERFACE).env("CNI_PATH", plugin.parent().unwrap_or(Path::new("/")));
        // Debian's iptables lie in /usr/sbin, which a user's PATH may lack.
        command.env("PATH", format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default()));
        let input = File::open(&path)?;
        let process = Process::spawn_reading(command, input, Some(&self.host.path()), libc::SIGKILL, None)?;
        runtime::wait(process.finish(STEP, heed)).with_context(|| format!("CNI {verb} of {}", plugin.display()))
    }
}

/// A container's place in a network; dropping it gives the place back.
pub struct Attachment {
    network: Rc<CniNetwork>,
    container: Rc<Namespace>,
    /// What the plugins said.
    result: String,
    /// The address that the container got.
    pub address: IpAddr,
}

impl Attachment {
    /// Puts the container into the network.
    pub fn add(network: &Rc<CniNetwork>, container: &Rc<Namespace>) -> anyhow::Result<Self> {
        let said = network.add(container);
        let said = said.and_then(|said| Ok((address(&said, container.ip_version())?, said)));
        if said.is_err() {
            // "…runtimes should delete after a failed add": what the plugins made until then goes.
            network.delete(container, "");
        }
        let (address, result) = said?;
        Ok(Self { network: network.clone(), container: container.clone(), result, address })
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.network.delete(&self.container, &self.result);
    }
}

/// The first address of this version in an ADD's result.
fn address(result: &str, ip: Ip) -> anyhow::Result<IpAddr> {
    let value: Value = serde_json::from_str(result).context("the CNI plugin's result is not JSON")?;
    let addresses = value["ips"].as_array().map(Vec::as_slice).unwrap_or_default();
    addresses
        .iter()
        .filter_map(|found| found["address"].as_str()?.split('/').next()?.parse::<IpAddr>().ok())
        .find(|address| address.is_ipv6() == (ip == Ip::V6))
        .with_context(|| format!("the CNI plugin gave no address of IPv{}: {result}", ip.number()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_first_of_the_version() {
        let result = r#"{"ips":[{"version":"6","address":"fd00::2/64"},{"version":"4","address":"10.1.0.2/24"}]}"#;
        assert_eq!(address(result, Ip::V4).unwrap(), IpAddr::from([10, 1, 0, 2]));
        assert_eq!(address(result, Ip::V6).unwrap().to_string(), "fd00::2");
        assert!(address("{}", Ip::V4).is_err() && address("", Ip::V4).is_err());
    }

    #[test]
    fn a_plugin_that_is_not_there_is_named_with_its_package() {
        let reason = missing("no-such-plugin").unwrap();
        assert!(reason.contains("`no-such-plugin`") && reason.contains("containernetworking-plugins"), "{reason}");
    }
}
