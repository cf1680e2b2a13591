//! Who is alive: my heartbeat, and the silence of the others, in my own running time.

use squall_sst::{Column, Table};
use squall_transport::{Outbox, Place, Rank, TABLE, Write};

use crate::timeouts::{Limits, Timeouts};

/// Running time that one look at the clock adds, of `elapsed_ns` since the last one.
///
/// A process that was stopped, or that did not get its core, heard nobody meanwhile: that is not the others' silence.
/// So a gap counts for a quarter of the time-out at the most, and a process that comes back looks several times before
/// it suspects anybody.
fn running_ns(elapsed_ns: u64, suspect_after_ns: u64) -> u64 {
    elapsed_ns.min(suspect_after_ns / 4)
}

/// How long something has been waited for, in running time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Patience {
    since_ns: Option<u64>,
}

impl Patience {
    /// Whether it `waits`, and has at every look for longer than `max_ns`.
    pub(crate) fn is_over(&mut self, waits: bool, running_ns: u64, max_ns: u64) -> bool {
        self.since_ns = waits.then(|| self.since_ns.unwrap_or(running_ns));
        self.waited_ns(running_ns) > max_ns
    }

    /// For how long it has.
    pub(crate) fn waited_ns(&self, running_ns: u64) -> u64 {
        self.since_ns.map_or(0, |since_ns| running_ns - since_ns)
    }
}

/// My heartbeat and the silence of the others.
#[derive(Debug)]
pub(crate) struct Pulse {
    timeouts: Timeouts,
    limits: Limits,
    heartbeat: Column,
    /// Words that, when they move in a row, say as much as its heartbeat.
    signs: Vec<Column>,
    now_ns: Option<u64>,
    running_ns: u64,
    beats: u64,
    /// When I last said something, or looked whether I had, and what my signs were then.
    said_ns: u64,
    said: u64,
    peers: Vec<Heard>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    sum: u64,
    at_ns: u64,
}

impl Pulse {
    pub(crate) fn new(timeouts: Timeouts, heartbeat: Column, signs: Vec<Column>, members: usize) -> Pulse {
        let peers = vec![Heard::default(); members];
        Pulse { timeouts, limits: timeouts.into(), heartbeat, signs, now_ns: None, running_ns: 0, beats: 0, said_ns: 0, said: 0, peers }
    }

    /// It is `now_ns`.
    pub(crate) fn pass(&mut self, now_ns: u64) {
        let elapsed_ns = self.now_ns.map_or(0, |before| now_ns.saturating_sub(before));
        self.now_ns = Some(now_ns.max(self.now_ns.unwrap_or(0)));
        self.running_ns += running_ns(elapsed_ns, self.limits.suspect_after_ns);
    }

    /// When it last passed, in the caller's time.
    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns.unwrap_or(0)
    }

    /// How long this process has run.
    pub(crate) fn running_ns(&self) -> u64 {
        self.running_ns
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether `peer` has been silent for too long.
    pub(crate) fn is_silent(&mut self, peer: Rank, table: &Table) -> bool {
        let signs = self.signs.iter().map(|sign| table.get(*sign, peer));
        let sum = signs.fold(table.get(self.heartbeat, peer), u64::wrapping_add);
        let heard = &mut self.peers[peer.index()];
        if sum != heard.sum {
            *heard = Heard { sum, at_ns: self.running_ns };
        }
        let silence_max_ns = match heard.sum {
            0 => self.limits.suspect_after_ns.max(self.limits.first_word_ns),
            _ => self.limits.suspect_after_ns,
        };
        self.running_ns - heard.at_ns > silence_max_ns
    }

    /// Raises my heartbeat at `peers` if it is time and I have said nothing else. Whether I did.
    pub(crate) fn beat(&mut self, table: &Table, outbox: &mut Outbox, peers: impl Iterator<Item = Rank>) -> bool {
        let now_ns = self.now_ns();
        if now_ns < self.said_ns + self.limits.heartbeat_ns {
            return false;
        }
        self.said_ns = now_ns;
        let signs = self.signs.iter().fold(0, |sum: u64, sign| sum.wrapping_add(table.get(*sign, table.me())));
        if std::mem::replace(&mut self.said, signs) != signs {
            return false;
        }
        self.beats += 1;
        table.set(self.heartbeat, self.beats);
        let at = Place::new(TABLE, self.heartbeat.at(table.me()));
        for peer in peers {
            // A peer whose queue is full hears me by what fills it.
            let _ = outbox.push(peer, Write::Word { at, value: self.beats });
        }
        true
    }

    /// Says nothing, and looks again when it would be time for the next heartbeat.
    pub(crate) fn skip(&mut self) {
        let now_ns = self.now_ns();
        if now_ns >= self.said_ns + self.limits.heartbeat_ns {
            self.said_ns = now_ns;
        }
    }

    /// When the next look is due, in the caller's time.
    pub(crate) fn next_ns(&self) -> u64 {
        self.said_ns + self.limits.heartbeat_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_sst::LayoutBuilder;
    use squall_transport::{Region, RegionOptions};

    fn pulse() -> (Pulse, Table, Column) {
        let (pulse, [table, ..], sign) = pulse_on_tables();
        (pulse, table, sign)
    }

    /// Also the table as its other members see it, in the same memory.
    fn pulse_on_tables() -> (Pulse, [Table; 3], Column) {
        let (layout, columns) = LayoutBuilder::compose(3, |layout| [layout.word("heartbeat"), layout.word("sign")]);
        let region = Region::allocate(layout.bytes() as usize, &RegionOptions::default()).unwrap();
        let timeouts = Timeouts::after_ns(8_000_000);
        let tables = [0, 1, 2].map(|rank| Table::new(region.clone(), &layout, Rank(rank)));
        (Pulse::new(timeouts, columns[0], vec![columns[1]], 3), tables, columns[1])
    }

    #[test]
    fn silence_counts_in_running_time_only() {
        let (mut pulse, table, _) = pulse();
        for now_ms in 0..=8 {
            pulse.pass(now_ms * 1_000_000);
            assert!(!pulse.is_silent(Rank(1), &table), "at {now_ms} ms");
        }
        pulse.pass(8_000_001);
        assert!(pulse.is_silent(Rank(1), &table));
    }

    #[test]
    fn a_member_on_its_way_into_the_epoch_may_be_silent_for_longer() {
        let (mut pulse, [table, peers, _], sign) = pulse_on_tables();
        pulse.limits.first_word_ns = 20_000_000;
        for now_ms in 0..=20 {
            pulse.pass(now_ms * 1_000_000);
            assert!(!pulse.is_silent(Rank(1), &table), "at {now_ms} ms");
        }
        peers.set(sign, 1);
        assert!(!pulse.is_silent(Rank(1), &table), "its first word");
        for now_ms in 21..=29 {
            pulse.pass(now_ms * 1_000_000);
        }
        assert!(pulse.is_silent(Rank(1), &table), "from then on as always");
    }

    #[test]
    fn a_process_that_was_stopped_suspects_nobody_when_it_comes_back() {
        let (mut pulse, table, _) = pulse();
        pulse.pass(0);
        for hours in 1..=4 {
            pulse.pass(hours * 3_600_000_000_000);
            assert!(!pulse.is_silent(Rank(1), &table), "after {hours} gaps");
        }
        pulse.pass(5 * 3_600_000_000_000);
        assert!(pulse.is_silent(Rank(1), &table), "it looked often enough by now");
    }

    #[test]
    fn patience_begins_anew_when_there_was_nothing_to_wait_for() {
        let mut patience = Patience::default();
        assert!(!patience.is_over(true, 5, 10) && !patience.is_over(true, 15, 10) && patience.is_over(true, 16, 10));
        assert!(!patience.is_over(false, 20, 10) && !patience.is_over(true, 21, 10) && !patience.is_over(true, 31, 10));
    }

    #[test]
    fn a_clock_that_goes_back_does_no_harm() {
        let (mut pulse, table, _) = pulse();
        pulse.pass(5_000_000);
        pulse.pass(1_000_000);
        pulse.pass(5_000_001);
        assert!(!pulse.is_silent(Rank(1), &table));
    }

    #[test]
    fn a_heartbeat_is_sent_only_when_nothing_else_was_said() {
        let (mut pulse, table, sign) = pulse();
        let mut outbox = Outbox::new(3);
        let beats = |pulse: &mut Pulse, outbox: &mut Outbox, now_ms: u64| {
            pulse.pass(now_ms * 1_000_000);
            pulse.beat(&table, outbox, [Rank(1), Rank(2)].into_iter())
        };
        assert!(beats(&mut pulse, &mut outbox, 1) && !beats(&mut pulse, &mut outbox, 1));
        table.set(sign, 5);
        assert!(!beats(&mut pulse, &mut outbox, 2), "the sign was heard");
        assert!(beats(&mut pulse, &mut outbox, 3));
        let at = Place::new(TABLE, pulse.heartbeat.at(Rank(0)));
        assert_eq!(outbox.pop(Rank(2)), Some(Write::Word { at, value: 2 }), "two of them coalesced");
        assert_eq!(pulse.next_ns(), 4_000_000);
    }
}
