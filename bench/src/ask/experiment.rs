//! The kinds of experiment, and the axes that each sweeps.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Experiment {
    /// Memory copies of one core and of all cores
    Memcpy,
    /// Raw one-sided writes without a group: bandwidth and latency
    Write,
    /// Small-message multicast: messages per second
    SmcRate,
    /// One sender's large messages, by every schedule that relays them; not part of `reproduce`
    RdmcSchedules,
    /// One sender's large message, block by block at every node; not part of `reproduce`
    RdmcTimeline,
    /// The main experiment: bandwidth of a group
    Multicast,
    /// From the send to the delivery: closed loop, light load, saturated
    Latency,
    /// Latency as the offered load grows to the knee and past it: from when a message was due, and from the call
    LatencyLoad,
    /// Bandwidth with members whose loop is slow, and with senders that send nothing
    Delay,
    /// A fast fabric beside TCP: bandwidth and latency; not part of `reproduce`, which draws it from others
    TcpGap,
    /// All orders side by side: rates, latencies, offered loads, a slow member, kills; not part of `reproduce`
    Orders,
    /// Other programs beside ours, in turns: iperf3, UCX, perftest, Open MPI, corosync, N times unicast; not part of
    /// `reproduce`
    Peers,
    /// How long a group is held up when a member is killed, leaves or joins; not part of `reproduce`
    ViewChange,
}

impl Experiment {
    /// Those of `reproduce`, in the order in which it runs them.
    pub const ALL: [Experiment; 7] = [
        Experiment::Memcpy,
        Experiment::Write,
        Experiment::SmcRate,
        Experiment::Multicast,
        Experiment::Latency,
        Experiment::LatencyLoad,
        Experiment::Delay,
    ];

    /// The axes it sweeps, by their flags' names; giving another is an error.
    pub fn axes(self) -> &'static [&'static str] {
        match self {
            Experiment::Memcpy => &["size"],
            Experiment::Write => &["fabric", "size", "window"],
            Experiment::SmcRate => &["fabric", "nodes", "size", "senders", "ordering", "window"],
            Experiment::RdmcSchedules => &["fabric", "nodes", "size", "ordering", "window", "block", "schedule"],
            Experiment::RdmcTimeline => &["fabric", "nodes", "size", "block", "schedule"],
            Experiment::ViewChange => &["fabric", "nodes", "size", "ordering", "window", "block", "schedule", "upset"],
            Experiment::Peers => &["peer", "fabric", "nodes", "size"],
            Experiment::TcpGap => &["fabric", "nodes", "size", "ordering", "window", "block", "schedule"],
            Experiment::Orders => &["fabric", "nodes", "size", "senders", "ordering", "window"],
            Experiment::Multicast | Experiment::Latency | Experiment::LatencyLoad | Experiment::Delay => {
                &["fabric", "nodes", "size", "senders", "ordering", "window", "block", "schedule"]
            }
        }
    }
}

impl Experiment {
    /// Flags of how to measure that have an effect on it, besides those that every experiment takes.
    pub fn settings(self) -> &'static [&'static str] {
        match self {
            Experiment::Memcpy => &[],
            Experiment::Write => &["messages", "verify", "perftest", "spin", "pin", "deadline"],
            Experiment::RdmcTimeline => &["verify", "spin", "pin", "deadline"],
            Experiment::Peers => &["messages", "verify", "spin", "pin", "deadline"],
            Experiment::ViewChange => &["verify", "pin", "deadline", "newcomers", "state", "restore"],
            Experiment::SmcRate
            | Experiment::Multicast
            | Experiment::RdmcSchedules
            | Experiment::Latency
            | Experiment::LatencyLoad
            | Experiment::Delay
            | Experiment::Orders
            | Experiment::TcpGap => &["messages", "verify", "spin", "membership", "pin", "deadline"],
        }
    }
}

impl Experiment {
    /// Whether it runs on modelled clusters too.
    pub fn is_modelled(self) -> bool {
        !matches!(self, Experiment::Memcpy | Experiment::Write | Experiment::ViewChange | Experiment::Peers)
    }
}

impl fmt::Display for Experiment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}
