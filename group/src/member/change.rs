//! From one view to the next.

use std::net::SocketAddr;

use squall_membership::What;
use squall_rdmc::Limit;
use squall_transport::exchange::compare;
use squall_transport::mesh::{Gather, Meeting, Net};
use squall_transport::{Fabric, NodeId, Rank};

use super::message::{Control, Outline, Welcome};
use super::names::Names;
use super::second::Second;
use super::{ChangeTimes, Member, MemberError, MemberMutation, Stage, contact};
use crate::error::JoinError;
use crate::group::Group;
use crate::group::opening::{AGREEMENT, description};
use crate::kept::Kept;
use crate::upcalls::Upcalls;
use crate::view::View;

/// A member between two views, or a newcomer before its first: it meets the others of the next one.
#[derive(Debug)]
pub(crate) struct Passing<G> {
    view: View,
    token: [u8; 32],
    gather: G,
    /// What it says of how it is configured.
    description: Vec<u8>,
}

impl<G: Gather> Passing<G> {
    pub(crate) fn due_ns(&self, now_ns: u64) -> u64 {
        self.gather.due_ns(now_ns).unwrap_or(now_ns)
    }

    pub(crate) fn view(&self) -> &View {
        &self.view
    }
}

impl<F: Fabric, N: Net> Member<F, N> {
    /// As soon as the next view is known its newcomers are called, so that they are there when it begins.
    pub(super) fn call_newcomers(&mut self) {
        if self.called {
            return;
        }
        let Some(decision) = self.group.as_ref().and_then(Group::membership).and_then(|membership| membership.decision()) else { return };
        let newcomers: Vec<(NodeId, SocketAddr)> = decision
            .changes
            .iter()
            .filter_map(|change| match change.what {
                What::Join(newcomer) => Some((newcomer.node(), contact::address_of(&newcomer))),
                _ => None,
            })
            .collect();
        self.called = true;
        for (node, address) in newcomers {
            self.net.connect(address, Some(node));
            self.addresses.insert(node, address);
        }
    }

    /// The next view is known, and nobody needs this one any more.
    pub(super) fn leave_view(&mut self) -> Result<(), MemberError> {
        let Some(group) = &self.group else { return Ok(()) };
        let (old, Some(view)) = (group.view().clone(), group.next_view().cloned()) else { return Ok(()) };
        let token = view.token_after(&self.token);
        for node in old.nodes.iter().filter(|node| view.rank_of(**node).is_none()) {
            self.names.add(*node);
        }
        let removed = group.membership().and_then(|membership| membership.decision()).map_or(Vec::new(), |decision| {
            let removed = decision.changes.iter().filter_map(|change| if let What::Remove(rank) = change.what { Some(rank) } else { None });
            removed.map(|rank| old.nodes[rank.index()]).collect()
        });
        self.say_what_follows(&old, &view, token, &removed);
        self.meet(view, token)
    }

    /// Tells newcomers of their view, and those who are out that they are.
    fn say_what_follows(&mut self, old: &View, view: &View, token: [u8; 32], removed: &[NodeId]) {
        let addresses = self.addresses.iter().map(|(node, address)| (*node, *address)).collect();
        let (outline, lost) = (Outline::of(view), view.lost.iter().collect());
        let overhead_bytes = match self.group.as_ref().and_then(Group::limit) {
            Some(Limit::Links { overhead_bytes }) => Some(overhead_bytes),
            Some(Limit::Cores) | None => None,
        };
        self.welcome = Some(Welcome { outline, lost, token, addresses, gone: self.names.all(), overhead_bytes });
        self.unwelcomed = view.nodes.iter().copied().filter(|node| old.rank_of(*node).is_none()).collect();
        for (node, _) in self.net.peers() {
            self.greet(node);
        }
        for node in removed {
            // Whom it does not reach is gone, or hears it from another member.
            let _ = Control::Removed { view: view.id }.say(&self.net, *node);
        }
    }

    /// A newcomer of the next view is told of it as soon as there is a connection with it.
    pub(super) fn greet(&mut self, node: NodeId) {
        if let Some(welcome) = &self.welcome
            && self.unwelcomed.contains(&node)
        {
            self.unwelcomed.retain(|other| *other != node);
            // Whom it does not reach is gone.
            let _ = Control::Welcome(welcome.clone()).say(&self.net, node);
        }
    }

    /// A newcomer hears of its first view.
    pub(super) fn welcomed(&mut self, welcome: &Welcome) -> Result<(), MemberError> {
        if !matches!(self.stage, Stage::Following(_)) && self.mutation != MemberMutation::AnyWelcome {
            return Ok(());
        }
        let view = welcome.view_of(self.net.node()).ok_or(MemberError::Welcome)?;
        if self.taking.is_none() && matches!(self.stage, Stage::Following(_)) {
            // Nobody has told it of the group yet.
            self.view = welcome.outline.as_outsider().ok_or(MemberError::Welcome)?;
        }
        self.addresses.extend(welcome.addresses.iter().copied());
        self.names = Names::of(&welcome.gone);
        self.options.config.limit.get_or_insert(welcome.limit());
        // Members that were there call newcomers; newcomers call those before them.
        for node in &view.nodes[..view.me.index()] {
            if let Some(address) = self.addresses.get(node) {
                self.net.connect(*address, Some(*node));
            }
        }
        self.meet(view, welcome.token)
    }

    /// Begins to meet the members of a view.
    pub(super) fn meet(&mut self, view: View, token: [u8; 32]) -> Result<(), MemberError> {
        let meeting = self.meeting(&view, token);
        let config = &self.options.config;
        let description = description(config, &view).map_err(JoinError::from)?;
        let gather = self.net.meet(meeting);
        self.stage = Stage::Passing(Passing { view, token, gather, description });
        Ok(())
    }

    /// A member of the old view whose connection has ended does not come. Newcomers may be on their way, but nobody
    /// waits for them for long.
    fn meeting(&self, view: &View, token: [u8; 32]) -> Meeting {
        let there = self.net.peers();
        let old = self.group.as_ref().map(Group::view);
        let was_there = |node: &NodeId| old.is_some_and(|old| old.rank_of(*node).is_some());
        let is_gone = |node: &NodeId| *node != self.net.node() && was_there(node) && there.iter().all(|peer| peer.0 != *node);
        let looks = self.mutation != MemberMutation::MeetsGone;
        let gone = view.nodes.iter().filter(|node| looks && is_gone(node)).filter_map(|node| view.rank_of(*node));
        let mut absent: Vec<Rank> = view.lost.iter().collect();
        absent.extend(gone.filter(|rank| !view.lost.has(*rank)));
        let hasty = (view.voters..view.members).map(Rank::new).filter(|rank| *rank != view.me).collect();
        let (patience, haste) = (self.options.patience, self.patience.haste);
        Meeting { token, me: view.me, nodes: view.nodes.clone(), absent, patience, hasty, haste }
    }

    /// Goes on with the meeting, and enters the view once all have come that will. Whether it did.
    pub(super) fn pass_on(&mut self, now_ns: u64, upcalls: &mut impl Upcalls) -> Result<bool, MemberError> {
        let Stage::Passing(passing) = &mut self.stage else { return Ok(false) };
        let Some(parts) = passing.gather.poll(now_ns, AGREEMENT, &passing.description) else { return Ok(false) };
        compare(&passing.gather, AGREEMENT, &parts?)?;
        let Stage::Passing(passing) = std::mem::replace(&mut self.stage, Stage::Nowhere) else { return Ok(false) };
        let Passing { view, token, mut gather, .. } = passing;
        let (config, kept) = match self.group.take() {
            Some(group) => {
                let (wedged_ns, trimmed_ns) = group.change_times_ns();
                let (wedged_ns, trimmed_ns) = (wedged_ns.unwrap_or(now_ns), trimmed_ns.unwrap_or(now_ns));
                self.change = Some(ChangeTimes { view: view.id, wedged_ns, trimmed_ns, met_ns: now_ns, installed_ns: None });
                group.retire(&self.fabric)
            }
            None => {
                let kept = self.kept.take().unwrap_or_default();
                // Buffers that were made in advance are for `senders_max` senders.
                let enough = view.senders.len() <= self.options.config.senders_max;
                (self.options.lenient(), if enough { kept } else { Kept::default() })
            }
        };
        let group = Group::open(&config, view, kept, &self.fabric, &mut gather)?;
        drop(gather);
        self.enter(group, token, upcalls);
        Ok(true)
    }

    /// Is in a view.
    pub(super) fn enter(&mut self, mut group: Group<F::Endpoint>, token: [u8; 32], upcalls: &mut impl Upcalls) {
        let (old, view) = (std::mem::replace(&mut self.view, group.view().clone()), group.view().clone());
        for node in old.nodes.iter().filter(|node| view.rank_of(**node).is_none() && old.is_mine()) {
            self.net.disconnect(*node);
            self.addresses.remove(node);
            self.givings.drop_of(*node);
        }
        self.net.set_waker(Some(group.waker()));
        if self.group.is_none() && !old.is_mine() {
            self.first = view.id;
        }
        if self.options.witness.is_some() {
            group.promise_witness();
        }
        if self.behind {
            group.await_state();
        }
        let lacks = group.is_behind();
        self.group = Some(group);
        self.keep_time();
        (self.stage, self.token, self.called, self.second) = (Stage::InView, token, false, Second::default());
        self.without.clear();
        for node in &view.nodes {
            self.asks.drop_of(*node);
        }
        self.givings.begin_view(&self.position(), upcalls);
        if self.behind {
            self.reach(upcalls);
        } else if !lacks && (view.id > 0 || self.origin.is_none()) {
            // Who founds a group by a loop knows its first view when it is founded.
            upcalls.view_installed(&view);
        }
    }
}
