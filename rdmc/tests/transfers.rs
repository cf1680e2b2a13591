//! Transfers under any interleaving: every byte right, order kept, every buffer returned, nothing written before it is
//! awaited.

mod world;

use proptest::prelude::*;
use squall_rdmc::Mutation;
use squall_rdmc::schedule::ScheduleKind;
use world::{Random, Setup, World};

fn setups() -> impl Strategy<Value = Setup> {
    let schedules = prop::sample::subsequence(ScheduleKind::ALL.to_vec(), 1..=ScheduleKind::ALL.len());
    (any::<u64>(), schedules, 1..=9usize, 1..=4usize, 1..=6u64, 1..=3u32, 0..=3u32, any::<bool>()).prop_map(
        |(seed, schedules, members, senders, messages, transfers_max, extra_buffers, in_order)| Setup {
            seed,
            schedules,
            members,
            senders: senders.min(members),
            messages,
            transfers_max,
            extra_buffers,
            in_order,
            mutation: Mutation::None,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_message_arrives_whole_in_order_and_leaves_no_buffer_behind(setup in setups()) {
        World::new(setup).run().map_err(TestCaseError::fail)?;
    }
}

/// Seeds out of 20 under which a world with this fault goes wrong.
fn caught(mutation: Mutation) -> usize {
    let wrong = |seed| {
        let setup = Setup {
            seed: Random(seed).below(u64::MAX),
            schedules: vec![ScheduleKind::Pipeline],
            members: 5,
            senders: 2,
            messages: 4,
            transfers_max: 2,
            extra_buffers: 1,
            in_order: false,
            mutation,
        };
        World::new(setup).run().is_err()
    };
    (0..20).filter(|&seed| wrong(seed)).count()
}

#[test]
fn a_counter_that_overtakes_its_data_is_caught() {
    assert_eq!(caught(Mutation::None), 0);
    assert!(caught(Mutation::CounterFirst) > 0);
    assert!(caught(Mutation::CounterByReference) > 0);
}
