//! The axes of a sweep, by the names of the command line.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most nodes of a point: more processes than this on one host measure its scheduler.
pub const NODES_MAX: u32 = 64;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Senders {
    /// Every node.
    All,
    /// floor(nodes / 2).
    Half,
    /// One node.
    One,
    /// So many.
    Count(u32),
}

impl Senders {
    /// How many of `nodes` nodes send; `None` if there are not that many.
    pub fn count(self, nodes: u32) -> Option<u32> {
        match self {
            Senders::All => Some(nodes),
            Senders::Half => Some((nodes / 2).max(1)),
            Senders::One => Some(1),
            Senders::Count(count) => (count <= nodes).then_some(count),
        }
    }
}

impl fmt::Display for Senders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Senders::All => f.write_str("all"),
            Senders::Half => f.write_str("half"),
            Senders::One => f.write_str("one"),
            Senders::Count(count) => write!(f, "{count}"),
        }
    }
}

impl FromStr for Senders {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(Senders::All),
            "half" => Ok(Senders::Half),
            "one" => Ok(Senders::One),
            _ => match text.parse() {
                Ok(0) => Err("with 0 senders nothing is sent; give all, half, one, or a number from 1".into()),
                Ok(count) => Ok(Senders::Count(count)),
                Err(_) => Err("give all, half, one, or a number of senders".into()),
            },
        }
    }
}

/// Most nodes of a modelled cluster.
pub const MODELLED_NODES_MAX: u32 = 1024;

/// Parses the size of a group, which may be modelled.
///
/// # Errors
/// What is wrong with it, and what is right.
pub fn group_size(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(nodes) if (2..=MODELLED_NODES_MAX).contains(&nodes) => Ok(nodes),
        _ => nodes(text).map_err(|reason| format!("{reason}, or to {MODELLED_NODES_MAX} on modelled clusters (--fabric sim-...)")),
    }
}

/// Which cores nodes run on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pins {
    /// A core each while they last and the system lets us; else wherever the kernel puts them.
    #[default]
    Usual,
    /// Wherever the kernel puts them.
    None,
    /// A core near the network card, on each host; more nodes of one host on cores further and further from it.
    Near,
    /// These, in order, around the list.
    Cores(Vec<usize>),
}

impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pins::Usual => f.write_str("usual"),
            Pins::None => f.write_str("none"),
            Pins::Near => f.write_str("near"),
            Pins::Cores(cores) => f.write_str(&cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",")),
        }
    }
}

impl FromStr for Pins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "usual" => Ok(Pins::Usual),
            "none" => Ok(Pins::None),
            "near" => Ok(Pins::Near),
            _ => {
                let cores: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
                cores.map(Pins::Cores).map_err(|_| {
                    "give cores such as 0,2,4, or none to leave the nodes to the kernel, or near for those near the network card".into()
                })
            }
        }
    }
}

/// Parses a number of nodes.
///
/// # Errors
/// What is wrong with it, and what is right.
pub fn nodes(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(nodes) if (2..=NODES_MAX).contains(&nodes) => Ok(nodes),
        Ok(0 | 1) => Err(format!("a group has at least 2 nodes; give 2 to {NODES_MAX}")),
        _ => Err(format!("give a number of nodes from 2 to {NODES_MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_is_one_sender_at_two_and_three_nodes() {
        let halves: Vec<_> = (2..=6).map(|nodes| Senders::Half.count(nodes)).collect();
        assert_eq!(halves, [Some(1), Some(1), Some(2), Some(2), Some(3)]);
    }

    #[test]
    fn senders_are_shown_as_they_are_written() {
        for text in ["all", "half", "one", "3"] {
            assert_eq!(text.parse::<Senders>().map(|senders| senders.to_string()), Ok(text.to_owned()));
        }
        assert!("0".parse::<Senders>().is_err());
        assert!("most".parse::<Senders>().is_err());
    }

    #[test]
    fn pins_are_shown_as_they_are_written() {
        for text in ["usual", "none", "near", "0,2,4", "7"] {
            assert_eq!(text.parse::<Pins>().map(|pins| pins.to_string()), Ok(text.to_owned()));
        }
        assert!("first".parse::<Pins>().is_err_and(|why| why.contains("0,2,4, or none")));
        assert!("".parse::<Pins>().is_err());
    }

    #[test]
    fn more_senders_than_nodes_are_none() {
        assert_eq!(Senders::Count(5).count(4), None);
        assert_eq!(Senders::Count(4).count(4), Some(4));
    }

    #[test]
    fn a_group_has_two_to_nodes_max_nodes() {
        assert_eq!(nodes("16"), Ok(16));
        for wrong in ["0", "1", "65", "x", "-2", ""] {
            assert!(nodes(wrong).is_err(), "{wrong}");
        }
    }
}
