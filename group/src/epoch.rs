//! The membership of one epoch.

use std::cell::OnceCell;
use std::time::Instant;

use squall_membership::{Membership, Mutation, Newcomer, Protocol, Ranks, RequestError, Senders};

use crate::config::{Columns, Config};
use crate::error::JoinRefused;
use crate::view::View;

/// The membership of one epoch, and how far this member is on its way out of it.
#[derive(Debug)]
pub(crate) struct Epoch {
    pub(crate) membership: Membership,
    pub(crate) clock: Clock,
    /// Frozen: nothing is sent, received or delivered by stability any more.
    pub(crate) wedged: bool,
    /// Look in the next turn.
    pub(crate) look: bool,
    /// What follows, once decided; and the same once nobody needs this view any more.
    pub(crate) ending: Option<View>,
    pub(crate) next: Option<View>,
    pub(crate) left: bool,
    /// When this member wedged, and when it had delivered all, in the time of its clock.
    pub(crate) wedged_ns: Option<u64>,
    pub(crate) trimmed_ns: Option<u64>,
    /// How many may send in the next view.
    pub(crate) senders_max: usize,
    /// Somebody asks a witness for this member.
    pub(crate) hears_witness: bool,
    /// Learners that alone keep my window full, and since when in running time.
    pub(crate) leash: (Ranks, u64),
    pub(crate) mutation: Mutation,
}

/// Where the time comes from.
#[derive(Debug)]
pub(crate) enum Clock {
    /// Since the first look at it, or since whenever the caller said.
    Own(OnceCell<Instant>),
    /// As the caller says.
    Given(u64),
}

impl Clock {
    pub(crate) fn now_ns(&self) -> u64 {
        match self {
            Clock::Own(start) => u64::try_from(start.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX),
            Clock::Given(now_ns) => *now_ns,
        }
    }
}

impl Epoch {
    pub(crate) fn new(config: &Config, columns: &Columns, view: &View) -> Option<Epoch> {
        let (timeouts, words) = config.membership.zip(columns.membership.clone())?;
        // Whoever sends, receives or delivers is alive; where that is told to few, all wait for its heart.
        let signs = match config.mode.is_relayed() {
            true => Vec::new(),
            false => vec![columns.smc.head, columns.order.received_seq, columns.order.delivered_seq],
        };
        let mut protocol = Protocol::with_voters(view.me, view.nodes.clone(), view.voters, view.senders.len(), view.lost);
        let senders_max = config.sender_limit();
        protocol.set_senders(Senders { now: view.senders.iter().copied().collect(), later: view.will_send, senders_max });
        if config.mode.fills() {
            protocol.fill_up();
        }
        let membership = Membership::with(protocol, words, timeouts, signs);
        let clock = Clock::Own(OnceCell::new());
        Some(Epoch {
            membership,
            clock,
            wedged: false,
            look: true,
            ending: None,
            next: None,
            left: false,
            wedged_ns: None,
            trimmed_ns: None,
            senders_max,
            hears_witness: false,
            leash: (Ranks::EMPTY, 0),
            mutation: Mutation::None,
        })
    }

    /// Whether there are buffers for this newcomer, beside those of `view` and those who wait. Who only listens takes
    /// none.
    pub(crate) fn room_for(&self, view: &View, waiting: &[Newcomer], newcomer: Newcomer) -> Result<(), JoinRefused> {
        let (needed, senders_max) = (view.senders_with(waiting) + 1, self.senders_max);
        let takes_buffers = newcomer.sends() || self.mutation == Mutation::ListenersRefused;
        if takes_buffers && needed > senders_max { Err(JoinRefused::Senders { senders_max, needed }) } else { Ok(()) }
    }
}

impl From<RequestError> for JoinRefused {
    fn from(error: RequestError) -> JoinRefused {
        JoinRefused::Request(error)
    }
}
