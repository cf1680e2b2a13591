//! What other benchmarks printed, as rows: so that everything that reads rows works for them too.
//!
//! The source is the row's `fabric`; what it measured is the `experiment` of ours that it stands beside, and its own
//! name stands in `schedule` or `note`. Nothing is guessed: what a tool does not print stays empty.

mod fio;
mod iperf3;
mod lines;
mod nccl_tests;
mod osu;
mod perftest;
mod sockperf;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::ResultsError;
use crate::files;
use crate::row::{Point, Row};
use lines::Flaw;

/// A benchmark whose output is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `ib_write_bw`, `ib_write_lat` and their kin of send and read.
    Perftest,
    /// The OSU micro-benchmarks of MPI.
    Osu,
    /// NVIDIA's nccl-tests, and rccl-tests.
    NcclTests,
    /// `iperf3 --json`.
    Iperf3,
    /// `fio --output-format=json`.
    Fio,
    /// sockperf.
    Sockperf,
}

impl Source {
    /// All of them.
    pub const ALL: [Source; 6] = [Source::Perftest, Source::Osu, Source::NcclTests, Source::Iperf3, Source::Fio, Source::Sockperf];

    /// What the command line calls it.
    pub fn name(self) -> &'static str {
        match self {
            Source::Perftest => "perftest",
            Source::Osu => "osu",
            Source::NcclTests => "nccl-tests",
            Source::Iperf3 => "iperf3",
            Source::Fio => "fio",
            Source::Sockperf => "sockperf",
        }
    }

    fn rows(self, text: &str, nodes: Option<u32>) -> Result<Vec<Row>, Flaw> {
        match self {
            Source::Perftest => perftest::rows(text),
            Source::Osu => osu::rows(text, nodes),
            Source::NcclTests => nccl_tests::rows(text),
            Source::Iperf3 => iperf3::rows(text),
            Source::Fio => fio::rows(text),
            Source::Sockperf => sockperf::rows(text),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Source, String> {
        let known = || Source::ALL.map(Source::name).join(", ");
        Source::ALL.into_iter().find(|source| source.name() == text).ok_or_else(|| format!("give one of {}", known()))
    }
}

/// Reads what a benchmark printed into each of the files. The same point in several files, or several times in one, is
/// one more trial. `nodes` is how many took part, for a source that does not print it.
///
/// # Errors
/// [`ResultsError::Io`], or [`ResultsError::Foreign`] for a file that only looks like one of the source.
pub fn import(source: Source, files: &[PathBuf], nodes: Option<u32>) -> Result<Vec<Row>, ResultsError> {
    let mut trials: HashMap<Point, u32> = HashMap::new();
    let mut rows = Vec::new();
    for file in files {
        let text = read(file)?;
        let foreign = |flaw: Flaw| ResultsError::Foreign {
            path: file.clone(),
            line: flaw.line,
            tool: source.name(),
            what: flaw.what,
            expected: flaw.expected,
            mend: flaw.mend,
        };
        for row in source.rows(&text, nodes).map_err(foreign)? {
            let trial = trials.entry(row.point()).or_default();
            *trial += 1;
            rows.push(Row { trial: *trial, verified: "none".into(), ..row });
        }
    }
    Ok(rows)
}

/// The text of a file; bytes that are no text are shown as such, and found wrong where they stand.
fn read(file: &Path) -> Result<String, ResultsError> {
    Ok(String::from_utf8_lossy(&files::read_file(file)?).into_owned())
}
