//! Tells the program which commit and which compiler it was made from. Outside of its own git checkout the commit is
//! `unknown`, and nothing fails.

use std::path::Path;
use std::process::Command;

const WATCHED: [&str; 13] = [
    ".git/HEAD",
    ".git/logs/HEAD",
    "Cargo.lock",
    "Cargo.toml",
    "bench/src",
    "group/src",
    "membership/src",
    "orderer/src",
    "rdmc/src",
    "report/src",
    "sim/src",
    "smc/src",
    "sst/src",
];

fn main() {
    let root = Path::new("..");
    for path in WATCHED.iter().copied().chain(["transport/src"]) {
        // A watched path that does not exist would make cargo run this script every time.
        if root.join(path).exists() {
            println!("cargo::rerun-if-changed=../{path}");
        }
    }
    println!("cargo::rerun-if-changed=build.rs");
    let checkout = is_own_checkout(root);
    let commit = checkout.then(|| git(&["rev-parse", "HEAD"])).flatten();
    let changes = checkout.then(|| git(&["status", "--porcelain", "--untracked-files=no"])).flatten();
    let dirty = match changes.as_deref() {
        None => "unknown",
        Some("") => "no",
        Some(_) => "yes",
    };
    set("SQUALL_COMMIT", commit.as_deref().unwrap_or("unknown"));
    set("SQUALL_DIRTY", dirty);
    let rustc = std::env::var("RUSTC").ok().and_then(|rustc| run(&rustc, &["-V"]));
    set("SQUALL_RUSTC", rustc.as_deref().unwrap_or("unknown"));
    for (name, from) in [("SQUALL_PROFILE", "PROFILE"), ("SQUALL_OPT_LEVEL", "OPT_LEVEL"), ("SQUALL_TARGET", "TARGET")] {
        set(name, &std::env::var(from).unwrap_or_else(|_| "unknown".into()));
    }
}

fn set(name: &str, value: &str) {
    println!("cargo::rustc-env={name}={}", value.lines().next().unwrap_or(""));
}

/// Whether the folder above this crate is the top of a git checkout; a source archive may lie inside somebody else's.
fn is_own_checkout(root: &Path) -> bool {
    git(&["rev-parse", "--show-toplevel"])
        .and_then(|top| Path::new(&top).canonicalize().ok())
        .zip(root.canonicalize().ok())
        .is_some_and(|(top, root)| top == root)
}

fn git(arguments: &[&str]) -> Option<String> {
    run("git", arguments)
}

fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
