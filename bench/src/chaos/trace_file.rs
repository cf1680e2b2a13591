//! What a process writes down as it happens, so that nothing is lost by `kill -9` that others may have seen.
//!
//! A file holds one entry a line, `[time, entry]` as JSON; the time is the host's monotonic clock in nanoseconds. What
//! has been written survives the process; a last line that is not whole counts as not written.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use squall_sim::trace::Event;

use crate::jobs::os;

/// One thing that a process did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    /// Something that the simulator's checker knows.
    Event(Event),
    /// It was given a state.
    Took {
        /// The view that it was in; 0 where it was in none yet.
        view: u64,
        /// Whether all its bytes are those that were given.
        whole: bool,
    },
}

/// Where entries go.
#[derive(Debug)]
pub(super) struct TraceFile {
    file: Option<File>,
    buffer: Vec<u8>,
    trouble: Option<io::Error>,
}

impl TraceFile {
    /// Writes to `file`.
    pub(super) fn new(file: File) -> TraceFile {
        TraceFile { file: Some(file), buffer: Vec::new(), trouble: None }
    }

    /// Adds an entry, to be written out with the next [`TraceFile::write_out`].
    pub(super) fn note(&mut self, entry: &Entry) {
        if self.file.is_none() {
            return;
        }
        serde_json::to_writer(&mut self.buffer, &(os::now_ns(), entry)).expect("an entry is writable to memory");
        self.buffer.push(b'\n');
    }

    /// Hands everything noted to the system. If it does not take it, nothing more is written, and
    /// [`TraceFile::trouble`] says why.
    pub(super) fn write_out(&mut self) {
        let Some(file) = &mut self.file else { return };
        if self.buffer.is_empty() {
            return;
        }
        if let Err(error) = file.write_all(&self.buffer) {
            self.trouble = Some(error);
            self.file = None;
        }
        self.buffer.clear();
    }

    /// Why nothing more is written; told once.
    pub(super) fn trouble(&mut self) -> Option<io::Error> {
        self.trouble.take()
    }
}

/// The entries of a file, with their times.
///
/// # Errors
/// The file cannot be read, or holds a whole line that is no entry.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<(u64, Entry)>> {
    let bytes = match std::fs::read(path) {
        // It ended before it had anything to say.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("the trace {}", path.display()))?,
    };
    let mut entries = Vec::new();
    for (index, line) in bytes.split_inclusive(|&byte| byte == b'\n').enumerate() {
        let Some(line) = line.strip_suffix(b"\n") else { break };
        let entry = serde_json::from_slice(line).with_context(|| format!("line {} of the trace {}", index + 1, path.display()))?;
        entries.push(entry);
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_transport::NodeId;

    #[test]
    fn entries_are_read_as_they_were_written_up_to_a_line_that_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.trace");
        let mut file = TraceFile::new(File::create(&path).unwrap());
        let entries = [Entry::Event(Event::Crash { process: NodeId(u64::MAX) }), Entry::Took { view: 3, whole: true }];
        entries.iter().for_each(|entry| file.note(entry));
        assert_eq!(read(&path).unwrap(), [], "nothing was written out yet");
        file.write_out();
        let whole = std::fs::read(&path).unwrap();
        let known: Vec<Entry> = read(&path).unwrap().into_iter().map(|(_, entry)| entry).collect();
        assert_eq!(known, entries);
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(read(&path).unwrap().len(), 1);
        std::fs::write(&path, b"{}\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().starts_with("line 1 "));
    }

    #[test]
    fn a_full_disk_is_told_once_and_stops_nothing() {
        let full = File::options().write(true).open("/dev/full").expect("Linux has it");
        let mut file = TraceFile::new(full);
        for _ in 0..3 {
            file.note(&Entry::Took { view: 1, whole: true });
            file.write_out();
        }
        assert_eq!(file.trouble().expect("it is full").kind(), io::ErrorKind::StorageFull);
        assert!(file.trouble().is_none());
    }
}
