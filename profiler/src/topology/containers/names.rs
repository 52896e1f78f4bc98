//! What containers are called: by their own name, or by that of their pod and their own with a slash between. A container that
//! only holds the pod's namespaces has the pod's name.

use std::collections::BTreeMap;

use super::super::Container;

/// A container of a Kubernetes pod, or the pod.
pub(super) fn of_pod(namespace: &str, pod: &str, container: Option<&str>) -> String {
    within(&format!("{namespace}/{pod}"), container)
}

/// A container of a pod of this name, or the pod.
pub(super) fn within(pod: &str, container: Option<&str>) -> String {
    match container {
        Some(container) => format!("{pod}/{container}"),
        None => pod.to_owned(),
    }
}

/// What network namespaces are called by their containers.
pub(in super::super) fn of_namespaces(containers: &[Container]) -> BTreeMap<u32, String> {
    let mut names: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for container in containers.iter().filter(|container| container.netns != 0) {
        names.entry(container.netns).or_default().push(&container.name);
    }
    names.into_iter().map(|(netns, names)| (netns, together(names))).collect()
}

/// One name for containers that share a namespace: "web+log", of a pod "default/web/app+log".
fn together(mut names: Vec<&str>) -> String {
    names.sort_unstable();
    names.dedup();
    let pods = |names: &[&str]| -> Vec<String> {
        names.iter().filter_map(|name| Some(name.rsplit_once('/')?.0.to_owned())).collect()
    };
    // Its containers tell the pod.
    let known = pods(&names);
    names.retain(|name| !known.iter().any(|pod| pod == name));
    let known = pods(&names);
    match known.first() {
        Some(first) if names.len() == known.len() && known.iter().all(|pod| pod == first) => {
            let own: Vec<&str> = names.iter().map(|name| &name[first.len() + 1..]).collect();
            format!("{first}/{}", own.join("+"))
        }
        _ => names.join("+"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_that_share_a_namespace_share_its_name() {
        let container = |name: &str, netns| Container { name: name.into(), netns, ..Container::default() };
        let containers = [container("web", 7), container("log", 7), container("db", 8), container("gone", 0)];
        let names = of_namespaces(&containers);
        assert_eq!((names[&7].as_str(), names[&8].as_str(), names.len()), ("log+web", "db", 2));
    }

    #[test]
    fn a_pod_is_named_once() {
        for (names, expected) in [
            (&["default/web", "default/web/log", "default/web/app"][..], "default/web/app+log"),
            (&["default/web"], "default/web"),
            (&["default/web", "default/web/app"], "default/web/app"),
            (&["default/web/app", "other/web/app"], "default/web/app+other/web/app"),
            (&["default/web/app", "db"], "db+default/web/app"),
            (&["pod/a", "pod"], "pod/a"),
        ] {
            assert_eq!(together(names.to_vec()), expected);
        }
        assert_eq!([of_pod("a", "b", None), of_pod("a", "b", Some("c"))], ["a/b", "a/b/c"]);
    }
}
