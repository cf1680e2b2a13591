//! The checks, generic over the provider.

mod absent;
mod cluster;
mod epoch;
mod misuse;
mod order;
mod parking;
mod pattern;
mod queue;
mod retire;
mod stream;

pub(crate) use absent::{
    a_member_that_ends_before_it_is_linked_is_down_from_the_start, a_member_that_never_comes_is_down_from_the_start,
    a_member_that_one_gave_up_is_not_linked_with_it_alone, a_member_that_stops_before_it_is_linked_is_down_from_the_start, assert_absent,
    without_patience_a_member_that_leaves_is_an_error,
};
pub(crate) use cluster::{Cluster, regions};
pub(crate) use epoch::{a_dropped_member_is_down_at_every_other_and_nobody_else_is, nothing_lands_from_or_at_a_member_that_is_down};
pub(crate) use misuse::a_wrong_post_is_a_bug_of_the_caller;
pub(crate) use order::{a_word_carries_its_value, a_word_never_tears, words_in_an_aligned_span_do_not_tear, words_land_in_posting_order};
pub(crate) use parking::{
    a_wake_from_another_thread_ends_a_park, no_wake_up_is_lost, park_times_out, what_lands_after_arm_ends_the_park,
    whole_group_parks_and_finishes,
};
pub(crate) use queue::{a_full_queue_leaves_nothing_behind, posting_never_waits_for_a_peer_that_does_not_poll};
pub(crate) use retire::nothing_of_an_epoch_lands_in_the_next;
pub(crate) use stream::{
    data_is_complete_when_its_counter_is_seen, large_spans_are_complete_when_their_counter_is_seen, nothing_allocates_after_open,
    streams_of_all_members_at_once,
};

/// Every check as a test of the fabric that the expression makes, with members as threads of this process. With `if`,
/// only where that fabric is to be had.
#[macro_export]
macro_rules! conformance {
    ($fabric:expr) => {
        $crate::conformance!($fabric, if true);
    };
    ($fabric:expr, if $there:expr) => {
        $crate::conformance!(@cluster $fabric, $there, 2, [
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
        $crate::conformance!(@cluster $fabric, $there, 4, [
            data_is_complete_when_its_counter_is_seen
            streams_of_all_members_at_once
            nothing_allocates_after_open
            a_dropped_member_is_down_at_every_other_and_nobody_else_is
            nothing_lands_from_or_at_a_member_that_is_down
        ]);
        $crate::conformance!(@threads $fabric, $there, 2, [
            no_wake_up_is_lost
            park_times_out
            a_wake_from_another_thread_ends_a_park
        ]);
        $crate::conformance!(@threads $fabric, $there, 4, [whole_group_parks_and_finishes]);
        $crate::conformance!(@opening $fabric, $there, [
            a_member_that_never_comes_is_down_from_the_start
            a_member_that_ends_before_it_is_linked_is_down_from_the_start
            a_member_that_stops_before_it_is_linked_is_down_from_the_start
            a_member_that_one_gave_up_is_not_linked_with_it_alone
            without_patience_a_member_that_leaves_is_an_error
        ]);
        #[test]
        fn nothing_of_an_epoch_lands_in_the_next() {
            if $there {
                $crate::suite::nothing_of_an_epoch_lands_in_the_next(|| $fabric);
            }
        }
    };
    (@opening $fabric:expr, $there:expr, [$($check:ident)*]) => {$(
        #[test]
        fn $check() {
            if $there {
                $crate::suite::$check(&$fabric);
            }
        }
    )*};
    (@cluster $fabric:expr, $there:expr, $members:expr, [$($check:ident)*]) => {$(
        #[test]
        fn $check() {
            if $there {
                $crate::suite::$check(&mut $crate::suite::Cluster::open(&$fabric, $members));
            }
        }
    )*};
    (@threads $fabric:expr, $there:expr, $members:expr, [$($check:ident)*]) => {$(
        #[test]
        fn $check() {
            if $there {
                $crate::suite::$check($crate::suite::Cluster::open(&$fabric, $members));
            }
        }
    )*};
}
