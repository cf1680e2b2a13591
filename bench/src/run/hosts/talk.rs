//! What the first host and the agents of the others say to each other.
//!
//! The greeting is JSON, so that builds that differ understand why they refuse each other; what follows it is postcard.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::jobs::control::Reply;
use crate::jobs::job::Job;
use crate::jobs::rdma::Rdma;
use squall_report::environment::Build;

/// Version of everything in this file and of what nodes are told.
const TALK_VERSION: u32 = 3;

/// An agent's first words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// [`TALK_VERSION`].
    talk: u32,
    /// The agent's program.
    squall: String,
    /// How many hosts it was told there are.
    nodes: u32,
}

/// The first host's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Greeting {
    /// The agent is one of the run's hosts.
    Accepted,
    /// It is not, and why.
    Refused(String),
}

/// What an agent is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum ToAgent {
    /// Answer with the same number.
    Ping(u64),
    /// Say what your host offers, with its RDMA devices used like this.
    Describe(Rdma),
    /// Start the node of a point; those of other points go on until their end is said.
    Start { point: u64, job: Box<Job> },
    /// Pass an order on, after setting the node's clock.
    Order { point: u64, clock_offset_ns: i64, order: Vec<u8> },
    /// End the node of a point, now.
    End { point: u64 },
    /// The run is over; if it failed, why.
    Goodbye(Option<String>),
}

/// What an agent says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum FromAgent {
    /// The answer to a ping: its number, the agent's clock, and how far a quota of processor time has held it back so
    /// far, in periods and in nanoseconds.
    Pong { id: u64, now_ns: u64, throttled: (u64, u64) },
    /// What its host offers: [`Facts`] as JSON, which has optional parts.
    Facts(String),
    /// What a node said.
    Reply { point: u64, reply: Reply },
    /// A node's process ended: its raw wait status and last lines.
    Gone { point: u64, status: Option<i32>, stderr: String },
    /// The agent ends, and why.
    Leaving(String),
}

impl Hello {
    pub(super) fn of(nodes: u32) -> Hello {
        Hello { talk: TALK_VERSION, squall: program(), nodes }
    }

    /// Whether the first host, which would say `self`, can work with an agent that says `theirs`; if not, why.
    pub(super) fn check(&self, theirs: &Hello) -> Result<(), String> {
        if (theirs.talk, &theirs.squall) != (self.talk, &self.squall) {
            return Err(format!("it runs {}, the first host {}: run the same build of Squall on all hosts", theirs.squall, self.squall));
        }
        if theirs.nodes != self.nodes {
            return Err(format!("it was told of {} hosts (--nodes), the first host of {}", theirs.nodes, self.nodes));
        }
        Ok(())
    }
}

/// This program; the same build says the same.
fn program() -> String {
    let build = Build::of_this_program();
    format!("squall {} at {} for {}", build.version, build.commit, build.target)
}

/// A message as bytes.
pub(super) fn encode(message: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(message).expect("messages are plain data")
}

/// A message from bytes.
///
/// # Errors
/// If they are no `T`.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    postcard::from_bytes(bytes).map_err(|error| format!("a message of {} bytes that does not decode ({error})", bytes.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn another_build_and_another_number_of_hosts_are_told_apart() {
        let ours = Hello::of(4);
        assert_eq!(ours.check(&Hello::of(4)), Ok(()));
        let fewer = ours.check(&Hello::of(3)).unwrap_err();
        assert!(fewer.contains("told of 3 hosts (--nodes), the first host of 4"), "{fewer}");
        let other = ours.check(&Hello { squall: "squall 0.0.1".into(), ..Hello::of(3) }).unwrap_err();
        assert!(other.contains("squall 0.0.1") && other.contains("same build"), "{other}");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode::<ToAgent>(&bytes);
            let _ = decode::<FromAgent>(&bytes);
            let _ = serde_json::from_slice::<Hello>(&bytes);
        }
    }
}
