//! Members in threads, over a real fabric, that go from view to view.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use squall_group::{Config, Delivery, Ended, Group, Newcomer, Outgoing, Pace, Timeouts, Upcalls, View};
use squall_transport::exchange::LocalExchange;
use squall_transport::{Fabric, NodeId, Rank, RegionOptions};

/// Longer than any of these tests on any machine: who is lost is noticed by its links, and who is late is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn config(senders: usize) -> Config {
    Config {
        ring_bytes: 4096,
        small_max: 300,
        large_max: 20_000,
        transfers_max: 2,
        senders_max: 8,
        window_messages: 32,
        block_bytes: Some(4096),
        membership: Some(Timeouts { learner: PATIENCE, ..Timeouts::after(PATIENCE) }),
        region: RegionOptions::default(),
        ..Config::new((0..senders).map(Rank::new).collect())
    }
}

/// Where the members of each view meet, and newcomers hear that they are in.
#[derive(Clone, Default)]
pub(crate) struct Cluster {
    meetings: Arc<Mutex<HashMap<u64, Vec<Option<LocalExchange>>>>>,
    waiting: Arc<Mutex<HashMap<NodeId, Sender<View>>>>,
}

impl Cluster {
    /// A member's way into a view: whoever comes first sets the table for all.
    pub(crate) fn meet(&self, view: &View) -> LocalExchange {
        let mut meetings = self.meetings.lock().unwrap();
        let seats = meetings.entry(view.id).or_insert_with(|| LocalExchange::mesh(view.members).into_iter().map(Some).collect());
        let seat = seats[view.me.index()].take().expect("nobody comes twice");
        if seats.iter().all(Option::is_none) {
            meetings.remove(&view.id);
        }
        seat
    }

    /// A newcomer's place to wait for its first view.
    pub(crate) fn wait(&self, newcomer: &Newcomer) -> Receiver<View> {
        let (sender, receiver) = channel();
        self.waiting.lock().unwrap().insert(newcomer.node(), sender);
        receiver
    }

    /// Tells newcomers that they are in.
    fn tell(&self, view: &View) {
        let mut waiting = self.waiting.lock().unwrap();
        for node in &view.nodes {
            if let Some(sender) = waiting.remove(node) {
                sender.send(view.seen_by(*node).expect("it is a member")).expect("it waits");
            }
        }
    }
}

/// What a member delivered: who sent it and its number; and the views that it came through.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) deliveries: Vec<(u64, u64)>,
    pub(crate) views: Vec<View>,
    /// Deliveries before each view.
    pub(crate) before: Vec<usize>,
    pub(crate) cut: u64,
    pub(crate) sent_again: u64,
}

impl Upcalls for Log {
    fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        let word = |at: usize| u64::from_le_bytes(delivery.payload[at..at + 8].try_into().unwrap());
        assert!(delivery.payload[16..].iter().all(|&byte| byte == word(8) as u8), "a message is corrupt");
        self.deliveries.push((word(0), word(8)));
    }

    fn cut(&mut self, _index: u64) {
        self.cut += 1;
    }

    fn sent_again(&mut self, _index: u64) {
        self.sent_again += 1;
    }
}

/// One member's life.
pub(crate) struct Member<F: Fabric> {
    pub(crate) group: Group<F::Endpoint>,
    pub(crate) fabric: F,
    pub(crate) cluster: Cluster,
    pub(crate) log: Log,
    pub(crate) pace: Pace,
    pub(crate) node: u64,
    pub(crate) sent: u64,
}

impl<F: Fabric> Member<F> {
    /// Enters a view.
    pub(crate) fn enter(config: &Config, view: View, fabric: F, cluster: &Cluster) -> Member<F> {
        let mut exchange = cluster.meet(&view);
        let (log, node) = (Log { views: vec![view.clone()], before: vec![0], ..Log::default() }, view.node().0);
        let group = Group::enter(config, view, &fabric, &mut exchange).expect("the view can be entered");
        Member { group, fabric, cluster: cluster.clone(), log, pace: Pace::for_members(8), node, sent: 0 }
    }

    /// Sends the next message if there is room.
    pub(crate) fn send(&mut self) -> bool {
        let len = if self.sent % 10 == 9 { 9000 } else { 16 + self.sent % 200 };
        let Ok(mut slot) = self.group.reserve(len) else { return false };
        let bytes = slot.bytes_mut();
        bytes.fill(self.sent as u8);
        bytes[..8].copy_from_slice(&self.node.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sent.to_le_bytes());
        slot.commit();
        self.sent += 1;
        true
    }

    /// One turn, and the next view if there is one.
    pub(crate) fn turn(mut self) -> Result<Member<F>, Box<(Log, Ended)>> {
        if let Err(ended) = self.group.turn(&mut self.log, &mut self.pace) {
            return Err(Box::new((self.log, ended)));
        }
        if let Some(view) = self.group.next_view().cloned() {
            let mut exchange = self.cluster.meet(&view);
            self.cluster.tell(&view);
            self.log.before.push(self.log.deliveries.len());
            self.log.views.push(view);
            self.group = self.group.install(&self.fabric, &mut exchange).expect("the next view can be installed");
        }
        Ok(self)
    }

    /// Sends up to `messages` in all, until `done`.
    pub(crate) fn live(mut self, messages: u64, mut done: impl FnMut(&mut Member<F>) -> bool) -> Result<Member<F>, Box<(Log, Ended)>> {
        while !done(&mut self) {
            while self.sent < messages && self.send() {}
            self = self.turn()?;
        }
        Ok(self)
    }

    /// Leaves together with everybody who has `done`.
    pub(crate) fn close(self, mut done: impl FnMut(&Log) -> bool) -> Log {
        let member = self.live(0, |member| {
            if done(&member.log) {
                member.group.raise_mark(1);
            }
            member.group.mark_of_all() == 1
        });
        let Ok(mut member) = member else { panic!("nobody is lost any more") };
        member.group.close(&mut member.log, &mut member.pace).expect("all leave");
        member.log
    }
}
