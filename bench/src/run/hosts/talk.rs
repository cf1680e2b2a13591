//! What the first host and the agents of the others say to each other.
//!
//! The greeting is JSON, so that builds that differ understand why they refuse each other; what follows it is postcard.

use std::net::{IpAddr, SocketAddr};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use squall_transport::Ports;

use super::reach::{Offer, Reached};
use crate::ask::network::InterfaceRule;
use crate::jobs::control::Reply;
use crate::jobs::job::Job;
use crate::jobs::rdma::Rdma;
use crate::run::look::Look;
use squall_report::environment::Build;

/// Version of everything in this file and of what nodes are told.
const TALK_VERSION: u32 = 3;

/// A process' first words at the rendezvous.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// [`TALK_VERSION`].
    talk: u32,
    /// The agent's program.
    squall: String,
    /// How many hosts it was told there are.
    nodes: u32,
    /// Whether it is to be the first host: it is told so as rank 0, or as one without a rank that has something to run.
    leads: bool,
}

/// The answer of who holds the rendezvous: the first host, or a [meeting](super::meeting).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Greeting {
    /// The agent is one of the run's hosts.
    Accepted,
    /// It is not, and why.
    Refused(String),
    /// The first host has not come yet: there will be another greeting.
    Wait,
    /// It is to be the first host itself, and to say where it is: [`At`].
    Lead,
    /// The first host is there.
    Elsewhere(SocketAddr),
}

/// Where the first host listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct At(pub(super) SocketAddr);

/// What an agent is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum ToAgent {
    /// Answer with the same number.
    Ping(u64),
    /// Answer a question.
    Ask(Question),
    /// Use this address of your host for data.
    Take(IpAddr),
    /// Start the node of a point; those of other points go on until their end is said.
    Start { point: u64, job: Box<Job> },
    /// Pass an order on, after setting the node's clock.
    Order { point: u64, clock_offset_ns: i64, order: Vec<u8> },
    /// End the node of a point, now.
    End { point: u64 },
    /// The run is over; if it failed, why.
    Goodbye(Option<String>),
}

/// What an agent is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Question {
    /// What does your host offer, with its RDMA devices used like this?
    Describe(Rdma),
    /// At which addresses might it be reached, by these rules, and at these ports?
    Offer(Vec<InterfaceRule>, Ports),
    /// Which of these, by host, does it reach? They are no longer shown once this is answered by all.
    Reach(Vec<Vec<Offer>>),
    /// How does the node of a point look from outside?
    Look { point: u64 },
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// [`Facts`](crate::ask::host::Facts) as JSON, which has optional parts; and the host's time of day, in
    /// milliseconds since 1970.
    Facts(String, u64),
    /// Or why it cannot be reached.
    Offers(Result<Vec<Offer>, String>),
    Reached(Reached),
    /// Nothing if there is no such node.
    Looked(Option<Look>),
}

/// What an agent says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum FromAgent {
    /// The answer to a ping: its number, the agent's clock, and how far a quota of processor time has held it back so
    /// far, in periods and in nanoseconds.
    Pong { id: u64, now_ns: u64, throttled: (u64, u64) },
    /// The answer to a question.
    Answer(Answer),
    /// What a node said.
    Reply { point: u64, reply: Reply },
    /// A node's process ended: its raw wait status and last lines.
    Gone { point: u64, status: Option<i32>, stderr: String },
    /// The agent ends, and why.
    Leaving(String),
}

impl Hello {
    pub(super) fn of(nodes: u32, leads: bool) -> Hello {
        Hello { talk: TALK_VERSION, squall: program(), nodes, leads }
    }

    /// Whether it is to be the first host.
    pub(super) fn leads(&self) -> bool {
        self.leads
    }

    /// Whether a process of this build can work with one that says `theirs`; if not, why.
    pub(super) fn check_build(theirs: &Hello, other: &str) -> Result<(), String> {
        let squall = program();
        if (theirs.talk, &theirs.squall) != (TALK_VERSION, &squall) {
            return Err(format!("it runs {}, {other} {squall}: run the same build of Squall on all hosts", theirs.squall));
        }
        Ok(())
    }

    /// Whether the first host, which would say `self`, can work with an agent that says `theirs`; if not, why.
    pub(super) fn check(&self, theirs: &Hello) -> Result<(), String> {
        Hello::check_build(theirs, "the first host")?;
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
        let ours = Hello::of(4, true);
        assert_eq!(ours.check(&Hello::of(4, false)), Ok(()));
        let fewer = ours.check(&Hello::of(3, false)).unwrap_err();
        assert!(fewer.contains("told of 3 hosts (--nodes), the first host of 4"), "{fewer}");
        let other = ours.check(&Hello { squall: "squall 0.0.1".into(), ..Hello::of(3, false) }).unwrap_err();
        assert!(other.contains("squall 0.0.1") && other.contains("same build"), "{other}");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode::<ToAgent>(&bytes);
            let _ = decode::<FromAgent>(&bytes);
            let _ = serde_json::from_slice::<Hello>(&bytes);
            let _ = serde_json::from_slice::<At>(&bytes);
        }
    }
}
