//! One process' simulated control connections, and its meetings over them.

use std::net::SocketAddr;
use std::time::Duration;

use super::nets::{Part, SimNets, State};
use crate::endpoint::Waker;
use crate::exchange::{Exchange, ExchangeError, GatherFault};
use crate::mesh::{Gather, Meeting, MeshEvent, MeshSendError, Net};
use crate::rank::{NodeId, Rank};

/// One process' control connections in virtual time: what [`Mesh`](crate::mesh::Mesh) is on sockets.
#[derive(Clone, Debug)]
pub struct SimNet {
    nets: SimNets,
    number: usize,
    node: NodeId,
    address: SocketAddr,
}

impl SimNet {
    pub(super) fn new(nets: SimNets, number: usize, node: NodeId, address: SocketAddr) -> SimNet {
        SimNet { nets, number, node, address }
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// When something comes that is to be looked at; in the past if something waits.
    pub fn next_ns(&self) -> Option<u64> {
        self.nets.state().next_ns(self.number)
    }
}

impl Net for SimNet {
    type Gather = SimGather;

    fn node(&self) -> NodeId {
        self.node
    }

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn connect(&self, address: SocketAddr, node: Option<NodeId>) {
        self.nets.state().connect(self.number, address, node, self.nets.now_ns());
    }

    fn disconnect(&self, node: NodeId) {
        self.nets.state().disconnect(self.number, node, self.nets.now_ns());
    }

    fn send(&self, to: NodeId, bytes: &[u8]) -> Result<(), MeshSendError> {
        self.nets.state().send(self.number, to, bytes, self.nets.now_ns())
    }

    fn next(&self) -> Option<MeshEvent> {
        self.nets.state().next(self.number, self.nets.now_ns())
    }

    fn peers(&self) -> Vec<(NodeId, SocketAddr)> {
        let mut state = self.nets.state();
        let end = &mut state.ends[self.number];
        end.settle(self.nets.now_ns());
        end.peers.iter().map(|(&node, peer)| (node, peer.address)).collect()
    }

    /// Nobody sleeps in virtual time.
    fn set_waker(&self, _waker: Option<Waker>) {}

    fn meet(&self, meeting: Meeting) -> SimGather {
        SimGather::new(self, meeting)
    }
}

/// A meeting in virtual time.
#[derive(Debug)]
pub struct SimGather {
    net: SimNet,
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
    fn new(net: &SimNet, meeting: Meeting) -> SimGather {
        assert_eq!(meeting.nodes.get(meeting.me.index()), Some(&net.node), "this process meets under its own rank");
        let mut absent = vec![false; meeting.nodes.len()];
        meeting.absent.iter().for_each(|rank| absent[rank.index()] = true);
        net.nets.state().ends[net.number].meetings.insert(meeting.token, Default::default());
        SimGather { net: net.clone(), meeting, absent, step: 0, round: None }
    }

    fn awaits(&self, round: &Round, rank: usize) -> bool {
        rank != self.meeting.me.index() && !self.absent[rank] && round.parts[rank].is_none()
    }

    fn swap(&mut self, state: &mut State, rank: usize, round: &mut Round, now_ns: u64) -> Result<(), ExchangeError> {
        let (node, number) = (self.meeting.nodes[rank], self.net.number);
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
        let nets = self.net.nets.clone();
        let mut state = nets.state();
        state.ends[self.net.number].settle(now_ns);
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
        self.net.nets.state().ends[self.net.number].end_meeting(self.meeting.token);
    }
}
