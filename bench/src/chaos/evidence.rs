//! What the traces of all processes of a group say together, and which properties it breaks.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use squall_group::Mode;
use squall_sim::checker::{Verdict, check};
use squall_sim::trace::{Event, Interleaving, Trace};
use squall_transport::{NodeId, Rank};

use super::trace_file::{self, Entry};

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
    /// It lives.
    Lives,
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

/// Puts the traces together by their times, which all processes of a host share, and checks them. `rests`: all that
/// live are members at rest, and everything is sent and delivered, so that what should have happened by now is asked
/// for, too.
///
/// # Errors
/// A trace cannot be read.
pub(super) fn examine(lives: &[Life], rests: bool) -> anyhow::Result<Findings> {
    let mut entries: Vec<(u64, NodeId, Entry)> = Vec::new();
    // Whoever was killed on its way may not have got as far as to write anything.
    let wrote = |life: &&Life| life.fate != Fate::Killed || life.trace.exists();
    for life in lives.iter().filter(wrote) {
        entries.extend(trace_file::read(&life.trace)?.into_iter().map(|(at_ns, entry)| (at_ns, life.node, entry)));
    }
    // Stable: entries of one process stay in their order.
    entries.sort_by_key(|(at_ns, ..)| *at_ns);
    let mut trace = Trace::new(Interleaving::PerProcess);
    let (mut states, mut transfers) = (Vec::new(), 0);
    for (_, node, entry) in entries {
        match entry {
            Entry::Event(event) => trace.events.push(event),
            Entry::Took { view, whole } => {
                transfers += 1;
                if !whole {
                    states.push(format!("property 23 (StateTransfer): {node} was given a state with other bytes (it was in view {view})"));
                }
            }
        }
    }
    let killed: Vec<NodeId> = lives.iter().filter(|life| life.fate == Fate::Killed).map(|life| life.node).collect();
    trace.events.extend(untold_nulls(&trace.events, &killed));
    // Whoever was killed on its way into the group is missed by nobody.
    let members: HashSet<NodeId> = trace.events.iter().flat_map(members_of).copied().collect();
    let missed = killed.into_iter().filter(|process| members.contains(process));
    trace.events.extend(missed.map(|process| Event::Crash { process }));
    for life in lives.iter().filter(|life| rests && life.fate == Fate::Lives) {
        trace.events.push(Event::Finish { process: life.node, unsent: 0, idle_posts: 0 });
    }
    let verdict = check(&trace);
    Ok(Findings { states, transfers, trace, verdict })
}

/// The members of the view that an event tells of, if it does.
fn members_of(event: &Event) -> &[NodeId] {
    if let Event::Install { members, .. } = event { members } else { &[] }
}

/// Nulls of processes that were killed before they could tell of them. A message is written down before it leaves its
/// process, so whatever index of a killed process others passed over, and its trace does not tell of, was a null.
fn untold_nulls(events: &[Event], killed: &[NodeId]) -> Vec<Event> {
    let mut views: HashMap<u64, (&[NodeId], &[Rank], Mode)> = HashMap::new();
    // By view: the least cut, and the last position that anybody delivered.
    let mut ends: HashMap<u64, &[u64]> = HashMap::new();
    let mut last_seq: HashMap<u64, u64> = HashMap::new();
    // Of each killed process: the view that it was in, and its first index that is not told of.
    let mut own: HashMap<NodeId, (u64, u64)> = HashMap::new();
    for event in events {
        match event {
            Event::Install { process, view, members, senders, order, .. } => {
                views.insert(*view, (members, senders, *order));
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
        // Where there are no turns, nobody passes over what it was not sent.
        let (members, senders, _) = views.get(&view).filter(|(.., order)| *order == Mode::Ordered)?;
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
    use std::path::Path;

    const A: NodeId = NodeId(7);
    const B: NodeId = NodeId(8);

    fn install(process: NodeId) -> Event {
        Event::Install { process, view: 0, members: vec![A, B], voters: 2, senders: vec![Rank(0), Rank(1)], order: Mode::Ordered }
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
        let end = Event::Trim {
            process: A,
            view: 0,
            leader: Rank(0),
            vector: vec![3, 1],
            proposed_by: vec![Rank(0)],
            next: vec![A],
            next_voters: 1,
        };
        events.push(end);
        assert_eq!(untold_nulls(&events, &[B]), [], "what lies behind the end was nobody's null");
    }

    /// The trace of a process, in a file.
    fn life(folder: &Path, node: NodeId, events: &[Event]) -> Life {
        let trace = folder.join(format!("{node}.trace"));
        let mut file = trace_file::TraceFile::new(std::fs::File::create(&trace).unwrap());
        events.iter().for_each(|event| file.note(&Entry::Event(event.clone())));
        file.write_out();
        Life { node, trace, fate: Fate::Lives }
    }

    #[test]
    fn whoever_is_killed_on_its_way_into_the_group_is_missed_by_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let install = Event::Install { process: A, view: 0, members: vec![A], voters: 1, senders: vec![Rank(0)], order: Mode::Ordered };
        let lone = life(folder.path(), A, &[install]);
        let killed = Life { node: B, trace: folder.path().join("never made"), fate: Fate::Killed };
        let found = examine(&[lone, killed], true).unwrap();
        assert!(found.hold(), "{:?}", found.lines());
    }

    #[test]
    fn a_delivery_that_one_process_lacks_is_found_at_rest() {
        let folder = tempfile::tempdir().unwrap();
        let of = |process: NodeId| messages(3).into_iter().filter(move |event| event.process() == process);
        let delivered = |event: &Event| matches!(event, Event::Deliver { .. });
        let mut other: Vec<Event> = vec![install(B)];
        other.extend(of(A).filter(delivered).map(|event| match event {
            Event::Deliver { view, seq, sender, index, hash, .. } => Event::Deliver { process: B, view, seq, sender, index, hash },
            other => other,
        }));
        other.push(Event::Null { process: B, view: 0, sender: Rank(1), first: 0, count: 2 });
        let one = life(folder.path(), A, &of(A).collect::<Vec<_>>());
        let whole = examine(&[one.clone(), life(folder.path(), B, &other)], true).unwrap();
        assert!(whole.hold(), "{:?}", whole.lines());
        other.remove(3);
        let lacking = [one, life(folder.path(), B, &other)];
        assert!(!examine(&lacking, true).unwrap().hold());
        assert!(examine(&lacking, false).unwrap().hold(), "it may still come");
    }
}
