//! What a node is told when it starts.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use squall_transport::Ports;
use squall_transport::exchange::Place;

use super::change::ChangeJob;
use super::chaos::ChaosJob;
use super::copy::CopyJob;
use super::group::GroupJob;
use super::peer::PeerJob;
use super::perftest::PerftestJob;
use super::rdma::Rdma;
use super::reach::ReachJob;
use super::stream::StreamJob;
use super::wire::WireJob;
use super::write::WriteJob;

/// Name of the environment variable that tells a node its parent's process id.
pub const PARENT_VARIABLE: &str = "SQUALL_PARENT";

/// Name of the environment variable with the cluster key of a run across hosts. Nodes do not get it: each point has a
/// key of its own.
pub const KEY_VARIABLE: &str = "SQUALL_KEY";

/// The first frame on a node's standard input.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Which of the point's nodes this is.
    pub rank: u32,
    /// How many nodes the point has.
    pub nodes: u32,
    /// The core to run on, or anywhere.
    pub core: Option<usize>,
    /// Where the nodes meet; none if they do not talk to each other.
    pub meeting: Option<Meeting>,
    /// An address of this host that the other nodes reach; none if they are all on this host.
    pub address: Option<IpAddr>,
    /// At which ports it may listen for them.
    pub ports: Ports,
    /// How to use RDMA devices.
    pub rdma: Rdma,
    /// How long a host may be silent before TCP gives it up, if that was asked for.
    pub lost_after: Option<Duration>,
    /// What to do.
    pub work: Work,
}

/// Where and how nodes meet.
#[derive(Clone, Serialize, Deserialize)]
pub struct Meeting {
    /// The parent's rendezvous.
    pub place: Place,
    /// The cluster key as hex digits.
    pub key: String,
}

impl std::fmt::Debug for Meeting {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meeting").field("place", &self.place).finish_non_exhaustive()
    }
}

/// What a node does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Work {
    /// A member of a group.
    Group(GroupJob),
    /// A replica of OmniPaxos, measured as a member of a group is.
    Omnipaxos(GroupJob),
    /// Raw writes.
    Write(WriteJob),
    /// Memory copies.
    Copy(CopyJob),
    /// perftest, beside raw writes.
    Perftest(PerftestJob),
    /// A plain TCP stream.
    Stream(StreamJob),
    /// The same between two hosts.
    Wire(WireJob),
    /// A member of a group whose members come and go, under faults.
    Chaos(ChaosJob),
    /// The same, measured.
    Change(ChangeJob),
    /// Another program, beside ours.
    Peer(PeerJob),
    /// One of the nodes between which every pair is tried.
    Reach(ReachJob),
}
