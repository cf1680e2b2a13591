//! Crates: arrows point down, siblings do not know each other, `unsafe` stays in its folders.

use squall_layers::{Workspace, is_unsafe, named_in};

/// The layers, lowest first. A crate may name crates of lower layers only; so `report` stands by itself.
const LAYERS: [&[&str]; 6] =
    [&["transport", "report"], &["sst"], &["smc", "rdmc", "orderer", "membership"], &["group"], &["sim", "study"], &["bench"]];
/// Where transport may be unsafe: folders, and a file.
const UNSAFE_FOLDERS: [&str; 4] = ["region", "shm", "tcp/count.rs", "verbs"];

#[test]
fn every_crate_has_a_layer() {
    for name in Workspace::here().crates() {
        assert!(LAYERS.iter().flat_map(|names| names.iter()).any(|known| *known == name), "{name} has no layer here");
    }
}

#[test]
fn arrows_point_down_and_siblings_do_not_name_each_other() {
    for (layer, names) in LAYERS.iter().enumerate() {
        for name in *names {
            for named in named_in(&Workspace::here().manifest(name)) {
                assert!(LAYERS[..layer].iter().any(|lower| lower.contains(&named)), "{name} may not depend on {named}");
            }
        }
    }
}

#[test]
fn every_crate_but_transport_forbids_unsafe() {
    for name in Workspace::here().crates().iter().filter(|name| *name != "transport") {
        let sources = Workspace::here().sources(&format!("{name}/src"));
        for (file, text) in sources.iter().filter(|(file, _)| file.ends_with("lib.rs") || file.ends_with("main.rs")) {
            let is_root = file.components().count() == 1;
            assert!(!is_root || text.contains("#![forbid(unsafe_code)]"), "{name}/src/{} does not forbid unsafe code", file.display());
        }
    }
}

#[test]
fn in_transport_unsafe_stays_in_its_folders() {
    let sources = Workspace::here().sources("transport/src");
    assert!(sources.len() > 10, "the sources are here");
    for (file, text) in sources.iter().filter(|(file, _)| !UNSAFE_FOLDERS.iter().any(|folder| file.starts_with(folder))) {
        for (number, line) in text.lines().enumerate() {
            assert!(!is_unsafe(line), "unsafe code at transport/src/{}:{}", file.display(), number + 1);
        }
    }
}
