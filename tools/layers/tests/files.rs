//! Files: imports point down, no two files need each other, and none is long.

use squall_layers::Workspace;

/// The floors of `bench`, lowest first. What stands on a floor names lower floors only.
const BENCH: [&[&str]; 5] = [&["jobs"], &["ask"], &["run"], &["experiments", "chaos", "doctor"], &["cli"]];
/// Those of `transport`.
const TRANSPORT: [&[&str]; 6] = [
    &["address", "atomic", "lost", "ports", "rank", "region", "write"],
    &["counted", "exchange", "park"],
    &["endpoint", "link_name"],
    &["absent", "mesh", "outbox"],
    &["shm", "sim", "tcp", "verbs"],
    &["model"],
];
/// Those of `sim`.
const SIM: [&[&str]; 8] = [
    &["aim", "property", "scenario", "trace"],
    &["leaders", "mutant", "recorder", "states", "view"],
    &["chain", "reads", "sabotage"],
    &["checker"],
    &["member"],
    &["simulation"],
    &["churn", "members"],
    &["run"],
];
/// The most lines that a file may have.
const LINES_MAX: usize = 500;

#[test]
fn imports_point_down() {
    for (name, floors) in [("bench", &BENCH[..]), ("transport", &TRANSPORT), ("sim", &SIM)] {
        assert_eq!(Workspace::here().graph(name).wrong_arrows(floors), Vec::<String>::new(), "in {name}");
    }
}

#[test]
fn no_two_files_of_bench_and_report_need_each_other() {
    for name in ["bench", "report"] {
        assert_eq!(Workspace::here().graph(name).circle(), None, "in {name}");
    }
}

/// In the other crates a folder's module and those inside it are one thing: a type, and its methods in several files.
#[test]
fn no_two_files_need_each_other() {
    for name in Workspace::here().crates() {
        assert_eq!(Workspace::here().graph(&name).of_families().circle(), None, "in {name}");
    }
}

#[test]
fn no_two_folders_of_a_crate_need_each_other() {
    for name in Workspace::here().crates() {
        assert_eq!(Workspace::here().graph(&name).of_tops().circle(), None, "in {name}");
    }
}

#[test]
fn no_file_is_long() {
    let sources = Workspace::here().sources(".");
    assert!(sources.len() > 100, "the sources are here");
    for (file, text) in sources {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{} has {lines} lines, more than {LINES_MAX}: split it by what it does", file.display());
    }
}
