//! From one view to the next.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use squall_membership::What;
use squall_transport::exchange::Exchange;
use squall_transport::mesh::Meeting;
use squall_transport::{Fabric, NodeId, Rank};

use super::message::{Control, Welcome};
use super::second::Second;
use super::state::{Giving, Taking};
use super::{Member, MemberError, ViewChange, contact};
use crate::group::Upcalls;
use crate::view::View;

/// How long a member waits, at the end of a view, for newcomers to answer its call.
const CALL_PATIENCE: Duration = Duration::from_millis(200);

impl<F: Fabric> Member<F> {
    /// As soon as the next view is known its newcomers are called, so that they are there when it begins.
    pub(super) fn call_newcomers(&mut self) {
        if self.called {
            return;
        }
        let Some(decision) = self.group().membership().and_then(|membership| membership.decision()) else { return };
        let newcomers: Vec<(NodeId, SocketAddr)> = decision
            .changes
            .iter()
            .filter_map(|change| match change.what {
                What::Join(newcomer) => Some((newcomer.node(), contact::address_of(&newcomer))),
                _ => None,
            })
            .collect();
        self.called = true;
        let there = self.mesh.peers();
        for (node, address) in newcomers {
            self.mesh.connect(address, Some(node));
            self.addresses.insert(node, address);
            if there.iter().all(|peer| peer.0 != node) {
                self.calls.push((node, address));
            }
        }
    }

    /// Waits until newcomers can be told that they are in: their contact may be lost, or leave with this very change, and then nobody has talked with them
    /// yet.
    pub(super) fn await_newcomers(&mut self, upcalls: &mut impl Upcalls) -> Result<(), MemberError> {
        let deadline = Instant::now() + CALL_PATIENCE.min(self.options.patience);
        while !self.calls.is_empty()
            && let Some(event) = self.mesh.wait(deadline)
        {
            self.hear(event, upcalls)?;
        }
        self.calls.clear();
        Ok(())
    }

    /// Goes over to the next view.
    pub(super) fn go_over(&mut self, upcalls: &mut impl Upcalls) -> Result<(), MemberError> {
        let group = self.group.take().expect("there is one while the member is");
        let (old, view) = (group.view().clone(), group.next_view().cloned().expect("the caller looked"));
        let (wedged, trimmed) = group.change_times();
        let behind = group.awaits_state();
        let token = view.token_after(&self.token);
        let removed = group.membership().and_then(|membership| membership.decision()).map_or(Vec::new(), |decision| {
            let removed = decision.changes.iter().filter_map(|change| if let What::Remove(rank) = change.what { Some(rank) } else { None });
            removed.map(|rank| old.nodes[rank.index()]).collect()
        });
        self.say_what_follows(&old, &view, &token, &removed);
        let mut exchange = self.mesh.meet(self.meeting(&old, &view, token));
        let group = group.install(&self.fabric, &mut exchange)?;
        let roles = roles(&mut exchange, &view, behind)?;
        drop(exchange);
        for node in old.nodes.iter().filter(|node| view.rank_of(**node).is_none()) {
            self.mesh.disconnect(*node);
            self.addresses.remove(node);
        }
        self.mesh.set_waker(Some(group.waker()));
        self.group = Some(group);
        (self.token, self.called, self.second) = (token, false, Second::default());
        let now = Instant::now();
        self.change = Some(ViewChange { view: view.id, wedged: wedged.unwrap_or(now), trimmed: trimmed.unwrap_or(now), installed: now });
        for node in &view.nodes {
            self.asks.drop_of(*node);
        }
        self.begin_state(&view, &roles, upcalls)
    }

    /// A member of the old view whose connection has ended does not come. Newcomers may be on their way.
    fn meeting(&self, old: &View, view: &View, token: [u8; 32]) -> Meeting {
        let mut meeting = meeting(view, token, self.options.patience);
        let there = self.mesh.peers();
        let is_gone = |node: &NodeId| *node != self.mesh.node() && old.rank_of(*node).is_some() && there.iter().all(|peer| peer.0 != *node);
        let gone = view.nodes.iter().filter(|node| is_gone(node)).filter_map(|node| view.rank_of(*node));
        meeting.absent.extend(gone.filter(|rank| !view.lost.has(*rank)));
        meeting
    }

    /// Tells newcomers of their view, and those who are out that they are.
    fn say_what_follows(&self, old: &View, view: &View, token: &[u8; 32], removed: &[NodeId]) {
        let addresses = self.addresses.iter().map(|(node, address)| (*node, *address)).collect();
        let welcome = Control::Welcome(Welcome::new(view, *token, addresses));
        // Whom it does not reach is gone, or hears it from another member.
        for node in view.nodes.iter().filter(|node| old.rank_of(**node).is_none()) {
            let _ = welcome.say(&self.mesh, *node);
        }
        for node in removed {
            let _ = Control::Removed { view: view.id }.say(&self.mesh, *node);
        }
    }

    /// Gives the state that the view begins with, or waits for it.
    fn begin_state(&mut self, view: &View, roles: &Roles, upcalls: &mut impl Upcalls) -> Result<(), MemberError> {
        self.giving.clear();
        let giver = roles.restored.first().ok_or(MemberError::StateLost { view: view.id })?;
        if roles.behind.contains(&view.me) {
            self.group_mut().await_state();
            self.taking = Some(Taking::new(view.id));
            return Ok(());
        }
        if *giver == view.me {
            let newcomers = roles.behind.iter().map(|rank| view.nodes[rank.index()]);
            self.giving = newcomers.map(|node| Giving::new(node, view.id, upcalls.snapshot())).collect();
        }
        if !self.group().is_behind() {
            upcalls.view_installed(view);
        }
        Ok(())
    }
}

/// Who has the application's state at the beginning of a view, as far as this member knows.
pub(super) struct Roles {
    pub(super) restored: Vec<Rank>,
    pub(super) behind: Vec<Rank>,
}

/// Swaps who has it. A collective.
pub(super) fn roles(exchange: &mut dyn Exchange, view: &View, behind: bool) -> Result<Roles, MemberError> {
    let said = exchange.all_gather("application state", &[u8::from(behind)])?;
    let there = |rank: &Rank| !exchange.is_absent(*rank);
    let ranks = || (0..view.members).map(Rank::new).filter(there);
    let is_behind = |rank: &Rank| said[rank.index()] == [1];
    Ok(Roles { restored: ranks().filter(|rank| !is_behind(rank)).collect(), behind: ranks().filter(is_behind).collect() })
}

pub(super) fn meeting(view: &View, token: [u8; 32], patience: Duration) -> Meeting {
    Meeting { token, me: view.me, nodes: view.nodes.clone(), absent: view.lost.iter().collect(), patience }
}
