//! Reads: who asks for them in a run, and whether they see what they have to.

use std::collections::{HashMap, VecDeque};

use squall_group::{ReadPoint, ReadRefused};
use squall_transport::NodeId;
use squall_transport::sim::Random;

use crate::property::{Broken, Property};
use crate::recorder::Recorder;
use crate::trace::Event;

/// Reads of one process in a run, at the most.
const READS_MAX: u64 = 12;
/// Of a thousand steps, before so many a read is asked for.
const ASKS_PER_MILLE: u64 = 100;

/// The reads of one process: asks now and then, and notes when it may read.
pub(crate) struct Reader {
    /// None left: this run has no reads.
    left: u64,
    random: Random,
    count: u64,
    /// It reads as soon as it can.
    keen: bool,
    waiting: VecDeque<(u64, ReadPoint)>,
}

impl Reader {
    /// Of process `node` of the run of `seed`, which has reads or none. Draws from a source of its own, so that the
    /// rest of the run stays what the seed says.
    pub(crate) fn new(reads: bool, seed: u64, node: NodeId) -> Reader {
        let left = if reads { READS_MAX } else { 0 };
        Reader { left, random: Random::new(seed ^ node.0.rotate_left(24) ^ 0x4EAD), count: 0, keen: false, waiting: VecDeque::new() }
    }

    /// Before a step.
    pub(crate) fn ask(&mut self, recorder: &mut Recorder, ask: impl FnOnce() -> Result<ReadPoint, ReadRefused>) {
        if self.left > 0
            && (self.keen || self.random.chance(ASKS_PER_MILLE))
            && let Ok(point) = ask()
        {
            self.keen = false;
            self.left -= 1;
            recorder.asks_to_read(self.count);
            self.waiting.push_back((self.count, point));
            self.count += 1;
        }
    }

    /// After a step.
    pub(crate) fn look(&mut self, recorder: &mut Recorder, has_reached: impl Fn(ReadPoint) -> bool) {
        while let Some(&(read, _)) = self.waiting.front().filter(|(_, point)| has_reached(*point)) {
            self.waiting.pop_front();
            recorder.reads(read);
        }
    }

    /// It asks in its next step.
    pub(crate) fn be_keen(&mut self) {
        self.keen = true;
    }

    /// It asks for no more.
    pub(crate) fn close(&mut self) {
        self.left = 0;
    }

    /// Whether it waits for none.
    pub(crate) fn rests(&self) -> bool {
        self.waiting.is_empty()
    }
}

/// A place in the deliveries of a chain of views: the view, and the first position in it that is not delivered.
type Reached = (u64, u64);

/// What reads have to see, in the order of one clock.
#[derive(Default)]
pub(crate) struct Reads {
    /// The most that anybody has delivered.
    furthest: Reached,
    reached: HashMap<NodeId, Reached>,
    /// What each read has to see.
    asked: HashMap<(NodeId, u64), Reached>,
}

impl Reads {
    /// What `event` breaks, where it stands.
    pub(crate) fn look(&mut self, event: &Event) -> Result<(), Broken> {
        match event {
            Event::Install { process, view, .. } => self.reach(*process, (*view, 0)),
            Event::Deliver { process, view, seq, .. } => {
                self.furthest = self.furthest.max((*view, seq + 1));
                self.reach(*process, (*view, seq + 1));
            }
            Event::AskRead { process, read } => {
                self.asked.insert((*process, *read), self.furthest);
            }
            Event::Read { process, read } => {
                let reached = self.reached.get(process).copied().unwrap_or_default();
                let Some(needed) = self.asked.remove(&(*process, *read)) else {
                    return Err((Property::Reads, format!("{process} reads what it has not asked for, read {read}")));
                };
                if reached < needed {
                    let what = format!(
                        "{process} reads at {reached:?}, view and position, though {needed:?} was delivered when it asked for read {read}"
                    );
                    return Err((Property::Reads, what));
                }
            }
            // Whoever is gone reads no more.
            Event::Crash { process } | Event::Stop { process, .. } => self.asked.retain(|(of, _), _| of != process),
            _ => {}
        }
        Ok(())
    }

    fn reach(&mut self, process: NodeId, reached: Reached) {
        let before = self.reached.entry(process).or_default();
        *before = reached.max(*before);
    }

    /// What was never answered, of a run that had all the time it could want.
    pub(crate) fn conclude(&self, finished: impl Fn(NodeId) -> bool) -> Vec<Broken> {
        let mut unread: Vec<_> = self.asked.keys().filter(|(process, _)| finished(*process)).collect();
        unread.sort_unstable();
        let tell = |(process, read): &(NodeId, u64)| (Property::Reads, format!("{process} never gets to read, read {read}"));
        unread.into_iter().map(tell).collect()
    }
}
