//! The file of a profile: a header of fixed size, then the profile as JSON, deflated.
//!
//! | bytes | what |
//! |---|---|
//! | 0–7 | `NETSTRAT` |
//! | 8–11 | version of the format, little endian |
//! | 12–15 | CRC-32 of the rest |
//! | 16–23 | length of the rest |
//! | 24– | the profile |

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::DeflateEncoder};
use serde_json::error::Category;
use thiserror::Error;

use super::{
    Profile,
    limits::{MOST_BYTES, Refused, inflated},
    merge::MergeError,
    sound,
};
use crate::store::{self, Place, Unfinished};

/// Version of the format that this build writes, and the newest that it reads.
pub const FORMAT_VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"NETSTRAT";
const HEADER: usize = 24;

/// Why a profile could not be read or written.
#[derive(Debug, Error)]
pub enum ProfileError {
    /// The file could not be opened or read.
    #[error("cannot read the profile {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        error: io::Error,
    },
    /// The file could not be written.
    #[error("cannot write the profile {path}: {error}{}", .rescued.as_ref().map_or(String::new(), |at| format!("; it is in {} instead", at.display())))]
    Write {
        /// The file.
        path: String,
        /// What the system said.
        error: io::Error,
        /// Where it is instead.
        rescued: Option<PathBuf>,
    },
    /// A pipe or a device, which might never end.
    #[error("{0} is no regular file; give one that `netstrata record -o` wrote")]
    NotAFile(String),
    /// Not a profile at all.
    #[error("{0} is not a netstrata profile; give a file that `netstrata record -o` wrote")]
    NotAProfile(String),
    /// Written by a newer netstrata.
    #[error("{path} has format {version}, this netstrata reads up to {FORMAT_VERSION}; use a newer netstrata")]
    TooNew {
        /// The file.
        path: String,
        /// Its version.
        version: u32,
    },
    /// Too short.
    #[error("{0} is truncated: the recording or a copy of the file was cut off; record again")]
    Truncated(String),
    /// Changed since it was written.
    #[error("{path} is corrupted ({what}); record again")]
    Corrupted {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// Larger than recordings are.
    #[error("{path} is corrupted: it holds {what} recording of this netstrata; record again")]
    TooLarge {
        /// The file.
        path: String,
        /// In what.
        what: &'static str,
    },
    /// Whole, but it holds something that this build has no name for.
    #[error("{path} holds what this netstrata does not know ({what}); a newer one wrote it, or it is corrupted")]
    Unknown {
        /// The file.
        path: String,
        /// What is not known.
        what: String,
    },
    /// A directory without any.
    #[error("{0} holds no recordings (*.prof); give files, or a directory that `netstrata lab run -o` wrote")]
    NoRecordings(String),
    /// A directory of which it is not said which of its recordings are meant.
    #[error("{path} holds recordings of several modes ({modes}); give one of them, like {like}")]
    SeveralModes {
        /// The directory.
        path: String,
        /// What there is.
        modes: String,
        /// What to give.
        like: String,
    },
    /// Several that must not be added.
    #[error(transparent)]
    Merge(#[from] MergeError),
}

impl ProfileError {
    /// Whether the system is to blame: for writing where there is a place for it.
    pub fn is_refusal(&self) -> bool {
        use io::ErrorKind::{IsADirectory, NotADirectory, NotFound};
        matches!(self, Self::Write { error, .. } if ![NotFound, NotADirectory, IsADirectory].contains(&error.kind()))
    }
}

/// Writes a profile; the file appears whole or not at all.
///
/// # Errors
/// If it cannot be written; nothing is left then.
pub fn write(profile: &Profile, path: &Path) -> Result<(), ProfileError> {
    let fail = |error| ProfileError::Write { path: path.display().to_string(), error, rescued: None };
    store::write(path, &bytes(profile).map_err(fail)?).map_err(fail)
}

/// Writes a recording where there was a place for it when it began. If there is none any more, it is written elsewhere.
///
/// # Errors
/// If it cannot be written there; it tells where it is instead.
pub fn write_to(profile: &Profile, place: Place, path: &Path) -> Result<(), ProfileError> {
    let fail = |error, rescued| ProfileError::Write { path: path.display().to_string(), error, rescued };
    let bytes = bytes(profile).map_err(|error| fail(error, None))?;
    place.write(&bytes).map_err(|error| fail(error, store::rescue(&bytes, "netstrata.prof").ok()))
}

/// Writes what a recording has so far, at little cost.
///
/// # Errors
/// What the system says.
pub fn write_unfinished(profile: &Profile, to: &Unfinished) -> io::Result<()> {
    to.write(&deflated(profile, Compression::fast())?)
}

/// What stands in the file.
fn bytes(profile: &Profile) -> io::Result<Vec<u8>> {
    deflated(profile, Compression::default())
}

fn deflated(profile: &Profile, effort: Compression) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(profile)?;
    let mut encoder = DeflateEncoder::new(Vec::new(), effort);
    encoder.write_all(&json)?;
    let body = encoder.finish()?;
    let mut bytes = Vec::with_capacity(HEADER + body.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

/// What of a recording no reader would take: a fault of the recorder, which is to be told with the recording.
pub fn unsound(profile: &Profile) -> Option<String> {
    sound::check(profile).err()
}

/// Reads a profile: whole, of a size that recordings have, and such as one can be.
pub fn read(path: &Path) -> Result<Profile, ProfileError> {
    let name = path.display().to_string();
    let fail = |error| ProfileError::Read { path: name.clone(), error };
    if store::may_never_end(path) {
        return Err(ProfileError::NotAFile(name));
    }
    let mut file = File::open(path).map_err(fail)?;
    let mut bytes = Vec::new();
    // First what tells a profile from everything else, which may be large.
    (&mut file).take(HEADER as u64).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.starts_with(MAGIC) {
        (&mut file).take(MOST_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(fail)?;
    }
    parse(&bytes, &name)
}

/// As [`read`], of the bytes of a file of this name: what a search for odd files calls.
#[doc(hidden)]
pub fn parse(bytes: &[u8], name: &str) -> Result<Profile, ProfileError> {
    let corrupted = |what: String| ProfileError::Corrupted { path: name.to_owned(), what };
    if bytes.len() < MAGIC.len() && MAGIC.starts_with(bytes) && !bytes.is_empty() {
        return Err(ProfileError::Truncated(name.to_owned()));
    }
    if !bytes.starts_with(MAGIC) {
        return Err(ProfileError::NotAProfile(name.to_owned()));
    }
    let field = |from: usize, to: usize| bytes.get(from..to).ok_or_else(|| ProfileError::Truncated(name.to_owned()));
    let number = |slice: &[u8]| slice.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
    let version = number(field(8, 12)?) as u32;
    if version > FORMAT_VERSION {
        return Err(ProfileError::TooNew { path: name.to_owned(), version });
    }
    let crc = number(field(12, 16)?) as u32;
    let length = number(field(16, 24)?);
    let body = &bytes[HEADER..];
    if length > MOST_BYTES as u64 || body.len() > MOST_BYTES {
        return Err(ProfileError::TooLarge { path: name.to_owned(), what: "more bytes than any" });
    }
    if (body.len() as u64) < length {
        return Err(ProfileError::Truncated(name.to_owned()));
    }
    if body.len() as u64 > length {
        return Err(corrupted("it is longer than its header says".into()));
    }
    if crc32fast::hash(body) != crc {
        return Err(corrupted("its checksum does not match".into()));
    }
    let json = inflated(body).map_err(|refused| match refused {
        Refused::Broken(error) => corrupted(error.to_string()),
        Refused::TooLarge(what) => ProfileError::TooLarge { path: name.to_owned(), what },
    })?;
    let profile = serde_json::from_slice(&json).map_err(|error| match error.classify() {
        Category::Data => ProfileError::Unknown { path: name.to_owned(), what: error.to_string() },
        _ => corrupted(error.to_string()),
    })?;
    drop(json);
    sound::check(&profile).map_err(corrupted)?;
    Ok(profile)
}

#[cfg(test)]
mod tests {
    use flate2::read::DeflateDecoder;
    use netstrata_common::{Edge, End, Hook, Point, Protocol, Tier, Vector, Way};
    use serde_json::Value;

    use super::*;

    fn written() -> Vec<u8> {
        let dir = std::env::temp_dir().join(format!(
            "netstrata-file-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        write(&Profile::default(), &dir).expect("written");
        let bytes = std::fs::read(&dir).expect("read");
        std::fs::remove_file(&dir).expect("removed");
        bytes
    }

    #[test]
    fn a_profile_survives_the_file() {
        assert_eq!(parse(&written(), "f").expect("parsed"), Profile::default());
    }

    #[test]
    fn every_truncation_is_refused() {
        let bytes = written();
        for length in 0..bytes.len() {
            assert!(parse(&bytes[..length], "f").is_err(), "cut to {length} bytes");
        }
    }

    #[test]
    fn every_changed_byte_of_the_body_is_refused() {
        let bytes = written();
        for at in HEADER..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(matches!(parse(&changed, "f"), Err(ProfileError::Corrupted { .. })), "byte {at}");
        }
    }

    /// A file around such JSON, as it is written.
    fn file_of(json: &str) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(json.as_bytes()).expect("written");
        let body = encoder.finish().expect("deflated");
        let head = [&FORMAT_VERSION.to_le_bytes()[..], &crc32fast::hash(&body).to_le_bytes()].concat();
        [&MAGIC[..], &head, &(body.len() as u64).to_le_bytes(), &body].concat()
    }

    #[test]
    fn names_stand_in_the_file_as_ever() {
        let json = r#"{"meta":{"tiers":["tracepoint","sampling","function"]},"paths":[{"crossings":
            [{"point":"send","netns":1,"ifindex":0},{"point":"tcp_backlog","netns":1,"ifindex":2}],
            "spans":[{}],"end":"copied","protocol":6,"edges":[[1,"segment"]],"functions":[{"hook":"netfilter: chain 2"}]}],
            "softirqs":{"vectors":[{"vector":"NET_RX"}]},"chains":{"netfilter: chain 2":"filter/input"},
            "hooks":[{"hook":"span","function":"f","module":"m","kind":"kprobe"}]}"#;
        let profile = parse(&file_of(json), "f").expect("it is read");
        let path = &profile.paths[0];
        assert_eq!(profile.meta.tiers, [Tier::Tracepoint, Tier::Sampling, Tier::Function]);
        assert_eq!((path.crossings[0].point, path.crossings[1].point), (Point::Send, Point::TcpBacklog));
        assert_eq!((path.end, path.protocol, path.edge_at(1)), (End::Copied, Protocol::TCP, Some(Edge::Segment)));
        assert_eq!((path.functions[0].hook, profile.hooks[0].kind), (Hook::NftChain2, Way::Kprobe));
        assert_eq!(profile.softirqs.vectors[0].vector, Vector::NetRx);
        assert_eq!(profile.hook_name(Hook::NftChain2), "netfilter: chain filter/input");
        let written = serde_json::to_string(&profile).expect("it is written");
        for name in [
            r#""tiers":["tracepoint","sampling","function"]"#,
            r#"{"point":"tcp_backlog","netns":1,"ifindex":2}],"end":"copied","reason":null,"protocol":6,"#,
            r#""edges":[[1,"segment"]]"#,
            r#""hook":"netfilter: chain 2""#,
            r#""vector":"NET_RX""#,
            r#""chains":{"netfilter: chain 2":"filter/input"}"#,
            r#"{"hook":"span","function":"f","module":"m","kind":"kprobe"}"#,
        ] {
            assert!(written.contains(name), "{name} is not in {written}");
        }
    }

    #[test]
    fn recorded_profiles_are_written_as_they_were() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/profiles");
        for entry in std::fs::read_dir(directory).expect("a directory") {
            let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
            let mut json = String::new();
            DeflateDecoder::new(&bytes[HEADER..]).read_to_string(&mut json).expect("text");
            let profile = parse(&bytes, "f").expect("a profile");
            let read: Value = serde_json::from_str(&json).expect("JSON");
            assert!(holds(&serde_json::to_value(&profile).expect("it is written"), &read));
        }
    }

    /// Whether all of an older recording is in a value; fields that came later may be there, too.
    fn holds(value: &Value, older: &Value) -> bool {
        match (value, older) {
            (Value::Object(all), Value::Object(some)) => {
                some.iter().all(|(name, older)| all.get(name).is_some_and(|value| holds(value, older)))
            }
            (Value::Array(all), Value::Array(some)) => {
                all.len() == some.len() && all.iter().zip(some).all(|(value, older)| holds(value, older))
            }
            _ => value == older,
        }
    }

    #[test]
    fn a_name_that_is_not_known_is_refused_and_said() {
        for (json, what) in [
            (r#"{"paths":[{"end":"beamed"}]}"#, "beamed"),
            (r#"{"paths":[{"edges":[[1,"beamed"]]}]}"#, "Edge"),
            (r#"{"hooks":[{"hook":"bridge: beam","function":"","module":"","kind":"kprobe"}]}"#, "bridge: beam"),
            (r#"{"hooks":[{"function":"","module":"","kind":"kprobe"}]}"#, "hook"),
            (r#"{"chains":{"netfilter: chain 99":"a/b"}}"#, "chain 99"),
            (r#"{"meta":{"tiers":["magic"]}}"#, "magic"),
        ] {
            let error = parse(&file_of(json), "f").expect_err("it is refused");
            assert!(matches!(error, ProfileError::Unknown { .. }), "{error}");
            assert!(error.to_string().contains(what), "{error}");
        }
        let half = parse(&file_of(r#"{"paths":["#), "f");
        assert!(matches!(half, Err(ProfileError::Corrupted { .. })));
    }

    #[test]
    fn a_newer_version_is_refused_by_name() {
        let mut bytes = written();
        bytes[8] = 2;
        assert!(matches!(parse(&bytes, "f"), Err(ProfileError::TooNew { version: 2, .. })));
    }
}
