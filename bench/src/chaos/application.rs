//! The application that a process of a group runs: sends numbered messages, keeps a state, and writes down what
//! happens.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read;

use squall_group::{Delivery, Outgoing, SendError, StatePiece, Upcalls, View};
use squall_sim::trace::hash_bytes;
use squall_transport::sim::{Random, mix};
use squall_transport::{NodeId, Rank};

use super::state::{Arriving, State};
use super::trace_writer::TraceWriter;
use crate::jobs::chaos::{Load, Report};

/// The shortest message: its sender's name and its number make it one of a kind.
pub const BYTES_MIN: u64 = 16;
/// One message in so many is answered from within the upcall that delivers it, by its sender.
const ANSWER_EVERY: u64 = 16;

/// What one member does with its group.
pub(super) struct Application {
    /// Writes down what happens.
    pub(super) trace: TraceWriter,
    node: NodeId,
    load: Load,
    random: Random,
    me: Rank,
    state: State,
    /// The state that this newcomer is being given.
    given: Arriving,
    numbered: u64,
    /// Of this view: hash by index.
    sent: BTreeMap<u64, u64>,
    /// Cut off in this view, and cut off before and not sent again yet: their hashes.
    cut: Vec<u64>,
    again: VecDeque<u64>,
    /// Mine that I have not delivered, of this view.
    outstanding: u64,
    /// Whether answers are sent.
    pub(super) loud: bool,
}

impl Application {
    /// Of a member named `node`, which does not know its view yet.
    pub(super) fn new(node: NodeId, load: Load, trace: TraceWriter) -> Application {
        Application {
            trace,
            node,
            load,
            random: Random::new(mix(load.seed ^ node.0)),
            me: Rank(0),
            state: State::new(load.state_bytes),
            given: Arriving::default(),
            numbered: 0,
            sent: BTreeMap::new(),
            cut: Vec::new(),
            again: VecDeque::new(),
            outstanding: 0,
            loud: false,
        }
    }

    /// Sends the next message, if there is room.
    ///
    /// # Errors
    /// What says that there is none.
    pub(super) fn send(&mut self, outgoing: &mut Outgoing) -> Result<(), SendError> {
        let bytes = self.length();
        let mut slot = outgoing.reserve(bytes)?;
        fill(slot.bytes_mut(), self.node, self.numbered);
        let hash = hash_bytes(slot.bytes_mut());
        let index = slot.commit();
        self.numbered += 1;
        self.note_sent(index, hash);
        Ok(())
    }

    /// As many short as long ones, by powers of two.
    fn length(&mut self) -> u64 {
        let Load { bytes_min, bytes_max, .. } = self.load;
        let octave = self.random.below(u64::from((bytes_max / bytes_min).max(1).ilog2()) + 1);
        let low = bytes_min << octave;
        self.random.between(low, (2 * low - 1).min(bytes_max))
    }

    fn note_sent(&mut self, index: u64, hash: u64) {
        self.trace.sent(index, hash);
        self.sent.insert(index, hash);
        self.outstanding += 1;
    }

    /// How far it is, but for what the group knows.
    pub(super) fn report(&self, number: u64, view: &View, behind: bool) -> Report {
        let owed = self.outstanding + self.again.len() as u64;
        Report { number, view: view.id, members: view.nodes.clone(), behind, owed, count: self.state.count, chain: self.state.chain }
    }
}

/// Writes message `number` of `node`.
fn fill(bytes: &mut [u8], node: NodeId, number: u64) {
    let seed = mix(node.0 << 32 ^ number);
    for (place, chunk) in bytes.chunks_mut(8).enumerate() {
        let word = match place {
            0 => node.0,
            1 => number,
            _ => seed.wrapping_add((place as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
        };
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
    }
}

impl Upcalls for Application {
    fn deliver(&mut self, delivery: Delivery<'_>, outgoing: &mut Outgoing) {
        let hash = self.trace.delivered(&delivery);
        self.state.add(delivery.sender, delivery.index, hash);
        if delivery.sender != self.me {
            return;
        }
        self.outstanding -= 1;
        if self.loud && delivery.index.is_multiple_of(ANSWER_EVERY) && self.send(outgoing).is_ok() {
            // It leaves before the turn ends.
            self.trace.write_out();
        }
    }

    fn view_ended(&mut self, _next: Option<&View>) {
        let older = std::mem::take(&mut self.again);
        self.again = self.cut.drain(..).chain(older).collect();
        self.sent.clear();
        self.outstanding = 0;
    }

    fn view_installed(&mut self, view: &View) {
        self.me = view.me;
        self.state.begins(view.id);
        if view.is_mine() {
            let taken = view.senders.iter().copied().map(self.state.taken(view.id)).collect();
            self.trace.installed(view, self.state.chain, taken);
        }
    }

    fn snapshot(&mut self) -> Box<dyn Read + Send> {
        Box::new(self.state.travels())
    }

    fn restore(&mut self, piece: StatePiece<'_>) {
        match piece {
            StatePiece::Begin => self.given = Arriving::default(),
            StatePiece::Bytes(bytes) => self.given.take(bytes),
            StatePiece::End => {
                let state = std::mem::take(&mut self.given).state();
                self.trace.took(state.is_some());
                self.state = state.unwrap_or_else(|| State::new(0));
            }
        }
    }

    fn cut(&mut self, index: u64) {
        self.trace.cut(index);
        self.cut.extend(self.sent.get(&index));
    }

    fn sent_again(&mut self, index: u64) {
        if let Some(hash) = self.again.pop_front() {
            self.note_sent(index, hash);
            // It leaves before the turn ends.
            self.trace.write_out();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_two_messages_are_alike() {
        let mut seen = HashSet::new();
        for node in 0..20 {
            for number in 0..200 {
                let mut bytes = vec![0; BYTES_MIN as usize];
                fill(&mut bytes, NodeId(node), number);
                assert!(seen.insert(hash_bytes(&bytes)), "{number} of {node}");
            }
        }
    }
}
