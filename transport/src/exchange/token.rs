//! Keyed hashes: what a data connection shows before a byte of it is written anywhere.

use std::hint::black_box;

use snow::params::HashChoice;
use snow::resolvers::{CryptoResolver, DefaultResolver};

use crate::rank::{NodeId, Rank};

/// What the dialling side of a data connection shows first: HMAC-SHA-256 under the epoch's token
/// of who dials, whom, and for what. One direction's proof is useless in the other direction, for
/// another peer, another purpose or another epoch.
pub fn connection_token(token: &[u8; 32], from: Rank, to: Rank, purpose: &str) -> [u8; 32] {
    let mut said = Vec::with_capacity(64);
    said.extend_from_slice(b"squall connection");
    said.extend_from_slice(&from.0.to_le_bytes());
    said.extend_from_slice(&to.0.to_le_bytes());
    said.extend_from_slice(purpose.as_bytes());
    keyed_hash(token, &said)
}

/// A secret of those who hold `token`, and know `said`: HMAC-SHA-256.
pub fn derived_token(token: &[u8; 32], said: &[u8]) -> [u8; 32] {
    keyed_hash(token, &[b"squall derived ", said].concat())
}

/// Whether two tokens are equal, in a time that does not tell where they differ.
pub fn same_token(left: &[u8; 32], right: &[u8; 32]) -> bool {
    let differing = left.iter().zip(right).fold(0u8, |bits, (a, b)| black_box(bits | (a ^ b)));
    black_box(differing) == 0
}

/// HMAC-SHA-256 (RFC 2104) of `data` under a 32-byte key.
pub(crate) fn keyed_hash(key: &[u8; 32], data: &[u8]) -> [u8; 32] {
    let mut hash = DefaultResolver.resolve_hash(&HashChoice::SHA256).expect("snow is built with SHA-256");
    let mut out = [0; 32];
    hash.hmac(key, data, &mut out);
    out
}

/// 32 bytes from the operating system's random source.
///
/// # Panics
/// If the operating system has no random source: nothing can be authenticated then.
/// A name for this incarnation of this process, which no other has.
pub fn random_node() -> NodeId {
    let [a, b, c, d, e, f, g, h, ..] = random_bytes();
    NodeId(u64::from_le_bytes([a, b, c, d, e, f, g, h]))
}

pub(crate) fn random_bytes() -> [u8; 32] {
    let mut source = DefaultResolver.resolve_rng().expect("snow is built with a random source");
    let mut out = [0; 32];
    source.try_fill_bytes(&mut out).expect("the operating system gives random bytes");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyed_hash_is_hmac_sha256() {
        // RFC 4231 test case 2, its key padded with the zeros that HMAC itself would add.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let hash = keyed_hash(&key, b"what do ya want for nothing?");
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn connection_token_depends_on_every_input() {
        let base = connection_token(&[7; 32], Rank(1), Rank(2), "tcp data");
        let others = [
            connection_token(&[8; 32], Rank(1), Rank(2), "tcp data"),
            connection_token(&[7; 32], Rank(2), Rank(1), "tcp data"),
            connection_token(&[7; 32], Rank(1), Rank(3), "tcp data"),
            connection_token(&[7; 32], Rank(1), Rank(2), "tcp"),
        ];
        assert!(same_token(&base, &connection_token(&[7; 32], Rank(1), Rank(2), "tcp data")));
        for other in others {
            assert!(!same_token(&base, &other));
        }
    }

    #[test]
    fn same_token_sees_every_single_bit() {
        for bit in 0..256 {
            let mut other = [0x5a; 32];
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!same_token(&[0x5a; 32], &other));
        }
    }

    #[test]
    fn random_bytes_are_not_constant() {
        assert_ne!(random_bytes(), random_bytes());
    }
}
