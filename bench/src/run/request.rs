//! What was asked for on the command line.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use squall_transport::verbs::{Detection, VerbsOptions};

use super::axes::{FabricKind, Ordering, Schedule, Senders};
use crate::cli::ByteSize;
use crate::experiments::Experiment;
use crate::payload::Verify;

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
    /// What carries the writes
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_enum)]
    pub fabric: Vec<FabricKind>,
    /// Group sizes, 2 to 64 [example: 2,4,8]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = super::axes::nodes)]
    pub nodes: Vec<u32>,
    /// Message sizes; KB, MB, GB are powers of 1024 [example: 1,10KB,1MB,100MB]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub size: Vec<ByteSize>,
    /// Who sends: all, half (rounded down), one, or a number
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub senders: Vec<Senders>,
    /// Deliver when received, or in one total order
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_enum)]
    pub ordering: Vec<Ordering>,
    /// Messages a sender may have undelivered [default: by size and memory]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..=1 << 24))]
    pub window: Vec<u64>,
    /// Bytes of a relay block [default: by message size and group size]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub block: Vec<ByteSize>,
    /// How large messages are relayed [default: pipeline]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_enum)]
    pub schedule: Vec<Schedule>,
    /// Seconds of one trial [default: 1, or 0.2 with --quick]
    #[arg(long, value_name = "S", conflicts_with = "messages", help_heading = "How to measure", value_parser = seconds)]
    pub seconds: Option<f64>,
    /// Messages of each sender in one trial, instead of a time
    #[arg(long, value_name = "N", help_heading = "How to measure", value_parser = clap::value_parser!(u64).range(1..))]
    pub messages: Option<u64>,
    /// Trials of each point, after one that warms up [default: 5, or 3 with --quick]
    #[arg(long, value_name = "N", help_heading = "How to measure", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub trials: Option<u32>,
    /// How much of each payload is written and checked [default: sampled]
    #[arg(long, value_enum, help_heading = "How to measure")]
    pub verify: Option<Verify>,
    /// Measure perftest's ib_write_bw and ib_write_lat in turns with each point of `write` over verbs
    #[arg(long, help_heading = "How to measure")]
    #[serde(default)]
    pub perftest: bool,
    /// Never sleep when idle: for cores that nobody else needs
    #[arg(long, help_heading = "How to measure")]
    pub spin: bool,
    /// Let groups detect failures, as those do whose members may change; compare with a run without to see what it costs
    #[arg(long, help_heading = "How to measure")]
    #[serde(default)]
    pub membership: bool,
    /// Seconds after which a trial that has not ended fails its point [default: 20 times what it should take, at least 30]
    #[arg(long, value_name = "S", help_heading = "How to measure", value_parser = seconds)]
    pub deadline: Option<f64>,
    /// Cores for the nodes, in order, around the list [example: 0,2,4]
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = "How to measure")]
    pub pin: Vec<usize>,
    /// How to use RDMA devices.
    #[command(flatten)]
    #[serde(flatten)]
    pub rdma: Rdma,
}

/// Which RDMA device, port and address, and how. What is not given is chosen by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[command(next_help_heading = "RDMA (for --fabric verbs; chosen by itself where not given)")]
#[serde(default)]
pub struct Rdma {
    /// The device, as `ibv_devices` names it [example: mlx5_0]
    #[arg(long, value_name = "NAME", env = "SQUALL_IB_DEV")]
    pub ib_dev: Option<String>,
    /// The port of the device
    #[arg(long, value_name = "N", env = "SQUALL_IB_PORT", value_parser = clap::value_parser!(u8).range(1..))]
    pub ib_port: Option<u8>,
    /// The entry of the port's GID table (RoCE); it differs between hosts
    #[arg(long, value_name = "N", env = "SQUALL_GID_INDEX")]
    pub gid_index: Option<u8>,
    /// The largest path MTU in bytes: 256, 512, 1024, 2048 or 4096
    #[arg(long, value_name = "BYTES", env = "SQUALL_MTU")]
    pub mtu: Option<u32>,
    /// The traffic class of RoCE packets; the DSCP is in its upper six bits
    #[arg(long, value_name = "N")]
    pub tclass: Option<u8>,
    /// The service level
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..16))]
    pub sl: Option<u8>,
    /// Give up a silent peer after milliseconds instead of half a second: for a network without congestion
    #[arg(long)]
    pub prompt_detection: bool,
    /// An address of this host that the peers reach, to choose the device by; set by the run.
    #[arg(skip)]
    pub address: Option<IpAddr>,
}

impl Rdma {
    /// The same for the transport, for a data path on `core`.
    pub fn options(&self, core: Option<usize>) -> VerbsOptions {
        let usual = VerbsOptions::default();
        VerbsOptions {
            device: self.ib_dev.clone(),
            port: self.ib_port,
            gid_index: self.gid_index,
            address: self.address,
            core,
            mtu_bytes: self.mtu,
            traffic_class: self.tclass.unwrap_or(usual.traffic_class),
            service_level: self.sl.unwrap_or(usual.service_level),
            detection: if self.prompt_detection { Detection::PROMPT } else { usual.detection },
            ..usual
        }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.001..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("give seconds, from 0.001 to 3600".into()),
    }
}
