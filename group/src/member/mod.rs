//! A process of a group whose members come and go: a [`Group`] from view to view, and the mesh over which members meet
//! in between.
//!
//! ```text
//!   member      next view decided --> settled --> welcome newcomers, meet over the mesh, open the next epoch
//!               gives newcomers a snapshot, and what it delivers from there on
//!   newcomer    ask a contact --> noted: restore, follow --> near: proposed --> welcome: meet, open --> all is here: delivers
//! ```
//!
//! A newcomer follows from outside, at its own pace, and is proposed once it lacks little; nobody waits for it. It
//! takes the rest while it is in the view already, from whoever gave it the state, over as many views as that takes,
//! or, if that one is lost, all from the start from another member.
//!
//! Whoever does not come to a meeting is opened without, counts as broken link, and is removed in a further view.
//!
//! All of it is a state machine: [`Member::step_at`] does what is due at the time it is told, and never waits or looks
//! at a clock. [`Member::turn`], [`Member::found`] and [`Member::join`] are loops around it that sleep.

mod allowance;
mod asks;
mod change;
mod contact;
mod error;
mod feed;
mod following;
mod founding;
mod giving;
mod hearing;
mod looping;
pub(crate) mod message;
mod mutation;
mod names;
mod second;
mod stepping;
mod taking;
mod tap;

pub use error::MemberError;
#[doc(hidden)]
pub use mutation::MemberMutation;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use squall_membership::Timeouts;
use squall_transport::mesh::{Mesh, Net};
use squall_transport::{Fabric, NodeId};

use crate::config::{Config, ConfigError};
use crate::error::{JoinError, SendError};
use crate::group::Group;
use crate::kept::Kept;
use crate::outgoing::{Outgoing, Slot, State};
use crate::reads::{ReadPoint, ReadRefused};
use crate::role::Role;
use crate::view::View;
use asks::Asks;
use change::Passing;
use following::Following;
use founding::Founding;
use giving::Givings;
use message::Welcome;
use names::Names;
use second::Second;
use taking::Taking;

/// What a member of a changing group is made of.
#[derive(Clone, Debug)]
pub struct MemberOptions {
    /// The group. Its `senders` are those of the first view; its `membership` must be set.
    pub config: Config,
    /// How long the members of a view wait for one that does not come to it. All other patience is a part or a multiple
    /// of it.
    pub patience: Duration,
    /// The witness that one of two members asks when it has lost the other; without one it stops.
    pub witness: Option<SocketAddr>,
    /// Bytes of deliveries that a member keeps for newcomers that are being given the state; whoever is further behind
    /// begins again.
    pub backlog_bytes_max: u64,
    /// Bytes of state that a member gives a second, to all newcomers together and beside what it delivers meanwhile:
    /// giving takes its share of processors and links from deliveries.
    pub state_bytes_per_second: u64,
}

impl MemberOptions {
    /// `config`, a second of patience, no witness, 256 MiB of backlog, 50 MB of state a second.
    pub fn new(config: Config) -> MemberOptions {
        let patience = Duration::from_secs(1);
        MemberOptions { config, patience, witness: None, backlog_bytes_max: 256 << 20, state_bytes_per_second: 50_000_000 }
    }

    /// Whether it can be for a member that comes and goes.
    fn check(&self) -> Result<(), MemberError> {
        let timeouts = self.config.membership.ok_or(ConfigError::Fixed).map_err(JoinError::from)?;
        timeouts.check().map_err(ConfigError::from).map_err(JoinError::from)?;
        if self.patience.is_zero() {
            return Err(MemberError::Options { field: "patience", mend: "members need time to meet, such as a second" });
        }
        if self.state_bytes_per_second == 0 {
            return Err(MemberError::Options { field: "state_bytes_per_second", mend: "no newcomer would ever have the state" });
        }
        Ok(())
    }

    /// Members may leave a meeting with one that does not come at different steps of it, one patience apart each: who
    /// is still there beats no heart yet.
    fn lenient(&self) -> Config {
        let first_word = self.patience.saturating_mul(2);
        let membership = self.config.membership.map(|timeouts| Timeouts { first_word, ..timeouts });
        Config { membership, ..self.config.clone() }
    }
}

/// How long a member waits for what, all by one option.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// For newcomers at a meeting: they are no reason for others to wait, but may need a moment.
    haste: Duration,
    /// For a contact, before the next one is asked too.
    ask_ns: u64,
    /// For a word of whoever gives this process the state.
    giver_ns: u64,
    /// Before whoever gives says a word although there is nothing to tell.
    idle_ns: u64,
    /// For the other founders, for a word of whoever is given state, and for a witness, which writes to a disk before
    /// it answers: nobody else waits for whoever asks it.
    long_ns: u64,
}

impl Patience {
    fn of(options: &MemberOptions) -> Patience {
        let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let patience_ns = ns(options.patience);
        Patience {
            haste: options.patience / 4,
            ask_ns: patience_ns / 4,
            giver_ns: patience_ns.saturating_mul(2),
            idle_ns: patience_ns / 4,
            long_ns: patience_ns.saturating_mul(10),
        }
    }
}

/// When the last change of view came how far, in this process's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ViewChange {
    /// The view that it led to.
    pub view: u64,
    /// The view before stopped: a member was suspected, or a change proposed.
    pub wedged: Instant,
    /// All of the view before was delivered, up to the trim.
    pub trimmed: Instant,
    /// All have come to the new view that will.
    pub met: Instant,
    /// The new epoch is open.
    pub installed: Instant,
}

/// The same in the time that steps are given; it is in once it takes the next one.
#[derive(Clone, Copy, Debug)]
struct ChangeTimes {
    view: u64,
    wedged_ns: u64,
    trimmed_ns: u64,
    met_ns: u64,
    installed_ns: Option<u64>,
}

/// Where a process is on its way.
#[derive(Debug)]
enum Stage<G> {
    /// It founds a group, and waits for the others.
    Founding(Founding),
    /// It is in no view yet.
    Following(Following),
    InView,
    /// It meets the members of its next view.
    Passing(Passing<G>),
    /// A view could not be entered.
    Nowhere,
}

/// A newcomer that asked.
#[derive(Debug)]
struct Early {
    from: NodeId,
    transfer: u64,
    sends: bool,
    agreement: String,
}

/// One member of a group whose members come and go.
#[derive(Debug)]
pub struct Member<F: Fabric, N: Net = Mesh> {
    stage: Stage<N::Gather>,
    /// That of the present view, until the next one is open.
    group: Option<Group<F::Endpoint>>,
    /// What there is to send by where there is no view.
    outside: Outgoing,
    /// The present view; before the first one that of the group, as an outsider sees it.
    view: View,
    fabric: F,
    net: N,
    options: MemberOptions,
    patience: Patience,
    token: [u8; 32],
    /// Where the members listen.
    addresses: HashMap<NodeId, SocketAddr>,
    names: Names,
    /// Newcomers that asked before there was a view.
    early: Vec<Early>,
    asks: Asks,
    givings: Givings,
    /// This process has no state, and delivers nothing by itself.
    behind: bool,
    taking: Option<Taking>,
    /// The application takes nothing at present.
    application_waits: bool,
    /// Transfers that this process asked for so far.
    transfers: u64,
    /// Members of this view that have no state either.
    without: Vec<NodeId>,
    /// By rank: messages of the view that is handed out first that the state held already when it came.
    taken: Vec<u64>,
    /// The first view that it was in: what is delivered from there on it has by itself.
    first: u64,
    second: Second,
    /// The newcomers of the coming view were called; those of the last one that have yet to be told of it.
    called: bool,
    welcome: Option<Welcome>,
    unwelcomed: Vec<NodeId>,
    /// It wants to leave; since when, once that was noticed.
    leaving: Option<Option<u64>>,
    kept: Option<Kept>,
    change: Option<ChangeTimes>,
    /// Where the loops count time from, and whether the group does.
    origin: Option<Instant>,
    stepped: bool,
    over: Option<MemberError>,
    mutation: MemberMutation,
}

impl<F: Fabric, N: Net> Member<F, N> {
    fn new(options: MemberOptions, fabric: F, net: N, view: View, stage: Stage<N::Gather>) -> Result<Member<F, N>, MemberError> {
        let behind = matches!(stage, Stage::Following(_));
        let sends = matches!(&stage, Stage::Following(following) if following.role.sends());
        let outside = Outgoing::outside(&options.config, sends).map_err(JoinError::from)?;
        Ok(Member {
            patience: Patience::of(&options),
            stage,
            group: None,
            outside,
            view,
            fabric,
            net,
            options,
            token: [0; 32],
            addresses: HashMap::new(),
            names: Names::default(),
            early: Vec::new(),
            asks: Asks::default(),
            givings: Givings::default(),
            behind,
            taking: None,
            application_waits: false,
            transfers: 0,
            without: Vec::new(),
            taken: Vec::new(),
            first: 0,
            second: Second::default(),
            called: false,
            welcome: None,
            unwelcomed: Vec::new(),
            leaving: None,
            kept: None,
            change: None,
            origin: None,
            stepped: false,
            over: None,
            mutation: MemberMutation::None,
        })
    }

    /// A founder of the group whose first members are `founders`, by rank, at these addresses, as a state machine:
    /// [`Member::step_at`] connects it with the others, opens the first view and tells it
    /// ([`Upcalls::view_installed`](crate::Upcalls::view_installed)). `token` is a secret that they share.
    ///
    /// # Errors
    /// [`MemberError::Found`], [`ConfigError::Fixed`], or memory cannot be had.
    pub fn founder(
        options: MemberOptions,
        fabric: F,
        net: N,
        founders: &[(NodeId, SocketAddr)],
        token: [u8; 32],
        now_ns: u64,
    ) -> Result<Member<F, N>, MemberError> {
        Member::begin_founding(options, fabric, net, founders, &token, Some(token), now_ns)
    }

    fn begin_founding(
        options: MemberOptions,
        fabric: F,
        net: N,
        founders: &[(NodeId, SocketAddr)],
        token: &[u8; 32],
        meets_by: Option<[u8; 32]>,
        now_ns: u64,
    ) -> Result<Member<F, N>, MemberError> {
        options.check()?;
        let nodes: Vec<NodeId> = founders.iter().map(|founder| founder.0).collect();
        if let Some(node) = nodes.iter().enumerate().find_map(|(rank, node)| nodes[..rank].contains(node).then_some(node)) {
            return Err(MemberError::Found(format!("two members have the name {node}; give each process its own")));
        }
        let Some(me) = nodes.iter().position(|node| *node == net.node()) else {
            return Err(MemberError::Found(format!("the founders are {nodes:?}, and this process is {}", net.node())));
        };
        let first = View::first(squall_transport::Rank::new(me), nodes.len(), &options.config.senders, token);
        let view = View { nodes, ..first };
        for (node, address) in &founders[..me] {
            net.connect(*address, Some(*node));
        }
        let deadline_ns = now_ns.saturating_add(Patience::of(&options).long_ns);
        let stage = Stage::Founding(Founding::new(&view, meets_by, deadline_ns));
        let mut member = Member::new(options, fabric, net, view, stage)?;
        member.addresses = founders.iter().copied().collect();
        Ok(member)
    }

    /// A newcomer that asks `contacts`, one after the other or several at once if one does not answer, as a state
    /// machine: [`Member::step_at`] takes it in. `timeout`: how long it looks for a member that takes it. `now_ns`: as
    /// there.
    ///
    /// # Errors
    /// [`ConfigError::Fixed`], or memory cannot be had.
    pub fn newcomer(
        options: MemberOptions,
        fabric: F,
        net: N,
        contacts: &[SocketAddr],
        role: impl Into<Role>,
        timeout: Duration,
        now_ns: u64,
    ) -> Result<Member<F, N>, MemberError> {
        options.check()?;
        let role = role.into();
        // Before anybody waits for it.
        let kept = Kept::in_advance(&options.config, &fabric).map_err(JoinError::from)?;
        let agreement = options.config.agreement(fabric.name());
        let timeout_ns = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        let following = Following::new(contacts.to_vec(), role, agreement, timeout_ns, now_ns);
        let mut member = Member::new(options, fabric, net, View::nobodys(), Stage::Following(following))?;
        member.kept = Some(kept);
        Ok(member)
    }

    /// The group in its present view; `None` where there is no view: before the first one, and after one could not be
    /// entered.
    pub fn group(&self) -> Option<&Group<F::Endpoint>> {
        self.group.as_ref()
    }

    /// Breaks a rule on purpose, for tests of the checker.
    #[doc(hidden)]
    pub fn set_mutation(&mut self, mutation: MemberMutation) {
        self.mutation = mutation;
    }

    /// The same, for whoever traces.
    #[doc(hidden)]
    pub fn group_mut(&mut self) -> Option<&mut Group<F::Endpoint>> {
        self.group.as_mut()
    }

    /// The present view; where it could not be entered, the last one. Before its first view a newcomer sees that of the
    /// group as it follows it from outside: its own rank is then one that nobody has.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// What it was made with: the members agree on it, but for the senders, which are those of the first view. What a
    /// newcomer's large messages are limited by it was told, unless it was made with that too.
    pub fn config(&self) -> &Config {
        &self.options.config
    }

    /// My name.
    pub fn node(&self) -> NodeId {
        self.net.node()
    }

    /// Where newcomers reach me.
    pub fn address(&self) -> SocketAddr {
        self.net.address()
    }

    /// Whether this newcomer still waits for the application's state, or for its vote: it is a full member, and may
    /// send, once it does not.
    pub fn is_behind(&self) -> bool {
        self.lacks_state() || !self.view.votes(self.view.me)
    }

    /// Whether it has not delivered all that voters have.
    fn lacks_state(&self) -> bool {
        self.behind || self.group.as_ref().is_some_and(Group::is_behind)
    }

    /// Whether it is in a view.
    pub fn is_in_view(&self) -> bool {
        matches!(self.stage, Stage::InView)
    }

    /// How the last change of view went; `None` if there was none, or where steps are given the time.
    pub fn last_change(&self) -> Option<ViewChange> {
        let (origin, ChangeTimes { view, wedged_ns, trimmed_ns, met_ns, installed_ns }) = (self.origin?, self.change?);
        let at = |ns| origin + Duration::from_nanos(ns);
        let (wedged, trimmed, met, installed) = (at(wedged_ns), at(trimmed_ns), at(met_ns), at(installed_ns?));
        Some(ViewChange { view, wedged, trimmed, met, installed })
    }

    /// The sending half: valid in this view, so ask for it anew after each turn.
    #[inline]
    pub fn outgoing(&mut self) -> &mut Outgoing {
        match &mut self.group {
            Some(group) => group.outgoing(),
            None => &mut self.outside,
        }
    }

    /// As [`Group::reserve`].
    ///
    /// # Errors
    /// As there. While the view changes, and before the first one, the window is full.
    #[inline]
    pub fn reserve(&mut self, bytes: u64) -> Result<Slot<'_>, SendError> {
        self.outgoing().reserve(bytes)
    }

    /// As [`Group::send`].
    ///
    /// # Errors
    /// As [`Member::reserve`].
    #[inline]
    pub fn send(&mut self, payload: &[u8]) -> Result<u64, SendError> {
        self.outgoing().send(payload)
    }

    /// As [`Group::read_point`]: a member that goes from view to view finds it in whichever it is found first.
    ///
    /// # Errors
    /// As there; before the first view too.
    pub fn read_point(&mut self) -> Result<ReadPoint, ReadRefused> {
        self.group.as_mut().map_or(Err(ReadRefused::NoView), Group::read_point)
    }

    /// As [`Group::has_reached`].
    pub fn has_reached(&self, point: ReadPoint) -> bool {
        self.group.as_ref().is_some_and(|group| group.has_reached(point))
    }

    /// Wants to leave: turn on until [`Turn::Left`](crate::Turn::Left). What of mine is not delivered by then may
    /// be cut off. While nobody else has the application's state and a vote, and somebody is on the way to both, it
    /// stays, for up to [`Timeouts::leave`].
    pub fn leave(&mut self) {
        self.leaving.get_or_insert(None);
    }

    /// It is over, and stays so.
    fn end(&mut self, error: MemberError) -> MemberError {
        self.outside.state = State::Ended;
        self.outgoing().state = State::Ended;
        self.over = Some(error.clone());
        error
    }

    fn end_if<T>(&mut self, result: Result<T, MemberError>) -> Result<T, MemberError> {
        result.map_err(|error| self.end(error))
    }
}
