//! A run as one file that can be committed, with the machine that it was measured on.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::ResultsError;
use crate::files::{self, ENVIRONMENT_FILE, read_json, replace};
use crate::reader::read_rows;
use crate::record::read_record;
use crate::row::Row;

/// What the first line of a baseline begins with; a JSON object follows. Readers of rows pass over lines that begin
/// with `#`, so that a baseline is a result file as well.
const MARK: &str = "# squall baseline ";

/// What [`save_baseline`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Trials in the file.
    pub trials: usize,
    /// Things that were put right while reading the run, one sentence each.
    pub notices: Vec<String>,
}

/// What surrounds rows, where their file or folder tells it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Surroundings {
    /// Every setting that ran.
    pub(super) effective: Option<Value>,
    /// The machine and the program.
    pub(super) environment: Option<Value>,
    /// Where the machine is told.
    pub(super) told_by: String,
}

/// Writes what a run measured, and the machine, into one file. Points without a measurement are left out.
///
/// # Errors
/// As [`read_rows`], [`ResultsError::Incomparable`] if the run measured nothing, and [`ResultsError::Io`].
pub fn save_baseline(run: &Path, file: &Path) -> Result<Saved, ResultsError> {
    let found = read_rows(run)?;
    let rows: Vec<Row> = found.rows.into_iter().filter(Row::is_measured).collect();
    if rows.is_empty() {
        let reason = "it measured nothing".to_owned();
        return Err(ResultsError::Incomparable { a: run.display().to_string(), b: "later runs".into(), reason });
    }
    let folder = folder_of(run);
    let record = read_record(&folder)?;
    let about = json!({
        "environment": surroundings(run)?.environment,
        "started": record.as_ref().map(|record| record.started.as_str()),
        "command": record.as_ref().map(|record| record.command.join(" ")),
    });
    let failed = |error: csv::Error| ResultsError::io(file, "write")(std::io::Error::other(error));
    let mut bytes = format!("{MARK}{about}\n").into_bytes();
    let mut writer = csv::Writer::from_writer(&mut bytes);
    for row in &rows {
        writer.serialize(row.on_one_line()).map_err(failed)?;
    }
    writer.flush().map_err(ResultsError::io(file, "write"))?;
    drop(writer);
    replace(file, &bytes)?;
    Ok(Saved { trials: rows.len(), notices: found.notices })
}

/// What surrounds the rows of a run's folder, of a `results.csv` in one, or of a baseline.
pub(super) fn surroundings(path: &Path) -> Result<Surroundings, ResultsError> {
    if let Some(about) = about(path)? {
        let environment = about.get("environment").filter(|environment| environment.is_object()).cloned();
        return Ok(Surroundings { effective: None, environment, told_by: format!("{}, line 1", path.display()) });
    }
    let folder = folder_of(path);
    let file = folder.join(ENVIRONMENT_FILE);
    Ok(Surroundings {
        effective: read_record(&folder)?.map(|record| record.effective),
        environment: read_json::<Value>(&file)?,
        told_by: file.display().to_string(),
    })
}

/// What the first line of a baseline says; nothing of another file.
fn about(path: &Path) -> Result<Option<Value>, ResultsError> {
    if path.is_dir() {
        return Ok(None);
    }
    let bytes = files::read_file(path)?;
    let Some(about) = bytes.split(|&byte| byte == b'\n').next().and_then(|line| line.strip_prefix(MARK.as_bytes())) else {
        return Ok(None);
    };
    serde_json::from_slice(about).map(Some).map_err(|error| ResultsError::Malformed {
        path: path.to_path_buf(),
        line: 1,
        what: error.to_string(),
        expected: "what squall knew of the machine, as JSON".into(),
        mend: "Take the file back from a copy, or make it anew with squall compare RUN --save-baseline FILE.",
    })
}

fn folder_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.to_path_buf() } else { path.parent().unwrap_or(Path::new("")).to_path_buf() }
}
