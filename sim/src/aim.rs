//! What runs in which members come and go are to show.

use std::fmt;
use std::str::FromStr;

/// What a run is to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Aim {
    /// Nothing wrong ever happens: faults strike at any time and as many as there are, and the run is cut off in the
    /// middle. What should have happened later is not asked for.
    Safety,
    /// What has to happen happens in time: after a while there are no more faults, and a majority of the last view, if
    /// there is one, comes to rest with all messages delivered and all newcomers in; everybody else stops.
    Liveness,
    /// Both, of whole members: see [`MembersScenario`](crate::MembersScenario).
    Members,
}

impl Aim {
    /// All.
    pub const ALL: [Aim; 3] = [Aim::Safety, Aim::Liveness, Aim::Members];
    /// Those of groups: see [`Churn`](crate::Churn).
    pub const GROUPS: [Aim; 2] = [Aim::Safety, Aim::Liveness];

    /// The name that users give it.
    pub fn name(self) -> &'static str {
        match self {
            Aim::Safety => "safety",
            Aim::Liveness => "liveness",
            Aim::Members => "members",
        }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Aim {
    type Err = String;

    fn from_str(text: &str) -> Result<Aim, String> {
        let names = || Aim::ALL.map(Aim::name).join(", ");
        Aim::ALL.into_iter().find(|aim| aim.name() == text).ok_or_else(|| format!("`{text}` is none of {}", names()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_aim_is_found_by_its_name() {
        assert!(Aim::ALL.iter().all(|aim| aim.name().parse() == Ok(*aim)));
        assert!("x".parse::<Aim>().unwrap_err().contains("members"));
    }
}
