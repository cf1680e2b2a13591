//! perftest's `ib_write_bw` and `ib_write_lat` between the same two nodes as `write`, in turns with it: what raw verbs
//! reach on this device today.
//!
//! ```text
//!   node 1   ib_write_bw ...                         waits at a port that it found free
//!   node 0   ib_write_bw ... ADDRESS OF NODE 1       prints what it measured
//! ```
//!
//! perftest converts cycles to time by a calibration that fails on some virtual machines; it then prints `inf` or 0,
//! and is asked again.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use squall_transport::Exchange;
use squall_transport::verbs::{Choice, LinkKind, VerbsFabric};

use crate::ask::setting::Setting;
use crate::jobs::control::Control;
use crate::jobs::fabric::meet;
use crate::jobs::job::{Job, Work};
use crate::jobs::os;
use crate::jobs::perftest::{PerftestJob, PerftestOrder, Printed};
use crate::jobs::rdma::Rdma;
use crate::run::fault::Fault;
use crate::run::stage::Stage;
use crate::run::workers::Workers;
use squall_report::Row;

/// How it is called in the column `fabric`.
pub const NAME: &str = "perftest";
/// What is said where it printed none.
const NO_FIGURE: &str = "perftest printed no figure (inf, 0, or none at all), whatever was tried: its clock fails on this machine";
/// What it says where its clock went backwards.
const NO_REPORT: &str = "produce a report";
/// `timeout` ends what hangs, with this code.
const TIMED_OUT: i32 = 124;
/// How long one measurement may take, and all attempts at one together.
const SECONDS_MAX: u64 = 40;
/// How often perftest is asked if its clock fails.
const ATTEMPTS: u32 = 6;
/// How long its server may take to listen.
const SERVER_UP_MAX: Duration = Duration::from_secs(5);
const RETRY_EVERY: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_secs(SECONDS_MAX + 10);
/// What perftest asks for at the least.
const ITERATIONS_MIN: u64 = 5;
/// It keeps a time stamp of each.
const ITERATIONS_MAX: u64 = 100_000;
/// It never gives its core away: where the two nodes share one, each turn may take a time slice.
const TURNS_MAX: u64 = 1000;
/// Below this size the rate of messages has more digits than that of bytes.
const RATE_BELOW_BYTES: u64 = 4096;
/// perftest's megabyte.
const MEGABYTE: f64 = (1 << 20) as f64;

/// perftest beside a point of `write`.
pub(in crate::experiments) struct Perftest<'a> {
    workers: Workers<'a>,
    job: PerftestJob,
}

impl<'a> Perftest<'a> {
    /// Starts its two nodes.
    ///
    /// # Errors
    /// As [`Stage::workers`]: also if perftest is not installed.
    pub(in crate::experiments) fn start(setting: &Setting, stage: &Stage<'a>) -> Result<Perftest<'a>, Fault> {
        let job =
            PerftestJob { ping_pong: setting.is_in_turns(), message_bytes: setting.message_bytes, window: setting.window.unwrap_or(1) };
        let works = vec![Work::Perftest(job.clone()), Work::Perftest(job.clone())];
        Ok(Perftest { workers: stage.workers(works, Instant::now() + PATIENCE)?, job })
    }

    /// One measurement of so many writes, as a row of `setting`; or why perftest has none.
    ///
    /// # Errors
    /// As [`Workers::run`].
    pub(in crate::experiments) fn run(&mut self, setting: &Setting, trial: u32, count: u64) -> Result<Result<Row, String>, Fault> {
        let count = count.clamp(ITERATIONS_MIN, if self.job.ping_pong { TURNS_MAX } else { ITERATIONS_MAX });
        let began = Instant::now();
        for _ in 0..ATTEMPTS {
            let printed: Vec<Printed> = self.workers.run(&PerftestOrder::Run(count), Instant::now() + PATIENCE)?;
            match printed.into_iter().next().unwrap_or_default() {
                Printed::Figures(figures) => {
                    let row =
                        Row { fabric: NAME.into(), trial, messages_per_sender: Some(count), verified: "none".into(), ..setting.row(None) };
                    return Ok(Ok(filled(row, &self.job, count, &figures)));
                }
                Printed::Failed(why) => return Ok(Err(why)),
                Printed::Nothing => {}
            }
            if began.elapsed() >= Duration::from_secs(SECONDS_MAX) {
                break;
            }
        }
        Ok(Err(NO_FIGURE.to_owned()))
    }

    pub(in crate::experiments) fn finish(self) {
        self.workers.dismiss(&PerftestOrder::Finish);
    }
}

/// The row, and in its note how `ours` of the same trial compares.
pub(in crate::experiments) fn compared(row: Row, ours: &Row) -> Row {
    let ratio = |of: fn(&Row) -> Option<f64>| of(ours).zip(of(&row)).map(|(ours, theirs)| ours / theirs);
    let bandwidth = ratio(|row| row.algbw_gigabytes_per_second).map(|ratio| format!("squall reached {ratio:.2} of this"));
    let latency = ratio(|row| row.latency_us_p50).map(|ratio| format!("squall took {ratio:.2} of this"));
    let said = [bandwidth.or(latency), (!row.note.is_empty()).then(|| row.note.clone())];
    Row { note: said.into_iter().flatten().collect::<Vec<_>>().join("; "), ..row }
}

/// The row with what perftest printed.
fn filled(row: Row, job: &PerftestJob, count: u64, figures: &[f64]) -> Row {
    let figure = |at: usize| figures.get(at).copied();
    if job.ping_pong {
        let note = "p50 is perftest's t_typical; it counts a write as landed when its last byte has changed".to_owned();
        return Row {
            latency_us_min: figure(0),
            latency_us_max: figure(1),
            latency_us_p50: figure(2),
            latency_us_p99: figure(5),
            latency_us_p999: figure(6),
            note,
            ..row
        };
    }
    let bytes = job.message_bytes as f64;
    let rate = match job.message_bytes {
        ..RATE_BELOW_BYTES => figure(2).map(|millions| millions * 1e6),
        _ => figure(1).map(|megabytes| megabytes * MEGABYTE / bytes),
    };
    let rate = rate.unwrap_or(0.0);
    Row { seconds: Some(count as f64 / rate), algbw_gigabytes_per_second: Some(rate * bytes / 1e9), messages_per_second: Some(rate), ..row }
}

/// The node's side.
///
/// # Errors
/// If perftest is missing or fails, or the parent is gone.
pub fn node(job: &Job, perftest: &PerftestJob, control: &mut Control) -> anyhow::Result<()> {
    ensure!(job.nodes == 2, "perftest runs between two nodes");
    let fabric = VerbsFabric::new(job.rdma.options(job.core));
    let choice = fabric.chosen()?;
    let program = if perftest.ping_pong { "ib_write_lat" } else { "ib_write_bw" };
    version(program)?;
    // The connection manager reaches a device by its own address alone, on one host too.
    let of_device = fabric.address_of(&choice)?;
    let here = of_device.or(job.address).map_or_else(os::loopback, Ok).map_err(|what| anyhow!(what))?;
    let mut session = meet(job)?;
    // perftest listens at a number that it is told; one that was free a moment ago.
    let free = TcpListener::bind((here, 0)).and_then(|listener| listener.local_addr()).context("looking for a free port")?;
    let addresses = session.all_gather("address of perftest's server", &postcard::to_stdvec(&free)?)?;
    let server: SocketAddr = postcard::from_bytes(addresses.get(1).ok_or_else(|| anyhow!("the server told no address"))?)?;
    control.ready(Vec::new())?;
    loop {
        match control.next()? {
            PerftestOrder::Run(count) => {
                let arguments = arguments(&choice, &job.rdma, perftest, count, server.port());
                let printed = match job.rank {
                    0 => client(program, &arguments, server.ip())?,
                    _ => run(program, &arguments).map(|_| Printed::default())?,
                };
                control.done(&printed)?;
            }
            PerftestOrder::Finish => return Ok(()),
        }
    }
}

fn arguments(choice: &Choice, rdma: &Rdma, perftest: &PerftestJob, count: u64, port: u16) -> Vec<String> {
    let mut arguments = vec![
        format!("--ib-dev={}", choice.device),
        format!("--ib-port={}", choice.port),
        format!("--size={}", perftest.message_bytes),
        format!("--iters={count}"),
        format!("--port={port}"),
        // Be quiet about the clock rate.
        "-F".into(),
    ];
    arguments.extend(as_ours(rdma, perftest));
    arguments.extend(rdma.pkey.map(|_| format!("--pkey_index={}", choice.partition.0)));
    arguments.push(match choice.link {
        LinkKind::Iwarp => "--rdma_cm".into(),
        LinkKind::InfiniBand | LinkKind::Roce | LinkKind::Other => format!("--gid-index={}", choice.gid.index),
    });
    arguments
}

/// What makes it do as `write` does: the same packets, as many under way.
fn as_ours(rdma: &Rdma, perftest: &PerftestJob) -> Vec<String> {
    let mtu = rdma.mtu.map(|bytes| format!("--mtu={bytes}"));
    let sl = rdma.sl.map(|level| format!("--sl={level}"));
    let tclass = rdma.tclass.map(|class| format!("--tclass={class}"));
    let depth = (!perftest.ping_pong).then(|| format!("--tx-depth={}", perftest.window));
    [mtu, sl, tclass, depth].into_iter().flatten().collect()
}

/// Runs it under a time limit, which outlives this process.
fn run(program: &str, arguments: &[String]) -> anyhow::Result<Output> {
    let mut command = Command::new("timeout");
    command.arg(SECONDS_MAX.to_string()).arg(program).args(arguments).stdin(Stdio::null());
    command.output().with_context(|| format!("starting {program}"))
}

/// Runs the client until it finds the server.
fn client(program: &str, arguments: &[String], server: IpAddr) -> anyhow::Result<Printed> {
    let mut arguments = arguments.to_vec();
    arguments.push(server.to_string());
    let deadline = Instant::now() + SERVER_UP_MAX;
    loop {
        let output = run(program, &arguments)?;
        let is_measured = output.status.success() || output.status.code() == Some(TIMED_OUT) || lacks_report(&output);
        if is_measured {
            return Ok(figures(&String::from_utf8_lossy(&output.stdout)).map_or(Printed::Nothing, Printed::Figures));
        }
        if Instant::now() >= deadline {
            let said = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
            return Ok(Printed::Failed(format!("{program} failed with {}: {said}", output.status)));
        }
        std::thread::sleep(RETRY_EVERY);
    }
}

/// Whether it did everything but could not work out what that took.
fn lacks_report(output: &Output) -> bool {
    [&output.stdout, &output.stderr].iter().any(|said| String::from_utf8_lossy(said).contains(NO_REPORT))
}

/// What the line of results says after size and iterations; nothing if the clock failed.
fn figures(stdout: &str) -> Option<Vec<f64>> {
    let numbers = |line: &str| line.split_whitespace().map(str::parse::<f64>).collect::<Result<Vec<_>, _>>().ok();
    let figures = stdout.lines().filter_map(numbers).find(|numbers| numbers.len() >= 5)?.split_off(2);
    figures.iter().all(|figure| figure.is_finite() && *figure >= 0.0).then_some(())?;
    (figures[0] > 0.0).then_some(figures)
}

/// Fails if it is not installed.
fn version(program: &str) -> anyhow::Result<()> {
    match Command::new(program).arg("--version").stdin(Stdio::null()).output() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("{program} is missing: install the package perftest, or leave it out")
        }
        Err(error) => Err(error).with_context(|| format!("starting {program}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_results_is_found_and_a_failed_clock_told() {
        let bandwidth = " #bytes     #iterations    BW peak[MB/sec]    BW average[MB/sec]   MsgRate[Mpps]\n\
                         \x201048576    500   475.18   455.40 \t\t   0.000455\n----";
        assert_eq!(figures(bandwidth), Some(vec![475.18, 455.40, 0.000455]));
        let latency =
            " 2       3000          22.17          8188.97      33.65    \t       91.02       \t502.85 \t\t1165.41 \t\t6603.42 \n";
        assert_eq!(figures(latency), Some(vec![22.17, 8188.97, 33.65, 91.02, 502.85, 1165.41, 6603.42]));
        assert_eq!(figures(" 2       3000    inf   inf   inf   inf   -nan   inf   inf \n"), None);
        assert_eq!(figures(" 1048576    500   0.00   0.00   0.000000\n"), None);
        assert_eq!(figures("Couldn't connect to 192.0.2.1:18515\n"), None);
    }

    #[test]
    fn it_is_given_the_flags_of_write() {
        let rdma = Rdma { mtu: Some(1024), sl: Some(3), tclass: Some(96), ..Rdma::default() };
        let bandwidth = PerftestJob { ping_pong: false, message_bytes: 1 << 20, window: 4 };
        assert_eq!(as_ours(&rdma, &bandwidth), ["--mtu=1024", "--sl=3", "--tclass=96", "--tx-depth=4"]);
        assert!(as_ours(&Rdma::default(), &PerftestJob { ping_pong: true, ..bandwidth }).is_empty());
    }

    #[test]
    fn its_units_become_ours() {
        let of = |message_bytes| PerftestJob { ping_pong: false, message_bytes, window: 4 };
        let large = filled(Row::default(), &of(1 << 20), 500, &[0.0, 1000.0, 0.001]);
        assert_eq!(large.algbw_gigabytes_per_second, Some(1.048_576));
        assert_eq!(large.messages_per_second, Some(1000.0));
        let small = filled(Row::default(), &of(2), 500, &[0.0, 0.05, 0.025]);
        assert_eq!((small.messages_per_second, small.algbw_gigabytes_per_second), (Some(25_000.0), Some(5e-5)));
        let latency = PerftestJob { ping_pong: true, message_bytes: 2, window: 1 };
        let row = filled(Row::default(), &latency, 9, &[1.0, 7.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!((row.latency_us_min, row.latency_us_p50, row.latency_us_p999), (Some(1.0), Some(2.0), Some(6.0)));
    }
}
