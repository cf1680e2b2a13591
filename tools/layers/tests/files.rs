//! Files: imports point down, no two files need each other, and none is long.

use squall_layers::Workspace;

/// The floors of `bench`, lowest first. What stands on a floor names lower floors only.
const BENCH: [&[&str]; 5] = [&["jobs"], &["ask"], &["run"], &["experiments", "chaos", "doctor"], &["cli"]];
/// Those of `transport`.
const TRANSPORT: [&[&str]; 6] = [
    &["address", "atomic", "lost", "ports", "rank", "region", "within_host", "write"],
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
/// The most columns of a line of prose.
const COLUMNS_MAX: usize = 120;

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

/// Comments whose lines are too wide, by their line numbers. Tables, addresses and pictures in text cannot be wrapped.
fn wide_comments(text: &str) -> Vec<usize> {
    let mut is_picture = false;
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let Some(comment) = line.trim_start().strip_prefix("//") else {
            is_picture = false;
            continue;
        };
        let prose = comment.trim_start_matches(['/', '!']).trim_start();
        if prose.starts_with("```") {
            is_picture = !is_picture;
        }
        let is_whole = is_picture || prose.starts_with('|') || prose.starts_with('[') && prose.contains("]:");
        if !is_whole && line.chars().count() > COLUMNS_MAX {
            found.push(number);
        }
    }
    found
}

#[test]
fn comments_are_wrapped() {
    for (file, text) in Workspace::here().sources(".") {
        let wide = wide_comments(&text);
        assert!(wide.is_empty(), "{}: comments wider than {COLUMNS_MAX} columns in lines {wide:?}: wrap them", file.display());
    }
}

#[test]
fn a_wide_comment_is_found_and_a_wide_picture_is_none() {
    let wide = "x".repeat(COLUMNS_MAX);
    assert_eq!(wide_comments(&format!("let x = 1;\n    /// {wide}\n// {wide}\n")), [2, 3]);
    assert_eq!(wide_comments(&format!("//! ```text\n//! {wide}\n//! ```\n//! | {wide} |\n//! [a]: {wide}\nlet x = \"{wide}\";\n")), [0; 0]);
    assert_eq!(wide_comments(&format!("//! ```text\n//! ```\n//! {wide}\n")), [3]);
}
