//! What happens to the group in `view-change`, and the parts of what it takes.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::size::ByteSize;

/// What happens to the group, as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum UpsetKind {
    /// The last member is killed: the tail of a chain
    Kill,
    /// The first member is killed: the leader, or the head of a chain
    KillFirst,
    /// A member is killed that is neither the first nor the last
    KillMiddle,
    /// The last member leaves
    Leave,
    /// A process joins, or several
    Join,
}

impl UpsetKind {
    /// Those that `view-change` measures if none is asked for.
    pub const USUAL: [UpsetKind; 3] = [UpsetKind::Kill, UpsetKind::Leave, UpsetKind::Join];
}

/// What happens to the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Upset {
    /// A member is killed.
    Kill(Victim),
    /// The last member leaves.
    Leave,
    /// Processes join.
    Join(Joining),
}

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Victim {
    /// The last member: the tail of a chain.
    Last,
    /// The first: the leader, or the head of a chain.
    First,
    /// One that is neither.
    Middle,
}

/// Who joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Joining {
    /// How many at once.
    pub newcomers: u32,
    /// Bytes of state that each is given.
    pub state_bytes: u64,
}

impl Default for Joining {
    /// One process, without state.
    fn default() -> Joining {
        Joining { newcomers: 1, state_bytes: 0 }
    }
}

impl Upset {
    /// How many come.
    pub fn newcomers(self) -> u32 {
        if let Upset::Join(joining) = self { joining.newcomers } else { 0 }
    }

    /// Who of so many members is gone afterwards, if anybody is.
    pub fn struck(self, members: u32) -> Option<u32> {
        match self {
            Upset::Kill(Victim::First) => Some(0),
            Upset::Kill(Victim::Middle) => Some(members / 2),
            Upset::Kill(Victim::Last) | Upset::Leave => Some(members - 1),
            Upset::Join(_) => None,
        }
    }

    /// Bytes of the application's state.
    pub fn state_bytes(self) -> u64 {
        if let Upset::Join(joining) = self { joining.state_bytes } else { 0 }
    }

    /// The rows of a trial.
    pub fn parts(self) -> &'static [Option<&'static str>] {
        const ALL: [Option<&str>; 9] =
            [Some(WEDGED), Some(TRIMMED), Some(MET), Some(INSTALLED), Some(ACTIVE), Some(CALM), Some(GAP), Some(NEWCOMER), Some(VOTER)];
        if self.newcomers() > 0 { &ALL } else { &ALL[..7] }
    }
}

impl fmt::Display for Upset {
    /// As in the column `schedule`: `kill@first` is the kill of the first member, `join20+200MB` are 20 processes that
    /// take 200 MB of state each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Upset::Kill(Victim::Last) => f.write_str("kill"),
            Upset::Kill(Victim::First) => f.write_str("kill@first"),
            Upset::Kill(Victim::Middle) => f.write_str("kill@middle"),
            Upset::Leave => f.write_str("leave"),
            Upset::Join(Joining { newcomers, state_bytes }) => {
                f.write_str("join")?;
                if *newcomers != 1 {
                    write!(f, "{newcomers}")?;
                }
                if *state_bytes > 0 {
                    write!(f, "+{}", ByteSize(*state_bytes))?;
                }
                Ok(())
            }
        }
    }
}

/// From the fault until members stop the view: it is noticed, or asked for.
pub const WEDGED: &str = "wedged";

/// From the first member's stop until all of the view is delivered.
pub const TRIMMED: &str = "trimmed";

/// From the first member's stop until the members of the next view have met.
pub const MET: &str = "met";

/// From the first member's stop until the next view is open.
pub const INSTALLED: &str = "installed";

/// From the first member's stop to the first delivery in the next view.
pub const ACTIVE: &str = "active";

/// The longest time without a delivery before the fault.
pub const CALM: &str = "calm";

/// The same from the fault until all is over.
pub const GAP: &str = "gap";

/// From asking to join to the newcomer's first delivery.
pub const NEWCOMER: &str = "newcomer";

/// From asking to join to the newcomer's vote.
pub const VOTER: &str = "voter";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_joins_shows_in_the_name() {
        let join = |newcomers, state_bytes| Upset::Join(Joining { newcomers, state_bytes }).to_string();
        assert_eq!([join(1, 0), join(20, 0), join(1, 1 << 30), join(20, 200 << 20)], ["join", "join20", "join+1GB", "join20+200MB"]);
    }
}
