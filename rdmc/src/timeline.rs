//! When each block was posted, landed and was relayed, for those who ask: recording is off unless a [`Timeline`] is
//! installed.

use std::collections::HashMap;

use squall_transport::Rank;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The transfer began here: the root started it, or a receiver found a buffer for it.
    Begun,
    /// The peer was first seen to be ready when there was a block for it.
    Ready,
    /// The counter that publishes the block was seen.
    Landed,
    /// The block was handed to the outbox for the peer; at a member that is not the root this is the relaying.
    Posted,
}

/// One line of the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Index of the sender among the group's senders.
    pub sender: u32,
    /// Which large message of that sender.
    pub transfer: u64,
    /// The block; 0 for moments that concern no block.
    pub block: u32,
    /// The other end: where the block came from or went. For [`Moment::Begun`], this member.
    pub peer: Rank,
    /// What happened.
    pub moment: Moment,
    /// When, as told by [`Timeline::set_now`].
    pub at_ns: u64,
}

/// What one member's part of a transfer spent its time on. The three parts add up to `end_ns - begin_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// When the transfer began here.
    pub begin_ns: u64,
    /// The last landing or post.
    pub end_ns: u64,
    /// No block was held that still had to be posted: waiting for data.
    pub data_ns: u64,
    /// A block was held, but the peer whose turn it was had no buffer yet.
    pub target_ns: u64,
    /// A block could have been posted and was not: the budget of a turn, a full outbox, or the loop was elsewhere.
    pub software_ns: u64,
}

/// Records what happens, up to a number of records.
#[derive(Clone, Debug)]
pub struct Timeline {
    now_ns: u64,
    records: Vec<Record>,
    records_max: usize,
    lost: u64,
}

impl Timeline {
    /// An empty timeline with memory for `records_max` records.
    pub fn new(records_max: usize) -> Timeline {
        Timeline { now_ns: 0, records: Vec::with_capacity(records_max), records_max, lost: 0 }
    }

    /// Sets the time that is noted from here on. Call it before each step; clocks are the caller's business.
    pub fn set_now(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// What was recorded, in order of time.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// How many records found no room.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Forgets everything recorded so far.
    pub fn clear(&mut self) {
        self.records.clear();
        self.lost = 0;
    }

    pub(crate) fn record(&mut self, sender: usize, transfer: u64, block: u32, peer: Rank, moment: Moment) {
        if self.records.len() == self.records_max {
            self.lost += 1;
            return;
        }
        self.records.push(Record { sender: sender as u32, transfer, block, peer, moment, at_ns: self.now_ns });
    }

    /// What this member's part of a transfer waited for; `None` if its beginning was not recorded.
    ///
    /// Blocks go to a peer in schedule order, so a block could be posted from when it had landed, its peer was ready
    /// and the peer's block before it was posted. What passed until it was posted counts as software, overlaps counted
    /// once.
    pub fn waits(&self, sender: u32, transfer: u64) -> Option<Waits> {
        let of_transfer = || self.records.iter().filter(move |r| (r.sender, r.transfer) == (sender, transfer));
        let begin_ns = of_transfer().find(|record| record.moment == Moment::Begun)?.at_ns;
        let end_ns = of_transfer().map(|record| record.at_ns).max()?;
        let (mut held, mut postable) = (Vec::new(), Vec::new());
        let (mut landed, mut ready, mut previous) = (HashMap::new(), HashMap::new(), HashMap::new());
        for &Record { block, peer, at_ns, moment, .. } in of_transfer() {
            match moment {
                Moment::Begun => {}
                Moment::Landed => _ = landed.insert(block, at_ns),
                Moment::Ready => _ = ready.insert(peer, at_ns),
                Moment::Posted => {
                    let since = |known: Option<&u64>| known.copied().unwrap_or(begin_ns);
                    let turn_ns = since(landed.get(&block)).max(since(previous.get(&peer)));
                    held.push((turn_ns, at_ns));
                    postable.push((turn_ns.max(since(ready.get(&peer))), at_ns));
                    previous.insert(peer, at_ns);
                }
            }
        }
        let (held_ns, software_ns) = (covered_ns(held), covered_ns(postable));
        let data_ns = end_ns - begin_ns - held_ns;
        Some(Waits { begin_ns, end_ns, data_ns, target_ns: held_ns - software_ns, software_ns })
    }
}

/// Length of the union of intervals.
fn covered_ns(mut intervals: Vec<(u64, u64)>) -> u64 {
    intervals.sort_unstable();
    let (mut covered, mut reached) = (0, 0);
    for (from, to) in intervals {
        covered += to.saturating_sub(from.max(reached));
        reached = reached.max(to);
    }
    covered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_tell_data_targets_and_software_apart() {
        let mut timeline = Timeline::new(100);
        let (upstream, down) = (Rank::new(0), Rank::new(2));
        for (at_ns, block, peer, moment) in [
            (100, 0, Rank::new(1), Moment::Begun),
            (150, 0, upstream, Moment::Landed),
            (170, 0, down, Moment::Ready),
            (175, 0, down, Moment::Posted),
            (200, 1, upstream, Moment::Landed),
            (200, 1, down, Moment::Posted),
        ] {
            timeline.set_now(at_ns);
            timeline.record(3, 7, block, peer, moment);
            timeline.record(3, 8, block, peer, moment);
        }
        let expected = Waits { begin_ns: 100, end_ns: 200, data_ns: 75, target_ns: 20, software_ns: 5 };
        assert_eq!(timeline.waits(3, 7), Some(expected));
        assert_eq!(timeline.waits(3, 9), None);
    }

    #[test]
    fn a_full_timeline_counts_what_it_loses() {
        let mut timeline = Timeline::new(1);
        timeline.record(0, 0, 0, Rank::new(0), Moment::Begun);
        timeline.record(0, 0, 0, Rank::new(1), Moment::Posted);
        assert_eq!((timeline.records().len(), timeline.lost()), (1, 1));
        timeline.clear();
        assert_eq!((timeline.records().len(), timeline.lost()), (0, 0));
    }
}
