//! Runs across hosts: several `squall node` of this machine, each with an address of its own, as small as they can be.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use squall_report::{Row, read_rows};
use tempfile::TempDir;

/// Far longer than anything here takes; only a hang meets it.
const PATIENCE: Duration = Duration::from_secs(100);

const SMALL: &str = "run multicast --quick --trials 1 --messages 10 --size 1 --senders all --ordering ordered --verify full";

/// A sweep of four sizes, minutes each: it does not end by itself while a test looks at it.
const ENDLESS: &str = "run multicast --quick --trials 1000 --seconds 0.1 --size 1,2,3,4 --senders one --ordering ordered";

/// What hosts share: a key, an address, a folder.
struct Site {
    root: TempDir,
    rendezvous: String,
}

impl Site {
    fn new() -> Site {
        let root = tempfile::tempdir().unwrap();
        // The port is free now, and nobody else is likely to take it until rank 0 does.
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let site = Site { root, rendezvous: format!("127.0.0.1:{port}") };
        let made = Command::new(env!("CARGO_BIN_EXE_squall")).args(["node", "--new-key"]).arg(site.key()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        site
    }

    fn key(&self) -> PathBuf {
        self.root.path().join("key")
    }

    fn out(&self) -> PathBuf {
        self.root.path().join("out")
    }

    /// `squall node` without rank, size or key; no launcher is around.
    fn bare(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
        for variable in ["SQUALL_NODE_RANK", "SQUALL_NODES", "SQUALL_NODE_ADDRESS", "SQUALL_RENDEZVOUS", "SQUALL_KEY", "SQUALL_SHAPED"] {
            command.env_remove(variable);
        }
        for variable in ["OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "PALS_RANKID", "FLUX_TASK_RANK", "RANK", "SLURM_PROCID"] {
            command.env_remove(variable);
        }
        for variable in ["SLURM_NTASKS", "JOB_COMPLETION_INDEX", "SQUALL_INTERFACE", "SQUALL_PORTS"] {
            command.env_remove(variable);
        }
        command.args(["node", "--rendezvous", &self.rendezvous]).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn node(&self, more: &str) -> Command {
        let mut command = self.bare();
        command.arg("--key-file").arg(self.key()).args(more.split_whitespace());
        command
    }

    /// Rank `rank` of `nodes`, at an address of its own.
    fn agent(&self, rank: u32, nodes: u32) -> Child {
        self.node(&format!("--nodes {nodes} --rank {rank} --address 127.0.0.{}", rank + 1)).spawn().unwrap()
    }

    /// Rank 0 of `nodes`, which runs `what`.
    fn first(&self, nodes: u32, what: &str) -> Child {
        self.node(&format!("--nodes {nodes} --rank 0 -- {what} --out")).arg(self.out()).spawn().unwrap()
    }

    fn rows(&self) -> Vec<Row> {
        read_rows(&self.out()).unwrap().rows
    }

    /// Waits until so many rows that hold `text` are there, while `child` lives.
    fn wait_for_rows(&self, child: &mut Child, text: &str, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        let file = self.out().join("results.csv");
        let there = || std::fs::read_to_string(&file).map_or(0, |all| all.lines().skip(1).filter(|line| line.contains(text)).count());
        while there() < count {
            assert!(Instant::now() < deadline, "no rows");
            assert!(child.try_wait().unwrap().is_none(), "the run ended early");
            std::thread::yield_now();
        }
    }
}

fn said(child: Child) -> (i32, String) {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), format!("{}{}", text(stdout), text(stderr)))
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
}

#[test]
fn rows_of_a_shaped_network_say_its_rate() {
    let site = Site::new();
    let agent = site.agent(1, 2);
    let mut first = site.node(&format!("--nodes 2 --rank 0 -- {SMALL} --nodes 2 --fabric tcp --out"));
    let (status, text) = said(first.arg(site.out()).env("SQUALL_SHAPED", "200mbit").spawn().unwrap());
    assert_eq!(status, 0, "{text}");
    said(agent);
    for row in site.rows() {
        assert!(row.emulated == "shaped" && row.note.contains("links are shaped to 200mbit"), "{row:?}");
    }
}

#[test]
fn whoever_has_nothing_to_run_waits_for_the_one_that_has_and_is_rank_0() {
    let site = Site::new();
    // One host, no ranks anywhere; those without a command may well come first.
    let others: Vec<Child> = (0..2).map(|_| site.node("--nodes 3").spawn().unwrap()).collect();
    let mut first = site.node(&format!("--nodes 3 -- {SMALL} --nodes 3 --fabric tcp --out"));
    let (status, text) = said(first.arg(site.out()).spawn().unwrap());
    assert_eq!(status, 0, "{text}");
    for other in others {
        let (status, text) = said(other);
        assert_eq!(status, 0, "{text}");
    }
}

#[test]
fn a_key_that_exists_is_not_overwritten_and_the_mend_is_named() {
    let site = Site::new();
    let before = std::fs::read(site.key()).unwrap();
    let mut again = Command::new(env!("CARGO_BIN_EXE_squall"));
    again.args(["node", "--new-key"]).arg(site.key()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let (status, text) = said(again.spawn().unwrap());
    assert_eq!(status, 1, "{text}");
    assert!(text.contains("exists") && text.contains("--key-file"), "{text}");
    assert_eq!(std::fs::read(site.key()).unwrap(), before);
}

#[test]
fn hosts_run_a_multicast_verify_it_and_part() {
    let site = Site::new();
    let agents: Vec<Child> = (1..3).map(|rank| site.agent(rank, 3)).collect();
    let (status, text) = said(site.first(3, &format!("{} --nodes 2,3 --fabric tcp,shm", SMALL.replace("--size 1 ", "--size 1,20KB "))));
    // Shared memory is skipped: that is status 5.
    assert_eq!(status, 5, "{text}");
    for agent in agents {
        let (status, text) = said(agent);
        assert_eq!(status, 0, "{text}");
    }
    let rows = site.rows();
    let measured: Vec<&Row> = rows.iter().filter(|row| row.is_measured()).collect();
    assert_eq!(measured.len(), 2 * 2, "{rows:?}");
    for row in measured {
        assert!(row.fabric == "tcp" && row.verified == "full" && row.bound_fraction > Some(0.0), "{row:?}");
        assert!(row.note.contains("clocks of the hosts agree within"), "{}", row.note);
    }
    assert!(rows.iter().filter(|row| row.fabric == "shm").all(|row| row.note.contains("does not span hosts")));
    for file in ["environment.json", "environment.1.json", "environment.2.json", "report.html"] {
        assert!(site.out().join(file).exists(), "{file}");
    }
}

#[test]
fn every_host_may_run_the_same_command_and_launchers_tell_ranks() {
    for (rank_variable, nodes_variable) in [("SLURM_PROCID", "SLURM_NTASKS"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")] {
        let site = Site::new();
        let same = |rank: u32| {
            let mut command = site.node(&format!("-- {SMALL} --out"));
            command.arg(site.out()).env(rank_variable, rank.to_string()).env(nodes_variable, "2").spawn().unwrap()
        };
        let (second, first) = (same(1), same(0));
        let (status, text) = said(first);
        assert_eq!(status, 0, "{rank_variable}: {text}");
        assert_eq!(said(second).0, 0);
        assert_eq!(site.rows().len(), 1, "two nodes are the default on two hosts");
    }
}

#[test]
fn without_ranks_the_rendezvous_hands_them_out() {
    let site = Site::new();
    let same = || site.node(&format!("--nodes 3 -- {SMALL} --out")).arg(site.out()).spawn().unwrap();
    let mut ended: Vec<(i32, String)> = [same(), same(), same()].into_iter().map(said).collect();
    assert!(ended.iter().all(|(status, _)| *status == 0), "{ended:?}");
    ended.retain(|(_, text)| text.contains("report.html"));
    assert_eq!(ended.len(), 1, "one of them ran it: {ended:?}");
}

#[test]
fn latencies_between_hosts_are_taken_by_one_clock_or_not_at_all() {
    let site = Site::new();
    let agent = site.agent(1, 2);
    let (status, text) = said(site.first(2, "run latency --messages 12 --trials 2 --size 1 --quick"));
    assert_eq!(status, 0, "{text}");
    assert_eq!(said(agent).0, 0);
    let rows = site.rows();
    assert!(rows.iter().any(|row| row.schedule.ends_with("-sender") && row.is_measured()), "{rows:?}");
    for row in rows.iter().filter(|row| row.schedule.ends_with("-last")) {
        assert!(row.is_measured() || row.note.contains("clocks of the hosts agree only within"), "{row:?}");
    }
}

#[test]
fn members_of_several_hosts_die_and_join_when_they_are_told() {
    let site = Site::new();
    let agents: Vec<Child> = (1..4).map(|rank| site.agent(rank, 4)).collect();
    let what = "run view-change --quick --trials 1 --nodes 3 --size 100 --fabric tcp --upset kill,join --state 20KB";
    let (status, text) = said(site.first(4, what));
    assert_eq!(status, 0, "{text}");
    for agent in agents {
        let (status, text) = said(agent);
        assert_eq!(status, 0, "{text}");
    }
    let rows = site.rows();
    let parts = |of: &str| rows.iter().filter(|row| row.schedule.starts_with(of)).count();
    assert_eq!((parts("direct-kill-light-"), parts("direct-join+20KB-light-"), rows.len()), (7, 9, 16), "{rows:?}");
    assert!(rows.iter().all(|row| row.is_measured() && row.note.contains("clocks of the hosts agree within")), "{rows:?}");
}

#[test]
fn a_wrong_key_is_named_on_both_sides() {
    let site = Site::new();
    let stranger = Site { root: tempfile::tempdir().unwrap(), rendezvous: site.rendezvous.clone() };
    let made = Command::new(env!("CARGO_BIN_EXE_squall")).args(["node", "--new-key"]).arg(stranger.key()).output().unwrap();
    assert!(made.status.success());
    let first = site.first(2, SMALL);
    let (status, text) = said(stranger.agent(1, 2));
    assert!(status == 1 && text.contains("wrong cluster key? Give all nodes the same key file"), "{status} {text}");
    let agent = site.agent(1, 2);
    let (status, text) = said(first);
    assert!(status == 0 && text.contains("refused 127.0.0.1: handshake failed: wrong cluster key?"), "{status} {text}");
    assert_eq!(said(agent).0, 0);
}

#[test]
fn another_number_of_hosts_and_a_taken_rank_are_refused_and_the_run_goes_on() {
    let site = Site::new();
    let first = site.first(3, &format!("{SMALL} --nodes 3"));
    let (status, text) = said(site.agent(1, 4));
    assert!(status == 1 && text.contains("it was told of 4 hosts (--nodes), the first host of 3"), "{status} {text}");
    // Whichever of the two comes second is refused; the other one stays.
    let mut twins = [site.agent(1, 3), site.agent(1, 3)];
    let deadline = Instant::now() + PATIENCE;
    let refused = loop {
        assert!(Instant::now() < deadline, "nobody was refused");
        if let Some(at) = twins.iter_mut().position(|twin| twin.try_wait().unwrap().is_some()) {
            break at;
        }
        std::thread::yield_now();
    };
    let [one, other] = twins;
    let (refused, stays) = if refused == 0 { (one, other) } else { (other, one) };
    let (status, text) = said(refused);
    assert!(status == 1 && text.contains("rank 1 is already taken"), "{status} {text}");
    let last = site.agent(2, 3);
    let (status, text) = said(first);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains("refused rank 1 at 127.0.0.1: it was told of 4 hosts") && text.contains("rank 1 is already taken"), "{text}");
    assert_eq!((said(stays).0, said(last).0), (0, 0));
}

#[test]
fn an_agent_that_is_killed_fails_its_point_and_later_ones_do_without_it() {
    let site = Site::new();
    let (one, two) = (site.agent(1, 3), site.agent(2, 3));
    let mut first = site.first(3, &format!("{ENDLESS} --nodes 3,2"));
    site.wait_for_rows(&mut first, ",ordered,3,", 1);
    signal(&two, Signal::KILL);
    // Two hosts are still there; then one.
    site.wait_for_rows(&mut first, ",ordered,2,", 1);
    signal(&one, Signal::KILL);
    let (status, text) = said(first);
    assert_eq!(status, 3, "{text}");
    let rows = site.rows();
    let note_of = |nodes: u32, size: u64| {
        let point = |row: &&Row| (row.nodes, row.message_bytes, row.is_measured()) == (nodes, size, false);
        rows.iter().find(point).map(|row| row.note.clone()).unwrap()
    };
    for (nodes, lost) in [(3, 2), (2, 1)] {
        let (failed, skipped) = (note_of(nodes, 1), note_of(nodes, 2));
        // Which of its node and its host is found gone first depends on what was said to it last.
        for note in [&failed, &skipped] {
            assert!(note.contains(&format!("{lost} at 127.0.0.1")) && note.contains("its agent is gone"), "{note}");
        }
        assert!(rows.iter().any(|row| row.nodes == nodes && row.is_measured()), "what was measured is kept");
    }
    drop((said(one), said(two)));
}

#[test]
fn an_interrupt_at_the_first_host_keeps_rows_and_ends_all() {
    let site = Site::new();
    let agent = site.agent(1, 2);
    let mut first = site.first(2, ENDLESS);
    site.wait_for_rows(&mut first, "", 2);
    signal(&first, Signal::INT);
    let (status, text) = said(first);
    assert!(status == 130 && text.contains("squall node --rendezvous"), "{status} {text}");
    let (status, text) = said(agent);
    assert_eq!(status, 0, "{text}");
    assert!(site.rows().len() >= 2 && site.out().join("report.html").exists());
}

#[test]
fn agents_do_not_outlive_a_first_host_that_is_killed() {
    let site = Site::new();
    let agent = site.agent(1, 2);
    let mut first = site.first(2, ENDLESS);
    site.wait_for_rows(&mut first, "", 1);
    signal(&first, Signal::KILL);
    let (status, text) = said(agent);
    assert!(status == 1 && text.contains("is gone"), "{status} {text}");
    drop(said(first));
}

#[test]
fn hosts_that_do_not_come_are_named() {
    let site = Site::new();
    let (status, text) = said(site.node(&format!("--nodes 3 --rank 0 --wait 1 -- {SMALL}")).spawn().unwrap());
    assert!(status == 1 && text.contains("ranks 1, 2 did not come within 1 s"), "{status} {text}");
    let (status, text) = said(site.node("--nodes 3 --rank 1 --wait 1").spawn().unwrap());
    assert!(status == 1 && text.contains("cannot reach the rendezvous") && text.contains("waiting for the first host"), "{status} {text}");
}

#[test]
fn what_cannot_be_meant_is_named_with_its_mend() {
    let site = Site::new();
    let key = site.key();
    let key = key.display();
    let cases = [
        (format!("--key-file {key} --rank 0"), "the number of hosts is unknown: give --nodes N"),
        (format!("--key-file {key} --nodes 2 --rank 2"), "ranks are 0 to 1"),
        (format!("--key-file {key} --nodes 1"), "at least 2 nodes"),
        (format!("--key-file {key} --nodes 2 --rank 0"), "-- run multicast --size 1MB"),
        (format!("--key-file {key} --nodes 2 --rank 0 -- sleep"), "unrecognized subcommand 'sleep'"),
        (format!("--key-file {key} --nodes 2 --rank 0 --address 192.0.2.77 -- {SMALL}"), "192.0.2.77 cannot be used on this host"),
        ("--nodes 2 --rank 0".into(), "make one with `squall node --new-key FILE`"),
    ];
    for (arguments, expected) in cases {
        let (status, text) = said(site.bare().args(arguments.split_whitespace()).spawn().unwrap());
        assert!(status == 2 && text.contains(expected), "{arguments}: {status} {text}");
    }
    let agent = site.agent(1, 2);
    let (status, text) = said(site.first(2, &format!("{SMALL} --nodes 3")));
    assert!(status == 2 && text.contains("--nodes 3: this run has 2 hosts"), "{status} {text}");
    let (status, text) = said(agent);
    assert_eq!(status, 0, "{text}");
}
