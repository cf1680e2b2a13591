//! What the traces of all processes of a group say together, and which properties it breaks.

use std::collections::HashMap;
use std::path::PathBuf;

use squall_sim::checker::{Verdict, check};
use squall_sim::trace::{Event, Interleaving, Trace};
use squall_transport::{NodeId, Rank};

use super::ledger::{self, Entry};

/// One life of a process: from its way into the group to its way out.
#[derive(Clone, Debug)]
pub(super) struct Life {
    /// Its name.
    pub(super) node: NodeId,
    /// What it wrote down.
    pub(super) trace: PathBuf,
    /// What became of it.
    pub(super) fate: Fate,
}

/// What became of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is a member at rest: all is sent and delivered.
    Rests,
    /// It was killed.
    Killed,
    /// It said why it is no member, as the last thing in its trace.
    Over,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Findings {
    /// Everything, in one order that the checker can follow.
    pub(super) trace: Trace,
    /// What the simulator's checker says of it.
    pub(super) verdict: Verdict,
    /// What only these traces can tell: states on their way that came out as something else.
    pub(super) states: Vec<String>,
    /// States that newcomers took in.
    pub(super) transfers: u64,
}

impl Findings {
    /// Whether every property holds.
    pub(super) fn hold(&self) -> bool {
        self.verdict.holds() && self.states.is_empty()
    }

    /// What does not hold, one line each.
    pub(super) fn lines(&self) -> Vec<String> {
        self.verdict.violations.iter().map(ToString::to_string).chain(self.states.iter().cloned()).collect()
    }
}

/// Puts the traces together by their times, which all processes of a host share, and checks them.
///
/// # Errors
/// A trace cannot be read.
pub(super) fn examine(lives: &[Life]) -> anyhow::Result<Findings> {
    let mut entries: Vec<(u64, NodeId, Entry)> = Vec::new();
    for life in lives {
        entries.extend(ledger::read(&life.trace)?.into_iter().map(|(at_ns, entry)| (at_ns, life.node, entry)));
    }
    // Stable: entries of one process stay in their order.
    entries.sort_by_key(|(at_ns, ..)| *at_ns);
    let mut trace = Trace::new(Interleaving::PerProcess);
    let (mut given, mut taken) = (Vec::new(), Vec::new());
    for (_, node, entry) in entries {
        match entry {
            Entry::Event(event) => trace.events.push(event),
            Entry::Gave { view, hash } => given.push((view, node, hash)),
            Entry::Took { view, hash } => taken.push((view, node, hash)),
        }
    }
    let killed: Vec<NodeId> = lives.iter().filter(|life| life.fate == Fate::Killed).map(|life| life.node).collect();
    trace.events.extend(untold_nulls(&trace.events, &killed));
    trace.events.extend(killed.into_iter().map(|process| Event::Crash { process }));
    for life in lives.iter().filter(|life| life.fate == Fate::Rests) {
        trace.events.push(Event::Finish { process: life.node, unsent: 0, idle_posts: 0 });
    }
    let verdict = check(&trace);
    let transfers = taken.len() as u64;
    Ok(Findings { states: differing(&given, &taken), transfers, trace, verdict })
}

/// States that were taken in and given by nobody.
fn differing(given: &[(u64, NodeId, u64)], taken: &[(u64, NodeId, u64)]) -> Vec<String> {
    let is_given = |view: u64, hash: u64| given.iter().any(|gave| (gave.0, gave.2) == (view, hash));
    let wrong = taken.iter().filter(|(view, _, hash)| !is_given(*view, *hash));
    wrong.map(|(view, node, _)| format!("property 23 (StateTransfer): {node} took in a state for view {view} that nobody gave")).collect()
}

/// Nulls of processes that were killed before they could tell of them. A message is written down before it leaves its process, so whatever index of a killed
/// process others passed over, and its trace does not tell of, was a null.
fn untold_nulls(events: &[Event], killed: &[NodeId]) -> Vec<Event> {
    let mut views: HashMap<u64, (&[NodeId], &[Rank])> = HashMap::new();
    // By view: the least cut, and the last position that anybody delivered.
    let mut ends: HashMap<u64, &[u64]> = HashMap::new();
    let mut last_seq: HashMap<u64, u64> = HashMap::new();
    // Of each killed process: the view that it was in, and its first index that is not told of.
    let mut own: HashMap<NodeId, (u64, u64)> = HashMap::new();
    for event in events {
        match event {
            Event::Install { process, view, members, senders, .. } => {
                views.insert(*view, (members, senders));
                own.insert(*process, (*view, 0));
            }
            Event::Send { process, index, .. } => {
                own.entry(*process).and_modify(|own| own.1 = index + 1);
            }
            Event::Null { process, first, count, .. } => {
                own.entry(*process).and_modify(|own| own.1 = first + count);
            }
            Event::Deliver { view, seq, .. } => {
                let last = last_seq.entry(*view).or_default();
                *last = (*last).max(*seq);
            }
            Event::Trim { view, vector, .. } => {
                ends.insert(*view, vector);
            }
            _ => {}
        }
    }
    let untold = |process: &NodeId| {
        let (view, first) = *own.get(process)?;
        let (members, senders) = views.get(&view)?;
        let rank = Rank::new(members.iter().position(|member| member == process)?);
        let position = senders.iter().position(|sender| *sender == rank)?;
        // Turns of this sender before the last delivery: of 3 senders, position 1 has turns at 1, 4, 7.
        let passed = last_seq.get(&view)?.saturating_sub(position as u64).div_ceil(senders.len() as u64);
        let until = ends.get(&view).map_or(passed, |end| passed.min(end[position]));
        (first < until).then(|| Event::Null { process: *process, view, sender: rank, first, count: until - first })
    };
    killed.iter().filter_map(untold).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(7);
    const B: NodeId = NodeId(8);

    fn install(process: NodeId) -> Event {
        Event::Install { process, view: 0, members: vec![A, B], senders: vec![Rank(0), Rank(1)], ordered: true }
    }

    fn messages(count: u64) -> Vec<Event> {
        let mut events = vec![install(A), install(B)];
        for index in 0..count {
            events.push(Event::Send { process: A, view: 0, sender: Rank(0), index, hash: index });
            events.push(Event::Deliver { process: A, view: 0, seq: 2 * index, sender: Rank(0), index, hash: index });
        }
        events
    }

    #[test]
    fn a_killed_process_is_credited_with_the_nulls_that_others_passed_over() {
        let mut events = messages(3);
        let untold = untold_nulls(&events, &[B]);
        // Positions 0, 2, 4 were delivered: B's turns at 1 and 3 were passed.
        assert_eq!(untold, [Event::Null { process: B, view: 0, sender: Rank(1), first: 0, count: 2 }]);
        events.push(Event::Null { process: B, view: 0, sender: Rank(1), first: 0, count: 1 });
        assert_eq!(untold_nulls(&events, &[B]), [Event::Null { process: B, view: 0, sender: Rank(1), first: 1, count: 1 }]);
        let end = Event::Trim { process: A, view: 0, leader: Rank(0), vector: vec![3, 1], proposed_by: vec![Rank(0)] };
        events.push(end);
        assert_eq!(untold_nulls(&events, &[B]), [], "what lies behind the end was nobody's null");
    }

    #[test]
    fn a_state_that_nobody_gave_is_told() {
        assert!(differing(&[(1, A, 5)], &[(1, B, 5)]).is_empty());
        assert_eq!(differing(&[(1, A, 5)], &[(1, B, 6), (2, B, 5)]).len(), 2);
    }
}
