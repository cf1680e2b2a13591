//! What can go wrong with results, with the facts and the way out.

use std::io;
use std::path::{Path, PathBuf};

/// An expected failure of reading, writing or comparing results.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultsError {
    /// The operating system refused something.
    #[error("cannot {doing} {}: {reason}{}", path.display(), advice(reason))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was attempted, as a verb: `create`, `read`, `write`.
        doing: &'static str,
        /// The reason.
        reason: io::Error,
    },
    /// A result file holds something that it may not hold.
    #[error("{}, line {line}: {what}; expected {expected}. {mend}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is there.
        what: String,
        /// What should be there.
        expected: String,
        /// What to do about it.
        mend: &'static str,
    },
    /// A folder that was to be new is not.
    #[error("{} already holds a run; continue it with --resume, or give another --out", path.display())]
    AlreadyARun {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that was to be new has something else in it.
    #[error("{} is not empty and holds no run, so nothing is written there; give another --out", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that was to hold a run does not.
    #[error(
        "{} holds no run: {missing} is missing; give a folder that `squall run` or `squall reproduce` wrote, or a results.csv",
        path.display()
    )]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// The file that makes a folder a run.
        missing: &'static str,
    },
    /// Somebody else is writing this run.
    #[error("{} is being written by another squall; wait for it or give another --out", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// A row that no reader would take back.
    #[error(
        "a row of {} would hold {column} = {value}, which is not a finite number of 0 or more: a bug in the experiment",
        path.display()
    )]
    UnwritableRow {
        /// The file.
        path: PathBuf,
        /// The column.
        column: &'static str,
        /// The value.
        value: f64,
    },
    /// Two runs that do not measure the same thing.
    #[error("refusing to compare {a} with {b}: {reason}")]
    Incomparable {
        /// The baseline.
        a: String,
        /// The candidate.
        b: String,
        /// What differs.
        reason: String,
    },
    /// A file that was to be the output of another benchmark is not.
    #[error("{}, line {line}: not what {tool} prints: {what}; expected {expected}. {mend}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The benchmark.
        tool: &'static str,
        /// What is there.
        what: String,
        /// What should be there.
        expected: String,
        /// What to do about it.
        mend: String,
    },
    /// A figure could not be drawn.
    #[error("cannot draw {}: {reason}", path.display())]
    Plot {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

impl ResultsError {
    pub(super) fn io(path: &Path, doing: &'static str) -> impl FnOnce(io::Error) -> ResultsError {
        let path = path.to_path_buf();
        move |reason| ResultsError::Io { path, doing, reason }
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "; give a folder you may write to with --out",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space, then continue with --resume",
        io::ErrorKind::FileTooLarge => "; raise `ulimit -f`, then continue with --resume",
        io::ErrorKind::NotFound => "; check the path",
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => "; a file, or a link that leads nowhere, is where a folder would be",
        _ => "",
    }
}
