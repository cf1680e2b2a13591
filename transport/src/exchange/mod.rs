//! Start-up: how the members of one epoch meet, prove who they are, and swap small facts.
//!
//! An [`Exchange`] gives each member its rank, a secret that exactly the members share, and one
//! verb, [`all_gather`](Exchange::all_gather). Fabrics open over it: they gather addresses and
//! keys, and prove their data connections with a [`connection_token`].

mod error;
mod gather;
mod local;
mod token;

pub use error::{Camp, ExchangeError, GatherFault};
pub use local::LocalExchange;
pub use token::{connection_token, same_token};

use crate::rank::Rank;

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

    /// Every member gives its bytes under the same name `what`; each gets all of them, by rank.
    /// With empty bytes it is a barrier.
    ///
    /// # Errors
    /// Fails, rather than waits, once a member that has not given has left; an exchange that
    /// failed once keeps failing.
    fn all_gather(&mut self, what: &str, mine: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError>;
}

/// Makes sure that all members have the same `bytes` for `what`: a protocol version, the hash of
/// a table layout.
///
/// # Errors
/// [`ExchangeError::Differs`] names what differs and who said what, at every member; or the
/// gather itself fails.
pub fn agree(exchange: &mut impl Exchange, what: &str, bytes: &[u8]) -> Result<(), ExchangeError> {
    let parts = exchange.all_gather(what, bytes)?;
    let mut camps: Vec<(&[u8], Vec<Rank>)> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        match camps.iter_mut().find(|(bytes, _)| *bytes == part) {
            Some((_, ranks)) => ranks.push(Rank::new(index)),
            None => camps.push((part, vec![Rank::new(index)])),
        }
    }
    if camps.len() <= 1 {
        return Ok(());
    }
    let camps = camps.into_iter().map(|(bytes, ranks)| Camp { ranks, value: shown(bytes) });
    Err(ExchangeError::Differs { what: what.to_owned(), camps: camps.collect() })
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
