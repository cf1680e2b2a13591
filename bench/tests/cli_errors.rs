//! Command lines that cannot be meant: each gets an error that names it and the mend, and the right exit status.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use assert_cmd::Command;

const USAGE: i32 = 2;
const ERROR: i32 = 1;

fn squall(arguments: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
    let output = command.current_dir(folder.path()).args(arguments.split_whitespace()).output().unwrap();
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "an error leaves nothing behind: {left:?}");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn arguments_that_are_no_text_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let strange = OsStr::from_bytes(b"a\xffb");
    for words in [&["run", "memcpy", "--quick", "--out"][..], &["plot"], &["chaos", "--rounds", "1", "--out"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
        let output = command.current_dir(folder.path()).args(words).arg(strange).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(USAGE), "{said}");
        assert!(said.contains(r#"the argument "a\xFFb" is not UTF-8"#), "{said}");
    }
}

#[test]
fn what_cannot_be_meant_is_named_with_its_mend() {
    let cases = [
        ("run", "EXPERIMENT"),
        ("run walk", "multicast"),
        ("run multicast --sizes 1", "--size"),
        ("run multicast --size 1TB", "use B, KB, MB or GB"),
        ("run multicast --size 0", "the smallest is 1"),
        ("run multicast --size big", "a size is a number with a unit"),
        ("run multicast --size 1,5MB", "Write 1.5MB for the one"),
        ("run multicast --size 1.3KB", "no whole number of bytes"),
        ("run write --fabric shm --perftest", "over --fabric verbs only"),
        ("run multicast --fabric tcp --sl 3", "--sl has an effect over --fabric verbs only"),
        ("run memcpy --membership", "no effect on memcpy"),
        ("run memcpy --deadline 5", "no effect on memcpy"),
        ("run multicast --ordering omnipaxos", "which `squall run orders` alone puts beside ours; multicast takes ordered, lamport"),
        ("run orders --ordering omnipaxos --size 1MB", "in messages of up to 16 KB"),
        ("run orders --ordering omnipaxos --fabric sim-rdma-100g", "runs on no modelled cluster"),
        ("sim --ordering omnipaxos", "possible values: ordered, lamport, paxos, chain, unordered"),
        ("chaos --ordering omnipaxos", "give one of ordered, lamport, paxos, chain"),
        ("run multicast --nodes 1", "at least 2 nodes"),
        ("run multicast --nodes 65", "at most 64 nodes can be measured"),
        ("run multicast --nodes 2 --senders 3", "3 senders do not fit into 2 nodes; use --nodes 3"),
        ("run multicast --senders 0", "nothing is sent"),
        ("run multicast --fabric carrier-pigeon", "shm"),
        ("run multicast --seconds 1 --messages 5", "cannot be used with"),
        ("run multicast --seconds 0", "0.001"),
        ("run multicast --trials 0", "1..=1000"),
        ("run multicast --size=", "a size is a number with a unit"),
        ("run multicast --block=", "a size is a number with a unit"),
        ("run smc-rate --messages 4294967297", "not in 1..=4294967296"),
        ("run write --messages 18446744073709551615", "not in 1..=4294967296"),
        ("run multicast --window 0", "1.."),
        ("run multicast --size 100MB --block 1", "use blocks of at least"),
        ("run multicast --pin 4095", "the cores it may run on are"),
        ("run multicast --resume", "--out"),
        ("run write --nodes 4", "write does not sweep --nodes; it takes --fabric, --size, --window"),
        ("run memcpy --fabric shm", "memcpy does not sweep --fabric"),
        ("run smc-rate --size 1MB", "use `squall run multicast`"),
        ("compare one", "a second RUN"),
        ("compare one --fail-below 0.9", "a second RUN"),
        ("compare one --at-least 12", "12GB/s"),
        ("compare a b --fail-below 0", "0.9"),
        ("sim --seeds 9..7", "has no seed"),
        ("sim --seed 18446744073709551615", "is not in"),
        ("sim --mutant nobody", "counter-first"),
        ("sim --seed 1 --seeds 5", "cannot be used with"),
        ("chaos --fabric sim-rdma-100g", "give shm, tcp or verbs"),
        ("run multicast --fabric tcp --lost-after 1", "from 2 to 3600"),
        ("run multicast --fabric shm --lost-after 5", "--lost-after has an effect over --fabric tcp only"),
        ("run write --fabric verbs --pkey 0", "a partition's key such as 0x8001"),
        ("run multicast --pin first", "0,2,4, or none"),
        ("witness", "--listen"),
        ("witness --listen 127.0.0.1:0", "squall node --new-key"),
        ("sim --churn luck", "say safety, liveness, members or all"),
        ("sim --churn safety --mutant counter-first", "leave --churn out"),
        ("worker", "started by squall itself"),
    ];
    for (arguments, expected) in cases {
        let (status, stderr) = squall(arguments);
        assert_eq!(status, Some(USAGE), "{arguments}: {stderr}");
        assert!(stderr.contains(expected), "{arguments}: {stderr}");
    }
}

#[test]
fn folders_that_cannot_be_used_are_named() {
    for (arguments, expected) in [
        ("plot nowhere", "nowhere"),
        ("sim --seeds 1 --trace nowhere/trace", "the trace cannot be written to nowhere/trace"),
        ("compare nowhere here", "nowhere"),
        ("run memcpy --resume --out nowhere", "nowhere holds no run"),
        ("run memcpy --out /proc/squall", "/proc/squall"),
        ("run memcpy --out /dev/null/x", "/dev/null/x"),
    ] {
        let (status, stderr) = squall(arguments);
        assert_eq!(status, Some(ERROR), "{arguments}: {stderr}");
        assert!(stderr.contains(expected), "{arguments}: {stderr}");
    }
}

#[test]
fn every_subcommand_has_help_with_examples() {
    for (subcommand, example) in [
        ("", "Exit status"),
        ("reproduce", "squall reproduce --quick"),
        ("run", "squall run multicast --nodes 2"),
        ("plot", "squall plot results/"),
        ("compare", "--fail-below 0.9"),
        ("doctor", "squall doctor --json"),
        ("sim", "squall sim --seed 4711"),
        ("node", "srun --ntasks-per-node=1 squall node"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
        command.args(subcommand.split_whitespace()).arg("--help");
        let output = command.output().unwrap();
        assert!(output.status.success());
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(help.contains(example), "{subcommand}: {help}");
    }
}

#[test]
fn doctor_tries_fabrics_and_its_status_follows_what_it_found() {
    let doctor = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_squall")).arg("doctor").args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, text) = doctor(&["--all"]);
    for expected in
        ["cores", "memory", "huge pages", "topology (", "package 0", "shm: works", "tcp: works", "verbs", "that could be better"]
    {
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(status == Some(6), text.contains("\nWRONG "), "{text}");
    let (status, text) = doctor(&["--json", "--strict"]);
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(found["machine"]["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    let findings = found["findings"].as_array().unwrap();
    assert!(findings.len() > 3);
    let is_bad = findings.iter().any(|finding| finding["level"] != "note");
    assert_eq!(status, Some(if is_bad { 6 } else { 0 }), "{text}");
    for fabric in found["fabrics"].as_array().unwrap().iter().filter(|fabric| fabric["name"] != "verbs") {
        assert!(fabric["link"]["gigabytes_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{fabric}");
        assert!(fabric["order"].as_str().is_some_and(|order| order.starts_with("in order")), "{fabric}");
    }
}

#[test]
fn a_simulated_seed_holds_and_a_fault_is_found() {
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_squall")).arg("sim").args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, text) = run(&["--seeds", "3"]);
    assert_eq!(status, Some(0), "{text}");
    let (status, text) = run(&["--seeds", "20", "--mutant", "counter-first", "--failures", "1"]);
    assert_eq!(status, Some(3), "{text}");
    assert!(text.contains("squall sim --seed") && text.contains("--mutant counter-first"), "{text}");
    let (status, text) = run(&["--churn", "--seeds", "3"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(["safety", "liveness", "members"].iter().all(|aim| text.contains(&format!("churn for {aim}: 3 seeds"))), "{text}");
    let (status, text) = run(&["--churn", "safety", "--seeds", "60", "--mutant", "joiner-misses-one", "--failures", "1"]);
    assert_eq!(status, Some(3), "{text}");
    assert!(text.contains("squall sim --churn safety --seed") && text.contains("StateTransfer"), "{text}");
}
