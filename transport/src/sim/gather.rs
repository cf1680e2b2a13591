//! A meeting of processes over simulated control connections.

use std::time::Duration;

use super::connections::{Connections, Part, Shared};
use crate::exchange::{Exchange, ExchangeError, GatherFault};
use crate::mesh::{Gather, Meeting};
use crate::rank::{NodeId, Rank};

/// A meeting in virtual time.
#[derive(Debug)]
pub struct SimGather {
    shared: Shared,
    /// Of this process.
    number: usize,
    meeting: Meeting,
    absent: Vec<bool>,
    step: u32,
    round: Option<Round>,
}

/// One gather under way.
#[derive(Debug)]
struct Round {
    began_ns: u64,
    part: Part,
    given: Vec<bool>,
    parts: Vec<Option<Vec<u8>>>,
}

impl SimGather {
    pub(super) fn new(shared: &Shared, number: usize, meeting: Meeting) -> SimGather {
        let mut absent = vec![false; meeting.nodes.len()];
        meeting.absent.iter().for_each(|rank| absent[rank.index()] = true);
        shared.state().ends[number].meetings.insert(meeting.token, Default::default());
        SimGather { shared: shared.clone(), number, meeting, absent, step: 0, round: None }
    }

    fn awaits(&self, round: &Round, rank: usize) -> bool {
        rank != self.meeting.me.index() && !self.absent[rank] && round.parts[rank].is_none()
    }

    fn swap(&mut self, state: &mut Connections, rank: usize, round: &mut Round, now_ns: u64) -> Result<(), ExchangeError> {
        let (node, number) = (self.meeting.nodes[rank], self.number);
        let lost = state.ends[number].meetings.get(&self.meeting.token).is_some_and(|lost| lost.contains(&node));
        if !round.given[rank] && !lost {
            round.given[rank] = state.give(number, node, &round.part, now_ns);
        }
        let parts = &mut state.ends[number].parts;
        let mine = |(from, part): &(NodeId, Part)| *from == node && (part.meeting, part.step) == (round.part.meeting, round.part.step);
        let Some(place) = parts.iter().position(mine) else {
            self.absent[rank] |= lost;
            return Ok(());
        };
        let (_, part) = parts.remove(place);
        if part.what != round.part.what {
            let fault = GatherFault::OutOfStep { rank: Rank::new(rank), given: part.what, expected: round.part.what.clone() };
            return Err(ExchangeError::Gather { what: round.part.what.clone(), fault });
        }
        round.parts[rank] = Some(part.bytes);
        Ok(())
    }

    fn look(&mut self, now_ns: u64, round: &mut Round) -> Result<bool, ExchangeError> {
        let shared = self.shared.clone();
        let mut state = shared.state();
        state.ends[self.number].settle(now_ns);
        for rank in 0..self.absent.len() {
            if self.awaits(round, rank) {
                self.swap(&mut state, rank, round, now_ns)?;
            }
            let waited = Duration::from_nanos(now_ns - round.began_ns);
            self.absent[rank] |= self.awaits(round, rank) && self.meeting.is_over_for(Rank::new(rank), waited);
        }
        Ok(!(0..self.absent.len()).any(|rank| self.awaits(round, rank)))
    }
}

impl Gather for SimGather {
    fn poll(&mut self, now_ns: u64, what: &str, mine: &[u8]) -> Option<Result<Vec<Vec<u8>>, ExchangeError>> {
        let members = self.absent.len();
        let mut round = self.round.take().unwrap_or_else(|| Round {
            began_ns: now_ns,
            part: Part { meeting: self.meeting.token, step: self.step, what: what.to_owned(), bytes: mine.to_vec() },
            given: vec![false; members],
            parts: vec![None; members],
        });
        match self.look(now_ns, &mut round) {
            Ok(false) => {
                self.round = Some(round);
                None
            }
            Ok(true) => {
                self.step += 1;
                round.parts[self.meeting.me.index()] = Some(round.part.bytes);
                Some(Ok(round.parts.into_iter().map(Option::unwrap_or_default).collect()))
            }
            Err(error) => Some(Err(error)),
        }
    }

    fn due_ns(&self, now_ns: u64) -> Option<u64> {
        let round = self.round.as_ref()?;
        let left = self.meeting.wait_left(Duration::from_nanos(now_ns - round.began_ns));
        Some(now_ns.saturating_add(u64::try_from(left.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Exchange for SimGather {
    fn rank(&self) -> Rank {
        self.meeting.me
    }

    fn members(&self) -> usize {
        self.meeting.nodes.len()
    }

    fn token(&self) -> &[u8; 32] {
        &self.meeting.token
    }

    /// Waits for nobody: answers for all that are here with what this member gave, as
    /// [`SoloExchange`](super::SoloExchange) does.
    fn all_gather(&mut self, _what: &str, mine: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError> {
        Ok(self.absent.iter().map(|absent| if *absent { Vec::new() } else { mine.to_vec() }).collect())
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

impl Drop for SimGather {
    fn drop(&mut self) {
        self.shared.state().ends[self.number].end_meeting(self.meeting.token);
    }
}
