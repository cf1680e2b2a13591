//! Messages on the pipes between the parent and its nodes: a length, then postcard.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest frame. Latencies of a trial are the largest thing in one.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// Writes `value` as one frame and flushes.
///
/// # Errors
/// What the pipe says, or a value above [`FRAME_BYTES_MAX`].
pub fn write(pipe: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let bytes = postcard::to_stdvec(value).map_err(io::Error::other)?;
    if bytes.len() > FRAME_BYTES_MAX {
        return Err(io::Error::other(format!("a frame of {} bytes is above the limit of {FRAME_BYTES_MAX}", bytes.len())));
    }
    let mut frame = Vec::with_capacity(4 + bytes.len());
    frame.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    frame.extend_from_slice(&bytes);
    pipe.write_all(&frame)?;
    pipe.flush()
}

/// Reads the bytes of one frame; `None` at the end of the pipe.
///
/// # Errors
/// What the pipe says, an end in the middle of a frame, or a frame above [`FRAME_BYTES_MAX`].
pub fn read_bytes(pipe: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match pipe.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other(format!("a frame of {length} bytes is above the limit of {FRAME_BYTES_MAX}")));
    }
    let mut bytes = vec![0; length];
    pipe.read_exact(&mut bytes)?;
    Ok(Some(bytes))
}

/// What a frame holds.
///
/// # Errors
/// If it holds something else.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    postcard::from_bytes(bytes).map_err(|error| io::Error::other(format!("a frame of {} bytes does not decode: {error}", bytes.len())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn frames_come_back_and_the_end_is_told_apart_from_a_cut() {
        let mut pipe = Vec::new();
        write(&mut pipe, &("a", 7u64)).unwrap();
        let mut whole = pipe.as_slice();
        let bytes = read_bytes(&mut whole).unwrap().unwrap();
        assert_eq!(decode::<(String, u64)>(&bytes).unwrap(), ("a".into(), 7));
        assert!(read_bytes(&mut whole).unwrap().is_none());
        assert!(read_bytes(&mut &pipe[..pipe.len() - 1]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_a_frame_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some(frame)) = read_bytes(&mut bytes.as_slice()) {
                let _ = decode::<(String, Vec<u64>)>(&frame);
            }
        }
    }
}
