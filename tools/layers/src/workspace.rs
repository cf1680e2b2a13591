//! The crates of this workspace, and their sources.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::graph::{Graph, Module};

/// The workspace on disk.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The one that this crate lies in.
    ///
    /// # Panics
    /// If it is not there.
    pub fn here() -> Workspace {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the crate lies in the workspace");
        Workspace { root: root.to_owned() }
    }

    /// The folders of its crates, those of tools aside.
    ///
    /// # Panics
    /// If its manifest does not say.
    pub fn crates(&self) -> Vec<String> {
        let manifest = read(&self.root.join("Cargo.toml"));
        let members = manifest.split_once("members = [").and_then(|(_, rest)| rest.split_once(']'));
        let members = members.expect("the workspace lists its members").0.split(',').map(|name| name.trim().trim_matches('"'));
        members.filter(|name| !name.is_empty() && !name.starts_with("tools/")).map(str::to_owned).collect()
    }

    /// The manifest of a crate.
    ///
    /// # Panics
    /// If it cannot be read.
    pub fn manifest(&self, name: &str) -> String {
        read(&self.root.join(name).join("Cargo.toml"))
    }

    /// All Rust files in a folder and those inside it, by their paths in that folder; build output aside.
    ///
    /// # Panics
    /// If they cannot be read.
    pub fn sources(&self, folder: &str) -> BTreeMap<PathBuf, String> {
        let folder = self.root.join(folder);
        let mut found = Vec::new();
        sources(&folder, &mut found);
        let inside = |file: &Path| file.strip_prefix(&folder).expect("it was found there").to_owned();
        found.iter().map(|file| (inside(file), read(file))).collect()
    }

    /// What each file of a crate's library needs.
    ///
    /// # Panics
    /// If there are hardly any.
    pub fn graph(&self, name: &str) -> Graph {
        let mut files = self.sources(&format!("{name}/src"));
        files.remove(Path::new("main.rs"));
        assert!(files.len() > 2, "the sources of {name} are not here");
        Graph::of(files.iter().map(|(file, text)| (Module::of(file), text.as_str())))
    }
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for path in entries.map(|entry| entry.expect("an entry of a folder").path()) {
        if path.is_dir() && !path.ends_with("target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Crates of this workspace that a manifest names, in any of its sections.
pub fn named_in(manifest: &str) -> Vec<&str> {
    let keys = manifest.lines().filter_map(|line| line.trim().split(['.', ' ', '=']).next());
    let mut names: Vec<_> = keys.filter_map(|key| key.strip_prefix("squall-")).collect();
    names.dedup();
    names
}

/// Whether a line of code, comments aside, uses the keyword.
pub fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_manifest_and_of_a_line_are_told_apart() {
        let manifest = "[dependencies]\nsquall-sst.workspace = true\nsquall-smc = { path = \"x\" }\nother = \"squall-rdmc\"\n";
        assert_eq!(named_in(manifest), ["sst", "smc"]);
        assert!(is_unsafe("let x = unsafe { y };") && !is_unsafe("// unsafe") && !is_unsafe("#![forbid(unsafe_code)]"));
    }
}
