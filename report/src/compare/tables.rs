//! Tables of a comparison: for a terminal, as Markdown, as CSV.

use comfy_table::Table;

use super::comparison::{ComparedMetric, Comparison};
use super::verdict::{Verdict, Wanted};
use crate::row::Point;
use crate::statistics::median;
use crate::units;

/// Every line of every comparison as CSV, for other programs: `run` is what is compared with the baseline.
pub fn lines_csv(comparisons: &[Comparison]) -> String {
    const METRIC: [&str; 11] =
        ["metric", "a_median", "a_trials", "b_median", "b_trials", "ratio", "ratio_low", "ratio_high", "verdict", "trials_wanted", "gate"];
    let mut writer = csv::Writer::from_writer(Vec::new());
    let of_all = comparisons.iter().flat_map(|comparison| comparison.lines.iter().map(|line| (comparison.b.display().to_string(), line)));
    let records = of_all.map(|(run, line)| {
        let metric = [
            line.metric.to_owned(),
            line.a_median.to_string(),
            line.a_trials.to_string(),
            line.b_median.to_string(),
            line.b_trials.to_string(),
            line.ratio.to_string(),
            line.ratio_low.to_string(),
            line.ratio_high.to_string(),
            line.verdict.map(|verdict| verdict.to_string()).unwrap_or_default(),
            line.trials_wanted.map(|trials| trials.to_string()).unwrap_or_default(),
            line.gate.map(|gate| gate.to_string()).unwrap_or_default(),
        ];
        [run].into_iter().chain(line.point.cells()).chain(metric)
    });
    // Writing to memory does not fail.
    let _ = writer.write_record(["run"].into_iter().chain(Point::COLUMNS).chain(METRIC));
    for record in records {
        let _ = writer.write_record(record);
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

impl Comparison {
    /// The comparison as Markdown, for a pull request: the summary, a line for each part, and the lines that differ.
    pub fn markdown(&self, all: bool) -> String {
        let mut text = format!("**A** `{}` against **B** `{}`\n\n", self.a.display(), self.b.display());
        for line in self.summary('B').lines().chain(self.notices.iter().map(String::as_str)) {
            text.push_str(&format!("- {line}\n"));
        }
        text.push_str(&format!("\n{}\n", parts_table(self)));
        let shown = self.shown(all);
        if !shown.is_empty() {
            text.push_str(&format!("\n{}\n", lines_table(&shown)));
        }
        text.push_str(&format!("\n{}\n", self.orientation));
        text
    }
}

/// A table that is Markdown too.
pub(super) fn plain_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header(header);
    table
}

/// One line a metric of a point.
pub(super) fn lines_table(lines: &[&ComparedMetric]) -> Table {
    let mut table = plain_table(&["point", "metric", "A", "B", "ratio", "95 % interval", "mark", "verdict"]);
    for line in lines {
        let gate = line.gate.map(|gate| format!("; gate: {gate}")).unwrap_or_default();
        table.add_row([
            line.point.to_string(),
            short_name(line.metric).to_owned(),
            format!("{} ({})", units::number(line.a_median), line.a_trials),
            format!("{} ({})", units::number(line.b_median), line.b_trials),
            format!("{:.3}", line.ratio),
            format!("{:.3} .. {:.3}", line.ratio_low, line.ratio_high),
            line.mark.to_owned(),
            format!("{}{gate}", line.verdict.map(in_words).unwrap_or_default()),
        ]);
    }
    table
}

/// A verdict with what would decide it.
pub(super) fn in_words(verdict: Verdict) -> String {
    match verdict {
        Verdict::Undecided(Wanted::Trials(trials)) => format!("undecided ({trials} trials)"),
        Verdict::Undecided(Wanted::TooNoisy) => "undecided (too noisy)".to_owned(),
        verdict => verdict.to_string(),
    }
}

/// The metric in a narrow column.
pub(super) fn short_name(column: &str) -> &str {
    match column {
        "algbw_gigabytes_per_second" => "GB/s",
        "messages_per_second" => "messages/s",
        "latency_us_p50" => "p50 us",
        "latency_us_p99" => "p99 us",
        column => column,
    }
}

/// One line for each experiment, fabric and metric.
pub(super) fn parts_table(comparison: &Comparison) -> Table {
    let mut table =
        plain_table(&["experiment", "fabric", "metric", "lines", "better", "worse", "same", "undecided", "middle ratio", "least", "most"]);
    for ([experiment, fabric, metric], lines) in parts(comparison) {
        let count = |is_wanted: fn(Verdict) -> bool| count(&lines, is_wanted);
        let ratios = ratios(&lines);
        table.add_row([
            experiment.to_owned(),
            fabric.to_owned(),
            short_name(metric).to_owned(),
            lines.len().to_string(),
            count(|verdict| verdict == Verdict::Better).to_string(),
            count(|verdict| verdict == Verdict::Worse).to_string(),
            count(|verdict| verdict == Verdict::Same).to_string(),
            count(|verdict| matches!(verdict, Verdict::Undecided(_))).to_string(),
            format!("{:.3}", median(&ratios).unwrap_or(1.0)),
            format!("{:.3}", ratios.iter().copied().fold(f64::INFINITY, f64::min)),
            format!("{:.3}", ratios.iter().copied().fold(0.0, f64::max)),
        ]);
    }
    table
}

/// What a part of a run is told by: experiment, fabric and metric.
type PartKey<'a> = [&'a str; 3];

/// The lines with a verdict by part.
fn parts(comparison: &Comparison) -> Vec<(PartKey<'_>, Vec<&ComparedMetric>)> {
    let mut parts: Vec<(PartKey<'_>, Vec<&ComparedMetric>)> = Vec::new();
    for line in comparison.lines.iter().filter(|line| line.gated) {
        let key = [line.point.experiment.as_str(), &line.point.fabric, line.metric];
        match parts.iter_mut().find(|part| part.0 == key) {
            Some(part) => part.1.push(line),
            None => parts.push((key, vec![line])),
        }
    }
    parts
}

fn count(lines: &[&ComparedMetric], is_wanted: impl Fn(Verdict) -> bool) -> usize {
    lines.iter().filter_map(|line| line.verdict).filter(|found| is_wanted(*found)).count()
}

fn ratios(lines: &[&ComparedMetric]) -> Vec<f64> {
    lines.iter().map(|line| line.ratio).collect()
}

/// The same of several comparisons, a column each: the middle ratio, and how many lines are surely better or worse.
pub(super) fn parts_side_by_side(comparisons: &[Comparison], letters: &[String]) -> Table {
    let header: Vec<&str> = ["experiment", "fabric", "metric", "lines"].into_iter().chain(letters.iter().map(String::as_str)).collect();
    let mut table = plain_table(&header);
    let all: Vec<_> = comparisons.iter().map(parts).collect();
    let mut keys: Vec<PartKey<'_>> = Vec::new();
    for (key, _) in all.iter().flatten() {
        if !keys.contains(key) {
            keys.push(*key);
        }
    }
    for key in keys {
        let found = all.iter().map(|parts| parts.iter().find(|part| part.0 == key).map(|(_, lines)| lines));
        let most = found.clone().flatten().map(Vec::len).max().unwrap_or(0);
        let of_run = |lines: Option<&Vec<&ComparedMetric>>| {
            let Some(lines) = lines else { return "-".to_owned() };
            let (better, worse) = (count(lines, |found| found == Verdict::Better), count(lines, |found| found == Verdict::Worse));
            format!("x{:.3}, {better} better, {worse} worse", median(&ratios(lines)).unwrap_or(1.0))
        };
        let [experiment, fabric, metric] = key.map(str::to_owned);
        let row = [experiment, fabric, short_name(&metric).to_owned(), most.to_string()];
        table.add_row(row.into_iter().chain(found.map(of_run)));
    }
    table
}
