//! A chain over one region, in which every word has landed at once; streams come in any order and any pieces.

use proptest::prelude::*;
use squall_sst::{LayoutBuilder, Malformed, Table};
use squall_transport::{Outbox, Rank, Region, RegionOptions};

use super::Chain;
use crate::columns::Columns;
use crate::mutation::Mutation;
use crate::orderer::Orderer;

const MEMBERS: usize = 4;

/// What the head put at an index of its stream.
#[derive(Clone, Debug)]
enum Record {
    Message,
    Decision(Vec<u8>),
}

struct World {
    tables: Vec<Table>,
    columns: Columns,
    orders: Vec<Chain>,
    outbox: Outbox,
    /// The head's stream; how long the others' are.
    head: Vec<Record>,
    lengths: Vec<u64>,
    /// By member and sender.
    received: Vec<Vec<u64>>,
    delivered: Vec<Vec<(usize, u64)>>,
}

impl World {
    fn new(senders: usize, mutation: Mutation) -> World {
        let (layout, columns) = LayoutBuilder::compose(MEMBERS, |builder| Columns::compose(builder, senders));
        let region = Region::allocate(layout.bytes() as usize, &RegionOptions::default()).unwrap();
        let ranks: Vec<Rank> = (0..senders).map(Rank::new).collect();
        let order = |me| {
            let mut order = Chain::new(columns, MEMBERS, MEMBERS, &ranks, Rank::new(me));
            order.set_mutation(mutation);
            order
        };
        World {
            tables: (0..MEMBERS).map(|me| Table::new(region.clone(), &layout, Rank::new(me))).collect(),
            columns,
            orders: (0..MEMBERS).map(order).collect(),
            outbox: Outbox::new(MEMBERS),
            head: Vec::new(),
            lengths: vec![0; senders],
            received: vec![vec![0; senders]; MEMBERS],
            delivered: vec![Vec::new(); MEMBERS],
        }
    }

    fn send(&mut self, sender: usize, count: u64) {
        self.lengths[sender] += count;
        if sender == 0 {
            (0..count).for_each(|_| self.head.push(Record::Message));
        }
        self.receive(sender, sender, u64::MAX);
    }

    /// The head decides on what it has.
    fn decide(&mut self) {
        let mut decision = Vec::new();
        while self.orders[0].decide(&self.tables[0], 1, self.lengths[0], &mut decision).unwrap() {
            self.head.push(Record::Decision(decision.clone()));
            self.lengths[0] += 1;
        }
        self.receive(0, 0, u64::MAX);
    }

    /// More of a stream comes to a member.
    fn receive(&mut self, member: usize, sender: usize, more: u64) {
        let (before, length) = (self.received[member][sender], self.lengths[sender]);
        let frontier = before.saturating_add(more).min(length);
        let order = &mut self.orders[member];
        if sender == 0 {
            for index in before..frontier {
                if let Record::Decision(decision) = &self.head[index as usize] {
                    assert!(order.decided(0, index, decision));
                }
            }
        }
        self.received[member][sender] = frontier;
        order.received(sender, frontier, 0);
        order.acknowledge(&self.tables[member], &mut self.outbox, true);
    }

    /// Every member hears the others and delivers. Whether all of it was received by all.
    fn deliver(&mut self) -> bool {
        let mut fine = true;
        for _ in 0..2 * MEMBERS {
            for member in 0..MEMBERS {
                let (order, table) = (&mut self.orders[member], &self.tables[member]);
                order.acknowledge(table, &mut self.outbox, true);
                order.refresh(table).unwrap();
                while let Some(run) = order.next(3) {
                    fine &= self.received.iter().all(|received| received[run.sender] >= run.index + run.count);
                    self.delivered[member].extend((run.index..run.index + run.count).map(|index| (run.sender, index)));
                }
                order.delivered(table, &mut self.outbox);
            }
        }
        fine
    }

    /// The view ends, and these members go on. Whether each has delivered all that is kept, and once.
    fn end(&mut self, survivors: &[usize]) -> bool {
        let mut fine = true;
        let trim: Vec<u64> =
            (0..self.lengths.len()).map(|sender| survivors.iter().map(|&at| self.received[at][sender]).min().unwrap()).collect();
        for &member in survivors {
            while let Some(run) = self.orders[member].next_to(&trim) {
                fine &= run.seq as usize == self.delivered[member].len();
                self.delivered[member].extend((run.index..run.index + run.count).map(|index| (run.sender, index)));
            }
            fine &= self.delivered[member].len() as u64 == trim.iter().sum::<u64>();
        }
        fine
    }
}

/// What happens: a kind, a member, a sender, how many.
type Step = (usize, usize, usize, u64);

/// Runs the steps and ends the view for `survivors`; whether all delivered the same, and only what all had.
fn run(senders: usize, mutation: Mutation, steps: &[Step], survivors: &[usize]) -> bool {
    let (mut world, mut fine) = (World::new(senders, mutation), true);
    for &(kind, member, sender, count) in steps {
        let sender = sender % senders;
        match kind {
            0 => world.send(sender, count),
            1 => world.decide(),
            2 => fine &= world.deliver(),
            _ if member != sender => world.receive(member, sender, count),
            _ => {}
        }
    }
    fine &= world.end(survivors);
    let first = &world.delivered[survivors[0]];
    fine && survivors.iter().all(|&member| world.delivered[member] == *first) && world.delivered.iter().all(|own| first.starts_with(own))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec((0usize..7, 0..MEMBERS, 0..MEMBERS, 1u64..4), 1..150)
}

fn survivors() -> impl Strategy<Value = Vec<usize>> {
    (1usize..1 << MEMBERS).prop_map(|bits| (0..MEMBERS).filter(|at| bits >> at & 1 == 1).collect())
}

proptest! {
    #[test]
    fn all_deliver_the_same_of_what_all_have_and_whoever_goes_on_the_same_to_the_end(
        senders in 1..=MEMBERS, steps in steps(), survivors in survivors()
    ) {
        prop_assert!(run(senders, Mutation::None, &steps, &survivors));
    }
}

#[test]
fn a_broken_rule_shows() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    for mutation in [Mutation::ForwardedEarly, Mutation::LinkSkipped, Mutation::TailIgnored, Mutation::CutDecisionsCount] {
        let mut runner = TestRunner::deterministic();
        let strategy = (2..=MEMBERS, steps(), survivors());
        let breaks = (0..2000).any(|_| {
            let (senders, steps, survivors) = strategy.new_tree(&mut runner).unwrap().current();
            !run(senders, mutation, &steps, &survivors)
        });
        assert!(breaks, "{mutation:?}");
    }
}

#[test]
fn what_a_member_beside_me_cannot_know_is_its_fault_and_counts_for_nothing() {
    let mut world = World::new(2, Mutation::None);
    world.send(0, 3);
    world.tables[1].set(world.columns.received_seq, 4);
    world.orders[0].acknowledge(&world.tables[0], &mut world.outbox, true);
    let malformed = Malformed { member: Rank::new(1), column: Columns::RECEIVED_SEQ, value: 4 };
    assert_eq!(world.orders[0].refresh(&world.tables[0]), Err(malformed));
    world.tables[1].set(world.columns.received_seq, 2);
    world.orders[0].refresh(&world.tables[0]).unwrap();
    world.tables[1].set(world.columns.received_seq, 1);
    assert!(world.orders[0].refresh(&world.tables[0]).is_err(), "it took back what it had said");
}

#[test]
fn only_the_head_decides_and_only_on_others() {
    let mut order = World::new(3, Mutation::None).orders.remove(2);
    let take = |sender: u64, count: u64| (sender << 48 | count).to_le_bytes();
    assert!(!order.decided(1, 0, &take(2, 1)) && !order.decided(0, 0, &take(0, 1)) && !order.decided(0, 0, &take(3, 1)));
    assert!(
        !order.decided(0, 0, &[]) && !order.decided(0, 0, &take(1, 0)) && !order.decided(0, 0, &[1; 7]) && !order.decided(0, 0, &[1; 72])
    );
    assert!(order.decided(0, 0, &take(2, 1)));
}
