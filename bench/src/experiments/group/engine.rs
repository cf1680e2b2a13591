//! What a node under load turns: a member of a group, or another program that orders messages.

use std::time::Instant;

use anyhow::{anyhow, bail};
use squall_group::{Group, Pace, ReadPoint, Relay, Stats, Timeline};
use squall_transport::Endpoint;

use super::receiver::Receiver;

/// What sends a node's messages and delivers everybody's.
pub(in crate::experiments) trait Engine {
    /// Sends the next message, which `fill` writes; `false` if there is no room for it.
    fn send(&mut self, bytes: u64, fill: impl FnOnce(&mut [u8])) -> anyhow::Result<bool>;

    /// One turn of its loop; whether anything happened. Never waits.
    fn step(&mut self, receiver: &mut Receiver) -> anyhow::Result<bool>;

    /// One turn, and if nothing happened, a wait as `pace` says, but not beyond `until`; whether anything happened.
    fn turn(&mut self, receiver: &mut Receiver, pace: &mut Pace, until: Option<Instant>) -> anyhow::Result<bool>;

    /// Shows the others how far this node is.
    fn raise_mark(&mut self, mark: u64);

    /// How far all are.
    fn mark_of_all(&self) -> u64;

    /// What it counted.
    fn stats(&self) -> Stats;

    /// Leaves together with all others.
    fn close(self, receiver: &mut Receiver, pace: &mut Pace) -> anyhow::Result<()>;

    /// From where on this node holds what anybody was delivered, once it [has reached](Engine::has_reached) it.
    fn read_point(&mut self) -> anyhow::Result<ReadPoint> {
        bail!("there are no reads but in groups")
    }

    /// Whether it has.
    fn has_reached(&self, _point: ReadPoint) -> bool {
        false
    }

    /// Records from here on what happens to blocks, or no more; what was recorded.
    fn record(&mut self, _timeline: Option<Timeline>) -> Option<Timeline> {
        None
    }

    /// What is recorded.
    fn timeline_mut(&mut self) -> Option<&mut Timeline> {
        None
    }

    /// How this node's last large message was relayed.
    fn last_relay(&self) -> Option<Relay> {
        None
    }
}

impl<E: Endpoint> Engine for Group<E> {
    #[inline(always)]
    fn send(&mut self, bytes: u64, fill: impl FnOnce(&mut [u8])) -> anyhow::Result<bool> {
        match self.reserve(bytes) {
            Ok(mut slot) => {
                fill(slot.bytes_mut());
                slot.commit();
                Ok(true)
            }
            Err(full) if full.is_full() => Ok(false),
            Err(error) => Err(anyhow!(error)),
        }
    }

    #[inline]
    fn step(&mut self, receiver: &mut Receiver) -> anyhow::Result<bool> {
        Ok(Group::step(self, receiver)?.is_busy())
    }

    #[inline]
    fn turn(&mut self, receiver: &mut Receiver, pace: &mut Pace, until: Option<Instant>) -> anyhow::Result<bool> {
        Ok(self.turn_until(receiver, pace, until)?.is_busy())
    }

    fn raise_mark(&mut self, mark: u64) {
        Group::raise_mark(self, mark);
    }

    fn mark_of_all(&self) -> u64 {
        Group::mark_of_all(self)
    }

    fn stats(&self) -> Stats {
        Group::stats(self)
    }

    fn close(self, receiver: &mut Receiver, pace: &mut Pace) -> anyhow::Result<()> {
        Ok(Group::close(self, receiver, pace)?)
    }

    fn read_point(&mut self) -> anyhow::Result<ReadPoint> {
        Ok(Group::read_point(self)?)
    }

    fn has_reached(&self, point: ReadPoint) -> bool {
        Group::has_reached(self, point)
    }

    fn record(&mut self, timeline: Option<Timeline>) -> Option<Timeline> {
        Group::record(self, timeline)
    }

    fn timeline_mut(&mut self) -> Option<&mut Timeline> {
        Group::timeline_mut(self)
    }

    fn last_relay(&self) -> Option<Relay> {
        Group::last_relay(self)
    }
}
