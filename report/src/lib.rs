//! # Squall's report
//!
//! From a measured row to files, plots, a report and a comparison.
//!
//! ```text
//!  Row --RowWriter--> results.csv --read_rows--> Summary --> summary.csv, plots/, report.html
//!        (RunFolder)                      \
//!                                          `--> compare(A, B)
//! ```
//!
//! A run lives in one folder ([`RunFolder`]) and is written row by row, so that a killed run keeps what it measured and can
//! be resumed. Everything but `run.json`, `environment.json` and the histograms is made from `results.csv` alone
//! ([`plot_folder`]), so that a file from another machine can be drawn and compared ([`compare`]) as well.
//!
//! `results/README.md` explains each column and each bound.
#![forbid(unsafe_code)]

pub mod bounds;
mod clock;
mod compare;
pub mod environment;
mod error;
mod folder;
mod histogram;
mod page;
mod plots;
mod reader;
mod render;
mod row;
pub mod statistics;
mod summary;
pub mod units;
mod writer;

pub use clock::Moment;
pub use compare::{CompareOptions, ComparedMetric, Comparison, Difference, compare};
pub use environment::Environment;
pub use error::ResultsError;
pub use folder::{RunFolder, RunRecord};
pub use histogram::HistogramLog;
pub use plots::Drawn;
pub use reader::{Rows, parse_rows, read_rows};
pub use render::{Rendered, plot_folder};
pub use row::{COLUMNS, ColumnKind, Point, Row, SCHEMA};
pub use summary::{Metric, PointSummary, Spread, Summary, Unmeasured};
pub use writer::RowWriter;

/// What was asked and what ran.
pub const RUN_FILE: &str = "run.json";
/// The machine.
pub const ENVIRONMENT_FILE: &str = "environment.json";
/// One row a trial.
pub const RESULTS_FILE: &str = "results.csv";
/// One row a point.
pub const SUMMARY_FILE: &str = "summary.csv";
/// Bandwidth over time.
pub const TIMELINES_FOLDER: &str = "timelines";
/// Latency histograms.
pub const HISTOGRAMS_FOLDER: &str = "histograms";
/// Figures.
pub const PLOTS_FOLDER: &str = "plots";
/// The page with everything on it.
pub const REPORT_FILE: &str = "report.html";
