//! One sender and its receivers over real regions, joined by a wire in memory that lands writes when it is told to.

use std::slice;

use squall_smc::{Columns, Inbound, Kind, Limits, Outbound, Taken, WindowFull};
use squall_sst::{LayoutBuilder, Malformed, Table};
use squall_transport::sim::land;
use squall_transport::{Outbox, Place, Rank, Region, RegionOptions, Write};

/// What one index of the sender's stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Null,
    Data(u64),
    Large(u64),
    Decision(u64),
}

/// Byte `offset` of the payload at `index`.
fn byte(index: u64, offset: u64) -> u8 {
    (index * 131 + offset * 17 + 5) as u8
}

/// A member that receives: the sender (rank 0) itself, or a peer.
pub(crate) struct Receiver {
    region: Region,
    table: Table,
    inbound: Inbound,
    /// Index below which it has told the sender that it delivered.
    acknowledged: u64,
    /// Large messages that it was shown, by index.
    shown: Vec<u64>,
}

/// The whole world; rank 0 sends.
pub(crate) struct World {
    limits: Limits,
    members: Vec<Receiver>,
    outbound: Outbound,
    outbox: Outbox,
    /// The model: what every index is, and below which index the sender knows that all have delivered.
    sent: Vec<Sent>,
    reclaimed: u64,
}

impl World {
    pub(crate) fn new(members: usize, limits: Limits) -> World {
        let (layout, columns) = LayoutBuilder::compose(members, |layout| Columns::compose(layout, 1, &limits));
        let receivers: Vec<Receiver> = (0..members)
            .map(|me| {
                let region = Region::allocate(layout.bytes() as usize, &RegionOptions::default()).unwrap();
                let table = Table::new(region.clone(), &layout, Rank::new(me));
                let inbound = Inbound::new(table.ring(columns.ring, 0), columns, Rank::new(0));
                Receiver { region, table, inbound, acknowledged: 0, shown: Vec::new() }
            })
            .collect();
        let outbound = Outbound::new(receivers[0].table.ring(columns.ring, 0), columns, limits, members);
        World { limits, members: receivers, outbound, outbox: Outbox::new(members), sent: Vec::new(), reclaimed: 0 }
    }

    /// As [`World::new`], of a sender that decides.
    pub(crate) fn deciding(members: usize, limits: Limits) -> World {
        let world = World::new(members, limits);
        World { outbound: world.outbound.keep_room(), ..world }
    }

    pub(crate) fn members(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// Where the next record would begin, in bytes from the ring's start.
    pub(crate) fn tail_offset(&self) -> u64 {
        self.outbound.tail() % self.limits.ring_bytes
    }

    /// Sends a message, if the window lets it; checks that the answer is right where the model knows it.
    pub(crate) fn send(&mut self, bytes: u64, kind: Kind) -> Result<u64, WindowFull> {
        let open = self.sent[self.reclaimed as usize..].iter().filter(|sent| matches!(sent, Sent::Data(_) | Sent::Large(_))).count() as u64;
        let tail = self.outbound.tail();
        if let Err(full) = self.outbound.reserve(bytes) {
            assert!(self.reclaimed < self.sent.len() as u64, "an empty window takes every message");
            assert_eq!(self.outbound.tail(), tail, "a refusal leaves nothing behind");
            return Err(full);
        }
        assert!(open < self.limits.window_messages, "{open} messages are open already");
        let index = self.outbound.next_index();
        for (offset, place) in (0..).zip(self.outbound.payload_mut()) {
            *place = byte(index, offset);
        }
        assert_eq!(self.outbound.commit(kind), index);
        assert_eq!(index, self.sent.len() as u64);
        self.sent.push(if kind == Kind::Large { Sent::Large(bytes) } else { Sent::Data(bytes) });
        Ok(index)
    }

    /// Commits a decision of `bytes` bytes.
    pub(crate) fn decide(&mut self, bytes: u64) -> Result<u64, WindowFull> {
        let index = self.outbound.next_index();
        let payload: Vec<u8> = (0..bytes).map(|offset| byte(index, offset)).collect();
        assert_eq!(self.outbound.decide(&payload)?, index);
        self.sent.push(Sent::Decision(bytes));
        Ok(index)
    }

    /// Reserves, scribbles and forgets.
    pub(crate) fn reserve_and_cancel(&mut self, bytes: u64) {
        if self.outbound.reserve(bytes).is_ok() {
            self.outbound.payload_mut().fill(0xEE);
            self.outbound.cancel();
        }
    }

    /// Fills `run` turns with nulls.
    pub(crate) fn fill(&mut self, run: u64) -> Result<(), WindowFull> {
        self.fill_to(self.outbound.next_index() + run)
    }

    /// Fills the turns before `index` with nulls, as far as that goes.
    pub(crate) fn fill_to(&mut self, index: u64) -> Result<(), WindowFull> {
        let filled = self.outbound.fill(index);
        self.sent.resize(self.outbound.next_index() as usize, Sent::Null);
        filled
    }

    /// How many indices this member has taken.
    pub(crate) fn taken(&self, member: usize) -> u64 {
        self.members[member].inbound.taken()
    }

    pub(crate) fn ship(&mut self) {
        self.ship_within(u64::MAX);
    }

    /// Ships about so many bytes to each at the most.
    pub(crate) fn ship_within(&mut self, allowance: u64) {
        self.outbound.ship(&self.members[0].table, &mut self.outbox, |_| allowance);
    }

    /// Lands up to `count` writes at `member`.
    pub(crate) fn land(&mut self, member: usize, count: usize) -> bool {
        let mut any = false;
        for _ in 0..count {
            let Some(write) = self.outbox.pop(Rank::new(member)) else { break };
            let land = |write| land(write, slice::from_ref(&self.members[0].region), slice::from_ref(&self.members[member].region));
            if let Write::Span { from, to, len } = write {
                // The far half first: bytes of a Span land in any order.
                let half = len / 2;
                let shift = |place: Place| Place::new(place.region, place.offset + half);
                land(Write::Span { from: shift(from), to: shift(to), len: len - half });
                land(Write::Span { from, to, len: half });
            } else {
                land(write);
            }
            any = true;
        }
        any
    }

    /// `member` looks at what came, taking in large messages as `accept` says.
    pub(crate) fn look(&mut self, member: usize, mut accept: impl FnMut(u64) -> bool) -> Result<(), Malformed> {
        let Receiver { table, inbound, shown, .. } = &mut self.members[member];
        if member == 0 {
            // A sender's own large messages are here from the start.
            let before = inbound.seen();
            let new = inbound.see_own(self.outbound.tail(), |_, _, _| ())?.indices;
            assert_eq!(before + new, self.outbound.next_index());
            shown.extend((before..before + new).filter(|&index| matches!(self.sent[index as usize], Sent::Large(_))));
            return Ok(());
        }
        if !inbound.publish(table)? {
            return Ok(());
        }
        let before = inbound.seen();
        let sent = &self.sent;
        let arrived = inbound.look(|kind, index, payload| {
            if kind == Kind::Decision {
                let Sent::Decision(len) = sent[index as usize] else { panic!("index {index} is no decision") };
                check(len, index, payload);
                return true;
            }
            let Sent::Large(len) = sent[index as usize] else { panic!("index {index} is no large message") };
            check(len, index, payload);
            let accepted = accept(index);
            if accepted {
                shown.push(index);
            }
            accepted
        })?;
        let seen = inbound.seen();
        assert_eq!(seen, before + arrived.indices);
        let last = (before..seen).rev().find(|&index| matches!(sent[index as usize], Sent::Data(_) | Sent::Large(_)));
        assert_eq!(arrived.data_until, last.map_or(0, |index| index + 1));
        Ok(())
    }

    /// `member` delivers up to `count` of what it has seen.
    pub(crate) fn take(&mut self, member: usize, count: usize) {
        let inbound = &mut self.members[member].inbound;
        let until = inbound.seen().min(inbound.taken().saturating_add(count as u64));
        while inbound.taken() < until {
            let index = inbound.taken();
            let mut came = 1;
            match (self.sent[index as usize], inbound.take(until - index)) {
                (Sent::Null, Taken::Null) | (Sent::Decision(_), Taken::Decision) => {}
                (Sent::Large(len), Taken::Large(payload)) => check(len, index, payload),
                (Sent::Data(_), Taken::Data(payloads)) => {
                    came = 0;
                    for (index, payload) in (index..).zip(payloads) {
                        let Sent::Data(len) = self.sent[index as usize] else { panic!("index {index} is no message") };
                        check(len, index, payload);
                        came += 1;
                    }
                }
                (sent, came) => panic!("{sent:?} came as {came:?}"),
            }
            assert!(came > 0 && inbound.taken() == index + came, "{came} indices from {index}");
        }
    }

    /// `member` gives back what it delivered and tells the sender.
    pub(crate) fn acknowledge(&mut self, member: usize) {
        let receiver = &mut self.members[member];
        receiver.inbound.release();
        receiver.acknowledged = receiver.inbound.taken();
    }

    /// The sender reclaims what all acknowledged.
    pub(crate) fn reclaim(&mut self) {
        self.reclaimed = self.members.iter().map(|member| member.acknowledged).min().unwrap_or(0);
        self.outbound.reclaim(self.reclaimed);
    }

    /// Everything moves on until every member has delivered everything.
    pub(crate) fn settle(&mut self) {
        let mut rounds = 0;
        while self.members.iter().any(|member| member.inbound.taken() < self.sent.len() as u64) {
            rounds += 1;
            assert!(rounds < 100, "what was sent arrives");
            self.ship();
            for member in 0..self.members() {
                self.land(member, usize::MAX);
                self.look(member, |_| true).unwrap();
                self.take(member, usize::MAX);
            }
        }
        for member in 0..self.members() {
            self.acknowledge(member);
            let large = (0..).zip(&self.sent).filter(|(_, sent)| matches!(sent, Sent::Large(_))).map(|(index, _)| index);
            assert!(large.eq(self.members[member].shown.iter().copied()), "each large message is taken in once");
        }
        self.reclaim();
        assert_eq!(self.reclaimed, self.sent.len() as u64);
    }
}

/// Whether these are the bytes that were sent at `index`, so many.
fn check(len: u64, index: u64, payload: &[u8]) {
    assert_eq!(payload.len() as u64, len, "length of {index}");
    assert!((0..).zip(payload).all(|(offset, &found)| found == byte(index, offset)), "bytes of {index}");
}
