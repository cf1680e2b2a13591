//! What the parent tells the processes of a group, and what they say.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use squall_transport::NodeId;

use super::kinds::{FabricKind, GroupOrdering};

/// What a process is started with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChaosJob {
    /// What carries the writes.
    pub fabric: FabricKind,
    /// The cluster key of the control connections, as hex digits.
    pub key: String,
    /// How it becomes a member.
    pub start: Start,
    /// What the group agrees on and is loaded with.
    pub load: Load,
}

/// How a process becomes a member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    /// Its name in this life.
    pub node: NodeId,
    /// Members that it asks; none: it founds the group with the others of its job's meeting.
    pub contacts: Vec<SocketAddr>,
    /// Where it writes down what it does.
    pub trace: PathBuf,
}

/// What a group agrees on and is loaded with.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Load {
    /// In which order messages are delivered.
    pub ordering: GroupOrdering,
    /// Smallest message in bytes.
    pub bytes_min: u64,
    /// Largest message in bytes.
    pub bytes_max: u64,
    /// Messages a second of each member.
    pub rate: u64,
    /// Bytes of the application's state.
    pub state_bytes: u64,
    /// Silence that counts as death, in nanoseconds.
    pub suspect_after_ns: u64,
    /// Where two members find their witness.
    pub witness: Option<SocketAddr>,
    /// Whether processes have cores of their own; else they give theirs away when idle.
    pub own_core: bool,
    /// Members that the buffers suffice for.
    pub members_max: usize,
    /// Where sizes of messages come from.
    pub seed: u64,
}

/// What a process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Send on.
    Load,
    /// Send nothing more than what is owed.
    Quiet,
    /// Say how far you are, with this number.
    Report(u64),
    /// Leave the group.
    Leave,
    /// Come back under another name.
    Return(Start),
    /// End.
    Finish,
}

/// What a process says without being asked, or when told to report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// It is in a view.
    In {
        /// Under which name.
        node: NodeId,
        /// Where newcomers reach it.
        address: SocketAddr,
        /// Which view.
        view: u64,
        /// Whether it still waits for the application's state.
        behind: bool,
    },
    /// How far it is.
    Report(Report),
    /// It is a member no longer, or could not become one.
    Out {
        /// Under which name.
        node: NodeId,
        /// How that came.
        how: Parting,
        /// In words.
        reason: String,
    },
    /// Its trace cannot be written any more, and why; it goes on without.
    TraceLost(String),
}

/// Why a process is no member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Parting {
    /// It left.
    Left,
    /// The others go on without it.
    Excluded,
    /// It cannot reach enough of the others to know.
    Alone,
    /// Nobody is left who has the application's state.
    StateLost,
    /// It did not get in.
    NotIn,
    /// Something else ended it.
    Ended,
}

/// How far a process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// As asked.
    pub number: u64,
    /// Its view.
    pub view: u64,
    /// The members of it.
    pub members: Vec<NodeId>,
    /// Whether it still waits for the application's state.
    pub behind: bool,
    /// Its own messages that it has not delivered, or has yet to send again.
    pub owed: u64,
    /// Messages of the application's whole history.
    pub count: u64,
    /// A hash over them in their order.
    pub chain: u64,
}
