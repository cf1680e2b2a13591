//! T1 and T3 together: data by Span, then its counter by Word. Every member streams messages to every other and checks
//! what it gets.

use std::sync::atomic::Ordering::Acquire;

use squall_transport::{Endpoint, Outbox, POOL, Place, Rank, Region, TABLE, Write};

use super::cluster::{Cluster, POOL_BYTES};
use super::pattern::{Pattern, byte, mix};
use crate::allocations;

/// Messages to one peer that are not acknowledged.
const WINDOW: u64 = 4;

/// What the members send each other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) members: usize,
    /// Messages to each peer.
    pub(crate) messages: u64,
    /// The longest, in bytes.
    pub(crate) bytes_max: u64,
    /// Sizes that come first, before random ones.
    pub(crate) sizes: &'static [u64],
}

/// One member's part.
///
/// ```text
///   table   published by s: word s          acknowledged by t: word members + t
///   pool    sources [peer][index % WINDOW]  then targets [peer][index % WINDOW]
/// ```
pub(crate) struct Streamer {
    plan: Plan,
    me: usize,
    table: Region,
    pool: Region,
    outbox: Outbox,
    sent: Vec<u64>,
    seen: Vec<u64>,
}

/// One message, known to both sides.
struct Message {
    pattern: Pattern,
    len: u64,
    /// Bytes of the pattern that are left out at its start: makes the source unaligned.
    skip: u64,
    /// Where in its slot it lands.
    target: u64,
}

impl Plan {
    fn message(&self, from: usize, to: usize, index: u64) -> Message {
        let seed = mix((from as u64) << 48 | (to as u64) << 32 | index);
        let random = mix(seed ^ 1) % self.bytes_max.ilog2() as u64 + 1;
        let len = self.sizes.get(index as usize).copied().unwrap_or(mix(seed ^ 2) % (2 << random).min(self.bytes_max) + 1);
        Message { pattern: Pattern(seed), len, skip: seed % 16, target: 8 + (seed >> 8) % 16 }
    }

    fn slot_bytes(&self) -> u64 {
        (self.bytes_max + 48).next_multiple_of(8)
    }

    fn source(&self, peer: usize, index: u64) -> u64 {
        (peer as u64 * WINDOW + index % WINDOW) * self.slot_bytes()
    }

    fn target(&self, peer: usize, index: u64) -> u64 {
        self.source(self.members, 0) + self.source(peer, index)
    }
}

impl Streamer {
    pub(crate) fn new(plan: Plan, me: usize, table: Region, pool: Region) -> Streamer {
        assert!(plan.target(plan.members, 0) <= POOL_BYTES as u64);
        let zeros = vec![0; plan.members];
        Streamer { plan, me, table, pool, outbox: Outbox::new(plan.members), sent: zeros.clone(), seen: zeros }
    }

    /// Sends what the windows allow and checks what has come; whether anything happened.
    pub(crate) fn turn<E: Endpoint>(&mut self, endpoint: &mut E) -> bool {
        let mut moved = false;
        for peer in 0..self.plan.members {
            if peer != self.me {
                moved |= self.receive(peer);
                moved |= self.send(peer);
            }
        }
        moved |= self.outbox.drain(endpoint);
        endpoint.flush();
        assert_eq!(endpoint.poll(), None, "everybody lives");
        moved
    }

    /// Whether I have sent and got everything and know that it arrived.
    pub(crate) fn is_done<E: Endpoint>(&self, endpoint: &E) -> bool {
        let peers = || (0..self.plan.members).filter(|&peer| peer != self.me);
        let goal = self.plan.messages;
        self.outbox.is_empty() && !endpoint.backlog() && peers().all(|peer| self.seen[peer] == goal && self.acknowledged(peer) == goal)
    }

    fn acknowledged(&self, peer: usize) -> u64 {
        self.table.word(8 * (self.plan.members + peer) as u64).load(Acquire)
    }

    fn receive(&mut self, from: usize) -> bool {
        let published = self.table.word(8 * from as u64).load(Acquire);
        let news = published > self.seen[from];
        while self.seen[from] < published {
            let index = self.seen[from];
            let message = self.plan.message(from, self.me, index);
            let slot = self.plan.target(from, index);
            message.pattern.check(&self.pool, slot + message.target, message.skip, message.len);
            let around = [slot + message.target - 1, slot + message.target + message.len];
            assert_eq!(around.map(|at| byte(&self.pool, at)), [0, 0], "bytes beside a message were written");
            Self::wipe(&self.pool, slot, self.plan.slot_bytes());
            self.seen[from] += 1;
        }
        if news {
            let at = Place::new(TABLE, 8 * (self.plan.members + self.me) as u64);
            // A window never has more acknowledgements under way than the outbox holds.
            self.outbox.push(Rank::new(from), Write::Word { at, value: published }).expect("room for an acknowledgement");
        }
        news
    }

    fn send(&mut self, to: usize) -> bool {
        let before = self.sent[to];
        while self.sent[to] < self.plan.messages && self.sent[to] - self.acknowledged(to) < WINDOW && self.outbox.room(Rank::new(to)) > 8 {
            let index = self.sent[to];
            let message = self.plan.message(self.me, to, index);
            let source = self.plan.source(to, index);
            message.pattern.fill(&self.pool, source, message.skip + message.len);
            let from = Place::new(POOL, source + message.skip);
            let target = Place::new(POOL, self.plan.target(self.me, index) + message.target);
            let published = Place::new(TABLE, 8 * self.me as u64);
            self.sent[to] += 1;
            let span = Write::Span { from, to: target, len: message.len };
            for write in [span, Write::Word { at: published, value: self.sent[to] }] {
                self.outbox.push(Rank::new(to), write).expect("room was asked for");
            }
        }
        self.sent[to] > before
    }

    fn wipe(region: &Region, base: u64, bytes: u64) {
        for at in (base..base + bytes).step_by(8) {
            region.word(at).store(0, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

/// Streams until every member is done, all in this thread.
fn run<E: Endpoint>(cluster: &mut Cluster<E>, streamers: &mut [Streamer]) {
    cluster.until("everything was streamed", |cluster| {
        let mut done = true;
        for (member, streamer) in cluster.members.iter_mut().zip(&mut *streamers) {
            let endpoint = member.endpoint.as_mut().expect("alive");
            streamer.turn(endpoint);
            done &= streamer.is_done(endpoint);
        }
        done
    });
    cluster.assert_all_up();
}

pub(crate) fn streamers<E: Endpoint>(cluster: &Cluster<E>, plan: Plan) -> Vec<Streamer> {
    let members = cluster.members.iter().enumerate();
    members.map(|(me, member)| Streamer::new(plan, me, member.table.clone(), member.pool.clone())).collect()
}

/// Sizes up to 4 MB, in both directions at once.
pub(crate) fn large_spans_are_complete_when_their_counter_is_seen<E: Endpoint>(cluster: &mut Cluster<E>) {
    const SIZES: &[u64] = &[4 << 20, (4 << 20) - 3, 3_000_001, 1, 2 << 20, 500_000, (4 << 20) - 8, 1 << 20, (1 << 20) + 1];
    let plan = Plan { members: cluster.members.len(), messages: SIZES.len() as u64, bytes_max: 4 << 20, sizes: SIZES };
    run(cluster, &mut streamers(cluster, plan));
}

/// Every kind of size up to 1 MB, at unaligned places, between all pairs in both directions.
pub(crate) fn data_is_complete_when_its_counter_is_seen<E: Endpoint>(cluster: &mut Cluster<E>) {
    const SIZES: &[u64] = &[
        1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 255, 1000, 1023, 1024, 1025, 4095, 4096, 4097, 8191, 10_000, 65_535, 65_537, 131_072,
        262_145, 1_000_000, 1_048_577,
    ];
    let plan = Plan { members: cluster.members.len(), messages: SIZES.len() as u64, bytes_max: 1_048_577, sizes: SIZES };
    run(cluster, &mut streamers(cluster, plan));
}

/// Many messages of many sizes, so that batches, wrap-arounds and partial sends come in every combination.
pub(crate) fn streams_of_all_members_at_once<E: Endpoint>(cluster: &mut Cluster<E>) {
    let plan = Plan { members: cluster.members.len(), messages: 1500, bytes_max: 60_000, sizes: &[] };
    run(cluster, &mut streamers(cluster, plan));
}

/// T7.
pub(crate) fn nothing_allocates_after_open<E: Endpoint>(cluster: &mut Cluster<E>) {
    let plan = Plan { members: cluster.members.len(), messages: 200, bytes_max: 100_000, sizes: &[] };
    let mut streamers = streamers(cluster, plan);
    assert_eq!(allocations::during(|| run(cluster, &mut streamers)), 0);
}
