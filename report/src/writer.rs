//! Writing `results.csv` row by row, so that a killed run keeps what it measured.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::error::ResultsError;
use crate::reader::parse_rows;
use crate::row::{COLUMNS, Point, Row};

/// Appends trials to a `results.csv` that it alone writes.
///
/// Each row is one write and is on disk when [`append`](RowWriter::append) returns. The file is locked while the writer
/// lives, so that two runs cannot mix their rows.
#[derive(Debug)]
pub struct RowWriter {
    path: PathBuf,
    file: File,
    trials: HashMap<Point, u32>,
    failures: HashMap<Point, String>,
    notices: Vec<String>,
}

impl RowWriter {
    /// Makes a new file with nothing but its header.
    ///
    /// # Errors
    /// [`ResultsError::Io`] if the file exists or cannot be made.
    pub fn create(path: &Path) -> Result<RowWriter, ResultsError> {
        let file = OpenOptions::new().append(true).create_new(true).open(path).map_err(ResultsError::io(path, "create"))?;
        let mut writer = RowWriter::locked(path, file)?;
        writer.write_header()?;
        Ok(writer)
    }

    /// Goes on with a file that an earlier run wrote, or makes it if it is missing. A last row that was cut in the
    /// middle is removed, with a notice, so that its trial runs again.
    ///
    /// # Errors
    /// As [`read_rows`](crate::read_rows), and [`ResultsError::Locked`] if another process is writing it.
    pub fn resume(path: &Path) -> Result<RowWriter, ResultsError> {
        if !path.exists() {
            return RowWriter::create(path);
        }
        let file = OpenOptions::new().append(true).read(true).open(path).map_err(ResultsError::io(path, "open"))?;
        let mut writer = RowWriter::locked(path, file)?;
        let bytes = std::fs::read(path).map_err(ResultsError::io(path, "read"))?;
        if header().as_bytes().starts_with(&bytes) {
            writer.truncate(0)?;
            writer.write_header()?;
            return Ok(writer);
        }
        let found = parse_rows(&bytes, path)?;
        if found.whole_bytes < bytes.len() {
            writer.truncate(found.whole_bytes as u64)?;
        }
        if found.lacks_line_break {
            writer.write(b"\n")?;
        }
        writer.notices = found.notices;
        for row in &found.rows {
            writer.count(row);
        }
        Ok(writer)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Trials already measured of a point, as it was asked for; the next one is this plus 1.
    pub fn trials(&self, point: &Point) -> u32 {
        self.trials.iter().filter(|(ran, _)| point.covers(ran)).map(|(_, trials)| trials).sum()
    }

    /// Why a point was skipped or failed, unless a later trial of it succeeded.
    pub fn failure(&self, point: &Point) -> Option<&str> {
        self.failures.iter().find(|(failed, _)| point.covers(failed)).map(|(_, why)| why.as_str())
    }

    /// What was put right when the file was opened, one sentence each.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Writes one row; on return it is on disk.
    ///
    /// # Errors
    /// [`ResultsError::UnwritableRow`] for a value that is negative or not finite, [`ResultsError::Io`] if the disk
    /// refuses; nothing of the row is kept then.
    pub fn append(&mut self, row: &Row) -> Result<(), ResultsError> {
        if let Some((column, value)) = row.unwritable_value() {
            return Err(ResultsError::UnwritableRow { path: self.path.clone(), column, value });
        }
        let row = row.on_one_line();
        let line = line(&row).map_err(ResultsError::io(&self.path, "write"))?;
        let before = self.file.metadata().map_err(ResultsError::io(&self.path, "write"))?.len();
        if let Err(error) = self.write(&line) {
            // The row's beginning may be there; take it back so that the file still reads.
            self.truncate(before)?;
            return Err(error);
        }
        self.count(&row);
        Ok(())
    }

    fn locked(path: &Path, file: File) -> Result<RowWriter, ResultsError> {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(ResultsError::Locked { path: path.to_path_buf() });
            }
            // Some network file systems have no locks; measuring there is still worth while.
            Err(_) => {}
        }
        Ok(RowWriter { path: path.to_path_buf(), file, trials: HashMap::new(), failures: HashMap::new(), notices: Vec::new() })
    }

    fn count(&mut self, row: &Row) {
        let point = row.point();
        if row.is_measured() {
            self.failures.remove(&point);
            *self.trials.entry(point).or_default() += 1;
        } else {
            self.failures.insert(point, row.note.clone());
        }
    }

    fn write_header(&mut self) -> Result<(), ResultsError> {
        self.write(header().as_bytes())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ResultsError> {
        self.file.write_all(bytes).and_then(|()| self.file.sync_data()).map_err(ResultsError::io(&self.path, "write"))
    }

    fn truncate(&mut self, length: u64) -> Result<(), ResultsError> {
        self.file.set_len(length).map_err(ResultsError::io(&self.path, "truncate"))
    }
}

fn header() -> String {
    let mut header = COLUMNS.map(|column| column.0).join(",");
    header.push('\n');
    header
}

fn line(row: &Row) -> std::io::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.serialize(row).map_err(std::io::Error::other)?;
    writer.into_inner().map_err(|error| std::io::Error::other(error.to_string()))
}
