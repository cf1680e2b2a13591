//! Upcalls on their way through a driver: which of the messages that were handed to it they tell of.

use std::collections::VecDeque;
use std::io::Read;

use squall_transport::Rank;

use super::ticket::{Promise, Receipt};
use crate::outgoing::Outgoing;
use crate::upcalls::{Delivery, StatePiece, Upcalls};
use crate::view::View;

/// Upcalls, and the promises of messages that are on their way.
#[derive(Debug)]
pub(crate) struct Watched<U> {
    pub(crate) upcalls: U,
    /// My rank in the view that is handed out.
    me: Option<Rank>,
    /// In the order of their indices. Messages that upcalls sent are not among them.
    sent: VecDeque<(u64, Promise)>,
    /// Of messages that the view that ends cut off, and of all those that are yet to be sent again: the oldest first,
    /// `None` for those that upcalls sent.
    cut: VecDeque<Option<Promise>>,
    again: VecDeque<Option<Promise>>,
}

impl<U> Watched<U> {
    pub(crate) fn new(upcalls: U, view: &View) -> Watched<U> {
        let me = view.is_mine().then_some(view.me);
        Watched { upcalls, me, sent: VecDeque::new(), cut: VecDeque::new(), again: VecDeque::new() }
    }

    /// A message has become the one of this index.
    pub(crate) fn sent(&mut self, index: u64, promise: Promise) {
        self.sent.push_back((index, promise));
    }

    /// The promise of my message of this index, if one was made.
    fn take(&mut self, index: u64) -> Option<Promise> {
        self.sent.front().filter(|(sent, _)| *sent == index)?;
        self.sent.pop_front().map(|(_, promise)| promise)
    }
}

impl<U: Upcalls> Upcalls for Watched<U> {
    #[inline]
    fn is_ready(&mut self) -> bool {
        self.upcalls.is_ready()
    }

    fn deliver(&mut self, delivery: Delivery<'_>, outgoing: &mut Outgoing) {
        self.upcalls.deliver(delivery, outgoing);
        if Some(delivery.sender) == self.me
            && let Some(promise) = self.take(delivery.index)
        {
            promise.tell(Ok(Receipt { seq: delivery.seq, index: delivery.index }));
        }
    }

    fn view_ended(&mut self, next: Option<&View>) {
        // What this view cut off comes before what the last one did and this one did not get to.
        self.cut.append(&mut self.again);
        self.again = std::mem::take(&mut self.cut);
        // Nothing else of this view is delivered any more.
        self.sent.clear();
        self.upcalls.view_ended(next);
    }

    fn view_installed(&mut self, view: &View) {
        self.me = view.is_mine().then_some(view.me);
        self.upcalls.view_installed(view);
    }

    fn snapshot(&mut self) -> Box<dyn Read + Send> {
        self.upcalls.snapshot()
    }

    fn restore(&mut self, piece: StatePiece<'_>) {
        self.upcalls.restore(piece);
    }

    fn cut(&mut self, index: u64) {
        let promise = self.take(index);
        self.cut.push_back(promise);
        self.upcalls.cut(index);
    }

    fn sent_again(&mut self, index: u64) {
        if let Some(Some(promise)) = self.again.pop_front() {
            self.sent.push_back((index, promise));
        }
        self.upcalls.sent_again(index);
    }
}

#[cfg(test)]
mod tests {
    use super::super::ticket::{Undelivered, ticket};
    use super::*;
    use crate::config::Config;

    struct Nothing;

    impl Upcalls for Nothing {
        fn deliver(&mut self, _delivery: Delivery<'_>, _outgoing: &mut Outgoing) {}
    }

    #[test]
    fn tickets_follow_their_messages_over_views_that_cut_them_off() {
        let mut outgoing = Outgoing::outside(&Config::new(vec![Rank(0)]), true).unwrap();
        let view = View::first(Rank(1), 2, &[Rank(0), Rank(1)], &[0; 32]);
        let mut watched = Watched::new(Nothing, &view);
        let mut deliver = |watched: &mut Watched<Nothing>, sender, index| {
            watched.deliver(Delivery { seq: 100 + index, sender: Rank(sender), index, payload: &[] }, &mut outgoing);
        };
        let (tickets, promises): (Vec<_>, Vec<_>) = (0..4).map(|_| ticket()).unzip();
        // Index 1 is an upcall's own message, or a null.
        promises.into_iter().zip([0, 2, 3, 4]).for_each(|(promise, index)| watched.sent(index, promise));
        deliver(&mut watched, 0, 0);
        assert_eq!(tickets[0].result(), None, "another member's message of that index");
        deliver(&mut watched, 1, 0);
        [1, 2, 3, 4].into_iter().for_each(|index| watched.cut(index));
        watched.view_ended(Some(&view));
        watched.view_installed(&View { id: 1, me: Rank(0), ..view.clone() });
        // Two of the four go out, and one of these is cut off once more.
        watched.sent_again(0);
        watched.sent_again(1);
        watched.cut(1);
        watched.view_ended(Some(&view));
        watched.view_installed(&View { id: 2, me: Rank(0), ..view });
        [0, 1, 5].into_iter().for_each(|index| watched.sent_again(index));
        [0, 1, 5].into_iter().for_each(|index| deliver(&mut watched, 0, index));
        let told: Vec<_> = tickets.iter().map(|ticket| ticket.result().map(|told| told.map(|receipt| receipt.index))).collect();
        assert_eq!(told, [Some(Ok(0)), Some(Ok(0)), Some(Ok(1)), Some(Ok(5))]);
    }

    #[test]
    fn what_a_view_neither_delivered_nor_cut_off_is_not_known() {
        let view = View::first(Rank(0), 1, &[Rank(0)], &[0; 32]);
        let (mut watched, (ticket, promise)) = (Watched::new(Nothing, &view), ticket());
        watched.sent(0, promise);
        watched.view_ended(None);
        assert_eq!(ticket.result(), Some(Err(Undelivered::Unknown)));
    }
}
