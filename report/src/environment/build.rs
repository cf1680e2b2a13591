//! The program itself.

use serde::{Deserialize, Serialize};

/// Which squall measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Build {
    /// Version of the crates.
    pub version: String,
    /// Commit, or `unknown` where it was not built in a checkout.
    pub commit: String,
    /// Whether files differed from the commit: `yes`, `no`, `unknown`.
    pub dirty: String,
    /// The compiler.
    pub rustc: String,
    /// `release` or `debug`; a debug build measures nothing worth keeping.
    pub profile: String,
    /// Optimisation level.
    pub opt_level: String,
    /// Target triple.
    pub target: String,
}

impl Build {
    /// The running program.
    pub fn of_this_program() -> Build {
        Build {
            version: env!("CARGO_PKG_VERSION").into(),
            commit: env!("SQUALL_COMMIT").into(),
            dirty: env!("SQUALL_DIRTY").into(),
            rustc: env!("SQUALL_RUSTC").into(),
            profile: env!("SQUALL_PROFILE").into(),
            opt_level: env!("SQUALL_OPT_LEVEL").into(),
            target: env!("SQUALL_TARGET").into(),
        }
    }

    /// `squall 0.1.0 at 1a2b3c4d5e`, with what makes it unlike a clean release build.
    pub fn headline(&self) -> String {
        const COMMIT_DIGITS: usize = 10;
        let commit: String = self.commit.chars().take(COMMIT_DIGITS).collect();
        let dirty = if self.dirty == "yes" { ", changed since" } else { "" };
        let debug = if self.profile == "debug" { ", DEBUG BUILD" } else { "" };
        match self.commit.as_str() {
            "" | "unknown" => format!("squall {}{debug}", self.version),
            _ => format!("squall {} at {commit}{dirty}{debug}", self.version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headline_names_what_makes_numbers_doubtful() {
        let build = Build {
            version: "1.2.3".into(),
            commit: "0123456789abcdef".into(),
            dirty: "yes".into(),
            profile: "debug".into(),
            ..Build::default()
        };
        assert_eq!(build.headline(), "squall 1.2.3 at 0123456789, changed since, DEBUG BUILD");
    }

    #[test]
    fn this_program_knows_its_compiler() {
        assert!(Build::of_this_program().rustc.starts_with("rustc "));
    }
}
