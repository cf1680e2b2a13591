//! What members that have stopped give each other: parts of rings, from their own copies.

use squall_sst::{Counter, Malformed, Table};
use squall_transport::region::Ring;
use squall_transport::{Outbox, Place, Rank, TABLE, Write};

use crate::columns::FillColumns;

/// Parts of rings that members give each other when a view ends.
///
/// ```text
///   who lacks some      has[sender] -------------> all        so far I have that ring
///   who has more        bytes, filled[sender] ---> it         from its own copy, to the same place
/// ```
///
/// A sender uses no byte again before every member has delivered it. Whoever lacks a byte has not, so the copies of
/// those that have it hold it still, and what the sender itself may be writing there is the same.
#[derive(Debug)]
pub struct Fill {
    columns: FillColumns,
    /// How far I have each ring.
    has: Vec<Counter>,
    /// How far I have written each ring, by member and then sender.
    given: Vec<Vec<u64>>,
}

impl Fill {
    /// Nothing is given yet, in a group of `members`.
    pub fn new(columns: FillColumns, members: usize) -> Fill {
        let senders = columns.has.len();
        let has = (0..senders).map(|sender| Counter::new(columns.has.get(sender), members)).collect();
        Fill { columns, has, given: vec![vec![0; senders]; members] }
    }

    /// I have stopped, and have the ring of `sender` up to `position`. Whether anybody is told.
    pub fn say(&mut self, sender: usize, position: u64, table: &Table, outbox: &mut Outbox) -> bool {
        self.has[sender].raise(table, position + 1);
        self.has[sender].push(table, outbox)
    }

    /// How far one of these members has written the ring of `sender` here, and which one the furthest.
    pub fn taken(&self, sender: usize, table: &Table, from: impl Iterator<Item = Rank>) -> Option<(u64, Rank)> {
        from.map(|rank| (table.get(self.columns.filled.get(sender), rank), rank)).max()
    }

    /// What it is if a member has written further than any can.
    pub fn malformed(member: Rank, value: u64) -> Malformed {
        Malformed { member, column: FillColumns::FILLED, value }
    }

    /// Gives `to` what it lacks of the ring of `sender`, which is here up to `until`. Whether it lacked anything that
    /// there was room for in its queue.
    pub fn give(&mut self, to: Rank, sender: usize, until: u64, ring: &Ring, table: &Table, outbox: &mut Outbox) -> bool {
        let Some(has) = table.get(self.columns.has.get(sender), to).checked_sub(1) else { return false };
        let given = &mut self.given[to.index()][sender];
        let mut position = has.max(*given);
        // Nobody lacks more than a ring of it; who says so has broken memory, and is given nothing.
        let lacks = position < until && until - has <= ring.bytes() && position.is_multiple_of(8);
        // Two Spans where the ring wraps, and the Word.
        if !lacks || outbox.room(to) < 3 {
            return false;
        }
        while position < until {
            let len = (until - position).min(ring.until_end(position));
            let place = Place::new(TABLE, ring.place(position));
            let _ = outbox.push(to, Write::Span { from: place, to: place, len });
            position += len;
        }
        let _ = outbox.push(to, Write::Word { at: table.place(self.columns.filled.get(sender)), value: until });
        *given = until;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;
    use crate::columns::{Columns, Limits};
    use crate::{Inbound, Kind, Outbound, Taken};
    use squall_sst::{Layout, LayoutBuilder};
    use squall_transport::sim::land;
    use squall_transport::{Region, RegionOptions};

    const LIMITS: Limits = Limits { ring_bytes: 128, window_messages: 100 };

    struct Member {
        region: Region,
        table: Table,
        outbox: Outbox,
        fill: Fill,
    }

    fn member(me: usize, layout: &Layout, columns: FillColumns) -> Member {
        let region = Region::allocate(layout.bytes() as usize, &RegionOptions::default()).unwrap();
        let table = Table::new(region.clone(), layout, Rank::new(me));
        Member { region, table, outbox: Outbox::new(3), fill: Fill::new(columns, 3) }
    }

    fn land_at(from: &mut Member, to: usize, at: &Region) {
        while let Some(write) = from.outbox.pop(Rank::new(to)) {
            land(write, slice::from_ref(&from.region), slice::from_ref(at));
        }
    }

    fn send(outbound: &mut Outbound, sender: &mut Member, text: &[u8]) {
        outbound.reserve(text.len() as u64).unwrap();
        outbound.payload_mut().copy_from_slice(text);
        outbound.commit(Kind::Data);
        outbound.ship(&sender.table, &mut sender.outbox, |_| u64::MAX);
    }

    fn texts(inbound: &mut Inbound) -> Vec<Vec<u8>> {
        inbound.look(|_, _, _| true).unwrap();
        let mut texts = Vec::new();
        while inbound.taken() < inbound.seen() {
            if let Taken::Data(payloads) = inbound.take(inbound.seen() - inbound.taken()) {
                texts.extend(payloads.map(<[u8]>::to_vec));
            }
        }
        inbound.release();
        texts
    }

    #[test]
    fn whoever_lacks_the_end_of_a_ring_is_given_it_by_another_member() {
        let (layout, (smc, columns)) =
            LayoutBuilder::compose(3, |layout| (Columns::compose(layout, 1, &LIMITS), FillColumns::compose(layout, 1)));
        let [mut sender, mut other, mut late] = [0, 1, 2].map(|me| member(me, &layout, columns));
        let mut outbound = Outbound::new(sender.table.ring(smc.ring, 0), smc, LIMITS, 3);
        let [mut at_other, mut at_late] = [&other, &late].map(|member| Inbound::new(member.table.ring(smc.ring, 0), smc, Rank::new(0)));
        // A lap but for one record: what is filled goes over the ring's end.
        (0..5).for_each(|_| send(&mut outbound, &mut sender, b"first"));
        land_at(&mut sender, 1, &other.region);
        land_at(&mut sender, 2, &late.region);
        for (inbound, member) in [(&mut at_other, &other), (&mut at_late, &late)] {
            assert!(inbound.publish(&member.table).unwrap() && texts(inbound).len() == 5);
        }
        outbound.reclaim(5);
        [b"second", b"third.", b"fourth"].iter().for_each(|text| send(&mut outbound, &mut sender, *text));
        land_at(&mut sender, 1, &other.region);
        assert!(at_other.publish(&other.table).unwrap());
        at_other.look(|_, _, _| true).unwrap();

        let (ring, until) = (other.table.ring(smc.ring, 0), at_other.position());
        let give = |other: &mut Member| other.fill.give(Rank::new(2), 0, until, &ring, &other.table, &mut other.outbox);
        assert!(!give(&mut other), "it has not said what it has");
        late.fill.say(0, at_late.position(), &late.table, &mut late.outbox);
        land_at(&mut late, 1, &other.region);
        assert!(give(&mut other) && !give(&mut other), "once");
        land_at(&mut other, 2, &late.region);
        assert_eq!(late.fill.taken(0, &late.table, [Rank::new(1)].into_iter()), Some((until, Rank::new(1))));
        assert!(at_late.fill(until) && !at_late.fill(until + 256), "nobody can have written so far");
        assert_eq!(texts(&mut at_late), [b"second", b"third.", b"fourth"]);
        // The sender's own words are older.
        assert!(!at_late.publish(&late.table).unwrap());
    }
}
