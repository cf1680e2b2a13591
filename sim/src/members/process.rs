//! One process: a whole member, and its application.

use std::panic::{AssertUnwindSafe, catch_unwind};

use squall_group::{Ended, Member, MemberError, Phase, View};
use squall_membership::Mutation;
use squall_transport::mesh::Net;
use squall_transport::sim::{SimNet, SimNets};
use squall_transport::{NodeId, Rank};

use super::app::App;
use super::fabric::ColonyFabric;
use crate::checker::PANICKED;
use crate::trace::Event;

pub(super) struct Process {
    /// None: crashed, stopped or left.
    member: Option<Member<ColonyFabric, SimNet>>,
    pub(super) net: SimNet,
    fabric: ColonyFabric,
    pub(super) app: App,
    pub(super) next_step_ns: u64,
    pub(super) stalled_until_ns: u64,
    /// Steps since it last had something to do, or time to wait.
    pub(super) idle_steps: u32,
    /// Something happened to it.
    pub(super) hurt: bool,
    /// It dies then, whatever it does.
    pub(super) dies_at_ns: Option<u64>,
    /// When it wanted to leave.
    pub(super) leaves_since_ns: Option<u64>,
    /// It asks under a name that was a member's.
    pub(super) old_name: bool,
    mutation: Option<Mutation>,
    /// The view in which it asked the group for newcomers, and for how many.
    requested: (u64, usize),
    /// Since when it meets for its next view.
    pub(super) meets_since_ns: Option<u64>,
}

/// What a step came to.
#[derive(Debug)]
pub(super) enum Stepped {
    Busy,
    Idle,
    /// The group is over at this process, and why; none: it panicked.
    Over(Option<MemberError>),
}

impl Process {
    pub(super) fn new(
        member: Member<ColonyFabric, SimNet>,
        net: SimNet,
        fabric: ColonyFabric,
        app: App,
        next_step_ns: u64,
        mutation: Option<Mutation>,
    ) -> Process {
        Process {
            mutation,
            requested: (0, 0),
            member: Some(member),
            net,
            fabric,
            app,
            next_step_ns,
            stalled_until_ns: 0,
            idle_steps: 0,
            hurt: false,
            dies_at_ns: None,
            leaves_since_ns: None,
            old_name: false,
            meets_since_ns: None,
        }
    }

    pub(super) fn node(&self) -> NodeId {
        self.net.node()
    }

    pub(super) fn is_alive(&self) -> bool {
        self.member.is_some()
    }

    /// The view that it is in.
    pub(super) fn view(&self) -> Option<&View> {
        self.member.as_ref().map(Member::view).filter(|view| view.is_mine() && view.members > 0)
    }

    /// Whether it is in a view and has the state.
    pub(super) fn is_live(&self) -> bool {
        self.is_alive() && self.app.is_live()
    }

    pub(super) fn due_ns(&self, now_ns: u64) -> u64 {
        let Some(member) = &self.member else { return u64::MAX };
        let due_ns = member.due_ns(now_ns);
        let ready = self.app.is_live() && self.app.left > 0 && self.app.ready_at_ns > now_ns;
        if ready { due_ns.min(self.app.ready_at_ns) } else { due_ns }
    }

    /// Whether anything landed or came since it was asked last.
    pub(super) fn take_news(&self, now_ns: u64) -> bool {
        let landed = self.fabric.last().is_some_and(|(mesh, rank)| mesh.take_news(rank));
        landed | self.net.next_ns().is_some_and(|next_ns| next_ns <= now_ns)
    }

    /// One turn of its loop.
    pub(super) fn step(&mut self, now_ns: u64) -> Stepped {
        let Some(member) = &mut self.member else { return Stepped::Over(None) };
        let (app, mutation) = (&mut self.app, self.mutation);
        let result = catch_unwind(AssertUnwindSafe(|| {
            if let Some((group, mutation)) = member.group_mut().zip(mutation) {
                group.set_mutation(mutation);
            }
            let sent = app.is_live() && app.send_ready(now_ns, member.outgoing());
            let stepped = member.step_at(now_ns, app).map(|turn| turn.is_busy() | sent);
            let (in_view, behind, view) = (member.is_in_view(), member.is_behind(), member.view().clone());
            if in_view {
                app.enter(&view, !behind);
            }
            if let (Some(group), Some(recorder)) = (member.group_mut(), app.recorder()) {
                recorder.stepped(group);
            }
            stepped
        }));
        match result {
            Ok(Ok(progress)) => {
                let meets = self.member.as_ref().is_some_and(|member| !member.is_in_view() && member.group().is_some());
                self.meets_since_ns = if meets { self.meets_since_ns.or(Some(now_ns)) } else { None };
                if progress { Stepped::Busy } else { Stepped::Idle }
            }
            Ok(Err(error)) => {
                self.stop(error.to_string());
                Stepped::Over(Some(error))
            }
            Err(panic) => {
                let message = panic.downcast_ref::<String>().cloned();
                let message = message.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                self.stop(format!("{PANICKED}{}", message.unwrap_or_default()));
                Stepped::Over(None)
            }
        }
    }

    fn stop(&mut self, reason: String) {
        let (process, member) = (self.node(), self.member.take());
        let _ = catch_unwind(AssertUnwindSafe(|| drop(member)));
        self.app.note(Event::Stop { process, reason });
    }

    /// Ends it without a word; its connections tell, or nothing does.
    pub(super) fn crash(&mut self, nets: &SimNets, told: bool) {
        if let Some((mesh, rank)) = self.fabric.last() {
            if told { mesh.crash(rank, 100_000) } else { mesh.fall_silent(rank) }
        }
        nets.end(&self.net, told);
        self.member = None;
        let process = self.node();
        self.app.note(Event::Crash { process });
    }

    /// Newcomers for which it has asked the group since the last call.
    pub(super) fn take_requests(&mut self) -> Vec<NodeId> {
        let Some(membership) = self.member.as_ref().and_then(Member::group).and_then(|group| group.membership()) else { return Vec::new() };
        let (view, requests) = (self.view().map_or(0, |view| view.id), membership.protocol().requests());
        let known = if self.requested.0 == view { self.requested.1 } else { 0 };
        let new = requests[known.min(requests.len())..].iter().map(|newcomer| newcomer.node()).collect();
        self.requested = (view, requests.len());
        new
    }

    /// Whether it has acted on the end of its view, and has yet to go to the next one.
    pub(super) fn has_acted(&self) -> bool {
        let membership =
            self.member.as_ref().filter(|member| member.is_in_view()).and_then(Member::group).and_then(|group| group.membership());
        membership.is_some_and(|membership| membership.protocol().row().installed)
    }

    pub(super) fn leave(&mut self, now_ns: u64) {
        if let (Some(member), None) = (&mut self.member, self.leaves_since_ns) {
            member.leave();
            self.leaves_since_ns = Some(now_ns);
            self.app.leaves();
        }
    }

    pub(super) fn suspect(&mut self, bits: u64) {
        let Some(view) = self.view().cloned() else { return };
        let others: Vec<Rank> = (0..view.members).map(Rank::new).filter(|&rank| rank != view.me).collect();
        if let (Some(group), false) = (self.member.as_mut().and_then(Member::group_mut), others.is_empty()) {
            group.suspect(others[(bits % others.len() as u64) as usize]);
        }
    }

    /// The run is over.
    pub(super) fn finish(&mut self) {
        if self.is_alive() {
            let (process, unsent) = (self.node(), if self.sends() { self.app.left } else { 0 });
            self.app.note(Event::Finish { process, unsent, idle_posts: 0 });
        }
    }

    fn sends(&self) -> bool {
        self.view().is_some_and(|view| view.is_sender())
    }

    /// Whether it has nothing left to do: in one view with all its members, all sent and all delivered.
    pub(super) fn rests(&self, live: &[&Process]) -> bool {
        let Some(member) = &self.member else { return true };
        let (Some(view), Some(group)) = (self.view(), member.group()) else { return false };
        let steady = member.is_in_view() && group.membership().is_none_or(|membership| membership.phase() == Phase::Steady);
        let sent = self.app.outstanding == 0 && self.app.again.is_empty() && (self.app.left == 0 || !self.sends());
        let same = |other: &&Process| other.view().is_some_and(|theirs| theirs.id == view.id && theirs.nodes == view.nodes);
        let level = |other: &&Process| other.app.state == self.app.state;
        let delivered = group.delivered_seq();
        let together =
            |other: &&Process| other.member.as_ref().and_then(Member::group).is_some_and(|group| group.delivered_seq() == delivered);
        let unordered = self.app.is_unordered();
        steady
            && !member.is_behind()
            && self.leaves_since_ns.is_none()
            && sent
            && live.len() == view.members
            && live.iter().all(|other| same(other) && together(other) && (unordered || level(other)))
    }

    /// For people.
    pub(super) fn state(&self, now_ns: u64) -> String {
        let Some(member) = &self.member else { return format!("{} over", self.node()) };
        let (view, app) = (member.view(), &self.app);
        let phase = member.group().and_then(|group| group.membership()).map(|membership| membership.phase());
        let nodes: Vec<u64> = view.nodes.iter().map(|node| node.0).collect();
        let (behind, leaves) =
            (if member.is_behind() { " behind" } else { "" }, if self.leaves_since_ns.is_some() { " leaves" } else { "" });
        let (node, id, in_view) = (self.node(), view.id, member.is_in_view());
        format!(
            "{node}{behind}{leaves} view {id} of {nodes:?} in {in_view} {phase:?}, due in {} ns, left {} outstanding {} again {}",
            self.due_ns(now_ns).saturating_sub(now_ns),
            app.left,
            app.outstanding,
            app.again.len()
        )
    }
}

/// Whether it ended as a member may.
pub(super) fn is_regular(error: &MemberError) -> bool {
    matches!(
        error,
        MemberError::Ended(
            Ended::Closed | Ended::Stopped(_) | Ended::NoWitness | Ended::LastLeft { .. } | Ended::HeldBack { .. } | Ended::Stranded { .. }
        ) | MemberError::NoContact(_)
            | MemberError::Refused { .. }
            | MemberError::Late { .. }
            | MemberError::Giver { .. }
            | MemberError::StateLost { .. }
            | MemberError::Found(_)
    )
}
