//! Programs that start others: where the words of the other begin.

/// What stands behind a program that starts others.
pub enum Behind {
    /// It starts none, or none that can be seen.
    Nothing,
    /// The words of a command.
    Words(Vec<String>),
    /// A shell's script.
    Script(String),
}

/// How a program that starts others is told what.
struct Starter {
    name: &'static str,
    /// Its options that have a value in the next word.
    valued: &'static [&'static str],
    /// Words of its own before the command.
    own: usize,
}

const fn starter(name: &'static str, valued: &'static [&'static str], own: usize) -> Starter {
    Starter { name, valued, own }
}

/// The only list of them; those with words of another order are below.
const STARTERS: &[Starter] = &[
    starter("sudo", &["-u", "-g", "-h", "-p", "-C", "-D", "-R", "-T", "-U", "-r", "-t", "--user", "--group"], 0),
    starter("doas", &["-u", "-C"], 0),
    starter("runuser", &["-u", "-g", "-G"], 0),
    starter("setpriv", &[], 0),
    starter("env", &["-u", "-C", "--unset", "--chdir"], 0),
    starter("nice", &["-n", "--adjustment"], 0),
    starter("ionice", &["-c", "-n"], 0),
    starter("nohup", &[], 0),
    starter("setsid", &[], 0),
    starter("stdbuf", &["-i", "-o", "-e"], 0),
    starter("unbuffer", &[], 0),
    starter("time", &["-f", "-o", "--format", "--output"], 0),
    starter("timeout", &["-k", "-s", "--kill-after", "--signal"], 1),
    starter("taskset", &[], 1),
    starter("chrt", &["-T", "-P", "-D"], 1),
    starter("numactl", &["-N", "-m", "-C", "-i", "-p", "--cpunodebind", "--membind", "--physcpubind"], 0),
    starter("nsenter", &["-t", "--target", "-S", "-G"], 0),
    starter("unshare", &["-S", "-G", "-R", "-w"], 0),
    starter("chroot", &[], 1),
    starter("cgexec", &["-g"], 0),
    starter("systemd-run", &["-p", "-u", "-M", "--property", "--unit", "--slice"], 0),
    starter("systemd-inhibit", &[], 0),
    starter("flock", &["-w", "-E"], 1),
    starter("xargs", &["-I", "-n", "-P", "-L", "-d", "-a"], 0),
    starter("strace", &["-e", "-o", "-p", "-s"], 0),
    starter("mnexec", &["-a", "-g", "-r"], 0),
    starter("faketime", &[], 1),
    starter("busybox", &[], 0),
    starter("exec", &["-a"], 0),
    starter("command", &[], 0),
];

const SHELLS: &[&str] = &["sh", "bash", "dash", "ash", "zsh", "ksh", "busybox-sh"];
/// Programs of containers that have `exec` and `run`.
const ENGINES: &[&str] = &["docker", "docker-compose", "podman", "nerdctl", "crictl", "finch"];
const ENGINE_VALUED: &[&str] = &[
    "-u",
    "-w",
    "-e",
    "-v",
    "-p",
    "-m",
    "-h",
    "-l",
    "-c",
    "-H",
    "-f",
    "--user",
    "--workdir",
    "--env",
    "--env-file",
    "--volume",
    "--publish",
    "--memory",
    "--hostname",
    "--label",
    "--name",
    "--network",
    "--net",
    "--cpus",
    "--cpuset-cpus",
    "--cpu-shares",
    "--mount",
    "--ip",
    "--ip6",
    "--cap-add",
    "--cap-drop",
    "--entrypoint",
    "--runtime",
    "--pid",
    "--ipc",
    "--sysctl",
    "--ulimit",
    "--device",
    "--dns",
    "--add-host",
    "--security-opt",
    "--platform",
    "--pull",
    "--restart",
    "--tmpfs",
    "--log-level",
    "--log-driver",
    "--host",
    "--context",
    "--config",
    "--detach-keys",
    "--link",
    "--network-alias",
    "--mac-address",
    "--userns",
    "--cgroup-parent",
    "--shm-size",
    "--namespace",
    "--file",
    "--project-name",
    "--index",
    "--timeout",
];

/// What `words` start, the first of which is a program of this name; `is_tool` tells whether a name is a benchmark's.
pub fn behind(name: &str, words: &[String], is_tool: &dyn Fn(&str) -> bool) -> Behind {
    if SHELLS.contains(&name) {
        return script(words);
    }
    if let Some(starter) = STARTERS.iter().find(|starter| starter.name == name) {
        return starting(starter, words);
    }
    if ENGINES.contains(&name) {
        return engine(words, is_tool);
    }
    match name {
        "ip" => inside_ip(words),
        "ssh" | "sshpass" => remote(words),
        // `kubectl exec POD --`, `lxc exec NAME --`, `perf stat --`, `pasta --`, and whatever else does it in this way.
        _ => after_dashes(words).map_or(Behind::Nothing, Behind::Words),
    }
}

/// The script of `sh -c`, behind whatever other options.
fn script(words: &[String]) -> Behind {
    let short = |word: &String| word.starts_with('-') && !word.starts_with("--") && word.ends_with('c');
    let at = words.iter().take_while(|word| words[0] == **word || word.starts_with(['-', '+'])).position(short);
    match at.and_then(|at| words.get(at + 1)) {
        Some(script) => Behind::Script(script.clone()),
        None => Behind::Nothing,
    }
}

/// How many words are options, from the one at `at` on.
fn options(words: &[String], mut at: usize, valued: &[&str]) -> usize {
    while let Some(word) = words.get(at) {
        if word == "--" {
            return at + 1;
        }
        if !word.starts_with('-') || word.len() < 2 {
            return at;
        }
        at += if valued.contains(&word.as_str()) { 2 } else { 1 };
    }
    at
}

fn starting(starter: &Starter, words: &[String]) -> Behind {
    let mut at = options(words, 1, starter.valued);
    // Variables of `env` and `sudo`, and options behind them.
    while words.get(at).is_some_and(|word| word.contains('=') && !word.starts_with('/')) {
        at = options(words, at + 1, starter.valued);
    }
    at = options(words, at + starter.own, &[]);
    if starter.name == "flock" && words.get(at - 1).is_some_and(|word| word == "-c") {
        return words.get(at).map_or(Behind::Nothing, |script| Behind::Script(script.clone()));
    }
    Behind::Words(words.get(at..).unwrap_or_default().to_vec())
}

/// `ip netns exec NAME …` and `ip vrf exec NAME …`.
fn inside_ip(words: &[String]) -> Behind {
    match words.iter().position(|word| word == "exec") {
        Some(at) if words.get(at - 1).is_some_and(|word| word == "netns" || word == "vrf") => {
            Behind::Words(words.get(at + 2..).unwrap_or_default().to_vec())
        }
        _ => Behind::Nothing,
    }
}

/// What another host is told is a script there.
fn remote(words: &[String]) -> Behind {
    const VALUED: &[&str] = &[
        "-b", "-c", "-D", "-E", "-e", "-F", "-I", "-i", "-J", "-L", "-l", "-m", "-O", "-o", "-p", "-Q", "-R", "-S",
        "-W", "-w",
    ];
    let at = options(words, 1, VALUED);
    match words.get(at + 1..) {
        Some(rest) if !rest.is_empty() => Behind::Script(rest.join(" ")),
        _ => Behind::Nothing,
    }
}

fn after_dashes(words: &[String]) -> Option<Vec<String>> {
    let at = words.iter().position(|word| word == "--")?;
    Some(words[at + 1..].to_vec())
}

/// `docker exec CONTAINER …`, `docker run IMAGE …`, `docker compose exec SERVICE …`: an image may have the name of a tool, which
/// it then runs.
fn engine(words: &[String], is_tool: &dyn Fn(&str) -> bool) -> Behind {
    let at = options(words, 1, ENGINE_VALUED);
    let at = if words.get(at).is_some_and(|word| word == "compose" || word == "container") {
        options(words, at + 1, ENGINE_VALUED)
    } else {
        at
    };
    let runs = match words.get(at).map(String::as_str) {
        Some("exec") => false,
        Some("run") => true,
        _ => return Behind::Nothing,
    };
    let place = options(words, at + 1, ENGINE_VALUED);
    let entry = words[at..place.min(words.len())].iter().enumerate().find_map(|(offset, word)| {
        if word == "--entrypoint" {
            words.get(at + offset + 1).cloned()
        } else {
            word.strip_prefix("--entrypoint=").map(str::to_owned)
        }
    });
    let rest = words.get(place + 1..).unwrap_or_default().to_vec();
    let image = words.get(place).map_or("", String::as_str);
    let image_name =
        image.split('@').next().unwrap_or("").rsplit('/').next().unwrap_or("").split(':').next().unwrap_or("");
    let first_is_option = rest.first().is_none_or(|word| word.starts_with('-'));
    match entry {
        Some(entry) => Behind::Words([vec![entry], rest].concat()),
        None if runs && first_is_option && is_tool(image_name) => {
            Behind::Words([vec![image_name.to_owned()], rest].concat())
        }
        None => Behind::Words(rest),
    }
}
