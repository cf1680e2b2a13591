//! How much the device was given to do.

use std::ops::Add;

/// What an endpoint has posted to its device since it was opened: requests and doorbells, not bytes.
///
/// Requests of RDMA a message are `writes + control` over the messages sent; how well they are batched is
/// `writes + control` over `doorbells`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests for Words and Spans. A Span longer than the device moves at once counts once a piece.
    pub writes: u64,
    /// Requests of the provider's own: invitations to wake, wake-ups that ride on no write, probes, farewells, and what
    /// was counted off.
    pub control: u64,
    /// Calls that handed requests to the device, each for one peer and any number of requests.
    pub doorbells: u64,
    /// Requests whose end raises a completion here.
    pub signalled: u64,
}

impl Add for Counters {
    type Output = Counters;

    fn add(self, other: Counters) -> Counters {
        Counters {
            writes: self.writes + other.writes,
            control: self.control + other.control,
            doorbells: self.doorbells + other.doorbells,
            signalled: self.signalled + other.signalled,
        }
    }
}
