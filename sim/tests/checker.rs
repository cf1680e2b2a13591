//! The checker accepts what is right and names the property of what is not.

use squall_group::Mode;
use squall_sim::checker::{Property, check};
use squall_sim::trace::{Event, Interleaving, Trace};
use squall_transport::{NodeId, Rank};

const VIEW: u64 = 0;

fn process(rank: usize) -> NodeId {
    NodeId(10 + rank as u64)
}

fn install(rank: usize, order: Mode) -> Event {
    let members: Vec<NodeId> = (0..3).map(process).collect();
    Event::Install { process: process(rank), view: VIEW, voters: members.len(), members, senders: vec![Rank(0), Rank(2)], order }
}

fn send(rank: usize, index: u64) -> Event {
    Event::Send { process: process(rank), view: VIEW, sender: Rank::new(rank), index, hash: hash(rank, index) }
}

fn null(rank: usize, first: u64, count: u64) -> Event {
    Event::Null { process: process(rank), view: VIEW, sender: Rank::new(rank), first, count }
}

fn receive(rank: usize, sender: usize, count: u64) -> Event {
    Event::Receive { process: process(rank), view: VIEW, sender: Rank::new(sender), count }
}

fn deliver(rank: usize, sender: usize, index: u64) -> Event {
    let seq = index * 2 + u64::from(sender == 2);
    Event::Deliver { process: process(rank), view: VIEW, seq, sender: Rank::new(sender), index, hash: hash(sender, index) }
}

fn finish(rank: usize) -> Event {
    Event::Finish { process: process(rank), unsent: 0, idle_posts: 0 }
}

fn hash(sender: usize, index: u64) -> u64 {
    1000 * sender as u64 + index
}

/// Sender 0 sends indices 0 and 1, sender 2 fills turn 0 and sends index 1; everyone delivers all three.
fn good() -> Vec<Event> {
    let mut events: Vec<Event> = (0..3).map(|rank| install(rank, Mode::Ordered)).collect();
    events.extend([send(0, 0), receive(0, 0, 1), send(0, 1), receive(0, 0, 2)]);
    events.extend([receive(2, 0, 2), null(2, 0, 1), send(2, 1), receive(2, 2, 2)]);
    events.extend([receive(1, 0, 2), receive(1, 2, 2), receive(0, 2, 2)]);
    for rank in 0..3 {
        events.extend([deliver(rank, 0, 0), deliver(rank, 0, 1), deliver(rank, 2, 1)]);
    }
    events.extend((0..3).map(finish));
    events
}

fn find(events: &[Event], wanted: &Event) -> usize {
    events.iter().position(|event| event == wanted).expect("the event is in the trace")
}

fn verdict(events: Vec<Event>) -> squall_sim::checker::Verdict {
    check(&Trace { interleaving: Interleaving::Global, events })
}

#[track_caller]
fn breaks(property: Property, change: impl FnOnce(&mut Vec<Event>)) {
    let mut events = good();
    change(&mut events);
    let verdict = verdict(events);
    assert!(verdict.breaks(property), "{property} is not among {:#?}", verdict.violations);
}

#[test]
fn a_right_run_is_accepted_and_counted() {
    let verdict = verdict(good());
    assert_eq!(verdict.violations, []);
    assert_eq!((verdict.sends, verdict.deliveries, verdict.nulls), (3, 9, 1));
}

#[test]
fn a_run_that_was_cut_off_is_not_asked_for_what_had_to_follow() {
    for len in 0..good().len() {
        assert_eq!(verdict(good()[..len].to_vec()).violations, [], "cut at {len}");
    }
}

#[test]
fn traces_of_real_processes_are_checked_without_a_common_clock() {
    let mut events = good();
    events.sort_by_key(|event| std::cmp::Reverse(event.process()));
    assert_eq!(check(&Trace { interleaving: Interleaving::PerProcess, events: events.clone() }).violations, []);
    assert!(!verdict(events).holds(), "in a common order it is wrong");
}

#[test]
fn views_are_the_same_for_all_and_rise() {
    breaks(Property::ViewIdentity, |events| events[1] = install(1, Mode::Unordered));
    breaks(Property::ViewMonotony, |events| events.insert(3, install(1, Mode::Ordered)));
    breaks(Property::SelfInclusion, |events| {
        let members = vec![process(1), process(2)];
        events.push(Event::Install { process: process(0), view: 7, voters: members.len(), members, senders: vec![], order: Mode::Ordered });
    });
}

#[test]
fn only_what_was_sent_is_delivered() {
    breaks(Property::Integrity, |events| {
        let at = find(events, &deliver(1, 0, 1));
        if let Event::Deliver { hash, .. } = &mut events[at] {
            *hash ^= 1;
        }
    });
    breaks(Property::Integrity, |events| events.insert(20, deliver(1, 0, 2)));
    breaks(Property::Integrity, |events| {
        let at = find(events, &send(0, 1));
        events[at] = Event::Send { process: process(1), view: VIEW, sender: Rank(0), index: 1, hash: hash(0, 1) };
    });
}

#[test]
fn nothing_is_delivered_twice_or_in_another_view() {
    breaks(Property::NoDuplication, |events| {
        let at = find(events, &deliver(1, 0, 1));
        events.insert(at, deliver(1, 0, 1));
    });
    breaks(Property::SameView, |events| {
        let at = find(events, &deliver(1, 0, 1));
        if let Event::Deliver { view, .. } = &mut events[at] {
            *view = 1;
        }
    });
    breaks(Property::SameView, |events| {
        let at = find(events, &deliver(1, 0, 1));
        events.insert(at, Event::Crash { process: process(1) });
    });
}

#[test]
fn a_gap_and_a_swap_are_told() {
    breaks(Property::Fifo, |events| {
        let at = find(events, &deliver(2, 0, 0));
        events.remove(at);
    });
    breaks(Property::TotalOrder, |events| {
        let at = find(events, &deliver(2, 0, 1));
        events.swap(at, at + 1);
    });
    breaks(Property::RoundRobin, |events| {
        let at = find(events, &deliver(2, 0, 1));
        events.swap(at, at + 1);
    });
    breaks(Property::RoundRobin, |events| {
        let at = find(events, &deliver(2, 0, 1));
        if let Event::Deliver { seq, .. } = &mut events[at] {
            *seq += 2;
        }
    });
}

#[test]
fn nobody_delivers_what_another_lacks() {
    breaks(Property::Stability, |events| {
        let at = find(events, &receive(1, 2, 2));
        events.remove(at);
    });
}

#[test]
fn nulls_only_answer_data_and_are_never_delivered() {
    breaks(Property::Nulls, |events| {
        let at = find(events, &null(2, 0, 1));
        let early = events.remove(at);
        events.insert(3, early);
    });
    breaks(Property::Nulls, |events| {
        let at = find(events, &deliver(1, 0, 1));
        events.insert(at, deliver(1, 2, 0));
    });
    breaks(Property::Nulls, |events| {
        let at = events.len() - 3;
        events.insert(at, null(0, 2, 5));
    });
}

#[test]
fn frontiers_do_not_go_back_or_run_ahead() {
    breaks(Property::Fifo, |events| {
        let at = events.len() - 3;
        events.insert(at, receive(1, 0, 1));
    });
    breaks(Property::Integrity, |events| {
        let at = events.len() - 3;
        events.insert(at, receive(1, 0, 3));
    });
}

#[test]
fn whoever_stays_delivers_everything_sends_everything_and_then_is_quiet() {
    breaks(Property::DeliveryProgress, |events| {
        let at = find(events, &deliver(1, 2, 1));
        events.remove(at);
    });
    breaks(Property::Quiescence, |events| {
        *events.last_mut().unwrap() = Event::Finish { process: process(2), unsent: 0, idle_posts: 1 };
    });
    breaks(Property::SendProgress, |events| {
        *events.last_mut().unwrap() = Event::Finish { process: process(2), unsent: 1, idle_posts: 0 };
    });
}

#[test]
fn in_an_unordered_view_only_each_senders_order_counts() {
    let mut events = good();
    (0..3).for_each(|rank| events[rank] = install(rank, Mode::Unordered));
    let at = find(&events, &deliver(2, 0, 1));
    events.swap(at, at + 1);
    assert_eq!(verdict(events.clone()).violations, []);
    events.swap(at - 1, at + 1);
    assert!(verdict(events).breaks(Property::NoDuplication));
}
