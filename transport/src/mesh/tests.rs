use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::message::Hello;
use super::options::MeshOptions;
use super::parts::{Part, Parts};
use super::shared::Shared;
use super::*;

const MEETING: [u8; 16] = [1; 16];
const PEER: NodeId = NodeId(2);

fn part(meeting: u8, step: u32, bytes: usize) -> Part {
    Part { meeting: [meeting; 16], step, what: "what".to_owned(), bytes: vec![step as u8; bytes] }
}

#[test]
fn a_connection_that_comes_up_after_a_disconnect_and_before_it_is_obeyed_is_not_seen() {
    let shared = Shared::new(&MeshOptions::default()).expect("an eventfd");
    let address = "127.0.0.1:7".parse().expect("an address");
    let hello = Hello { node: PEER, address, frame_bytes_max: 1 << 20 };
    let raise = || shared.change(|state| state.raise(&hello, Arc::new(AtomicUsize::new(0))));
    shared.change(|state| state.disconnect(PEER));
    raise();
    shared.change(|state| state.confirm(PEER));
    assert_eq!(shared.next(), None);
    assert_eq!(shared.change(|state| state.send(PEER, b"x")), Err(MeshSendError::NotConnected { node: PEER }));
    shared.change(|state| state.connect(address, Some(PEER)));
    assert_eq!(shared.change(|state| state.take_orders()).len(), 2);
    raise();
    assert_eq!(shared.next(), Some(MeshEvent::Up { node: PEER, address }));
}

#[test]
fn parts_that_come_early_are_bounded_in_number_and_bytes_and_the_newest_stay() {
    let mut parts = Parts::new(10_000);
    for step in 0..1000 {
        assert!(!parts.put(PEER, part(1, step, 0)), "no meeting runs");
    }
    parts.begin(MEETING, vec![PEER]);
    assert_eq!(parts.take(&MEETING, PEER, 0), None);
    assert_eq!(parts.take(&MEETING, PEER, 999), Some(part(1, 999, 0)));
    let mut parts = Parts::new(10_000);
    for meeting in 0..100 {
        parts.put(PEER, part(meeting, 7, 6000));
    }
    for meeting in 0..100 {
        parts.begin([meeting; 16], vec![PEER]);
    }
    let kept = (0..100).filter(|&meeting| parts.take(&[meeting; 16], PEER, 7).is_some());
    assert_eq!(kept.collect::<Vec<_>>(), [99]);
}

#[test]
fn early_parts_of_other_meetings_do_not_push_out_those_of_a_running_one() {
    let mut parts = Parts::new(10_000);
    parts.begin(MEETING, vec![PEER]);
    assert!(parts.put(PEER, part(1, 0, 5000)));
    for meeting in 2..200 {
        parts.put(PEER, part(meeting, 0, 4000));
    }
    assert_eq!(parts.take(&MEETING, PEER, 0), Some(part(1, 0, 5000)));
}

#[test]
fn parts_of_a_meeting_that_is_over_and_of_strangers_to_it_are_dropped() {
    let mut parts = Parts::new(10_000);
    parts.begin(MEETING, vec![PEER]);
    assert!(!parts.put(NodeId(3), part(1, 0, 1)), "node 3 is no member");
    assert!(parts.put(PEER, part(1, 0, 1)));
    parts.end(MEETING);
    assert!(!parts.put(PEER, part(1, 1, 1)));
    parts.begin(MEETING, vec![PEER, NodeId(3)]);
    assert_eq!([PEER, NodeId(3)].map(|node| parts.take(&MEETING, node, 0)), [None, None]);
    assert_eq!(parts.take(&MEETING, PEER, 1), None);
}

#[test]
fn what_a_lost_member_gave_before_counts_and_nothing_after() {
    let mut parts = Parts::new(10_000);
    parts.begin(MEETING, vec![PEER]);
    parts.put(PEER, part(1, 0, 1));
    parts.put(PEER, part(2, 0, 1));
    parts.lose(PEER);
    assert!(parts.is_lost(&MEETING, PEER));
    assert!(!parts.put(PEER, part(1, 1, 1)));
    assert_eq!(parts.take(&MEETING, PEER, 0), Some(part(1, 0, 1)));
    parts.begin([2; 16], vec![PEER]);
    assert_eq!(parts.take(&[2; 16], PEER, 0), None, "it was early, and its giver is gone");
}
