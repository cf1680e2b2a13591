//! One message, put together from what its nodes saw: which block was on its way when, and what each node waited for.

use std::collections::HashMap;

use crate::jobs::traced::{Event, What};

/// A block on its way from one node to another: from when it was posted until its counter was seen. What the receiver's
/// loop takes to look is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) block: u32,
    pub(super) span: Span,
}

/// From when to when, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span {
    pub(super) from_ns: u64,
    pub(super) to_ns: u64,
}

/// What one node's part took. The three spans of time add up to the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    /// From its beginning here to the last block in or out.
    pub(super) whole_ns: u64,
    /// Some block was on its way to or from this node.
    pub(super) moving_ns: u64,
    /// None was, and there was none that could have been sent on.
    pub(super) data_ns: u64,
    /// None was, although a block was here and the node that it goes to next was ready for it.
    pub(super) software_ns: u64,
    /// The times of the last, one after the other.
    pub(super) software: Vec<Span>,
}

/// Every block's way, by when it was posted; `nodes` are what each node saw. A block whose landing nobody recorded is
/// left out.
pub(super) fn flights(nodes: &[Vec<Event>]) -> Vec<Flight> {
    let mut landed = HashMap::new();
    for (to, events) in nodes.iter().enumerate() {
        for event in events.iter().filter(|event| event.what == What::Landed) {
            landed.insert((usize::from(event.peer), to, event.block), event.at_ns);
        }
    }
    let mut flights = Vec::new();
    for (from, events) in nodes.iter().enumerate() {
        for &Event { block, peer, at_ns, .. } in events.iter().filter(|event| event.what == What::Posted) {
            let to = usize::from(peer);
            if let Some(&landed_ns) = landed.get(&(from, to, block)) {
                // Clocks of two hosts may differ by more than a block takes.
                flights.push(Flight { from, to, block, span: Span { from_ns: at_ns, to_ns: landed_ns.max(at_ns) } });
            }
        }
    }
    flights.sort_by_key(|flight| flight.span);
    flights
}

/// What `node` spent its time on; `None` if its beginning was not recorded.
pub(super) fn split(node: usize, events: &[Event], flights: &[Flight]) -> Option<Split> {
    let begin_ns = events.iter().find(|event| event.what == What::Begun)?.at_ns;
    let own = flights.iter().filter(|flight| flight.from == node || flight.to == node).map(|flight| flight.span);
    let moving = united(own.map(|span| Span { from_ns: span.from_ns.max(begin_ns), ..span }).collect());
    let last_ns = events.iter().map(|event| event.at_ns).chain(moving.last().map(|span| span.to_ns)).max()?;
    let software = without(&united(postable(begin_ns, events)), &moving);
    let (whole_ns, moving_ns, software_ns) = (last_ns - begin_ns, length_ns(&moving), length_ns(&software));
    Some(Split { whole_ns, moving_ns, data_ns: whole_ns.saturating_sub(moving_ns + software_ns), software_ns, software })
}

/// When a block could have been posted and was not yet: it was here, its target was ready, and the one before it to the
/// same target had gone.
fn postable(begin_ns: u64, events: &[Event]) -> Vec<Span> {
    let (mut landed, mut ready, mut previous) = (HashMap::new(), HashMap::new(), HashMap::new());
    let mut spans = Vec::new();
    for &Event { what, block, peer, at_ns } in events {
        match what {
            What::Begun => {}
            What::Landed => _ = landed.insert(block, at_ns),
            What::Ready => _ = ready.insert(peer, at_ns),
            What::Posted => {
                let since = |known: Option<&u64>| known.copied().unwrap_or(begin_ns);
                let from_ns = since(landed.get(&block)).max(since(previous.get(&peer))).max(since(ready.get(&peer)));
                spans.push(Span { from_ns, to_ns: at_ns });
                previous.insert(peer, at_ns);
            }
        }
    }
    spans
}

/// The same times in spans that do not touch, in order.
fn united(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|span| span.from_ns < span.to_ns);
    spans.sort_unstable();
    let mut united: Vec<Span> = Vec::new();
    for span in spans {
        match united.last_mut().filter(|last| span.from_ns <= last.to_ns) {
            Some(last) => last.to_ns = last.to_ns.max(span.to_ns),
            None => united.push(span),
        }
    }
    united
}

/// What of `spans` lies outside of `others`; both are [`united`].
fn without(spans: &[Span], others: &[Span]) -> Vec<Span> {
    let mut left = Vec::new();
    for &span in spans {
        let Span { mut from_ns, to_ns } = span;
        for other in others.iter().filter(|other| other.to_ns > span.from_ns && other.from_ns < to_ns) {
            if from_ns < other.from_ns {
                left.push(Span { from_ns, to_ns: other.from_ns });
            }
            from_ns = from_ns.max(other.to_ns);
        }
        if from_ns < to_ns {
            left.push(Span { from_ns, to_ns });
        }
    }
    left
}

fn length_ns(spans: &[Span]) -> u64 {
    spans.iter().map(|span| span.to_ns - span.from_ns).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(what: What, block: u32, peer: u16, at_ns: u64) -> Event {
        Event { what, block, peer, at_ns }
    }

    /// Node 0 sends two blocks to node 1, which sends them on to node 2.
    fn chain() -> Vec<Vec<Event>> {
        vec![
            vec![
                event(What::Begun, 0, 0, 100),
                event(What::Ready, 0, 1, 110),
                event(What::Posted, 0, 1, 115),
                event(What::Posted, 1, 1, 120),
            ],
            vec![
                event(What::Begun, 0, 1, 105),
                event(What::Landed, 0, 0, 130),
                event(What::Ready, 0, 2, 130),
                event(What::Posted, 0, 2, 160),
                event(What::Landed, 1, 0, 170),
                event(What::Posted, 1, 2, 175),
            ],
            vec![event(What::Begun, 0, 2, 106), event(What::Landed, 0, 1, 172), event(What::Landed, 1, 1, 180)],
        ]
    }

    #[test]
    fn every_block_is_followed_from_node_to_node() {
        let ways: Vec<_> = flights(&chain()).iter().map(|flight| (flight.from, flight.to, flight.block)).collect();
        assert_eq!(ways, [(0, 1, 0), (0, 1, 1), (1, 2, 0), (1, 2, 1)]);
    }

    #[test]
    fn time_is_told_apart_and_adds_up() {
        let (nodes, mut splits) = (chain(), Vec::new());
        let flights = flights(&nodes);
        for (node, events) in nodes.iter().enumerate() {
            splits.push(split(node, events, &flights).unwrap());
        }
        // 100 to 170; ready at 110, posted at 115, moving from there on.
        assert_eq!((splits[0].whole_ns, splits[0].moving_ns, splits[0].software_ns, splits[0].data_ns), (70, 55, 5, 10));
        // The block that waited from 130 to 160 did so while the next one was coming in; that one waited from 170 to
        // 175, and from 172 on, when the first had landed, nothing moved.
        assert_eq!((splits[1].whole_ns, splits[1].moving_ns, splits[1].software_ns, splits[1].data_ns), (75, 62, 3, 10));
        // From 160 to 172 and from 175 to 180.
        assert_eq!((splits[2].whole_ns, splits[2].moving_ns, splits[2].software_ns, splits[2].data_ns), (74, 17, 0, 57));
        assert_eq!(split(0, &[], &flights), None);
    }

    #[test]
    fn a_block_that_waits_while_nothing_moves_waits_for_software() {
        let nodes = vec![
            vec![event(What::Begun, 0, 0, 0), event(What::Posted, 0, 1, 10), event(What::Posted, 1, 1, 50)],
            vec![event(What::Begun, 0, 1, 0), event(What::Landed, 0, 0, 20), event(What::Landed, 1, 0, 60)],
        ];
        let found = split(0, &nodes[0], &flights(&nodes)).unwrap();
        assert_eq!(found.software, [Span { from_ns: 0, to_ns: 10 }, Span { from_ns: 20, to_ns: 50 }]);
        assert_eq!((found.moving_ns, found.software_ns, found.data_ns), (20, 40, 0));
    }

    proptest! {
        #[test]
        fn spans_are_united_and_taken_away_as_sets_of_moments(
            a in prop::collection::vec((0u64..60, 0u64..20), 0..8),
            b in prop::collection::vec((0u64..60, 0u64..20), 0..8),
        ) {
            let spans = |of: &[(u64, u64)]| of.iter().map(|&(from_ns, len)| Span { from_ns, to_ns: from_ns + len }).collect::<Vec<_>>();
            let (a, b) = (united(spans(&a)), united(spans(&b)));
            let holds = |of: &[Span], ns: u64| of.iter().any(|span| (span.from_ns..span.to_ns).contains(&ns));
            let left = without(&a, &b);
            for ns in 0..100 {
                prop_assert_eq!(holds(&left, ns), holds(&a, ns) && !holds(&b, ns));
            }
            prop_assert_eq!(length_ns(&left), (0..100).filter(|&ns| holds(&left, ns)).count() as u64);
        }
    }
}
