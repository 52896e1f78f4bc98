//! What the kubelet calls pods and their containers, whichever engine runs them: names of its directories and links of logs.

use std::collections::HashMap;

use super::names::of_pod;
use crate::{
    output::name,
    topology::{believed::Files, cgroups::is_id},
};

/// Names that the kubelet gave.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// By id of the pod.
    pods: HashMap<String, String>,
    /// By id of the container.
    containers: HashMap<String, String>,
}

impl Names {
    /// Reads them.
    pub fn read(files: &Files) -> Self {
        // "NAMESPACE_POD_ID": none of them can have a "_".
        let pods = files.list("/var/log/pods").into_iter().filter_map(|entry| {
            let entry = name(entry.as_os_str().as_encoded_bytes());
            let [space, pod, id] = entry.split('_').collect::<Vec<_>>().try_into().ok()?;
            Some((id.to_owned(), of_pod(space, pod, None)))
        });
        // "POD_NAMESPACE_CONTAINER-ID.log".
        let containers = files.list("/var/log/containers").into_iter().filter_map(|entry| {
            let entry = name(entry.as_os_str().as_encoded_bytes());
            let [pod, space, rest] = entry.strip_suffix(".log")?.split('_').collect::<Vec<_>>().try_into().ok()?;
            let (container, id) = rest.rsplit_once('-').filter(|(_, id)| is_id(id))?;
            Some((id.to_owned(), of_pod(space, pod, Some(container))))
        });
        Self { pods: pods.collect(), containers: containers.collect() }
    }

    /// The name of a container; of one that is not listed that of its pod, whose namespaces it holds.
    pub fn of(&self, id: &str, pod: Option<&str>) -> Option<&String> {
        self.containers.get(id).or_else(|| self.pods.get(pod?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::believed::tests::Root;

    #[test]
    fn logs_name_pods_and_containers() {
        let root = Root::new("kubelet");
        let id = "0123456789abcdef".repeat(4);
        root.put("/var/log/pods/kube-system_dns-7d_0a-1b/coredns/0.log", "");
        root.put("/var/log/pods/odd", "");
        root.put(&format!("/var/log/containers/dns-7d_kube-system_core-dns-{id}.log"), "");
        root.put("/var/log/containers/dns-7d_kube-system_core-dns-1.log", "");
        let names = Names::read(&root.files());
        let of = |id: &str, pod| names.of(id, pod).map_or("", String::as_str);
        assert_eq!(of(&id, None), "kube-system/dns-7d/core-dns");
        assert_eq!(of("sandbox", Some("0a-1b")), "kube-system/dns-7d");
        assert_eq!((of("sandbox", Some("other")), of("1", None)), ("", ""));
    }
}
