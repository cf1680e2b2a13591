//! What members that have stopped give each other, and what they keep for it.

use std::sync::atomic::Ordering;

use squall_rdmc::schedule::ScheduleKind;
use squall_rdmc::{AnnounceError, BufferError, Columns, Descriptor, FillColumns, Limits, Rdmc, Relay};
use squall_sst::{Column, LayoutBuilder, Malformed, Table};
use squall_transport::region::{Pool, Region, RegionOptions, SizeClass};
use squall_transport::sim::land;
use squall_transport::{Outbox, Rank, Write};

const BYTES: u64 = 3000;

/// Member `me` of 3, of whom 0 sends, one message at a time and by the chain 0, 1, 2.
struct Member {
    columns: Columns,
    fill: FillColumns,
    /// The table and the pool.
    regions: [Region; 2],
    table: Table,
    pool: Pool,
    outbox: Outbox,
    rdmc: Rdmc,
}

fn member(me: usize) -> Member {
    let limits = Limits { transfers_max: 1, outbox_spare: 1, ..Limits::DEFAULT };
    let compose = |layout: &mut LayoutBuilder| (Columns::compose(layout, 1, &limits), FillColumns::compose(layout, 1, &limits));
    let (layout, (columns, fill)) = LayoutBuilder::compose(3, compose);
    let classes = [SizeClass { block_bytes: 4096, blocks: 1 }];
    let region = |bytes: u64| Region::allocate(bytes as usize, &RegionOptions::default()).unwrap();
    let regions = [region(layout.bytes()), region(Pool::bytes_for(&classes))];
    let rdmc = Rdmc::new(columns, 3, Rank::new(me), &[Rank::new(0)], limits).filled_by(fill);
    let (table, pool) = (Table::new(regions[0].clone(), &layout, Rank::new(me)), Pool::new(regions[1].clone(), &classes));
    Member { columns, fill, regions, table, pool, outbox: Outbox::new(3), rdmc }
}

impl Member {
    fn send(&mut self) -> Descriptor {
        let mut block = self.rdmc.reserve(BYTES, &mut self.pool).unwrap();
        (0..).zip(block.bytes_mut()).for_each(|(place, byte)| *byte = place as u8);
        self.rdmc.start(block.fill(), Relay { schedule: ScheduleKind::Chain, block_bytes: 1000 })
    }

    fn announce(&mut self, descriptor: Descriptor) -> Result<(), AnnounceError> {
        self.rdmc.announce(0, descriptor, &mut self.pool, &mut self.outbox)
    }

    fn step(&mut self) {
        self.rdmc.step(&self.table, &mut self.outbox, u64::MAX).unwrap();
    }

    fn writes_to(&mut self, peer: usize) -> Vec<Write> {
        std::iter::from_fn(|| self.outbox.pop(Rank::new(peer))).collect()
    }

    fn tell(&self, column: Column, from: usize, value: u64) {
        self.regions[0].word(column.at(Rank::new(from))).store(value, Ordering::Release);
    }

    fn ask(&mut self, givers: &[usize]) -> bool {
        self.rdmc.ask(0, 0, givers.iter().copied().map(Rank::new), &self.table, &mut self.outbox)
    }

    fn give(&mut self, to: usize, budget_bytes: u64) -> Result<u64, Malformed> {
        self.rdmc.give(Rank::new(to), &self.table, &mut self.outbox, budget_bytes)
    }

    fn take_given(&mut self) -> Result<bool, Malformed> {
        self.rdmc.take_given(&self.table, |_| true)
    }

    fn reclaim(&mut self) -> usize {
        self.rdmc.reclaim(&self.table, &mut self.pool)
    }
}

fn land_at(from: &mut Member, to: usize, at: &Member) {
    from.writes_to(to).into_iter().for_each(|write| land(write, &from.regions, &at.regions));
}

/// Message 0 of member 0 is at member 1, which has delivered it, and announced at member 2, which has none of it.
fn at_one_of_two() -> [Member; 3] {
    let [mut sender, mut other, mut late] = [0, 1, 2].map(member);
    let descriptor = sender.send();
    other.announce(descriptor).unwrap();
    late.announce(descriptor).unwrap();
    land_at(&mut other, 0, &sender);
    sender.step();
    land_at(&mut sender, 1, &other);
    other.step();
    assert_eq!((other.rdmc.received(0), late.rdmc.received(0)), (1, 0));
    other.rdmc.delivered(0, 0);
    [sender, other, late]
}

#[test]
fn what_a_member_lacks_another_that_has_delivered_it_gives_it() {
    let [sender, mut other, mut late] = at_one_of_two();
    assert_eq!(other.give(2, BYTES), Ok(0), "it wants nothing yet");
    // It asks the sender first, which is lost.
    assert!(late.ask(&[0, 1]) && !late.ask(&[0, 1]) && late.ask(&[1]) && !late.ask(&[0, 1]));
    land_at(&mut late, 1, &other);
    assert_eq!(other.give(2, 1), Ok(1000), "a block of it");
    land_at(&mut other, 2, &late);
    assert_eq!(late.take_given(), Ok(false), "it is not whole");
    assert_eq!((other.give(2, BYTES), other.give(2, BYTES)), (Ok(2000), Ok(0)), "the rest, once");
    land_at(&mut other, 2, &late);
    assert_eq!((late.take_given(), late.take_given()), (Ok(true), Ok(false)));
    assert_eq!((late.rdmc.received(0), late.rdmc.payload(0, 0)), (1, sender.rdmc.payload(0, 0)));
    // Others may write it late.
    late.rdmc.delivered(0, 0);
    late.rdmc.spread(0, 1);
    assert_eq!((late.reclaim(), other.reclaim()), (0, 0));
    let left = |member: Member| {
        let leftovers = member.rdmc.dismantle(&member.table);
        leftovers.map(|leftover| (leftover.is_open(), leftover.asked().to_vec())).collect::<Vec<_>>()
    };
    assert_eq!((left(late), left(other)), (vec![(true, vec![Rank::new(0)])], vec![(false, vec![])]));
}

#[test]
fn a_buffer_is_kept_until_all_have_its_message() {
    let [mut sender, mut other, mut late] = at_one_of_two();
    land_at(&mut late, 1, &other);
    other.step();
    land_at(&mut other, 2, &late);
    late.step();
    land_at(&mut late, 1, &other);
    land_at(&mut other, 0, &sender);
    assert_eq!(other.reclaim(), 0, "the next one has said that it has it, but not that all have");
    other.rdmc.spread(0, 1);
    assert_eq!(other.reclaim(), 1);
    sender.rdmc.delivered(0, 0);
    assert_eq!(sender.reclaim(), 0);
    sender.rdmc.spread(0, 1);
    assert_eq!(sender.reclaim(), 1);
}

#[test]
fn what_is_announced_says_that_all_have_what_had_its_slot_before() {
    let [_, mut other, _] = at_one_of_two();
    let next = Descriptor { bytes: BYTES, block_bytes: 1000, schedule: ScheduleKind::Chain, transfer: 1 };
    let busy = Err(AnnounceError::NoBuffer(BufferError::SlotBusy { transfers_max: 1 }));
    assert_eq!(other.announce(next), busy, "it has yet to be passed on");
    let ready = other.columns.ready.get(0);
    other.tell(ready, 2, 1 << 28);
    other.step();
    assert_eq!((other.reclaim(), other.announce(next)), (0, Ok(())), "though nobody has said so here");
    let mut learner = member(2);
    learner.announce(Descriptor { transfer: 0, ..next }).unwrap();
    learner.tell(learner.columns.sent.get(0), 1, 3);
    learner.step();
    assert_eq!((learner.rdmc.received(0), learner.announce(next)), (1, busy), "it is not delivered here");
}

#[test]
fn words_that_no_member_writes_are_their_owners_fault() {
    let [_, mut other, mut late] = at_one_of_two();
    let (wants, given) = (other.fill.wants.get(0), other.fill.given.get(0));
    late.tell(given, 1, 7);
    assert_eq!(late.take_given(), Ok(false), "it has asked for nothing");
    assert!(late.ask(&[1]));
    assert_eq!(late.take_given(), Err(Malformed { member: Rank::new(1), column: "rdmc given", value: 7 }));
    other.rdmc.set_pools(vec![4096; 3]);
    let outside = 1 << 28 | 1;
    other.tell(wants, 2, outside);
    assert_eq!(other.give(2, BYTES), Err(Malformed { member: Rank::new(2), column: "rdmc wants", value: outside }));
    // Of another message than the one that is here.
    for word in [0, 2 << 28] {
        other.tell(wants, 2, word);
        assert_eq!((other.give(2, BYTES), other.writes_to(2)), (Ok(0), vec![]));
    }
}
