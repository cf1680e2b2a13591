//! A comparison as one page: the curves of all runs over each other, what came of each, and the lines that differ.

use std::path::Path;

use super::comparison::Comparison;
use super::many::ABOVE_ONE;
use super::tables::{in_words, short_name};
use crate::error::ResultsError;
use crate::files::replace;
use crate::page::{Part, escape, frame, grouped_table, interactive, section};
use crate::plots::{Drawn, figures};
use crate::reader::read_rows;
use crate::summary::Summary;
use crate::units;

/// Writes one page with the runs of these comparisons, which share a baseline.
///
/// # Errors
/// As [`read_rows`], and [`ResultsError::Io`].
pub fn write_page(comparisons: &[Comparison], file: &Path) -> Result<(), ResultsError> {
    let Some(first) = comparisons.first() else { return Ok(()) };
    let mut runs: Vec<(char, Summary, Vec<Drawn>)> = Vec::new();
    for (path, letter) in std::iter::once(&first.a).chain(comparisons.iter().map(|comparison| &comparison.b)).zip('A'..='Z') {
        let summary = Summary::of(&read_rows(path)?.rows);
        let folder = if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(Path::new("")) };
        let figures = figures(&summary, folder);
        runs.push((letter, summary, figures));
    }
    let mut body = format!(
        "<h1>Squall: {} compared</h1>\n<p>A: <code>{}</code></p>\n",
        units::counted(runs.len(), "run"),
        escape(&first.a.display().to_string())
    );
    for (comparison, (letter, ..)) in comparisons.iter().zip(&runs[1..]) {
        let name = escape(&comparison.b.display().to_string());
        body.push_str(&section(&format!("{letter}: <code>{name}</code>"), &found(comparison, *letter)));
    }
    let names: Vec<String> = runs.iter().map(|(letter, ..)| letter.to_string()).collect();
    let parts: Vec<Part<'_>> = names.iter().zip(&runs).map(|(name, (_, summary, figures))| Part { name, summary, figures }).collect();
    body.push_str(&interactive(&parts, false));
    replace(file, frame("Squall: a comparison", &body).as_bytes())
}

/// What came of one comparison, whose candidate goes by a letter.
fn found(comparison: &Comparison, letter: char) -> String {
    let summary: String = comparison.summary(letter).lines().map(|line| format!("<p>{}</p>\n", escape(line))).collect();
    let notices: String = comparison.notices.iter().map(|notice| format!("<p class=\"warning\">{}</p>\n", escape(notice))).collect();
    let lines = comparison.shown(true).into_iter().map(|line| {
        vec![
            line.point.to_string(),
            short_name(line.metric).to_owned(),
            format!("{} ({})", units::number(line.a_median), line.a_trials),
            format!("{} ({})", units::number(line.b_median), line.b_trials),
            format!("{:.3}", line.ratio),
            format!("{:.3} .. {:.3}", line.ratio_low, line.ratio_high),
            line.verdict.map(in_words).unwrap_or_default(),
        ]
    });
    let lines: Vec<Vec<String>> = lines.collect();
    let table = grouped_table(&["point", "metric", "A", "this", "ratio", "95 % interval", "verdict"], &lines);
    format!("{summary}{notices}<details><summary>every line</summary>\n{table}</details>\n<p>{}</p>\n", escape(ABOVE_ONE))
}
