//! Loops around a member that sleep: real time and real connections.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use squall_transport::exchange::{Exchange, Named};
use squall_transport::mesh::{Mesh, MeshEvent, Net};
use squall_transport::{Fabric, NodeId, Waker};

use super::stepping::{progress_of, told};
use super::{Member, MemberError, MemberOptions, Stage};
use crate::group::Group;
use crate::outgoing::Outgoing;
use crate::pace::Pace;
use crate::role::Role;
use crate::turn::Turn;
use crate::upcalls::{Delivery, Upcalls};

/// How long the first members wait for each other's connections, at the least.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// The longest sleep where there is no view.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// Where there is no application yet.
struct Nobody;

impl Upcalls for Nobody {
    fn deliver(&mut self, _delivery: Delivery<'_>, _outgoing: &mut Outgoing) {}
}

impl<F: Fabric, N: Net> Member<F, N> {
    /// The group looks at the clock itself, where these loops do.
    pub(super) fn keep_time(&mut self) {
        if let (Some(origin), Some(group)) = (self.origin, &mut self.group) {
            group.keep_time(origin);
        }
    }
}

fn since_ns(origin: Instant) -> u64 {
    u64::try_from(origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

impl<F: Fabric> Member<F> {
    /// Founds a group: the members of `exchange` are its first view. A collective.
    ///
    /// # Errors
    /// [`MemberError::Join`], [`MemberError::Found`].
    pub fn found(options: MemberOptions, fabric: F, mesh: Mesh, exchange: &mut dyn Exchange) -> Result<Member<F>, MemberError> {
        // Before anybody waits for it.
        options.check()?;
        let mine = postcard::to_stdvec(&(mesh.node(), mesh.address())).expect("plain data");
        let mut founders = Vec::new();
        for (index, part) in exchange.all_gather("member addresses", &mine)?.iter().enumerate() {
            let unreadable = |_| MemberError::Found(format!("rank {index} gave an invalid address; do all members run the same version?"));
            let founder: (NodeId, SocketAddr) = postcard::from_bytes(part).map_err(unreadable)?;
            founders.push(founder);
        }
        let token = *exchange.token();
        let (origin, patience) = (Instant::now(), CONNECT_PATIENCE.max(options.patience.saturating_mul(10)));
        let mut member = Member::begin_founding(options, fabric, mesh, &founders, &token, None, 0)?;
        member.origin = Some(origin);
        while !member.is_gathered() {
            if origin.elapsed() > patience {
                return Err(MemberError::Found("not all members connected in time".into()));
            }
            match member.net.next() {
                Some(event) => member.hear(event, since_ns(origin), &mut Nobody)?,
                None => member.net.sleep(Instant::now() + SLEEP_MAX),
            }
        }
        exchange.all_gather("member mesh", &[])?;
        let mut named = Named::new(exchange, &member.view.nodes);
        let group = Group::enter(&member.options.lenient(), member.view.clone(), &member.fabric, &mut named)?;
        member.enter(group, token, &mut Nobody);
        Ok(member)
    }

    /// Joins a group that is there, by asking `contacts` (addresses of any members): one after the other, and the next
    /// one at once if one is silent. When this returns a member gives it the state, and [`Member::turn`] brings that
    /// in; in a view it is, and delivers what is sent there, once [`Member::is_behind`] says no more that it waits.
    ///
    /// # Errors
    /// [`MemberError`]: no contact answers, or those that do refuse, or none admits it within `timeout`. `mesh` is then
    /// of no more use: come back under a new name.
    pub fn join(
        options: MemberOptions,
        fabric: F,
        mesh: Mesh,
        contacts: &[SocketAddr],
        role: impl Into<Role>,
        timeout: Duration,
    ) -> Result<Member<F>, MemberError> {
        let origin = Instant::now();
        let mut member = Member::newcomer(options, fabric, mesh, contacts, role, timeout, 0)?;
        member.origin = Some(origin);
        // Members that are not asked may welcome it before word of the one that takes it is here.
        while member.taking.is_none() && matches!(member.stage, Stage::Following(_)) {
            if let Some(event) = member.net.next() {
                member.hear(event, since_ns(origin), &mut Nobody)?;
            } else if !member.follow(since_ns(origin))? {
                let due = origin + Duration::from_nanos(member.due_ns(since_ns(origin)));
                member.net.sleep(due.min(Instant::now() + SLEEP_MAX));
            }
        }
        Ok(member)
    }

    /// Ends another thread's wait in [`Member::turn`]; for this view only.
    pub fn waker(&self) -> Waker {
        match &self.group {
            Some(group) if matches!(self.stage, Stage::InView) => group.waker(),
            _ => self.net.waker(),
        }
    }

    /// One turn of the loop, as [`Group::turn`], and whatever the change of members asks for.
    ///
    /// # Errors
    /// The group is over for this member, and why; the same answer from then on.
    #[inline]
    pub fn turn(&mut self, upcalls: &mut impl Upcalls, pace: &mut Pace) -> Result<Turn, MemberError> {
        self.turn_until(upcalls, pace, None)
    }

    /// As [`Member::turn`], but sleeps no longer than `until`.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn turn_until(&mut self, upcalls: &mut impl Upcalls, pace: &mut Pace, until: Option<Instant>) -> Result<Turn, MemberError> {
        let event = self.net.next();
        if event.is_none()
            && self.is_quiet()
            && let Some(group) = &mut self.group
        {
            return match group.turn_until(upcalls, pace, until) {
                Ok(turn) if turn != Turn::Left => Ok(turn),
                over => told(false, self.end_if(progress_of(over))),
            };
        }
        let was_over = self.over.is_some();
        told(was_over, self.turn_busy(event, upcalls, pace, until))
    }

    /// Whether there is nothing to do but messages.
    #[inline]
    fn is_quiet(&self) -> bool {
        let in_view = matches!(self.stage, Stage::InView) && !self.behind && self.over.is_none();
        let waits = self.leaving.is_some() || self.stepped || !self.taken.is_empty();
        let others = !self.asks.is_empty() || !self.givings.is_empty() || !self.early.is_empty();
        in_view && !waits && !others && self.group.as_ref().is_some_and(|group| !group.is_changing())
    }

    #[cold]
    fn turn_busy(
        &mut self,
        event: Option<MeshEvent>,
        upcalls: &mut impl Upcalls,
        pace: &mut Pace,
        until: Option<Instant>,
    ) -> Result<bool, MemberError> {
        let origin = *self.origin.get_or_insert_with(Instant::now);
        if std::mem::take(&mut self.stepped) {
            self.keep_time();
        }
        let now_ns = since_ns(origin);
        let mut progress = event.is_some();
        if let Some(event) = event
            && self.over.is_none()
        {
            let heard = self.hear(event, now_ns, upcalls);
            self.end_if(heard)?;
        }
        progress |= self.tend(now_ns, upcalls)?;
        if progress {
            self.note_entry(since_ns(origin));
        }
        let due = origin.checked_add(Duration::from_nanos(self.due_ns(now_ns)));
        let until = if progress { Some(Instant::now()) } else { [until, due].into_iter().flatten().min() };
        if self.is_steppable() {
            let (group, mut tap) = self.tapped(upcalls);
            // What was done besides may have taken long: hearts beat all the same.
            group.look_at_epoch();
            let turned = if progress { group.step(&mut tap) } else { group.turn_until(&mut tap, pace, until) };
            group.give_way();
            progress |= self.end_if(progress_of(turned))?;
            self.call_newcomers();
        } else if !progress {
            let longest = Instant::now() + SLEEP_MAX;
            self.net.sleep(until.map_or(longest, |until| until.min(longest)));
        }
        Ok(progress)
    }
}
