//! Everything that is made from `results.csv`: summary, figures, report.

use std::path::{Path, PathBuf};

use crate::error::ResultsError;
use crate::files::{ENVIRONMENT_FILE, PLOTS_FOLDER, REPORT_FILE, RESULTS_FILE, SUMMARY_FILE, read_json, replace};
use crate::latencies;
use crate::page::{Report, html};
use crate::plots::{Drawn, Style, draw};
use crate::reader::read_rows;
use crate::record::read_record;
use crate::summary::Summary;

/// What [`plot_folder`] made.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// The run, point by point.
    pub summary: Summary,
    /// The figures.
    pub figures: Vec<Drawn>,
    /// The page with everything on it.
    pub report: PathBuf,
    /// Things that were put right while reading, one sentence each.
    pub notices: Vec<String>,
}

/// Writes `summary.csv`, `latencies.csv`, `plots/` and `report.html` anew from `results.csv`, and from `run.json`,
/// `environment.json` and `histograms/` and `timelines/` where the folder has them.
///
/// # Errors
/// [`ResultsError::NotARun`] without `results.csv`, what [`read_rows`] finds wrong with it, and [`ResultsError::Io`]
/// where the folder cannot be written.
pub fn plot_folder(folder: &Path) -> Result<Rendered, ResultsError> {
    plot_folder_as(folder, Style::default())
}

/// The same, with figures of another style.
///
/// # Errors
/// As [`plot_folder`].
pub fn plot_folder_as(folder: &Path, style: Style) -> Result<Rendered, ResultsError> {
    if !folder.join(RESULTS_FILE).exists() {
        return Err(ResultsError::NotARun { path: folder.to_path_buf(), missing: RESULTS_FILE });
    }
    let found = read_rows(folder)?;
    let summary = Summary::of(&found.rows);
    summary.write(&folder.join(SUMMARY_FILE))?;
    latencies::write(&found.rows, folder)?;
    let figures = draw(&summary, folder, &folder.join(PLOTS_FOLDER), style)?;
    let report = folder.join(REPORT_FILE);
    let page = html(&Report {
        name: found.rows.first().map_or("", |row| &row.run_id),
        record: read_record(folder)?.as_ref(),
        environment: read_json(&folder.join(ENVIRONMENT_FILE))?.as_ref(),
        summary: &summary,
        figures: &figures,
        notices: &found.notices,
    });
    replace(&report, page.as_bytes())?;
    Ok(Rendered { summary, figures, report, notices: found.notices })
}
