//! What is heard of the nodes of a point.

use std::process::ExitStatus;

use crate::jobs::control::Reply;

/// What is heard of a node.
pub(super) enum News {
    Reply(Reply),
    /// Its line is closed; if it was on another host, how it ended.
    Gone(Option<End>),
}

/// How a node on another host ended.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// How its process ended, if that is known.
    pub(super) status: Option<ExitStatus>,
    /// Its last lines.
    pub(super) stderr: String,
    /// Why its host is lost, if it is.
    pub(super) lost: Option<String>,
}
