//! Delivery on receipt: the raw curve of SMC and RDMC.

use squall_sst::{Frontier, Malformed, Table};
use squall_transport::{Outbox, Place, Rank, TABLE, Write};

use crate::columns::Columns;
use crate::cost::Cost;
use crate::orderer::{Orderer, Run};

/// Each sender's messages in its own order, as they are received. No nulls, no waiting for others; acknowledgements go
/// to the sender alone.
#[derive(Debug)]
pub struct Unordered {
    columns: Columns,
    /// The senders, by their place.
    ranks: Vec<Rank>,
    mine: Option<usize>,
    /// How far the others are with mine.
    acknowledged_by: Option<Frontier>,
    received: Vec<u64>,
    handed: Vec<u64>,
    acknowledged: Vec<u64>,
    behind: bool,
    deliveries: u64,
    turn: usize,
}

impl Unordered {
    /// No order among `senders` in a group of `members`; `mine` is my place among the senders.
    pub fn new(columns: Columns, members: usize, senders: &[Rank], mine: Option<usize>) -> Unordered {
        let zeros = vec![0; senders.len()];
        let acknowledged_by = mine.map(|mine| Frontier::new(columns.acknowledged.get(mine), Columns::ACKNOWLEDGED, members));
        Unordered {
            columns,
            ranks: senders.to_vec(),
            mine,
            acknowledged_by,
            received: zeros.clone(),
            handed: zeros.clone(),
            acknowledged: zeros,
            behind: false,
            deliveries: 0,
            turn: 0,
        }
    }

    /// What a message costs. Its sender writes payload and head to each of the n - 1 others, and each of those tells
    /// the sender that it has delivered. The sender delivers at once, the others when it has come.
    pub fn cost(members: usize, senders: usize) -> Cost {
        let others = members as u64 - 1;
        Cost { writes: 3 * others, hops: 0, hops_to_last: 1, copies: Cost::copies_of_direct(members, senders) }
    }

    /// Messages that I have delivered.
    pub fn deliveries(&self) -> u64 {
        self.deliveries
    }
}

impl Orderer for Unordered {
    #[inline]
    fn received(&mut self, sender: usize, frontier: u64, _data_until: u64) {
        self.received[sender] = frontier;
    }

    #[inline]
    fn owed(&self) -> u64 {
        0
    }

    #[inline]
    fn acknowledge(&mut self, _table: &Table, _outbox: &mut Outbox, _due: bool) {}

    #[inline]
    fn refresh(&mut self, _table: &Table) -> Result<(), Malformed> {
        Ok(())
    }

    #[inline]
    fn next(&mut self, max: u64) -> Option<Run> {
        for _ in 0..self.received.len() {
            let sender = self.turn;
            self.turn = if sender + 1 == self.received.len() { 0 } else { sender + 1 };
            let count = (self.received[sender] - self.handed[sender]).min(max);
            if count > 0 {
                let run = Run { seq: self.deliveries, sender, index: self.handed[sender], count };
                self.handed[sender] += count;
                self.deliveries += count;
                self.behind = true;
                return Some(run);
            }
        }
        None
    }

    /// What lies beyond the trim may be delivered already: there is no agreement on it in this mode.
    fn next_to(&mut self, trim: &[u64]) -> Option<Run> {
        let sender = (0..trim.len()).find(|&sender| self.handed[sender] < trim[sender])?;
        let run = Run { seq: self.deliveries, sender, index: self.handed[sender], count: trim[sender] - self.handed[sender] };
        self.handed[sender] += run.count;
        self.deliveries += run.count;
        Some(run)
    }

    #[inline]
    fn delivered(&mut self, table: &Table, outbox: &mut Outbox) {
        if !self.behind {
            return;
        }
        self.behind = false;
        for (sender, &to) in self.ranks.iter().enumerate() {
            let value = self.handed[sender];
            if value == self.acknowledged[sender] {
                continue;
            }
            let column = self.columns.acknowledged.get(sender);
            if to == table.me() {
                table.set(column, value);
                self.acknowledged[sender] = value;
            } else if outbox.push(to, Write::Word { at: Place::new(TABLE, column.at(table.me())), value }).is_ok() {
                self.acknowledged[sender] = value;
            } else {
                self.behind = true;
            }
        }
    }

    fn delivered_at(&self, table: &Table, member: Rank) -> u64 {
        self.mine.map_or(0, |mine| table.get(self.columns.acknowledged.get(mine), member))
    }

    #[inline]
    fn delivered_everywhere(&mut self, table: &Table) -> Result<u64, Malformed> {
        let Some((mine, frontier)) = self.mine.zip(self.acknowledged_by.as_mut()) else { return Ok(0) };
        // Nobody has delivered what I have not sent.
        frontier.least(table, self.handed[mine], self.received[mine])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_sst::LayoutBuilder;
    use squall_transport::{Region, RegionOptions};

    #[test]
    fn what_is_received_is_delivered_at_once_and_acknowledged_to_its_sender_alone() {
        let senders = [Rank::new(0), Rank::new(2)];
        let (layout, columns) = LayoutBuilder::compose(3, |builder| Columns::compose(builder, 2));
        let region = Region::allocate(layout.bytes() as usize, &RegionOptions::default()).unwrap();
        let table = Table::new(region, &layout, Rank::new(2));
        let (mut order, mut outbox) = (Unordered::new(columns, 3, &senders, Some(1)), Outbox::new(3));
        order.received(0, 3, 3);
        order.received(1, 2, 2);
        assert_eq!(order.next(9), Some(Run { seq: 0, sender: 0, index: 0, count: 3 }));
        assert_eq!(order.next(9), Some(Run { seq: 3, sender: 1, index: 0, count: 2 }));
        assert_eq!(order.next(9), None);
        order.delivered(&table, &mut outbox);
        let at = Place::new(TABLE, columns.acknowledged.get(0).at(Rank::new(2)));
        assert_eq!(outbox.pop(Rank::new(0)), Some(Write::Word { at, value: 3 }));
        assert_eq!((outbox.pop(Rank::new(0)), outbox.pop(Rank::new(1))), (None, None));
        assert_eq!(order.delivered_everywhere(&table), Ok(0), "the others have not acknowledged");
    }
}
