//! Gathers among processes whose connections stand.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::exchange::gather::WHAT_BYTES_MAX;
use crate::exchange::token::keyed_hash;
use crate::exchange::wire::after;
use crate::exchange::{Exchange, ExchangeError, GatherFault};
use crate::rank::{NodeId, Rank};

use super::Mesh;
use super::message::{Header, MeetingId};
use super::net::Gather;
use super::shared::{Given, Shared, State};

/// Who meets: the members of one epoch.
#[derive(Clone)]
pub struct Meeting {
    /// The secret of the epoch, the same at all its members; used for one meeting only.
    pub token: [u8; 32],
    /// This process' rank.
    pub me: Rank,
    /// The members by rank.
    pub nodes: Vec<NodeId>,
    /// Members that this process does without from the beginning.
    pub absent: Vec<Rank>,
    /// How long each gather waits for the others' parts.
    pub patience: Duration,
    /// Members that each gather waits for no longer than `haste`.
    pub hasty: Vec<Rank>,
    /// At most `patience`.
    pub haste: Duration,
}

impl Meeting {
    /// Whom a gather that began `waited` ago waits for no more, if its part has not come.
    pub(crate) fn is_over_for(&self, rank: Rank, waited: Duration) -> bool {
        let patience = if self.hasty.contains(&rank) { self.haste.min(self.patience) } else { self.patience };
        waited >= patience
    }

    /// How long a gather that has waited for `waited` may go on waiting until it does without somebody.
    pub(crate) fn wait_left(&self, waited: Duration) -> Duration {
        let next = if self.hasty.is_empty() || waited >= self.haste { self.patience } else { self.haste.min(self.patience) };
        next.saturating_sub(waited)
    }
}

/// A meeting of a mesh: an [`Exchange`] whose parts go directly from each member to each other one.
///
/// A member becomes absent when the connection with it ends before its part came, or when its part has not come
/// `patience` after this side gave its own. A connection may still be on its way up when the meeting begins; one that
/// goes down does not come back for this meeting. Events that come meanwhile wait for [`Mesh::next`]. Dropping it ends
/// the meeting: parts of it that come later are dropped.
pub struct MeshExchange {
    shared: Arc<Shared>,
    payload_bytes_max: usize,
    meeting: Meeting,
    id: MeetingId,
    absent: Vec<bool>,
    step: u32,
    failed: Option<ExchangeError>,
    /// A gather that [`Gather::poll`] has begun, and when.
    polled: Option<(Round, u64)>,
}

/// One gather under way.
struct Round {
    header: Header,
    what: String,
    mine: Vec<u8>,
    given: Vec<bool>,
    parts: Vec<Option<Vec<u8>>>,
}

impl MeshExchange {
    pub(super) fn new(mesh: &Mesh, meeting: Meeting) -> Self {
        let members = meeting.nodes.len();
        assert_eq!(meeting.nodes.get(meeting.me.index()), Some(&mesh.node()), "this process meets under its own rank");
        let distinct = meeting.nodes.iter().collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!(distinct, members, "each member is another node");
        let hash = keyed_hash(&meeting.token, b"squall meeting");
        let id = *hash.first_chunk().expect("a hash is longer than an id");
        mesh.shared.change(|state| state.parts.begin(id, meeting.nodes.clone()));
        let mut absent = vec![false; members];
        for rank in &meeting.absent {
            absent[rank.index()] = true;
        }
        let (shared, payload_bytes_max) = (Arc::clone(&mesh.shared), mesh.payload_bytes_max);
        Self { shared, payload_bytes_max, meeting, id, absent, step: 0, failed: None, polled: None }
    }

    fn round(&self, what: &str, mine: &[u8]) -> Result<Round, ExchangeError> {
        assert!(what.len() <= WHAT_BYTES_MAX, "the name of a gather is short");
        let (bytes, bytes_max, members) = (mine.len(), self.payload_bytes_max, self.members());
        if bytes > bytes_max {
            return Err(ExchangeError::TooLarge { bytes, bytes_max });
        }
        let header = Header::Give { meeting: self.id, step: self.step, what: what.to_owned() };
        Ok(Round { header, what: what.to_owned(), mine: mine.to_vec(), given: vec![false; members], parts: vec![None; members] })
    }

    fn gather(&mut self, what: &str, mine: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError> {
        let mut round = self.round(what, mine)?;
        let (shared, began) = (Arc::clone(&self.shared), Instant::now());
        loop {
            let deadline = after(Instant::now(), self.meeting.wait_left(began.elapsed()));
            let done = shared.wait_moved(deadline, |state| self.advance(state, &mut round).transpose());
            if done.transpose()?.is_some() || self.is_over(&round, began.elapsed()) {
                return Ok(self.end_round(round));
            }
        }
    }

    /// One look at a gather that was begun at `began_ns` or begins now.
    fn look(&mut self, now_ns: u64, what: &str, mine: &[u8]) -> Result<Option<Vec<Vec<u8>>>, ExchangeError> {
        let (mut round, began_ns) = match self.polled.take() {
            Some(polled) => polled,
            None => (self.round(what, mine)?, now_ns),
        };
        let waited = Duration::from_nanos(now_ns.saturating_sub(began_ns));
        let shared = Arc::clone(&self.shared);
        let done = shared.change(|state| self.advance(state, &mut round))?;
        if done.is_some() || self.is_over(&round, waited) {
            return Ok(Some(self.end_round(round)));
        }
        self.polled = Some((round, began_ns));
        Ok(None)
    }

    /// Does without those whose time is over; whether nobody is waited for any more.
    fn is_over(&mut self, round: &Round, waited: Duration) -> bool {
        for rank in 0..self.members() {
            self.absent[rank] |= self.awaits(round, rank) && self.meeting.is_over_for(Rank::new(rank), waited);
        }
        !(0..self.members()).any(|rank| self.awaits(round, rank))
    }

    fn awaits(&self, round: &Round, rank: usize) -> bool {
        rank != self.meeting.me.index() && !self.absent[rank] && round.parts[rank].is_none()
    }

    fn end_round(&mut self, mut round: Round) -> Vec<Vec<u8>> {
        self.step += 1;
        for (rank, part) in round.parts.iter().enumerate() {
            self.absent[rank] |= part.is_none() && rank != self.meeting.me.index();
        }
        round.parts[self.meeting.me.index()] = Some(round.mine);
        round.parts.into_iter().map(Option::unwrap_or_default).collect()
    }

    /// Gives to whom it has yet to, and takes what came; `Some` once nobody is waited for.
    fn advance(&mut self, state: &mut State, round: &mut Round) -> Result<Option<()>, ExchangeError> {
        if let Some(reason) = &state.broken {
            return Err(ExchangeError::MeshBroken { reason: reason.clone() });
        }
        for rank in 0..self.members() {
            if rank != self.meeting.me.index() && !self.absent[rank] {
                self.swap(state, Rank::new(rank), round)?;
            }
        }
        Ok(if (0..self.members()).any(|rank| self.awaits(round, rank)) { None } else { Some(()) })
    }

    fn swap(&mut self, state: &mut State, rank: Rank, round: &mut Round) -> Result<(), ExchangeError> {
        let (index, node) = (rank.index(), self.meeting.nodes[rank.index()]);
        let lost = state.parts.is_lost(&self.id, node);
        if !round.given[index] && !lost {
            match state.give(node, round.header.clone(), &round.mine) {
                Given::Queued => round.given[index] = true,
                Given::NotConnected => return Ok(()),
                Given::Full => self.absent[index] = true,
                Given::TooLarge { bytes_max } => return Err(ExchangeError::TooLarge { bytes: round.mine.len(), bytes_max }),
            }
        }
        if round.parts[index].is_some() {
            return Ok(());
        }
        match state.parts.take(&self.id, node, self.step) {
            Some(part) if part.what == round.what => round.parts[index] = Some(part.bytes),
            Some(part) => {
                let fault = GatherFault::OutOfStep { rank, given: part.what, expected: round.what.clone() };
                return Err(ExchangeError::Gather { what: round.what.clone(), fault });
            }
            None => self.absent[index] |= lost,
        }
        Ok(())
    }
}

impl Exchange for MeshExchange {
    fn rank(&self) -> Rank {
        self.meeting.me
    }

    fn members(&self) -> usize {
        self.meeting.nodes.len()
    }

    fn token(&self) -> &[u8; 32] {
        &self.meeting.token
    }

    /// As in every exchange, but a member that is gone or late becomes absent instead of an error.
    ///
    /// # Errors
    /// A member is out of step, the part is too large, or this process' own mesh is broken.
    fn all_gather(&mut self, what: &str, mine: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.gather(what, mine);
        self.failed = result.as_ref().err().cloned();
        result
    }

    fn patience(&self) -> Option<Duration> {
        Some(self.meeting.patience)
    }

    fn is_absent(&self, rank: Rank) -> bool {
        self.absent[rank.index()]
    }

    fn give_up(&mut self, rank: Rank) {
        self.absent[rank.index()] = true;
    }

    fn node(&self, rank: Rank) -> Option<NodeId> {
        self.meeting.nodes.get(rank.index()).copied()
    }
}

impl Gather for MeshExchange {
    fn poll(&mut self, now_ns: u64, what: &str, mine: &[u8]) -> Option<Result<Vec<Vec<u8>>, ExchangeError>> {
        if let Some(error) = &self.failed {
            return Some(Err(error.clone()));
        }
        let result = self.look(now_ns, what, mine);
        self.failed = result.as_ref().err().cloned();
        result.transpose()
    }

    fn due_ns(&self, now_ns: u64) -> Option<u64> {
        let (_, began_ns) = self.polled.as_ref()?;
        let left = self.meeting.wait_left(Duration::from_nanos(now_ns.saturating_sub(*began_ns)));
        Some(now_ns.saturating_add(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Drop for MeshExchange {
    fn drop(&mut self) {
        self.shared.change(|state| state.parts.end(self.id));
    }
}

impl fmt::Debug for Meeting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut meeting = f.debug_struct("Meeting");
        meeting.field("me", &self.me).field("nodes", &self.nodes).field("absent", &self.absent).field("patience", &self.patience);
        meeting.finish_non_exhaustive()
    }
}

impl fmt::Debug for MeshExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MeshExchange").field("meeting", &self.meeting).field("step", &self.step).finish_non_exhaustive()
    }
}
