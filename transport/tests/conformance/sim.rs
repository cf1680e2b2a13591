//! Provider `sim`: driven by whoever holds the cluster. It allocates as it goes (virtual time has no data path), so T7
//! is not asked of it.

use std::time::Duration;

use squall_transport::sim::{LinkSpec, SimEndpoint, SimFabric, SoloExchange};
use squall_transport::{Endpoint, Fabric, Rank, WriteOrder};

use crate::suite::{self, Cluster};

/// Short queues, wide jitter, many pieces; time passes between rounds and within calls.
fn cluster(members: usize) -> Cluster<SimEndpoint> {
    cluster_without(WriteOrder::Ordered, members, &[], |_, _| false)
}

/// As [`cluster`], of a network that keeps no order.
fn counted_cluster(members: usize) -> Cluster<SimEndpoint> {
    cluster_without(WriteOrder::Counted, members, &[], |_, _| false)
}

/// Those in `absent` do not open, and a member opens without those that it is said to give up.
fn cluster_without(order: WriteOrder, members: usize, absent: &[usize], gives_up: impl Fn(usize, usize) -> bool) -> Cluster<SimEndpoint> {
    let link = LinkSpec { jitter_ns: 3000, queue_max: 64, spurious_full_per_mille: 2, pieces_max: 6, ..LinkSpec::default() };
    let (network, fabrics) = SimFabric::mesh(members as u64, members, link);
    network.set_call_ns_max(200);
    if order == WriteOrder::Counted {
        network.count_writes();
    }
    assert!(fabrics.iter().all(|fabric| fabric.write_order() == order));
    let open = |(index, fabric): (usize, SimFabric)| {
        let [table, pool] = suite::regions(&fabric);
        let without: Vec<Rank> = (0..members).filter(|&other| gives_up(index, other)).map(Rank::new).collect();
        let mut exchange = SoloExchange::new(Rank::new(index), members);
        if !without.is_empty() {
            exchange = exchange.without(&without, Duration::from_millis(1));
        }
        let open = || fabric.open(&mut exchange, &[table.clone(), pool.clone()]).expect("the fabric opens");
        let endpoint = (!absent.contains(&index)).then(open);
        (endpoint, table, pool)
    };
    let opened = fabrics.into_iter().enumerate().map(open).collect();
    Cluster::with_gaps(opened, Box::new(move || network.advance_to(network.now_ns() + 500)))
}

macro_rules! driven {
    ($cluster:ident($members:expr), [$($check:ident)*]) => {$(
        #[test]
        fn $check() {
            crate::suite::$check(&mut super::$cluster($members));
        }
    )*};
}

macro_rules! on_threads {
    ($cluster:ident($members:expr), [$($check:ident)*]) => {$(
        #[test]
        fn $check() {
            crate::suite::$check(super::$cluster($members));
        }
    )*};
}

macro_rules! conformance_of {
    ($name:ident, $cluster:ident) => {
        mod $name {
            driven!($cluster(2), [
                words_land_in_posting_order
                a_word_carries_its_value
                a_word_never_tears
                words_in_an_aligned_span_do_not_tear
                a_full_queue_leaves_nothing_behind
                posting_never_waits_for_a_peer_that_does_not_poll
                a_wrong_post_is_a_bug_of_the_caller
                large_spans_are_complete_when_their_counter_is_seen
                what_lands_after_arm_ends_the_park
            ]);
            driven!($cluster(4), [
                data_is_complete_when_its_counter_is_seen
                streams_of_all_members_at_once
                a_dropped_member_is_down_at_every_other_and_nobody_else_is
                nothing_lands_from_or_at_a_member_that_is_down
            ]);
            on_threads!($cluster(2), [park_times_out a_wake_from_another_thread_ends_a_park]);
        }
    };
}

conformance_of!(ordered, cluster);
conformance_of!(counted, counted_cluster);

#[test]
fn a_member_that_never_comes_is_down_from_the_start() {
    for who in 0..3 {
        let mut cluster = cluster_without(WriteOrder::Ordered, 3, &[who], |at, other| at != who && other == who);
        let reason = cluster.endpoint((who + 1) % 3).down_reason(Rank::new(who));
        assert!(reason.is_some_and(|reason| !reason.is_empty()));
        suite::assert_absent(&mut cluster, |from, to| from == who || to == who);
    }
}

#[test]
fn a_member_that_one_gave_up_is_not_linked_with_it_alone() {
    for (one, other) in [(0, 1), (1, 0), (0, 2), (2, 1)] {
        let mut cluster = cluster_without(WriteOrder::Ordered, 3, &[], |at, peer| (at, peer) == (one, other));
        suite::assert_absent(&mut cluster, |from, to| (from, to) == (one, other) || (to, from) == (one, other));
    }
}
