//! Who comes in: strangers that are heard, members that are admitted, and those that are refused.

use std::time::{Duration, Instant};

use super::{FAREWELL, HELLO_BYTES_MAX, RendezvousServer};
use crate::exchange::connection::{Connection, Phase};
use crate::exchange::crowd::{gives_way, source};
use crate::exchange::door::Knock;
use crate::exchange::event::ServerEvent;
use crate::exchange::frame::PROTOCOL_VERSION;
use crate::exchange::link::{CROWDED, Link, NO_DESCRIPTOR};
use crate::exchange::message::{ToMember, Welcome};
use crate::exchange::place::Place;
use crate::exchange::refusal::Refusal;
use crate::exchange::stream::Stream;
use crate::exchange::wire::{Wire, after};
use crate::rank::{NodeId, Rank};

/// Connections that have not joined, beside one for each member; beyond that one gives way to a new one.
const GREETING_MARGIN: usize = 64;
const ACCEPTS_PER_TURN_MAX: usize = 64;

impl RendezvousServer {
    pub(super) fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN_MAX {
            match self.door.accept() {
                Knock::Came(stream, from) => self.greet(stream, from),
                Knock::Nobody => return,
                Knock::Short(_) if self.make_way() => {}
                Knock::Short(error) => {
                    self.door.turn_away(&NO_DESCRIPTOR, ACCEPTS_PER_TURN_MAX);
                    if self.telling.tells(Instant::now()) {
                        self.events.push_back(ServerEvent::AcceptFailed { reason: error.to_string() });
                    }
                    return;
                }
            }
        }
    }

    /// Lets a stranger in, and hears it at once: who has said what only a member knows is not pushed out by those who
    /// come behind it.
    fn greet(&mut self, stream: Stream, from: Place) {
        if self.strangers().count() >= self.greeting_max() && !self.make_way() {
            return self.tell_of(from, Refusal::Crowded { greeting_max: self.greeting_max() }, false);
        }
        let link = Link::responder(&self.secret, PROTOCOL_VERSION, HELLO_BYTES_MAX);
        match Wire::new(stream, link, self.options.lost_after) {
            Ok(wire) => {
                let phase = Phase::Greeting { deadline: after(Instant::now(), self.options.handshake_timeout) };
                self.connections.push(Connection { wire, from, phase });
                self.turn(self.connections.len() - 1);
            }
            Err(error) => self.tell_of(from, Refusal::Closed { reason: error.to_string() }, false),
        }
    }

    fn greeting_max(&self) -> usize {
        self.options.members + GREETING_MARGIN
    }

    /// Those without a rank, in the order they came, by their place among all.
    fn strangers(&self) -> impl Iterator<Item = (usize, &Connection)> {
        self.connections.iter().enumerate().filter(|(_, connection)| connection.is_stranger())
    }

    /// Parts with the stranger that others have the best reason to be heard before; whether there is one.
    fn make_way(&mut self) -> bool {
        let standings = self.strangers().map(|(_, connection)| (connection.from.ip().map(source), connection.standing()));
        let Some(index) = gives_way(standings).and_then(|at| self.strangers().nth(at)).map(|(index, _)| index) else {
            return false;
        };
        let Connection { wire, from, phase } = self.connections.remove(index);
        if matches!(phase, Phase::Greeting { .. }) {
            wire.turn_away(&CROWDED);
            self.tell_of(from, Refusal::Crowded { greeting_max: self.greeting_max() }, false);
        }
        true
    }

    pub(super) fn admit(&mut self, index: usize, node: NodeId, wanted: Option<Rank>) {
        if self.join_over {
            let timeout_ms = self.options.join_timeout.as_millis() as u64;
            return self.refuse(index, Refusal::TooLate { timeout_ms });
        }
        let rank = match self.seats.admit(node, wanted) {
            Ok(rank) => rank,
            Err(refusal) => return self.refuse(index, refusal),
        };
        let welcome = Welcome {
            rank,
            members: self.options.members as u16,
            token: self.token,
            frame_bytes_max: self.options.frame_bytes_max as u32,
            patience_ms: milliseconds(self.options.patience()),
            lost_after_ms: milliseconds(self.options.lost_after),
        };
        let connection = &mut self.connections[index];
        connection.phase = Phase::Member(rank);
        connection.wire.link.set_frame_bytes_max(self.options.frame_bytes_max);
        connection.send(&ToMember::Welcome(welcome), &[]);
        let address = connection.from.clone();
        self.events.push_back(ServerEvent::Joined { rank, node, address });
    }

    /// Turns away a connection that has not joined, and lets it know why if it holds the key.
    pub(super) fn refuse(&mut self, index: usize, reason: Refusal) {
        let connection = &mut self.connections[index];
        if connection.wire.link.is_open() {
            connection.send(&ToMember::Refused(reason.clone()), &[]);
        }
        let (is_proven, from) = (connection.wire.link.is_open(), connection.from.clone());
        connection.close(FAREWELL);
        self.tell_of(from, reason, is_proven);
    }

    /// Tells the owner of one that did not become a member; of strangers not of each.
    fn tell_of(&mut self, address: Place, reason: Refusal, is_proven: bool) {
        if is_proven || self.telling.tells(Instant::now()) {
            self.events.push_back(ServerEvent::Refused { address, reason });
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
