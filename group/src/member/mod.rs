//! A process of a group whose members come and go: a [`Group`] from view to view, and the mesh over which members meet in between.
//!
//! ```text
//!   survivors   next view decided --> settled --> welcome newcomers, meet over the mesh, open the next epoch --> snapshot for newcomers
//!   newcomer    ask a contact --> noted --> welcome: meet, open --> receives, delivers nothing --> state is here: delivers
//! ```
//!
//! Whoever does not come to a meeting is opened without, counts as broken link, and is removed in a further view.

mod asks;
mod change;
mod contact;
mod error;
mod hearing;
mod joining;
pub(crate) mod message;
mod second;
mod state;

pub use error::MemberError;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use squall_membership::Timeouts;
use squall_transport::exchange::Exchange;
use squall_transport::mesh::{Mesh, MeshEvent};
use squall_transport::{Fabric, NodeId, Waker};

use crate::config::Config;
use crate::error::SendError;
use crate::group::{Group, Upcalls};
use crate::outgoing::{Outgoing, Slot};
use crate::pace::Pace;
use crate::view::View;
use asks::Asks;
use message::Control;
use second::Second;
use state::{Gave, Giving, Taking};

/// How long a member sleeps at most while it waits for room for the state that it gives.
const GIVING_SLEEP: Duration = Duration::from_micros(500);

/// What a member of a changing group is made of.
#[derive(Clone, Debug)]
pub struct MemberOptions {
    /// The group. Its `senders` are those of the first view; its `membership` must be set.
    pub config: Config,
    /// How long the members of a view wait for one that does not come to it.
    pub patience: Duration,
    /// The witness that one of two members asks when it has lost the other; without one it stops.
    pub witness: Option<SocketAddr>,
}

impl MemberOptions {
    /// `config`, a second of patience, no witness.
    pub fn new(config: Config) -> MemberOptions {
        MemberOptions { config, patience: Duration::from_secs(1), witness: None }
    }

    /// Members may leave a meeting with one that does not come at different steps of it, one patience apart each: who is still there beats no heart yet.
    fn lenient(&self) -> Config {
        let first_word_ns = u64::try_from(2 * self.patience.as_nanos()).unwrap_or(u64::MAX);
        let membership = self.config.membership.map(|timeouts| Timeouts { first_word_ns, ..timeouts });
        Config { membership, ..self.config.clone() }
    }
}

/// When the last change of view came how far, in this process's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewChange {
    /// The view that it led to.
    pub view: u64,
    /// The view before stopped: a member was suspected, or a change proposed.
    pub wedged: Instant,
    /// All of the view before was delivered, up to the trim.
    pub trimmed: Instant,
    /// The new epoch is open.
    pub installed: Instant,
}

/// One member of a group whose members come and go.
#[derive(Debug)]
pub struct Member<F: Fabric> {
    /// Away only while it goes from view to view, and after that failed.
    group: Option<Group<F::Endpoint>>,
    fabric: F,
    mesh: Mesh,
    options: MemberOptions,
    token: [u8; 32],
    /// Where the members listen.
    addresses: HashMap<NodeId, SocketAddr>,
    asks: Asks,
    giving: Vec<Giving>,
    taking: Option<Taking>,
    second: Second,
    /// The newcomers of the coming view are being called, or were.
    called: bool,
    /// Those that were called and have not answered.
    calls: Vec<(NodeId, SocketAddr)>,
    change: Option<ViewChange>,
}

impl<F: Fabric> Member<F> {
    /// Founds a group: the members of `exchange` are its first view. A collective.
    ///
    /// # Errors
    /// [`MemberError::Join`], [`MemberError::Found`].
    pub fn found(options: MemberOptions, fabric: F, mesh: Mesh, exchange: &mut dyn Exchange) -> Result<Member<F>, MemberError> {
        let mine = postcard::to_stdvec(&(mesh.node(), mesh.address())).expect("plain data");
        let mut nodes = Vec::new();
        let mut addresses = HashMap::new();
        for (index, part) in exchange.all_gather("member addresses", &mine)?.iter().enumerate() {
            let unreadable = |_| MemberError::Found(format!("rank {index} gave an address that makes no sense; same version?"));
            let (node, address): (NodeId, SocketAddr) = postcard::from_bytes(part).map_err(unreadable)?;
            if addresses.insert(node, address).is_some() {
                return Err(MemberError::Found(format!("two members have the name {node}; give each process its own")));
            }
            nodes.push(node);
        }
        let me = exchange.rank();
        let view = View { nodes, ..View::first(me, exchange.members(), &options.config.senders, exchange.token()) };
        for node in &view.nodes[..me.index()] {
            mesh.connect(addresses[node], Some(*node));
        }
        let missing = |peers: &[(NodeId, SocketAddr)]| {
            view.nodes.iter().filter(|&&node| node != mesh.node()).any(|&node| peers.iter().all(|peer| peer.0 != node))
        };
        while missing(&mesh.peers()) {
            match mesh.wait(Instant::now() + options.patience.max(joining::CONNECT_PATIENCE)) {
                Some(MeshEvent::Unreachable { address, reason, .. }) => {
                    return Err(MemberError::Found(format!("the member at {address} cannot be reached: {reason}")));
                }
                Some(_) => {}
                None => return Err(MemberError::Found("not all members connected in time".into())),
            }
        }
        exchange.all_gather("member mesh", &[])?;
        let group = Group::enter(&options.lenient(), view, &fabric, exchange)?;
        let token = *exchange.token();
        Ok(Member::new(group, fabric, mesh, options, token, addresses))
    }

    fn new(
        mut group: Group<F::Endpoint>,
        fabric: F,
        mesh: Mesh,
        options: MemberOptions,
        token: [u8; 32],
        addresses: HashMap<NodeId, SocketAddr>,
    ) -> Member<F> {
        mesh.set_waker(Some(group.waker()));
        if options.witness.is_some() {
            group.promise_witness();
        }
        Member {
            group: Some(group),
            fabric,
            mesh,
            options,
            token,
            addresses,
            asks: Asks::default(),
            giving: Vec::new(),
            taking: None,
            second: Second::default(),
            called: false,
            calls: Vec::new(),
            change: None,
        }
    }

    /// The group in its present view.
    pub fn group(&self) -> &Group<F::Endpoint> {
        self.group.as_ref().expect("there is one while the member is")
    }

    fn group_mut(&mut self) -> &mut Group<F::Endpoint> {
        self.group.as_mut().expect("there is one while the member is")
    }

    /// The present view.
    pub fn view(&self) -> &View {
        self.group().view()
    }

    /// My name.
    pub fn node(&self) -> NodeId {
        self.mesh.node()
    }

    /// Where newcomers reach me.
    pub fn address(&self) -> SocketAddr {
        self.mesh.address()
    }

    /// Whether this newcomer still waits for the application's state, or for its vote: it is a full member, and may send,
    /// once it does not.
    pub fn is_behind(&self) -> bool {
        self.group().is_behind() || !self.view().votes(self.view().me)
    }

    /// How the last change of view went.
    pub fn last_change(&self) -> Option<ViewChange> {
        self.change
    }

    /// The sending half: valid in this view, so ask for it anew after each turn.
    #[inline]
    pub fn outgoing(&mut self) -> &mut Outgoing {
        self.group_mut().outgoing()
    }

    /// As [`Group::reserve`].
    ///
    /// # Errors
    /// As there. While the view changes the window is full.
    #[inline]
    pub fn reserve(&mut self, bytes: u64) -> Result<Slot<'_>, SendError> {
        self.group_mut().reserve(bytes)
    }

    /// As [`Group::send`].
    ///
    /// # Errors
    /// As [`Member::reserve`].
    #[inline]
    pub fn send(&mut self, payload: &[u8]) -> Result<u64, SendError> {
        self.group_mut().send(payload)
    }

    /// Ends another thread's wait in [`Member::turn`]; for this view only.
    pub fn waker(&self) -> Waker {
        self.group().waker()
    }

    /// Wants to leave: turn on until [`Ended::Closed`](crate::Ended::Closed). What of mine is not delivered by then may be cut off.
    pub fn leave(&mut self) {
        self.group_mut().leave();
    }

    /// One turn of the loop, as [`Group::turn`], and whatever the change of members asks for. While the next view opens it waits for the other members.
    ///
    /// # Errors
    /// The group is over for this member, and why.
    #[inline]
    pub fn turn(&mut self, upcalls: &mut impl Upcalls, pace: &mut Pace) -> Result<bool, MemberError> {
        self.turn_until(upcalls, pace, None)
    }

    /// As [`Member::turn`], but sleeps no longer than `until`.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn turn_until(&mut self, upcalls: &mut impl Upcalls, pace: &mut Pace, until: Option<Instant>) -> Result<bool, MemberError> {
        let mut heard = false;
        while let Some(event) = self.mesh.next() {
            self.hear(event, upcalls)?;
            heard = true;
        }
        if self.is_busy() {
            return self.turn_busy(upcalls, pace, until);
        }
        Ok(self.group_mut().turn_until(upcalls, pace, until)? | heard)
    }

    /// Whether there is more to do than messages.
    #[inline]
    fn is_busy(&self) -> bool {
        self.group().is_changing() || !self.asks.is_empty() || !self.giving.is_empty()
    }

    #[cold]
    fn turn_busy(&mut self, upcalls: &mut impl Upcalls, pace: &mut Pace, until: Option<Instant>) -> Result<bool, MemberError> {
        // In a turn of its own, so that whoever traces sees the old view's end.
        if self.group().next_view().is_some() {
            self.await_newcomers(upcalls)?;
            self.go_over(upcalls)?;
            return Ok(true);
        }
        self.press();
        let gives = self.give()?.then(|| Instant::now() + GIVING_SLEEP);
        let asks = self.second_opinion().then(|| self.second.deadline());
        let until = [until, gives, asks].into_iter().flatten().min();
        let progress = self.group_mut().turn_until(upcalls, pace, until)?;
        self.call_newcomers();
        Ok(progress)
    }

    /// Asks the group for those who asked me.
    fn press(&mut self) {
        let Member { asks, group, mesh, .. } = self;
        let Some(group) = group else { return };
        asks.press(group, |node, refusal| {
            // It may be gone; then it needs no answer.
            let _ = Control::Refused { reason: refusal.to_string() }.say(mesh, node);
        });
    }

    /// Gives state to newcomers. Whether it waits for room.
    fn give(&mut self) -> Result<bool, MemberError> {
        let mut full = false;
        let mut lost = Vec::new();
        let mesh = &self.mesh;
        let mut failed = None;
        self.giving.retain_mut(|giving| match giving.turn(mesh) {
            Ok(Gave::More) => true,
            Ok(Gave::Full) => {
                full = true;
                true
            }
            Ok(Gave::All) => false,
            Ok(Gave::Lost) => {
                lost.push(giving.to);
                false
            }
            Err(error) => {
                failed = Some(error);
                false
            }
        });
        lost.into_iter().for_each(|node| self.suspect(node));
        match failed {
            Some(error) => Err(MemberError::Snapshot(error)),
            None => Ok(full),
        }
    }
}
