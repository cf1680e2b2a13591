//! What was asked for on the command line.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use squall_transport::LOST_AFTER_MIN;

use super::axes::{NODES_MAX, Pins, Senders};
use super::experiment::Experiment;
use super::fabric::FabricName;
use super::policy;
use super::size::{ByteSize, SizeError, sizes};
use super::upset::UpsetKind;
use crate::jobs::kinds::Verify;
use crate::jobs::kinds::{Ordering, Schedule};
use crate::jobs::peer::Peer;
use crate::jobs::rdma::Rdma;

/// What was asked: which experiments, and every axis that was given. An empty list is the experiment's own default.
///
/// It is kept in `run.json`, so that a run can be resumed with the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Which experiments, in this order.
    pub experiments: Vec<Experiment>,
    /// About a minute instead of a full run.
    pub quick: bool,
    /// The axes.
    #[serde(flatten)]
    pub axes: Axes,
}

/// The axes and settings that were given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, clap::Args)]
#[command(next_help_heading = "Axes (a comma-separated list sweeps)")]
pub struct Axes {
    /// What carries the writes: shm, tcp, verbs, or modelled clusters (sim-rdma-100g, sim-rdma-400g, sim-tcp-100g,
    /// sim-tcp-10g)
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub fabric: Vec<FabricName>,
    /// File with the profile of a modelled cluster of your own, as another fabric
    #[arg(long, value_name = "FILE")]
    #[serde(default)]
    pub profile: Vec<PathBuf>,
    /// Group sizes, 2 to 64, or to 1024 on modelled clusters [example: 2,4,8 or 2..16]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = super::axes::group_size)]
    pub nodes: Vec<u32>,
    /// Message sizes; KB, MB, GB are powers of 1024 [example: 1,10KB,1.5MB,100MB]
    #[arg(long, value_name = "LIST", default_value = UNSAID, hide_default_value = true, value_parser = list_of_sizes)]
    pub size: std::vec::Vec<ByteSize>,
    /// Who sends: all, half (rounded down), one, or a number
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub senders: Vec<Senders>,
    /// Order of delivery
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_enum)]
    pub ordering: Vec<Ordering>,
    /// Messages that a sender may have undelivered [default: by size and memory]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=1 << 24))]
    pub window: Vec<u64>,
    /// Bytes of a relay block [default: chosen for each message]
    #[arg(long, value_name = "LIST", default_value = UNSAID, hide_default_value = true, value_parser = list_of_sizes)]
    pub block: std::vec::Vec<ByteSize>,
    /// How large messages are relayed [default: chosen for each message]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_enum)]
    pub schedule: Vec<Schedule>,
    /// What happens in `view-change` [default: kill, leave, join; join if it is said who joins]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_enum)]
    #[serde(default)]
    pub upset: Vec<UpsetKind>,
    /// What is measured beside ours in `peers` [default: whatever is installed]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_enum)]
    #[serde(default)]
    pub peer: Vec<Peer>,
    /// Processes that join at once in `view-change` [default: 1]
    #[arg(long, value_name = "N", help_heading = "How to measure", value_parser = clap::value_parser!(u32).range(1..=i64::from(NODES_MAX)))]
    #[serde(default)]
    pub newcomers: Option<u32>,
    /// State that whoever joins is given in `view-change`, under light load [default: none] [example: 200MB]
    #[arg(long, value_name = "SIZE", help_heading = "How to measure")]
    #[serde(default)]
    pub state: Option<ByteSize>,
    /// How much of that state it restores a second, sleeping meanwhile [default: as it comes] [example: 40MB]
    #[arg(long, value_name = "SIZE", help_heading = "How to measure", requires = "state")]
    #[serde(default)]
    pub restore: Option<ByteSize>,
    /// Seconds of one trial [default: by experiment, 0.15 to 3, or 0.05 to 0.5 with --quick]
    #[arg(long, value_name = "S", conflicts_with = "messages", help_heading = "How to measure", value_parser = seconds)]
    pub seconds: Option<f64>,
    /// Messages of each sender in one trial, instead of a time
    #[arg(long, value_name = "N", help_heading = "How to measure", value_parser = clap::value_parser!(u64).range(1..=policy::MESSAGES_MAX))]
    pub messages: Option<u64>,
    /// Trials of each point, after one that warms up [default: 3]
    #[arg(long, value_name = "N", help_heading = "How to measure", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub trials: Option<u32>,
    /// Repeat each point until its median is known to this, or the time limit [example: 2%]
    #[arg(long, value_name = "PERCENT", help_heading = "How to measure", value_parser = percent)]
    #[serde(default)]
    pub until_ci: Option<f64>,
    /// Seconds for repeating with --until-ci [default: 600]
    #[arg(long, value_name = "S", requires = "until_ci", help_heading = "How to measure", value_parser = time_limit)]
    #[serde(default)]
    pub time_limit: Option<f64>,
    /// Measure points in turns, a trial each, so that a drift of the machine meets all alike; slower
    #[arg(long, help_heading = "How to measure")]
    #[serde(default)]
    pub interleave: bool,
    /// How much of each payload is written and checked [default: sampled]
    #[arg(long, value_enum, help_heading = "How to measure")]
    pub verify: Option<Verify>,
    /// Measure perftest's ib_write_bw and ib_write_lat too, in turns with each point of `write` over verbs
    #[arg(long, help_heading = "How to measure")]
    #[serde(default)]
    pub perftest: bool,
    /// Never sleep when idle; only for cores that nothing else needs
    #[arg(long, help_heading = "How to measure")]
    pub spin: bool,
    /// Let groups detect failures, as groups with changing members do; compare with a run without it to see the cost
    #[arg(long, help_heading = "How to measure")]
    #[serde(default)]
    pub membership: bool,
    /// Seconds after which an unfinished trial fails its point [default: 20 times what it should take, at least 30]
    #[arg(long, value_name = "S", help_heading = "How to measure", value_parser = seconds)]
    pub deadline: Option<f64>,
    /// Seconds of silence after which TCP gives a host up: a pulled cable, no power [default: 10, at least 2]
    #[arg(long, value_name = "S", help_heading = "How to measure", value_parser = silence)]
    #[serde(default)]
    pub lost_after: Option<f64>,
    /// Cores for the nodes, in order, around the list; or none, which leaves them to the kernel; or near, which takes
    /// those near the network card of each host [example: 0,2,4]
    #[arg(long, value_name = "LIST", default_value_t = Pins::Usual, hide_default_value = true, help_heading = "How to measure")]
    #[serde(default)]
    pub pin: Pins,
    /// How to use RDMA devices.
    #[command(flatten)]
    #[serde(flatten)]
    pub rdma: Rdma,
}

impl Axes {
    /// How long a host may be silent before TCP gives it up, if that was asked for.
    pub fn lost_after(&self) -> Option<Duration> {
        self.lost_after.map(Duration::from_secs_f64)
    }

    /// Whether it is for modelled clusters.
    pub fn is_modelled(&self) -> bool {
        !self.profile.is_empty() || self.fabric.iter().any(|fabric| fabric.modelled().is_some())
    }
}

/// Stands for a list that was not given: no argument can hold it, so one that is empty by mistake (`--size "$UNSET"`)
/// is not taken for the default.
const UNSAID: &str = "\0";

/// A list as one value, by the full path of its type: an argument that clap splits by itself would have lost the comma
/// of `1,5MB`.
fn list_of_sizes(text: &str) -> Result<std::vec::Vec<ByteSize>, SizeError> {
    if text == UNSAID { Ok(Vec::new()) } else { sizes(text) }
}

/// `2%` or `2` as a share.
fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').trim().parse::<f64>() {
        Ok(percent) if (0.1..=50.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("give a percentage from 0.1 to 50, such as 2%".into()),
    }
}

fn time_limit(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (1.0..=1e6).contains(&seconds) => Ok(seconds),
        _ => Err("give seconds, from 1 on".into()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.001..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give seconds, from 0.001 to 3600".into()),
    }
}

fn silence(text: &str) -> Result<f64, String> {
    let least = LOST_AFTER_MIN.as_secs_f64();
    match text.parse::<f64>() {
        Ok(seconds) if (least..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err(format!("give seconds, from {least} to 3600: the kernel asks a silent host no more often than once a second")),
    }
}

/// A request that cannot be meant, with the mend.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);
