//! Which benchmarks a command runs: by their programs, behind whatever starts them, and within a shell's words.

mod shell;
mod starters;

use shell::{Line, lines};
use starters::{Behind, behind};

/// A benchmark that a command runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Call<T> {
    /// Which one.
    pub tool: T,
    /// Its words, itself the first.
    pub words: Vec<String>,
}

/// The benchmarks of a command, and whether they run at the same time as far as the command tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Calls<T> {
    /// In the order of the words.
    pub calls: Vec<Call<T>>,
    /// All run beside each other: each but the last in the background, and nothing between them.
    pub together: bool,
}

/// Shells in shells, and starters in starters, no deeper than this.
const DEEPEST: usize = 12;

/// Finds the benchmarks of a command; `known` tells a tool by the name of its program.
pub fn calls<T>(command: &[String], known: &impl Fn(&str) -> Option<T>) -> Calls<T> {
    let mut found = Calls { calls: Vec::new(), together: false };
    look(command, known, DEEPEST, &mut found);
    if found.calls.is_empty() {
        found.calls.extend(somewhere(command, known));
    }
    found
}

/// The name of a program without its place.
fn name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

fn look<T>(words: &[String], known: &impl Fn(&str) -> Option<T>, depth: usize, found: &mut Calls<T>) {
    let Some(first) = words.first().filter(|_| depth > 0) else { return };
    if let Some(tool) = known(name(first)) {
        found.calls.push(Call { tool, words: words.to_vec() });
        return;
    }
    match behind(name(first), words, &|image| known(image).is_some()) {
        Behind::Nothing => {}
        Behind::Words(rest) => look(&rest, known, depth - 1, found),
        Behind::Script(script) => {
            let lines = lines(&script);
            let before = found.calls.len();
            let mut which = Vec::new();
            for (at, line) in lines.iter().enumerate() {
                let had = found.calls.len();
                look(&line.words, known, depth - 1, found);
                which.extend((had..found.calls.len()).map(|_| at));
            }
            found.together = before == 0 && together(&lines, &which);
        }
    }
}

/// Whether the lines run at the same time that have a benchmark each.
fn together(lines: &[Line], which: &[usize]) -> bool {
    let (Some(first), Some(last)) = (which.first(), which.last()) else { return false };
    let each = which.windows(2).all(|pair| pair[0] != pair[1]);
    each && lines[*first..*last].iter().all(|line| line.background) && lines.iter().all(|line| line.plain)
}

/// A benchmark behind a program that is not known to start others: `./run.sh iperf3 -c …`.
fn somewhere<T>(command: &[String], known: &impl Fn(&str) -> Option<T>) -> Option<Call<T>> {
    let at = (1..command.len()).find(|&at| {
        let whole = !command[at].contains('/') || command[at].starts_with('/');
        let options = command.get(at + 1).is_some_and(|next| next.starts_with('-'));
        whole && options && known(name(&command[at])).is_some()
    })?;
    Some(Call { tool: known(name(&command[at]))?, words: command[at..].to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOLS: &[&str] = &["iperf3", "sockperf", "netperf", "ping", "wrk"];

    fn known(name: &str) -> Option<&'static str> {
        TOOLS.iter().copied().find(|tool| *tool == name)
    }

    /// Words by blanks; what stands between `'` is one.
    fn found(command: &str) -> Calls<&'static str> {
        let words: Vec<String> = command
            .split('\'')
            .enumerate()
            .flat_map(|(at, part)| if at % 2 == 1 { vec![part] } else { part.split_whitespace().collect() })
            .map(str::to_owned)
            .collect();
        calls(&words, &known)
    }

    /// The benchmarks of a command, each with its words in a line.
    fn told(command: &str) -> Vec<String> {
        found(command).calls.iter().map(|call| call.words.join(" ")).collect()
    }

    #[test]
    fn a_tool_is_known_behind_what_starts_it() {
        for start in [
            "",
            "/usr/bin/",
            "ip netns exec iperf3 ",
            "sudo -u root ip netns exec a ",
            "sudo -E env A=1 -u B C=2 nice -n 5 ",
            "docker exec iperf3 ",
            "docker exec -it -e A=1 --user 0 sockperf ",
            "podman --log-level debug exec wrk ",
            "docker run --rm --network host -v /a:/b image ",
            "docker compose exec -T service ",
            "docker-compose exec -T service ",
            "kubectl exec -n ns ping -- ",
            "kubectl -n ns exec -it pod -c iperf3 -- ",
            "kubectl run x --rm -i --image=a/netperf -- ",
            "timeout -s INT 10 taskset -c 0-1 chrt -f 5 ",
            "numactl -N 0 -m 0 stdbuf -oL setsid nohup time -v ",
            "nsenter -t 1 -n -- ",
            "nsenter --net=/run/netns/a ",
            "ip vrf exec red unshare -n chroot /new ",
            "lxc exec name -- ",
            "crictl exec -i abc ",
            "mnexec -a 123 ",
            "ssh -p 22 -i key root@host ",
            "pasta --config-net -- ",
            "perf stat -e cycles -- ",
            "FOO=bar ",
            "busybox ",
            "flock -n /tmp/x ",
        ] {
            let start = if start == "FOO=bar " { "env FOO=bar " } else { start };
            let call = told(&format!("{start}iperf3 -c 10.0.0.2 -J"));
            assert_eq!(call.len(), 1, "{start}: {call:?}");
            assert!(call[0].ends_with("iperf3 -c 10.0.0.2 -J"), "{start}: {call:?}");
        }
    }

    #[test]
    fn names_of_containers_and_arguments_are_no_tools() {
        assert_eq!(told("docker exec iperf3 sockperf pp -i S"), ["sockperf pp -i S"]);
        assert_eq!(told("curl http://host/iperf3"), [""; 0]);
        assert_eq!(told("grep iperf3 log"), [""; 0]);
        assert_eq!(told("docker exec iperf3 cat /log"), [""; 0]);
        assert_eq!(told("sh -c 'pkill iperf3; echo wrk; # netperf -H x'"), [""; 0]);
    }

    #[test]
    fn an_image_with_the_name_of_a_tool_is_that_tool() {
        assert_eq!(told("docker run --rm networkstatic/iperf3:latest -c S -J"), ["iperf3 -c S -J"]);
        assert_eq!(told("docker run --net host reg:5000/wrk@sha256:ab -t1 http://S"), ["wrk -t1 http://S"]);
        assert_eq!(told("docker run --entrypoint ping image -c 3 S"), ["ping -c 3 S"]);
        assert_eq!(told("docker run a/netperf sh -c 'wrk http://S'"), ["wrk http://S"]);
    }

    #[test]
    fn scripts_are_taken_apart() {
        assert_eq!(told("sh -c 'iperf3 -c S -J'"), ["iperf3 -c S -J"]);
        assert_eq!(told("bash -euxc 'sleep 1 && exec iperf3 -c \"a b\" 2>&1 | tee log'"), ["iperf3 -c a b"]);
        assert_eq!(told("sh -c 'for i in 1 2; do wrk http://S; done'"), ["wrk http://S"]);
        assert_eq!(told("sh -c 'A=1 ip netns exec a sh -c \"ping -c1 S\"'"), ["ping -c1 S"]);
        assert_eq!(told("./run.sh iperf3 -c S"), ["iperf3 -c S"]);
    }

    #[test]
    fn what_runs_together_is_known_by_the_background() {
        for (script, calls, together) in [
            ("iperf3 -c A -J & iperf3 -c B -J & wait", 2, true),
            ("iperf3 -c A >a & iperf3 -c B >b & wait; cat a b; rm a b", 2, true),
            ("iperf3 -c A & iperf3 -c B", 2, true),
            ("cd /tmp; iperf3 -c A & iperf3 -c B", 2, true),
            ("iperf3 -c A; iperf3 -c B", 2, false),
            ("iperf3 -c A && iperf3 -c B", 2, false),
            ("iperf3 -c A & wait; iperf3 -c B", 2, false),
            ("iperf3 -c A & sleep 5; iperf3 -c B", 2, false),
            ("(iperf3 -c A; iperf3 -c B) & wait", 2, false),
            ("for i in 1 2; do iperf3 -c A & iperf3 -c B & done", 2, false),
        ] {
            let found = found(&format!("sh -c '{script}'"));
            assert_eq!((found.calls.len(), found.together), (calls, together), "{script}");
        }
    }

    #[test]
    fn a_command_that_starts_itself_for_ever_ends() {
        assert_eq!(told(&"sudo ".repeat(1000)), [""; 0]);
        assert_eq!(told(&format!("{}iperf3", "nice ".repeat(100))), [""; 0]);
    }
}
