//! Start-up: how the members of one epoch meet, prove who they are, and swap small facts.
//!
//! An [`Exchange`] gives each member its rank, a secret that exactly the members share, and one
//! verb, [`all_gather`](Exchange::all_gather). Fabrics open over it: they gather addresses and
//! keys, and prove their data connections with a [`connection_token`].
//!
//! ```text
//!   owner                                        member (any number)
//!   RendezvousServer::bind                       Session::connect
//!        |   <- Noise, both prove the cluster key ->   |
//!        |   <- hello: protocol version, node, rank    |
//!        |   welcome: rank, members, token, or why not -> |
//!        |   <- part of a gather / all parts ->        |   Exchange::all_gather
//!        |   <- messages ->                            |   send, recv
//!        |   <- bye / farewell ->                      |   finish
//! ```
//!
//! Strangers keep nobody out: a process that proves that it holds the key is heard before those that do not,
//! connections that prove nothing give way to new ones, the greatest crowd first, and a member that was pushed out all
//! the same tries again as long as it has patience. Members of one host may meet at a [name](Place::Local), which needs
//! no address.
//!
//! [`LocalExchange`] is the same among threads of one process. What is said here is encrypted; the data path is not.

pub(crate) mod call;
mod connection;
pub(crate) mod crowd;
pub(crate) mod door;
mod error;
mod event;
pub(crate) mod frame;
pub(crate) mod gather;
mod key;
pub(crate) mod link;
mod local;
mod message;
mod named;
mod options;
mod patient;
pub(crate) mod place;
mod refusal;
mod seats;
mod server;
mod session;
pub(crate) mod stream;
mod telling;
#[cfg(test)]
mod tests;
pub(crate) mod token;
pub(crate) mod wire;

pub use call::{ConnectError, ConnectOptions};
pub use error::{Camp, ExchangeError, GatherFault, SendError};
pub use event::{LeaveReason, ServerEvent};
pub use frame::PROTOCOL_VERSION;
pub use key::{ClusterKey, KeyError};
pub use local::LocalExchange;
pub use named::Named;
pub use options::{BindError, FRAME_BYTES_MAX, MEMBERS_MAX, ServerOptions};
pub use place::{Place, PlaceError};
pub use refusal::Refusal;
pub use server::RendezvousServer;
pub use session::Session;
pub use token::{connection_token, derived_token, random_node, same_token};

use std::time::Duration;

use crate::rank::{NodeId, Rank};

/// How the members of one epoch swap small facts before (and beside) the data path.
///
/// All members make the same calls in the same order.
pub trait Exchange {
    /// This member's row in the epoch.
    fn rank(&self) -> Rank;

    /// How many members the epoch has; ranks are `0..members`.
    fn members(&self) -> usize;

    /// A secret that exactly the members of this epoch share; data connections prove themselves
    /// with tokens derived from it ([`connection_token`]).
    fn token(&self) -> &[u8; 32];

    /// Every member gives its bytes under the same short name `what` (up to 128 bytes); each gets all of them, by rank.
    /// With empty bytes it is a barrier.
    ///
    /// # Errors
    /// Fails, rather than waits, once a member that has not given has left; an exchange that
    /// failed once keeps failing.
    fn all_gather(&mut self, what: &str, mine: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError>;

    /// How long a member waits for another before it goes on without it; `None`: a member that does not come is an
    /// error at all others.
    ///
    /// Where there is patience, a gather takes the part of a member that is gone or late for empty, and fabrics open
    /// without it: see [`is_absent`](Exchange::is_absent).
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// Whether this member does without the one of this rank: in every gather from now on its part is empty. Never
    /// taken back. Members need not agree on who is absent.
    fn is_absent(&self, rank: Rank) -> bool {
        let _ = rank;
        false
    }

    /// Does without the member of this rank from now on, because no link to it can be had. Only where there is
    /// [`patience`](Exchange::patience).
    fn give_up(&mut self, rank: Rank) {
        let _ = rank;
    }

    /// The node id of the member of this rank, if it is known: what is kept from epoch to epoch is kept under it.
    fn node(&self, rank: Rank) -> Option<NodeId> {
        let _ = rank;
        None
    }
}

/// Makes sure that all members have the same `bytes` for `what`: a protocol version, the hash of
/// a table layout.
///
/// # Errors
/// [`ExchangeError::Differs`] names what differs and who said what, at every member; or the
/// gather itself fails.
pub fn agree(exchange: &mut (impl Exchange + ?Sized), what: &str, bytes: &[u8]) -> Result<(), ExchangeError> {
    let parts = exchange.all_gather(what, bytes)?;
    compare(exchange, what, &parts)
}

/// As [`agree`], of parts that were gathered already.
///
/// # Errors
/// [`ExchangeError::Differs`].
pub fn compare(exchange: &(impl Exchange + ?Sized), what: &str, parts: &[Vec<u8>]) -> Result<(), ExchangeError> {
    let mut camps: Vec<(&[u8], Vec<Rank>)> = Vec::new();
    let is_given = |(index, part): &(usize, &Vec<u8>)| !part.is_empty() || !exchange.is_absent(Rank::new(*index));
    for (index, part) in parts.iter().enumerate().filter(is_given) {
        match camps.iter_mut().find(|(bytes, _)| *bytes == part) {
            Some((_, ranks)) => ranks.push(Rank::new(index)),
            None => camps.push((part, vec![Rank::new(index)])),
        }
    }
    if camps.len() <= 1 {
        return Ok(());
    }
    let values = differing(&camps.iter().map(|(bytes, _)| *bytes).collect::<Vec<_>>());
    let camps = camps.into_iter().zip(values).map(|((_, ranks), value)| Camp { ranks, value });
    Err(ExchangeError::Differs { what: what.to_owned(), camps: camps.collect() })
}

/// What is not the same in several values, for people: of texts of the form `field: value; field: value` the fields
/// that differ, of anything else the beginning.
pub fn differing(values: &[&[u8]]) -> Vec<String> {
    let texts: Option<Vec<&str>> = values.iter().map(|value| std::str::from_utf8(value).ok().filter(|text| text.contains(": "))).collect();
    let Some(texts) = texts else { return values.iter().map(|value| shown(value)).collect() };
    let fields: Vec<Vec<&str>> = texts.iter().map(|text| text.split("; ").collect()).collect();
    let differs = |at: usize| fields.iter().any(|own| own.get(at) != fields[0].get(at));
    let of = |own: &Vec<&str>| {
        own.iter().enumerate().filter(|(at, _)| differs(*at)).map(|(_, field)| clipped(field)).collect::<Vec<_>>().join("; ")
    };
    fields.iter().map(of).collect()
}

fn clipped(field: &str) -> String {
    const LETTERS_MAX: usize = 120;
    let mut text: String = field.chars().take(LETTERS_MAX).collect();
    if text.len() < field.len() {
        text.push_str("...");
    }
    text
}

/// Bytes for people: the first of them in hex.
fn shown(bytes: &[u8]) -> String {
    const SHOWN_MAX: usize = 8;
    if bytes.is_empty() {
        return "nothing".to_owned();
    }
    let hex: String = bytes.iter().take(SHOWN_MAX).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > SHOWN_MAX { format!("{hex}... ({} bytes)", bytes.len()) } else { hex }
}
