//! Multi-decree Paxos with a stable leader: a message has a slot in the leader's log, and is delivered once a majority
//! has accepted that.
//!
//! ```text
//!   sender      message ----------> all
//!   leader      next 8 of sender 2 -> all         a decision in its own stream, one a turn for all senders
//!   everybody   received_seq -----> all           so much of the log I have accepted, one Word a batch and peer
//! ```
//!
//! The leader is the first sender, which is the lowest rank that votes and has a stream to say decisions in. Its stream
//! *is* the log: its own messages have their slots where they stand, and a decision gives slots to the next messages of
//! others. So a leader that sends pays no exchange for the order, and where it alone sends nobody decides anything.
//!
//! A member *accepts* a slot once it has accepted all before it and has the slot's message: `received_seq` is the first
//! slot that it has not accepted. Slots below the `received_seq` of more than half of the voters are chosen; a member
//! delivers what is chosen and what it has accepted itself. A slow member delays nobody as long as windows last: ring
//! space is given back once all have delivered. In a stream they do not last: it goes as fast as the slowest member
//! delivers, as in any other order.
//!
//! That holds for large messages too. A window of these is `transfers_max` messages of a sender, which takes the slot
//! of one for another only once all voters have delivered it; and what relays pass on reaches those behind a slow relay
//! no sooner than that one has it.
//!
//! # What it costs
//!
//! Of n members, for a batch of k messages of b bytes:
//!
//! | step | writes | bytes on the sender's link, which is the busiest |
//! | --- | --- | --- |
//! | message | 2 (n - 1) | out: (n - 1) (k record(b) + 8) |
//! | slots, unless the leader sends | 2 (n - 1) | in: 16 + 8 for one sender, 8 more for each that shares the decision |
//! | received_seq | n (n - 1) | out and in: 8 (n - 1) |
//! | delivered_seq | n - 1 | in: 8 (n - 1) |
//!
//! Together (n - 1) (n + 3) writes a batch of the leader's, as by turns, and (n - 1) (n + 5) of another sender;
//! record(b) is [`record_bytes`](../../squall_smc/fn.record_bytes.html). A message of the leader is delivered after 2
//! hops, one of another sender after 3; with a hop of h and turns of t after 2 (h + t) and 3 (h + t). Of the others'
//! answers it waits for the fastest half only, where turns and [`Lamport`](crate::Lamport) wait for the slowest.
//!
//! Expected of that, beside turns: the same writes where one member sends, so the same rate, less what it takes to sort
//! n words a batch; with all sending fewer writes than nulls take. With one of three members slowed, the p50 of the
//! others stays what it was until the windows are full.
//!
//! # Why all deliver the same
//!
//! The order is a function of the leader's stream, of which all have the same bytes: nobody else decides in a view, so
//! there is one ballot a view. Each member walks it as far as it has everything, which is a beginning of it.
//!
//! Ballots change with views, and the change of views is what hands them over (vertical Paxos). A promise is the wedge:
//! who has wedged accepts no more slots of this view's leader, and says what it has. That says no less than it ever
//! accepted. What was delivered anywhere more than half of the voters had accepted, so one of the voters that go on
//! had, and says so.
//!
//! # At the end of a view
//!
//! So the view is cut at the *most* that any voter who goes on has, a sender at a time. Whoever lacks some of it is
//! given it from a survivor's copy of the ring, or of the large message, before it accepts the cut: `fill`, a step of
//! `group` with rules in `membership` and buffers kept by `rdmc`. All then have the same records below the cut, and the
//! rest of the order is a function of these alone: the log; then what has no slot, by index and sender.
//!
//! A large message costs more to give than to send again. So a stream is cut before the first one that nobody can have
//! delivered: too few of those that go on had it when they wedged to be, with all that are lost, more than half.
//! Worked example, five voters of whom one is lost: what two of the four have may have been accepted by three, and is
//! kept and given to the other two; what its sender alone has was not.
//!
//! A slot may name a message that is lost: its sender is, and nobody who goes on had it. No majority accepted that
//! slot, so nothing at it or behind it was delivered: it is passed over.
//!
//! # Room for decisions
//!
//! Nothing in the leader's own ring waits for a decision that is not in it: what it holds is in the log, and so is what
//! it names, which the leader has. So the ring drains by itself, and messages leave room for decisions only so that
//! they do not keep others' messages waiting.
//!
//! Sources: Lamport, The Part-Time Parliament (TOCS 1998) and Paxos Made Simple; Lamport, Malkhi and Zhou, Vertical
//! Paxos (PODC 2009). Different here: acceptors tell all, so that nobody waits for a learner's message, and what a slot
//! holds is a message that travels on its own.

mod log;

use std::collections::VecDeque;

use squall_sst::{Counter, Frontier, Malformed, Table};
use squall_transport::{Outbox, Rank};

use crate::columns::Columns;
use crate::cost::Cost;
use crate::mutation::Mutation;
use crate::orderer::{Orderer, Run};
use crate::places::Places;
use log::{LEADER, Log};

/// One total order by the log of a leader, delivered at a majority.
#[derive(Debug)]
pub struct Paxos {
    columns: Columns,
    /// Who accepts: the first members.
    voters: usize,
    /// My place among the senders.
    mine: Option<usize>,
    log: Log,
    /// Of each sender, what is here.
    frontiers: Vec<u64>,
    /// Of each sender, what I gave slots to, as the leader.
    said: Vec<u64>,
    /// Large messages that are not delivered, by sender.
    large: Vec<VecDeque<u64>>,
    /// Places of large messages, with their senders: of others' that some voter is not known to have, of mine that some
    /// voter is not known to have delivered.
    large_places: VecDeque<(u64, usize)>,
    my_large_places: VecDeque<u64>,
    /// Of each sender, how many large messages are in neither.
    large_spread: Vec<u64>,
    /// What I have accepted and not delivered; where mine stands in it.
    places: Places,
    received_seq: Counter,
    told_seq: u64,
    delivered_seq: Counter,
    received_by: Frontier,
    delivered_by: Frontier,
    stable: u64,
    mutation: Mutation,
}

impl Paxos {
    /// The order of `senders` in a group of `members`, of whom the first `voters` vote; I am `me`. The first sender
    /// leads.
    ///
    /// # Panics
    /// If nobody sends or votes.
    pub fn new(columns: Columns, members: usize, voters: usize, senders: &[Rank], me: Rank) -> Paxos {
        assert!(!senders.is_empty() && voters > 0, "an order has at least one sender, and one who votes");
        Paxos {
            columns,
            voters,
            mine: senders.iter().position(|&sender| sender == me),
            log: Log::new(senders.len()),
            frontiers: vec![0; senders.len()],
            said: vec![0; senders.len()],
            large: vec![VecDeque::new(); senders.len()],
            large_places: VecDeque::new(),
            my_large_places: VecDeque::new(),
            large_spread: vec![0; senders.len()],
            places: Places::default(),
            received_seq: Counter::new(columns.received_seq, members),
            told_seq: 0,
            delivered_seq: Counter::read_by(columns.delivered_seq, senders.iter().copied()),
            received_by: Frontier::new(columns.received_seq, Columns::RECEIVED_SEQ, members),
            delivered_by: Frontier::new(columns.delivered_seq, Columns::DELIVERED_SEQ, members),
            stable: 0,
            mutation: Mutation::None,
        }
    }

    /// What a message of the leader costs. It writes payload and head to each of the n - 1 others; each of the n
    /// members then tells all others `received_seq`, and the others tell the sender `delivered_seq`: (n - 1)(n + 3)
    /// writes. Whoever delivers has waited for two of them, one after the other. Of another sender it is a decision and
    /// a head to each more, and one hop.
    pub fn cost(members: usize, senders: usize) -> Cost {
        let n = members as u64;
        Cost { writes: (n - 1) * (n + 3), hops: 2, hops_to_last: 2, copies: Cost::copies_of_direct(members, senders) }
    }

    /// Breaks a rule on purpose, for tests of the checker.
    #[doc(hidden)]
    pub fn set_mutation(&mut self, mutation: Mutation) {
        self.mutation = mutation;
    }

    /// First slot that I have not delivered.
    pub fn delivered_seq(&self) -> u64 {
        self.places.delivered()
    }

    /// The message at `index` of `sender`, which was announced, is a large one.
    pub fn large(&mut self, sender: usize, index: u64) {
        if self.large[sender].back().is_none_or(|&newest| newest < index) {
            self.large[sender].push_back(index);
        }
    }

    /// The first large message of `sender` at `index` or behind it that was announced and is not delivered.
    pub fn next_large(&self, sender: usize, index: u64) -> Option<u64> {
        self.large[sender].iter().copied().find(|&large| large >= index)
    }

    /// How many large messages of `sender`, its first ones, all voters have; if it is me, how many they have delivered.
    pub fn large_spread(&self, sender: usize) -> u64 {
        match self.mutation {
            Mutation::LargeForgotten if self.mine != Some(sender) => u64::MAX,
            Mutation::LargeWindowIgnored if self.mine == Some(sender) => u64::MAX,
            _ => self.large_spread[sender],
        }
    }

    /// Accepts what is here.
    fn accept(&mut self) {
        while let Some((sender, first, count)) = self.log.next(&self.frontiers) {
            let slot = self.places.ordered();
            let large = self.large[sender].iter().filter(|&&index| (first..first + count).contains(&index));
            let places = large.map(|index| slot + (index - first));
            if self.mine == Some(sender) {
                self.my_large_places.extend(places);
            } else {
                self.large_places.extend(places.map(|place| (place, sender)));
            }
            self.places.push(sender, first, count, self.mine == Some(sender));
        }
    }

    /// Everything of `sender` below `index` is delivered.
    fn forget_large(&mut self, sender: usize, index: u64) {
        while self.large[sender].front().is_some_and(|&large| large < index) {
            self.large[sender].pop_front();
        }
    }
}

/// None of it is inlined: a group by turns, whose loop has these beside its own, would pay for their size.
impl Orderer for Paxos {
    fn received(&mut self, sender: usize, frontier: u64, _data_until: u64) {
        self.frontiers[sender] = frontier;
    }

    fn decided(&mut self, sender: usize, index: u64, decision: &[u8]) -> bool {
        sender == LEADER && self.log.announce(index, decision)
    }

    fn decide(&mut self, _: &Table, _: u64, _: u64, decision: &mut Vec<u8>) -> Result<bool, Malformed> {
        Ok(self.mine == Some(LEADER) && Log::decide(&self.frontiers, &mut self.said, decision))
    }

    fn owed(&self) -> u64 {
        0
    }

    fn acknowledge(&mut self, table: &Table, outbox: &mut Outbox, due: bool) {
        self.accept();
        let gap = u64::from(self.mutation == Mutation::AcceptsGaps);
        self.received_seq.raise(table, (self.places.ordered() + gap).max(self.received_seq.value()));
        if due || self.received_seq.value() - self.told_seq <= self.frontiers.len() as u64 {
            self.told_seq = self.received_seq.value();
            self.received_seq.push(table, outbox);
        }
    }

    fn tell(&mut self, table: &Table, outbox: &mut Outbox) {
        self.received_seq.push(table, outbox);
    }

    fn refresh(&mut self, table: &Table) -> Result<(), Malformed> {
        let (own, majority) = (self.places.ordered(), self.voters / 2 + 1);
        let (chosen, everywhere) = self.received_by.reached_by(table, self.voters, majority, own)?;
        while let Some(&(_, sender)) = self.large_places.front().filter(|(place, _)| *place < everywhere) {
            self.large_places.pop_front();
            self.large_spread[sender] += 1;
        }
        self.stable = if self.mutation == Mutation::BelowMajority { own } else { own.min(chosen) };
        Ok(())
    }

    fn next(&mut self, max: u64) -> Option<Run> {
        let run = self.places.next(max, self.stable)?;
        self.log.deliver(run.sender, run.count);
        self.forget_large(run.sender, run.index + run.count);
        Some(run)
    }

    fn next_to(&mut self, trim: &[u64]) -> Option<Run> {
        // What I had accepted may rest on decisions that are cut off.
        self.log.take_back(self.places.take_known().map(|run| (run.sender, run.index)));
        let (sender, index, count) = self.log.next_to(trim)?;
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
        let Some(mine) = self.mine else { return Ok(0) };
        if !self.my_large_places.is_empty() {
            let by_voters = self.delivered_by.least_of(table, self.voters, self.delivered_seq.value(), u64::MAX)?;
            while self.my_large_places.front().is_some_and(|&place| place < by_voters) {
                self.my_large_places.pop_front();
                self.large_spread[mine] += 1;
            }
        }
        // Others may have delivered what I have not accepted.
        let delivered = self.delivered_by.least(table, self.delivered_seq.value(), u64::MAX)?;
        Ok(self.places.forget_own(delivered))
    }
}
