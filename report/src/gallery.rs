//! An index over runs, perhaps of several machines: `index.html` in the folder that holds them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::environment::Environment;
use crate::error::ResultsError;
use crate::files::{ENVIRONMENT_FILE, PLOTS_FOLDER, REPORT_FILE, RESULTS_FILE, read_json, replace};
use crate::page::{escape, frame, section};
use crate::plots::limits::reasons;
use crate::reader::read_rows;
use crate::record::read_record;
use crate::summary::{Metric, PointSummary, Summary};
use crate::units;

/// The name of the index.
const INDEX_FILE: &str = "index.html";

/// What [`gallery`] made.
#[derive(Clone, Debug, PartialEq)]
pub struct Gallery {
    /// The index.
    pub index: PathBuf,
    /// Runs in it.
    pub runs: usize,
    /// Runs that could not be read, and what was left out of others, one sentence each; the index says it too.
    pub notices: Vec<String>,
}

/// Writes an index over the runs in the folders below `folder`: when and on what machine each was measured, what it
/// holds at best, a figure, and links to its report.
///
/// # Errors
/// [`ResultsError::Io`], or [`ResultsError::NotARun`] if there is no run.
pub fn gallery(folder: &Path) -> Result<Gallery, ResultsError> {
    let entries = fs::read_dir(folder).map_err(ResultsError::io(folder, "read"))?;
    let mut runs: Vec<PathBuf> =
        entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.join(RESULTS_FILE).exists()).collect();
    runs.sort();
    if runs.is_empty() {
        return Err(ResultsError::NotARun { path: folder.to_path_buf(), missing: "a folder with results.csv" });
    }
    let mut notices = Vec::new();
    let mut cards: Vec<(String, String)> = Vec::new();
    for run in &runs {
        match card(run, &mut notices) {
            Ok(found) => cards.push(found),
            Err(error) => {
                cards.push((String::new(), section(&escape(&name_of(run)), &warning(&error.to_string()))));
                notices.push(error.to_string());
            }
        }
    }
    // The newest first.
    cards.sort_by(|a, b| b.0.cmp(&a.0));
    let cards: String = cards.into_iter().map(|(_, card)| card).collect();
    let body = format!("<h1>Squall: {}</h1>\n{cards}", units::counted(runs.len(), "run"));
    let index = folder.join(INDEX_FILE);
    replace(&index, frame("Squall: runs", &body).as_bytes())?;
    Ok(Gallery { index, runs: runs.len(), notices })
}

/// When a run began, and its place in the index; what was left out of it is added to `notices`.
fn card(run: &Path, notices: &mut Vec<String>) -> Result<(String, String), ResultsError> {
    let found = read_rows(run)?;
    let summary = Summary::of(&found.rows);
    let record = read_record(run)?;
    let environment: Option<Environment> = read_json(&run.join(ENVIRONMENT_FILE))?;
    let name = name_of(run);
    let begun = record.as_ref().map(|record| record.started.clone()).unwrap_or_default();
    let mut text = String::new();
    let command = record.map(|record| record.command.join(" ")).unwrap_or_default();
    text.push_str(&format!("<p>{} <code>{}</code></p>\n", escape(&begun), escape(&command)));
    text.extend(found.notices.iter().map(|notice| warning(notice)));
    notices.extend(found.notices);
    let machine = environment.map_or_else(|| "unknown machine".to_owned(), |environment| environment.headline());
    text.push_str(&format!("<p>{}</p>\n", escape(&machine)));
    text.push_str(&format!("<p>{}: {}</p>\n", units::counted(summary.points.len(), "point"), escape(&best(&summary))));
    let stood_in = reasons(&summary.points.iter().collect::<Vec<_>>());
    if !stood_in.is_empty() {
        text.push_str(&format!("<p>{}</p>\n", escape(&stood_in)));
    }
    let link = |file: &str, label: &str| match run.join(file).exists() {
        true => format!("<a href=\"{}/{file}\">{label}</a> ", escape(&name)),
        false => String::new(),
    };
    text.push_str(&format!("<p>{}{}</p>\n", link(REPORT_FILE, "report"), link(RESULTS_FILE, "results.csv")));
    if let Some(figure) = first_figure(run) {
        text.push_str(&format!(
            "<figure><img src=\"{}/{PLOTS_FOLDER}/{}\" alt=\"{0}\" width=\"720\" loading=\"lazy\"></figure>",
            escape(&name),
            escape(&figure)
        ));
    }
    Ok((begun, section(&escape(&name), &text)))
}

/// The greatest bandwidth and rate and the least latency of each experiment, in one line.
fn best(summary: &Summary) -> String {
    let mut experiments: Vec<&str> = summary.points.iter().map(|point| point.point.experiment.as_str()).collect();
    experiments.dedup();
    let wanted = [(Metric::Algbw, "GB/s"), (Metric::LatencyP50, "µs")];
    let of = |experiment: &&str| {
        let points = || summary.points.iter().filter(|point| point.point.experiment == *experiment);
        let extremes = wanted.iter().filter_map(|(metric, unit)| {
            let medians = points().filter_map(|point| Some((point.spread(*metric)?.median, point)));
            let by = |a: &(f64, &PointSummary), b: &(f64, &PointSummary)| a.0.total_cmp(&b.0);
            let (value, point) = if metric.more_is_better() { medians.max_by(by) } else { medians.min_by(by) }?;
            // What a model computed, or too few cores gave, is nobody's best without that word.
            let how = point.emulation().map(|label| format!(" ({label})")).unwrap_or_default();
            Some(format!("{} {unit}{how}", units::number(value)))
        });
        format!("{experiment} {}", extremes.collect::<Vec<_>>().join(", "))
    };
    experiments.iter().map(of).collect::<Vec<_>>().join("; ")
}

/// A figure of the main experiment, or the first there is.
fn first_figure(run: &Path) -> Option<String> {
    let entries = fs::read_dir(run.join(PLOTS_FOLDER)).ok()?;
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).filter(|name| name.ends_with(".svg")).collect();
    names.sort();
    names.iter().find(|name| name.starts_with("multicast-")).or(names.first()).cloned()
}

fn warning(text: &str) -> String {
    format!("<p class=\"warning\">{}</p>\n", escape(text))
}

fn name_of(run: &Path) -> String {
    run.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
