//! One engine alone: what it answers, and what it leaves to others.

use std::sync::atomic::Ordering;

use squall_rdmc::schedule::{Plan, ScheduleKind};
use squall_rdmc::{AnnounceError, BufferError, Columns, Descriptor, DescriptorError, Limits, Moment, Progress, Rdmc, Relay, Timeline};
use squall_sst::{LayoutBuilder, Malformed, Table};
use squall_transport::outbox::OUTBOX_WRITES_MAX;
use squall_transport::region::{Pool, Region, RegionOptions, SizeClass};
use squall_transport::{Outbox, POOL, Place, Rank, TABLE, Write};

const BUFFER_BYTES: u64 = 4096;

/// Member `me` of 4; members 0 and 1 send, by chain.
struct Engine {
    columns: Columns,
    region: Region,
    table: Table,
    pool: Pool,
    outbox: Outbox,
    rdmc: Rdmc,
}

impl Engine {
    fn new(me: usize, buffers: u32) -> Engine {
        let limits = Limits { transfers_max: 2, outbox_spare: 50, ..Limits::DEFAULT };
        let (layout, columns) = LayoutBuilder::compose(4, |layout| Columns::compose(layout, 2, &limits));
        let options = RegionOptions::default();
        let region = Region::allocate(layout.bytes() as usize, &options).unwrap();
        let classes = [SizeClass { block_bytes: BUFFER_BYTES, blocks: buffers }];
        let pool = Pool::new(Region::allocate(Pool::bytes_for(&classes) as usize, &options).unwrap(), &classes);
        let senders = [Rank::new(0), Rank::new(1)];
        let rdmc = Rdmc::new(columns, 4, Rank::new(me), &senders, limits);
        Engine { columns, table: Table::new(region.clone(), &layout, Rank::new(me)), region, pool, outbox: Outbox::new(4), rdmc }
    }

    fn announce(&mut self, sender: usize, descriptor: Descriptor) -> Result<(), AnnounceError> {
        self.rdmc.announce(sender, descriptor, &mut self.pool, &mut self.outbox)
    }

    fn start(&mut self, bytes: u64, block_bytes: u32) -> Result<Descriptor, BufferError> {
        let block = self.rdmc.reserve(bytes, &mut self.pool)?;
        Ok(self.rdmc.start(block.fill(), chain(block_bytes)))
    }

    fn step(&mut self) -> Progress {
        self.try_step().unwrap()
    }

    fn try_step(&mut self) -> Result<Progress, Malformed> {
        self.rdmc.step(&self.table, &mut self.outbox, u64::MAX)
    }

    /// A peer tells this member something.
    fn tell(&self, column: squall_sst::Column, from: usize, value: u64) {
        self.region.word(column.at(Rank::new(from))).store(value, Ordering::Release);
    }

    fn writes_to(&mut self, peer: usize) -> Vec<Write> {
        std::iter::from_fn(|| self.outbox.pop(Rank::new(peer))).collect()
    }
}

fn descriptor(transfer: u64) -> Descriptor {
    Descriptor { bytes: 3000, block_bytes: 1000, transfer, schedule: ScheduleKind::Chain }
}

fn chain(block_bytes: u32) -> Relay {
    Relay { schedule: ScheduleKind::Chain, block_bytes }
}

#[test]
fn a_sender_fills_its_window_and_no_more() {
    let mut engine = Engine::new(0, 9);
    assert_eq!(engine.start(10, 10).unwrap().transfer, 0);
    assert_eq!(engine.start(10, 10).unwrap().transfer, 1);
    assert_eq!(engine.start(10, 10).unwrap_err(), BufferError::SlotBusy { transfers_max: 2 });
    let mut receiver = Engine::new(2, 9);
    for transfer in 0..2 {
        receiver.announce(0, descriptor(transfer)).unwrap();
    }
    let busy = BufferError::SlotBusy { transfers_max: 2 };
    assert_eq!(receiver.announce(0, descriptor(2)), Err(AnnounceError::NoBuffer(busy)));
}

#[test]
fn reserved_blocks_count_against_the_window_and_start_in_any_order() {
    let mut engine = Engine::new(0, 9);
    let first = engine.rdmc.reserve(100, &mut engine.pool).unwrap();
    let second = engine.rdmc.reserve(200, &mut engine.pool).unwrap();
    assert!(engine.rdmc.reserve(1, &mut engine.pool).is_err());
    let started = engine.rdmc.start(second.fill(), chain(50));
    assert_eq!(started, Descriptor { bytes: 200, block_bytes: 50, transfer: 0, schedule: ScheduleKind::Chain });
    assert_eq!(engine.rdmc.payload(0, 0).len(), 200);
    engine.rdmc.give_back(first, &mut engine.pool);
    assert_eq!(engine.start(300, 50).unwrap().transfer, 1);
    assert_eq!(engine.rdmc.received(0), 2);
}

#[test]
fn who_has_begun_a_message_lately_is_busy() {
    let mut engine = Engine::new(0, 9);
    assert_eq!(engine.rdmc.busy_senders(), 1);
    engine.announce(1, descriptor(0)).unwrap();
    assert_eq!(engine.rdmc.busy_senders(), 2);
    // Behind as many messages of mine as may be under way the other one is idle.
    for transfer in 0..3 {
        assert_eq!(engine.rdmc.busy_senders(), 2);
        engine.start(10, 10).unwrap();
        engine.rdmc.delivered(0, transfer);
        engine.tell(engine.columns.ready.get(transfer as usize % 2), 1, (transfer + 1) << 28 | 1);
        engine.step();
        engine.tell(engine.columns.received.get(0), 1, transfer + 1);
        assert_eq!(engine.rdmc.reclaim(&engine.table, &mut engine.pool), 1);
    }
    assert_eq!(engine.rdmc.busy_senders(), 1);
}

#[test]
fn each_message_is_relayed_as_its_own_descriptor_says() {
    let mut engine = Engine::new(2, 9);
    engine.announce(0, Descriptor { schedule: ScheduleKind::Sequential, ..descriptor(0) }).unwrap();
    engine.announce(0, descriptor(1)).unwrap();
    // In the first the root itself sends here; in the chain it is the member before.
    let ready = |slot| engine.columns.ready.get(slot).at(Rank::new(2));
    let (first, second) = (ready(0), ready(1));
    let told = |writes: Vec<Write>| match writes[..] {
        [Write::Word { at, .. }] => Some(at.offset),
        _ => None,
    };
    assert_eq!(told(engine.writes_to(0)), Some(first));
    assert_eq!(told(engine.writes_to(1)), Some(second));
}

#[test]
fn what_breaks_the_limits_or_the_order_is_refused() {
    let mut engine = Engine::new(2, 9);
    let refused = |error| Err(AnnounceError::Refused(error));
    let late = DescriptorError::OutOfOrder { expected: 0, found: 1 };
    assert_eq!(engine.announce(0, descriptor(1)), refused(late));
    let blocks = u64::from(Limits::DEFAULT.blocks_max) + 1;
    let many = Descriptor { bytes: blocks, block_bytes: 1, ..descriptor(0) };
    assert_eq!(engine.announce(0, many), refused(DescriptorError::TooManyBlocks { blocks, max: Limits::DEFAULT.blocks_max }));
    let no_class = engine.announce(0, Descriptor { bytes: 5000, ..descriptor(0) });
    assert!(matches!(no_class, Err(AnnounceError::NoBuffer(BufferError::Exhausted(_)))));
    assert_eq!(engine.pool.out(), 0);
    assert!(engine.rdmc.is_idle());
}

#[test]
fn blocks_wait_for_ready_and_leave_the_outbox_room_for_others() {
    let mut engine = Engine::new(0, 9);
    let started = engine.start(4000, 100).unwrap();
    assert_eq!(engine.step(), Progress::default());
    engine.tell(engine.columns.ready.get(0), 1, 1 << 28 | 3);
    let progress = engine.step();
    let room = OUTBOX_WRITES_MAX - 50;
    assert_eq!((progress.posted_blocks as usize, progress.posted_bytes), (room / 2, 100 * (room as u64 / 2)));
    let writes = engine.writes_to(1);
    assert_eq!(writes.len(), room);
    let payload = Write::Span { from: Place::new(POOL, 100), to: Place::new(POOL, 3 * 4096 + 100), len: 100 };
    let counter = Write::Word { at: Place::new(TABLE, engine.columns.sent.get(0).at(Rank::new(0))), value: 2 };
    assert_eq!(writes[2..4], [payload, counter]);
    let mut posted = progress.posted_blocks;
    while posted < 40 {
        posted += engine.step().posted_blocks;
        engine.writes_to(1);
    }
    assert_eq!(u64::from(posted), started.blocks());
    assert!(!engine.step().any());
}

#[test]
fn a_relay_returns_its_buffer_after_delivery_and_confirmation() {
    let mut engine = Engine::new(2, 2);
    engine.announce(1, descriptor(0)).unwrap();
    let told = engine.writes_to(1);
    assert!(matches!(told[..], [Write::Word { value, .. }] if value == 1 << 28));
    engine.tell(engine.columns.ready.get(2), 3, 1 << 28 | 1);
    engine.tell(engine.columns.sent.get(2), 1, 2);
    let progress = engine.step();
    assert_eq!((progress.arrived_blocks, progress.posted_blocks, progress.completed), (2, 2, 0));
    assert_eq!(engine.rdmc.received(1), 0);
    engine.tell(engine.columns.sent.get(2), 1, 3);
    assert_eq!(engine.step().completed, 1);
    assert_eq!((engine.rdmc.received(1), engine.rdmc.payload(1, 0).len()), (1, 3000));
    let received = Write::Word { at: Place::new(TABLE, engine.columns.received.get(1).at(Rank::new(2))), value: 1 };
    assert_eq!(engine.writes_to(1), [received]);
    engine.rdmc.delivered(1, 0);
    assert_eq!(engine.rdmc.reclaim(&engine.table, &mut engine.pool), 0);
    engine.tell(engine.columns.received.get(1), 3, 1);
    assert_eq!(engine.rdmc.reclaim(&engine.table, &mut engine.pool), 1);
    assert!(engine.rdmc.is_idle() && engine.pool.out() == 0);
}

/// Member 2 of the chain 1, 2, 3 with transfer 0 of member 1, which has three blocks.
fn relay() -> Engine {
    let mut engine = Engine::new(2, 2);
    engine.announce(1, descriptor(0)).unwrap();
    engine
}

#[test]
fn a_counter_that_no_sender_writes_is_its_owners_fault() {
    let at = |engine: &Engine| engine.columns.sent.get(2);
    for (first, value) in [(0, 4), (2, 1), (0, 1 << 20 | 1), (2, u64::MAX)] {
        let mut engine = relay();
        engine.tell(at(&engine), 1, first);
        engine.step();
        engine.tell(at(&engine), 1, value);
        let malformed = Malformed { member: Rank::new(1), column: "rdmc sent", value };
        assert_eq!(engine.try_step(), Err(malformed), "{first} and then {value:#x}");
        assert_eq!(engine.rdmc.received(1), 0);
    }
    // A relay that counts too many blocks may have been told of a longer message by the sender.
    let mut engine = Engine::new(3, 2);
    engine.announce(1, descriptor(0)).unwrap();
    engine.tell(at(&engine), 2, 9);
    assert_eq!(engine.step().completed, 1);
}

#[test]
fn a_buffer_outside_its_owners_pool_is_its_owners_fault() {
    let column = "rdmc ready";
    let (inside, outside) = (1 << 28 | 1, 1 << 28 | 2);
    let mut engine = relay();
    engine.rdmc.set_pools(vec![u64::MAX, u64::MAX, u64::MAX, 2 * BUFFER_BYTES]);
    engine.tell(engine.columns.sent.get(2), 1, 3);
    engine.tell(engine.columns.ready.get(2), 3, outside);
    assert_eq!(engine.try_step(), Err(Malformed { member: Rank::new(3), column, value: outside }));
    assert_eq!(engine.writes_to(3), []);
    engine.tell(engine.columns.ready.get(2), 3, inside);
    assert_eq!(engine.step().posted_blocks, 3);
    // For a later transfer than one that I have yet to send.
    let mut engine = Engine::new(0, 9);
    engine.start(10, 10).unwrap();
    let later = 3 << 28;
    engine.tell(engine.columns.ready.get(0), 1, later);
    assert_eq!(engine.try_step(), Err(Malformed { member: Rank::new(1), column, value: later }));
}

impl Engine {
    /// The first receiver has a buffer for a transfer of sender 0, at this place.
    fn be_ready(&self, transfer: u64, place: u64) {
        self.tell(self.columns.ready.get(transfer as usize % 2), 1, (transfer + 1) << 28 | place);
    }

    /// Where blocks went to since this was last asked, by buffer.
    fn buffers_written(&mut self) -> Vec<u64> {
        let spans = self.writes_to(1).into_iter();
        spans.filter_map(|write| if let Write::Span { to, .. } = write { Some(to.offset / 4096) } else { None }).collect()
    }
}

#[test]
fn transfers_take_turns_block_by_block_behind_the_first() {
    let mut engine = Engine::new(0, 9);
    for transfer in 0..2 {
        engine.start(400, 100).unwrap();
        engine.be_ready(transfer, transfer);
    }
    assert_eq!(engine.rdmc.step(&engine.table, &mut engine.outbox, 501).unwrap().posted_blocks, 6);
    assert_eq!(engine.buffers_written(), [0, 0, 0, 0, 1, 1]);
    engine.tell(engine.columns.received.get(0), 1, 1);
    engine.rdmc.delivered(0, 0);
    assert_eq!(engine.rdmc.reclaim(&engine.table, &mut engine.pool), 1);
    engine.start(400, 100).unwrap();
    engine.be_ready(2, 2);
    assert_eq!(engine.rdmc.step(&engine.table, &mut engine.outbox, 301).unwrap().posted_blocks, 4);
    let buffers = engine.buffers_written();
    assert!(buffers == [1, 2, 1, 2] || buffers == [2, 1, 2, 1], "{buffers:?}");
}

#[test]
fn a_first_message_that_waits_holds_up_no_other() {
    let mut engine = Engine::new(0, 9);
    for _ in 0..2 {
        engine.start(200, 100).unwrap();
    }
    engine.be_ready(1, 1);
    assert_eq!(engine.step().posted_blocks, 2);
    assert_eq!(engine.buffers_written(), [1, 1]);
}

#[test]
fn where_processors_are_shared_what_is_behind_a_first_message_waits_until_that_is_here() {
    for in_order in [false, true] {
        let mut engine = Engine::new(1, 9);
        if in_order {
            engine.rdmc = engine.rdmc.in_order();
        }
        engine.start(200, 100).unwrap();
        // My chain goes 1, 2, 3, 0; that of sender 0 goes 0, 1, 2, 3.
        engine.tell(engine.columns.ready.get(2), 2, 1 << 28 | 7);
        engine.announce(0, descriptor(0)).unwrap();
        assert_eq!(engine.step().posted_blocks, if in_order { 0 } else { 2 });
        engine.tell(engine.columns.ready.get(0), 2, 1 << 28 | 7);
        engine.tell(engine.columns.sent.get(0), 0, 3);
        let moved = engine.step();
        assert_eq!((moved.completed, moved.posted_blocks), (1, if in_order { 5 } else { 3 }), "it passes that on, and then goes on");
    }
}

#[test]
fn what_one_epoch_began_another_sends_from_where_it_lies() {
    let mut old = Engine::new(0, 4);
    old.start(400, 100).unwrap();
    let mut block = old.rdmc.reserve(300, &mut old.pool).unwrap();
    block.bytes_mut().fill(7);
    let place = block.offset();
    old.rdmc.start(block.fill(), chain(100));
    old.be_ready(0, 0);
    assert_eq!(old.rdmc.step(&old.table, &mut old.outbox, 1).unwrap().posted_blocks, 1);
    let cut: Vec<_> = (0..2).map(|transfer| old.rdmc.withdraw(transfer)).collect();
    assert!(!old.step().any(), "nothing of them is posted any more");
    let Engine { rdmc, pool, table, .. } = old;
    assert_eq!((rdmc.dismantle(&table).count(), pool.out()), (0, 2), "they are kept");

    let mut new = Engine { pool, ..Engine::new(0, 4) };
    cut.iter().for_each(|block| new.rdmc.adopt(block, &new.pool));
    let full = BufferError::SlotBusy { transfers_max: 2 };
    assert_eq!(new.start(10, 10).unwrap_err(), full, "they are the whole window");
    let [first, second] = <[_; 2]>::try_from(cut).unwrap();
    assert_eq!(new.rdmc.start(first, chain(100)), Descriptor { bytes: 400, block_bytes: 100, transfer: 0, schedule: ScheduleKind::Chain });
    assert_eq!(new.rdmc.start(second, chain(100)).transfer, 1);
    assert_eq!(new.rdmc.payload(0, 1), [7; 300]);
    new.be_ready(1, 1);
    new.step();
    let from: Vec<_> =
        new.writes_to(1).into_iter().filter(|write| matches!(write, Write::Span { from, .. } if from.offset == place)).collect();
    assert_eq!(from.len(), 1, "from where it was written");
    for leftover in new.rdmc.dismantle(&new.table) {
        new.pool.put(leftover.into_block());
    }
    assert_eq!(new.pool.out(), 0);
}

#[test]
#[should_panic(expected = "the pool that it is in")]
fn a_block_of_another_pool_is_not_taken_over() {
    let (mut old, mut new) = (Engine::new(0, 2), Engine::new(0, 2));
    old.start(400, 100).unwrap();
    let block = old.rdmc.withdraw(0);
    new.rdmc.adopt(&block, &new.pool);
}

#[test]
fn an_epoch_that_ends_hands_back_every_buffer() {
    let mut engine = Engine::new(0, 9);
    engine.start(10, 10).unwrap();
    engine.announce(1, descriptor(0)).unwrap();
    assert_eq!(engine.pool.out(), 2);
    for leftover in engine.rdmc.dismantle(&engine.table) {
        engine.pool.put(leftover.into_block());
    }
    assert_eq!(engine.pool.out(), 0);
}

#[test]
fn the_timeline_has_every_landing_and_every_post() {
    let mut engine = Engine::new(2, 2);
    engine.rdmc.set_timeline(Some(Timeline::new(100)));
    engine.announce(1, descriptor(0)).unwrap();
    engine.tell(engine.columns.ready.get(2), 3, 1 << 28 | 1);
    for count in 1..=3 {
        engine.rdmc.timeline_mut().unwrap().set_now(10 * count);
        engine.tell(engine.columns.sent.get(2), 1, count);
        engine.step();
    }
    let timeline = engine.rdmc.set_timeline(None).unwrap();
    let moments = |moment| timeline.records().iter().filter(|r| r.moment == moment).map(|r| (r.block, r.at_ns)).collect::<Vec<_>>();
    assert_eq!(moments(Moment::Landed), [(0, 10), (1, 20), (2, 30)]);
    assert_eq!(moments(Moment::Posted), moments(Moment::Landed));
    let waits = timeline.waits(1, 0).unwrap();
    assert_eq!((waits.begin_ns, waits.end_ns, waits.data_ns, waits.software_ns), (0, 30, 30, 0));
}

#[test]
fn a_group_of_one_receives_its_own_messages() {
    let limits = Limits::DEFAULT;
    let (layout, columns) = LayoutBuilder::compose(1, |layout| Columns::compose(layout, 1, &limits));
    let region = Region::allocate(layout.bytes() as usize, &RegionOptions::default()).unwrap();
    let table = Table::new(region.clone(), &layout, Rank::new(0));
    let mut pool = Pool::new(region, &[SizeClass { block_bytes: 8, blocks: 1 }]);
    let mut rdmc = Rdmc::new(columns, 1, Rank::new(0), &[Rank::new(0)], limits);
    for transfer in 0..10 {
        let block = rdmc.reserve(8, &mut pool).unwrap();
        rdmc.start(block.fill(), chain(8));
        assert_eq!(rdmc.received(0), transfer + 1);
        rdmc.delivered(0, transfer);
        assert_eq!(rdmc.reclaim(&table, &mut pool), 1);
    }
}

#[test]
fn after_the_end_those_that_relay_nothing_are_fed_up_to_where_they_are_told() {
    let mut engine = Engine::new(0, 9);
    engine.rdmc = engine.rdmc.relayed_by(3);
    for transfer in 0..2 {
        engine.start(2000, 1000).unwrap();
        // Everybody has a buffer for it.
        let ready = engine.columns.ready.get(transfer as usize);
        (1..4).for_each(|peer| engine.tell(ready, peer, (transfer + 1) << 28 | (1 + 64 * transfer)));
    }
    let fed = |engine: &mut Engine, end: u64| {
        engine.rdmc.feed(&engine.table, &mut engine.outbox, u64::MAX, end).unwrap();
        let blocks =
            |writes: Vec<Write>| writes.iter().filter(|write| matches!(write, Write::Span { to, .. } if to.region == POOL)).count();
        [1, 2, 3].map(|peer| blocks(engine.writes_to(peer)))
    };
    assert_eq!(fed(&mut engine, 0), [0, 0, 0]);
    assert_eq!(fed(&mut engine, 1), [0, 0, 2], "the first");
    assert_eq!(fed(&mut engine, 1), [0, 0, 0]);
    assert_eq!(fed(&mut engine, 2), [0, 0, 2], "the rest");
}

#[test]
fn counters_that_stand_still_in_turn_are_all_heard_and_what_came_goes_on_at_once() {
    for (schedule, member) in ScheduleKind::ALL.into_iter().flat_map(|schedule| (1..4).map(move |member| (schedule, member))) {
        let (mut engine, plan) = (Engine::new(member, 9), Plan::new(schedule, 4, 3, member as u32));
        engine.announce(0, Descriptor { schedule, ..descriptor(0) }).unwrap();
        for to in plan.outgoing() {
            engine.tell(engine.columns.ready.get(0), to.peer as usize, 1 << 28 | 7);
        }
        let (mut held, mut posted) = (Vec::new(), vec![0; plan.outgoing().len()]);
        for count in 0..3 {
            for from in plan.incoming().iter().filter(|from| count < from.blocks.len()) {
                assert!(!engine.step().any(), "nothing came");
                engine.tell(engine.columns.sent.get(0), from.peer as usize, count as u64 + 1);
                held.push(from.blocks[count]);
                let before: usize = posted.iter().sum();
                for (to, posted) in plan.outgoing().iter().zip(&mut posted) {
                    *posted += to.blocks[*posted..].iter().take_while(|send| held.contains(&send.block)).count();
                }
                let moved = engine.step();
                let posts = (posted.iter().sum::<usize>() - before) as u32;
                assert_eq!((moved.arrived_blocks, moved.posted_blocks), (1, posts), "{schedule} at {member}, block {held:?}");
            }
        }
        assert_eq!(engine.rdmc.received(0), 1);
        assert!(plan.outgoing().iter().zip(&posted).all(|(to, &posted)| posted == to.blocks.len()));
    }
}

#[test]
fn a_block_that_waits_for_a_buffer_or_for_room_goes_out_though_no_other_comes() {
    let mut engine = relay();
    engine.tell(engine.columns.sent.get(2), 1, 1);
    assert_eq!((engine.step().posted_blocks, engine.step().posted_blocks), (0, 0));
    engine.tell(engine.columns.ready.get(2), 3, 1 << 28 | 7);
    assert_eq!(engine.step().posted_blocks, 1, "there is a buffer");
    let word = |place: u64| Write::Word { at: Place::new(TABLE, 8 * place), value: 0 };
    assert!((100..).any(|place| engine.outbox.push(Rank::new(3), word(place)).is_err()));
    engine.tell(engine.columns.sent.get(2), 1, 2);
    assert_eq!((engine.step().posted_blocks, engine.step().posted_blocks), (0, 0));
    engine.writes_to(3);
    assert_eq!(engine.step().posted_blocks, 1, "there is room");
}
