//! The checker accepts a right change of views and names the property of one that is not.

use squall_group::Mode;
use squall_sim::checker::{Property, Verdict, check};
use squall_sim::trace::{Event, Interleaving, Trace, state_after};
use squall_transport::{NodeId, Rank};

const HASH: u64 = 77;

fn process(rank: usize) -> NodeId {
    NodeId(10 + rank as u64)
}

fn install(rank: usize, view: u64) -> Event {
    // Member 0 is lost, member 3 joins.
    let members = if view == 0 { [0, 1, 2] } else { [1, 2, 3] }.map(process).to_vec();
    Event::Install {
        process: process(rank),
        view,
        members,
        voters: if view == 0 { 3 } else { 2 },
        senders: vec![Rank(1)],
        order: Mode::Ordered,
    }
}

fn deliver(rank: usize) -> Event {
    Event::Deliver { process: process(rank), view: 0, seq: 0, sender: Rank(1), index: 0, hash: HASH }
}

fn suspect(rank: usize) -> Event {
    Event::Suspect { process: process(rank), view: 0, whom: Rank(0) }
}

fn accept(rank: usize, leader: usize, trimmed: bool) -> Event {
    Event::Accept { process: process(rank), view: 0, leader: Rank::new(leader), trimmed }
}

fn wedge(rank: usize) -> Event {
    Event::Wedge { process: process(rank), view: 0 }
}

fn trim(rank: usize) -> Event {
    let next = [1, 2, 3].map(process).to_vec();
    Event::Trim {
        process: process(rank),
        view: 0,
        leader: Rank(1),
        vector: vec![1],
        proposed_by: vec![Rank(1), Rank(1)],
        next,
        next_voters: 2,
    }
}

fn behind() -> Event {
    Event::Behind { process: process(3), view: 1 }
}

fn restore(state: u64) -> Event {
    Event::Restore { process: process(3), view: 1, state, taken: Vec::new() }
}

fn finish(rank: usize) -> Event {
    Event::Finish { process: process(rank), unsent: 0, idle_posts: 0 }
}

/// Member 1 sends a message that all have and deliver; 0 dies, 1 leads, 3 joins.
fn good() -> Vec<Event> {
    let mut events: Vec<Event> = (0..3).map(|rank| install(rank, 0)).collect();
    events.push(Event::Send { process: process(1), view: 0, sender: Rank(1), index: 0, hash: HASH });
    events.extend([1, 0, 2].map(|rank| Event::Receive { process: process(rank), view: 0, sender: Rank(1), count: 1 }));
    events.extend([0, 1, 2].map(deliver));
    events.push(Event::Crash { process: process(0) });
    events.extend([suspect(1), wedge(1), suspect(2), wedge(2), accept(1, 1, false), accept(2, 1, false), accept(1, 1, true)]);
    events.extend([accept(2, 1, true), trim(2), trim(1), install(1, 1), install(3, 1), behind(), install(2, 1)]);
    events.push(restore(state_after(0, HASH)));
    events.extend((1..4).map(finish));
    events
}

fn verdict(events: Vec<Event>) -> Verdict {
    check(&Trace { interleaving: Interleaving::Global, events })
}

fn find(events: &[Event], wanted: &Event) -> usize {
    events.iter().position(|event| event == wanted).expect("the event is in the trace")
}

#[track_caller]
fn breaks(property: Property, change: impl FnOnce(&mut Vec<Event>)) {
    let mut events = good();
    change(&mut events);
    let verdict = verdict(events);
    assert!(verdict.breaks(property), "{property} is not among {:#?}", verdict.violations);
}

#[test]
fn a_right_change_is_accepted_wherever_it_is_cut_off() {
    let finishes = 3;
    for len in 0..=good().len() - finishes {
        assert_eq!(verdict(good()[..len].to_vec()).violations, [], "cut at {len}");
    }
    let verdict = verdict(good());
    assert_eq!((verdict.violations, verdict.views), (vec![], 2));
}

#[test]
fn a_newcomer_begins_with_the_state_of_the_others_and_not_before_it_has_it() {
    let right = || restore(state_after(0, HASH));
    breaks(Property::StateTransfer, |events| {
        let at = find(events, &right());
        events[at] = restore(0);
    });
    breaks(Property::StateTransfer, |events| {
        let at = find(events, &right());
        events.remove(at);
    });
    breaks(Property::StateTransfer, |events| {
        let at = find(events, &right());
        let early = Event::Deliver { process: process(3), view: 1, seq: 0, sender: Rank(1), index: 0, hash: 1 };
        events.insert(at, early);
    });
    breaks(Property::StateTransfer, |events| {
        let at = find(events, &right());
        events.insert(at, Event::Restore { process: process(2), view: 1, state: state_after(0, HASH), taken: Vec::new() });
    });
}

#[test]
fn whoever_goes_on_has_what_the_others_have() {
    breaks(Property::Uniformity, |events| {
        let at = find(events, &deliver(2));
        events.remove(at);
    });
}

#[test]
fn all_go_to_the_same_view() {
    breaks(Property::Majority, |events| {
        let at = find(events, &trim(1));
        if let Event::Trim { next, .. } = &mut events[at] {
            next.pop();
        }
    });
}

#[test]
fn nobody_leads_before_its_turn_and_nobody_turns_back() {
    breaks(Property::Leaders, |events| {
        let (late, early) = (find(events, &suspect(2)), find(events, &accept(1, 1, false)));
        let suspicion = events.remove(late);
        events.insert(early, suspicion);
    });
    breaks(Property::Leaders, |events| {
        let at = find(events, &trim(2));
        events.insert(at, accept(2, 0, false));
    });
}

#[test]
fn nobody_acts_before_a_majority_has_accepted_the_end_of_the_view() {
    breaks(Property::Wedge, |events| {
        let at = find(events, &accept(2, 1, true));
        events.remove(at);
    });
}

#[test]
fn a_bug_that_stops_a_process_is_told_whatever_else_happens() {
    let reason = format!("{}index out of bounds", squall_sim::checker::PANICKED);
    breaks(Property::ViewProgress, |events| events.push(Event::Stop { process: process(2), reason }));
}

#[test]
fn without_an_order_whoever_goes_on_has_at_least_what_lies_before_the_end() {
    let unordered = |events: &mut Vec<Event>| {
        for event in events {
            if let Event::Install { order, .. } = event {
                *order = Mode::Unordered;
            }
        }
    };
    let mut events = good();
    unordered(&mut events);
    assert_eq!(verdict(events).violations, []);
    breaks(Property::Uniformity, |events| {
        unordered(events);
        let at = find(events, &deliver(2));
        events.remove(at);
    });
}

/// A member may accept, decide, lose its leader and lead in one turn: the trace has to tell of the acceptance.
#[test]
fn who_leads_after_it_has_decided_has_accepted_before() {
    let lead_late = |told: bool| {
        let mut events = good();
        events.retain(|event| !matches!(event, Event::Accept { .. } | Event::Crash { .. } | Event::Suspect { .. }));
        let at = find(&events, &trim(2));
        let told = [accept(1, 0, true)].into_iter().filter(|_| told);
        let by_the_dead = [accept(0, 0, true)].into_iter().chain(told);
        let dead = Event::Crash { process: process(0) };
        let led = [dead, suspect(1), suspect(2), accept(1, 1, true), trim(1), accept(2, 1, true)];
        events.retain(|event| *event != trim(1));
        events.splice(at..at, by_the_dead.chain(led));
        for event in &mut events {
            if let Event::Trim { process: of, leader, .. } = event
                && *of == process(1)
            {
                *leader = Rank(0);
            }
        }
        verdict(events)
    };
    assert_eq!(lead_late(true).violations, []);
    assert!(lead_late(false).breaks(Property::Wedge));
}
