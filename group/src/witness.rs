//! A witness: a process that is no member, and tells which of two members goes on when they have lost each other.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use squall_transport::NodeId;
use squall_transport::mesh::{Mesh, MeshEvent};

use crate::member::message::Control;

/// Why a witness cannot testify.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// Its file cannot be used.
    #[error("the witness's file {}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Its file holds what no witness writes.
    #[error("the witness's file {}, line {line}: expected 64 hex digits and a number; is it another program's file?", .path.display())]
    Line {
        /// Which.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
}

/// Sides with one member of a view at most, ever: with whoever asks first. What it has said outlives it in a file, if it has one; a witness without a file must not be started
/// again while a group that asked it lives.
#[derive(Debug)]
pub struct WitnessService {
    mesh: Mesh,
    sides: HashMap<[u8; 32], NodeId>,
    file: Option<(PathBuf, File)>,
}

impl WitnessService {
    /// Answers at the address of `mesh`, which is the witness's own. `file` is made if it is not there.
    ///
    /// # Errors
    /// [`WitnessError`].
    pub fn new(mesh: Mesh, file: Option<&Path>) -> Result<WitnessService, WitnessError> {
        let mut service = WitnessService { mesh, sides: HashMap::new(), file: None };
        if let Some(path) = file {
            let failed = |source| WitnessError::File { path: path.to_owned(), source };
            let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
            let mut text = String::new();
            file.read_to_string(&mut text).map_err(failed)?;
            for (index, line) in text.lines().enumerate() {
                let (ballot, node) = entry(line).ok_or_else(|| WitnessError::Line { path: path.to_owned(), line: index + 1 })?;
                service.sides.insert(ballot, node);
            }
            service.file = Some((path.to_owned(), file));
        }
        Ok(service)
    }

    /// Answers until `deadline`. How many it answered.
    ///
    /// # Errors
    /// [`WitnessError::File`]: what it said could not be written down, so it was not said.
    pub fn serve_until(&mut self, deadline: Instant) -> Result<usize, WitnessError> {
        let mut answered = 0;
        while let Some(event) = self.mesh.wait(deadline) {
            let MeshEvent::Message { from, bytes } = event else { continue };
            let Some((Control::Side { ballot }, _)) = Control::heard(&bytes) else { continue };
            let with_you = self.side(ballot, from)?;
            // Who is gone needs no answer.
            let _ = Control::Sided { ballot, with_you }.say(&self.mesh, from);
            answered += 1;
        }
        Ok(answered)
    }

    /// Whether it sides with `node`. Written down before it is said.
    fn side(&mut self, ballot: [u8; 32], node: NodeId) -> Result<bool, WitnessError> {
        if let Some(first) = self.sides.get(&ballot) {
            return Ok(*first == node);
        }
        if let Some((path, file)) = &mut self.file {
            let mut line = String::with_capacity(90);
            for byte in ballot {
                let _ = write!(line, "{byte:02x}");
            }
            let _ = writeln!(line, " {node}");
            let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_data());
            written.map_err(|source| WitnessError::File { path: path.clone(), source })?;
        }
        self.sides.insert(ballot, node);
        Ok(true)
    }
}

/// One line of the file.
fn entry(line: &str) -> Option<([u8; 32], NodeId)> {
    let (hex, node) = line.split_once(' ')?;
    let mut ballot = [0; 32];
    if hex.len() != 2 * ballot.len() || !hex.is_ascii() {
        return None;
    }
    for (index, byte) in ballot.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()?;
    }
    Some((ballot, NodeId(node.parse().ok()?)))
}
