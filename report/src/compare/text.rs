//! A comparison for people.

use super::comparison::Comparison;
use super::verdict::Verdict;
use crate::statistics::median;
use crate::units;

impl Comparison {
    /// The comparison as a table with what surrounds it, for a terminal.
    pub fn text(&self) -> String {
        let mut text = format!("A: {}\nB: {}\n{}", self.a.display(), self.b.display(), self.summary());
        for notice in &self.notices {
            text.push_str(&format!("notice: {notice}\n"));
        }
        text.push('\n');
        text.push_str(&self.table().to_string());
        text.push('\n');
        text.push_str(self.orientation);
        text.push('\n');
        for (side, points) in [("A", &self.only_a), ("B", &self.only_b)] {
            if !points.is_empty() {
                text.push_str(&format!("\nonly in {side}: {}\n", units::counted(points.len(), "point")));
                for point in points {
                    text.push_str(&format!("  {point}\n"));
                }
            }
        }
        if !self.differences.is_empty() {
            text.push_str("\nalso different (these may explain the ratios):\n");
            for found in &self.differences {
                text.push_str(&format!("  {}: A {}, B {}\n", found.name, shown(&found.a), shown(&found.b)));
            }
        }
        text
    }

    fn table(&self) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(comfy_table::presets::ASCII_MARKDOWN);
        table.set_header(["point", "metric", "A", "B", "ratio", "95 % interval", "mark"]);
        for line in &self.lines {
            let verdict = line.verdict.map(|verdict| format!(" {verdict}")).unwrap_or_default();
            table.add_row([
                line.point.to_string(),
                line.metric.to_owned(),
                format!("{} ({})", units::number(line.a_median), line.a_trials),
                format!("{} ({})", units::number(line.b_median), line.b_trials),
                format!("{:.3}{verdict}", line.ratio),
                format!("{:.3} .. {:.3}", line.ratio_low, line.ratio_high),
                line.mark.to_owned(),
            ]);
        }
        table
    }

    /// What there is to know, in a few lines.
    fn summary(&self) -> String {
        let gated = || self.lines.iter().filter(|line| line.gated);
        let apart = |is: fn(f64) -> bool| gated().filter(|line| line.mark == "*" && is(line.ratio)).count();
        let ratios: Vec<f64> = gated().map(|line| line.ratio).collect();
        let mut text = format!(
            "{} on both sides: B is better in {} and worse in {} by more than scatter; the middle ratio is {:.3}\n",
            units::counted(gated().count(), "line"),
            apart(|ratio| ratio > 1.0),
            apart(|ratio| ratio < 1.0),
            median(&ratios).unwrap_or(1.0),
        );
        if let Some(threshold) = self.fail_below {
            text.push_str(&self.gate(threshold));
        }
        text
    }

    fn gate(&self, threshold: f64) -> String {
        let verdicts = || self.lines.iter().filter_map(|line| line.verdict);
        let failed = verdicts().filter(|&verdict| verdict == Verdict::Fail).count();
        let verdict = if self.passed { "passed" } else { "FAILED" };
        let mut text = format!("{verdict}: {failed} of {} gated lines below {threshold}", verdicts().count());
        let undecided: Vec<Option<u32>> = verdicts().filter_map(Verdict::trials_to_decide).collect();
        if !undecided.is_empty() {
            let most = undecided.iter().flatten().max();
            let most = most.map_or_else(|| "no number of".to_owned(), |trials| format!("--trials {trials}"));
            text.push_str(&format!(", {} undecided ({most} on both sides would decide those that can be)", undecided.len()));
        }
        if !self.only_a.is_empty() {
            let missing = units::counted(self.only_a.len(), "point");
            let fails = if self.missing_fails { "which fails: measure them, or give --allow-missing" } else { "which is allowed" };
            text.push_str(&format!("; {missing} of A missing in B, {fails}"));
        }
        text.push('\n');
        text
    }
}

fn shown(text: &str) -> &str {
    if text.is_empty() { "(nothing)" } else { text }
}
