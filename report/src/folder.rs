//! The folder of one run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::clock::Moment;
use crate::environment::Environment;
use crate::error::ResultsError;
use crate::files::{ENVIRONMENT_FILE, HISTOGRAMS_FOLDER, RESULTS_FILE, RUN_FILE, TIMELINES_FOLDER, file_name, replace, write_json};
use crate::histogram::{HistogramLog, stem};
use crate::record::{RunRecord, read_record};
use crate::render::{Rendered, plot_folder};
use crate::row::{Point, Row, SCHEMA};
use crate::writer::RowWriter;

/// A folder that holds one run, open for writing.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    record: RunRecord,
    rows: RowWriter,
}

impl RunFolder {
    /// Makes the folder of a new run: `out` as given, which must be missing or empty, or else
    /// `results/<date-time>-<name>` under the working directory. Writes `run.json` and an empty `results.csv`.
    ///
    /// # Errors
    /// [`ResultsError::AlreadyARun`], [`ResultsError::NotEmpty`], or [`ResultsError::Io`] where it cannot be written.
    pub fn create(out: Option<&Path>, name: &str, command: Vec<String>, asked: Value, effective: Value) -> Result<RunFolder, ResultsError> {
        let started = Moment::now();
        let run_id = format!("{}-{}", started.file_name(), file_name(name));
        let path = new_folder(out, name, &started)?;
        let run_id = match out {
            Some(_) => run_id,
            None => path.file_name().map_or(run_id, |name| name.to_string_lossy().into_owned()),
        };
        let record = RunRecord { schema: SCHEMA, run_id, started: started.rfc3339(), resumed: None, command, asked, effective };
        write_json(&path.join(RUN_FILE), &record)?;
        let rows = RowWriter::create(&path.join(RESULTS_FILE))?;
        Ok(RunFolder { path, record, rows })
    }

    /// Goes on with the run in `path`. Its `run.json` says what was asked: compare before going on with other settings.
    ///
    /// # Errors
    /// [`ResultsError::NotARun`] without a `run.json`, [`ResultsError::Locked`] while another process writes it, and
    /// what [`RowWriter::resume`] finds wrong with the rows.
    pub fn resume(path: &Path) -> Result<RunFolder, ResultsError> {
        let mut record = read_record(path)?.ok_or_else(|| ResultsError::NotARun { path: path.to_path_buf(), missing: RUN_FILE })?;
        let rows = RowWriter::resume(&path.join(RESULTS_FILE))?;
        record.resumed = Some(Moment::now().rfc3339());
        write_json(&path.join(RUN_FILE), &record)?;
        Ok(RunFolder { path: path.to_path_buf(), record, rows })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `run.json` holds.
    pub fn record(&self) -> &RunRecord {
        &self.record
    }

    /// What was already measured.
    pub fn rows(&self) -> &RowWriter {
        &self.rows
    }

    /// Replaces what `run.json` says ran, for settings that are only known later.
    ///
    /// # Errors
    /// [`ResultsError::Io`].
    pub fn set_effective(&mut self, effective: Value) -> Result<(), ResultsError> {
        self.record.effective = effective;
        write_json(&self.path.join(RUN_FILE), &self.record)
    }

    /// Writes `environment.json`.
    ///
    /// # Errors
    /// [`ResultsError::Io`].
    pub fn write_environment(&self, environment: &Environment) -> Result<(), ResultsError> {
        write_json(&self.path.join(ENVIRONMENT_FILE), environment)
    }

    /// Writes `environment.<rank>.json`, of another host of the run.
    ///
    /// # Errors
    /// [`ResultsError::Io`].
    pub fn write_environment_of(&self, rank: usize, environment: &Environment) -> Result<(), ResultsError> {
        write_json(&self.path.join(format!("environment.{rank}.json")), environment)
    }

    /// Writes one row, with this run's id and schema; on return it is on disk.
    ///
    /// # Errors
    /// As [`RowWriter::append`].
    pub fn append(&mut self, row: &Row) -> Result<(), ResultsError> {
        let row = Row { schema: SCHEMA, run_id: self.record.run_id.clone(), ..row.clone() };
        self.rows.append(&row)
    }

    /// Writes the latencies of one trial, in nanoseconds, as `histograms/<point>-t<trial>.hlog` (HdrHistogram's
    /// interval log) and `.hgrm` (percentiles as text, in microseconds).
    ///
    /// # Errors
    /// [`ResultsError::Io`].
    pub fn write_histogram(&self, point: &Point, trial: u32, log: &HistogramLog<'_>) -> Result<(), ResultsError> {
        let folder = self.path.join(HISTOGRAMS_FOLDER);
        fs::create_dir_all(&folder).map_err(ResultsError::io(&folder, "create"))?;
        let stem = stem(point, trial);
        let hlog = folder.join(format!("{stem}.hlog"));
        replace(&hlog, &log.interval_log(point).map_err(ResultsError::io(&hlog, "write"))?)?;
        let hgrm = folder.join(format!("{stem}.hgrm"));
        replace(&hgrm, log.percentile_text().as_bytes())
    }

    /// Writes what one trial saw over time, a CSV text, as `timelines/<point>-t<trial>.csv`.
    ///
    /// # Errors
    /// [`ResultsError::Io`].
    pub fn write_timeline(&self, point: &Point, trial: u32, text: &str) -> Result<(), ResultsError> {
        let folder = self.path.join(TIMELINES_FOLDER);
        fs::create_dir_all(&folder).map_err(ResultsError::io(&folder, "create"))?;
        replace(&folder.join(format!("{}.csv", stem(point, trial))), text.as_bytes())
    }

    /// Writes the same as a trace, in the trace event format of Chrome (JSON), as
    /// `timelines/<point>-t<trial>.trace.json`.
    ///
    /// # Errors
    /// [`ResultsError::Io`].
    pub fn write_trace(&self, point: &Point, trial: u32, json: &str) -> Result<(), ResultsError> {
        let folder = self.path.join(TIMELINES_FOLDER);
        fs::create_dir_all(&folder).map_err(ResultsError::io(&folder, "create"))?;
        replace(&folder.join(format!("{}.trace.json", stem(point, trial))), json.as_bytes())
    }

    /// Writes `summary.csv`, the plots and `report.html` from what the folder holds now.
    ///
    /// # Errors
    /// As [`plot_folder`].
    pub fn render(&self) -> Result<Rendered, ResultsError> {
        plot_folder(&self.path)
    }
}

const RESULTS_ROOT: &str = "results";

/// Makes the folder of a new run: `out` as given, which must be missing or empty, or else `results/<date-time>-<name>`
/// under the working directory, with a number behind it where another run of the same second has that.
///
/// # Errors
/// As [`RunFolder::create`].
pub fn new_folder(out: Option<&Path>, name: &str, started: &Moment) -> Result<PathBuf, ResultsError> {
    match out {
        Some(path) => made_as_given(path),
        None => made_anew(Path::new(RESULTS_ROOT), &format!("{}-{}", started.file_name(), file_name(name))),
    }
}

fn made_as_given(path: &Path) -> Result<PathBuf, ResultsError> {
    match fs::read_dir(path) {
        Ok(mut entries) => {
            if path.join(RUN_FILE).exists() || path.join(RESULTS_FILE).exists() {
                return Err(ResultsError::AlreadyARun { path: path.to_path_buf() });
            }
            if entries.next().is_some() {
                return Err(ResultsError::NotEmpty { path: path.to_path_buf() });
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(path).map_err(ResultsError::io(path, "create"))?;
        }
        Err(error) => return Err(ResultsError::io(path, "use")(error)),
    }
    Ok(path.to_path_buf())
}

/// Makes `root/name`, or `root/name-2` and so on where another run of the same second has it.
fn made_anew(root: &Path, name: &str) -> Result<PathBuf, ResultsError> {
    fs::create_dir_all(root).map_err(ResultsError::io(root, "create"))?;
    let mut path = root.join(name);
    let mut attempt = 1;
    loop {
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                attempt += 1;
                path = root.join(format!("{name}-{attempt}"));
            }
            Err(error) => return Err(ResultsError::io(&path, "create")(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_of_the_same_second_gets_its_own_folder() {
        let root = tempfile::tempdir().unwrap();
        let first = made_anew(root.path(), "run").unwrap();
        let second = made_anew(root.path(), "run").unwrap();
        assert_ne!(first, second);
        assert!(second.ends_with("run-2"));
    }
}
