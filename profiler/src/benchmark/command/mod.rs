//! Which benchmarks a command runs: by their programs, behind whatever starts them, and within a shell's words.

mod shell;
mod starters;

use shell::{Line, lines};
use starters::{Behind, When, behind, may_hide};

/// A benchmark that a command runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Call<T> {
    /// Which one.
    pub tool: T,
    /// Its words, itself the first.
    pub words: Vec<String>,
    /// It may run any number of times: in a loop, in a function.
    pub repeats: bool,
    /// It may have other words besides.
    pub has_more: bool,
    /// Something else may run before it where it stands.
    late: bool,
}

/// The benchmarks of a command, and whether they run at the same time as far as the command tells.
#[derive(Clone, Debug, PartialEq)]
pub struct Calls<T> {
    /// In the order of the words.
    pub calls: Vec<Call<T>>,
    /// All run beside each other: each but the last in the background, and nothing before or between them.
    pub together: bool,
    /// It runs programs that are not known, which may run others.
    pub hides: bool,
}

/// Shells in shells, and starters in starters, no deeper than this.
const DEEPEST: usize = 12;

/// Finds the benchmarks of a command; `known` tells a tool by the name of its program.
pub fn calls<T>(command: &[String], known: &impl Fn(&str) -> Option<T>) -> Calls<T> {
    let mut found = Calls { calls: Vec::new(), together: false, hides: false };
    look(command, known, DEEPEST, &mut found);
    found
}

/// The name of a program without its place.
fn name(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

fn look<T>(words: &[String], known: &impl Fn(&str) -> Option<T>, depth: usize, found: &mut Calls<T>) {
    let Some(first) = words.first().filter(|_| depth > 0) else { return };
    if let Some(tool) = known(name(first)) {
        found.calls.push(Call { tool, words: words.to_vec(), repeats: false, has_more: false, late: false });
        return;
    }
    match behind(name(first), words, &|image| known(image).is_some()) {
        Behind::Nothing => found.hides |= may_hide(name(first)),
        Behind::Words(rest, when) => {
            let before = found.calls.len();
            look(&rest, known, depth - 1, found);
            for call in &mut found.calls[before..] {
                call.repeats |= when == When::Often;
                call.late |= when != When::Now;
            }
        }
        Behind::Image(rest) => {
            let before = found.calls.len();
            look(&rest, known, depth - 1, found);
            found.calls[before..].iter_mut().for_each(|call| call.has_more = true);
        }
        Behind::Script(script) => look_into(&lines(&script), known, depth, found),
    }
}

fn look_into<T>(lines: &[Line], known: &impl Fn(&str) -> Option<T>, depth: usize, found: &mut Calls<T>) {
    let before = found.calls.len();
    let mut which = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let had = found.calls.len();
        look(&line.words, known, depth - 1, found);
        which.extend((had..found.calls.len()).map(|_| at));
        found.calls[had..].iter_mut().for_each(|call| call.repeats |= line.repeats);
    }
    let calls = &mut found.calls[before..];
    // All in one line: what is told there.
    if which.windows(2).any(|pair| pair[0] != pair[1]) || which.len() < 2 {
        found.together =
            before == 0 && together(lines, &which) && calls.iter().all(|call| !(call.late || call.repeats));
    }
    found.together &= !calls.iter().any(|call| call.repeats);
    for (call, at) in calls.iter_mut().zip(which) {
        call.late |= at > 0;
    }
}

/// Whether the lines run at the same time that have a benchmark each.
fn together(lines: &[Line], which: &[usize]) -> bool {
    let (Some(first), Some(last)) = (which.first(), which.last()) else { return false };
    let each = which.windows(2).all(|pair| lines[pair[0]].job != lines[pair[1]].job);
    let begin = which.iter().all(|at| lines[*at].heads);
    let wait = |line: &Line| !line.background && line.job != lines[*last].job;
    each && begin && !lines[*first..*last].iter().any(wait) && lines.iter().all(|line| line.plain)
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
            "prlimit --nofile=1024 ",
            "setpriv --reuid 1000 --clear-groups ",
            "perf stat ",
            "dumb-init ",
            "sudo --chdir /tmp ",
            "ctr -n k8s.io t exec --exec-id a c ",
            "kubectl exec -c app pod ",
            "sshpass -p pw ssh host ",
            "xargs -P4 ",
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
        for command in [
            "grep netperf -c FILE",
            "grep -c -- netperf -H",
            "kubectl exec netperf -it -- ./bench.sh",
            "kubectl exec iperf3 -c app -- cat /etc/hosts",
            "kubectl exec netperf -c wrk ./bench.sh",
            "kubectl logs iperf3 --tail 300",
            "docker logs netperf --tail 1",
            "bash install iperf3 -y",
            "sh -c 'cat <<EOF\nwrk http://x\nEOF\n'",
        ] {
            assert_eq!(told(command), [""; 0], "{command}");
        }
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
        // What a program that is not known does with its words nobody knows.
        assert_eq!(told("./run.sh iperf3 -c S"), [""; 0]);
    }

    #[test]
    fn a_shells_options_and_lines_that_go_on_are_read() {
        for command in [
            "bash -euo pipefail -c 'wrk http://S | tee log'",
            "bash -o pipefail -c 'wrk http://S'",
            "bash -ce 'wrk http://S'",
            "bash --rcfile F -c 'wrk http://S'",
            "bash -c -e 'wrk http://S'",
            "sh -c 'sudo \\\n  wrk http://S'",
            "sh -c 'docker exec c \\\n wrk http://S'",
            "sh -c '\\\nwrk http://S'",
            "script -qec 'wrk http://S' /dev/null",
            "su - u -c 'wrk http://S'",
            "runuser -l u -c 'wrk http://S'",
            "runuser -u nobody -- wrk http://S",
            "env -S 'wrk http://S'",
            "sh -c 'X=\"$(wrk http://S)\"; echo \"$X\"'",
        ] {
            assert_eq!(told(command), ["wrk http://S"], "{command}");
        }
        assert_eq!(told("bash -c"), [""; 0]);
        assert_eq!(told("bash -e run.sh -c wrk"), [""; 0]);
    }

    #[test]
    fn what_may_run_often_is_known() {
        for (command, repeats) in [
            ("sh -c 'for i in 1 2; do wrk A; done'", true),
            ("sh -c 'while wrk A; do true; done'", true),
            ("sh -c 'run() { wrk A; }; run a & run b'", true),
            ("sh -c 'function run { wrk A; }; run; run'", true),
            ("sh -c 'seq 2 | xargs -P2 wrk'", true),
            ("sh -c 'until curl A; do sleep 1; done; wrk A'", false),
            ("sh -c 'if true; then wrk A; fi'", false),
            ("sh -c '(cd /tmp && wrk A)'", false),
            ("sh -c 'for i in 1; do sh -c \"wrk A\"; done'", true),
        ] {
            let found = found(command);
            assert_eq!((found.calls.len(), found.calls[0].repeats), (1, repeats), "{command}");
        }
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
            ("sleep 2 && iperf3 -c A & iperf3 -c B & wait", 2, false),
            ("test -e /x || iperf3 -c A & iperf3 -c B & wait", 2, false),
            ("iperf3 -c A & sleep 2 && iperf3 -c B & wait", 2, false),
            ("iperf3 -c A | cat & iperf3 -c B | cat & wait", 2, true),
            ("iperf3 -c A & sh -c \"sleep 3; iperf3 -c B\"; wait", 2, false),
            ("sh -c \"sleep 3; iperf3 -c A\" & iperf3 -c B & wait", 2, false),
            ("iperf3 -c A & ssh h \"sleep 5; iperf3 -c B\" & wait", 2, false),
            ("iperf3 -c A & ssh h iperf3 -c B & wait", 2, true),
            ("flock x iperf3 -c A & flock x iperf3 -c B & wait", 2, false),
            ("iperf3 -c A & iperf3 -c B\\\n -J & wait", 2, true),
            ("ssh h \"iperf3 -c A & iperf3 -c B & wait\"", 2, true),
            ("for i in 1 2; do sh -c \"iperf3 -c A & iperf3 -c B\"; done", 2, false),
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
