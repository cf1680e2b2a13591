//! The application's state, and what is delivered since, on its way here.

use std::collections::VecDeque;

use squall_transport::NodeId;
use squall_transport::mesh::Net;

use super::feed::{Reader, Record};
use super::giving::{PIECE_BYTES, WINDOW_BYTES};
use super::message::{Control, Course, Outline};
use crate::outgoing::Outgoing;
use crate::upcalls::{Delivery, StatePiece, Upcalls};

/// Room for the words between pieces.
const SLACK_BYTES: usize = 64 << 10;

/// What this process is being given.
#[derive(Debug)]
pub(crate) struct Taking {
    pub(crate) giver: NodeId,
    course: Course,
    heard_round: u32,
    /// Came, and is yet to be taken in.
    queue: VecDeque<(Control, Vec<u8>)>,
    queued_bytes: usize,
    /// How far it is: the view, what of it was delivered, by rank. None: the snapshot is not whole.
    outline: Option<Outline>,
    taken: Vec<u64>,
    whole: bool,
    /// The application has heard of that view.
    pub(crate) told: bool,
    state_bytes: u64,
    feed_bytes: u64,
    reader: Reader,
    /// Takes whatever comes, on purpose.
    pub(crate) any_pieces: bool,
    /// When the giver last said anything.
    pub(crate) heard_ns: u64,
}

/// What taking something in came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Took {
    /// There was nothing, or nothing that may be taken in yet.
    Nothing,
    Something,
}

impl Taking {
    pub(crate) fn new(giver: NodeId, transfer: u64, now_ns: u64) -> Taking {
        Taking {
            giver,
            course: Course { transfer, round: 0 },
            heard_round: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            outline: None,
            taken: Vec::new(),
            whole: false,
            told: false,
            state_bytes: 0,
            feed_bytes: 0,
            reader: Reader::default(),
            any_pieces: false,
            heard_ns: now_ns,
        }
    }

    pub(crate) fn transfer(&self) -> u64 {
        self.course.transfer
    }

    /// The view that it has come to, once the snapshot is whole.
    pub(crate) fn outline(&self) -> Option<&Outline> {
        self.outline.as_ref().filter(|_| self.whole)
    }

    /// By rank: what of that view was delivered.
    pub(crate) fn taken(&self) -> &[u64] {
        &self.taken
    }

    /// Whether there is something to take in.
    pub(crate) fn has_more(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Puts what the giver says of this transfer aside; other words are of givers or transfers that are over.
    ///
    /// # Errors
    /// It says more than it may.
    pub(crate) fn hear(&mut self, from: NodeId, said: &Control, behind: &[u8], now_ns: u64) -> Result<(), String> {
        let course = match said {
            Control::Begin { course, .. } | Control::State { course, .. } | Control::End { course, .. } | Control::Feed { course, .. } => {
                course
            }
            _ => return Ok(()),
        };
        if !self.any_pieces && (from != self.giver || course.transfer != self.course.transfer) {
            return Ok(());
        }
        self.heard_ns = now_ns;
        if course.round > self.heard_round {
            // What came before is of no more use, and was not counted by whoever begins again.
            self.heard_round = course.round;
            self.queue.clear();
            self.queued_bytes = 0;
        }
        self.queued_bytes += behind.len();
        if self.queued_bytes > WINDOW_BYTES as usize + SLACK_BYTES || behind.len() > PIECE_BYTES {
            return Err(format!("member {from} sends state faster than it was asked to"));
        }
        self.queue.push_back((said.clone(), behind.to_vec()));
        Ok(())
    }

    /// Takes one piece in, unless what comes next is of a view that this process enters by itself: see `enters`.
    ///
    /// # Errors
    /// It does not follow what came before.
    pub(crate) fn turn(
        &mut self,
        net: &impl Net,
        payload_bytes_max: u64,
        enters: impl Fn(&Outline) -> bool,
        outside: &mut Outgoing,
        upcalls: &mut impl Upcalls,
    ) -> Result<Took, String> {
        match self.read_on(payload_bytes_max, &enters, outside, upcalls)? {
            Took::Nothing => {}
            took => return Ok(took),
        }
        if self.reader.look(payload_bytes_max)?.is_some() {
            // The next record waits until this process is in its view.
            return Ok(Took::Nothing);
        }
        let Some((said, behind)) = self.queue.pop_front() else { return Ok(Took::Nothing) };
        self.queued_bytes -= behind.len();
        let took = self.take(&said, &behind, upcalls)?;
        let course = self.course;
        // A giver that is gone has nothing to give any more.
        let _ = Control::Took { course, bytes: self.state_bytes + self.feed_bytes }.say(net, self.giver);
        Ok(took)
    }

    fn take(&mut self, said: &Control, behind: &[u8], upcalls: &mut impl Upcalls) -> Result<Took, String> {
        let from = self.giver;
        match said {
            Control::Begin { course, outline, taken } if course.round > self.course.round => {
                if outline.as_outsider().is_none() || taken.len() != outline.senders.len() {
                    return Err(format!("the state of member {from} is of an invalid view"));
                }
                let (queue, queued_bytes, heard_round) = (std::mem::take(&mut self.queue), self.queued_bytes, self.heard_round);
                *self = Taking { queue, queued_bytes, heard_round, any_pieces: self.any_pieces, ..Taking::new(from, 0, self.heard_ns) };
                self.course = *course;
                self.taken = vec![0; outline.nodes.len()];
                outline.senders.iter().zip(taken).for_each(|(sender, taken)| self.taken[sender.index()] = *taken);
                self.outline = Some(outline.clone());
                upcalls.restore(StatePiece::Begin);
            }
            Control::State { course, offset } if self.is_mine(course) && !self.whole && self.outline.is_some() => {
                if *offset != self.state_bytes {
                    return Err(format!(
                        "member {from} gave bytes {offset} and up of its state where {} and up were due",
                        self.state_bytes
                    ));
                }
                self.state_bytes += behind.len() as u64;
                upcalls.restore(StatePiece::Bytes(behind));
            }
            Control::End { course, bytes } if self.is_mine(course) && !self.whole && self.outline.is_some() => {
                if *bytes != self.state_bytes {
                    return Err(format!("member {from} gave {} of {bytes} bytes of its state", self.state_bytes));
                }
                self.whole = true;
                upcalls.restore(StatePiece::End);
            }
            Control::Feed { course, offset } if self.is_mine(course) && self.whole => {
                if *offset != self.feed_bytes {
                    return Err(format!("member {from} told deliveries from byte {offset} on where {} was due", self.feed_bytes));
                }
                self.feed_bytes += behind.len() as u64;
                self.reader.put(behind);
            }
            // Of a beginning that is over.
            _ => {}
        }
        Ok(Took::Something)
    }

    fn is_mine(&self, course: &Course) -> bool {
        self.any_pieces || *course == self.course
    }

    /// Delivers what the feed tells, up to the next view.
    fn read_on(
        &mut self,
        payload_bytes_max: u64,
        enters: &impl Fn(&Outline) -> bool,
        outside: &mut Outgoing,
        upcalls: &mut impl Upcalls,
    ) -> Result<Took, String> {
        let mut took = Took::Nothing;
        while let Some((record, len)) = self.reader.look(payload_bytes_max)? {
            match record {
                Record::Delivery { seq, sender, index, payload } => {
                    let taken = self.taken.get_mut(sender.index()).ok_or("a delivery of a sender that is no member")?;
                    *taken = index + 1;
                    upcalls.deliver(Delivery { seq, sender, index, payload }, outside);
                    took = Took::Something;
                }
                Record::View(outline) => {
                    let next = outline.as_outsider().ok_or("an invalid view follows")?;
                    if enters(&outline) {
                        return Ok(took);
                    }
                    upcalls.view_ended(Some(&next));
                    (self.taken, self.outline, self.told) = (vec![0; next.members], Some(outline), false);
                    self.reader.pass(len);
                    return Ok(Took::Something);
                }
            }
            self.reader.pass(len);
        }
        Ok(took)
    }
}
