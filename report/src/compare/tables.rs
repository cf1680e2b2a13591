//! Tables of a comparison: for a terminal, as Markdown, as CSV.

use comfy_table::Table;

use super::comparison::{ComparedMetric, Comparison};
use super::verdict::{Verdict, Wanted};
use crate::statistics::median;
use crate::units;

impl Comparison {
    /// Every line as CSV, for other programs.
    pub fn csv(&self) -> String {
        const HEADER: [&str; 20] = [
            "experiment",
            "fabric",
            "ordering",
            "nodes",
            "sender_pattern",
            "message_bytes",
            "window",
            "block_bytes",
            "schedule",
            "metric",
            "a_median",
            "a_trials",
            "b_median",
            "b_trials",
            "ratio",
            "ratio_low",
            "ratio_high",
            "verdict",
            "trials_wanted",
            "gate",
        ];
        let mut writer = csv::Writer::from_writer(Vec::new());
        let optional = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
        let records = self.lines.iter().map(|line| {
            let point = &line.point;
            [
                point.experiment.clone(),
                point.fabric.clone(),
                point.ordering.clone(),
                point.nodes.to_string(),
                point.sender_pattern.clone(),
                point.message_bytes.to_string(),
                optional(point.window),
                optional(point.block_bytes),
                point.schedule.clone(),
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
            ]
        });
        // Writing to memory does not fail.
        let _ = writer.write_record(HEADER);
        for record in records {
            let _ = writer.write_record(&record);
        }
        String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
    }

    /// The comparison as Markdown, for a pull request: the summary, a line for each part, and the lines that differ.
    pub fn markdown(&self, all: bool) -> String {
        let mut text = format!("**A** `{}` against **B** `{}`\n\n", self.a.display(), self.b.display());
        for line in self.summary().lines().chain(self.notices.iter().map(String::as_str)) {
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
    let mut parts: Vec<([&str; 3], Vec<&ComparedMetric>)> = Vec::new();
    for line in comparison.lines.iter().filter(|line| line.gated) {
        let key = [line.point.experiment.as_str(), &line.point.fabric, line.metric];
        match parts.iter_mut().find(|part| part.0 == key) {
            Some(part) => part.1.push(line),
            None => parts.push((key, vec![line])),
        }
    }
    for ([experiment, fabric, metric], lines) in parts {
        let count = |is_wanted: fn(Verdict) -> bool| lines.iter().filter_map(|line| line.verdict).filter(|found| is_wanted(*found)).count();
        let ratios: Vec<f64> = lines.iter().map(|line| line.ratio).collect();
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
