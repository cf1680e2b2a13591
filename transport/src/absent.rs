//! Members that an epoch is opened without.

use std::time::{Duration, Instant};

use crate::endpoint::OpenError;
use crate::exchange::Exchange;
use crate::rank::Rank;

/// How long between two looks at whom the exchange does without, while a fabric waits for its peers.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Who has no link, while a fabric opens. Where the exchange has no patience nobody is ever absent.
#[derive(Debug)]
pub(crate) struct Absent {
    me: Rank,
    patience: Option<Duration>,
    /// By rank: why there is no link.
    reasons: Vec<Option<String>>,
}

impl Absent {
    /// Those that `exchange` does without already.
    pub(crate) fn of(exchange: &dyn Exchange) -> Absent {
        let mut absent = Absent { me: exchange.rank(), patience: exchange.patience(), reasons: vec![None; exchange.members()] };
        if absent.patience.is_some() {
            absent.note(|peer| exchange.is_absent(peer));
        }
        absent
    }

    pub(crate) fn members(&self) -> usize {
        self.reasons.len()
    }

    pub(crate) fn is_absent(&self, peer: Rank) -> bool {
        self.reasons[peer.index()].is_some()
    }

    /// All members with a link, or one that is still to be made.
    pub(crate) fn peers(&self) -> impl Iterator<Item = Rank> {
        let linked = self.reasons.iter().enumerate().filter(|(_, reason)| reason.is_none());
        linked.map(|(index, _)| Rank::new(index)).filter(|&peer| peer != self.me)
    }

    /// Members that gave nothing to a gather to which nobody gives empty bytes are absent from now on. One that gave
    /// and has left since is not.
    pub(crate) fn look(&mut self, parts: &[Vec<u8>]) {
        if self.patience.is_some() {
            self.note(|peer| parts[peer.index()].is_empty());
        }
    }

    fn note(&mut self, is_absent: impl Fn(Rank) -> bool) {
        for peer in self.peers().filter(|&peer| is_absent(peer)).collect::<Vec<_>>() {
            self.reasons[peer.index()] = Some("it did not come to this epoch, or left while its members met".to_owned());
        }
    }

    /// Peers that `exchange` does without now. One that has finished its own opening and left is among them: first take
    /// in what it said before.
    pub(crate) fn gone(&self, exchange: &dyn Exchange) -> Vec<Rank> {
        match self.patience {
            Some(_) => self.peers().filter(|&peer| exchange.is_absent(peer)).collect(),
            None => Vec::new(),
        }
    }

    /// There is no link with `peer` because of `error`: from now on it is absent, of which the exchange is told.
    /// Without patience the error comes back.
    pub(crate) fn exclude(&mut self, exchange: &mut dyn Exchange, peer: Rank, error: OpenError) -> Result<(), OpenError> {
        if self.patience.is_none() {
            return Err(error);
        }
        if !self.is_absent(peer) {
            self.reasons[peer.index()] = Some(error.to_string());
            exchange.give_up(peer);
        }
        Ok(())
    }

    /// As [`exclude`](Absent::exclude), where the error names the peer; what I lack myself comes back.
    pub(crate) fn excuse(&mut self, exchange: &mut dyn Exchange, error: OpenError) -> Result<(), OpenError> {
        match error {
            OpenError::Peer { peer, .. } => self.exclude(exchange, peer, error),
            error => Err(error),
        }
    }

    /// By rank: 1 for me and whom I have no reason to do without, else 0.
    pub(crate) fn roll(&self) -> Vec<u8> {
        self.reasons.iter().map(|reason| u8::from(reason.is_none())).collect()
    }

    /// Takes in everyone's [`roll`](Absent::roll): a peer that does without me is absent for me too.
    pub(crate) fn compare(&mut self, exchange: &mut dyn Exchange, fabric: &'static str, rolls: &[Vec<u8>]) -> Result<(), OpenError> {
        self.look(rolls);
        for peer in self.peers().filter(|peer| rolls[peer.index()].get(self.me.index()) != Some(&1)).collect::<Vec<_>>() {
            self.exclude(exchange, peer, OpenError::Peer { fabric, peer, what: "it went on without this member".into() })?;
        }
        Ok(())
    }

    /// As [`deadline`](Absent::deadline) where a gather follows, in which others wait for me as long as they have
    /// patience: half of it.
    pub(crate) fn deadline_before_gather(&self, limit: Duration) -> Instant {
        Instant::now() + self.patience.map_or(limit, |patience| (patience / 2).min(limit))
    }

    /// When whoever has not been linked with by then is given up: after `limit`, or sooner if patience is shorter.
    pub(crate) fn deadline(&self, limit: Duration) -> Instant {
        Instant::now() + self.patience.map_or(limit, |patience| patience.min(limit))
    }

    /// How long to sleep for news before the next look at who is [`gone`](Absent::gone), if `deadline` does not come
    /// first.
    pub(crate) fn nap(&self, deadline: Instant) -> Duration {
        let left = deadline.saturating_duration_since(Instant::now());
        self.patience.map_or(left, |_| left.min(LOOK_EVERY))
    }

    /// By rank: why there is no link.
    pub(crate) fn into_reasons(self) -> Vec<Option<String>> {
        self.reasons
    }
}
