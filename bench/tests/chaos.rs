//! Groups of real processes under faults, as small as they can be.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn chaos(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
    command.arg("chaos").args(arguments.split_whitespace()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Faults that are noticed by links, at once; silence that is no slow machine's.
const LOUD: &str = "--faults kill,cut,join,leave,transfer --suspect-after 10s --patience 100s";

fn every_property_holds(words: &str) {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let output = chaos(&format!("{words} --out")).arg(&out).output().unwrap();
    let (status, stdout, stderr) = said(&output);
    assert_eq!(status, Some(0), "{words}: {stdout}{stderr}");
    assert!(stdout.contains(" rounds in 1 group") && stdout.ends_with("0 rounds failed\n"), "{words}: {stdout}");
    assert!(!out.exists(), "nothing is left of groups with which nothing was wrong");
}

#[test]
fn every_property_holds_over_shared_memory() {
    every_property_holds(&format!("--rounds 8 --seed 1 --fabric shm {LOUD}"));
}

#[test]
fn every_property_holds_over_tcp() {
    every_property_holds(&format!("--rounds 8 --seed 1 --fabric tcp {LOUD}"));
}

#[test]
fn every_property_holds_while_members_stop() {
    // A member that is only slow is not silent for so long.
    every_property_holds("--rounds 4 --seed 1 --faults stop,join --suspect-after 3s --patience 100s");
}

#[test]
fn every_property_holds_in_groups_of_one_and_two() {
    for nodes in ["--nodes 1", "--nodes 2", "--nodes 2 --witness"] {
        every_property_holds(&format!("--rounds 6 --seed 3 {nodes} {LOUD}"));
    }
}

#[test]
fn two_runs_of_one_second_have_folders_of_their_own() {
    let root = tempfile::tempdir().unwrap();
    let start = || chaos("--rounds 1 --faults join --keep --suspect-after 20s --patience 100s").current_dir(root.path()).spawn().unwrap();
    for run in [start(), start()] {
        let (status, stdout, stderr) = said(&run.wait_with_output().unwrap());
        assert_eq!(status, Some(0), "{stdout}{stderr}");
    }
    assert_eq!(std::fs::read_dir(root.path().join("results")).unwrap().count(), 2);
}

#[test]
fn a_seed_stands_for_the_same_faults_each_time_and_traces_are_kept_if_asked_for() {
    let run = || {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        let output =
            chaos("--rounds 2 --seed 7 --faults join,leave --suspect-after 20s --patience 100s --keep --out").arg(&out).output().unwrap();
        let (status, stdout, stderr) = said(&output);
        assert_eq!(status, Some(0), "{stdout}{stderr}");
        assert!(out.join("group-7/1.trace").exists());
        stderr
    };
    assert_eq!(run(), run());
}

#[test]
fn ctrl_c_ends_it_in_order() {
    let root = tempfile::tempdir().unwrap();
    let mut child =
        chaos("--rounds 100000 --seed 1 --faults join,leave --suspect-after 20s --out").arg(root.path().join("out")).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with("seed 1 round 0: "), "{line}");
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::INT).unwrap();
    let (status, stdout, _) = said(&child.wait_with_output().unwrap());
    assert_eq!(status, Some(130), "{stdout}");
    assert!(stdout.contains(" in ") && stdout.ends_with("0 rounds failed\n"), "{stdout}");
}

#[test]
fn what_cannot_be_meant_is_refused_with_the_mend() {
    for (arguments, mend) in [
        ("--nodes 0", "0 is not in 1..=64"),
        ("--nodes 1 --witness", "use --nodes 2 or more"),
        ("--fabric sim-rdma-100g", "give shm, tcp or verbs"),
        ("--fabric shm --mtu 1024", "--mtu has an effect over --fabric verbs only"),
        ("--state 1,5MB", "is it one size or two"),
        ("--size 1B", "at least 16B"),
        ("--ordering unordered", "give one of ordered"),
        ("--suspect-after 5", "200ms"),
    ] {
        let (status, _, stderr) = said(&chaos(arguments).output().unwrap());
        assert_eq!(status, Some(2), "{arguments}: {stderr}");
        assert!(stderr.contains(mend), "{arguments}: {stderr}");
    }
}
