//! A witness: a process that is no member, and tells which of two members goes on when they have lost each other.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use squall_transport::NodeId;
use squall_transport::mesh::{Mesh, MeshEvent, Net};

use crate::member::message::Control;

/// Why a witness cannot testify.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WitnessError {
    /// Its file cannot be used.
    #[error("the witness's file {}: {reason}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        reason: io::Error,
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

/// Some two million decisions.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Where a witness writes down what it has said.
pub trait Journal {
    /// All that was written.
    fn read(&mut self) -> io::Result<Vec<u8>>;

    /// Puts these bytes behind it. When this returns they outlive the process and the machine's sudden end.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts everything off from `len` on.
    fn cut(&mut self, len: u64) -> io::Result<()>;
}

impl Journal for File {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        if !self.metadata()?.is_file() {
            return Err(io::Error::other("it is a device or a pipe, which keeps nothing; name a file"));
        }
        let mut bytes = Vec::new();
        self.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 <= FILE_BYTES_MAX {
            true => Ok(bytes),
            false => Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes, which no witness has written"))),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)?;
        self.sync_data()
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)?;
        self.sync_data()
    }
}

/// Sides with one member of a view at most, ever: with whoever asks first. What it has said outlives it in a file, if
/// it has one; a witness without a file must not be started again while a group that asked it lives.
#[derive(Debug)]
pub struct WitnessService<N: Net = Mesh, J: Journal = File> {
    net: N,
    sides: HashMap<[u8; 32], NodeId>,
    journal: Option<J>,
    /// Bytes of whole lines in it, and whether there may be a part of one behind.
    written: u64,
    torn: bool,
    /// What the journal is called, for people.
    path: PathBuf,
    forgets: bool,
}

impl WitnessService {
    /// Answers at the address of `mesh`, which is the witness's own. `file` is made if it is not there.
    ///
    /// # Errors
    /// [`WitnessError`].
    pub fn new(mesh: Mesh, file: Option<&Path>) -> Result<WitnessService, WitnessError> {
        let Some(path) = file else { return WitnessService::with(mesh, None, Path::new("")) };
        let failed = |reason| WitnessError::File { path: path.to_owned(), reason };
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        WitnessService::with(mesh, Some(file), path)
    }

    /// Answers until `deadline`. How many it answered.
    ///
    /// # Errors
    /// [`WitnessError::File`]: what it said could not be written down, so it was not said.
    pub fn serve_until(&mut self, deadline: Instant) -> Result<usize, WitnessError> {
        let mut answered = 0;
        while let Some(event) = self.net.wait(deadline) {
            answered += usize::from(self.hear(event)?);
        }
        Ok(answered)
    }
}

impl<N: Net, J: Journal> WitnessService<N, J> {
    /// Answers by `net`, and writes what it says to `journal`, which people know by `path`. A last line without an end
    /// is one that was being written when the witness died: it was never said, and is cut off.
    ///
    /// # Errors
    /// [`WitnessError`].
    pub fn with(net: N, mut journal: Option<J>, path: &Path) -> Result<WitnessService<N, J>, WitnessError> {
        let (mut sides, mut written) = (HashMap::new(), 0);
        if let Some(journal) = &mut journal {
            let failed = |reason| WitnessError::File { path: path.to_owned(), reason };
            let bytes = journal.read().map_err(failed)?;
            let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
            for (index, line) in bytes[..whole].split_inclusive(|&byte| byte == b'\n').enumerate() {
                let wrong = || WitnessError::Line { path: path.to_owned(), line: index + 1 };
                let (ballot, node) = std::str::from_utf8(line).ok().and_then(|line| entry(line.trim_end())).ok_or_else(wrong)?;
                sides.entry(ballot).or_insert(node);
            }
            written = whole as u64;
            if !is_begun(&bytes[whole..]) {
                let lines = bytes[..whole].iter().filter(|&&byte| byte == b'\n').count();
                return Err(WitnessError::Line { path: path.to_owned(), line: lines + 1 });
            }
            if bytes.len() > whole {
                journal.cut(written).map_err(failed)?;
            }
        }
        Ok(WitnessService { net, sides, journal, written, torn: false, path: path.to_owned(), forgets: false })
    }

    /// Sides with whoever asks: breaks the rule on purpose, for tests of the checker.
    #[doc(hidden)]
    pub fn set_forgetful(&mut self) {
        self.forgets = true;
    }

    /// Answers what has come. How many it answered. Never waits.
    ///
    /// # Errors
    /// As [`WitnessService::serve_until`].
    pub fn step(&mut self) -> Result<usize, WitnessError> {
        let mut answered = 0;
        while let Some(event) = self.net.next() {
            answered += usize::from(self.hear(event)?);
        }
        Ok(answered)
    }

    /// Whether it was a question, which is answered then.
    fn hear(&mut self, event: MeshEvent) -> Result<bool, WitnessError> {
        let MeshEvent::Message { from, bytes } = event else { return Ok(false) };
        let Some((Control::Side { ballot }, _)) = Control::heard(&bytes) else { return Ok(false) };
        let with_you = self.side(ballot, from)?;
        // Who is gone needs no answer.
        let _ = Control::Sided { ballot, with_you }.say(&self.net, from);
        Ok(true)
    }

    /// Whether it sides with `node`. Written down before it is said.
    fn side(&mut self, ballot: [u8; 32], node: NodeId) -> Result<bool, WitnessError> {
        if let Some(first) = self.sides.get(&ballot).filter(|_| !self.forgets) {
            return Ok(*first == node);
        }
        if let Some(journal) = &mut self.journal {
            let mut line = String::with_capacity(90);
            for byte in ballot {
                let _ = write!(line, "{byte:02x}");
            }
            let _ = writeln!(line, " {node}");
            // A part of a line that could not be written must not stand before this one.
            let cut = if self.torn { journal.cut(self.written) } else { Ok(()) };
            self.torn = true;
            let written = cut.and_then(|()| journal.append(line.as_bytes()));
            written.map_err(|reason| WitnessError::File { path: self.path.clone(), reason })?;
            (self.torn, self.written) = (false, self.written + line.len() as u64);
        }
        self.sides.insert(ballot, node);
        Ok(true)
    }
}

/// Whether a witness may have died when it had written so much of a line: another program's file is left alone.
fn is_begun(line: &[u8]) -> bool {
    let (ballot, rest) = line.split_at(line.len().min(64));
    let (space, node) = rest.split_at(rest.len().min(1));
    ballot.iter().all(u8::is_ascii_hexdigit) && space.iter().all(|&byte| byte == b' ') && node.iter().all(u8::is_ascii_digit)
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
