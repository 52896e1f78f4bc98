//! Sets of recordings: files, directories, and the repeats of a mode that `lab run` leaves in one.

use std::{
    collections::BTreeSet,
    fs::read_dir,
    path::{Path, PathBuf},
};

use super::{
    MOST_BATCHES, Profile,
    file::{ProfileError, read},
    merge::{MergeError, merge},
};

/// Reads recordings and adds them; with what to call them. Each path is a file, a directory with the recordings of one mode,
/// or `DIRECTORY/MODE` for those of that mode where there is no such file.
///
/// # Errors
/// If one cannot be read, or they must not be added.
pub fn read_set(paths: &[PathBuf]) -> Result<(Profile, String), ProfileError> {
    let files: Vec<PathBuf> = paths.iter().map(|path| files_of(path)).collect::<Result<Vec<_>, _>>()?.concat();
    if files.len() > MOST_BATCHES {
        return Err(MergeError::TooMany(files.len()).into());
    }
    let named = files.iter().map(|file| Ok((file.display().to_string(), read(file)?)));
    let profile = merge(named.collect::<Result<_, ProfileError>>()?)?;
    let label = label(&files, profile.meta.parts.len());
    Ok((profile, label))
}

/// Reads recordings, each for itself, in the order in which they were made; with what to call them. Paths are those of
/// [`read_set`].
///
/// # Errors
/// If one cannot be read.
pub fn read_each(paths: &[PathBuf]) -> Result<(Vec<(PathBuf, Profile)>, String), ProfileError> {
    let files: Vec<PathBuf> = paths.iter().map(|path| files_of(path)).collect::<Result<Vec<_>, _>>()?.concat();
    let label = label(&files, files.len());
    let read = files.into_iter().map(|file| read(&file).map(|profile| (file, profile)));
    let mut found: Vec<(PathBuf, Profile)> = read.collect::<Result<_, _>>()?;
    put_in_order(&mut found);
    Ok((found, label))
}

/// By the date, which outlasts a boot. Where one has none, as they are named: time since a boot would mix those of several boots.
fn put_in_order(found: &mut [(PathBuf, Profile)]) {
    if found.iter().all(|(_, profile)| profile.meta.began_unix_ns > 0) {
        found.sort_by_key(|(_, profile)| profile.meta.began_unix_ns);
    }
}

/// The files that a path stands for.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, ProfileError> {
    if path.is_dir() {
        let files = recordings_in(path)?;
        let modes: BTreeSet<String> = files.iter().map(|file| mode_of(&stem(file)).to_owned()).collect();
        let shown = path.display().to_string();
        return match (modes.first(), modes.len()) {
            (None, _) => Err(ProfileError::NoRecordings(shown)),
            (_, 1) => Ok(files),
            (Some(one), _) => {
                let like = path.join(one).display().to_string();
                let modes = modes.into_iter().collect::<Vec<_>>().join(", ");
                Err(ProfileError::SeveralModes { path: shown, modes, like })
            }
        };
    }
    let named = |mode: &str| {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut files = recordings_in(directory).unwrap_or_default();
        files.retain(|file| {
            let stem = stem(file);
            [stem.as_str(), without_repeat(&stem), mode_of(&stem)].contains(&mode)
        });
        files
    };
    let mode = path.file_name().filter(|_| !path.exists()).map(|name| named(&name.to_string_lossy()));
    // Where there are none, reading says what is missing.
    Ok(mode.filter(|files| !files.is_empty()).unwrap_or_else(|| vec![path.to_owned()]))
}

/// The order of names: the tenth repeat comes after the ninth.
fn in_turn(file: &Path) -> (String, u64, PathBuf) {
    let stem = stem(file);
    let of = without_repeat(&stem);
    let repeat = stem[of.len()..].trim_start_matches('-').parse().unwrap_or(0);
    (of.to_owned(), repeat, file.to_owned())
}

/// Recordings that lie in a directory, in the order of their names.
fn recordings_in(directory: &Path) -> Result<Vec<PathBuf>, ProfileError> {
    let fail = |error| ProfileError::Read { path: directory.display().to_string(), error };
    let entries: Vec<PathBuf> =
        read_dir(directory).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect()).map_err(fail)?;
    let is_recording = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "prof") && path.is_file();
    let mut files: Vec<PathBuf> = entries.into_iter().filter(is_recording).collect();
    files.sort_by_cached_key(|file| in_turn(file));
    Ok(files)
}

fn stem(file: &Path) -> String {
    file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A name less the number of the repeat that `lab run` puts behind it.
fn without_repeat(stem: &str) -> &str {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    stem.rsplit_once('-').filter(|(_, repeat)| is_number(repeat)).map_or(stem, |(rest, _)| rest)
}

/// The same, less the size of a message before it, too.
fn mode_of(stem: &str) -> &str {
    let is_size = |text: &str| text.strip_suffix('B').is_some_and(|bytes| bytes.parse::<u64>().is_ok());
    let rest = without_repeat(stem);
    rest.rsplit_once('-').filter(|(_, size)| is_size(size)).map_or(rest, |(mode, _)| mode)
}

/// What to call them: a file's stem; of several what their names have in common, or where they lie.
fn label(files: &[PathBuf], recordings: usize) -> String {
    let stems: Vec<String> = files.iter().map(|file| stem(file)).collect();
    let name = match &stems[..] {
        [] => String::new(),
        [one] => one.clone(),
        [first, ..] => [without_repeat, mode_of]
            .into_iter()
            .find(|of| stems.iter().all(|stem| of(stem) == of(first)))
            .map(|of| of(first).to_owned())
            .or_else(|| beginning(&stems))
            .or_else(|| Some(files[0].parent()?.file_name()?.to_string_lossy().into_owned()))
            .unwrap_or_else(|| "merged".into()),
    };
    if recordings > 1 { format!("{name} ({recordings} recordings)") } else { name }
}

/// What all names begin with, up to a mark between words.
fn beginning(stems: &[String]) -> Option<String> {
    let (first, rest) = stems.split_first()?;
    let is_mark = |letter: char| !letter.is_alphanumeric();
    let begins = |end: usize| rest.iter().all(|stem| stem.starts_with(&first[..end]));
    let mut ends = first.char_indices().filter(|(_, letter)| is_mark(*letter)).map(|(at, _)| at);
    ends.rfind(|end| *end > 0 && begins(*end)).map(|end| first[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_called_by_what_its_names_have_in_common() {
        let of = |files: &[&str]| label(&files.iter().map(PathBuf::from).collect::<Vec<_>>(), files.len());
        assert_eq!(of(&["lab/bridge-1.prof"]), "bridge-1");
        assert_eq!(of(&["lab/bridge-1.prof", "lab/bridge-10.prof"]), "bridge (2 recordings)");
        assert_eq!(of(&["nat-64B-1.prof", "nat-64B-2.prof"]), "nat-64B (2 recordings)");
        assert_eq!(of(&["nat-64B-1.prof", "nat-1000B-1.prof"]), "nat (2 recordings)");
        assert_eq!(of(&["a/before_one.prof", "a/before_two.prof"]), "before (2 recordings)");
        assert_eq!(of(&["a/one.prof", "a/two.prof"]), "a (2 recordings)");
        assert_eq!(of(&["one.prof", "two.prof"]), "merged (2 recordings)");
        assert_eq!(label(&["all.prof".into()], 5), "all (5 recordings)");
    }

    #[test]
    fn dates_decide_the_order_and_names_where_there_is_none() {
        let profile = |began_unix_ns, started_ns| {
            let mut profile = Profile::default();
            (profile.meta.began_unix_ns, profile.meta.started_ns) = (began_unix_ns, started_ns);
            profile
        };
        let order = |dates: [u64; 3]| {
            // The machine was started anew before the second one.
            let mut found: Vec<(PathBuf, Profile)> = vec![
                ("a".into(), profile(dates[0], 900)),
                ("b".into(), profile(dates[1], 10)),
                ("c".into(), profile(dates[2], 20)),
            ];
            put_in_order(&mut found);
            found.iter().map(|(file, _)| file.display().to_string()).collect::<String>()
        };
        assert_eq!(order([1, 2, 3]), "abc");
        assert_eq!(order([3, 1, 2]), "bca");
        assert_eq!(order([3, 1, 0]), "abc");
        let mut names: Vec<PathBuf> = ["x-10.prof", "x-9.prof", "x.prof", "v-11.prof"].map(PathBuf::from).into();
        names.sort_by_cached_key(|file| in_turn(file));
        assert_eq!(names, ["v-11.prof", "x.prof", "x-9.prof", "x-10.prof"].map(PathBuf::from));
    }

    #[test]
    fn repeats_and_sizes_are_no_part_of_a_mode() {
        for (stem, mode) in [
            ("bridge", "bridge"),
            ("bridge-12", "bridge"),
            ("docker-bridge-64B", "docker-bridge"),
            ("nested-host-host-1000B-3", "nested-host-host"),
            ("ipvlan-l3", "ipvlan-l3"),
            ("vxlan-B", "vxlan-B"),
        ] {
            assert_eq!(mode_of(stem), mode);
        }
    }
}
