//! `run.json`: what was asked and what ran.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ResultsError;
use crate::files::{RUN_FILE, read_json};

/// `run.json`: what was asked and what ran.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`SCHEMA`](crate::SCHEMA).
    pub schema: u32,
    /// The name of the run, the same in every row.
    pub run_id: String,
    /// When the run began, UTC.
    pub started: String,
    /// When it was last resumed, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed: Option<String>,
    /// The command line, program first.
    pub command: Vec<String>,
    /// What was asked, as given.
    pub asked: Value,
    /// What ran: every setting after defaults were filled in.
    pub effective: Value,
}

/// The `run.json` of a folder, if it has one.
pub(crate) fn read_record(path: &Path) -> Result<Option<RunRecord>, ResultsError> {
    read_json(&path.join(RUN_FILE))
}
