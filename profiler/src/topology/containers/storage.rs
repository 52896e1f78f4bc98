//! The files of containers/storage, which podman and CRI-O share.

use std::collections::HashMap;

use serde_json::Value;

use super::{
    bundles::of_kubernetes,
    known::{Known, short},
    names::within,
};
use crate::topology::believed::Files;

/// Where storage is: what stays, and what is of this boot.
type Places = [String; 2];

/// All containers, by id.
pub(super) fn all(files: &Files) -> Vec<(String, Known)> {
    places().iter().flat_map(|places| in_places(files, places)).collect()
}

/// Root's, and that of who asks.
fn places() -> Vec<Places> {
    let mut all = vec![["/var/lib/containers/storage".to_owned(), "/run/containers/storage".to_owned()]];
    let variable = |name: &str| std::env::var(name).ok().filter(|value| value.starts_with('/'));
    if let Some(home) = variable("XDG_DATA_HOME").or_else(|| variable("HOME").map(|home| home + "/.local/share")) {
        let run = variable("XDG_RUNTIME_DIR").unwrap_or_default();
        all.push([home + "/containers/storage", run + "/containers"]);
    }
    all
}

fn in_places(files: &Files, places: &Places) -> Vec<(String, Known)> {
    let mut all = Vec::new();
    for directory in directories(files, places) {
        let [stays, of_boot] = places.each_ref().map(|place| format!("{place}/{directory}"));
        let names: HashMap<String, String> = [&stays, &of_boot]
            .iter()
            .flat_map(|place| listed(files.json(format!("{place}/containers.json"))))
            .collect();
        let configs: HashMap<&String, Value> = names
            .keys()
            .filter_map(|id| {
                let config = |place: &String| files.json(format!("{place}/{id}/userdata/config.json"));
                Some((id, config(&of_boot).or_else(|| config(&stays))?))
            })
            .collect();
        for (id, name) in &names {
            let read = |place: &String| files.read(format!("{place}/{id}/userdata/pidfile"));
            let pid = read(&of_boot).or_else(|| read(&stays)).and_then(|text| text.trim().parse().ok()).unwrap_or(0);
            let (name, engine) = named(id, name, &configs);
            all.push((id.clone(), Known { name, engine, pid, started: None }));
        }
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// "overlay-containers" and its likes, by what storage is built on.
fn directories(files: &Files, places: &Places) -> Vec<String> {
    let mut all: Vec<String> = places
        .iter()
        .flat_map(|place| files.list(place))
        .filter_map(|name| name.to_str().filter(|name| name.ends_with("-containers")).map(str::to_owned))
        .collect();
    all.sort();
    all.dedup();
    all
}

/// Id and name of each container in `containers.json`.
fn listed(list: Option<Value>) -> Vec<(String, String)> {
    let list = list.unwrap_or_default();
    let items = list.as_array().into_iter().flatten();
    items
        .filter_map(|item| {
            let id = item.get("id")?.as_str().filter(|id| !id.contains('/'))?.to_owned();
            let name = item.pointer("/names/0").and_then(Value::as_str).map_or_else(|| short(&id), str::to_owned);
            Some((id, name))
        })
        .collect()
}

/// What a container is called, and whose it is.
fn named(id: &String, name: &str, configs: &HashMap<&String, Value>) -> (String, &'static str) {
    let annotations = |id: &String| configs.get(id)?.get("annotations");
    let text = |annotations: &Value, name: &str| Some(annotations.get(name)?.as_str()?.to_owned());
    let Some(own) = annotations(id) else { return (name.to_owned(), "podman") };
    if let Some(name) = of_kubernetes(own) {
        return (name, "kubernetes");
    }
    let engine = if text(own, "io.container.manager").as_deref() == Some("cri-o") { "cri-o" } else { "podman" };
    // A container that holds a pod's namespaces has the pod's name as that of its host.
    let host =
        |id: &String| configs.get(id)?.get("hostname")?.as_str().filter(|name| !name.is_empty()).map(str::to_owned);
    let is_pod = name.ends_with("-infra") && text(own, "io.kubernetes.cri-o.SandboxID").is_none_or(|pod| pod == *id);
    if is_pod && let Some(pod) = host(id) {
        return (pod, engine);
    }
    let pod = text(own, "io.kubernetes.cri-o.SandboxID").and_then(|pod| host(&pod));
    (pod.map_or_else(|| name.to_owned(), |pod| within(&pod, Some(name))), engine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::believed::tests::Root;

    fn seen(root: &Root) -> Vec<String> {
        let places = ["/var/lib/containers/storage".to_owned(), "/run/containers/storage".to_owned()];
        let all = in_places(&root.files(), &places).into_iter();
        all.map(|(id, known)| format!("{id} {} {} {}", known.name, known.engine, known.pid)).collect()
    }

    #[test]
    fn podman_names_containers_and_pods() {
        let root = Root::new("podman");
        let stays = "/var/lib/containers/storage/overlay-containers";
        root.put(
            &format!("{stays}/containers.json"),
            r#"[{"id":"aa","names":["db"]},{"id":"bb"},{"id":"cc","names":["c0ffee-infra"]},{"id":"dd","names":["web"]},
                {"id":"../../x","names":["odd"]}]"#,
        );
        root.put("/run/containers/storage/overlay-containers/aa/userdata/pidfile", "42\n");
        root.put(
            &format!("{stays}/cc/userdata/config.json"),
            r#"{"hostname":"mypod","annotations":{"io.container.manager":"libpod"}}"#,
        );
        root.put(
            &format!("{stays}/dd/userdata/config.json"),
            r#"{"annotations":{"io.container.manager":"libpod","io.kubernetes.cri-o.SandboxID":"cc"}}"#,
        );
        assert_eq!(seen(&root), ["aa db podman 42", "bb bb podman 0", "cc mypod podman 0", "dd mypod/web podman 0"]);
    }

    #[test]
    fn cri_o_names_pods_of_kubernetes() {
        let root = Root::new("cri-o");
        root.put(
            "/var/lib/containers/storage/overlay-containers/containers.json",
            r#"[{"id":"aa","names":["k8s_POD_web_default_u_0"]},{"id":"bb","names":["k8s_app_web_default_u_0"]}]"#,
        );
        let pod =
            r#""io.kubernetes.pod.namespace":"default","io.kubernetes.pod.name":"web","io.container.manager":"cri-o""#;
        for (id, pid, own) in [
            ("aa", 1, r#""io.kubernetes.cri-o.ContainerType":"sandbox","io.kubernetes.container.name":"POD""#),
            ("bb", 2, r#""io.kubernetes.cri-o.ContainerType":"container","io.kubernetes.container.name":"app""#),
        ] {
            let place = format!("/run/containers/storage/overlay-containers/{id}/userdata");
            root.put(&format!("{place}/config.json"), format!(r#"{{"hostname":"web","annotations":{{{pod},{own}}}}}"#));
            root.put(&format!("{place}/pidfile"), pid.to_string());
        }
        assert_eq!(seen(&root), ["aa default/web kubernetes 1", "bb default/web/app kubernetes 2"]);
    }
}
