//! A replica and the loop around it.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use omnipaxos::messages::Message;
use omnipaxos::messages::sequence_paxos::{PaxosMessage, PaxosMsg};
use omnipaxos::util::{LogEntry, NodeId};
use omnipaxos::{ClusterConfig, OmniPaxos, ServerConfig};
use omnipaxos_storage::memory_storage::MemoryStorage;
use squall_group::{Pace, Stats};
use squall_transport::{Endpoint, Rank};

use super::command::Command;
use super::link::{LEAVES, Links};
use crate::ask::omnipaxos::trim_every;
use crate::ask::policy;
use crate::experiments::group::engine::Engine;
use crate::experiments::group::receiver::Receiver;
use crate::jobs::group::GroupJob;
use crate::jobs::os;

/// From one tick of the replica's clock to the next.
const TICK_NS: u64 = 10_000_000;
/// Ticks until what was not answered is said again.
const RESEND_TICKS: u64 = 100;
/// Of the log's first configuration, which is the only one.
const CONFIGURATION: u32 = 1;

/// Whose replica leads.
const LEADER: Rank = Rank(0);

/// The library counts from 1.
fn name_of(rank: Rank) -> NodeId {
    rank.index() as NodeId + 1
}

/// The node of that name, if there is one.
fn rank_of(name: NodeId) -> Option<Rank> {
    Some(Rank::new(usize::try_from(name.checked_sub(1)?).ok()?))
}

/// A replica of the log, and what the loop around it keeps.
pub(super) struct Replica<E> {
    paxos: OmniPaxos<Command, MemoryStorage<Command>>,
    links: Links<E>,
    /// Mine that may be sent and not delivered.
    window: u64,
    /// Mine that are.
    under_way: u64,
    /// Mine since the last turn.
    sent: Vec<Command>,
    /// What the replica says.
    says: Vec<Message<Command>>,
    /// How far the log is delivered.
    delivered: usize,
    /// When to trim it again.
    next_trim: usize,
    trim_every: usize,
    next_tick_ns: u64,
    stats: Stats,
}

impl<E: Endpoint> Replica<E> {
    /// A replica with an empty log.
    pub(super) fn new(links: Links<E>, group_job: &GroupJob) -> anyhow::Result<Replica<E>> {
        let nodes = (0..links.nodes()).map(Rank::new).map(name_of).collect();
        let cluster = ClusterConfig { configuration_id: CONFIGURATION, nodes, flexible_quorum: None };
        let leads = links.me() == LEADER;
        let server = ServerConfig {
            pid: name_of(links.me()),
            election_tick_timeout: policy::SUSPECT_AFTER_NS / TICK_NS,
            resend_message_tick_timeout: RESEND_TICKS,
            leader_priority: u32::from(leads),
            ..ServerConfig::default()
        };
        let mut paxos = cluster.build_for_server(server, MemoryStorage::default()).map_err(|error| anyhow!("OmniPaxos: {error}"))?;
        if leads {
            // An election would take as long as a silence that counts as death.
            paxos.try_become_leader();
        }
        let trim_every = trim_every(group_job.message_bytes) as usize;
        Ok(Replica {
            paxos,
            links,
            window: group_job.shape.window,
            under_way: 0,
            sent: Vec::new(),
            says: Vec::new(),
            delivered: 0,
            next_trim: trim_every,
            trim_every,
            next_tick_ns: os::now_ns() + TICK_NS,
            stats: Stats::default(),
        })
    }

    /// Hands all that was sent since the last turn to the replica, as commands that this node forwards: to the log if
    /// it leads, to the leader if not.
    fn propose(&mut self) -> bool {
        if self.sent.is_empty() {
            return false;
        }
        let me = name_of(self.links.me());
        let msg = PaxosMsg::ProposalForward(std::mem::take(&mut self.sent));
        self.paxos.handle_incoming(Message::SequencePaxos(PaxosMessage { from: me, to: me, msg }));
        self.stats.send_batches += 1;
        true
    }

    /// Takes in what came.
    fn receive(&mut self, receiver: &mut Receiver) -> anyhow::Result<bool> {
        let Replica { paxos, links, stats, delivered, under_way, .. } = self;
        let me = links.me();
        let came = links.receive(|mut frame| {
            stats.receive_batches += 1;
            while !frame.is_empty() {
                let (message, rest) = postcard::take_from_bytes::<Message<Command>>(frame).context("a message of OmniPaxos")?;
                frame = rest;
                match &message {
                    Message::SequencePaxos(PaxosMessage { msg: PaxosMsg::AcceptDecide(accept), .. }) => {
                        stats.received += accept.entries.len() as u64;
                    }
                    Message::SequencePaxos(PaxosMessage { msg: PaxosMsg::ProposalForward(commands), .. }) => {
                        stats.received += commands.len() as u64;
                    }
                    // Delivered before it is cut off.
                    Message::SequencePaxos(PaxosMessage { msg: PaxosMsg::Compaction(_), .. }) => {
                        deliver(paxos, me, delivered, under_way, stats, receiver)?;
                    }
                    _ => {}
                }
                paxos.handle_incoming(message);
            }
            Ok(())
        })?;
        Ok(came)
    }

    /// Sends what the replica has to say.
    fn send_on(&mut self) -> anyhow::Result<bool> {
        self.paxos.take_outgoing_messages(&mut self.says);
        for message in self.says.drain(..) {
            let to = message.get_receiver();
            self.links.put(rank_of(to).with_context(|| format!("a message to node {to}"))?, &message)?;
        }
        Ok(self.links.ship())
    }

    fn deliver(&mut self, receiver: &mut Receiver) -> anyhow::Result<bool> {
        let Replica { paxos, links, stats, delivered, under_way, .. } = self;
        deliver(paxos, links.me(), delivered, under_way, stats, receiver)
    }

    /// The leader has all nodes cut off what all of them have. A node that has yet to hear that some of it is decided
    /// keeps its log until the next time.
    fn trim(&mut self) {
        if self.delivered >= self.next_trim && self.paxos.get_current_leader().is_some_and(|(name, _)| name == self.paxos.get_pid()) {
            self.next_trim = self.delivered + self.trim_every;
            let _ = self.paxos.trim(None);
        }
    }

    fn tick(&mut self) {
        let now_ns = os::now_ns();
        if now_ns >= self.next_tick_ns {
            self.next_tick_ns = now_ns + TICK_NS;
            self.paxos.tick();
        }
    }
}

/// Hands out what is decided.
fn deliver(
    paxos: &OmniPaxos<Command, MemoryStorage<Command>>,
    me: Rank,
    delivered: &mut usize,
    under_way: &mut u64,
    stats: &mut Stats,
    receiver: &mut Receiver,
) -> anyhow::Result<bool> {
    let Some(entries) = paxos.read_decided_suffix(*delivered) else { return Ok(false) };
    for entry in &entries {
        let LogEntry::Decided(command) = entry else { bail!("the log has {entry:?} where a message was decided") };
        *under_way = under_way.saturating_sub(u64::from(command.sender() == me));
        receiver.take(command.sender(), &command.payload.0);
    }
    *delivered += entries.len();
    stats.delivered += entries.len() as u64;
    stats.delivery_batches += 1;
    Ok(true)
}

impl<E: Endpoint> Engine for Replica<E> {
    #[inline]
    fn send(&mut self, bytes: u64, fill: impl FnOnce(&mut [u8])) -> anyhow::Result<bool> {
        if self.under_way >= self.window || self.links.is_full() {
            return Ok(false);
        }
        self.sent.push(Command::new(self.links.me(), bytes as usize, fill));
        self.under_way += 1;
        self.stats.messages_sent += 1;
        Ok(true)
    }

    fn step(&mut self, receiver: &mut Receiver) -> anyhow::Result<bool> {
        self.tick();
        let proposed = self.propose();
        let came = self.receive(receiver)?;
        // Others wait for it, and nobody for the deliveries.
        let sent = self.send_on()?;
        let delivered = self.deliver(receiver)?;
        self.trim();
        Ok(proposed | came | sent | delivered)
    }

    fn turn(&mut self, receiver: &mut Receiver, pace: &mut Pace, until: Option<Instant>) -> anyhow::Result<bool> {
        if self.step(receiver)? {
            pace.busy();
            return Ok(true);
        }
        if pace.spins() {
            pace.pause();
            return Ok(false);
        }
        self.links.arm();
        // What landed before wakes nobody: look once more.
        if self.step(receiver)? {
            self.links.disarm();
            pace.busy();
            return Ok(true);
        }
        self.stats.parks += 1;
        self.links.park(Pace::sleep_max(until).min(Duration::from_nanos(TICK_NS)));
        Ok(false)
    }

    fn raise_mark(&mut self, mark: u64) {
        self.links.raise_mark(mark);
    }

    fn mark_of_all(&self) -> u64 {
        self.links.mark_of_all()
    }

    fn stats(&self) -> Stats {
        let (written, requests) = (self.links.written(), self.links.requests());
        let mut stats = self.stats;
        (stats.words, stats.spans, stats.span_bytes) = (written.words, written.spans, written.span_bytes);
        (stats.requests, stats.doorbells) = (requests.posted, requests.doorbells);
        stats
    }

    fn close(mut self, receiver: &mut Receiver, pace: &mut Pace) -> anyhow::Result<()> {
        self.links.raise_mark(LEAVES);
        loop {
            // Whoever is the last to leave tells the others too.
            self.turn(receiver, pace, None)?;
            if self.links.mark_of_all() == LEAVES && self.links.is_quiet() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use squall_transport::exchange::LocalExchange;
    use squall_transport::shm::ShmFabric;

    use super::*;
    use crate::ask::omnipaxos::LINK_RING_BYTES;
    use crate::jobs::kinds::Ordering;
    use crate::jobs::shape::SMALL_MAX;

    /// The leader sends so many messages; how far the log is cut off here once all are delivered.
    fn cut_off(mut exchange: LocalExchange, messages: usize) -> usize {
        let group_job = GroupJob::of_small(Ordering::Omnipaxos);
        let links = Links::open(&ShmFabric::new(), &mut exchange, LINK_RING_BYTES).unwrap();
        let (leads, nodes) = (links.me() == LEADER, links.nodes());
        let mut replica = Replica::new(links, &group_job).unwrap();
        let (mut receiver, mut pace, mut sent) = (Receiver::new(nodes, &group_job), Pace::sharing(), 0);
        while replica.delivered < messages {
            while leads && sent < messages && replica.send(SMALL_MAX, |_| ()).unwrap() {
                sent += 1;
            }
            replica.turn(&mut receiver, &mut pace, None).unwrap();
        }
        let cut_off = replica.paxos.get_compacted_idx();
        replica.close(&mut receiver, &mut pace).unwrap();
        cut_off
    }

    #[test]
    fn a_log_is_cut_off_at_all_nodes_while_more_is_sent() {
        let every = trim_every(SMALL_MAX) as usize;
        let run = |exchange| thread::spawn(move || cut_off(exchange, 4 * every));
        let nodes: Vec<_> = LocalExchange::mesh(2).into_iter().map(run).collect();
        for node in nodes {
            let cut_off = node.join().unwrap();
            assert!((2 * every..=4 * every).contains(&cut_off), "{cut_off} of {}", 4 * every);
        }
    }
}
