//! What a member does about words and news of the mesh.

use squall_membership::Stop;
use squall_transport::exchange::differing;
use squall_transport::mesh::{MeshEvent, Net};
use squall_transport::{Fabric, NodeId};

use super::giving::Position;
use super::message::{Control, Outline};
use super::{Early, Member, MemberError, MemberMutation, Stage, contact};
use crate::error::Ended;
use crate::upcalls::Upcalls;

/// Why a newcomer is not taken, for people.
enum Refusal {
    /// Any member would say so.
    ByAll(String),
    /// Another member may take it.
    ByMe(String),
}

impl<F: Fabric, N: Net> Member<F, N> {
    pub(super) fn suspect(&mut self, node: NodeId) {
        if let (Some(rank), Some(group)) = (self.view.rank_of(node), &mut self.group) {
            group.suspect(rank);
        }
    }

    pub(super) fn hear(&mut self, event: MeshEvent, now_ns: u64, upcalls: &mut impl Upcalls) -> Result<(), MemberError> {
        match event {
            MeshEvent::Up { node, address } => {
                self.second.is_up(node, address, &self.net);
                self.greet(node);
                if let Stage::Following(following) = &mut self.stage {
                    following.up(node, address, &self.net);
                }
            }
            MeshEvent::Unreachable { address, node, reason } => {
                self.second.is_down(address);
                match &mut self.stage {
                    Stage::Founding(founding) => founding.unreachable(node, address, &reason)?,
                    Stage::Following(following) => following.unreachable(address, reason, now_ns),
                    _ => {}
                }
            }
            MeshEvent::Down { node, reason } => self.down(node, reason, now_ns)?,
            MeshEvent::Message { from, bytes } => {
                if let Some((said, behind)) = Control::heard(&bytes) {
                    return self.heed(from, said, behind, now_ns, upcalls);
                }
            }
        }
        Ok(())
    }

    fn down(&mut self, node: NodeId, reason: String, now_ns: u64) -> Result<(), MemberError> {
        if self.mutation != MemberMutation::KeepsDead {
            self.asks.drop_of(node);
            self.givings.drop_of(node);
        }
        self.early.retain(|early| early.from != node);
        self.suspect(node);
        if let Stage::Following(following) = &mut self.stage {
            following.down(node, reason, now_ns);
        }
        match &self.taking {
            Some(taking) if taking.giver == node => self.lose_giver(now_ns, None),
            _ => Ok(()),
        }
    }

    fn heed(&mut self, from: NodeId, said: Control, behind: &[u8], now_ns: u64, upcalls: &mut impl Upcalls) -> Result<(), MemberError> {
        match said {
            Control::Ask { transfer, sends, agreement } => self.ask(Early { from, transfer, sends, agreement }, now_ns, upcalls),
            Control::Want { transfer } => self.want(from, transfer, now_ns, upcalls),
            Control::Noted { transfer, outline, addresses } => self.noted(from, transfer, &outline, &addresses, now_ns),
            Control::Refused { transfer, reason, others } => {
                if let Stage::Following(following) = &mut self.stage {
                    following.refused(from, transfer, reason.clone(), &others, now_ns);
                }
                if self.taking.as_ref().is_some_and(|taking| (taking.giver, taking.transfer()) == (from, transfer)) {
                    return self.lose_giver(now_ns, Some(reason));
                }
            }
            Control::Without { transfer } => {
                if self.taking.as_ref().is_some_and(|taking| (taking.giver, taking.transfer()) == (from, transfer)) {
                    self.taking = None;
                    self.without.push(from);
                }
            }
            Control::Welcome(welcome) => return self.welcomed(&welcome),
            Control::Removed { view } => return self.removed(from, view),
            Control::Begin { .. } | Control::State { .. } | Control::End { .. } | Control::Feed { .. } => {
                if let Some(taking) = &mut self.taking {
                    taking.any_pieces = self.mutation == MemberMutation::AnyPieces;
                    taking.hear(from, &said, behind, now_ns).map_err(MemberError::State)?;
                }
            }
            Control::Took { course, bytes } => self.givings.took(from, course, bytes, now_ns),
            Control::Done { transfer } => {
                self.givings.done(from, transfer);
                // What it asked for here somebody else does, or it is in.
                self.asks.done(from, transfer);
            }
            Control::Sided { ballot, with_you } => {
                if let (Some(witness), Some(group)) = (self.second.heard(&ballot, with_you), &mut self.group) {
                    group.hear_witness(witness);
                }
            }
            Control::Side { .. } => {}
        }
        Ok(())
    }

    /// A member says that the group has gone on without this one. Views follow each other in one chain, so it is so
    /// whichever later view it was.
    fn removed(&self, from: NodeId, view: u64) -> Result<(), MemberError> {
        let mine = match &self.stage {
            Stage::InView => &self.view,
            Stage::Passing(passing) => passing.view(),
            Stage::Founding(_) | Stage::Following(_) | Stage::Nowhere => return Ok(()),
        };
        match mine.rank_of(from).or(Some(mine.me)).filter(|_| view > mine.id) {
            Some(by) => Err(Ended::Stopped(Stop::Excluded { by }).into()),
            None => Ok(()),
        }
    }

    /// A newcomer asks.
    pub(super) fn ask(&mut self, ask: Early, now_ns: u64, upcalls: &mut impl Upcalls) {
        if matches!(self.stage, Stage::Founding(_)) && self.early.len() < super::asks::ASKS_MAX {
            self.early.push(ask);
            return;
        }
        let (from, transfer) = (ask.from, ask.transfer);
        let answer = match self.objection(&ask) {
            Some(refusal) => Err(refusal),
            None => self.take_on(&ask, now_ns, upcalls),
        };
        let answer = match answer {
            Ok(()) => {
                let addresses = self.addresses.iter().map(|(node, address)| (*node, *address)).collect();
                Control::Noted { transfer, outline: Outline::of(&self.view), addresses }
            }
            Err(Refusal::ByAll(reason)) => Control::refusal(transfer, reason),
            Err(Refusal::ByMe(reason)) => Control::Refused { transfer, reason, others: self.others() },
        };
        // If it has gone, its Down follows.
        let _ = answer.say(&self.net, from);
    }

    fn objection(&self, ask: &Early) -> Option<Refusal> {
        let ours = self.options.config.agreement(self.fabric.name());
        if ask.agreement != ours {
            let differ = differing(&[ask.agreement.as_bytes(), ours.as_bytes()]);
            let [newcomer, group] = [0, 1].map(|at| differ[at].as_str());
            let reason = format!("it is configured with `{newcomer}`, the group with `{group}`; configure all members alike");
            return Some(Refusal::ByAll(reason));
        }
        if self.group.is_none() || self.lacks_state() {
            return Some(Refusal::ByMe("this process has no state yet; ask another member, or later".into()));
        }
        if self.view.rank_of(ask.from).is_some() || self.names.has(ask.from) {
            let reason = format!("the name {} was a member's already; a process that comes back needs a new name", ask.from);
            return Some(Refusal::ByAll(reason));
        }
        if self.leaving.is_some() && !self.is_last_with_state() {
            return Some(Refusal::ByMe("this member is about to leave; ask another one".into()));
        }
        None
    }

    /// Begins to give a newcomer the state; it is proposed once it has nearly all.
    fn take_on(&mut self, ask: &Early, now_ns: u64, upcalls: &mut impl Upcalls) -> Result<(), Refusal> {
        let address = self.net.peers().into_iter().find_map(|(node, address)| (node == ask.from).then_some(address));
        let Some(address) = address else { return Err(Refusal::ByAll("it has gone again".into())) };
        let newcomer = contact::newcomer(ask.from, address, ask.sends);
        let room = self.group.as_ref().map_or(Ok(()), |group| group.room_for(newcomer));
        room.map_err(|refused| Refusal::ByAll(refused.to_string()))?;
        let at = self.position();
        self.givings.add(ask.from, Some(newcomer), ask.transfer, at, now_ns, upcalls).map_err(Refusal::ByMe)
    }

    /// A member that has no state wants it.
    fn want(&mut self, from: NodeId, transfer: u64, now_ns: u64, upcalls: &mut impl Upcalls) {
        if self.group.is_none() || self.lacks_state() {
            // If it has gone it asks nobody.
            let _ = Control::Without { transfer }.say(&self.net, from);
            return;
        }
        let at = self.position();
        if let Err(reason) = self.givings.add(from, None, transfer, at, now_ns, upcalls) {
            let _ = Control::refusal(transfer, reason).say(&self.net, from);
        }
    }

    /// Where the application's state is.
    pub(super) fn position(&self) -> Position {
        let taken = self.group.as_ref().map(|group| group.handed_out()).unwrap_or_default();
        Position { outline: Outline::of(&self.view), taken }
    }

    /// One of two members that has lost the other asks the witness. Where there is none the group ends by itself, and
    /// says so.
    pub(super) fn second_opinion(&mut self, now_ns: u64) {
        let Some(witness) = self.options.witness else { return };
        let Some(group) = self.group.as_mut().filter(|group| group.needs_witness()) else { return };
        if let Some(answer) = self.second.ask(witness, &self.token, &self.net, now_ns, self.patience.long_ns) {
            group.hear_witness(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use squall_membership::Timeouts;
    use squall_transport::exchange::ClusterKey;
    use squall_transport::mesh::{Mesh, MeshOptions};
    use squall_transport::shm::ShmFabric;
    use squall_transport::{Rank, RegionOptions};

    use super::*;
    use crate::config::Config;
    use crate::member::MemberOptions;
    use crate::outgoing::Outgoing;
    use crate::upcalls::Delivery;

    struct Nobody;

    impl Upcalls for Nobody {
        fn deliver(&mut self, _delivery: Delivery<'_>, _outgoing: &mut Outgoing) {}
    }

    fn parts() -> (MemberOptions, ShmFabric, Mesh) {
        let membership = Some(Timeouts::after(Duration::from_secs(60)));
        let config = Config { membership, region: RegionOptions::default(), ..Config::new(vec![Rank(0)]) };
        let mesh = Mesh::open("127.0.0.1:0".parse().unwrap(), &ClusterKey::random(), NodeId(1), MeshOptions::default());
        (MemberOptions::new(config), ShmFabric::new(), mesh.expect("loopback is there"))
    }

    /// What a member makes of the word that the group has gone on without it, in that view.
    fn hears_removed(member: &mut Member<ShmFabric>, view: u64) -> Result<(), MemberError> {
        let bytes = postcard::to_stdvec(&Control::Removed { view }).unwrap();
        member.hear(MeshEvent::Message { from: NodeId(9), bytes }, 0, &mut Nobody)
    }

    #[test]
    fn who_is_not_in_some_later_view_is_out_whichever_it_is() {
        let (options, fabric, mesh) = parts();
        let founders = [(mesh.node(), mesh.address())];
        let mut member = Member::founder(options, fabric, mesh, &founders, [7; 32], 0).unwrap();
        hears_removed(&mut member, 1).expect("it is in no view yet");
        while !member.is_in_view() {
            member.step_at(0, &mut Nobody).unwrap();
        }
        hears_removed(&mut member, 0).expect("that is the view that it is in");
        for later in [1, 2, u64::MAX] {
            let out = hears_removed(&mut member, later).expect_err("the chain has gone on");
            assert!(matches!(out, MemberError::Ended(Ended::Stopped(Stop::Excluded { .. }))), "{out}");
        }
    }

    #[test]
    fn a_newcomer_is_in_no_view_and_nobody_removes_it() {
        let (options, fabric, mesh) = parts();
        let nobody: SocketAddr = mesh.address();
        let mut newcomer = Member::newcomer(options, fabric, mesh, &[nobody], true, Duration::from_secs(60), 0).unwrap();
        hears_removed(&mut newcomer, 7).expect("it goes on asking");
    }
}
