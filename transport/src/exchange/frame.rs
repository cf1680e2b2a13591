//! Frames of the control plane: a length, a version byte, a small header and raw bytes behind it.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The version of the control plane's frames and headers. Peers of different versions refuse each other.
pub const PROTOCOL_VERSION: u8 = 2;

/// The length field, which counts what follows it.
const LENGTH_BYTES: usize = 4;

/// What headers and lengths may add to the payload of one frame.
pub(crate) const HEADER_BYTES_MAX: usize = 256;

/// Why bytes are not frames of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {bytes} bytes, more than the {bytes_max} that are allowed here")]
    Oversize { bytes: usize, bytes_max: usize },
    #[error("an empty frame")]
    Empty,
    #[error("a frame of protocol version {theirs}, where this side speaks {ours}")]
    Version { theirs: u8, ours: u8 },
    #[error("a frame whose header does not decode")]
    Header,
}

/// The bytes of one frame: `header` as postcard, then the payload's pieces one after the other.
pub(crate) fn encode(version: u8, header: &impl Serialize, payload: &[&[u8]]) -> Vec<u8> {
    let payload_bytes: usize = payload.iter().map(|piece| piece.len()).sum();
    let mut frame = Vec::with_capacity(LENGTH_BYTES + 1 + HEADER_BYTES_MAX + payload_bytes);
    frame.extend_from_slice(&[0; LENGTH_BYTES]);
    frame.push(version);
    frame = postcard::to_extend(header, frame).expect("headers are plain data");
    for piece in payload {
        frame.extend_from_slice(piece);
    }
    let length = u32::try_from(frame.len() - LENGTH_BYTES).expect("senders check the length");
    frame[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    frame
}

/// Cuts a stream of bytes into frames.
///
/// A length that is too large is an error as soon as it is seen, before room is made for the frame.
#[derive(Debug)]
pub(crate) struct FrameDecoder {
    version: u8,
    frame_bytes_max: usize,
    bytes: Vec<u8>,
    /// What lies before this in `bytes` has been taken.
    start: usize,
}

impl FrameDecoder {
    pub(crate) fn new(version: u8, frame_bytes_max: usize) -> Self {
        Self { version, frame_bytes_max, bytes: Vec::new(), start: 0 }
    }

    /// Frames up to this length are taken from now on.
    pub(crate) fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max;
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole frame's header and payload; `None` if more bytes are needed.
    ///
    /// After an error the stream is of no more use.
    pub(crate) fn next<H: DeserializeOwned>(&mut self) -> Result<Option<(H, Vec<u8>)>, FrameError> {
        let bytes = &self.bytes[self.start..];
        let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > self.frame_bytes_max {
            return Err(FrameError::Oversize { bytes: length, bytes_max: self.frame_bytes_max });
        }
        let Some(frame) = rest.get(..length) else {
            return Ok(None);
        };
        let (&theirs, body) = frame.split_first().ok_or(FrameError::Empty)?;
        if theirs != self.version {
            return Err(FrameError::Version { theirs, ours: self.version });
        }
        let (header, payload) = postcard::take_from_bytes(body).map_err(|_| FrameError::Header)?;
        let taken = (header, payload.to_vec());
        self.start += LENGTH_BYTES + length;
        Ok(Some(taken))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Header = (u16, String);

    proptest! {
        #[test]
        fn frames_survive_any_cutting(
            frames in prop::collection::vec((any::<Header>(), prop::collection::vec(any::<u8>(), 0..300)), 0..8),
            cut in 1usize..40,
        ) {
            let stream: Vec<u8> = frames.iter().flat_map(|(header, payload)| encode(1, header, &[payload])).collect();
            let mut decoder = FrameDecoder::new(1, 1 << 16);
            let mut decoded = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.push(piece);
                while let Some(frame) = decoder.next::<Header>().expect("our own frames") {
                    decoded.push(frame);
                }
            }
            prop_assert_eq!(decoded, frames);
        }

        #[test]
        fn any_bytes_end_in_frames_an_error_or_a_wait(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..16),
            small_lengths in any::<bool>(),
        ) {
            let mut decoder = FrameDecoder::new(1, 100);
            for mut piece in pieces {
                if small_lengths && piece.len() >= 5 {
                    piece[..5].copy_from_slice(&[7, 0, 0, 0, 1]);
                }
                decoder.push(&piece);
                let end = loop {
                    match decoder.next::<Header>() {
                        Ok(Some((_, payload))) => prop_assert!(payload.len() < 100),
                        other => break other,
                    }
                };
                if end.is_err() {
                    break;
                }
            }
        }
    }

    #[test]
    fn oversize_is_refused_at_its_length_alone() {
        let mut decoder = FrameDecoder::new(1, 100);
        decoder.push(&101u32.to_le_bytes());
        assert_eq!(decoder.next::<Header>(), Err(FrameError::Oversize { bytes: 101, bytes_max: 100 }));
    }

    #[test]
    fn another_version_is_told_apart_before_its_header_is_read() {
        let mut decoder = FrameDecoder::new(1, 100);
        decoder.push(&encode(2, &(), &[b"anything"]));
        assert_eq!(decoder.next::<Header>(), Err(FrameError::Version { theirs: 2, ours: 1 }));
    }
}
