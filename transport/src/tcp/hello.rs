//! What both ends of a new connection show each other; the meeting says when.

/// Names the protocol and its version.
pub(super) const MAGIC: [u8; 8] = *b"squltcp2";
pub(super) const TOKEN_BYTES: usize = 32;
pub(super) const HELLO_BYTES: usize = MAGIC.len() + 2 + TOKEN_BYTES;
pub(super) const PURPOSE: &str = "tcp data";
/// What a listener says in the place of its token to a member that it does without.
pub(super) const DECLINED: &str = "tcp data declined";
