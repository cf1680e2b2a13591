//! This very program, as other hosts get it.

use std::fs;

use anyhow::Context;
use sha2::{Digest, Sha256};

/// This program.
pub(super) struct Program {
    pub(super) bytes: Vec<u8>,
    /// What its bytes hash to: hosts keep programs by it.
    pub(super) hash: String,
}

impl Program {
    /// The one that runs, even if its file has been replaced since it started.
    pub(super) fn of_this_process() -> anyhow::Result<Program> {
        let bytes = fs::read("/proc/self/exe").context("reading this program, to send it to the other hosts")?;
        let hash = Sha256::digest(&bytes).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Ok(Program { bytes, hash })
    }

    /// The kind of machine that it runs on, as `uname -sm` names it.
    pub(super) fn machine() -> String {
        format!("Linux {}", std::env::consts::ARCH)
    }
}
