//! What a look at a machine found, and what mends it.

use std::fmt;

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing is wrong; it is worth knowing.
    Note,
    /// It works, slower or less steadily than it could.
    Advice,
    /// Something does not work.
    Wrong,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about: `locked memory`, `mlx5_0 port 1`.
    pub about: String,
    /// What was found, and what was expected.
    pub what: String,
    /// The command that mends it; none where nothing needs to be mended, or no command can.
    pub mend: Option<String>,
}

impl Finding {
    /// Something worth knowing.
    pub fn note(about: impl Into<String>, what: impl Into<String>) -> Finding {
        Finding { level: Level::Note, about: about.into(), what: what.into(), mend: None }
    }

    /// Something that could be better.
    pub fn advice(about: impl Into<String>, what: impl Into<String>) -> Finding {
        Finding { level: Level::Advice, ..Finding::note(about, what) }
    }

    /// Something that does not work.
    pub fn wrong(about: impl Into<String>, what: impl Into<String>) -> Finding {
        Finding { level: Level::Wrong, ..Finding::note(about, what) }
    }

    /// The same with the command that mends it.
    pub fn mended_by(self, command: impl Into<String>) -> Finding {
        Finding { mend: Some(command.into()), ..self }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Note => "note",
            Level::Advice => "advice",
            Level::Wrong => "WRONG",
        })
    }
}

/// The worst level of all; nothing without findings.
pub fn worst(findings: &[Finding]) -> Option<Level> {
    findings.iter().map(|finding| finding.level).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides() {
        let mut findings = vec![Finding::note("a", "b"), Finding::advice("c", "d")];
        assert_eq!(worst(&findings), Some(Level::Advice));
        findings.push(Finding::wrong("e", "f").mended_by("g"));
        assert_eq!((worst(&findings), worst(&[])), (Some(Level::Wrong), None));
        assert_eq!(findings[2].mend.as_deref(), Some("g"));
    }
}
