//! One view of a trace: what was sent in it, and how far each process is.

use std::collections::BTreeMap;

use squall_group::Mode;
use squall_transport::{NodeId, Rank};

use crate::property::{Broken, Property};

/// What the checker knows of one view.
#[derive(Clone)]
pub(crate) struct View {
    members: Vec<NodeId>,
    /// How many of them vote.
    voters: usize,
    senders: Vec<Rank>,
    ordering: Mode,
    /// By position among the senders.
    streams: Vec<Stream>,
    /// By rank.
    processes: Vec<Progress>,
    /// The longest sequence anybody delivered: (sender position, index).
    order: Vec<(usize, u64)>,
}

/// What one sender put into the view.
#[derive(Clone, Default)]
struct Stream {
    /// Hashes by index.
    sent: BTreeMap<u64, u64>,
    /// Lengths of runs of nulls and of decisions by first index: what is no message.
    silent: BTreeMap<u64, u64>,
    null_count: u64,
    /// First index that it neither sent nor filled so far, as the second pass goes.
    next: u64,
}

impl Stream {
    fn is_silent(&self, index: u64) -> bool {
        self.silent.range(..=index).next_back().is_some_and(|(first, count)| index - first < *count)
    }

    /// Whether no index in the range is a message.
    fn all_silent(&self, from: u64, to: u64) -> bool {
        let mut at = from;
        while at < to {
            let Some((first, count)) = self.silent.range(..=at).next_back().filter(|(first, count)| at - **first < **count) else {
                return false;
            };
            at = first + count;
        }
        true
    }
}

/// How far one process is.
#[derive(Clone)]
struct Progress {
    /// First index not yet received, by position among the senders.
    received: Vec<u64>,
    /// First index not yet delivered or passed over.
    next: Vec<u64>,
    /// Messages delivered.
    delivered: usize,
    /// First seq not yet delivered or passed over.
    next_seq: u64,
    /// Where the view ends for this process, by position among the senders.
    trim: Option<Vec<u64>>,
}

impl View {
    pub(crate) fn new(members: &[NodeId], voters: usize, senders: &[Rank], ordering: Mode) -> View {
        let progress = Progress { received: vec![0; senders.len()], next: vec![0; senders.len()], delivered: 0, next_seq: 0, trim: None };
        View {
            members: members.to_vec(),
            voters,
            senders: senders.to_vec(),
            ordering,
            streams: vec![Stream::default(); senders.len()],
            processes: vec![progress; members.len()],
            order: Vec::new(),
        }
    }

    pub(crate) fn is_same(&self, other: &View) -> bool {
        (&self.members, self.voters, &self.senders, self.ordering) == (&other.members, other.voters, &other.senders, other.ordering)
    }

    fn position(&self, sender: Rank) -> Result<usize, Broken> {
        let none = || (Property::Integrity, format!("rank {sender} is no sender of this view"));
        self.senders.binary_search(&sender).map_err(|_| none())
    }

    /// The sender's position, if `process` is that sender.
    fn own_position(&self, process: NodeId, sender: Rank) -> Result<usize, Broken> {
        if self.members.get(sender.index()) != Some(&process) {
            return Err((Property::Integrity, format!("{process} speaks for rank {sender}, which it is not")));
        }
        self.position(sender)
    }

    fn rank(&self, process: NodeId) -> Result<usize, Broken> {
        let none = || (Property::SameView, format!("{process} is no member of this view"));
        self.members.iter().position(|&member| member == process).ok_or_else(none)
    }

    pub(crate) fn announce_send(&mut self, process: NodeId, sender: Rank, index: u64, hash: u64) -> Result<(), Broken> {
        let position = self.own_position(process, sender)?;
        if self.streams[position].sent.insert(index, hash).is_some() {
            return Err((Property::NoDuplication, format!("{process} sends index {index} twice")));
        }
        Ok(())
    }

    pub(crate) fn announce_nulls(&mut self, process: NodeId, sender: Rank, first: u64, count: u64) -> Result<(), Broken> {
        let position = self.own_position(process, sender)?;
        let stream = &mut self.streams[position];
        stream.null_count += count;
        stream.silent.insert(first, count);
        Ok(())
    }

    pub(crate) fn announce_decisions(&mut self, process: NodeId, sender: Rank, first: u64, count: u64) -> Result<(), Broken> {
        let position = self.own_position(process, sender)?;
        self.streams[position].silent.insert(first, count);
        Ok(())
    }

    /// A decision takes an index like a message.
    pub(crate) fn decide(&mut self, process: NodeId, sender: Rank, first: u64, count: u64) -> Result<(), Broken> {
        let position = self.own_position(process, sender)?;
        self.use_indices(position, first, count)
    }

    /// The sender uses its indices one after the other.
    pub(crate) fn send(&mut self, sender: Rank, index: u64) -> Result<(), Broken> {
        let position = self.position(sender)?;
        self.use_indices(position, index, 1)
    }

    fn use_indices(&mut self, position: usize, first: u64, count: u64) -> Result<(), Broken> {
        let next = std::mem::replace(&mut self.streams[position].next, first + count);
        if next != first {
            return Err((Property::Fifo, format!("rank {} uses index {first} after 0..{next}", self.senders[position])));
        }
        Ok(())
    }

    /// A null answers a message that another has sent (a large one is answered when it is announced, so whether it was
    /// received does not matter): one of the same turn, or of a later one.
    pub(crate) fn null(&mut self, process: NodeId, sender: Rank, first: u64, count: u64, global: bool) -> Result<(), Broken> {
        let position = self.own_position(process, sender)?;
        self.use_indices(position, first, count)?;
        if self.ordering.is_total() && self.ordering != Mode::Ordered {
            return Err((Property::Nulls, format!("{process} fills turns {first}.. where there are none")));
        }
        let last = first + count - 1;
        // Worked example: turn 4 of position 1 comes after turn 4 of position 0 and after turn 3 of position 2. So
        // index 4 of position 1 asks position 0 to fill up to turn 4, and position 2 up to turn 3.
        let answers = (0..self.streams.len()).filter(|&other| other != position).any(|other| {
            let known = if global { self.streams[other].next } else { u64::MAX };
            let newest = self.streams[other].sent.range(..known).next_back().map(|(index, _)| *index);
            newest.is_some_and(|newest| if position < other { last <= newest } else { last < newest })
        });
        if !answers {
            return Err((Property::Nulls, format!("{process} fills turns {first}..={last} that nobody's message asks for")));
        }
        Ok(())
    }

    pub(crate) fn receive(&mut self, process: NodeId, sender: Rank, count: u64, global: bool) -> Result<(), Broken> {
        let (position, rank) = (self.position(sender)?, self.rank(process)?);
        let before = std::mem::replace(&mut self.processes[rank].received[position], count);
        if count < before {
            return Err((Property::Fifo, format!("{process} had received {before} of rank {sender}, now {count}")));
        }
        if global && count > self.streams[position].next {
            let next = self.streams[position].next;
            return Err((Property::Integrity, format!("{process} has received {count} of rank {sender}, which has used {next}")));
        }
        Ok(())
    }

    pub(crate) fn deliver(
        &mut self,
        process: NodeId,
        seq: u64,
        sender: Rank,
        index: u64,
        hash: u64,
        global: bool,
    ) -> Vec<Result<(), Broken>> {
        let (position, rank) = match (self.position(sender), self.rank(process)) {
            (Ok(position), Ok(rank)) => (position, rank),
            (Err(broken), _) | (_, Err(broken)) => return vec![Err(broken)],
        };
        let message = format!("index {index} of rank {sender}");
        let mut results =
            vec![self.genuine(process, position, index, hash, &message), self.in_turn(process, rank, position, index, &message)];
        if self.ordering.is_total() {
            results.push(self.in_order(process, rank, position, index, &message));
            if self.ordering == Mode::Ordered {
                results.push(self.in_place(process, rank, position, index, seq, &message));
            }
            if global {
                results.push(self.stable(process, position, index, &message));
            }
        }
        self.processes[rank].delivered += 1;
        results
    }

    fn genuine(&self, process: NodeId, position: usize, index: u64, hash: u64, message: &str) -> Result<(), Broken> {
        match self.streams[position].sent.get(&index) {
            Some(sent) if *sent == hash => Ok(()),
            Some(_) => Err((Property::Integrity, format!("{process} delivers {message} with other bytes than were sent"))),
            None if self.streams[position].is_silent(index) => {
                Err((Property::Nulls, format!("{process} delivers {message}, which is a null or a decision")))
            }
            None => Err((Property::Integrity, format!("{process} delivers {message}, which was never sent"))),
        }
    }

    fn in_turn(&mut self, process: NodeId, rank: usize, position: usize, index: u64, message: &str) -> Result<(), Broken> {
        let next = self.processes[rank].next[position];
        if index < next {
            return Err((Property::NoDuplication, format!("{process} delivers {message} again or late: it was at {next}")));
        }
        self.processes[rank].next[position] = index + 1;
        if !self.streams[position].all_silent(next, index) {
            return Err((Property::Fifo, format!("{process} delivers {message} before all of {next}..{index}")));
        }
        Ok(())
    }

    fn in_order(&mut self, process: NodeId, rank: usize, position: usize, index: u64, message: &str) -> Result<(), Broken> {
        let place = self.processes[rank].delivered;
        match self.order.get(place) {
            Some(known) if *known == (position, index) => Ok(()),
            Some((other, at)) => {
                let other = self.senders[*other];
                Err((Property::TotalOrder, format!("{process} delivers {message} where another delivered index {at} of rank {other}")))
            }
            None => {
                self.order.push((position, index));
                Ok(())
            }
        }
    }

    fn in_place(&mut self, process: NodeId, rank: usize, position: usize, index: u64, seq: u64, message: &str) -> Result<(), Broken> {
        let senders = self.streams.len() as u64;
        let expected = index * senders + position as u64;
        if seq != expected {
            return Err((Property::RoundRobin, format!("{process} delivers {message} as seq {seq}, it is seq {expected}")));
        }
        let next = std::mem::replace(&mut self.processes[rank].next_seq, seq + 1);
        if seq < next {
            return Err((Property::RoundRobin, format!("{process} delivers seq {seq} when it was at {next}")));
        }
        // Checked by sender rather than by seq: a long run of nulls is passed in one go.
        let skipped = (0..senders).all(|other| {
            let turns = |seq: u64| seq.saturating_sub(other).div_ceil(senders);
            // Turns behind its sender's end are passed over.
            let end = self.processes[rank].trim.as_ref().and_then(|trim| trim.get(other as usize).copied()).unwrap_or(u64::MAX);
            self.streams[other as usize].all_silent(turns(next), turns(seq).min(end))
        });
        if !skipped {
            return Err((
                Property::RoundRobin,
                format!("{process} delivers seq {seq} when it was at {next}, and not all between are nulls"),
            ));
        }
        Ok(())
    }

    fn stable(&self, process: NodeId, position: usize, index: u64, message: &str) -> Result<(), Broken> {
        if self.processes.iter().zip(&self.members).any(|(progress, member)| *member == process && progress.trim.is_some()) {
            // At the end of a view it is enough that those that go on have it.
            return Ok(());
        }
        let has = |progress: &Progress| progress.received[position] > index;
        let voters = &self.processes[..self.voters];
        if self.ordering.fills() {
            // More than half, and this one.
            let (count, mine) =
                (voters.iter().filter(|progress| has(progress)).count(), self.rank(process).is_ok_and(|rank| has(&self.processes[rank])));
            return match mine && count * 2 > self.voters {
                true => Ok(()),
                false => Err((Property::Stability, format!("{process} delivers {message}, which {count} of {} voters have", self.voters))),
            };
        }
        match voters.iter().position(|progress| !has(progress)) {
            Some(rank) => Err((Property::Stability, format!("{process} delivers {message}, which rank {rank} has not received"))),
            None => Ok(()),
        }
    }

    /// How many messages lie below these indices, by position among the senders.
    pub(crate) fn messages_below(&self, taken: &[u64]) -> u64 {
        self.streams.iter().zip(taken).map(|(stream, end)| stream.sent.range(..end).count() as u64).sum()
    }

    /// The process was given a state that holds these messages already.
    pub(crate) fn restore(&mut self, process: NodeId, taken: &[u64]) -> Result<(), Broken> {
        let (rank, delivered) = (self.rank(process)?, self.messages_below(taken));
        let senders = self.streams.len() as u64;
        if !taken.is_empty() && taken.len() as u64 != senders {
            return Err((Property::StateTransfer, format!("{process} is given a state of {} senders where {senders} send", taken.len())));
        }
        let progress = &mut self.processes[rank];
        for (position, &end) in taken.iter().enumerate().filter(|(_, end)| **end > 0) {
            progress.next[position] = end;
            progress.next_seq = progress.next_seq.max((end - 1) * senders + position as u64 + 1);
        }
        progress.delivered = delivered as usize;
        Ok(())
    }

    /// The view ends here for the process, with nothing that it lacks.
    pub(crate) fn trim(&mut self, process: NodeId, vector: &[u64]) -> Result<(), Broken> {
        let rank = self.rank(process)?;
        let progress = &mut self.processes[rank];
        progress.trim = Some(vector.to_vec());
        if vector.len() != progress.received.len() || progress.received.iter().zip(vector).any(|(received, trim)| received < trim) {
            let received = &progress.received;
            return Err((Property::TrimAgreement, format!("{process} has received {received:?}, the view ends at {vector:?}")));
        }
        Ok(())
    }

    /// After the last event; `whole`: everybody stayed to the end.
    pub(crate) fn conclude(&self, whole: bool) -> Vec<Broken> {
        let mut broken = Vec::new();
        if whole {
            let behind = |rank: usize, position: usize| {
                let stream = &self.streams[position];
                let missing = stream.sent.range(self.processes[rank].next[position]..).count();
                let from = self.senders[position];
                (missing > 0)
                    .then(|| (Property::DeliveryProgress, format!("rank {rank} never delivered {missing} of the messages of rank {from}")))
            };
            let pairs = (0..self.members.len()).flat_map(|rank| (0..self.streams.len()).map(move |position| (rank, position)));
            broken.extend(pairs.filter_map(|(rank, position)| behind(rank, position)));
        }
        let (sent, nulls) =
            self.streams.iter().fold((0, 0), |(sent, nulls), stream| (sent + stream.sent.len() as u64, nulls + stream.null_count));
        let most = sent * (self.streams.len() as u64).saturating_sub(1);
        if nulls > most {
            broken.push((Property::Nulls, format!("{nulls} nulls for {sent} messages of {} senders", self.streams.len())));
        }
        broken
    }
}
