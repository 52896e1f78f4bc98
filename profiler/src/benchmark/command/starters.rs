//! Programs that start others: where the words of the other begin.

/// What stands behind a program that starts others.
pub enum Behind {
    /// It starts none, or none that can be seen.
    Nothing,
    /// The words of a command.
    Words(Vec<String>, When),
    /// The same of an image's own program, which the image may give other words before them.
    Image(Vec<String>),
    /// A shell's script.
    Script(String),
}

/// When a program starts the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// Once and at once.
    Now,
    /// Once, perhaps after a while.
    Later,
    /// Any number of times, with words that are not known.
    Often,
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
    starter("sudo", SUDO_VALUED, 0),
    starter("doas", &["-u", "-C"], 0),
    starter("gosu", &[], 1),
    starter("su-exec", &[], 1),
    starter("runuser", &["-u", "-g", "-G"], 0),
    starter("setpriv", SETPRIV_VALUED, 0),
    starter("prlimit", &["-o", "--output"], 0),
    starter("env", &["-u", "-C", "--unset", "--chdir"], 0),
    starter("nice", &["-n", "--adjustment"], 0),
    starter("ionice", &["-c", "-n"], 0),
    starter("nohup", &[], 0),
    starter("setsid", &[], 0),
    starter("setarch", &[], 0),
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
    starter("systemd-run", &["-p", "-u", "-M", "-E", "--property", "--unit", "--slice", "--setenv"], 0),
    starter("systemd-inhibit", &[], 0),
    starter("flock", &["-w", "-E"], 1),
    starter("xargs", &["-I", "-n", "-P", "-L", "-d", "-a"], 0),
    starter("strace", &["-e", "-o", "-p", "-s"], 0),
    starter("perf", &["-e", "-o", "-F", "-C", "-I", "-r", "-x", "--event", "--output"], 1),
    starter("mnexec", &["-a", "-g", "-r"], 0),
    starter("faketime", &[], 1),
    starter("dumb-init", &["-r", "--rewrite"], 0),
    starter("tini", &["-e", "-p"], 0),
    starter("catatonit", &[], 0),
    starter("sshpass", &["-p", "-f", "-d", "-P"], 0),
    starter("busybox", &[], 0),
    starter("exec", &["-a"], 0),
    starter("command", &[], 0),
];

const SUDO_VALUED: &[&str] = &[
    "-u",
    "-g",
    "-h",
    "-p",
    "-C",
    "-D",
    "-R",
    "-T",
    "-U",
    "-r",
    "-t",
    "--user",
    "--group",
    "--chdir",
    "--chroot",
    "--close-from",
    "--host",
    "--prompt",
    "--role",
    "--type",
    "--other-user",
    "--command-timeout",
];
const SETPRIV_VALUED: &[&str] = &[
    "--reuid",
    "--regid",
    "--ruid",
    "--rgid",
    "--euid",
    "--egid",
    "--groups",
    "--inh-caps",
    "--ambient-caps",
    "--bounding-set",
    "--securebits",
    "--pdeathsig",
    "--selinux-label",
    "--apparmor-profile",
];
/// Programs whose command is a word, a script, behind an option of this letter or this name.
const SCRIPTED: &[(&str, char, &str)] = &[
    ("script", 'c', "--command"),
    ("su", 'c', "--command"),
    ("runuser", 'c', "--command"),
    ("env", 'S', "--split-string"),
];
/// Programs whose command stands behind `--`: `lxc exec NAME --`. Of others nobody knows what they do with it.
const DASHED: &[&str] = &[
    "lxc",
    "lxc-attach",
    "incus",
    "pasta",
    "passt",
    "cset",
    "minikube",
    "multipass",
    "toolbox",
    "firejail",
    "cpulimit",
    "machinectl",
    "systemd-nspawn",
    "distrobox",
];
/// Programs that print what others have printed, and start none.
const SHOWING: &[&str] =
    &["cat", "curl", "wget", "grep", "head", "tail", "sed", "awk", "echo", "printf", "jq", "less", "zcat", "which"];

/// Whether a program that is no tool may run one that cannot be seen.
pub fn may_hide(name: &str) -> bool {
    !SHOWING.contains(&name)
}

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
    if let Some((_, letter, long)) = SCRIPTED.iter().find(|(scripted, ..)| *scripted == name)
        && let Some(script) = scripted(name, words, *letter, long)
    {
        return Behind::Script(script);
    }
    if let Some(starter) = STARTERS.iter().find(|starter| starter.name == name) {
        return starting(starter, words);
    }
    if ENGINES.contains(&name) {
        return engine(words, is_tool);
    }
    let words = match name {
        "ip" => inside_ip(words),
        "ssh" => return remote(words),
        "kubectl" | "oc" => in_pod(words),
        "ctr" => in_task(words),
        _ if DASHED.contains(&name) => after_dashes(words),
        _ => None,
    };
    words.map_or(Behind::Nothing, |words| Behind::Words(words, When::Now))
}

/// The script of `sh -c`: the first word behind all options, one of which is `-c`.
fn script(words: &[String]) -> Behind {
    let mut told = false;
    let mut at = 1;
    while let Some(word) = words.get(at).filter(|word| word.len() > 1 && word.starts_with(['-', '+'])) {
        at += 1;
        if word == "--" {
            break;
        }
        if word.starts_with("--") {
            at += usize::from(matches!(word.as_str(), "--rcfile" | "--init-file"));
        } else {
            told |= word.starts_with('-') && word.contains('c');
            // The name of an option of the shell.
            at += word.chars().filter(|letter| matches!(letter, 'o' | 'O')).count();
        }
    }
    match words.get(at).filter(|_| told) {
        Some(script) => Behind::Script(script.clone()),
        None => Behind::Nothing,
    }
}

/// The word behind an option, which may stand at the end of others: `-qec SCRIPT`.
fn scripted(name: &str, words: &[String], letter: char, long: &str) -> Option<String> {
    // Behind these words stand another program's.
    let end = match name {
        "env" => options(words, 1, &["-u", "-C"]),
        "runuser" if words.iter().any(|word| word == "-u" || word == "--user") => 0,
        _ => words.iter().position(|word| word == "--").unwrap_or(words.len()),
    };
    words.iter().enumerate().take(end).skip(1).find_map(|(at, word)| {
        let short = word.starts_with('-') && !word.starts_with("--") && word.ends_with(letter);
        match word.strip_prefix(long) {
            Some("") => words.get(at + 1).cloned(),
            Some(rest) => rest.strip_prefix('=').map(str::to_owned),
            None if short => words.get(at + 1).cloned(),
            None => None,
        }
    })
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
    at = options(words, at + starter.own, starter.valued);
    if starter.name == "flock" && words.get(at - 1).is_some_and(|word| word == "-c") {
        // Whoever holds the lock is waited for.
        return words.get(at).map_or(Behind::Nothing, |script| {
            Behind::Words(vec!["sh".into(), "-c".into(), script.clone()], When::Later)
        });
    }
    let when = match starter.name {
        "flock" => When::Later,
        "xargs" => When::Often,
        _ => When::Now,
    };
    Behind::Words(words.get(at..).unwrap_or_default().to_vec(), when)
}

/// `ip netns exec NAME …` and `ip vrf exec NAME …`.
fn inside_ip(words: &[String]) -> Option<Vec<String>> {
    let at = words.iter().position(|word| word == "exec")?;
    words.get(at - 1).filter(|word| *word == "netns" || *word == "vrf")?;
    Some(words.get(at + 2..).unwrap_or_default().to_vec())
}

/// `kubectl exec POD … -- …`, also without the dashes, and `kubectl run … -- …`.
fn in_pod(words: &[String]) -> Option<Vec<String>> {
    const VALUED: &[&str] = &[
        "-n",
        "-c",
        "-s",
        "-f",
        "--namespace",
        "--container",
        "--context",
        "--cluster",
        "--kubeconfig",
        "--server",
        "--user",
        "--as",
        "--token",
        "--filename",
        "--pod-running-timeout",
        "--request-timeout",
    ];
    let at = options(words, 1, VALUED);
    match words.get(at)?.as_str() {
        "exec" | "run" | "debug" if words.iter().any(|word| word == "--") => after_dashes(words),
        "exec" => {
            let pod = options(words, at + 1, VALUED);
            Some(words.get(options(words, pod + 1, VALUED)..).unwrap_or_default().to_vec())
        }
        _ => None,
    }
}

/// `ctr task exec --exec-id ID CONTAINER …`.
fn in_task(words: &[String]) -> Option<Vec<String>> {
    const VALUED: &[&str] = &["-n", "-a", "--namespace", "--address", "--exec-id", "--cwd", "--user", "--timeout"];
    let task = options(words, 1, VALUED);
    let exec = options(words, task + 1, VALUED);
    let known = matches!(words.get(task)?.as_str(), "t" | "task" | "tasks") && words.get(exec)? == "exec";
    let container = options(words, exec + 1, VALUED);
    known.then(|| words.get(container + 1..).unwrap_or_default().to_vec())
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
        Some(entry) => Behind::Words([vec![entry], rest].concat(), When::Now),
        None if runs && first_is_option && is_tool(image_name) => {
            Behind::Image([vec![image_name.to_owned()], rest].concat())
        }
        None => Behind::Words(rest, When::Now),
    }
}
