//! Linearizable reads, by seed: every read sees what it has to, in every order of messages, whatever happens to the
//! members; and what all processes saw could have been one log.

mod seeded;

use std::collections::{BTreeMap, HashMap};

use squall_group::Mode;
use squall_sim::trace::{Event, Trace};
use squall_sim::{Aim, Churn, Mutant, Options, churn};
use squall_transport::NodeId;
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

fn orders() -> impl Iterator<Item = Mode> {
    Mode::EVERY.into_iter().filter(|mode| mode.is_total())
}

#[track_caller]
fn all_hold(options: Options) {
    orders().for_each(|order| seeded::all_hold(order, Options { reads: true, ..options.clone() }));
}

#[test]
fn reads_see_what_they_have_to_where_members_stay() {
    all_hold(Options::new(0..200));
}

#[test]
fn reads_see_what_they_have_to_whatever_happens() {
    all_hold(Options::churn(0..300, Aim::Safety));
}

#[test]
fn reads_are_answered_once_faults_stop() {
    all_hold(Options::churn(0..200, Aim::Liveness));
}

#[test]
fn whole_members_read() {
    all_hold(Options::churn(0..80, Aim::Members));
}

#[test]
fn reads_hold_over_a_fabric_that_counts() {
    all_hold(Options { counted: true, ..Options::new(600..650) });
    Aim::ALL.into_iter().for_each(|aim| all_hold(Options { counted: true, ..Options::churn(0..30, aim) }));
}

#[track_caller]
fn caught(mutant: Mutant) {
    seeded::caught(mutant, "--reads");
}

#[test]
fn a_read_of_what_is_delivered_here_is_caught() {
    caught(Mutant::ReadOfDelivered);
}

#[test]
fn a_read_that_nobody_has_heard_of_is_caught() {
    caught(Mutant::ReadUnheard);
}

#[test]
fn a_read_of_what_its_member_has_is_caught() {
    caught(Mutant::ReadOfOwn);
}

/// What was done to a log.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Operation {
    /// So long it was when it was read.
    Read(usize),
    /// An entry came to this place, counted from 1.
    Append(usize),
}

struct Log;

impl Specification for Log {
    /// How long it is.
    type State = usize;
    type Operation = Operation;

    fn init() -> usize {
        0
    }

    fn apply(operation: &Operation, state: &usize) -> (bool, usize) {
        match operation {
            Operation::Read(length) => (length == state, *state),
            Operation::Append(place) if *place == state + 1 => (true, *place),
            Operation::Append(_) => (false, *state),
        }
    }
}

/// Whether what processes were handed and read can be put into one order that each of them could have seen. An append
/// lasts from when anybody is handed the message until its sender is, or for ever: it takes effect no sooner, which is
/// more than has to be, and leaves less to search for.
fn is_linearizable(trace: &Trace) -> bool {
    let deliveries = trace.events.iter().filter_map(|event| match event {
        Event::Deliver { view, seq, hash, .. } => Some(((*view, *seq), *hash)),
        _ => None,
    });
    let order: BTreeMap<(u64, u64), u64> = deliveries.collect();
    let places: HashMap<u64, usize> = order.into_values().zip(1..).collect();
    let senders: HashMap<u64, NodeId> = trace
        .events
        .iter()
        .filter_map(|event| if let Event::Send { process, hash, .. } = event { Some((*hash, *process)) } else { None })
        .collect();
    // Calls of reads that are not answered stay behind.
    const UNANSWERED: usize = usize::MAX;
    let (mut actions, mut appends, mut reads) = (Vec::new(), HashMap::new(), HashMap::new());
    let mut last = HashMap::<NodeId, Option<usize>>::new();
    // What the call and the answer of one operation have in common.
    let mut numbers = 0..UNANSWERED;
    for event in &trace.events {
        match event {
            Event::Deliver { process, hash, .. } => {
                let place = places[hash];
                last.insert(*process, Some(place));
                let first = !appends.contains_key(&place);
                let (number, is_open) = appends.entry(place).or_insert_with(|| (numbers.next().unwrap_or(UNANSWERED), true));
                if first {
                    actions.push((*number, Action::Call(Operation::Append(place))));
                }
                if senders.get(hash) == Some(process) && std::mem::take(is_open) {
                    actions.push((*number, Action::Response(Operation::Append(place))));
                }
            }
            // What that state ends with the trace does not tell.
            Event::Restore { process, .. } => {
                last.insert(*process, None);
            }
            Event::AskRead { process, read } => {
                reads.insert((*process, *read), actions.len());
                actions.push((UNANSWERED, Action::Call(Operation::Read(0))));
            }
            Event::Read { process, read } => {
                let Some(at) = reads.remove(&(*process, *read)) else { return false };
                if let Some(length) = last.get(process).copied().unwrap_or(Some(0)) {
                    let number = numbers.next().unwrap_or(UNANSWERED);
                    actions[at] = (number, Action::Call(Operation::Read(length)));
                    actions.push((number, Action::Response(Operation::Read(length))));
                }
            }
            _ => {}
        }
    }
    actions.retain(|(number, _)| *number != UNANSWERED);
    let open = appends.into_iter().filter(|(_, (_, is_open))| *is_open);
    actions.extend(open.map(|(place, (number, _))| (number, Action::Response(Operation::Append(place)))));
    actions.is_empty() || WGLChecker::<Log>::is_linearizable(History::from_actions(actions))
}

/// A run of few messages, whose history can be searched for an order that fits.
fn small_world(seed: u64, order: Mode, mutant: Option<Mutant>) -> Trace {
    let mut world = Churn { messages: seed % 6 + 1, ..Churn::new(seed, Aim::Safety) };
    (world.config.mode, world.config.reads) = (order, true);
    world.config.ring_bytes = world.config.ring_bytes.max(8192);
    churn(&world, mutant).trace
}

#[test]
fn what_processes_see_could_have_been_one_log() {
    let mut reads = 0;
    for order in orders() {
        for seed in 0..60 {
            let trace = small_world(seed, order, None);
            reads += trace.events.iter().filter(|event| matches!(event, Event::Read { .. })).count();
            assert!(is_linearizable(&trace), "seed {seed}, {order}");
        }
    }
    assert!(reads > 1000, "{reads} reads");
}

#[test]
fn the_search_for_an_order_finds_none_where_a_rule_of_reads_is_broken() {
    for mutant in [Mutant::ReadOfDelivered, Mutant::ReadOfOwn] {
        let order = if mutant == Mutant::ReadOfOwn { Mode::Paxos } else { Mode::Ordered };
        let broken = (0..300).find(|&seed| !is_linearizable(&small_world(seed, order, Some(mutant))));
        assert!(broken.is_some(), "{mutant} looks like one log");
    }
}
