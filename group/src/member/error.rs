//! Why a member is none.

use std::io;
use std::net::SocketAddr;

use squall_transport::exchange::ExchangeError;

use crate::error::{Ended, JoinError};

/// Why a process is no member, or no longer one.
#[derive(Debug, thiserror::Error)]
pub enum MemberError {
    /// The group is over for this member, and why.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// A view could not be entered.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The first members could not meet.
    #[error("founding the group failed: {0}")]
    Found(String),
    /// No contact could be reached.
    #[error("no contact answers ({}): is one of them running, with this key?", list(.0))]
    NoContact(Vec<(SocketAddr, String)>),
    /// A contact does not take this newcomer.
    #[error("the contact at {contact} refused this newcomer: {reason}")]
    Refused {
        /// Where it is.
        contact: SocketAddr,
        /// Why, in its words.
        reason: String,
    },
    /// Asked, but not taken in.
    #[error("asked {contact}, but no view with this newcomer began within {waited_ms} ms; ask again under a new name")]
    Late {
        /// Whom it asked last.
        contact: SocketAddr,
        /// How long it waited.
        waited_ms: u64,
    },
    /// A welcome that makes no sense.
    #[error("the group's welcome makes no sense; do all members run the same version?")]
    Welcome,
    /// All members that had the application's state are gone.
    #[error(
        "no member of view {view} has the application's state: those that had it were lost before newcomers did; start the group again"
    )]
    StateLost {
        /// The view that begins without.
        view: u64,
    },
    /// The application's snapshot could not be read.
    #[error("reading the application's snapshot failed: {0}")]
    Snapshot(#[source] io::Error),
    /// The state that another member gave is not whole.
    #[error("{0}; do all members run the same version?")]
    State(String),
}

impl From<ExchangeError> for MemberError {
    fn from(error: ExchangeError) -> MemberError {
        MemberError::Join(error.into())
    }
}

fn list(contacts: &[(SocketAddr, String)]) -> String {
    let said: Vec<String> = contacts.iter().map(|(contact, reason)| format!("{contact}: {reason}")).collect();
    said.join("; ")
}
