//! What is handed to a driver to be sent.

use std::fmt;
use std::sync::Arc;

/// A message on its way to a driver's thread: bytes of any owner, or a promise to write them.
pub struct Payload {
    bytes: u64,
    source: Source,
}

type Fill = Box<dyn FnOnce(&mut [u8]) + Send>;

enum Source {
    Owned(Vec<u8>),
    Shared(Arc<[u8]>),
    Fixed(&'static [u8]),
    Fill(Fill),
}

impl Payload {
    /// A message of `bytes` bytes that `fill` writes, on the driver's thread, straight into the memory that peers are
    /// sent from: no copy. That memory holds whatever was there before.
    pub fn filled_by(bytes: u64, fill: impl FnOnce(&mut [u8]) + Send + 'static) -> Payload {
        Payload { bytes, source: Source::Fill(Box::new(fill)) }
    }

    /// Its length in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes it into memory of its length.
    pub(crate) fn write(self, memory: &mut [u8]) {
        match self.source {
            Source::Owned(bytes) => memory.copy_from_slice(&bytes),
            Source::Shared(bytes) => memory.copy_from_slice(&bytes),
            Source::Fixed(bytes) => memory.copy_from_slice(bytes),
            Source::Fill(fill) => fill(memory),
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload of {} bytes", self.bytes)
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Payload {
        Payload { bytes: bytes.len() as u64, source: Source::Owned(bytes) }
    }
}

impl From<Box<[u8]>> for Payload {
    fn from(bytes: Box<[u8]>) -> Payload {
        bytes.into_vec().into()
    }
}

impl From<String> for Payload {
    fn from(text: String) -> Payload {
        text.into_bytes().into()
    }
}

impl From<Arc<[u8]>> for Payload {
    fn from(bytes: Arc<[u8]>) -> Payload {
        Payload { bytes: bytes.len() as u64, source: Source::Shared(bytes) }
    }
}

impl From<&'static [u8]> for Payload {
    fn from(bytes: &'static [u8]) -> Payload {
        Payload { bytes: bytes.len() as u64, source: Source::Fixed(bytes) }
    }
}

impl<const N: usize> From<&'static [u8; N]> for Payload {
    fn from(bytes: &'static [u8; N]) -> Payload {
        bytes.as_slice().into()
    }
}

impl From<&'static str> for Payload {
    fn from(text: &'static str) -> Payload {
        text.as_bytes().into()
    }
}

impl<const N: usize> From<[u8; N]> for Payload {
    fn from(bytes: [u8; N]) -> Payload {
        bytes.to_vec().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_owns_the_bytes_they_are_written_once() {
        let shared: Arc<[u8]> = Arc::from(&b"squall"[..]);
        let payloads: [Payload; 8] = [
            b"squall".into(),
            b"squall"[..].into(),
            "squall".into(),
            String::from("squall").into(),
            b"squall".to_vec().into(),
            b"squall".to_vec().into_boxed_slice().into(),
            shared.into(),
            Payload::filled_by(6, |memory| memory.copy_from_slice(b"squall")),
        ];
        for payload in payloads {
            let mut memory = [7; 6];
            assert_eq!(payload.bytes(), 6);
            payload.write(&mut memory);
            assert_eq!(&memory, b"squall");
        }
    }
}
