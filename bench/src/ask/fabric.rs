//! What carries the writes, by the name on the command line: a fabric of this machine, or a modelled cluster.

use std::fmt;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::jobs::kinds::FabricKind;

/// What names of modelled clusters begin with.
const MODELLED: &str = "sim-";

/// What carries the writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum FabricName {
    /// A fabric of this machine.
    Real(FabricKind),
    /// The profile of a modelled cluster.
    Modelled(String),
}

impl FabricName {
    /// The fabric, if it is one of this machine.
    pub fn real(&self) -> Option<FabricKind> {
        match self {
            FabricName::Real(kind) => Some(*kind),
            FabricName::Modelled(_) => None,
        }
    }

    /// The profile, if it is a modelled cluster.
    pub fn modelled(&self) -> Option<&str> {
        match self {
            FabricName::Real(_) => None,
            FabricName::Modelled(profile) => Some(profile),
        }
    }
}

impl fmt::Display for FabricName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FabricName::Real(kind) => kind.fmt(f),
            FabricName::Modelled(profile) => f.write_str(profile),
        }
    }
}

impl FromStr for FabricName {
    type Err = String;

    fn from_str(text: &str) -> Result<FabricName, String> {
        if text.starts_with(MODELLED) {
            return Ok(FabricName::Modelled(text.to_owned()));
        }
        FabricKind::from_str(text, false)
            .map(FabricName::Real)
            .map_err(|_| format!("`{text}` is no fabric; use shm, tcp, verbs, or a modelled cluster such as {MODELLED}rdma-100g"))
    }
}

impl From<FabricKind> for FabricName {
    fn from(kind: FabricKind) -> FabricName {
        FabricName::Real(kind)
    }
}

impl From<FabricName> for String {
    fn from(name: FabricName) -> String {
        name.to_string()
    }
}

impl TryFrom<String> for FabricName {
    type Error = String;

    fn try_from(text: String) -> Result<FabricName, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_shown() {
        for text in ["shm", "tcp", "verbs", "sim-rdma-100g", "sim-mine"] {
            assert_eq!(text.parse::<FabricName>().unwrap().to_string(), text);
        }
        let error = "smh".parse::<FabricName>().unwrap_err();
        assert!(error.contains("`smh`") && error.contains("verbs"), "{error}");
    }
}
