//! How the running kernel was built: `/proc/config.gz` or `/boot/config-RELEASE`.

use std::{collections::BTreeMap, io::Read as _};

use crate::host::facts::kernel_release;

/// How the kernel has a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Built {
    /// Built in.
    In,
    /// A module.
    Module,
    /// Left out.
    Out,
    /// The configuration cannot be read.
    Unknown,
}

impl Built {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::In => "built in",
            Self::Module => "module",
            Self::Out => "not in this kernel",
            Self::Unknown => "unknown",
        }
    }
}

/// The configuration of a kernel.
#[derive(Clone, Debug, Default)]
pub struct BuildConfig {
    /// Empty: could not be read.
    options: BTreeMap<String, char>,
}

impl BuildConfig {
    /// Of the running kernel.
    pub fn running() -> Self {
        let packed = std::fs::read("/proc/config.gz").ok().and_then(|bytes| {
            let mut text = String::new();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).ok().map(|_| text)
        });
        let release = kernel_release();
        let text = packed.or_else(|| std::fs::read_to_string(format!("/boot/config-{release}")).ok());
        Self::parse(&text.unwrap_or_default())
    }

    /// Reads lines like `CONFIG_VETH=m`; `# CONFIG_VETH is not set` says nothing that its absence does not.
    pub fn parse(text: &str) -> Self {
        let options = text.lines().filter_map(|line| {
            let (name, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
            Some((name.to_owned(), value.chars().next()?))
        });
        Self { options: options.collect() }
    }

    /// How an option (without `CONFIG_`) is set.
    pub fn built(&self, option: &str) -> Built {
        if self.options.is_empty() {
            return Built::Unknown;
        }
        match self.options.get(option) {
            Some('y') => Built::In,
            Some('m') => Built::Module,
            _ => Built::Out,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_in_a_module_or_out() {
        let config = BuildConfig::parse("CONFIG_VETH=m\nCONFIG_NET=y\n# CONFIG_TUN is not set\n");
        assert_eq!(config.built("VETH"), Built::Module);
        assert_eq!(config.built("NET"), Built::In);
        assert_eq!(config.built("TUN"), Built::Out);
        assert_eq!(BuildConfig::parse("").built("NET"), Built::Unknown);
    }
}
