//! What a newcomer comes for.

/// What a newcomer comes for. Where a function asks for one, `true` is a sender and `false` a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It sends once it has its vote, and receives. There must be room for one more sender:
    /// [`Config::senders_max`](crate::Config::senders_max). Should all senders be lost before it has its vote, members
    /// that did not send take their place; the last to come may find no room left then, and receives only.
    Sender,
    /// It receives only.
    Receiver,
}

impl Role {
    /// Whether it sends.
    pub fn sends(self) -> bool {
        self == Role::Sender
    }
}

impl From<bool> for Role {
    /// Of whether it sends.
    fn from(sends: bool) -> Role {
        if sends { Role::Sender } else { Role::Receiver }
    }
}
