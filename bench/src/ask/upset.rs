//! What happens to the group in `view-change`, and the parts of what it takes.

use serde::{Deserialize, Serialize};

/// What happens to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Upset {
    /// The last member is killed.
    Kill,
    /// The last member leaves.
    Leave,
    /// A process joins.
    Join,
}

impl Upset {
    /// All.
    pub const ALL: [Upset; 3] = [Upset::Kill, Upset::Leave, Upset::Join];

    /// As in the column `schedule`.
    pub fn name(self) -> &'static str {
        match self {
            Upset::Kill => "kill",
            Upset::Leave => "leave",
            Upset::Join => "join",
        }
    }

    /// The rows of a trial.
    pub fn parts(self) -> &'static [Option<&'static str>] {
        const ALL: [Option<&str>; 5] = [Some(WEDGED), Some(TRIMMED), Some(INSTALLED), Some(ACTIVE), Some(NEWCOMER)];
        if self == Upset::Join { &ALL } else { &ALL[..4] }
    }
}

/// From the fault until members stop the view: it is noticed, or asked for.
pub const WEDGED: &str = "wedged";

/// From the first member's stop until all of the view is delivered.
pub const TRIMMED: &str = "trimmed";

/// From the first member's stop until the next view is open.
pub const INSTALLED: &str = "installed";

/// From the first member's stop to the first delivery in the next view.
pub const ACTIVE: &str = "active";

/// From asking to join to the newcomer's first delivery.
pub const NEWCOMER: &str = "newcomer";
