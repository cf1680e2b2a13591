//! What a member wrote and no member writes.

use squall_transport::Rank;

/// A member wrote what breaks its column's invariant. One-sided writes cannot be refused, so a word is checked where it
/// is read.
///
/// Only the owner of a row or a ring writes it, so the owner is to blame. A member that writes into another's place
/// makes that other one look guilty: no fabric tells who wrote a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("member {member} wrote an invalid `{column}`, {value:#x}: it runs another version, or its memory is broken")]
pub struct Malformed {
    /// Whose row or ring.
    pub member: Rank,
    /// Which column.
    pub column: &'static str,
    /// What was found there.
    pub value: u64,
}
