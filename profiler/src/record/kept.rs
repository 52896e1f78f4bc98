//! Measured costs, kept for the next recordings: what probes cost is true of a boot, a kernel, this program and the settings that
//! change its programs, and measuring it anew takes as long as all else that a recording does before it begins.
//!
//! They are in `/run/netstrata`, which is root's alone and empty after a boot. What is there is believed only if it is a plain file
//! of this user that nobody else can write, in a directory of the same kind, and was measured under all the same circumstances
//! ([`Key`]). Everything else is as if it were not there: costs are measured. So are they where the directory cannot be made.
//!
//! What was measured is not true for ever. It is measured anew
//! - after an hour: machines are moved to other processors, heat up and are throttled, and no event tells of it;
//! - if system calls, which are timed before a recording anyway, take half as long again as then, or two thirds: more than what a
//!   busy sibling of a core does, which comes and goes within a recording;
//! - if the last recording contradicted it ([`contradicted`]): its programs took less than at their fastest, or its shortest spans
//!   were shorter than the part of them that the probes are said to take.
//!
//! Costs that were measured while the machine was not calm are not kept.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{calibrate::Calibration, function_costs::HookCosts, object::OBJECT, traffic};
use crate::host::{
    clock,
    cpu::online,
    emulated,
    facts::{kernel_release, read_line, user},
};

/// Where costs are kept.
pub const DIRECTORY: &str = "/run/netstrata";
const PREFIX: &str = "costs-";
/// No file of ours is larger.
const MOST_BYTES: u64 = 1 << 16;
/// More than one for each tier; beyond it they are of programs that were built anew, and go.
const MOST_FILES: usize = 8;
/// See above.
const HOUR_NS: u64 = 3_600_000_000_000;
const ALIKE: std::ops::RangeInclusive<f64> = 0.67..=1.5;
/// How far below what was measured a recording must see costs to contradict it: measurements of a calm machine differ by less.
const BELOW: f64 = 0.8;

/// Under what costs were measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    boot: String,
    kernel: String,
    /// Version of this program, which file it is, and a sum of its kernel programs.
    program: String,
    clock: String,
    cpus: Vec<u32>,
    /// Settings that change what programs cost.
    settings: Vec<Option<String>>,
    /// Programs that split spans over functions.
    functions: bool,
}

/// What was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Costs {
    /// Of the points.
    pub points: Calibration,
    /// Of hooks, in the tier that has them.
    pub hooks: Option<Hooks>,
}

/// What was measured of hooks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hooks {
    /// By way.
    pub costs: HookCosts,
    /// Of a program at the beginning or the end of a softirq.
    pub softirq_ns: f64,
    /// Why fentry, or kprobes, cannot be measured, which is why they are not used.
    pub lacking: [Option<String>; 2],
}

/// A file.
#[derive(Serialize, Deserialize)]
struct Kept {
    key: Key,
    /// Time since the boot, nanoseconds.
    at_ns: u64,
    costs: Costs,
}

impl Key {
    /// Of a recording that begins now. `None` where something cannot be told: nothing is kept then.
    pub fn now(functions: bool) -> Option<Self> {
        let file = fs::metadata("/proc/self/exe").ok()?;
        let program = format!(
            "{} {}:{} {} {}.{} {:08x}",
            env!("CARGO_PKG_VERSION"),
            file.dev(),
            file.ino(),
            file.size(),
            file.mtime(),
            file.mtime_nsec(),
            crc32fast::hash(OBJECT)
        );
        let settings = [
            "/proc/sys/net/core/bpf_jit_enable",
            "/proc/sys/net/core/bpf_jit_harden",
            "/proc/sys/kernel/bpf_stats_enabled",
            "/sys/devices/system/clocksource/clocksource0/current_clocksource",
        ];
        Some(Self {
            boot: read_line("/proc/sys/kernel/random/boot_id")?,
            kernel: format!("{} {}", kernel_release(), read_line("/proc/sys/kernel/version")?),
            program,
            clock: emulated::clock().name().to_owned(),
            cpus: online().ok()?,
            settings: settings.map(read_line).into(),
            functions,
        })
    }

    fn file(&self) -> Result<String> {
        Ok(format!("{PREFIX}{:08x}.json", crc32fast::hash(&serde_json::to_vec(self)?)))
    }
}

/// A place where costs are kept.
pub struct Place {
    directory: PathBuf,
    /// Whose files are believed.
    owner: u32,
}

impl Default for Place {
    fn default() -> Self {
        Self { directory: DIRECTORY.into(), owner: user() }
    }
}

impl Place {
    /// The costs that were kept, if they still hold on a machine on which a system call takes so long.
    pub fn find(&self, key: &Key, system_call_ns: impl FnOnce() -> f64) -> Option<Costs> {
        let found = self.read(key).and_then(|kept| {
            kept.holds(key, clock::since_boot_ns(), system_call_ns())?;
            Ok(kept.costs)
        });
        found.inspect_err(|error| log::debug!("costs are measured: {error:#}")).ok()
    }

    fn read(&self, key: &Key) -> Result<Kept> {
        let directory = self.open()?;
        let file = OpenOptions::new()
            .read(true)
            // Also of a pipe, which would wait.
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(within(&directory, &key.file()?))
            .context("none are kept")?;
        let metadata = file.metadata()?;
        ensure!(metadata.is_file() && self.is_own(&metadata), "the file is another user's, or others can write it");
        let mut text = String::new();
        file.take(MOST_BYTES).read_to_string(&mut text)?;
        serde_json::from_str(&text).context("what is kept cannot be read")
    }

    /// Keeps costs; tells in the log if it cannot.
    pub fn keep(&self, key: &Key, costs: &Costs) {
        let kept = Kept { key: key.clone(), at_ns: clock::since_boot_ns(), costs: costs.clone() };
        if let Err(error) = self.write(&kept) {
            log::debug!("costs are not kept: {error:#}");
        }
    }

    fn write(&self, kept: &Kept) -> Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error.into()),
            _ => {}
        }
        let directory = self.open()?;
        let files = fs::read_dir(within(&directory, ""))?.flatten().map(|entry| entry.file_name());
        let files: Vec<_> = files.filter(|name| name.to_string_lossy().starts_with(PREFIX)).collect();
        if files.len() >= MOST_FILES {
            files.iter().for_each(|name| drop(fs::remove_file(within(&directory, "").join(name))));
        }
        // Nobody ever sees a part of it.
        let name = kept.key.file()?;
        let unfinished = within(&directory, &format!("{name}.{}", std::process::id()));
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&unfinished)?;
        let written = file
            .write_all(&serde_json::to_vec(kept)?)
            .and_then(|()| fs::rename(&unfinished, within(&directory, &name)));
        written.inspect_err(|_| drop(fs::remove_file(&unfinished))).map_err(Into::into)
    }

    /// Forgets costs that a recording contradicted.
    pub fn forget(&self, key: &Key) {
        let forgotten = self.open().and_then(|directory| Ok(fs::remove_file(within(&directory, &key.file()?))?));
        match forgotten {
            Ok(()) => log::info!("the recording contradicts the costs that were kept: they are measured next time"),
            Err(error) => log::debug!("no costs to forget: {error:#}"),
        }
    }

    /// The directory itself, no link to another.
    fn open(&self) -> Result<File> {
        let directory = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_DIRECTORY)
            .open(&self.directory)
            .with_context(|| format!("no directory {}", self.directory.display()))?;
        let metadata = directory.metadata()?;
        ensure!(self.is_own(&metadata), "{} is another user's, or others can write there", self.directory.display());
        Ok(directory)
    }

    fn is_own(&self, metadata: &fs::Metadata) -> bool {
        metadata.uid() == self.owner && metadata.mode() & 0o022 == 0
    }
}

/// A file in a directory that is open, whatever its name leads to by now.
fn within(directory: &File, name: &str) -> PathBuf {
    Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name)
}

impl Kept {
    /// Whether it can be used at a time.
    fn holds(&self, key: &Key, now_ns: u64, system_call_ns: f64) -> Result<()> {
        ensure!(self.key == *key, "they were measured under other circumstances");
        ensure!(now_ns >= self.at_ns && now_ns - self.at_ns < HOUR_NS, "they were measured too long ago");
        let pace = system_call_ns / self.costs.points.system_call_ns;
        ensure!(ALIKE.contains(&pace), "system calls take {pace:.2} times as long as then");
        let points = &self.costs.points;
        let figures = [
            points.ns_per_crossing,
            points.charged_ns[0],
            points.charged_ns[1],
            points.charged_ns[2],
            points.ns_per_turn,
        ];
        ensure!(figures.iter().all(|ns| ns.is_finite() && *ns > 0.0), "they are no costs");
        Ok(())
    }
}

/// Whether a recording contradicts costs: its programs took `pace` times as long as when they were measured, and none of its spans
/// leaves room for more than `bound`.
pub fn contradicted(costs: &Calibration, pace: Option<f64>, bound: Option<f64>) -> bool {
    pace.is_some_and(|pace| pace < BELOW) || bound.is_some_and(|bound| bound < costs.ns_in_span_interval[0] * BELOW)
}

/// How fast the machine is now.
pub fn system_call_ns() -> f64 {
    traffic::calm_system_call_ns()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    struct Room(PathBuf);

    impl Room {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("netstrata-kept-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn place(&self) -> Place {
            Place { directory: self.0.join("netstrata"), owner: user() }
        }
    }

    impl Drop for Room {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn key(boot: &str) -> Key {
        Key {
            boot: boot.into(),
            kernel: "6.12".into(),
            program: "1".into(),
            clock: "wall".into(),
            cpus: vec![0, 1],
            settings: vec![Some("1".into()), None],
            functions: false,
        }
    }

    fn costs() -> Costs {
        let points = Calibration {
            ns_per_crossing: 30.5,
            charged_ns: [30.5, 170.0, 2000.0],
            ns_in_span_interval: [60.0, 70.0],
            ns_per_sample: 2000.0,
            ns_per_turn: 1e6,
            system_call_ns: 100.0,
            ..Calibration::default()
        };
        Costs { points, hooks: None }
    }

    fn found(place: &Place, key: &Key) -> Option<f64> {
        Some(place.find(key, || 100.0)?.points.ns_per_crossing)
    }

    #[test]
    fn what_was_kept_is_found_again_and_nobody_else_can_read_or_write_it() {
        let room = Room::new("again");
        let place = room.place();
        assert_eq!(found(&place, &key("a")), None);
        place.keep(&key("a"), &costs());
        assert_eq!(found(&place, &key("a")), Some(30.5));
        assert_eq!(fs::metadata(&place.directory).unwrap().mode() & 0o777, 0o700);
        let files: Vec<_> = fs::read_dir(&place.directory).unwrap().flatten().collect();
        assert_eq!(files.len(), 1, "nothing unfinished is left");
        assert_eq!(files[0].metadata().unwrap().mode() & 0o777, 0o600);
        place.forget(&key("a"));
        assert_eq!(found(&place, &key("a")), None);
    }

    #[test]
    fn costs_of_another_boot_or_program_are_not_found_even_under_this_ones_name() {
        let room = Room::new("boot");
        let place = room.place();
        place.keep(&key("a"), &costs());
        assert_eq!(found(&place, &key("b")), None);
        let name = |key: &Key| place.directory.join(key.file().unwrap());
        fs::rename(name(&key("a")), name(&key("b"))).unwrap();
        assert_eq!(found(&place, &key("b")), None);
        let others = [
            Key { kernel: "6.13".into(), ..key("a") },
            Key { program: "2".into(), ..key("a") },
            Key { cpus: vec![0], ..key("a") },
            Key { functions: true, ..key("a") },
            Key { settings: vec![Some("0".into()), None], ..key("a") },
        ];
        assert!(others.iter().all(|other| other.file().unwrap() != key("a").file().unwrap()));
    }

    #[test]
    fn what_another_user_could_have_written_is_ignored_and_left_alone() {
        let room = Room::new("foreign");
        let mut place = room.place();
        place.keep(&key("a"), &costs());
        let file = place.directory.join(key("a").file().unwrap());
        for (path, mode) in [(&file, 0o620), (&place.directory, 0o702)] {
            let before = fs::metadata(path).unwrap().permissions();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(found(&place, &key("a")), None, "{}", path.display());
            fs::set_permissions(path, before).unwrap();
        }
        assert_eq!(found(&place, &key("a")), Some(30.5));
        place.owner += 1;
        assert_eq!(found(&place, &key("a")), None, "it is another user's");
        place.keep(&key("b"), &costs());
        place.forget(&key("a"));
        assert!(file.exists(), "nothing is written or removed in another user's directory");
    }

    #[test]
    fn links_are_not_followed() {
        let room = Room::new("link");
        let place = room.place();
        place.keep(&key("a"), &costs());
        let file = place.directory.join(key("a").file().unwrap());
        let moved = room.0.join("moved");
        fs::rename(&file, &moved).unwrap();
        symlink(&moved, &file).unwrap();
        assert_eq!(found(&place, &key("a")), None);
        // A new file takes the link's place; what it led to stays as it was.
        let before = fs::read(&moved).unwrap();
        place.keep(&key("a"), &Costs { points: Calibration { ns_per_crossing: 31.0, ..costs().points }, hooks: None });
        assert_eq!((found(&place, &key("a")), fs::read(&moved).unwrap()), (Some(31.0), before));
        let other = Place { directory: room.0.join("elsewhere"), owner: user() };
        symlink(&place.directory, &other.directory).unwrap();
        assert_eq!(found(&other, &key("a")), None);
        other.keep(&key("b"), &costs());
        assert_eq!(found(&place, &key("b")), None, "nothing is written through a link");
    }

    #[test]
    fn what_cannot_be_read_is_measured_anew() {
        let room = Room::new("corrupt");
        let place = room.place();
        place.keep(&key("a"), &costs());
        let file = place.directory.join(key("a").file().unwrap());
        let whole = fs::read(&file).unwrap();
        for bytes in [&b""[..], &whole[..whole.len() / 2], b"{}", b"\xff\xfe", &vec![b' '; MOST_BYTES as usize + 1]] {
            fs::write(&file, bytes).unwrap();
            assert_eq!(found(&place, &key("a")), None);
        }
        let nothing = Costs { points: Calibration { charged_ns: [0.0; 3], ..costs().points }, hooks: None };
        place.keep(&key("a"), &nothing);
        assert_eq!(found(&place, &key("a")), None);
        place.keep(&key("a"), &costs());
        assert_eq!(found(&place, &key("a")), Some(30.5));
    }

    #[test]
    fn costs_hold_for_an_hour_and_on_a_machine_that_is_about_as_fast() {
        let kept = Kept { key: key("a"), at_ns: 5, costs: costs() };
        let holds = |now, system_call| kept.holds(&key("a"), now, system_call).is_ok();
        assert!(holds(5, 100.0) && holds(HOUR_NS, 149.0) && holds(5, 70.0));
        assert!(!holds(5 + HOUR_NS, 100.0) && !holds(4, 100.0));
        assert!(!holds(5, 151.0) && !holds(5, 60.0) && !holds(5, f64::NAN));
    }

    #[test]
    fn a_recording_contradicts_costs_that_are_more_than_it_saw() {
        let points = costs().points;
        assert!(!contradicted(&points, Some(1.9), Some(61.0)) && !contradicted(&points, None, None));
        assert!(contradicted(&points, Some(0.7), None), "its programs were faster than ever");
        assert!(contradicted(&points, Some(1.2), Some(40.0)), "its spans are too short");
    }

    #[test]
    fn files_of_programs_that_are_no_more_do_not_pile_up() {
        let room = Room::new("many");
        let place = room.place();
        for number in 0..3 * MOST_FILES {
            place.keep(&key(&number.to_string()), &costs());
        }
        assert!(fs::read_dir(&place.directory).unwrap().count() <= MOST_FILES);
        assert_eq!(found(&place, &key(&(3 * MOST_FILES - 1).to_string())), Some(30.5));
    }
}
