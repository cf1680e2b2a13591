//! # Squall's report
//!
//! From a measured row to files, plots, a report and a comparison.
//!
//! ```text
//!  Row --RowWriter--> results.csv --read_rows--> Summary --> summary.csv, plots/, report.html, exports
//!        (RunFolder)       ^              \
//!  other tools --import----'               `--> compare(A, B), advice
//! ```
//!
//! A run lives in one folder ([`RunFolder`]) and is written row by row, so that a killed run keeps what it measured and
//! can be resumed. Everything but `run.json`, `environment.json` and the histograms is made from `results.csv` alone
//! ([`plot_folder`]), so that a file from another machine can be drawn and compared ([`compare`]) as well.
//!
//! `results/README.md` explains each column and each bound.
#![forbid(unsafe_code)]

mod advice;
pub mod bounds;
mod clock;
mod compare;
pub mod environment;
mod error;
mod export;
mod files;
mod folder;
mod gallery;
mod histogram;
mod import;
mod latencies;
mod page;
mod plots;
mod reader;
mod record;
mod render;
mod row;
pub mod statistics;
mod summary;
pub mod units;
mod writer;

pub use advice::{Advice, NOISY, advice, precision};
pub use clock::Moment;
pub use compare::{
    AtLeast, BelowFloor, CompareOptions, ComparedMetric, Comparison, Difference, Gate, Rate, Saved, Verdict, Wanted, at_least, compare,
    lines_csv, save_baseline, side_by_side, side_by_side_markdown, write_page,
};
pub use environment::Environment;
pub use error::ResultsError;
pub use export::{bencher, criterion};
pub use files::{
    ENVIRONMENT_FILE, HISTOGRAMS_FOLDER, LATENCIES_FILE, PLOTS_FOLDER, REPORT_FILE, RESULTS_FILE, RUN_FILE, SUMMARY_FILE, TIMELINES_FOLDER,
    read_file,
};
pub use folder::{RunFolder, new_folder};
pub use gallery::{Gallery, gallery};
pub use histogram::HistogramLog;
pub use import::{Source, import};
pub use latencies::carries;
pub use plots::{Drawn, Style, StyleName};
pub use reader::{Rows, parse_rows, read_rows};
pub use record::RunRecord;
pub use render::{Rendered, plot_folder, plot_folder_as};
pub use row::{CHOSEN, COLUMNS, ColumnKind, Point, Row, SCHEMA, SIMULATED};
pub use summary::{Metric, PointSummary, Spread, Summary, Unmeasured};
pub use writer::RowWriter;
