//! Keeps the shape of the workspace: arrows point down, siblings do not know each other, `unsafe` stays in its folders.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers, lowest first. A crate may name crates of lower layers only; so `report` stands by itself.
const LAYERS: [&[&str]; 6] =
    [&["transport", "report"], &["sst"], &["smc", "rdmc", "orderer", "membership"], &["group"], &["sim", "study"], &["bench"]];
/// Where transport may be unsafe.
const UNSAFE_FOLDERS: [&str; 3] = ["region", "shm", "verbs"];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

/// Layer and folder of each crate that is there.
fn crates() -> Vec<(usize, &'static str)> {
    let all = LAYERS.iter().enumerate().flat_map(|(layer, names)| names.iter().map(move |&name| (layer, name)));
    all.filter(|(_, name)| workspace().join(name).join("Cargo.toml").exists()).collect()
}

/// Crates of this workspace that a manifest names, in any of its sections.
fn named_in(manifest: &str) -> Vec<&str> {
    let keys = manifest.lines().filter_map(|line| line.trim().split(['.', ' ', '=']).next());
    let mut names: Vec<_> = keys.filter_map(|key| key.strip_prefix("squall-")).collect();
    names.dedup();
    names
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for path in entries.map(|entry| entry.expect("an entry of a folder").path()) {
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether a line of code, comments aside, uses the keyword.
fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe")
}

#[test]
fn every_crate_has_a_layer() {
    let members = read(&workspace().join("Cargo.toml"));
    let members = members.split_once("members = [").and_then(|(_, rest)| rest.split_once(']')).expect("the workspace lists its members").0;
    for name in members.split(',').map(|name| name.trim().trim_matches('"')) {
        assert!(crates().iter().any(|(_, known)| *known == name), "{name} has no layer here");
    }
}

#[test]
fn arrows_point_down_and_siblings_do_not_name_each_other() {
    for (layer, name) in crates() {
        for named in named_in(&read(&workspace().join(name).join("Cargo.toml"))) {
            let below = LAYERS[..layer].iter().any(|lower| lower.contains(&named));
            assert!(below, "{name} may not depend on {named}");
        }
    }
}

#[test]
fn every_crate_but_transport_forbids_unsafe() {
    for (_, name) in crates().into_iter().filter(|(_, name)| *name != "transport") {
        let src = workspace().join(name).join("src");
        let roots = ["lib.rs", "main.rs"].map(|root| src.join(root));
        for root in roots.iter().filter(|root| root.exists()) {
            assert!(read(root).contains("#![forbid(unsafe_code)]"), "{} does not forbid unsafe code", root.display());
        }
    }
}

#[test]
fn in_transport_unsafe_stays_in_its_folders() {
    let src = workspace().join("transport/src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 10, "the sources are here");
    for file in files {
        let inside = file.strip_prefix(&src).expect("it was found there");
        if UNSAFE_FOLDERS.iter().any(|folder| inside.starts_with(folder)) {
            continue;
        }
        for (number, line) in read(&file).lines().enumerate() {
            assert!(!is_unsafe(line), "unsafe code at {}:{}", file.display(), number + 1);
        }
    }
}

#[test]
fn the_words_of_a_manifest_and_of_a_line_are_told_apart() {
    assert_eq!(
        named_in("[dependencies]\nsquall-sst.workspace = true\nsquall-smc = { path = \"x\" }\nother = \"squall-rdmc\"\n"),
        ["sst", "smc"]
    );
    assert!(is_unsafe("let x = unsafe { y };") && !is_unsafe("// unsafe") && !is_unsafe("#![forbid(unsafe_code)]"));
}
