//! Names of requests.

use crate::rank::Rank;

/// Names a request in its completion: which peer, which way, and its number.
///
/// ```text
///   63        62..48   47..0
///   receive?  peer     sequence number
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestId {
    pub(super) peer: Rank,
    pub(super) receive: bool,
    pub(super) sequence: u64,
}

impl RequestId {
    pub(super) fn encode(self) -> u64 {
        debug_assert!(self.sequence < 1 << 48);
        u64::from(self.receive) << 63 | u64::from(self.peer.0) << 48 | self.sequence
    }

    pub(super) fn decode(id: u64) -> RequestId {
        RequestId { peer: Rank((id >> 48) as u16 & 0x7FFF), receive: id >> 63 == 1, sequence: id & ((1 << 48) - 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::limits::MEMBERS_MAX;

    #[test]
    fn requests_are_known_by_their_names() {
        for peer in [0, 1, MEMBERS_MAX - 1].map(Rank::new) {
            for (receive, sequence) in [(false, 0), (true, 0), (false, (1 << 48) - 1)] {
                let id = RequestId { peer, receive, sequence };
                assert_eq!(RequestId::decode(id.encode()), id);
            }
        }
    }
}
