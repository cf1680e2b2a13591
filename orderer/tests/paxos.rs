//! The order by a leader's log: what is delivered when, and what is kept for those that lag behind.

use std::sync::atomic::Ordering;

use squall_orderer::{Columns, Orderer, Paxos, Run};
use squall_sst::{Column, LayoutBuilder, Table};
use squall_transport::{Outbox, Rank, Region, RegionOptions};

/// Member `me` of three that vote, of whom 0 sends: a small message, and then a large one.
struct Member {
    columns: Columns,
    region: Region,
    table: Table,
    order: Paxos,
}

fn member(me: usize) -> Member {
    let (layout, columns) = LayoutBuilder::compose(3, |builder| Columns::compose(builder, 1));
    let region = Region::allocate(layout.bytes() as usize, &RegionOptions::default()).unwrap();
    let table = Table::new(region.clone(), &layout, Rank::new(me));
    let mut order = Paxos::new(columns, 3, 3, &[Rank::new(0)], Rank::new(me));
    order.large(0, 1);
    order.received(0, 2, 2);
    order.acknowledge(&table, &mut Outbox::new(3), true);
    Member { columns, region, table, order }
}

impl Member {
    fn tell(&self, column: Column, from: usize, value: u64) {
        self.region.word(column.at(Rank::new(from))).store(value, Ordering::Release);
    }

    fn next(&mut self) -> Option<Run> {
        self.order.refresh(&self.table).unwrap();
        self.order.next(9)
    }
}

#[test]
fn a_large_message_is_delivered_once_a_majority_has_it_and_spread_once_all_have() {
    let mut member = member(1);
    let received = member.columns.received_seq;
    member.tell(received, 0, 1);
    assert_eq!(member.next(), Some(Run { seq: 0, sender: 0, index: 0, count: 1 }));
    assert_eq!(member.next(), None);
    member.tell(received, 0, 2);
    assert_eq!(member.next(), Some(Run { seq: 1, sender: 0, index: 1, count: 1 }));
    assert_eq!(member.order.large_spread(0), 0);
    member.tell(received, 2, 2);
    assert_eq!((member.next(), member.order.large_spread(0)), (None, 1));
}

#[test]
fn a_senders_own_large_message_is_spread_once_all_have_delivered_it() {
    let mut sender = member(0);
    let (received, delivered) = (sender.columns.received_seq, sender.columns.delivered_seq);
    [1, 2].into_iter().for_each(|rank| sender.tell(received, rank, 2));
    assert_eq!(sender.next(), Some(Run { seq: 0, sender: 0, index: 0, count: 2 }));
    sender.order.delivered(&sender.table, &mut Outbox::new(3));
    for (seqs, spread) in [([2, 1], 0), ([2, 2], 1)] {
        (1..).zip(seqs).for_each(|(rank, seq)| sender.tell(delivered, rank, seq));
        sender.order.delivered_everywhere(&sender.table).unwrap();
        assert_eq!(sender.order.large_spread(0), spread);
    }
}
