//! What is due although no socket is ready: a joining, a gather or a connection that takes too long.

use std::time::Instant;

use super::RendezvousServer;
use crate::exchange::connection::Phase;
use crate::exchange::error::GatherFault;
use crate::exchange::event::{LeaveReason, ServerEvent};
use crate::exchange::refusal::Refusal;
use crate::exchange::wire::after;

/// Bytes that wait for a member who does not read, in frames of the largest size.
const UNSENT_FRAMES_MAX: usize = 4;

impl RendezvousServer {
    /// When something is due although no socket is ready.
    pub(super) fn timers(&self) -> impl Iterator<Item = Instant> + '_ {
        let connections = self.connections.iter().filter_map(|connection| connection.deadline());
        let join = self.is_joining().then_some(self.join_deadline);
        connections.chain(join).chain(self.gather_deadline()).chain(self.door.timer()).chain(self.telling.timer())
    }

    fn gather_deadline(&self) -> Option<Instant> {
        self.gather_since.map(|since| after(since, self.options.gather_timeout))
    }

    fn is_joining(&self) -> bool {
        !self.join_over && !self.seats.are_full()
    }

    /// Does what is due at `now`, and parts with the connections that have ended.
    pub(super) fn expire(&mut self, now: Instant) {
        if let Some(count) = self.telling.left_out(now) {
            self.events.push_back(ServerEvent::RefusedMore { count });
        }
        for index in 0..self.connections.len() {
            self.expire_connection(index, now);
        }
        if self.is_joining() && now >= self.join_deadline {
            self.join_over = true;
            let (missing, waited) = (self.seats.free(), self.options.join_timeout);
            self.events.push_back(ServerEvent::JoinTimedOut { missing: missing.clone() });
            let outcome = self.gather.fail(GatherFault::Absent { ranks: missing, waited });
            self.tell(outcome);
        }
        if !self.gather.is_open() || !self.seats.are_full() {
            self.gather_since = None;
        } else {
            self.gather_since.get_or_insert(now);
        }
        if self.gather_deadline().is_some_and(|deadline| now >= deadline) {
            let fault = GatherFault::Late { ranks: self.gather.missing(), waited: self.options.gather_timeout };
            let outcome = self.gather.fail(fault);
            self.tell(outcome);
        }
    }

    fn expire_connection(&mut self, index: usize, now: Instant) {
        let unsent_bytes_max = UNSENT_FRAMES_MAX * self.options.frame_bytes_max;
        let connection = &mut self.connections[index];
        let ended = connection.wire.ended().map(str::to_owned);
        match connection.phase {
            Phase::Greeting { deadline } => {
                let timeout_ms = self.options.handshake_timeout.as_millis() as u64;
                let reason = match ended {
                    Some(reason) => Refusal::Closed { reason },
                    None if now >= deadline => Refusal::Stalled { timeout_ms },
                    None => return,
                };
                self.refuse(index, reason);
            }
            Phase::Member(_) => {
                let unsent_bytes = connection.wire.link.unsent().len();
                if let Some(reason) = ended {
                    self.end(index, LeaveReason::Lost(reason));
                } else if unsent_bytes > unsent_bytes_max {
                    self.end(index, LeaveReason::Stalled { unsent_bytes });
                }
            }
            Phase::Closing { deadline } => {
                connection.wire.say_all();
                if ended.is_some() || now >= deadline {
                    connection.phase = Phase::Gone;
                }
            }
            Phase::Gone => {}
        }
    }
}
