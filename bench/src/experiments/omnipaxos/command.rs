//! What the log of a replica holds.

use std::fmt;
use std::rc::Rc;

use omnipaxos::storage::{Entry, NoSnapshot};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use squall_transport::Rank;

/// A message of one node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Command {
    sender: u16,
    pub(super) payload: Payload,
}

impl Command {
    /// A message of `sender` with a payload of so many bytes, which `fill` writes.
    pub(super) fn new(sender: Rank, bytes: usize, fill: impl FnOnce(&mut [u8])) -> Command {
        let mut payload: Rc<[u8]> = std::iter::repeat_n(0, bytes).collect();
        // Nobody else has it yet.
        if let Some(bytes) = Rc::get_mut(&mut payload) {
            fill(bytes);
        }
        Command { sender: sender.0, payload: Payload(payload) }
    }

    pub(super) fn sender(&self) -> Rank {
        Rank(self.sender)
    }
}

impl Entry for Command {
    type Snapshot = NoSnapshot;
}

/// The bytes of a message. The library clones entries for each peer and for the log: they all share these.
#[derive(Clone)]
pub(super) struct Payload(pub(super) Rc<[u8]>);

impl fmt::Debug for Payload {
    /// Without the bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Payload, D::Error> {
        deserializer.deserialize_bytes(Bytes)
    }
}

struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Payload;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a message")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Payload, E> {
        Ok(Payload(Rc::from(bytes)))
    }
}
