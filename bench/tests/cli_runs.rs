//! Whole runs with real child processes, as small as they can be.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use squall_group::Mode;
use squall_report::{Row, Summary, read_rows};
use tempfile::TempDir;

/// Far longer than anything here takes; only a hang meets it.
const PATIENCE: Duration = Duration::from_secs(100);

/// A sweep of four sizes, minutes each: it does not end by itself while a test looks at it.
const ENDLESS: &str = "run multicast --quick --trials 1000 --seconds 0.1 --size 1,2,3,4 --ordering ordered";

struct Run {
    _root: TempDir,
    out: PathBuf,
    arguments: Vec<String>,
}

impl Run {
    fn new(arguments: &str) -> Run {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        Run { _root: root, out, arguments: arguments.split_whitespace().map(str::to_owned).collect() }
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
        command.args(&self.arguments).arg("--out").arg(&self.out).args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn finish(&self, more: &[&str]) -> (i32, String, String) {
        said(self.command(more).output().unwrap())
    }

    fn rows(&self) -> Vec<Row> {
        read_rows(&self.out).unwrap().rows
    }

    /// Waits until so many rows that hold `text` are there, while `child` lives.
    fn wait_for_rows(&self, child: &mut Child, text: &str, count: usize) {
        let deadline = Instant::now() + PATIENCE;
        let file = self.out.join("results.csv");
        let there = || std::fs::read_to_string(&file).map_or(0, |all| all.lines().skip(1).filter(|line| line.contains(text)).count());
        while there() < count {
            assert!(Instant::now() < deadline, "no rows");
            assert!(child.try_wait().unwrap().is_none(), "the run ended early");
            std::thread::yield_now();
        }
    }
}

fn said(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// The nodes of a run: its child processes.
fn nodes_of(parent: u32) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        // pid (name) state ppid: the name may hold anything, so look behind its last bracket.
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        if rest.split_whitespace().nth(1) == Some(&parent.to_string()) {
            found.extend(Pid::from_raw(pid));
        }
    }
    found
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id() as i32).unwrap()
}

fn measured(rows: &[Row]) -> impl Iterator<Item = &Row> {
    rows.iter().filter(|row| row.is_measured())
}

#[test]
fn a_multicast_runs_verifies_and_leaves_a_report() {
    let run = Run::new("run multicast --quick --messages 10 --trials 2 --nodes 2,3 --senders all,one --size 1,20KB --verify full");
    let (status, stdout, stderr) = run.finish(&[]);
    assert_eq!(status, 0, "{stdout}{stderr}");
    assert!(stdout.contains("multicast") && stdout.contains("report.html"), "{stdout}");
    assert!(stderr.contains("32 points to measure, about"), "{stderr}");
    let rows = run.rows();
    assert_eq!(rows.len(), 2 * 2 * 2 * 2 * 2 * 2);
    for row in &rows {
        assert!(row.is_measured() && row.verified == "full" && row.messages_per_sender == Some(10), "{row:?}");
        assert!(row.algbw_gigabytes_per_second > Some(0.0) && row.bound_fraction > Some(0.0), "{row:?}");
        let is_crowded = row.nodes > std::thread::available_parallelism().unwrap().get() as u32;
        assert_eq!(row.emulated.starts_with("oversubscribed"), is_crowded, "{row:?}");
    }
    for file in ["run.json", "environment.json", "summary.csv", "report.html"] {
        assert!(run.out.join(file).exists(), "{file}");
    }
    let again = run.finish(&[]);
    assert_eq!(again.0, 1, "a run is not overwritten");
    assert!(again.2.contains("--resume"), "{}", again.2);
    let resumed = run.finish(&["--resume"]);
    assert_eq!(resumed.0, 0, "{}", resumed.2);
    assert_eq!(run.rows().len(), rows.len(), "nothing was missing");
}

#[test]
fn raw_writes_and_copies_run() {
    let run = Run::new("run write --quick --messages 20 --trials 1 --size 2B,8KB");
    let (status, stdout, stderr) = run.finish(&["--json"]);
    assert_eq!(status, 0, "{stderr}");
    let found: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(found["points"].as_array().map(Vec::len), Some(2 * 2 * 2));
    let rows = run.rows();
    assert!(measured(&rows).filter(|row| row.schedule == "latency").all(|row| row.latency_us_p50 > Some(0.0)));
    let run = Run::new("run memcpy --quick --trials 1 --seconds 0.001 --size 10KB");
    let (status, _, stderr) = run.finish(&[]);
    assert_eq!(status, 0, "{stderr}");
    assert_eq!(run.rows().len(), 6);
}

#[test]
fn latencies_are_kept_at_the_sender_and_at_the_last_node() {
    let run = Run::new("run latency --messages 12 --trials 1 --nodes 2 --size 1 --fabric shm");
    let (status, _, stderr) = run.finish(&[]);
    assert_eq!(status, 0, "{stderr}");
    let rows = run.rows();
    let kinds: HashSet<&str> = rows.iter().map(|row| row.schedule.as_str()).collect();
    let expected = ["closed", "light", "saturated"].into_iter().flat_map(|load| ["sender", "last"].map(|at| format!("direct-{load}-{at}")));
    assert_eq!(kinds, expected.collect::<Vec<_>>().iter().map(String::as_str).collect());
    assert!(rows.iter().all(|row| row.latency_us_min > Some(0.0) && row.latency_us_max >= row.latency_us_p50), "{rows:?}");
    let logs = std::fs::read_dir(run.out.join("histograms")).unwrap().count();
    assert_eq!(logs, 2 * rows.len(), "an interval log and its percentiles for each row");
}

#[test]
fn what_does_not_fit_or_is_not_there_is_skipped_with_the_reason() {
    let run = Run::new(
        "run multicast --quick --messages 3 --trials 1 --nodes 2 --senders one --ordering ordered --fabric shm,verbs --size 1,64GB",
    );
    let (status, stdout, stderr) = run.finish(&[]);
    assert_eq!(status, 5, "{stdout}{stderr}");
    let rows = run.rows();
    assert_eq!(measured(&rows).count(), 1);
    let notes: Vec<&str> = rows.iter().filter(|row| !row.is_measured()).map(|row| row.note.as_str()).collect();
    assert_eq!(notes.len(), 3);
    assert!(
        notes.iter().filter(|note| note.contains("verbs is unavailable")).count() == 2 && notes.iter().any(|note| note.contains("memory"))
    );
    assert!(stderr.contains("skipped"), "{stderr}");
}

#[test]
fn an_interrupt_keeps_rows_leaves_no_child_and_can_be_resumed() {
    let run = Run::new(&format!("{ENDLESS} --nodes 3 --senders all --fabric tcp"));
    let interrupt = |more: &[&str], rows: usize| {
        let mut child = run.command(more).spawn().unwrap();
        run.wait_for_rows(&mut child, "", rows);
        let nodes = nodes_of(child.id());
        assert_eq!(nodes.len(), 3);
        kill_process(pid(&child), Signal::INT).unwrap();
        let (status, _, stderr) = said(child.wait_with_output().unwrap());
        assert_eq!(status, 130, "{stderr}");
        assert!(stderr.contains("squall run multicast --resume --out"), "{stderr}");
        assert!(nodes.iter().all(|&node| test_kill_process(node).is_err()), "a node outlived its parent");
        assert!(run.out.join("report.html").exists());
        run.rows()
    };
    let kept = interrupt(&[], 2);
    let resumed = interrupt(&["--resume"], kept.len() + 2);
    assert_eq!(resumed[..kept.len()], kept, "what was measured stays");
    assert!(resumed.iter().map(|row| row.trial).eq(1..=resumed.len() as u32), "each trial once, in turn");
}

#[test]
fn a_run_that_was_cut_off_is_resumed_to_its_end() {
    let run = Run::new("run multicast --quick --messages 5 --trials 20 --nodes 2 --senders one --ordering ordered --fabric shm --size 1,2");
    assert_eq!(run.finish(&[]).0, 0);
    let file = run.out.join("results.csv");
    let whole = std::fs::read_to_string(&file).unwrap();
    // Its fifth row was being written.
    let cut = whole.match_indices('\n').nth(4).unwrap().0 + 20;
    std::fs::write(&file, &whole[..cut]).unwrap();
    let (status, _, stderr) = run.finish(&["--resume"]);
    assert_eq!(status, 0, "{stderr}");
    let trials: Vec<(u64, u32)> = run.rows().iter().map(|row| (row.message_bytes, row.trial)).collect();
    assert!(trials.iter().copied().eq((1..3).flat_map(|size| (1..=20).map(move |trial| (size, trial)))), "{trials:?}");
}

#[test]
fn nodes_do_not_outlive_a_parent_that_is_killed() {
    let run = Run::new(&format!("{ENDLESS} --nodes 2 --senders one --fabric shm"));
    let mut child = run.command(&[]).spawn().unwrap();
    run.wait_for_rows(&mut child, "", 1);
    let nodes = nodes_of(child.id());
    assert_eq!(nodes.len(), 2);
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while nodes.iter().any(|&node| test_kill_process(node).is_ok()) {
        assert!(Instant::now() < deadline, "a node outlived its parent");
        std::thread::yield_now();
    }
}

#[test]
fn a_killed_node_fails_its_point_and_the_run_goes_on() {
    let run = Run::new(&format!("{ENDLESS} --nodes 2 --senders one --fabric shm"));
    let mut child = run.command(&[]).spawn().unwrap();
    let sizes = [",one,1,", ",one,2,", ",one,3,", ",one,4,"];
    for size in sizes {
        run.wait_for_rows(&mut child, size, 1);
        kill_process(nodes_of(child.id())[0], Signal::KILL).unwrap();
    }
    let (status, _, stderr) = said(child.wait_with_output().unwrap());
    assert_eq!(status, 3, "{stderr}");
    assert!(stderr.contains("FAILED: node") && stderr.contains("signal 9"), "{stderr}");
    let rows = run.rows();
    let failed: Vec<&Row> = rows.iter().filter(|row| !row.is_measured()).collect();
    assert!(failed.len() == 4 && failed.iter().all(|row| row.note.contains("was ended by signal 9")), "{failed:?}");
    let summary = Summary::of(&rows);
    assert_eq!(summary.points.len(), 4, "what a failed point measured before is kept");
}

#[test]
fn a_node_that_is_stopped_fails_its_point_and_is_named() {
    let run = Run::new(&format!("{} --nodes 2 --senders one --fabric tcp --deadline 6", ENDLESS.replace("1,2,3,4", "1")));
    let mut child = run.command(&[]).spawn().unwrap();
    run.wait_for_rows(&mut child, "", 1);
    let nodes = nodes_of(child.id());
    kill_process(nodes[1], Signal::STOP).unwrap();
    let (status, _, stderr) = said(child.wait_with_output().unwrap());
    assert_eq!(status, 3, "{stderr}");
    assert!(stderr.contains("is stopped (by SIGSTOP") && !stderr.contains("no answer"), "{stderr}");
    assert!(nodes.iter().all(|&node| test_kill_process(node).is_err()), "a node outlived its point");
}

#[test]
fn the_table_is_told_even_if_there_is_no_room_for_figures() {
    let run = Run::new("run memcpy --quick --trials 1 --seconds 0.001 --size 10KB");
    assert_eq!(run.finish(&[]).0, 0);
    // As on a full disk: what stands where the figures go cannot be replaced by a folder.
    std::fs::remove_dir_all(run.out.join("plots")).unwrap();
    std::fs::write(run.out.join("plots"), "").unwrap();
    let (status, stdout, stderr) = run.finish(&["--resume"]);
    assert_eq!(status, 1, "{stderr}");
    assert!(stdout.contains("memcpy") && stdout.contains("one-core-cold"), "{stdout}");
    assert!(stderr.contains("no figures and no report; `squall plot"), "{stderr}");
}

#[test]
fn a_node_that_is_only_slow_is_told_from_one_that_hangs() {
    let run = Run::new(
        "run multicast --quick --trials 1 --nodes 2 --senders all --ordering ordered --fabric shm --size 1 --messages 4000000000 \
         --deadline 4",
    );
    let (status, _, stderr) = run.finish(&[]);
    assert_eq!(status, 3, "{stderr}");
    assert!(stderr.contains("worked all the while, so it is slow rather than stuck"), "{stderr}");
}

#[test]
fn a_view_change_is_timed_step_by_step_and_drawn_over_time() {
    let run = Run::new("run view-change --quick --trials 1 --nodes 3 --size 100 --fabric shm");
    let (status, stdout, stderr) = run.finish(&[]);
    assert_eq!(status, 0, "{stdout}{stderr}");
    let rows = run.rows();
    let parts = |of: &str| rows.iter().filter(|row| row.schedule.starts_with(of)).count();
    assert_eq!((parts("direct-kill-"), parts("direct-leave-"), parts("direct-join-")), (2 * 7, 2 * 7, 2 * 9));
    assert!(rows.iter().all(|row| row.is_measured() && row.latency_us_max >= row.latency_us_min), "{rows:?}");
    for load in ["light", "full"] {
        let of =
            |part: &str| rows.iter().find(|row| row.schedule == format!("direct-kill-{load}-{part}")).and_then(|row| row.latency_us_max);
        let steps = ["trimmed", "met", "installed", "active"].map(of);
        assert!(steps.is_sorted() && steps[0].is_some(), "{rows:?}");
        assert!(rows.iter().filter(|row| row.schedule.ends_with("-gap")).all(|row| row.messages_per_second > Some(0.0)), "{rows:?}");
        assert!(run.out.join(format!("plots/view-change-100-shm-n3-{load}.svg")).exists());
    }
    assert_eq!(std::fs::read_dir(run.out.join("timelines")).unwrap().count(), 6);
    let run = Run::new("run view-change --quick --trials 1 --nodes 3 --size 100 --fabric shm --newcomers 2 --state 1MB --restore 10MB");
    let (status, stdout, stderr) = run.finish(&[]);
    assert_eq!(status, 0, "{stdout}{stderr}");
    let rows = run.rows();
    assert!(rows.iter().all(|row| row.schedule.starts_with("direct-join2+1MB-") && row.is_measured()), "{rows:?}");
    let voter = rows.iter().find(|row| row.schedule == "direct-join2+1MB-light-voter").expect("its last part");
    assert!(voter.latency_us_min > Some(100_000.0), "1 MB takes 0.1 s to restore at 10 MB/s: {voter:?}");
    let gap = rows.iter().find(|row| row.schedule == "direct-join2+1MB-light-gap").expect("another one");
    assert!(gap.note.contains("of the deliveries before") && gap.note.contains("newcomers"), "{gap:?}");
    let (status, _, stderr) = Run::new("run view-change --nodes 2").finish(&[]);
    assert!(status == 2 && stderr.contains("use 3 or more"), "{stderr}");
}

#[test]
fn slow_loops_and_idle_senders_are_points_beside_the_even_group() {
    let run = Run::new("run delay --messages 20 --trials 1 --nodes 2,4 --size 100 --fabric shm,tcp --verify full");
    let (status, _, stderr) = run.finish(&[]);
    assert_eq!(status, 0, "{stderr}");
    let rows = run.rows();
    let kinds: HashSet<&str> = rows.iter().map(|row| row.schedule.as_str()).collect();
    for kind in ["direct-even", "direct-1-slow-10", "direct-1-slow-4900", "direct-2-slow-50", "direct-1-idle", "direct-2-idle"] {
        assert!(kinds.contains(kind), "{kinds:?}");
    }
    for row in &rows {
        let idle: u32 = row.schedule.strip_suffix("-idle").map_or(0, |rest| rest.trim_start_matches("direct-").parse().unwrap());
        assert_eq!((row.senders, row.verified.as_str()), (row.nodes - idle, "full"), "{row:?}");
        assert!(idle == 0 || row.nulls > Some(0), "nulls stand in for who sends nothing: {row:?}");
    }
    assert!(run.out.join("plots/delay-slow-shm.svg").exists() && run.out.join("plots/delay-idle-tcp.svg").exists());
}

#[test]
fn an_offered_load_is_timed_from_when_messages_were_due_and_from_their_call() {
    let run = Run::new("run latency-load --quick --messages 50 --trials 1 --size 1 --fabric shm");
    let (status, _, stderr) = run.finish(&[]);
    assert_eq!(status, 0, "{stderr}");
    let rows = run.rows();
    assert_eq!(rows.len(), 2 * 3);
    for pair in rows.chunks(2) {
        assert!(pair[0].schedule.ends_with("-due") && pair[1].schedule.ends_with("-call"), "{pair:?}");
        assert!(pair[0].latency_us_max >= pair[1].latency_us_max, "what is due is never called before: {pair:?}");
        assert!(pair[0].note.contains("offered") && pair[0].latency_us_min > Some(0.0), "{pair:?}");
    }
    assert!(run.out.join("plots/latency-load-1-shm.svg").exists());
}

#[test]
fn a_fast_fabric_is_put_beside_tcp_in_bandwidth_and_latency() {
    let run = Run::new("run tcp-gap --quick --messages 10 --trials 1 --size 1KB --fabric shm,tcp");
    let (status, _, stderr) = run.finish(&[]);
    assert_eq!(status, 0, "{stderr}");
    let rows = run.rows();
    assert_eq!(rows.iter().filter(|row| row.schedule == "direct").count(), 2);
    assert_eq!(rows.iter().filter(|row| row.schedule == "direct-closed-sender").count(), 2);
    assert!(run.out.join("plots/tcp-gap-gap.svg").exists() && run.out.join("plots/tcp-gap-gap-1024.svg").exists());
    let (status, _, stderr) = Run::new("run tcp-gap --fabric shm").finish(&[]);
    assert_eq!(status, 2, "{stderr}");
    assert!(stderr.contains("--fabric shm,tcp"), "{stderr}");
}

#[test]
fn orders_run_side_by_side_with_their_rules_and_their_kills() {
    let run = Run::new("run orders --quick --messages 20 --trials 1");
    let (status, stdout, stderr) = run.finish(&[]);
    assert_eq!(status, 0, "{stdout}{stderr}");
    assert!(stdout.contains("copies at the busiest port"), "{stdout}");
    let rows = run.rows();
    let of = |ordering: &str, what: &str| measured(&rows).filter(|row| row.ordering == ordering && row.schedule.ends_with(what)).count();
    for mode in Mode::EVERY {
        let order = mode.name();
        assert_eq!([of(order, "closed-sender"), of(order, "load-80-due"), of(order, "direct-1-slow-900")], [1; 3], "{order}");
        assert_eq!([of(order, "kill@first-light-gap"), of(order, "reading-read")], [usize::from(mode.is_total()); 2], "{order}");
    }
    let other = "omnipaxos";
    assert_eq!([of(other, "closed-sender"), of(other, "load-80-due"), of(other, "direct-1-slow-900")], [1; 3]);
    assert_eq!([of(other, "kill@first-light-gap"), of(other, "reading-read")], [0; 2]);
    assert!(measured(&rows).all(|row| row.note.contains("by rule: ")), "{rows:?}");
    let page = std::fs::read_to_string(run.out.join("report.html")).unwrap();
    assert!(page.contains("Four ways to the same place"));
}

/// Nodes whose deliveries differ, or hold other bytes than were sent, fail a run. Enough is sent for a log to be
/// trimmed.
#[test]
fn another_programs_order_runs_over_sockets_and_trims_its_log() {
    let run =
        Run::new("run orders --quick --fabric tcp --ordering omnipaxos --nodes 2 --size 16KB --senders all --messages 120 --trials 1");
    let (status, stdout, stderr) = run.finish(&["--verify", "full"]);
    assert_eq!(status, 0, "{stdout}{stderr}");
    let rows = run.rows();
    assert!(measured(&rows).any(|row| row.schedule == "direct" && row.senders == 2 && row.messages_per_sender == Some(120)), "{rows:?}");
    assert!(measured(&rows).all(|row| row.ordering == "omnipaxos" && row.note.contains("by rule: 6 writes")), "{rows:?}");
}
