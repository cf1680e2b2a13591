//! What announces a large message: it travels as a small message, so that one index stream covers both.

use crate::limits::Limits;
use crate::relay::Relay;
use crate::schedule::ScheduleKind;

/// Announces one transfer to all receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Length of the message in bytes, above 0.
    pub bytes: u64,
    /// Length of every block but the last, in bytes, above 0.
    pub block_bytes: u32,
    /// Who relays which block to whom.
    pub schedule: ScheduleKind,
    /// Which large message of its sender this is, counted from 0.
    pub transfer: u64,
}

/// Why bytes are no descriptor, or not one that this group accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// The record has another length.
    #[error("a descriptor has {expected} bytes; this one has {found}", expected = Descriptor::BYTES)]
    Length {
        /// Its length in bytes.
        found: usize,
    },
    /// Bytes that are always 0 are not.
    #[error("the spare bytes of a descriptor are not 0")]
    Spare,
    /// The schedule is none that there is.
    #[error("schedule number {code} of a descriptor; there are {known}", known = ScheduleKind::ALL.len())]
    Schedule {
        /// Its number.
        code: u8,
    },
    /// The message or its blocks are of length 0.
    #[error("a message of {bytes} bytes in blocks of {block_bytes} bytes: neither may be 0")]
    Empty {
        /// The message's length.
        bytes: u64,
        /// The blocks' length.
        block_bytes: u32,
    },
    /// The message is longer than the group agreed.
    #[error("a message of {bytes} bytes; the limit is {max}")]
    TooLong {
        /// The message's length.
        bytes: u64,
        /// [`Limits::message_bytes_max`].
        max: u64,
    },
    /// The message has more blocks than the group agreed.
    #[error("a message of {blocks} blocks; the limit is {max}, so use larger blocks")]
    TooManyBlocks {
        /// The number of blocks.
        blocks: u64,
        /// [`Limits::blocks_max`].
        max: u32,
    },
    /// It is not the sender's next one.
    #[error("transfer {found} was announced, but {expected} is the next of its sender")]
    OutOfOrder {
        /// The one that comes next.
        expected: u64,
        /// The one announced.
        found: u64,
    },
}

impl Descriptor {
    /// Length of its encoding.
    pub const BYTES: usize = 24;

    /// Number of blocks: 10 bytes in blocks of 4 are 3 blocks, of 4, 4 and 2 bytes.
    pub fn blocks(&self) -> u64 {
        self.bytes.div_ceil(u64::from(self.block_bytes))
    }

    /// How it is relayed.
    pub fn relay(&self) -> Relay {
        Relay { schedule: self.schedule, block_bytes: self.block_bytes }
    }

    /// Little-endian: bytes (8), transfer (8), block bytes (4), schedule (1), zero (3).
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut encoded = [0; Self::BYTES];
        encoded[..8].copy_from_slice(&self.bytes.to_le_bytes());
        encoded[8..16].copy_from_slice(&self.transfer.to_le_bytes());
        encoded[16..20].copy_from_slice(&self.block_bytes.to_le_bytes());
        encoded[20] = self.schedule.code();
        encoded
    }

    /// Reads what [`Descriptor::encode`] wrote; any bytes may be given.
    pub fn decode(encoded: &[u8]) -> Result<Descriptor, DescriptorError> {
        let encoded: &[u8; Self::BYTES] = encoded.try_into().map_err(|_| DescriptorError::Length { found: encoded.len() })?;
        let [b0, b1, b2, b3, b4, b5, b6, b7, t0, t1, t2, t3, t4, t5, t6, t7, s0, s1, s2, s3, code, spare @ ..] = *encoded;
        if spare != [0; 3] {
            return Err(DescriptorError::Spare);
        }
        let descriptor = Descriptor {
            bytes: u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]),
            block_bytes: u32::from_le_bytes([s0, s1, s2, s3]),
            transfer: u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            schedule: ScheduleKind::of_code(code).ok_or(DescriptorError::Schedule { code })?,
        };
        descriptor.check_filled()?;
        Ok(descriptor)
    }

    /// Whether it keeps the limits.
    pub fn check(&self, limits: &Limits) -> Result<(), DescriptorError> {
        self.check_filled()?;
        if self.bytes > limits.message_bytes_max {
            return Err(DescriptorError::TooLong { bytes: self.bytes, max: limits.message_bytes_max });
        }
        if self.blocks() > u64::from(limits.blocks_max) {
            return Err(DescriptorError::TooManyBlocks { blocks: self.blocks(), max: limits.blocks_max });
        }
        Ok(())
    }

    fn check_filled(&self) -> Result<(), DescriptorError> {
        if self.bytes == 0 || self.block_bytes == 0 {
            return Err(DescriptorError::Empty { bytes: self.bytes, block_bytes: self.block_bytes });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            bytes in 1u64..,
            block_bytes in 1u32..,
            transfer: u64,
            schedule in proptest::sample::select(&ScheduleKind::ALL[..]),
        ) {
            let descriptor = Descriptor { bytes, block_bytes, transfer, schedule };
            prop_assert_eq!(Descriptor::decode(&descriptor.encode()), Ok(descriptor));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(encoded in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(descriptor) = Descriptor::decode(&encoded) {
                prop_assert_eq!(&descriptor.encode()[..], &encoded[..]);
                let _ = descriptor.check(&Limits::DEFAULT);
            }
        }
    }

    #[test]
    fn a_schedule_that_there_is_not_is_refused() {
        let descriptor = Descriptor { bytes: 1, block_bytes: 1, transfer: 0, schedule: ScheduleKind::TwoTrees };
        let mut encoded = descriptor.encode();
        encoded[20] = ScheduleKind::ALL.len() as u8;
        assert_eq!(Descriptor::decode(&encoded), Err(DescriptorError::Schedule { code: 5 }));
        encoded[21] = 1;
        assert_eq!(Descriptor::decode(&encoded), Err(DescriptorError::Spare));
    }

    #[test]
    fn limits_are_kept() {
        let limits = Limits { blocks_max: 3, message_bytes_max: 100, ..Limits::DEFAULT };
        let check = |bytes, block_bytes| Descriptor { bytes, block_bytes, transfer: 0, schedule: ScheduleKind::Chain }.check(&limits);
        assert_eq!(check(100, 34), Ok(()));
        assert_eq!(check(101, 50), Err(DescriptorError::TooLong { bytes: 101, max: 100 }));
        assert_eq!(check(100, 33), Err(DescriptorError::TooManyBlocks { blocks: 4, max: 3 }));
        assert_eq!(check(0, 33), Err(DescriptorError::Empty { bytes: 0, block_bytes: 33 }));
    }
}
