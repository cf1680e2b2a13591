//! Arbitrary bytes in a ring and any head: an answer, never a panic.

use proptest::prelude::*;
use squall_smc::{Columns, Inbound, Limits, Taken};
use squall_sst::{LayoutBuilder, Malformed, Table};
use squall_transport::sim::land;
use squall_transport::{Place, Rank, Region, RegionOptions, TABLE, Write};

const SENDER: Rank = Rank(1);

struct Garbage {
    table: Table,
    columns: Columns,
    region: Region,
    inbound: Inbound,
}

impl Garbage {
    fn new(ring_bytes: u64) -> Garbage {
        let limits = Limits { ring_bytes, window_messages: 100 };
        let (layout, columns) = LayoutBuilder::compose(2, |layout| Columns::compose(layout, 2, &limits));
        let region = Region::allocate(layout.bytes() as usize, &RegionOptions::default()).unwrap();
        let table = Table::new(region.clone(), &layout, Rank::new(0));
        let inbound = Inbound::new(table.ring(columns.ring, 1), columns, SENDER);
        Garbage { table, columns, region, inbound }
    }

    fn set_head(&self, head: u64) {
        self.region.word(self.columns.head.at(SENDER)).store(head, std::sync::atomic::Ordering::Release);
    }

    fn set_word(&self, index: usize, value: u64) {
        let at = Place::new(TABLE, self.columns.ring.at(1) + 8 * index as u64);
        land(Write::Word { at, value }, &[], std::slice::from_ref(&self.region));
    }

    fn receive(&mut self, accept: bool) -> Result<(), Malformed> {
        if self.inbound.publish(&self.table)? {
            self.inbound.look(|_, _, _| accept)?;
        }
        Ok(())
    }
}

fn word() -> impl Strategy<Value = u64> {
    prop_oneof![
        1 => any::<u64>(),
        // What nearly is a header: a known kind with a short length.
        8 => (0u64..7, 0u64..90).prop_map(|(kind, length)| length << 8 | kind),
        1 => (0u64..7).prop_map(|kind| !0 << 8 | kind),
    ]
}

fn head(ring_bytes: u64) -> impl Strategy<Value = u64> {
    prop_oneof![4 => (0..=ring_bytes / 8).prop_map(|words| 8 * words), 1 => 0..2 * ring_bytes, 1 => any::<u64>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn garbage_is_an_answer(
        words in proptest::collection::vec(word(), 32),
        heads in proptest::collection::vec((head(256), any::<bool>(), proptest::collection::vec((0usize..32, word()), 0..8)), 1..6)
    ) {
        let mut garbage = Garbage::new(256);
        for (index, &word) in words.iter().enumerate() {
            garbage.set_word(index, word);
        }
        for (head, accept, later) in heads {
            garbage.set_head(head);
            let received = garbage.receive(accept);
            for (index, word) in later {
                garbage.set_word(index, word);
            }
            // What was accepted can be handed out, whatever has become of the bytes since.
            for _ in 0..50 {
                if garbage.inbound.taken() < garbage.inbound.seen() {
                    garbage.inbound.take(1);
                }
            }
            garbage.inbound.release();
            if let Err(malformed) = received {
                prop_assert_eq!(malformed.member, SENDER);
                break;
            }
        }
    }
}

#[test]
fn a_header_that_changes_after_it_was_looked_at_changes_nothing() {
    let mut garbage = Garbage::new(256);
    let header = |bytes: u64| bytes << 8 | 1;
    for at in [0, 2, 4] {
        garbage.set_word(at, header(8));
        garbage.set_word(at + 1, at as u64);
    }
    garbage.set_head(48);
    garbage.receive(true).unwrap();
    for at in [0, 2, 4] {
        garbage.set_word(at, u64::MAX);
        match garbage.inbound.take(1) {
            Taken::Data(payloads) => assert!(payloads.eq([(at as u64).to_ne_bytes()])),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn nulls_far_beyond_what_was_delivered_are_malformed() {
    let mut garbage = Garbage::new(4096);
    for index in 0..512 {
        garbage.set_word(index, !0xFF | 2);
    }
    garbage.set_head(4096);
    assert!(garbage.receive(true).is_err());
}

#[test]
fn a_head_that_goes_back_is_malformed() {
    let mut garbage = Garbage::new(64);
    garbage.set_word(0, 1);
    garbage.set_head(8);
    garbage.receive(true).unwrap();
    garbage.set_head(0);
    assert_eq!(garbage.receive(true), Err(Malformed { member: SENDER, column: "smc.head", value: 0 }));
}
