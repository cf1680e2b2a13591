//! How far a trial is, shown while it goes on: by a node to the run, by the run to people.

use squall_report::units;

use crate::jobs::control::LiveLine;
use crate::jobs::group::Counted;
use crate::jobs::live::{Live, SHOWN_EVERY_NS};
use crate::jobs::os;

/// Turns between two looks at the clock: it costs something, and what is shown is also measured.
const TURNS_A_LOOK: u32 = 16;

/// The node's side.
#[derive(Debug)]
pub(super) struct Show {
    line: LiveLine,
    began_ns: u64,
    next_ns: u64,
    turns: u32,
}

impl Show {
    /// A trial begins.
    pub(super) fn begin(line: LiveLine) -> Show {
        let began_ns = os::now_ns();
        Show { line, began_ns, next_ns: began_ns + SHOWN_EVERY_NS, turns: 0 }
    }

    /// Shows how far it is, if it is time; for loops that turn often.
    #[inline]
    pub(super) fn look(&mut self, in_flight: u64, counted: impl FnOnce() -> Counted) {
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(TURNS_A_LOOK) {
            self.show(in_flight, counted);
        }
    }

    /// The same for loops that turn seldom.
    pub(super) fn show(&mut self, in_flight: u64, counted: impl FnOnce() -> Counted) {
        let now_ns = os::now_ns();
        if now_ns >= self.next_ns {
            self.next_ns = now_ns + SHOWN_EVERY_NS;
            // If the parent is gone, the trial ends anyway.
            let _ = self.line.show(Live { since_ns: now_ns - self.began_ns, in_flight, counted: counted() });
        }
    }
}

/// The run's side: what the nodes of a point show.
#[derive(Debug)]
pub(super) struct Shown {
    message_bytes: u64,
    /// Messages that a sender may have in flight, if there is a limit of its own.
    window: Option<u64>,
    /// By rank: what was shown last, and before that.
    nodes: Vec<[Live; 2]>,
}

impl Shown {
    pub(super) fn new(nodes: u32, message_bytes: u64, window: Option<u64>) -> Shown {
        Shown { message_bytes, window, nodes: vec![[Live::default(); 2]; nodes as usize] }
    }

    /// A node showed something.
    pub(super) fn hear(&mut self, rank: usize, live: Live) -> &Shown {
        if let Some([last, before]) = self.nodes.get_mut(rank) {
            (*last, *before) = (live, if live.since_ns > last.since_ns { *last } else { Live::default() });
        }
        self
    }

    fn nodes(&self) -> impl Iterator<Item = &[Live; 2]> {
        self.nodes.iter().filter(|[last, _]| last.since_ns > 0)
    }

    /// Messages a second since it last showed something, of the node that delivers least.
    fn rate(&self) -> f64 {
        let rate = |[last, before]: &[Live; 2]| {
            let delivered = last.counted.delivered.saturating_sub(before.counted.delivered);
            delivered as f64 / (last.since_ns.saturating_sub(before.since_ns).max(1) as f64 / 1e9)
        };
        self.nodes().map(rate).min_by(f64::total_cmp).unwrap_or(0.0)
    }

    /// The rate for people, and of all nodes together what else they count: a group its batches, nulls and parks, what
    /// has a window how much of it is in use.
    pub(super) fn text(&self) -> String {
        let sum = |of: fn(&Counted) -> u64| self.nodes().map(|[last, _]| of(&last.counted)).sum::<u64>();
        let rate = self.rate();
        let gigabytes = units::number(rate * self.message_bytes as f64 / 1e9);
        let mut parts = vec![format!("{gigabytes} GB/s, {} messages/s", units::number(rate))];
        let in_flight = self.nodes().map(|[last, _]| last.in_flight).max().unwrap_or(0);
        match self.window {
            Some(window) => parts.push(format!("{in_flight} of {window} in flight")),
            None if in_flight > 0 => parts.push(format!("{in_flight} in flight")),
            None => {}
        }
        let (batches, parks) = (sum(|counted| counted.delivery_batches), sum(|counted| counted.parks));
        if batches > 0 {
            let batch = units::number(sum(|counted| counted.delivered) as f64 / batches as f64);
            parts.push(format!("{batch} a batch, {} nulls", sum(|counted| counted.nulls_sent)));
        }
        if batches > 0 || parks > 0 {
            parts.push(format!("{parks} parks"));
        }
        parts.join(", ")
    }

    /// The same of messages that go in turns.
    pub(super) fn text_in_turns(&self) -> String {
        format!("{} us for half a round trip", units::number(1e6 / (2.0 * self.rate().max(f64::MIN_POSITIVE))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(seconds: u64, delivered: u64) -> Live {
        let counted = Counted { delivered, delivery_batches: delivered / 10, nulls_sent: 3, parks: 2, ..Counted::default() };
        Live { since_ns: seconds * 1_000_000_000, in_flight: 7, counted }
    }

    #[test]
    fn the_rate_is_that_of_the_last_step_at_the_node_that_delivers_least() {
        let mut shown = Shown::new(2, 1_000_000, Some(16));
        assert!(shown.hear(0, live(1, 1000)).text().starts_with("1.00 GB/s, 1000 messages/s"));
        shown.hear(0, live(2, 5000));
        let text = shown.hear(1, live(2, 4000)).text();
        assert_eq!(text, "2.00 GB/s, 2000 messages/s, 7 of 16 in flight, 10.0 a batch, 6 nulls, 4 parks");
        // The next trial begins at nothing.
        assert!(shown.hear(1, live(1, 500)).text().contains(" 500 messages/s"));
    }

    #[test]
    fn what_a_node_does_not_count_is_not_shown() {
        let counted = |delivered, parks| Counted { delivered, parks, ..Counted::default() };
        let live = |in_flight, counted| Live { since_ns: 1_000_000_000, in_flight, counted };
        let mut copies = Shown::new(1, 1_000_000, None);
        assert_eq!(copies.hear(0, live(0, counted(2000, 0))).text(), "2.00 GB/s, 2000 messages/s");
        let mut writes = Shown::new(2, 1_000_000, Some(8));
        assert_eq!(writes.hear(0, live(3, counted(2000, 5))).text(), "2.00 GB/s, 2000 messages/s, 3 of 8 in flight, 5 parks");
        let mut turns = Shown::new(2, 8, Some(1));
        assert_eq!(turns.hear(0, live(1, counted(250_000, 0))).text_in_turns(), "2.00 us for half a round trip");
    }
}
