//! Members that an epoch is opened without.

use std::time::{Duration, Instant};

use crate::endpoint::OpenError;
use crate::exchange::Exchange;
use crate::rank::Rank;

/// How long between two looks at whom the exchange does without, while a fabric waits for its peers.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Who has no link, while a fabric opens. Where the exchange has no patience there is never a hole.
#[derive(Debug)]
pub(crate) struct Holes {
    me: Rank,
    patience: Option<Duration>,
    /// By rank: why there is no link.
    reasons: Vec<Option<String>>,
}

impl Holes {
    /// Those that `exchange` does without already.
    pub(crate) fn of(exchange: &dyn Exchange) -> Holes {
        let mut holes = Holes { me: exchange.rank(), patience: exchange.patience(), reasons: vec![None; exchange.members()] };
        holes.look(exchange);
        holes
    }

    pub(crate) fn members(&self) -> usize {
        self.reasons.len()
    }

    pub(crate) fn is_hole(&self, peer: Rank) -> bool {
        self.reasons[peer.index()].is_some()
    }

    /// All members with a link, or one that is still to be made.
    pub(crate) fn peers(&self) -> impl Iterator<Item = Rank> {
        let linked = self.reasons.iter().enumerate().filter(|(_, reason)| reason.is_none());
        linked.map(|(index, _)| Rank::new(index)).filter(|&peer| peer != self.me)
    }

    /// Members that `exchange` does without are holes from now on: after a gather.
    pub(crate) fn look(&mut self, exchange: &dyn Exchange) {
        for peer in self.gone(exchange) {
            self.reasons[peer.index()] = Some("it did not come to this epoch, or left while its members met".to_owned());
        }
    }

    /// Peers that `exchange` does without now. One that has finished its own opening and left is among them: first take in what it said before.
    pub(crate) fn gone(&self, exchange: &dyn Exchange) -> Vec<Rank> {
        match self.patience {
            Some(_) => self.peers().filter(|&peer| exchange.is_absent(peer)).collect(),
            None => Vec::new(),
        }
    }

    /// There is no link with `peer` because of `error`: from now on it is a hole, of which the exchange is told. Without patience the error comes back.
    pub(crate) fn dig(&mut self, exchange: &mut dyn Exchange, peer: Rank, error: OpenError) -> Result<(), OpenError> {
        if self.patience.is_none() {
            return Err(error);
        }
        if !self.is_hole(peer) {
            self.reasons[peer.index()] = Some(error.to_string());
            exchange.give_up(peer);
        }
        Ok(())
    }

    /// When whoever has not been linked with by then is given up: after `limit`, or sooner if patience is shorter.
    pub(crate) fn deadline(&self, limit: Duration) -> Instant {
        Instant::now() + self.patience.map_or(limit, |patience| patience.min(limit))
    }

    /// How long to sleep for news before the next look at who is [`gone`](Holes::gone), if `deadline` does not come first.
    pub(crate) fn nap(&self, deadline: Instant) -> Duration {
        let left = deadline.saturating_duration_since(Instant::now());
        self.patience.map_or(left, |_| left.min(LOOK_EVERY))
    }

    /// By rank: why there is no link.
    pub(crate) fn into_reasons(self) -> Vec<Option<String>> {
        self.reasons
    }
}
