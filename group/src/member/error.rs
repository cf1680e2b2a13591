//! Why a member is none.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use squall_transport::exchange::ExchangeError;

use crate::error::{Ended, JoinError};

/// Why a process is no member, or no longer one.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// The group is over for this member, and why.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// A view could not be entered.
    #[error(transparent)]
    Join(Arc<JoinError>),
    /// The first members could not meet.
    #[error("founding the group failed: {0}")]
    Found(String),
    /// Options that cannot work.
    #[error("`{field}` is 0: {mend}")]
    Options {
        /// Which field of [`MemberOptions`](crate::MemberOptions).
        field: &'static str,
        /// Why not, and what would do.
        mend: &'static str,
    },
    /// No contact could be reached, or none was named.
    #[error("{}", unanswered(.0))]
    NoContact(Vec<(SocketAddr, String)>),
    /// No contact takes this newcomer.
    #[error("the contact at {contact} refused this joining process: {reason}")]
    Refused {
        /// Where the first that refused it is.
        contact: SocketAddr,
        /// Why, in its words.
        reason: String,
    },
    /// Asked, but nobody answered.
    #[error("{contact} was asked, but no member admitted this joining process within {waited:?}; ask again under a new name")]
    Late {
        /// Whom it asked last.
        contact: SocketAddr,
        /// How long it waited.
        waited: Duration,
    },
    /// Member after member began to give this newcomer the state, and was lost or fell silent.
    #[error("{givers} members began to send this joining process the application's state, and none finished; join again under a new name")]
    Giver {
        /// How many.
        givers: u32,
    },
    /// A welcome that cannot be read.
    #[error("the group's welcome is invalid; do all members run the same version?")]
    Welcome,
    /// All members that had the application's state are gone, as far as this joining process can tell.
    #[error(
        "no member of view {view} that this joining process still reaches has the application's state; join again under a new \
         name, or start the group again if all that had it are gone"
    )]
    StateLost {
        /// The view that is without.
        view: u64,
    },
    /// The state that another member gave is not whole.
    #[error("{0}; do all members run the same version?")]
    State(String),
}

impl From<JoinError> for MemberError {
    fn from(error: JoinError) -> MemberError {
        MemberError::Join(Arc::new(error))
    }
}

impl From<ExchangeError> for MemberError {
    fn from(error: ExchangeError) -> MemberError {
        JoinError::from(error).into()
    }
}

fn unanswered(contacts: &[(SocketAddr, String)]) -> String {
    if contacts.is_empty() {
        return "no contact is named; give the address of any member".into();
    }
    let said: Vec<String> = contacts.iter().map(|(contact, reason)| format!("{contact}: {reason}")).collect();
    format!("no contact answers ({}): is one of them running, with this key?", said.join("; "))
}
