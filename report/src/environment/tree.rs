//! Small text files under a root.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A tree of `/proc` and `/sys`, or a copy of one.
pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    pub(super) fn new(root: &Path) -> Tree {
        Tree { root: root.to_path_buf() }
    }

    /// The text of a file without the white space around it; nothing if it is missing, unreadable or empty.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        self.text_of(&self.root.join(path))
    }

    /// The same of a file that is named in full.
    pub(super) fn text_of(&self, path: &Path) -> Option<String> {
        const READ_BYTES_MAX: u64 = 4 << 20;
        let file = fs::File::open(path).ok()?;
        let mut bytes = Vec::new();
        file.take(READ_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes).trim_matches(['\0', ' ', '\n', '\t']).to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// The whole number a file begins with.
    pub(super) fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.split_whitespace().next()?.parse().ok()
    }

    /// Names in a folder, sorted with numbers by value (`cpu2` before `cpu10`).
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join(path)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort_by_key(|name| {
            let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
            let word = name[..name.len() - digits.len()].to_owned();
            (word, digits.parse::<u64>().unwrap_or(u64::MAX), name.clone())
        });
        names
    }

    /// Where something really is, all symbolic links followed.
    pub(super) fn real_path(&self, path: &str) -> Option<PathBuf> {
        fs::canonicalize(self.root.join(path)).ok()
    }

    /// The last part of what a symbolic link points at.
    pub(super) fn link_name(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.root.join(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }
}

/// How many numbers a kernel list such as `0-3,8` names.
pub(super) fn list_count(list: &str) -> u32 {
    ranges(list).filter_map(|(first, last)| last.checked_sub(first)?.checked_add(1)).fold(0, u32::saturating_add)
}

/// The numbers that a kernel list names, up to the most that a kernel has of anything.
pub(super) fn list_of(list: &str) -> Vec<usize> {
    const NUMBER_MAX: u32 = 1 << 16;
    ranges(list).filter(|(_, last)| *last <= NUMBER_MAX).flat_map(|(first, last)| first as usize..=last as usize).collect()
}

fn ranges(list: &str) -> impl Iterator<Item = (u32, u32)> {
    list.split(',').filter_map(|range| {
        let (first, last) = range.trim().split_once('-').unwrap_or((range.trim(), range.trim()));
        Some((first.parse().ok()?, last.parse().ok()?))
    })
}

/// The marked word of a choice such as `always [madvise] never`, or the whole text if none is.
pub(super) fn chosen(choice: &str) -> String {
    choice.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or(choice, |(word, _)| word).to_owned()
}

/// A folder with the given files, for tests.
#[cfg(test)]
pub(super) fn fixture(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_are_counted() {
        for (list, count) in [("0", 1), ("0-3", 4), ("0-3,8,10-11", 7), ("", 0), ("3-1", 0), ("x", 0)] {
            assert_eq!(list_count(list), count, "{list}");
            assert_eq!(list_of(list).len() as u32, count, "{list}");
        }
        assert_eq!(list_of("0-1,8"), [0, 1, 8]);
        assert!(list_of("0-4294967295").is_empty());
    }

    #[test]
    fn the_marked_choice_is_found() {
        assert_eq!(chosen("always [madvise] never"), "madvise");
        assert_eq!(chosen("performance"), "performance");
        assert_eq!(chosen("]["), "][");
    }

    #[test]
    fn names_are_sorted_by_number() {
        let root = fixture(&[("d/cpu10", ""), ("d/cpu2", ""), ("d/cpufreq", "")]);
        assert_eq!(Tree::new(root.path()).names("d"), ["cpu2", "cpu10", "cpufreq"]);
    }

    proptest! {
        #[test]
        fn no_list_and_no_choice_is_too_odd(text in any::<String>()) {
            list_count(&text);
            list_of(&text);
            chosen(&text);
        }
    }
}
