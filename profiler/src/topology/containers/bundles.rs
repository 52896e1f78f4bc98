//! What runtimes leave while a container runs: runc and crun their state, containerd the bundle that it was started with.

use serde_json::Value;

use super::{
    known::{Known, short},
    names::of_pod,
};
use crate::topology::believed::Files;

/// Where runc keeps the state of containers that nobody else manages.
const RUNC: &str = "/run/runc";
const CRUN: &str = "/run/crun";
/// containerd's bundles, by its namespace and the container's id. Its older directory first.
const CONTAINERD: [&str; 2] =
    ["/run/containerd/io.containerd.runtime.v1.linux", "/run/containerd/io.containerd.runtime.v2.task"];

/// All of them, by id. What a manager tells of one of them is better.
pub(super) fn all(files: &Files) -> Vec<(String, Known)> {
    let mut all = runc(files);
    all.extend(crun(files));
    all.extend(containerd(files));
    all
}

fn number(value: &Value, name: &str) -> Option<u64> {
    value.get(name)?.as_u64()
}

fn pid(value: &Value, name: &str) -> u32 {
    number(value, name).and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0)
}

fn runc(files: &Files) -> Vec<(String, Known)> {
    let containers = files.list(RUNC).into_iter().filter_map(|id| {
        let state = files.json(format!("{RUNC}/{}/state.json", id.to_str()?))?;
        let id = state.get("id")?.as_str()?.to_owned();
        let started = number(&state, "init_process_start");
        Some((id.clone(), Known { name: short(&id), engine: "runc", pid: pid(&state, "init_process_pid"), started }))
    });
    containers.collect()
}

fn crun(files: &Files) -> Vec<(String, Known)> {
    let containers = files.list(CRUN).into_iter().filter_map(|id| {
        let id = id.to_str()?;
        let state = files.json(format!("{CRUN}/{id}/status"))?;
        let started = number(&state, "process-start-time");
        Some((id.to_owned(), Known { name: short(id), engine: "crun", pid: pid(&state, "pid"), started }))
    });
    containers.collect()
}

fn containerd(files: &Files) -> Vec<(String, Known)> {
    let mut all = Vec::new();
    for directory in CONTAINERD {
        for space in files.list(directory) {
            let Some(space) = space.to_str() else { continue };
            // These are Docker's, which names them itself.
            if space == "moby" {
                continue;
            }
            let tasks = format!("{directory}/{space}");
            all.extend(files.list(&tasks).iter().filter_map(|id| {
                let id = id.to_str()?;
                let bundle = format!("{tasks}/{id}");
                let config = files.json(format!("{bundle}/config.json"))?;
                let annotations = config.get("annotations").unwrap_or(&Value::Null);
                let pid =
                    files.read(format!("{bundle}/init.pid")).and_then(|text| text.trim().parse().ok()).unwrap_or(0);
                let (name, engine) = match of_kubernetes(annotations) {
                    Some(name) => (name, "kubernetes"),
                    None => (text(annotations, "nerdctl/name").map_or_else(|| short(id), str::to_owned), "containerd"),
                };
                Some((id.to_owned(), Known { name, engine, pid, started: None }))
            }));
        }
    }
    all
}

fn text<'a>(annotations: &'a Value, name: &str) -> Option<&'a str> {
    annotations.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// The name that containerd or CRI-O have noted for the kubelet.
pub(super) fn of_kubernetes(annotations: &Value) -> Option<String> {
    let text = |name: &str| text(annotations, name);
    if let Some((space, pod)) = text("io.kubernetes.cri.sandbox-namespace").zip(text("io.kubernetes.cri.sandbox-name"))
    {
        let is_pod = text("io.kubernetes.cri.container-type") == Some("sandbox");
        return Some(of_pod(space, pod, text("io.kubernetes.cri.container-name").filter(|_| !is_pod)));
    }
    let (space, pod) = text("io.kubernetes.pod.namespace").zip(text("io.kubernetes.pod.name"))?;
    let is_pod = text("io.kubernetes.cri-o.ContainerType") == Some("sandbox");
    Some(of_pod(space, pod, text("io.kubernetes.container.name").filter(|name| !is_pod && *name != "POD")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::believed::tests::Root;

    #[test]
    fn runtimes_tell_first_processes_and_when_they_began() {
        let root = Root::new("bundles");
        root.put("/run/runc/box-a/state.json", r#"{"id":"box-a","init_process_pid":70,"init_process_start":6314796}"#);
        root.put("/run/runc/half/state.json", r#"{"id":"half","init_pro"#);
        root.put(
            "/run/crun/box-b/status",
            r#"{"pid":71,"process-start-time":6314797,"cgroup-path":"/box-b","bundle":"/b"}"#,
        );
        let known = |name: &str, engine, pid, started| {
            (name.to_owned(), Known { name: name.into(), engine, pid, started: Some(started) })
        };
        assert_eq!(all(&root.files()), [known("box-a", "runc", 70, 6_314_796), known("box-b", "crun", 71, 6_314_797)]);
    }

    #[test]
    fn bundles_of_containerd_tell_pods_and_names_of_nerdctl() {
        let root = Root::new("containerd");
        let put = |path: &str, pid: u32, annotations: &str| {
            let bundle = format!("/run/containerd/io.containerd.runtime.v2.task/{path}");
            root.put(
                &format!("{bundle}/config.json"),
                format!(r#"{{"ociVersion":"1.1.0","annotations":{annotations}}}"#),
            );
            root.put(&format!("{bundle}/init.pid"), pid.to_string());
        };
        let pod = r#""io.kubernetes.cri.sandbox-name":"web","io.kubernetes.cri.sandbox-namespace":"default""#;
        put("k8s.io/aa", 1, &format!(r#"{{"io.kubernetes.cri.container-type":"sandbox",{pod}}}"#));
        put(
            "k8s.io/bb",
            2,
            &format!(
                r#"{{"io.kubernetes.cri.container-type":"container","io.kubernetes.cri.container-name":"app",{pod}}}"#
            ),
        );
        put("default/cc", 3, r#"{"nerdctl/name":"db"}"#);
        put("default/plain", 4, "null");
        put("moby/dd", 5, "{}");
        let names: Vec<_> = all(&root.files())
            .into_iter()
            .map(|(id, known)| format!("{id} {} {} {}", known.name, known.engine, known.pid))
            .collect();
        let expected = [
            "cc db containerd 3",
            "plain plain containerd 4",
            "aa default/web kubernetes 1",
            "bb default/web/app kubernetes 2",
        ];
        assert_eq!(names, expected);
    }
}
