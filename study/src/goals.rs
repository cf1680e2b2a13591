//! What must come out of Squall on 100 Gb/s RDMA, beside what was published.

use std::fmt;

use crate::error::RunError;
use crate::parallel::on_all_cores;
use crate::profile::Profile;
use crate::run::{Load, Outcome, Run, Senders};

const KB_10: u64 = 10_240;
const MB_1: u64 = 1_048_576;
const MB_100: u64 = 104_857_600;
/// Messages of a sender that a latency is the median of.
const LATENCY_MESSAGES: u64 = 400;

/// What a value should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wanted {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
    /// Whatever the model says, beside the published value.
    Any,
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// What was run, and the unit of the value.
    pub what: String,
    /// What was published.
    pub published: &'static str,
    /// What should come out.
    pub wanted: Wanted,
    /// What came out.
    pub got: f64,
    /// Where the time went.
    pub because: String,
}

impl Goal {
    /// Whether it is as wanted.
    pub fn is_met(&self) -> bool {
        match self.wanted {
            Wanted::AtLeast(least) => self.got >= least,
            Wanted::AtMost(most) => self.got <= most,
            Wanted::Any => true,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::AtLeast(least) => write!(f, "at least {least}"),
            Wanted::AtMost(most) => write!(f, "at most {most}"),
            Wanted::Any => f.write_str("as the model says"),
        }
    }
}

/// What is taken of a run.
#[derive(Clone, Copy, Debug)]
enum Taken {
    /// The share of its bound.
    Share,
    /// Its median latency in microseconds.
    Latency,
    /// How many times the rate of the one beside it.
    Times,
    /// By how much its median latency is longer than of the one beside it, in microseconds.
    Longer,
}

/// A line before it has run.
#[derive(Clone, Debug)]
struct Line {
    what: String,
    published: &'static str,
    wanted: Wanted,
    taken: Taken,
    run: Run,
    /// What it is compared with, if with anything.
    beside: Option<Run>,
}

impl Line {
    fn run(&self) -> Result<Goal, RunError> {
        let outcome = self.run.run()?;
        let beside = self.beside.as_ref().map(Run::run).transpose()?;
        let (rate, latency_us) = beside.map_or((1.0, 0.0), |other| (other.bytes_per_s, other.latency.us(0.5)));
        let got = match self.taken {
            Taken::Share => outcome.bound_part,
            Taken::Times => outcome.bytes_per_s / rate,
            Taken::Latency | Taken::Longer => outcome.latency.us(0.5) - latency_us,
        };
        let because = if self.beside.is_none() { split(&outcome) } else { String::new() };
        Ok(Goal { what: self.what.clone(), published: self.published, wanted: self.wanted, got, because })
    }
}

/// Runs the lines of the table, on all cores; `each` gets them in their order. Those of more than `nodes_max` members
/// are left out.
///
/// # Errors
/// As [`Run::run`].
pub fn measure(nodes_max: usize, mut each: impl FnMut(&Goal)) -> Result<Vec<Goal>, RunError> {
    let mut goals = Vec::new();
    let lines = lines(nodes_max)?;
    on_all_cores(&lines, Line::run, |_, goal: Result<Goal, RunError>| -> Result<(), RunError> {
        let goal = goal?;
        each(&goal);
        goals.push(goal);
        Ok(())
    })?;
    Ok(goals)
}

fn lines(nodes_max: usize) -> Result<Vec<Line>, RunError> {
    let (rdma, tcp) = (Profile::built_in("sim-rdma-100g")?, Profile::built_in("sim-tcp-100g")?);
    let mut lines = Vec::new();
    let streams = [
        ("100 MB, one sender, ordered, share of the line", 16, Senders::One, MB_100, "0.59", 0.95),
        ("100 MB, one sender, ordered, share of the line", 512, Senders::One, MB_100, "", 0.90),
        ("1 MB, one sender, ordered, a stream, share of the line", 16, Senders::One, MB_1, "0.25", 0.90),
        ("10 KB, all send, ordered, share of the bound", 16, Senders::All, KB_10, "0.57 (Spindle 0.73)", 0.85),
    ];
    for (what, nodes, senders, bytes, published, least) in streams.into_iter().filter(|stream| stream.1 <= nodes_max) {
        let (what, wanted) = (format!("{what}, n = {nodes}"), Wanted::AtLeast(least));
        lines.push(Line { what, published, wanted, taken: Taken::Share, run: Run::stream(&rdma, nodes, senders, bytes), beside: None });
    }
    let latencies = [
        (2, Senders::One, "8 to 11", Wanted::AtMost(2.5)),
        (16, Senders::One, "8 to 11", Wanted::AtMost(5.0)),
        (16, Senders::All, "42 to 48", Wanted::Any),
    ];
    for (nodes, senders, published, wanted) in latencies {
        let who = if senders == Senders::One { "one" } else { "one of each" };
        let what = format!("1 B, {who} at a time, ordered, latency at the sender in us, n = {nodes}");
        lines.push(Line { what, published, wanted, taken: Taken::Latency, run: light(&rdma, nodes, senders, 1), beside: None });
    }
    for (what, bytes, published) in [("100 MB", MB_100, "4 to 6"), ("10 KB", KB_10, "6 to 33")] {
        let run = |profile| Run::stream(profile, 4, Senders::All, bytes);
        let what = format!("{what}, all send, n = 4: times faster than TCP");
        lines.push(Line { what, published, wanted: Wanted::Any, taken: Taken::Times, run: run(&rdma), beside: Some(run(&tcp)) });
    }
    let (of_tcp, of_rdma) = (light(&tcp, 2, Senders::All, 1), light(&rdma, 2, Senders::All, 1));
    let what = "1 B, n = 2: what TCP adds, in us".to_owned();
    lines.push(Line { what, published: "125", wanted: Wanted::Any, taken: Taken::Longer, run: of_tcp, beside: Some(of_rdma) });
    Ok(lines)
}

/// Senders send one message after the other, each once its last one was delivered.
pub fn light(profile: &Profile, nodes: usize, senders: Senders, message_bytes: u64) -> Run {
    Run { load: Load::Closed, messages: Some(LATENCY_MESSAGES), window: Some(4), ..Run::stream(profile, nodes, senders, message_bytes) }
}

/// What cores and ports did meanwhile.
fn split(outcome: &Outcome) -> String {
    let most = |parts: &[f64]| 100.0 * parts.iter().copied().fold(0.0, f64::max).min(1.0);
    format!("busiest core {:.0} %, busiest port {:.0} % of the time", most(&outcome.core_busy), most(&outcome.egress_busy))
}
