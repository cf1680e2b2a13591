//! Traces: what happened in a run, as the checker reads it.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};
use squall_group::Mode;
use squall_transport::sim::mix;
use squall_transport::{NodeId, Rank};

/// One thing that a process did. Events of one process are in the order in which they happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The process entered a view.
    Install {
        /// Which process.
        process: NodeId,
        /// The view's number.
        view: u64,
        /// Its members; a rank is a position here.
        members: Vec<NodeId>,
        /// How many of them vote: the first ones.
        voters: usize,
        /// Who of them sends, ascending.
        senders: Vec<Rank>,
        /// When and in which order messages are delivered.
        #[serde(with = "by_name")]
        order: Mode,
    },
    /// The process sent message `index` of its own.
    Send {
        /// Which process.
        process: NodeId,
        /// In which view.
        view: u64,
        /// Its rank in that view.
        sender: Rank,
        /// Position among its messages, nulls among them.
        index: u64,
        /// [`hash_bytes`] of the payload.
        hash: u64,
    },
    /// The process has received everything of `sender` before index `count`.
    Receive {
        /// Which process.
        process: NodeId,
        /// In which view.
        view: u64,
        /// Whose messages.
        sender: Rank,
        /// First index not yet received.
        count: u64,
    },
    /// The process handed a message to its application.
    Deliver {
        /// Which process.
        process: NodeId,
        /// In which view.
        view: u64,
        /// Position in the total order; not looked at in an unordered view.
        seq: u64,
        /// Who sent it.
        sender: Rank,
        /// Position among the sender's messages, nulls among them.
        index: u64,
        /// [`hash_bytes`] of the payload as the application saw it.
        hash: u64,
    },
    /// The process filled turns of its own with nulls.
    Null {
        /// Which process.
        process: NodeId,
        /// In which view.
        view: u64,
        /// Its rank in that view.
        sender: Rank,
        /// The first index that is a null.
        first: u64,
        /// How many.
        count: u64,
    },
    /// The process used indices of its own for decisions on the order.
    Decide {
        /// Which process.
        process: NodeId,
        /// In which view.
        view: u64,
        /// Its rank in that view.
        sender: Rank,
        /// The first index that is a decision.
        first: u64,
        /// How many.
        count: u64,
    },
    /// The process suspects a member.
    Suspect {
        /// Which process.
        process: NodeId,
        /// In which view.
        view: u64,
        /// Whom.
        whom: Rank,
    },
    /// The process wants to leave.
    Leave {
        /// Which process.
        process: NodeId,
        /// In which view.
        view: u64,
    },
    /// The process has stopped sending, receiving and delivering.
    Wedge {
        /// Which process.
        process: NodeId,
        /// In which view.
        view: u64,
    },
    /// The process has accepted more of what a leader proposes.
    Accept {
        /// Which process.
        process: NodeId,
        /// In which view.
        view: u64,
        /// Whose proposal; its own if it leads.
        leader: Rank,
        /// Whether it says where the view ends.
        trimmed: bool,
    },
    /// The process acts on the end of the view.
    Trim {
        /// Which process.
        process: NodeId,
        /// Which view.
        view: u64,
        /// Who led.
        leader: Rank,
        /// Where each sender's messages end.
        vector: Vec<u64>,
        /// Who proposed each of the changes that lead to the next view.
        proposed_by: Vec<Rank>,
        /// The members of the next view.
        next: Vec<NodeId>,
        /// How many of them vote.
        next_voters: usize,
    },
    /// The process is in the view without a vote: a learner.
    Learn {
        /// Which process.
        process: NodeId,
        /// Which view.
        view: u64,
    },
    /// The process was a learner, and votes from this view on.
    Vote {
        /// Which process.
        process: NodeId,
        /// Which view.
        view: u64,
    },
    /// The process was told that a message of its own is delivered nowhere.
    Cut {
        /// Which process.
        process: NodeId,
        /// In which view.
        view: u64,
        /// Position among its messages.
        index: u64,
    },
    /// The process learns in the view, and waits for the state that comes before it: it delivers nothing.
    Behind {
        /// Which process.
        process: NodeId,
        /// In which view.
        view: u64,
    },
    /// The process was given the state of a view that it has come to, and delivers what came since.
    Restore {
        /// Which process.
        process: NodeId,
        /// Which view; it may be an earlier one than the one that the process is in.
        view: u64,
        /// The state: see [`state_after`].
        state: u64,
        /// By place among the view's senders: up to where the state holds the messages of this view. Empty: none.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        taken: Vec<u64>,
    },
    /// The process asked for a read: what it sees has to hold all that anybody has delivered by now.
    AskRead {
        /// Which process.
        process: NodeId,
        /// Which of its reads.
        read: u64,
    },
    /// The process was told that it may read.
    Read {
        /// Which process.
        process: NodeId,
        /// Which of its reads.
        read: u64,
    },
    /// The process died.
    Crash {
        /// Which process.
        process: NodeId,
    },
    /// The process gave up its group.
    Stop {
        /// Which process.
        process: NodeId,
        /// Why, in words.
        reason: String,
    },
    /// The run is over and the process had all the time it could want.
    Finish {
        /// Which process.
        process: NodeId,
        /// Messages that it wanted to send and could not.
        unsent: u64,
        /// Writes that it posted after there was nothing left to send or deliver anywhere.
        idle_posts: u64,
    },
}

impl Event {
    /// The process used indices of its own for no messages: for nulls, or for decisions where there are such.
    pub fn silent(order: Mode, process: NodeId, view: u64, sender: Rank, first: u64, count: u64) -> Event {
        match order {
            Mode::Ordered | Mode::Unordered => Event::Null { process, view, sender, first, count },
            _ => Event::Decide { process, view, sender, first, count },
        }
    }

    /// Whether it happens only where members may change.
    pub fn is_change(&self) -> bool {
        use Event::{Accept, Behind, Cut, Learn, Leave, Restore, Suspect, Trim, Vote, Wedge};
        matches!(
            self,
            Suspect { .. }
                | Leave { .. }
                | Wedge { .. }
                | Accept { .. }
                | Trim { .. }
                | Cut { .. }
                | Behind { .. }
                | Restore { .. }
                | Learn { .. }
                | Vote { .. }
        )
    }

    /// Who did it.
    pub fn process(&self) -> NodeId {
        match self {
            Event::Install { process, .. }
            | Event::Send { process, .. }
            | Event::Receive { process, .. }
            | Event::Deliver { process, .. }
            | Event::Null { process, .. }
            | Event::Decide { process, .. }
            | Event::Suspect { process, .. }
            | Event::Leave { process, .. }
            | Event::Wedge { process, .. }
            | Event::Accept { process, .. }
            | Event::Trim { process, .. }
            | Event::Cut { process, .. }
            | Event::Behind { process, .. }
            | Event::Restore { process, .. }
            | Event::Learn { process, .. }
            | Event::Vote { process, .. }
            | Event::AskRead { process, .. }
            | Event::Read { process, .. }
            | Event::Crash { process }
            | Event::Stop { process, .. }
            | Event::Finish { process, .. } => *process,
        }
    }
}

/// How the events of different processes relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interleaving {
    /// The trace is in the order of one clock: what stands earlier happened earlier, at whatever process.
    Global,
    /// Only the order within each process means anything: traces of real processes, put together.
    PerProcess,
}

/// An order, as users name it.
mod by_name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use squall_group::Mode;

    pub(super) fn serialize<S: Serializer>(order: &Mode, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(order)
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Mode, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// A run, event by event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// How events of different processes relate.
    pub interleaving: Interleaving,
    /// What happened.
    pub events: Vec<Event>,
}

/// Why a trace could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file could not be read.
    #[error("the trace cannot be read: {0}")]
    Read(io::Error),
    /// A line is not an event.
    #[error("line {line} of the trace is not an event: {reason}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        reason: serde_json::Error,
    },
    /// It does not start as a trace does.
    #[error("expected a trace of version {VERSION}, found {found:?}")]
    Header {
        /// The first line.
        found: String,
    },
}

impl From<io::Error> for TraceError {
    fn from(reason: io::Error) -> TraceError {
        TraceError::Read(reason)
    }
}

const VERSION: u32 = 2;

#[derive(Serialize, Deserialize)]
struct Header {
    squall_trace: u32,
    interleaving: Interleaving,
}

impl Trace {
    /// Nothing happened yet.
    pub fn new(interleaving: Interleaving) -> Trace {
        Trace { interleaving, events: Vec::new() }
    }

    /// Writes it as text: a header, then one event a line, each a JSON object.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut to, &Header { squall_trace: VERSION, interleaving: self.interleaving })?;
        for event in &self.events {
            to.write_all(b"\n")?;
            serde_json::to_writer(&mut to, event)?;
        }
        to.write_all(b"\n")
    }

    /// Reads what [`Trace::write`] wrote.
    pub fn read(from: impl BufRead) -> Result<Trace, TraceError> {
        let mut lines = from.lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let header: Option<Header> = serde_json::from_str(&first).ok();
        let Some(header) = header.filter(|header| header.squall_trace == VERSION) else {
            return Err(TraceError::Header { found: first });
        };
        let mut trace = Trace::new(header.interleaving);
        for (index, line) in lines.enumerate() {
            let event = serde_json::from_str(&line?);
            trace.events.push(event.map_err(|reason| TraceError::Line { line: index + 2, reason })?);
        }
        Ok(trace)
    }

    /// One number for the whole run: equal for equal runs.
    pub fn hash(&self) -> u64 {
        let mut text = Vec::new();
        for event in &self.events {
            serde_json::to_writer(&mut text, event).expect("an event is writable to memory");
        }
        hash_bytes(&text)
    }
}

/// A 64-bit hash of `bytes` that stays the same in every version, eight bytes a step.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    let mut hash = mix(bytes.len() as u64 ^ 0x5155_414C_4C00_0001);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = mix(hash ^ u64::from_le_bytes(*word)).wrapping_add(0x9E37_79B9_7F4A_7C15);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(hash ^ u64::from_le_bytes(last))
}

/// The state of an application that remembers everything: what it was, and then this delivery. At the beginning it is
/// 0.
pub fn state_after(state: u64, hash: u64) -> u64 {
    mix(state.rotate_left(1) ^ hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> Trace {
        let process = NodeId(3);
        let members = vec![NodeId(1), process];
        let events = vec![
            Event::Install { process, view: 0, voters: members.len(), members, senders: vec![Rank(1)], order: Mode::Ordered },
            Event::Send { process, view: 0, sender: Rank(1), index: 0, hash: u64::MAX },
            Event::Receive { process, view: 0, sender: Rank(1), count: 1 },
            Event::Deliver { process, view: 0, seq: 0, sender: Rank(1), index: 0, hash: 1 },
            Event::Null { process, view: 0, sender: Rank(1), first: 1, count: 2 },
            Event::Crash { process: NodeId(1) },
            Event::Stop { process, reason: "a \"quoted\"\nreason".into() },
            Event::Finish { process, unsent: 0, idle_posts: 0 },
        ];
        Trace { interleaving: Interleaving::Global, events }
    }

    #[test]
    fn a_trace_is_read_as_it_was_written() {
        let mut text = Vec::new();
        trace().write(&mut text).unwrap();
        assert_eq!(text.iter().filter(|&&byte| byte == b'\n').count(), 9);
        assert_eq!(Trace::read(&text[..]).unwrap(), trace());
    }

    #[test]
    fn what_is_no_trace_is_refused_with_the_line() {
        assert!(matches!(Trace::read(&b"hello\n"[..]), Err(TraceError::Header { .. })));
        let mut text = Vec::new();
        trace().write(&mut text).unwrap();
        text.extend_from_slice(b"{\"send\":{}}\n");
        assert!(matches!(Trace::read(&text[..]), Err(TraceError::Line { line: 10, .. })));
    }

    #[test]
    fn the_hash_tells_every_byte_and_length_apart() {
        let bytes: Vec<u8> = (0..40).collect();
        let hashes: std::collections::HashSet<u64> = (0..=40).map(|len| hash_bytes(&bytes[..len])).collect();
        assert_eq!(hashes.len(), 41);
        for index in 0..40 {
            let mut other = bytes.clone();
            other[index] ^= 1;
            assert_ne!(hash_bytes(&other), hash_bytes(&bytes));
        }
        assert_ne!(hash_bytes(&[0; 8]), hash_bytes(&[0; 16]));
    }

    #[test]
    fn the_hash_of_a_trace_depends_on_the_order_of_its_events() {
        let mut swapped = trace();
        swapped.events.swap(2, 3);
        assert_ne!(swapped.hash(), trace().hash());
        assert_eq!(trace().hash(), trace().hash());
    }
}
