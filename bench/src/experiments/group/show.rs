//! How far a trial is, shown while it goes on: by a node to the run, by the run to people.

use squall_group::Stats;
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
    before: Stats,
}

impl Show {
    /// A trial begins, before which was counted what `before` says.
    pub(super) fn begin(line: LiveLine, before: Stats) -> Show {
        let began_ns = os::now_ns();
        Show { line, began_ns, next_ns: began_ns + SHOWN_EVERY_NS, turns: 0, before }
    }

    /// Shows how far it is, if it is time.
    #[inline]
    pub(super) fn look(&mut self, in_flight: u64, stats: impl FnOnce() -> Stats) {
        self.turns = self.turns.wrapping_add(1);
        if !self.turns.is_multiple_of(TURNS_A_LOOK) {
            return;
        }
        let now_ns = os::now_ns();
        if now_ns >= self.next_ns {
            self.next_ns = now_ns + SHOWN_EVERY_NS;
            // If the parent is gone, the trial ends anyway.
            let _ = self.line.show(Live { since_ns: now_ns - self.began_ns, in_flight, counted: Counted::between(&self.before, &stats()) });
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

    /// A node showed something; the whole for people.
    pub(super) fn hear(&mut self, rank: usize, live: Live) -> String {
        if let Some([last, before]) = self.nodes.get_mut(rank) {
            (*last, *before) = (live, if live.since_ns > last.since_ns { *last } else { Live::default() });
        }
        self.text()
    }

    /// Of the node that delivers least: the rate since it last showed something; of all together the rest.
    fn text(&self) -> String {
        let rate = |[last, before]: &[Live; 2]| {
            let delivered = last.counted.delivered.saturating_sub(before.counted.delivered);
            delivered as f64 / (last.since_ns.saturating_sub(before.since_ns).max(1) as f64 / 1e9)
        };
        let shown = || self.nodes.iter().filter(|[last, _]| last.since_ns > 0);
        let least = shown().map(rate).min_by(f64::total_cmp).unwrap_or(0.0);
        let sum = |of: fn(&Counted) -> u64| shown().map(|[last, _]| of(&last.counted)).sum::<u64>();
        let in_flight = shown().map(|[last, _]| last.in_flight).max().unwrap_or(0);
        let window = self.window.map(|window| format!(" of {window}")).unwrap_or_default();
        let batches = sum(|counted| counted.delivery_batches).max(1);
        let batch = units::number(sum(|counted| counted.delivered) as f64 / batches as f64);
        let (nulls, parks) = (sum(|counted| counted.nulls_sent), sum(|counted| counted.parks));
        let gigabytes = units::number(least * self.message_bytes as f64 / 1e9);
        format!(
            "{gigabytes} GB/s, {} messages/s, {in_flight}{window} in flight, {batch} a batch, {nulls} nulls, {parks} parks",
            units::number(least)
        )
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
        assert!(shown.hear(0, live(1, 1000)).starts_with("1.00 GB/s, 1000 messages/s"));
        shown.hear(0, live(2, 5000));
        let text = shown.hear(1, live(2, 4000));
        assert_eq!(text, "2.00 GB/s, 2000 messages/s, 7 of 16 in flight, 10.0 a batch, 6 nulls, 4 parks");
        // The next trial begins at nothing.
        assert!(shown.hear(1, live(1, 500)).contains(" 500 messages/s"));
    }
}
