//! The round-robin total order with null filling.

use squall_sst::{Counter, Frontier, Malformed, Table};
use squall_transport::{Outbox, Rank};

use crate::columns::Columns;
use crate::cost::Cost;
use crate::orderer::{Orderer, Run};

/// One total order over the messages of `senders` senders, by turns.
#[derive(Debug)]
pub struct RoundRobin {
    columns: Columns,
    /// Whose acknowledgements a delivery waits for: the first members.
    voters: usize,
    senders: u64,
    /// My place among the senders.
    mine: Option<u64>,
    /// Received frontier a sender.
    received: Vec<u64>,
    owed: u64,
    received_seq: Counter,
    /// Up to here the others were told.
    told: u64,
    delivered_seq: Counter,
    /// The same of the others.
    received_by: Frontier,
    delivered_by: Frontier,
    /// The next turn: Seq, and the same as (index, sender).
    next_seq: u64,
    next_index: u64,
    next_sender: u64,
    stable: u64,
}

impl RoundRobin {
    /// The order of `senders` senders in a group of `members`; `mine` is my place among the senders.
    ///
    /// # Panics
    /// If there is no sender, or `mine` is not below `senders`.
    pub fn new(columns: Columns, members: usize, senders: usize, mine: Option<usize>) -> RoundRobin {
        assert!(senders > 0 && mine.is_none_or(|mine| mine < senders), "an order has at least one sender");
        RoundRobin {
            columns,
            voters: members,
            senders: senders as u64,
            mine: mine.map(|mine| mine as u64),
            received: vec![0; senders],
            owed: 0,
            received_seq: Counter::new(columns.received_seq, members),
            told: 0,
            delivered_seq: Counter::new(columns.delivered_seq, members),
            received_by: Frontier::new(columns.received_seq, Columns::RECEIVED_SEQ, members),
            delivered_by: Frontier::new(columns.delivered_seq, Columns::DELIVERED_SEQ, members),
            next_seq: 0,
            next_index: 0,
            next_sender: 0,
            stable: 0,
        }
    }

    /// What a message costs. Its sender writes payload and head to each of the n - 1 others; each of the n members then
    /// tells all others `received_seq`, and the others tell the sender `delivered_seq`: (n - 1)(n + 3) writes. Whoever
    /// delivers has waited for two of them, one after the other.
    pub fn cost(members: usize, senders: usize) -> Cost {
        let n = members as u64;
        Cost { writes: (n - 1) * (n + 3), hops: 2, hops_to_last: 2, copies: Cost::copies_of_direct(members, senders) }
    }

    /// Deliveries wait for the first `voters` members only. Ring bytes are still kept until all have delivered them.
    ///
    /// # Panics
    /// If there is none.
    pub fn acknowledged_by(self, voters: usize) -> RoundRobin {
        assert!(voters > 0, "nobody would ever have received anything");
        RoundRobin { voters, ..self }
    }

    /// Only `senders` are told what was delivered: nobody else reclaims a ring.
    pub fn reclaimed_by(self, senders: &[Rank]) -> RoundRobin {
        RoundRobin { delivered_seq: Counter::read_by(self.columns.delivered_seq, senders.iter().copied()), ..self }
    }

    /// First Seq that I have not received.
    pub fn received_seq(&self) -> u64 {
        self.received_seq.value()
    }

    /// First Seq that I have not delivered.
    pub fn delivered_seq(&self) -> u64 {
        self.next_seq
    }

    /// Of the Seqs below d, mine are those with index * senders + mine < d. With 3 senders, d = 8, mine = 1: Seqs 1, 4,
    /// 7, so 3.
    #[inline]
    fn own_below(&self, seq: u64) -> u64 {
        self.mine.map_or(0, |mine| (seq + self.senders - 1 - mine) / self.senders)
    }

    /// The first missing Seq: sender s lacks index received[s], whose Seq is received[s] * senders + s.
    #[inline]
    fn frontier(&self) -> u64 {
        (0u64..).zip(&self.received).map(|(sender, index)| self.seq(sender, *index)).min().unwrap_or(0)
    }

    #[inline]
    fn seq(&self, sender: u64, index: u64) -> u64 {
        index * self.senders + sender
    }
}

impl Orderer for RoundRobin {
    #[inline]
    fn received(&mut self, sender: usize, frontier: u64, data_until: u64) {
        debug_assert!(frontier >= self.received[sender]);
        self.received[sender] = frontier;
        // Message i = data_until - 1 of sender s waits for index i of senders before s and index i - 1 of those after
        // it.
        if let Some(mine) = self.mine
            && mine != sender as u64
        {
            let needed = if mine < sender as u64 { data_until } else { data_until.saturating_sub(1) };
            self.owed = self.owed.max(needed);
        }
    }

    #[inline]
    fn owed(&self) -> u64 {
        self.owed
    }

    #[inline]
    fn acknowledge(&mut self, table: &Table, outbox: &mut Outbox, due: bool) {
        self.received_seq.raise(table, self.frontier());
        if due || self.received_seq.value() - self.told <= self.senders {
            self.told = self.received_seq.value();
            self.received_seq.push(table, outbox);
        }
    }

    fn tell(&mut self, table: &Table, outbox: &mut Outbox) {
        self.received_seq.push(table, outbox);
    }

    #[inline]
    fn refresh(&mut self, table: &Table) -> Result<(), Malformed> {
        // Nobody has received what I have not sent.
        let most = self.mine.map_or(u64::MAX, |mine| self.seq(mine, self.received[mine as usize]));
        // My own frontier counts even if I do not vote: I deliver nothing that I lack.
        self.stable = self.received_by.least_of(table, self.voters, self.received_seq.value(), most)?;
        Ok(())
    }

    #[inline]
    fn next(&mut self, max: u64) -> Option<Run> {
        if self.next_seq == self.stable || max == 0 {
            return None;
        }
        let run = Run { seq: self.next_seq, sender: self.next_sender as usize, index: self.next_index, count: 1 };
        if self.senders == 1 {
            let count = (self.stable - self.next_seq).min(max);
            self.next_seq += count;
            self.next_index += count;
            return Some(Run { count, ..run });
        }
        self.next_seq += 1;
        self.next_sender += 1;
        if self.next_sender == self.senders {
            self.next_sender = 0;
            self.next_index += 1;
        }
        Some(run)
    }

    fn next_to(&mut self, trim: &[u64]) -> Option<Run> {
        let last = trim.iter().copied().max().unwrap_or(0);
        while self.next_index < last {
            let run = Run { seq: self.next_seq, sender: self.next_sender as usize, index: self.next_index, count: 1 };
            self.next_seq += 1;
            self.next_sender += 1;
            if self.next_sender == self.senders {
                self.next_sender = 0;
                self.next_index += 1;
            }
            if run.index < trim[run.sender] {
                return Some(run);
            }
        }
        None
    }

    #[inline]
    fn delivered(&mut self, table: &Table, outbox: &mut Outbox) {
        self.delivered_seq.raise(table, self.next_seq);
        self.delivered_seq.push(table, outbox);
    }

    fn delivered_at(&self, table: &Table, member: Rank) -> u64 {
        self.own_below(table.get(self.columns.delivered_seq, member))
    }

    #[inline]
    fn delivered_everywhere(&mut self, table: &Table) -> Result<u64, Malformed> {
        if self.mine.is_none() {
            return Ok(0);
        }
        // Nobody has delivered what I have not said to have received.
        let delivered = self.delivered_by.least(table, self.delivered_seq.value(), self.received_seq.value())?;
        Ok(self.own_below(delivered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use squall_sst::LayoutBuilder;
    use squall_transport::{Region, RegionOptions};

    fn world(members: usize, senders: usize) -> (Vec<Table>, Columns) {
        let (layout, columns) = LayoutBuilder::compose(members, |builder| Columns::compose(builder, senders));
        let region = Region::allocate(layout.bytes() as usize, &RegionOptions::default()).unwrap();
        // One region for all: every push has landed at once.
        ((0..members).map(|me| Table::new(region.clone(), &layout, Rank::new(me))).collect(), columns)
    }

    /// Sender `mine` of 3 in a group of two that has delivered the turns below `delivered`, and so has the other
    /// member.
    fn after(mine: usize, delivered: u64) -> (RoundRobin, Vec<Table>, Columns) {
        let (tables, columns) = world(2, 3);
        let (mut order, mut outbox) = (RoundRobin::new(columns, 2, 3, Some(mine)), Outbox::new(2));
        (0..3).for_each(|sender| order.received(sender, 10, 10));
        order.acknowledge(&tables[0], &mut outbox, true);
        tables[1].set(columns.received_seq, delivered);
        order.refresh(&tables[0]).unwrap();
        while order.next(1).is_some() {}
        order.delivered(&tables[0], &mut outbox);
        tables[1].set(columns.delivered_seq, delivered);
        (order, tables, columns)
    }

    #[test]
    fn the_own_frontier_counts_the_turns_below_what_all_delivered() {
        let cases = [(1, 8, 3), (0, 0, 0), (0, 1, 1), (1, 1, 0), (1, 2, 1), (2, 2, 0), (2, 3, 1), (0, 3, 1), (0, 4, 2)];
        for (mine, delivered, expected) in cases {
            let (mut order, tables, _) = after(mine, delivered);
            assert_eq!(order.delivered_everywhere(&tables[0]), Ok(expected), "sender {mine}, {delivered} delivered");
        }
    }

    #[test]
    fn what_a_member_cannot_know_and_what_it_takes_back_are_its_fault() {
        let member = Rank::new(1);
        for value in [7, 32, u64::MAX] {
            let (mut order, tables, columns) = after(1, 8);
            tables[1].set(columns.received_seq, value);
            let malformed = Malformed { member, column: Columns::RECEIVED_SEQ, value };
            assert_eq!(order.refresh(&tables[0]), Err(malformed));
            assert_eq!(order.next(9), None, "what is not believed is not delivered");
            tables[1].set(columns.received_seq, 31);
            assert_eq!(order.refresh(&tables[0]), Ok(()), "up to the first turn of mine that has no message");
            assert_eq!(order.delivered_everywhere(&tables[0]), Ok(3));
            tables[1].set(columns.delivered_seq, value);
            let malformed = Malformed { member, column: Columns::DELIVERED_SEQ, value };
            assert_eq!(order.delivered_everywhere(&tables[0]), Err(malformed));
        }
    }

    #[test]
    fn my_own_row_is_not_read_back_from_memory_that_others_can_write() {
        let (mut order, tables, columns) = after(1, 8);
        tables[0].set(columns.received_seq, u64::MAX);
        tables[0].set(columns.delivered_seq, u64::MAX);
        tables[1].set(columns.received_seq, 31);
        order.refresh(&tables[0]).unwrap();
        assert_eq!(std::iter::from_fn(|| order.next(1)).count(), 22, "to turn 30, which I have received");
        assert_eq!(order.delivered_everywhere(&tables[0]), Ok(3));
    }

    #[test]
    fn a_delivery_waits_for_voters_and_ring_bytes_for_all() {
        let (tables, columns) = world(3, 1);
        let mut order = RoundRobin::new(columns, 3, 1, Some(0)).acknowledged_by(2);
        tables[0].set(columns.received_seq, 4);
        tables[1].set(columns.received_seq, 3);
        order.received(0, 4, 4);
        order.acknowledge(&tables[0], &mut Outbox::new(3), true);
        order.refresh(&tables[0]).unwrap();
        assert_eq!(order.next(9).map(|run| run.count), Some(3), "member 2 has received nothing");
        let mut learner = RoundRobin::new(columns, 3, 1, None).acknowledged_by(2);
        learner.refresh(&tables[2]).unwrap();
        assert_eq!(learner.next(9), None, "what all voters have, and it has not");
        order.delivered(&tables[0], &mut Outbox::new(3));
        tables[1].set(columns.delivered_seq, 3);
        assert_eq!(order.delivered_everywhere(&tables[0]), Ok(0));
        tables[2].set(columns.delivered_seq, 2);
        assert_eq!(order.delivered_everywhere(&tables[0]), Ok(2));
    }

    #[test]
    fn nulls_fill_exactly_the_turns_before_a_message() {
        let (_, columns) = world(3, 3);
        // Sender 1 sent data at index 4: sender 0 must have sent 0..=4, sender 2 only 0..4.
        for (mine, owed) in [(0, 5), (2, 4)] {
            let mut order = RoundRobin::new(columns, 3, 3, Some(mine));
            order.received(1, 5, 5);
            assert_eq!(order.owed(), owed);
            order.received(1, 9, 5);
            assert_eq!(order.owed(), owed, "nulls are not answered");
        }
        let mut order = RoundRobin::new(columns, 3, 3, None);
        order.received(1, 5, 5);
        assert_eq!(order.owed(), 0, "who does not send owes nothing");
    }

    #[test]
    fn at_the_end_of_a_view_turns_beyond_a_senders_trim_are_passed_over() {
        let (tables, columns) = world(2, 3);
        let mut order = RoundRobin::new(columns, 2, 3, None);
        (0..3).for_each(|sender| order.received(sender, 4, 4));
        order.acknowledge(&tables[0], &mut Outbox::new(2), true);
        tables[1].set(columns.received_seq, 2);
        order.refresh(&tables[0]).unwrap();
        assert_eq!([order.next(9), order.next(9), order.next(9)].map(|run| run.map(|run| run.seq)), [Some(0), Some(1), None]);
        let turns: Vec<_> = std::iter::from_fn(|| order.next_to(&[3, 1, 4])).map(|run| (run.seq, run.sender, run.index)).collect();
        // Sender 1 ends before its turn 1, sender 0 before its turn 3.
        assert_eq!(turns, [(2, 2, 0), (3, 0, 1), (5, 2, 1), (6, 0, 2), (8, 2, 2), (11, 2, 3)]);
        assert_eq!(order.next_to(&[3, 1, 4]), None);
    }

    proptest! {
        #[test]
        fn every_member_delivers_the_same_turns_and_never_before_all_received(
            senders in 1usize..5, steps in proptest::collection::vec((0usize..3, 0usize..5, 1u64..4), 1..200)
        ) {
            let members = 3;
            let (tables, columns) = world(members, senders);
            let mut orders: Vec<RoundRobin> = (0..members).map(|_| RoundRobin::new(columns, members, senders, None)).collect();
            let mut received = vec![vec![0u64; senders]; members];
            let mut delivered: Vec<Vec<(u64, usize, u64)>> = vec![Vec::new(); members];
            for (member, sender, more) in steps {
                let sender = sender % senders;
                received[member][sender] += more;
                let mut outbox = Outbox::new(members);
                orders[member].received(sender, received[member][sender], 0);
                orders[member].acknowledge(&tables[member], &mut outbox, true);
                for member in 0..members {
                    orders[member].refresh(&tables[member]).unwrap();
                    while let Some(run) = orders[member].next(2) {
                        for i in 0..run.count {
                            let (seq, index) = (run.seq + i, run.index + i);
                            prop_assert_eq!(seq, index * senders as u64 + run.sender as u64);
                            prop_assert!(received.iter().all(|received| received[run.sender] > index), "stability before delivery");
                            delivered[member].push((seq, run.sender, index));
                        }
                    }
                }
            }
            for member in &delivered {
                prop_assert!(member.iter().zip(0..).all(|(turn, seq)| turn.0 == seq), "contiguous");
                prop_assert_eq!(member, &delivered[0]);
            }
        }
    }
}
