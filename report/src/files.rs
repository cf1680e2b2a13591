//! The files of a run: how they are called, read and written.

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::ResultsError;

/// What was asked and what ran.
pub const RUN_FILE: &str = "run.json";
/// The machine.
pub const ENVIRONMENT_FILE: &str = "environment.json";
/// One row a trial.
pub const RESULTS_FILE: &str = "results.csv";
/// One row a point.
pub const SUMMARY_FILE: &str = "summary.csv";
/// Samples and percentiles of each trial with a histogram.
pub const LATENCIES_FILE: &str = "latencies.csv";
/// Bandwidth over time.
pub const TIMELINES_FOLDER: &str = "timelines";
/// Latency histograms.
pub const HISTOGRAMS_FOLDER: &str = "histograms";
/// Figures.
pub const PLOTS_FOLDER: &str = "plots";
/// The page with everything on it.
pub const REPORT_FILE: &str = "report.html";

/// No file that is read here is larger: what is (`/dev/zero`) was named by mistake.
const BYTES_MAX: u64 = 256 << 20;

/// What is in a file that somebody named.
///
/// # Errors
/// [`ResultsError::Io`]: it cannot be read, or has no end.
pub fn read_file(path: &Path) -> Result<Vec<u8>, ResultsError> {
    read_up_to(path, BYTES_MAX)
}

fn read_up_to(path: &Path, most: u64) -> Result<Vec<u8>, ResultsError> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > most {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("more than {most} bytes, which no file of results has")));
        }
        Ok(bytes)
    };
    read().map_err(ResultsError::io(path, "read"))
}

/// A JSON file, or nothing if there is none.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ResultsError> {
    let bytes = match read_file(path) {
        Ok(bytes) => bytes,
        Err(ResultsError::Io { reason, .. }) if reason.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| ResultsError::Malformed {
        path: path.to_path_buf(),
        line: error.line() as u64,
        what: error.to_string(),
        expected: "what squall wrote there".into(),
        mend: "Take the file back from a copy, or remove the folder and measure again.",
    })
}

/// Writes a file so that a reader sees the old or the new one, never a part.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), ResultsError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let write = || -> io::Result<()> {
        let mut file = fs::File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&part, path)
    };
    write().map_err(ResultsError::io(path, "write"))
}

/// A value as a JSON file, written as [`replace`] does.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), ResultsError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| ResultsError::io(path, "write")(io::Error::other(error)))?;
    text.push(b'\n');
    replace(path, &text)
}

/// `text` with everything but letters, digits, `.`, `_` and `-` replaced, so that it can be a part of a file name.
pub(crate) fn file_name(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => c,
            _ => '-',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_file_names() {
        assert_eq!(file_name("smc rate/1"), "smc-rate-1");
    }
}
