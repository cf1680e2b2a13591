//! How a row travels: as words, all of a batch or none of it.

use squall_sst::Table;
use squall_transport::{Outbox, Place, Rank, TABLE, Write};

use crate::row::{Columns, Row};

/// My row on its way to the others, and theirs as they came.
///
/// ```text
///   writer, a peer at a time:   begin = k | words that differ | end = k        (one link keeps posting order, T1)
///   reader:                     end, words, begin; a row only if begin = end
/// ```
///
/// A reader that sees `end = k` sees everything before it. If it also sees a word of batch k + 1, it sees
/// `begin = k + 1`, which was posted before that word: it looks again later. So a row is read as it was at one moment
/// of its writer, and rows of one writer are read in their order; some may be skipped.
#[derive(Debug)]
pub(crate) struct Publication {
    columns: Columns,
    /// My row as words.
    mine: Vec<u64>,
    peers: Vec<Peer>,
    scratch: Vec<u64>,
}

#[derive(Clone, Debug)]
struct Peer {
    /// My words as this peer has them or is about to.
    sent: Vec<u64>,
    batches: u64,
    /// A batch has begun and not ended.
    open: bool,
    /// It has all of my row.
    up_to_date: bool,
    /// The last batch of theirs that was read.
    seen: u64,
}

/// What was found in a peer's row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing new, or a batch that is still landing.
    Nothing,
    /// Its row now.
    Row(Row),
    /// Words that no member says: it runs another version, or its memory is broken.
    Malformed {
        /// The number of the batch.
        batch: u64,
    },
}

impl Publication {
    pub(crate) fn new(columns: Columns) -> Publication {
        let zeros = vec![0; columns.words.len()];
        let peer = Peer { sent: zeros.clone(), batches: 0, open: false, up_to_date: true, seen: 0 };
        Publication { peers: vec![peer; columns.members()], mine: zeros, scratch: Vec::new(), columns }
    }

    /// This is my row from now on.
    pub(crate) fn set(&mut self, row: &Row, table: &Table) {
        row.encode(&self.columns, &mut self.scratch);
        if self.scratch == self.mine {
            return;
        }
        std::mem::swap(&mut self.mine, &mut self.scratch);
        self.columns.words.iter().zip(&self.mine).for_each(|(column, word)| table.set(*column, *word));
        self.peers.iter_mut().for_each(|peer| peer.up_to_date = false);
    }

    /// Whether some peer of those lacks a part of my row.
    pub(crate) fn is_behind(&self, peers: impl Iterator<Item = Rank>) -> bool {
        peers.into_iter().any(|peer| !self.peers[peer.index()].up_to_date)
    }

    /// Whether the end of what was queued for `to` waits in `outbox` still: it has no whole row of what is before it.
    pub(crate) fn is_unsaid(&self, to: Rank, me: Rank, outbox: &Outbox) -> bool {
        outbox.holds(to, Place::new(TABLE, self.columns.end.at(me)))
    }

    /// Queues for `to` what it lacks of my row, as far as there is room. Whether anything was queued.
    pub(crate) fn push(&mut self, to: Rank, table: &Table, outbox: &mut Outbox) -> bool {
        let peer = &mut self.peers[to.index()];
        if peer.up_to_date {
            return false;
        }
        let mut word = |column: squall_sst::Column, value: u64| {
            let at = Place::new(TABLE, column.at(table.me()));
            outbox.push(to, Write::Word { at, value }).is_ok()
        };
        let mut pushed = false;
        if !peer.open {
            if peer.sent == self.mine {
                peer.up_to_date = true;
                return false;
            }
            if !word(self.columns.begin, peer.batches + 1) {
                return false;
            }
            (peer.open, peer.batches, pushed) = (true, peer.batches + 1, true);
        }
        for ((column, sent), mine) in self.columns.words.iter().zip(&mut peer.sent).zip(&self.mine) {
            if sent != mine {
                if !word(*column, *mine) {
                    return pushed;
                }
                (*sent, pushed) = (*mine, true);
            }
        }
        if word(self.columns.end, peer.batches) {
            (peer.open, peer.up_to_date, pushed) = (false, true, true);
        }
        pushed
    }

    /// Looks at the row of `from`.
    pub(crate) fn look(&mut self, from: Rank, table: &Table) -> Found {
        let peer = &mut self.peers[from.index()];
        let end = table.get(self.columns.end, from);
        if end == peer.seen {
            return Found::Nothing;
        }
        self.columns.read(table, from, &mut self.scratch);
        if table.get(self.columns.begin, from) != end {
            return Found::Nothing;
        }
        peer.seen = end;
        Row::decode(&self.columns, &self.scratch).map_or(Found::Malformed { batch: end }, Found::Row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranks::Ranks;
    use proptest::prelude::*;
    use squall_sst::LayoutBuilder;
    use squall_transport::outbox::OUTBOX_WRITES_MAX;
    use squall_transport::{Region, RegionOptions};

    fn tables() -> (Vec<(Table, Region)>, Columns) {
        let (layout, columns) = LayoutBuilder::compose(2, |layout| Columns::compose(layout, 3));
        let table = |me| {
            let region = Region::allocate(layout.bytes() as usize, &RegionOptions::default()).unwrap();
            (Table::new(region.clone(), &layout, Rank::new(me)), region)
        };
        ((0..2).map(table).collect(), columns)
    }

    fn land(outbox: &mut Outbox, region: &Region) -> bool {
        let Some(Write::Word { at, value }) = outbox.pop(Rank(1)) else { return false };
        // Release: as any landing word.
        region.word(at.offset).store(value, std::sync::atomic::Ordering::Release);
        true
    }

    fn row(step: u64) -> Row {
        let suspected: Ranks = (0..2).filter(|bit| step >> bit & 1 == 1).map(Rank).collect();
        Row { suspected, received: Some(vec![step, 2 * step, 3 * step]), ..Row::default() }
    }

    proptest! {
        #[test]
        fn a_row_is_seen_whole_and_never_older_than_before(actions in proptest::collection::vec(0u8..4, 1..300), crowd in 0usize..64) {
            let (tables, columns) = tables();
            let (mut writer, mut reader) = (Publication::new(columns.clone()), Publication::new(columns));
            let mut outbox = Outbox::new(2);
            for offset in 0..crowd.min(OUTBOX_WRITES_MAX - 1) as u64 {
                let at = Place::new(TABLE, 8 * (offset + 2) + tables[0].1.bytes() as u64 - 1024);
                outbox.push(Rank(1), Write::Word { at, value: 0 }).unwrap();
            }
            let (mut step, mut seen) = (0, 0);
            let mut look = |reader: &mut Publication, newest: u64| match reader.look(Rank(0), &tables[1].0) {
                Found::Nothing => Ok(false),
                Found::Malformed { .. } => Err(TestCaseError::fail("malformed")),
                Found::Row(found) => {
                    let at = found.received.as_ref().map_or(0, |received| received[0]);
                    prop_assert!(at >= seen && at <= newest && found == row(at));
                    seen = at;
                    Ok(true)
                }
            };
            for action in actions {
                match action {
                    0 => {
                        step += 1;
                        writer.set(&row(step), &tables[0].0);
                    }
                    1 => {
                        writer.push(Rank(1), &tables[0].0, &mut outbox);
                    }
                    2 => {
                        land(&mut outbox, &tables[1].1);
                    }
                    _ => {
                        look(&mut reader, step)?;
                    }
                }
            }
            while writer.push(Rank(1), &tables[0].0, &mut outbox) | land(&mut outbox, &tables[1].1) {}
            look(&mut reader, step)?;
            prop_assert!(seen == step && !writer.is_behind([Rank(1)].into_iter()));
        }
    }
}
