//! `peers`: other programs beside ours, in turns, as small as it can be; and what a run says while it goes on.

use std::path::Path;
use std::process::{Command, Output};

use squall_bench::jobs::peer::Peer;
use squall_report::{Row, read_rows};

fn squall(arguments: &str, out: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_squall")).args(arguments.split_whitespace()).arg("--out").arg(out).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Rows of ours and of the other one, trial by trial, in turns.
fn check_turns(rows: &[Row], other: &str) {
    let fabrics: Vec<(&str, u32)> = rows.iter().map(|row| (row.fabric.as_str(), row.trial)).collect();
    let ours = fabrics[0].0;
    assert_eq!(fabrics, [(ours, 1), (other, 1), (ours, 2), (other, 2)], "{rows:?}");
    assert!(rows.iter().all(Row::is_measured), "{rows:?}");
    for theirs in rows.iter().filter(|row| row.fabric == other) {
        assert!(theirs.note.contains("squall reached") || theirs.note.contains("squall took"), "{theirs:?}");
    }
}

#[test]
fn our_own_unicast_is_a_peer_that_every_machine_has() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let output = squall("run peers --peer unicast --fabric tcp --size 64KB --nodes 3 --trials 2 --messages 4", &out);
    assert!(output.status.success(), "{}", said(&output));
    check_turns(&read_rows(&out).unwrap().rows, "unicast-tcp");
}

#[test]
fn other_programs_are_measured_in_turns_with_ours_where_they_are_installed() {
    let peers = [
        (Peer::Iperf3, "iperf3", "--size 128KB"),
        (Peer::UcxLatency, "ucx-tcp", "--size 8"),
        (Peer::Openmpi, "openmpi-tcp", "--size 64KB --nodes 2"),
        (Peer::Corosync, "corosync", "--size 1KB --nodes 3"),
    ];
    for (peer, fabric, more) in peers {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        let output = squall(&format!("run peers --peer {peer} --fabric tcp --trials 2 --messages 20 {more}"), &out);
        if let Some(missing) = peer.missing() {
            // What was asked for by name and is missing is skipped, with the mend.
            assert_eq!(output.status.code(), Some(5), "{}", said(&output));
            assert!(said(&output).contains(&missing), "{}", said(&output));
        } else {
            assert!(output.status.success(), "{}", said(&output));
            check_turns(&read_rows(&out).unwrap().rows, fabric);
        }
    }
}

#[test]
fn a_peer_over_a_fabric_that_it_does_not_know_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let output = squall("run peers --peer iperf3 --fabric shm", &root.path().join("out"));
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("iperf3 is measured over tcp"), "{}", said(&output));
}

#[test]
fn a_quiet_run_says_nothing_but_its_table() {
    let root = tempfile::tempdir().unwrap();
    for (arguments, out) in [
        ("run memcpy --size 4KB --trials 1 --seconds 0.001 --quiet", "real"),
        ("run latency --fabric sim-rdma-100g --size 1 --nodes 2 --senders one --messages 10 --trials 1 --quiet", "modelled"),
    ] {
        let output = squall(arguments, &root.path().join(out));
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(said(&output), "", "{arguments}");
        assert!(!output.stdout.is_empty());
    }
}

#[test]
fn what_is_skipped_alike_is_said_once() {
    let root = tempfile::tempdir().unwrap();
    let output = squall("run write --fabric verbs --size 8KB,1MB --ib-dev no_such_device", &root.path().join("out"));
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    let skipped = said(&output).lines().filter(|line| line.contains("skipped")).count();
    assert_eq!(skipped, 1, "{}", said(&output));
}
