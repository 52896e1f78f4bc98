//! Runs of `netstrata lab run`, what they wrote and what they left.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use netstrata::host::facts::start_time;
use serde_json::Value;

use super::{
    NETSTRATA,
    directory::Directory,
    process::Process,
    wait::{until, until_within},
};

/// A run; killed when dropped.
pub struct Lab {
    process: Process,
    directory: Directory,
}

/// How a run ended.
pub struct Ended {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
    /// `comparison.json`; null without one.
    pub comparison: Value,
    /// Names of the files that it wrote, in order.
    pub files: Vec<String>,
}

impl Ended {
    /// Benchmarks of all rows, the runs of a row one after another.
    pub fn runs(&self) -> Vec<&Value> {
        let rows = self.comparison["modes"].as_array().unwrap();
        rows.iter().flat_map(|row| row["runs"].as_array().unwrap()).collect()
    }
}

impl Lab {
    /// Starts a run.
    pub fn start(words: &[&str]) -> Self {
        let directory = Directory::new();
        let child = Command::new(NETSTRATA)
            .args(["lab", "run"])
            .args(words)
            .arg("-o")
            .arg(directory.file("run"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { process: Process(child), directory }
    }

    /// Runs one to its end; nothing of it is left.
    pub fn run(words: &[&str]) -> Ended {
        let mut lab = Self::start(words);
        let ended = lab.end();
        assert_eq!(left(lab.id()), NOTHING, "{words:?}");
        ended
    }

    /// The process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        self.process.signal(signal);
    }

    /// Whether it runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// A file that it wrote.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.file("run").join(name)
    }

    /// Waits for its end.
    pub fn end(&mut self) -> Ended {
        let child = &mut self.process.0;
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let errors = thread::spawn(move || std::io::read_to_string(err).unwrap());
        let out = std::io::read_to_string(out).unwrap();
        let (err, status) = (errors.join().unwrap(), child.wait().unwrap());
        let comparison = fs::read_to_string(self.file("comparison.json"));
        let written = fs::read_dir(self.directory.file("run")).into_iter().flatten();
        let mut files: Vec<String> = written.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        Ended {
            code: status.code(),
            out,
            err,
            comparison: comparison.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap()),
            files,
        }
    }

    /// Waits until both workers of a measured run of so many milliseconds, not of the warm-up before, run; their ids.
    pub fn until_workers_of(&mut self, milliseconds: u32) -> Vec<u32> {
        let duration = format!("--duration\0{milliseconds}ms\0");
        let measured = |id: &u32| {
            let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&words).contains(&duration)
        };
        let mut found = Vec::new();
        until("workers", || {
            assert!(self.process.is_running(), "the lab ended early");
            found = children(self.process.id());
            found.retain(measured);
            found.len() == 2
        });
        found
    }

    /// Waits until this file exists, which takes an engine or a guest its time, or until the run ends.
    pub fn until_exists(&mut self, file: &str) {
        let patience = std::time::Duration::from_secs(300);
        until_within(patience, file, || Path::new(file).exists() || !self.process.is_running());
    }
}

/// Waits until processes are gone.
pub fn until_gone(ids: &[u32]) {
    until("the end of the workers", || ids.iter().all(|id| start_time(*id).is_none()));
}

/// Ids of the processes that run `pid` started, from the notes that it keeps.
fn children(pid: u32) -> Vec<u32> {
    let directory = Path::new("/run/netstrata-lab").join(pid.to_string()).join("children");
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// For comparison with what is left.
pub const NOTHING: [&str; 0] = [];

/// What is left of run `pid`: namespaces, state, mounts, and programs of engines and guests.
pub fn left(pid: u32) -> Vec<String> {
    let (prefix, state) = (format!("nslab-{pid}-"), format!("/run/netstrata-lab/{pid}"));
    let namespaces = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let names = namespaces.filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<String> = names.filter(|name| name.starts_with(&prefix)).collect();
    found.extend(Path::new(&state).exists().then(|| state.clone()));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(&prefix) || line.contains(&state)).map(str::to_owned));
    found.extend(programs(pid));
    found
}

/// Programs that run `pid` started and that still live: they name its directory.
pub fn programs(pid: u32) -> Vec<String> {
    let state = format!("/run/netstrata-lab/{pid}/");
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.map(|entry| fs::read(entry.path().join("cmdline")).unwrap_or_default());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " ")).filter(|line| line.contains(&state)).collect()
}
