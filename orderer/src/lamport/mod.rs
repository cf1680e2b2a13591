//! Lamport's multicast: a message's place is a time that all members have a say in.
//!
//! ```text
//!   sender      message ----------> all          each stamps it with its clock, one tick on
//!   receiver    stamp ------------> sender       two Words a batch, to the sender alone
//!   sender      the latest stamp -> all          the final time: a decision in its own stream, one a batch
//!   everybody   received_seq -----> all          so much of the order I know, decisions included
//! ```
//!
//! The order is by final time, then by sender's rank, then by index. A message is delivered once its place is known to
//! all that vote: four hops, two exchanges. There are no nulls: who has nothing to say says nothing, since its stamps
//! speak for it.
//!
//! # What it costs
//!
//! Of n members, for a batch of k messages of b bytes of one sender, over one Span and one Word a peer each time:
//!
//! | step | writes | bytes on the sender's link, which is the busiest |
//! | --- | --- | --- |
//! | message | 2 (n - 1) | out: (n - 1) (k record(b) + 8) |
//! | stamps | 2 (n - 1) | in: 16 (n - 1) |
//! | final time | 2 (n - 1) | out: (n - 1) (24 + 8) |
//! | received_seq | n (n - 1) | out and in: 8 (n - 1) |
//! | delivered_seq | n - 1 | in: 8 (n - 1) |
//!
//! Together (n + 7) (n - 1) writes a batch, and (n - 1) (k record(b) + 48) bytes out of the sender; record(b) is
//! [`record_bytes`](../../squall_smc/fn.record_bytes.html). A message is delivered after 4 hops; with a hop of h and
//! turns of t, after 4 (h + t).
//!
//! # Why all deliver the same
//!
//! *A final time is never below a stamp*: the sender takes the latest of all voters' stamps that cover the batch. *A
//! clock is never below a final time that is known here*, and the next stamp is above the clock. So at a voter that
//! orders m, of time F, behind everything that it has ordered so far:
//!
//! - a message with a known time that sorts before m was ordered before it, by the choice of the least;
//! - a message that is here and open has a stamp S of this member, which sorts behind (F, sender), or m is not ordered
//!   yet; its final time is S or later;
//! - a message that is not here will get a stamp of this member above F.
//!
//! Nothing will ever sort before m. So what voters order is one sequence, of which each knows a beginning, and
//! `received_seq` says how long that is, decisions counted. A decision sorts with the index before it: nobody asks for
//! its time.
//!
//! A learner stamps nothing, so it cannot tell by its own stamps. It takes the voters' word: of what all voters have
//! ordered, which is the least of their `received_seq`, it lacks nothing of a sender once it has what that sender's own
//! part of it needs (`reach`, told before `received_seq`). The message with the least time that it knows comes next
//! there, once it lacks nothing of each other sender, or knows a later time of it: a sender's times never go back. To
//! wait until it lacks nothing of anybody could be for ever: a large message may have no buffer here before an earlier
//! one of its sender is delivered. Then its sender has delivered that one, so its time came before, and is known here.
//!
//! # At the end of a view
//!
//! A delivery waits until all voters know the order so far, with the decisions that it rests on: all of these are below
//! any trim. So whoever goes on finds them among the records below the trim, and finds nothing there that sorts before:
//! a decision is made once and says the same to all. What has no decision below the trim nobody has delivered; it comes
//! behind, by index and then sender, which depends on nothing but the trim itself.
//!
//! # Room for decisions
//!
//! A ring may be full of messages that only decisions let go. Messages leave room for some; the last one is used only
//! for a decision on all that is in the ring, which comes as soon as the others have stamped it, since stamping takes
//! no room. After it nothing of this sender is open, and nothing more is taken in before there is room again. So
//! whatever any other sender waits for, it is not this one.
//!
//! Sources: Birman and Joseph (TOCS 1987), ABCAST, which is Skeen's; Lamport (CACM 1978) for the clocks. Different
//! here: a batch has one stamp, and a place is stable before anybody acts on it.

mod answers;
mod source;

use squall_sst::{Counter, Frontier, Malformed, Table};
use squall_transport::{Outbox, Place, Rank, TABLE, Write};

use crate::columns::Columns;
use crate::cost::Cost;
use crate::mutation::Mutation;
use crate::orderer::{Orderer, Run};
use crate::places::Places;
use answers::Answers;
use source::{Ruling, Source};

/// No clock comes this far; who says so has broken memory.
const TIME_MAX: u64 = 1 << 62;

/// One total order by final times, which senders take from the clocks of all.
#[derive(Debug)]
pub struct Lamport {
    columns: Columns,
    /// Whose stamps and knowledge count: the first members.
    voters: usize,
    /// Whether I am one of them.
    votes: bool,
    /// The senders, by their place; mine.
    ranks: Vec<Rank>,
    mine: Option<usize>,
    sources: Vec<Source>,
    clock: u64,
    /// What each sender was told that I have stamped.
    told: Vec<u64>,
    answers: Answers,
    /// What is in the order and not delivered; where mine stands in it.
    places: Places,
    received_seq: Counter,
    told_seq: u64,
    delivered_seq: Counter,
    /// What learners need of my stream to have what `received_seq` counts.
    reach: Counter,
    received_by: Frontier,
    delivered_by: Frontier,
    /// As a learner: what all voters had ordered when I last asked, and what that needs of each sender.
    asked: Option<(u64, Vec<u64>)>,
    stable: u64,
    mutation: Mutation,
}

impl Lamport {
    /// The order of `senders` in a group of `members`, of whom the first `voters` vote; I am `me`.
    ///
    /// # Panics
    /// If nobody sends or votes.
    pub fn new(columns: Columns, members: usize, voters: usize, senders: &[Rank], me: Rank) -> Lamport {
        assert!(!senders.is_empty() && voters > 0, "an order has at least one sender, and one who votes");
        Lamport {
            columns,
            voters,
            votes: me.index() < voters,
            ranks: senders.to_vec(),
            mine: senders.iter().position(|&sender| sender == me),
            sources: vec![Source::default(); senders.len()],
            clock: 0,
            told: vec![0; senders.len()],
            answers: Answers::new(members),
            places: Places::default(),
            received_seq: Counter::new(columns.received_seq, members),
            told_seq: 0,
            delivered_seq: Counter::read_by(columns.delivered_seq, senders.iter().copied()),
            reach: Counter::read_by(columns.reach, (voters..members).map(Rank::new)),
            received_by: Frontier::new(columns.received_seq, Columns::RECEIVED_SEQ, members),
            delivered_by: Frontier::new(columns.delivered_seq, Columns::DELIVERED_SEQ, members),
            asked: None,
            stable: 0,
            mutation: Mutation::None,
        }
    }

    /// What a message costs. Its sender writes payload and head to each of the n - 1 others, they two words of a stamp
    /// each to the sender, and it a decision and a head to each; each of the n members then tells all others
    /// `received_seq`, and the others tell the sender `delivered_seq`: (n - 1)(n + 7) writes. Whoever delivers has
    /// waited for four of them, one after the other.
    pub fn cost(members: usize, senders: usize) -> Cost {
        let n = members as u64;
        Cost { writes: (n - 1) * (n + 7), hops: 4, hops_to_last: 4, copies: Cost::copies_of_direct(members, senders) }
    }

    /// Breaks a rule on purpose, for tests of the checker.
    #[doc(hidden)]
    pub fn set_mutation(&mut self, mutation: Mutation) {
        self.mutation = mutation;
    }

    /// First position in the order that I have not delivered.
    pub fn delivered_seq(&self) -> u64 {
        self.places.delivered()
    }

    /// Puts a ruling into the order.
    fn order(&mut self, sender: usize, ruling: Ruling) {
        let (first, count) = self.sources[sender].order(ruling);
        self.places.push(sender, first, count, self.mine == Some(sender));
    }

    /// The ruling with the least time that I know and have not ordered.
    fn least_ruling(&self) -> Option<(usize, Ruling)> {
        let rulings = (0..).zip(&self.sources).filter_map(|(sender, source)| Some((sender, source.next_ruling()?)));
        rulings.min_by_key(|(sender, ruling)| (ruling.time, *sender))
    }

    /// What comes next, if nothing can come before it.
    fn next_in_order(&self) -> Option<(usize, Ruling)> {
        let (sender, ruling) = self.least_ruling()?;
        // What is open of the same sender comes behind in any case.
        let before = |other, time| other != sender && (time, other) < (ruling.time, sender);
        let open = |(other, source): (usize, &Source)| source.open().is_some_and(|time| before(other, time));
        let waits = self.mutation != Mutation::OpenIgnored && (0..).zip(&self.sources).any(open);
        (!waits).then_some((sender, ruling))
    }

    /// What a learner knows to come next of what all voters have ordered, which needs so much of each sender.
    fn next_to_learn(&self, reach: &[u64]) -> Option<(usize, Ruling)> {
        let tells = |(source, reach): (&Source, &u64)| source.next_ruling().is_some() || source.frontier >= *reach;
        self.least_ruling().filter(|_| self.sources.iter().zip(reach).all(tells))
    }

    /// Tells each sender what I have stamped of its stream since the last time, where that is `due` or little.
    fn answer(&mut self, table: &Table, outbox: &mut Outbox, due: bool) {
        for (sender, &to) in self.ranks.iter().enumerate() {
            let source = &self.sources[sender];
            if source.stamped == self.told[sender] || !(due || source.stamped - self.told[sender] == 1) {
                continue;
            }
            if to != table.me() {
                // The time before what it is about: whoever reads them the other way round finds no time too early.
                if outbox.room(to) < 2 {
                    continue;
                }
                let words = [(self.columns.stamp, source.last_stamp), (self.columns.stamped, source.stamped)];
                for (columns, value) in words {
                    let at = Place::new(TABLE, columns.get(sender).at(table.me()));
                    let _ = outbox.push(to, Write::Word { at, value });
                }
            }
            self.told[sender] = source.stamped;
        }
    }

    /// A learner orders what all voters have ordered, as far as it can tell.
    fn learn(&mut self, table: &Table, stable: u64) {
        let (end, reach) = self.asked.take().unwrap_or_else(|| {
            // Read behind `received_seq`, before which it was told.
            (stable, self.ranks.iter().map(|&rank| table.get(self.columns.reach, rank)).collect())
        });
        while self.places.ordered() < end
            && let Some((sender, ruling)) = self.next_to_learn(&reach)
        {
            self.order(sender, ruling);
        }
        self.received_seq.raise(table, self.places.ordered());
        self.asked = (self.places.ordered() < end).then_some((end, reach));
    }

    fn is_mutant(&self) -> bool {
        self.mutation != Mutation::None
    }
}

/// None of it is inlined: a group by turns, whose loop has these beside its own, would pay for their size.
impl Orderer for Lamport {
    fn received(&mut self, sender: usize, frontier: u64, _data_until: u64) {
        let source = &mut self.sources[sender];
        if frontier == source.frontier {
            return;
        }
        let (messages, latest) = source.advance(frontier);
        if self.mutation != Mutation::ClockForgotten {
            self.clock = self.clock.max(latest.unwrap_or(0));
        }
        if messages && self.votes {
            self.clock += 1;
            source.stamp(self.clock);
        }
    }

    fn decided(&mut self, sender: usize, index: u64, decision: &[u8]) -> bool {
        let Some((until, rest)) = decision.split_first_chunk::<8>() else { return false };
        let Ok(time) = <[u8; 8]>::try_from(rest) else { return false };
        let ruling = Ruling { until: u64::from_le_bytes(*until), time: u64::from_le_bytes(time), record: index };
        // Nobody decides on what I was not asked about, or before the time that I gave.
        let mine = self.mine == Some(sender);
        let asked = ruling.until <= self.told[sender];
        let stamped = || self.sources[sender].stamp_before(ruling.until).is_none_or(|stamp| stamp <= ruling.time);
        let fits = !self.votes || mine || self.is_mutant() || (asked && stamped());
        if mine {
            self.answers.put(index);
        }
        ruling.time < TIME_MAX && fits && self.sources[sender].announce(ruling)
    }

    fn decide(&mut self, table: &Table, room: u64, next_index: u64, decision: &mut Vec<u8>) -> Result<bool, Malformed> {
        let Some(mine) = self.mine else { return Ok(false) };
        let source = &self.sources[mine];
        if self.answers.next_open() >= source.stamped {
            return Ok(false);
        }
        let words = (self.columns.stamped.get(mine), self.columns.stamp.get(mine));
        let Some(until) = self.answers.until(table, words.0, self.voters, (source.stamped, source.frontier))? else { return Ok(false) };
        if room == 1 && !self.answers.would_leave_none(until, next_index) {
            return Ok(false);
        }
        let own = source.stamp_before(until).unwrap_or(source.last_stamp);
        let latest = self.answers.latest(table, words.1, self.voters, own, TIME_MAX)?;
        let time = if self.mutation == Mutation::WrongMaximum { own } else { latest };
        self.answers.say(until);
        decision.clear();
        decision.extend(until.to_le_bytes().into_iter().chain(time.to_le_bytes()));
        Ok(true)
    }

    fn owed(&self) -> u64 {
        0
    }

    fn acknowledge(&mut self, table: &Table, outbox: &mut Outbox, due: bool) {
        if self.votes {
            self.answer(table, outbox, due);
            while let Some((sender, ruling)) = self.next_in_order() {
                self.order(sender, ruling);
            }
            self.received_seq.raise(table, self.places.ordered());
        }
        if let Some(mine) = self.mine {
            self.reach.raise(table, self.sources[mine].frontier);
        }
        if due || self.received_seq.value() - self.told_seq <= self.sources.len() as u64 {
            self.told_seq = self.received_seq.value();
            self.tell(table, outbox);
        }
    }

    fn tell(&mut self, table: &Table, outbox: &mut Outbox) {
        self.reach.push(table, outbox);
        self.received_seq.push(table, outbox);
    }

    fn refresh(&mut self, table: &Table) -> Result<(), Malformed> {
        let own = if self.votes { self.received_seq.value() } else { u64::MAX };
        let known = self.received_by.least_of(table, self.voters, own, u64::MAX)?;
        if !self.votes {
            self.learn(table, known);
        }
        self.stable = match self.mutation {
            Mutation::KnownEarly => self.places.ordered(),
            _ => known.min(self.places.ordered()),
        };
        Ok(())
    }

    fn next(&mut self, max: u64) -> Option<Run> {
        let run = self.places.next(max, self.stable)?;
        self.sources[run.sender].deliver(run.index + run.count);
        Some(run)
    }

    fn next_to(&mut self, trim: &[u64]) -> Option<Run> {
        let by_time = |(sender, source): (usize, &Source)| {
            let ruling = source.ruling_below(trim[sender])?;
            Some(((ruling.time, sender), ruling.until - source.delivered))
        };
        let decided = (0..).zip(&self.sources).filter_map(by_time).min();
        let left = |(sender, source): (usize, &Source)| (source.delivered < trim[sender]).then_some((source.delivered, sender));
        let (sender, count) = match decided {
            Some(((_, sender), count)) => (sender, count),
            None if self.mutation == Mutation::TailBySender && self.sources[0].frontier.is_multiple_of(2) => {
                ((0..).zip(&self.sources).find_map(left)?.1, 1)
            }
            None => ((0..).zip(&self.sources).filter_map(left).min()?.1, 1),
        };
        let source = &mut self.sources[sender];
        let index = source.delivered;
        source.deliver(index + count);
        Some(Run { seq: self.places.pass(count), sender, index, count })
    }

    fn delivered(&mut self, table: &Table, outbox: &mut Outbox) {
        self.delivered_seq.raise(table, self.places.delivered());
        self.delivered_seq.push(table, outbox);
    }

    fn delivered_at(&self, table: &Table, member: Rank) -> u64 {
        self.places.own_below(table.get(self.columns.delivered_seq, member))
    }

    fn delivered_everywhere(&mut self, table: &Table) -> Result<u64, Malformed> {
        if self.mine.is_none() {
            return Ok(0);
        }
        // Nobody has delivered what I have not said to know.
        let delivered = self.delivered_by.least(table, self.delivered_seq.value(), self.received_seq.value())?;
        Ok(self.places.forget_own(delivered))
    }
}
