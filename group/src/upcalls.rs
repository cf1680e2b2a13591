//! What a group tells its application.

use std::io::Read;

use squall_transport::Rank;

use crate::outgoing::Outgoing;
use crate::view::View;

/// One message, handed to the application.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// Its position in the group's total order; in unordered mode, in this member's own deliveries.
    pub seq: u64,
    /// Who sent it.
    pub sender: Rank,
    /// Its index among its sender's messages and nulls.
    pub index: u64,
    /// Its bytes, in memory that peers wrote; valid during the upcall.
    pub payload: &'a [u8],
}

/// What the application is told.
pub trait Upcalls {
    /// The next message. Sending by `outgoing` from within is fine; what is full then stays full until the upcall has
    /// returned.
    fn deliver(&mut self, delivery: Delivery<'_>, outgoing: &mut Outgoing);

    /// Whether messages may be delivered in this turn. Until they may, this member delivers nothing and keeps its
    /// place; once senders' windows are full the whole group waits for it. Not heeded at the end of a view, before
    /// which all of it is delivered.
    #[inline]
    fn is_ready(&mut self) -> bool {
        true
    }

    /// The view that was is over: all that will ever be delivered in it was delivered. `next` follows once it is
    /// installed; `None`: this member has left.
    fn view_ended(&mut self, next: Option<&View>) {
        let _ = next;
    }

    /// This member is in `view`, with the state that belongs to its beginning: the next delivery is one of this view.
    /// Told by [`Member`](crate::Member) alone. A newcomer that follows the group from outside is told of the views
    /// whose deliveries it is given: its rank [`me`](View::me) is then no member's.
    fn view_installed(&mut self, view: &View) {
        let _ = view;
    }

    /// The application's state after the last delivery, for a newcomer. It is read in pieces while deliveries go on,
    /// and must not change by them. An application without state gives nothing.
    fn snapshot(&mut self) -> Box<dyn Read + Send> {
        Box::new(std::io::empty())
    }

    /// A piece of the state that this newcomer starts from.
    fn restore(&mut self, piece: StatePiece<'_>) {
        let _ = piece;
    }

    /// My message `index` of the view that is about to end is delivered nowhere. Messages that are cut off are sent
    /// again in the next view, before all others and in their order: see [`Upcalls::sent_again`].
    fn cut(&mut self, index: u64) {
        let _ = index;
    }

    /// The oldest message that was cut off and not sent again has now been sent as `index` of this view.
    fn sent_again(&mut self, index: u64) {
        let _ = index;
    }
}

/// What a newcomer is given of the application's state: a beginning, bytes in their order, an end. If the member that
/// gives it is lost there is another beginning, and what was given before counts no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatePiece<'a> {
    /// Forget all state: it comes from the start.
    Begin,
    /// The next bytes of what [`Upcalls::snapshot`] gave elsewhere.
    Bytes(&'a [u8]),
    /// That was all: deliveries follow.
    End,
}
