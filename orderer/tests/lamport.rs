//! Lamport's order under random interleavings: all deliver the same, whatever each has heard when, and the end of a
//! view makes no difference.

use proptest::prelude::*;
use squall_orderer::{Columns, Lamport, Orderer, Run};
use squall_sst::{LayoutBuilder, Table};
use squall_transport::{Outbox, Rank, Region, RegionOptions};

/// What one index of a stream is.
#[derive(Clone, Debug)]
enum Sent {
    Message,
    Decision(Vec<u8>),
}

struct Member {
    order: Lamport,
    table: Table,
    received: Vec<usize>,
    delivered: Vec<Run>,
}

/// Members that send into streams, of which each receives as much as it is told to. Words land at once.
struct World {
    region: Region,
    streams: Vec<Vec<Sent>>,
    members: Vec<Member>,
}

impl World {
    /// The first `senders` of `members` send; the first `voters` vote.
    fn new(members: usize, voters: usize, senders: usize) -> World {
        let (layout, columns) = LayoutBuilder::compose(members, |builder| Columns::compose(builder, senders));
        let region = Region::allocate(layout.bytes() as usize, &RegionOptions::default()).unwrap();
        let ranks: Vec<Rank> = (0..senders).map(Rank::new).collect();
        let member = |me| Member {
            order: Lamport::new(columns, members, voters, &ranks, Rank::new(me)),
            table: Table::new(region.clone(), &layout, Rank::new(me)),
            received: vec![0; senders],
            delivered: Vec::new(),
        };
        let members = (0..members).map(member).collect();
        World { region: region.clone(), streams: vec![Vec::new(); senders], members }
    }

    /// The member receives `count` more of the sender, at the most.
    fn receive(&mut self, member: usize, sender: usize, count: usize) {
        let Member { order, received, .. } = &mut self.members[member];
        let from = received[sender];
        for (index, sent) in self.streams[sender].iter().enumerate().skip(from).take(count) {
            if let Sent::Decision(decision) = sent {
                assert!(order.decided(sender, index as u64, decision), "it is one");
            }
            received[sender] = index + 1;
        }
        order.received(sender, received[sender] as u64, 0);
    }

    /// One turn of the member's loop. What it sent itself it has.
    fn turn(&mut self, member: usize, due: bool) {
        if member < self.streams.len() {
            self.receive(member, member, usize::MAX);
        }
        let Member { order, table, delivered, .. } = &mut self.members[member];
        let mut outbox = Outbox::new(table.members());
        order.acknowledge(table, &mut outbox, due);
        // One region for all: what is pushed stands where it belongs already, but for what goes to one alone.
        for to in (0..table.members()).map(Rank::new) {
            while let Some(write) = outbox.pop(to) {
                squall_transport::sim::land(write, &[], std::slice::from_ref(&self.region));
            }
        }
        order.refresh(table).unwrap();
        while let Some(run) = order.next(3) {
            delivered.push(run);
        }
        order.delivered(table, &mut outbox);
        let mut decision = Vec::new();
        if let Some(stream) = self.streams.get_mut(member)
            && order.decide(table, 9, stream.len() as u64, &mut decision).unwrap()
        {
            stream.push(Sent::Decision(decision));
        }
    }

    /// Every index that was delivered at the member, in its order.
    fn sequence(&self, member: usize) -> Vec<(usize, u64)> {
        let runs = &self.members[member].delivered;
        runs.iter().flat_map(|run| (run.index..run.index + run.count).map(|index| (run.sender, index))).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Send(usize, usize),
    Receive(usize, usize, usize),
    Turn(usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0usize..3, 1usize..4).prop_map(|(sender, count)| Step::Send(sender, count)),
        6 => (0usize..4, 0usize..3, 1usize..6).prop_map(|(member, sender, count)| Step::Receive(member, sender, count)),
        5 => (0usize..4, any::<bool>()).prop_map(|(member, due)| Step::Turn(member, due)),
    ]
}

fn play(world: &mut World, steps: &[Step]) {
    let senders = world.streams.len();
    for step in steps {
        match *step {
            Step::Send(sender, count) => world.streams[sender % senders].extend(std::iter::repeat_n(Sent::Message, count)),
            Step::Receive(member, sender, count) => world.receive(member, sender % senders, count),
            Step::Turn(member, due) => world.turn(member, due),
        }
    }
}

#[test]
fn a_learner_goes_on_by_what_it_has_of_a_sender_whose_later_messages_wait_for_its_earlier_ones() {
    let (mut world, learner) = (World::new(3, 2, 2), 2);
    let send = |world: &mut World, sender: usize| {
        world.streams[sender].push(Sent::Message);
        for _ in 0..4 {
            for member in 0..2 {
                (0..2).for_each(|sender| world.receive(member, sender, usize::MAX));
                world.turn(member, true);
            }
        }
    };
    // Of sender 0 a second message, which has no buffer at the learner before the first one is delivered there.
    [0, 1].into_iter().for_each(|sender| send(&mut world, sender));
    let has_room = world.streams[0].len();
    [0, 1].into_iter().for_each(|sender| send(&mut world, sender));
    let all = world.sequence(0);
    assert_eq!(all.len(), world.streams.iter().map(Vec::len).sum::<usize>(), "voters have ordered and delivered it all");

    world.receive(learner, 0, has_room);
    world.receive(learner, 1, usize::MAX);
    world.turn(learner, true);
    let told = world.sequence(learner);
    assert!(told.contains(&(0, 0)) && all.starts_with(&told), "{told:?} of {all:?}");
    assert!(!told.contains(&(1, world.streams[1].len() as u64 - 1)), "what sender 0 has sent since comes before: {told:?}");
    world.receive(learner, 0, usize::MAX);
    world.turn(learner, true);
    assert_eq!(world.sequence(learner), all);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn all_deliver_the_same_and_in_the_end_all_of_it(
        voters in 3usize..=4, senders in 1usize..=3, steps in proptest::collection::vec(step(), 1..300)
    ) {
        let mut world = World::new(4, voters, senders);
        play(&mut world, &steps);
        for _ in 0..30 {
            for member in 0..4 {
                (0..senders).for_each(|sender| world.receive(member, sender, usize::MAX));
                world.turn(member, true);
            }
        }
        let all = world.sequence(0);
        prop_assert_eq!(all.len(), world.streams.iter().map(Vec::len).sum::<usize>(), "decisions too");
        for member in 0..4 {
            prop_assert_eq!(&world.sequence(member), &all, "member {}", member);
            let mut seq = 0;
            for run in &world.members[member].delivered {
                prop_assert_eq!(run.seq, seq);
                seq += run.count;
            }
        }
        for sender in 0..senders {
            let (member, mut next) = (&mut world.members[sender], 0);
            let everywhere = member.order.delivered_everywhere(&member.table).unwrap();
            prop_assert_eq!(everywhere, world.streams[sender].len() as u64, "nothing is kept for ever");
            for (_, index) in all.iter().filter(|(of, _)| *of == sender) {
                prop_assert_eq!(*index, next);
                next += 1;
            }
        }
    }

    #[test]
    fn at_the_end_of_a_view_all_that_go_on_deliver_the_same(
        voters in 3usize..=4, senders in 1usize..=3, steps in proptest::collection::vec(step(), 1..200)
    ) {
        let mut world = World::new(4, voters, senders);
        play(&mut world, &steps);
        let least = |sender: usize| world.members[..voters].iter().map(|member| member.received[sender]).min().unwrap();
        let trim: Vec<u64> = (0..senders).map(|sender| least(sender) as u64).collect();
        for member in 0..4 {
            // A learner goes on receiving until it has what is kept.
            if member >= voters {
                (0..senders).for_each(|sender| world.receive(member, sender, usize::MAX));
            }
            let Member { order, delivered, .. } = &mut world.members[member];
            delivered.extend(std::iter::from_fn(|| order.next_to(&trim)));
        }
        let all = world.sequence(0);
        prop_assert_eq!(all.len() as u64, trim.iter().sum::<u64>(), "all that is kept");
        for member in 1..4 {
            prop_assert_eq!(&world.sequence(member), &all, "member {}", member);
        }
    }
}
