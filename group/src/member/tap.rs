//! Between the group and the application.

use std::io::Read;

use super::feed::Log;
use crate::outgoing::Outgoing;
use crate::upcalls::{Delivery, StatePiece, Upcalls};
use crate::view::View;

/// Hands upcalls through: what is delivered is noted for those who follow, and what a snapshot holds already is
/// delivered no more.
pub(crate) struct Tap<'a, U> {
    pub(crate) upcalls: &'a mut U,
    pub(crate) log: Option<&'a mut Log>,
    /// By rank: so many messages of the view that is handed out first are in the state already.
    pub(crate) taken: &'a mut Vec<u64>,
}

impl<U: Upcalls> Upcalls for Tap<'_, U> {
    #[inline]
    fn is_ready(&mut self) -> bool {
        self.upcalls.is_ready()
    }

    fn deliver(&mut self, delivery: Delivery<'_>, outgoing: &mut Outgoing) {
        if self.taken.get(delivery.sender.index()).is_some_and(|&taken| delivery.index < taken) {
            return;
        }
        self.upcalls.deliver(delivery, outgoing);
        if let Some(log) = &mut self.log {
            log.deliver(&delivery);
        }
    }

    fn view_ended(&mut self, next: Option<&View>) {
        self.taken.clear();
        self.upcalls.view_ended(next);
    }

    fn view_installed(&mut self, view: &View) {
        self.upcalls.view_installed(view);
    }

    fn snapshot(&mut self) -> Box<dyn Read + Send> {
        self.upcalls.snapshot()
    }

    fn restore(&mut self, piece: StatePiece<'_>) {
        self.upcalls.restore(piece);
    }

    fn cut(&mut self, index: u64) {
        self.upcalls.cut(index);
    }

    fn sent_again(&mut self, index: u64) {
        self.upcalls.sent_again(index);
    }
}
