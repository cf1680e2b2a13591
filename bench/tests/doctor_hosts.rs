//! `squall doctor` across hosts: several `squall node` of this machine, each with an address of its own.

use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// Variables of launchers and of a host's own settings, none of which is meant here.
const VARIABLES: [&str; 12] = [
    "SQUALL_NODE_RANK",
    "SQUALL_NODES",
    "SQUALL_NODE_ADDRESS",
    "SQUALL_RENDEZVOUS",
    "SQUALL_KEY",
    "SQUALL_SHAPED",
    "OMPI_COMM_WORLD_RANK",
    "OMPI_COMM_WORLD_SIZE",
    "PMI_RANK",
    "PMI_SIZE",
    "SLURM_PROCID",
    "SLURM_NTASKS",
];

/// What rank 0 of three hosts prints when it runs `what`.
fn three_hosts(what: &str) -> Output {
    let root = tempfile::tempdir().unwrap();
    let key = root.path().join("key");
    // The port is free now, and nobody else is likely to take it until rank 0 does.
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let squall = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    assert!(squall().args(["node", "--new-key"]).arg(&key).output().unwrap().status.success());
    let node = |rank: u32, more: &[&str]| -> Child {
        let rendezvous = format!("127.0.0.1:{port}");
        let mut command = squall();
        command.args(["node", "--rendezvous", &rendezvous, "--nodes", "3", "--rank", &rank.to_string(), "--key-file"]).arg(&key);
        command.args(more).spawn().unwrap()
    };
    let words: Vec<&str> = std::iter::once("--").chain(what.split_whitespace()).collect();
    let first = node(0, &words);
    let others: Vec<Child> = [1, 2].map(|rank| node(rank, &["--address", &format!("127.0.0.{}", rank + 1)])).into();
    let said = first.wait_with_output().unwrap();
    for other in others {
        let other = other.wait_with_output().unwrap();
        assert!(other.status.success(), "{}", String::from_utf8_lossy(&other.stderr));
    }
    said
}

#[test]
fn hosts_stand_side_by_side_and_every_pair_is_tried() {
    let output = three_hosts("doctor --json");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(found["hosts"].as_array().unwrap().len(), 3);
    assert_eq!(found["hosts"][2]["name"], "127.0.0.3");
    let tcp = &found["matrices"][0];
    assert_eq!((tcp["fabric"].as_str(), tcp["failed"].is_null()), (Some("tcp"), true), "{tcp}");
    let links = tcp["links"].as_array().unwrap();
    assert_eq!(links.len(), 6);
    for link in links {
        assert!(link["gigabytes_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{link}");
    }
    // They are one machine, so nothing differs.
    assert_eq!(found["differences"].as_array().unwrap().len(), 0, "{}", found["differences"]);
    let is_wrong = found["findings"].as_array().unwrap().iter().any(|finding| finding["level"] == "wrong");
    assert_eq!(output.status.code(), Some(if is_wrong { 6 } else { 0 }), "{said}");
}
