//! Links from each node to each other one: bytes in order, in frames.
//!
//! ```text
//!   frame   length (8 bytes) | messages, one behind the other | to a multiple of 8
//!   ring    frames without gaps, cut anywhere: at the ring's end, or where the reader has not made room yet
//! ```
//!
//! A turn writes to a peer what it has for it by one Span (two where the ring wraps) and says by Word how far that
//! goes. The reader says how far it has read only once that is a part of the ring, so that small messages do not pay
//! for it. What finds no room waits here.
//!
//! Ring `2 ((a + b) mod n)` leads from the lower rank of two nodes a and b to the higher one, the next one back. The
//! sum differs from peer to peer of one node, so each ring has a place that nothing else has at either end: of four
//! nodes, node 1 has the rings 2 and 3 with node 0, 6 and 7 with node 2, 0 and 1 with node 3.

use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use serde::Serialize;
use squall_sst::{Column, Columns, Counter, LayoutBuilder, RingColumn, Table};
use squall_transport::exchange::Exchange;
use squall_transport::outbox::Written;
use squall_transport::region::{RingReader, RingWriter};
use squall_transport::{Endpoint, Event, Fabric, Outbox, Place, Rank, RegionOptions, Requests, TABLE, Waker, Write};

/// Bytes before each frame that say how long it is.
const LENGTH_BYTES: u64 = 8;
/// A reader speaks up when it has read this part of the ring since it last did.
const SAID_PART: u64 = 4;
/// Writes of one turn to one peer: two Spans where the ring wraps, and the Word.
const WRITES: usize = 3;

/// Where the links' words and rings lie.
#[derive(Clone, Copy)]
struct Places {
    /// `head[d]`: how far the row's owner has written its ring to node d; for d alone.
    head: Columns,
    /// `read[d]`: how far the row's owner has read the ring from node d; for d alone.
    read: Columns,
    /// How far the row's owner is, for all.
    mark: Column,
    rings: RingColumn,
}

/// The ring from one node to another.
fn ring_of(from: Rank, to: Rank, nodes: usize) -> usize {
    2 * ((from.index() + to.index()) % nodes) + usize::from(from > to)
}

/// A node's links to all others.
pub(super) struct Links<E> {
    endpoint: E,
    table: Table,
    outbox: Outbox,
    links: Vec<Link>,
    mark: Counter,
    notices: Vec<String>,
}

impl<E: Endpoint> Links<E> {
    /// Opens them. A collective of all nodes.
    pub(super) fn open<F: Fabric<Endpoint = E>>(fabric: &F, exchange: &mut dyn Exchange, ring_bytes: u64) -> anyhow::Result<Links<E>> {
        let (me, nodes) = (exchange.rank(), exchange.members());
        let (layout, places) = LayoutBuilder::compose(nodes, |builder| Places {
            head: builder.words("link.head", nodes),
            read: builder.words("link.read", nodes),
            mark: builder.word("link.mark"),
            rings: builder.rings("link.ring", 2 * nodes, ring_bytes),
        });
        let region = fabric.region(layout.bytes() as usize, &RegionOptions::data_path())?;
        let notices = region.notices().to_vec();
        let endpoint = fabric.open(exchange, std::slice::from_ref(&region))?;
        let table = Table::new(region, &layout, me);
        let peers = (0..nodes).map(Rank::new).filter(|&peer| peer != me);
        let links = peers.map(|peer| Link::new(&table, places, peer)).collect();
        Ok(Links { endpoint, table, outbox: Outbox::new(nodes), links, mark: Counter::new(places.mark, nodes), notices })
    }

    pub(super) fn me(&self) -> Rank {
        self.table.me()
    }

    pub(super) fn nodes(&self) -> usize {
        self.table.members()
    }

    /// What could not be had as asked.
    pub(super) fn notices(&self) -> Vec<String> {
        self.notices.clone()
    }

    /// Adds a message to what goes to `to` next.
    pub(super) fn put(&mut self, to: Rank, message: &impl Serialize) -> anyhow::Result<()> {
        let link = self.links.iter_mut().find(|link| link.peer == to).with_context(|| format!("a message to node {to}"))?;
        link.put(message)
    }

    /// Whether more waits for a peer than its ring has room for.
    pub(super) fn is_full(&self) -> bool {
        self.links.iter().any(|link| !link.waiting.is_empty())
    }

    /// Sends what was put, as far as there is room, and says what was read. Whether anything was sent.
    pub(super) fn ship(&mut self) -> bool {
        for link in &mut self.links {
            link.ship(&self.table, &mut self.outbox);
        }
        self.mark.push(&self.table, &mut self.outbox);
        let is_sent = self.outbox.drain(&mut self.endpoint);
        self.endpoint.flush();
        is_sent
    }

    /// Gives each frame that came to `take`. Whether anything came.
    pub(super) fn receive(&mut self, mut take: impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<bool> {
        self.take_events()?;
        let mut any = false;
        for link in &mut self.links {
            any |= link.receive(&self.table, &mut take).with_context(|| format!("from node {}", link.peer))?;
        }
        Ok(any)
    }

    fn take_events(&mut self) -> anyhow::Result<()> {
        while let Some(Event::Down(peer)) = self.endpoint.poll() {
            let both_leave = self.mark.value() == LEAVES && self.table.get(self.mark.column(), peer) == LEAVES;
            if !both_leave {
                let why = self.endpoint.down_reason(peer).unwrap_or_else(|| "it is gone".into());
                bail!("the link to node {peer} is down: {why}");
            }
            self.outbox.discard(peer);
        }
        Ok(())
    }

    /// Shows the others how far this node is.
    pub(super) fn raise_mark(&mut self, mark: u64) {
        self.mark.raise(&self.table, mark);
    }

    /// How far all are.
    pub(super) fn mark_of_all(&self) -> u64 {
        self.mark.least(&self.table)
    }

    /// Whether everything that was put is out.
    pub(super) fn is_quiet(&self) -> bool {
        self.outbox.is_empty() && !self.endpoint.backlog() && !self.is_full()
    }

    pub(super) fn arm(&mut self) {
        self.endpoint.arm();
    }

    pub(super) fn disarm(&mut self) {
        self.endpoint.disarm();
    }

    pub(super) fn park(&mut self, timeout: Duration) {
        self.endpoint.park(timeout);
    }

    pub(super) fn waker(&self) -> Waker {
        self.endpoint.waker()
    }

    pub(super) fn written(&self) -> Written {
        self.outbox.written()
    }

    pub(super) fn requests(&self) -> Requests {
        self.endpoint.requests()
    }
}

/// The mark of a node that leaves.
pub(super) const LEAVES: u64 = u64::MAX;

/// A ring each way between this node and one other.
struct Link {
    peer: Rank,
    writer: RingWriter,
    head: Counter,
    reader: RingReader,
    read: Counter,
    /// Where the peer says the same.
    theirs: (Column, Column),
    /// Frames whose end is not in the ring yet; the length of the last one is written when it is shipped.
    waiting: Vec<u8>,
    /// Bytes of them that are in the ring.
    shipped: usize,
    /// Where the last frame begins, to which messages are added.
    open: Option<usize>,
    /// The beginning of a frame whose end has not come.
    part: Vec<u8>,
}

impl Link {
    fn new(table: &Table, places: Places, peer: Rank) -> Link {
        let (me, nodes) = (table.me(), table.members());
        let ring = |from, to| table.ring(places.rings, ring_of(from, to, nodes));
        let counter = |columns: Columns| Counter::read_by(columns.get(peer.index()), [peer]);
        Link {
            peer,
            writer: RingWriter::new(ring(me, peer)),
            head: counter(places.head),
            reader: RingReader::new(ring(peer, me)),
            read: counter(places.read),
            theirs: (places.head.get(me.index()), places.read.get(me.index())),
            waiting: Vec::new(),
            shipped: 0,
            open: None,
            part: Vec::new(),
        }
    }

    fn put(&mut self, message: &impl Serialize) -> anyhow::Result<()> {
        if self.open.is_none() {
            self.open = Some(self.waiting.len());
            self.waiting.extend([0; LENGTH_BYTES as usize]);
        }
        self.waiting = postcard::to_extend(message, std::mem::take(&mut self.waiting))?;
        Ok(())
    }

    /// Ends the frame that messages were added to.
    fn close(&mut self) {
        if let Some(start) = self.open.take() {
            let length = (self.waiting.len() - start) as u64 - LENGTH_BYTES;
            self.waiting[start..start + LENGTH_BYTES as usize].copy_from_slice(&length.to_le_bytes());
            self.waiting.resize(self.waiting.len().next_multiple_of(8), 0);
        }
    }

    fn ship(&mut self, table: &Table, outbox: &mut Outbox) {
        self.close();
        if !self.waiting.is_empty() && outbox.room(self.peer) >= WRITES {
            self.writer.reclaim(table.get(self.theirs.1, self.peer));
            while let len @ 1.. = self.room().min((self.waiting.len() - self.shipped) as u64) {
                let (at, end) = (self.writer.tail(), self.shipped + len as usize);
                self.writer.bytes_mut(at, len).copy_from_slice(&self.waiting[self.shipped..end]);
                self.writer.advance(len);
                let place = Place::new(TABLE, self.writer.ring().place(at));
                // There is room: it was asked for.
                let _ = outbox.push(self.peer, Write::Span { from: place, to: place, len });
                self.shipped = end;
            }
            // What is left moves to the beginning, once that is less than what went.
            if 2 * self.shipped >= self.waiting.len() {
                self.waiting.drain(..self.shipped);
                self.shipped = 0;
            }
            self.head.raise(table, self.writer.tail());
        }
        self.head.push(table, outbox);
        self.read.push(table, outbox);
    }

    /// Bytes that can be written in one piece.
    fn room(&self) -> u64 {
        self.writer.free().min(self.writer.ring().until_end(self.writer.tail()))
    }

    fn receive(&mut self, table: &Table, take: &mut impl FnMut(&[u8]) -> anyhow::Result<()>) -> anyhow::Result<bool> {
        let head = table.get(self.theirs.0, self.peer);
        if head == self.reader.published() {
            return Ok(false);
        }
        ensure!(self.reader.publish(head), "a head of {head} after {}", self.reader.published());
        while self.reader.released() != head {
            let at = self.reader.released();
            let here = (head - at).min(self.reader.ring().until_end(at));
            let frame = if self.part.is_empty() { self.reader.word(at) } else { length_of(&self.part) };
            let whole = frame.checked_next_multiple_of(8).and_then(|padded| padded.checked_add(LENGTH_BYTES));
            let whole = whole.ok_or_else(|| anyhow!("a frame of {frame} bytes"))?;
            if self.part.is_empty() && whole <= here {
                take(self.reader.bytes(at + LENGTH_BYTES, frame))?;
                self.reader.release(at + whole);
                continue;
            }
            let piece = here.min(whole - self.part.len() as u64);
            self.part.extend_from_slice(self.reader.bytes(at, piece));
            self.reader.release(at + piece);
            if self.part.len() as u64 == whole {
                take(&self.part[LENGTH_BYTES as usize..(LENGTH_BYTES + frame) as usize])?;
                self.part.clear();
            }
        }
        if head - self.read.value() >= self.reader.ring().bytes() / SAID_PART {
            self.read.raise(table, head);
        }
        Ok(true)
    }
}

/// What the first bytes of a frame say of its length.
fn length_of(part: &[u8]) -> u64 {
    part.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::thread;

    use squall_transport::exchange::LocalExchange;
    use squall_transport::shm::ShmFabric;

    use super::*;

    #[test]
    fn a_nodes_rings_are_all_different() {
        for nodes in 2..20 {
            for me in (0..nodes).map(Rank::new) {
                let peers = (0..nodes).map(Rank::new).filter(|&peer| peer != me);
                let rings: BTreeSet<usize> = peers.flat_map(|peer| [ring_of(me, peer, nodes), ring_of(peer, me, nodes)]).collect();
                assert_eq!(rings.len(), 2 * (nodes - 1), "{me} of {nodes}");
                assert!(rings.iter().all(|&ring| ring < 2 * nodes));
            }
        }
    }

    /// Sends messages of growing lengths to all others, some much longer than a ring, and takes in theirs.
    fn exchange_messages(mut exchange: LocalExchange) {
        const MESSAGES: usize = 40;
        let length = |from: usize, index: usize| (from + 1) * index * index * 7;
        let mut links = Links::open(&ShmFabric::new(), &mut exchange, 4096).unwrap();
        let (me, nodes) = (links.me(), links.nodes());
        let mut came = vec![0; nodes];
        let mut put = 0;
        while links.mark_of_all() < 1 {
            if put < MESSAGES {
                for to in (0..nodes).map(Rank::new).filter(|&to| to != me) {
                    links.put(to, &(me.0, vec![put as u8; length(me.index(), put)])).unwrap();
                }
                put += 1;
            }
            let is_sent = links.ship();
            let came_any = links
                .receive(|mut frame| {
                    while !frame.is_empty() {
                        let ((from, bytes), rest) = postcard::take_from_bytes::<(u16, Vec<u8>)>(frame)?;
                        let (from, index) = (usize::from(from), came[usize::from(from)]);
                        assert_eq!(bytes, vec![index as u8; length(from, index)], "message {index} from {from} to {me}");
                        came[from] += 1;
                        frame = rest;
                    }
                    Ok(())
                })
                .unwrap();
            if !is_sent && !came_any {
                thread::yield_now();
            }
            let is_done = came.iter().enumerate().all(|(from, &count)| from == me.index() || count == MESSAGES);
            links.raise_mark(u64::from(is_done && put == MESSAGES && !links.is_full()));
        }
        links.raise_mark(LEAVES);
        loop {
            links.ship();
            links.receive(|_| Ok(())).unwrap();
            if links.mark_of_all() == LEAVES && links.is_quiet() {
                return;
            }
            thread::yield_now();
        }
    }

    #[test]
    fn messages_longer_than_a_ring_come_whole_and_in_order() {
        let nodes: Vec<_> = LocalExchange::mesh(4).into_iter().map(|exchange| thread::spawn(move || exchange_messages(exchange))).collect();
        nodes.into_iter().for_each(|node| node.join().unwrap());
    }
}
