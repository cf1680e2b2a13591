//! Linearizable reads: from where on this member's state holds whatever anybody had delivered when it was asked.
//!
//! ```text
//!   reader      asked ---------> all that vote    one Word, for all reads that came since the last one
//!   voter       level, heard --> reader           two Words, unless the voter has stopped in this view
//!   reader      more than half have heard: the point is known; once all below it is delivered here, it is reached
//! ```
//!
//! One exchange, whoever sends how much, and no message: a read moves nothing in the order. Where the members never
//! change it is the same, so that members that wait for cores answer in the same way.
//!
//! # Why it holds
//!
//! A read is asked for at some moment. Nothing that was delivered anywhere before that lies at or above its point.
//!
//! - *In this view.* By turns and in Lamport's order nobody delivers what a voter has not said to have, and in a chain
//!   nobody delivers what has not gone through all of it. So what this voter had said when it was asked is enough;
//!   where that is delivered already, which CRAQ calls clean, only the exchange is waited for. In a leader's log more
//!   than half had said to have it, and more than half have heard of the read since: one of them is in both, and has
//!   said more with its answer (`level`) than it had to anybody before. So the point is the most that any of those has
//!   said.
//! - *In a later view.* There was none yet. Its beginning takes more than half of this view that have stopped in it;
//!   one of these has heard of the read, and it answered before it stopped.
//! - *The view ends first.* What was asked is asked again in the next one, in which the same holds. All that was
//!   delivered in this one is delivered here by then.
//!
//! What it does not do: read. The state is the application's, which looks at it once the point is reached.
//!
//! Sources: reads at the tail are van Renesse and Schneider, Chain Replication (OSDI 2004), at any clean member Terrace
//! and Freedman, CRAQ (USENIX ATC 2009); asking more than half is ReadIndex in Ongaro's thesis (2014), section 6.4.

use std::collections::VecDeque;

use squall_sst::{Column, Columns as Words, Counter, LayoutBuilder, Malformed, Table};
use squall_transport::{Outbox, Place, Rank, TABLE, Write};

/// A read that was asked for by [`Group::read_point`](crate::Group::read_point).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadPoint(u64);

/// Why no read can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadRefused {
    /// The group was made without.
    #[error("this group answers no reads; configure `reads` at every member")]
    NotConfigured,
    /// This member has no vote: others deliver without asking what it has.
    #[error("this member has no vote yet, so it cannot tell what others have delivered; read once it has the state and votes")]
    NoVote,
    /// This process is in no view.
    #[error("this process is in no view yet")]
    NoView,
}

/// Breaks one rule of reads, for tests of the checker.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReadMutation {
    /// All rules hold.
    #[default]
    None,
    /// A point is known before anybody has heard of the read.
    Unheard,
    /// Where a majority is enough, what this member has is taken for the most.
    OwnPoint,
    /// What is delivered here is taken for what this member has said to have.
    DeliveredPoint,
}

/// The columns of reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    /// `group.asked`: so many times the row's owner has asked. Read by all that vote. Never goes back.
    asked: Column,
    /// `group.level[member]`: first position that the row's owner had not said to have when it last heard that member
    /// ask. Written at that member's copy only, before `heard`, and read by it; where a majority is enough. Never goes
    /// back.
    level: Words,
    /// `group.heard[member]`: so many times the row's owner has heard that member ask, and had not stopped then.
    /// Written and read as that. Never goes back; never above what that member has asked.
    heard: Words,
}

impl Columns {
    const ASKED: &str = "group.asked";
    const LEVEL: &str = "group.level";
    const HEARD: &str = "group.heard";

    pub(crate) fn compose(layout: &mut LayoutBuilder) -> Columns {
        let members = layout.members();
        Columns {
            asked: layout.word(Columns::ASKED),
            level: layout.words(Columns::LEVEL, members),
            heard: layout.words(Columns::HEARD, members),
        }
    }
}

/// What goes over to the next view: how many were asked for, and reached.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Numbers {
    next: u64,
    reached: u64,
}

impl Numbers {
    pub(crate) fn ask(&mut self) -> ReadPoint {
        self.next += 1;
        ReadPoint(self.next - 1)
    }

    pub(crate) fn has_reached(&self, point: ReadPoint) -> bool {
        point.0 < self.reached
    }
}

/// Reads that are under way in one view.
#[derive(Debug)]
pub(crate) struct Reads {
    pub(crate) numbers: Numbers,
    columns: Columns,
    /// Who is asked, and in what that member says to have: the first members.
    voters: usize,
    said: Column,
    /// A message may be delivered that not all of them have.
    by_majority: bool,
    asked: Counter,
    /// What each of them had heard of me, and what I have told each to have heard of it.
    seen: Vec<u64>,
    told: Vec<u64>,
    /// The exchange that is under way.
    round: Option<Round>,
    /// Reads below this number whose point is this position, ascending.
    known: VecDeque<Round>,
    pub(crate) mutation: ReadMutation,
}

#[derive(Clone, Copy, Debug)]
struct Round {
    below: u64,
    seq: u64,
}

impl Reads {
    /// `said` is where members say what they have; `by_majority`: a message may be delivered that not all of them have.
    pub(crate) fn new(columns: Columns, voters: usize, (said, by_majority): (Column, bool), numbers: Numbers) -> Reads {
        Reads {
            numbers,
            voters,
            said,
            by_majority,
            asked: Counter::read_by(columns.asked, (0..voters).map(Rank::new)),
            seen: vec![0; voters],
            told: vec![0; voters],
            round: None,
            known: VecDeque::new(),
            mutation: ReadMutation::None,
            columns,
        }
    }

    /// Asks, answers, and looks whether points are known and reached; `delivered_seq` is the first position that is not
    /// delivered here. Whether there is news for the application.
    ///
    /// # Errors
    /// A member's words go back, or say what was never asked.
    pub(crate) fn tend(&mut self, table: &Table, outbox: &mut Outbox, delivered_seq: u64) -> Result<bool, Malformed> {
        self.answer(table, outbox)?;
        self.ask(table, delivered_seq);
        self.asked.push(table, outbox);
        self.hear(table)?;
        let before = self.numbers.reached;
        while let Some(known) = self.known.front().filter(|known| known.seq <= delivered_seq) {
            self.numbers.reached = known.below;
            self.known.pop_front();
        }
        Ok(self.numbers.reached > before)
    }

    fn answer(&mut self, table: &Table, outbox: &mut Outbox) -> Result<(), Malformed> {
        for (member, told) in self.told.iter_mut().enumerate() {
            let (member, me) = (Rank::new(member), table.me());
            let value = table.get(self.columns.asked, member);
            if member == me || value == *told {
                continue;
            }
            if value < *told {
                return Err(Malformed { member, column: Columns::ASKED, value });
            }
            // Both, or at a later turn.
            if outbox.room(member) < 2 {
                continue;
            }
            let mut tell = |words: Words, value| {
                let column = words.get(member.index());
                table.set(column, value);
                outbox.push(member, Write::Word { at: Place::new(TABLE, column.at(me)), value })
            };
            if self.by_majority {
                tell(self.columns.level, table.get(self.said, me)).expect("there is room");
            }
            tell(self.columns.heard, value).expect("there is room");
            *told = value;
        }
        Ok(())
    }

    /// One exchange for all that came since the last one.
    fn ask(&mut self, table: &Table, delivered_seq: u64) {
        let covered = self.known.back().map_or(self.numbers.reached, |known| known.below);
        if self.round.is_none() && covered < self.numbers.next {
            self.asked.raise(table, self.asked.value() + 1);
            let own = table.get(self.said, table.me());
            let seq = if self.mutation == ReadMutation::DeliveredPoint { delivered_seq } else { own };
            self.round = Some(Round { below: self.numbers.next, seq });
        }
    }

    fn hear(&mut self, table: &Table) -> Result<(), Malformed> {
        let Some(mut round) = self.round else { return Ok(()) };
        let (me, asked) = (table.me(), self.asked.value());
        let (heard, level) = (self.columns.heard.get(me.index()), self.columns.level.get(me.index()));
        // I have heard it.
        let mut count = 1;
        for (member, seen) in self.seen.iter_mut().enumerate() {
            let member = Rank::new(member);
            if member == me {
                continue;
            }
            let value = table.get(heard, member);
            if value < *seen || value > asked {
                return Err(Malformed { member, column: Columns::HEARD, value });
            }
            *seen = value;
            if value == asked {
                count += 1;
                if self.by_majority && self.mutation != ReadMutation::OwnPoint {
                    round.seq = round.seq.max(table.get(level, member));
                }
            }
        }
        if 2 * count > self.voters || self.mutation == ReadMutation::Unheard {
            self.known.push_back(round);
            self.round = None;
        }
        Ok(())
    }
}
