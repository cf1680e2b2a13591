//! A comparison for people.

use super::comparison::{ComparedMetric, Comparison};
use super::gate::Gate;
use super::tables::{lines_table, parts_table};
use super::verdict::{LOSS, Verdict, Wanted};
use crate::statistics::median;
use crate::units;

/// Lines up to which all are printed, and lines that differ that are printed of more.
pub(super) const SHOWN_MAX: usize = 24;

impl Comparison {
    /// The comparison for a terminal: a summary, a line for each part of the runs, and the lines that differ, the worst
    /// first; all lines on demand or if they are few.
    pub fn text(&self, all: bool) -> String {
        let mut text = format!("A: {}\nB: {}\n{}", self.a.display(), self.b.display(), self.summary('B'));
        for notice in &self.notices {
            text.push_str(&format!("notice: {notice}\n"));
        }
        if self.lines.len() > SHOWN_MAX {
            text.push_str(&format!("\n{}\n", parts_table(self)));
        }
        let shown = self.shown(all);
        if !shown.is_empty() {
            text.push_str(&format!("\n{}\n", lines_table(&shown)));
        }
        if shown.len() < self.lines.len() {
            text.push_str(&format!("{} of {} shown; --all prints each\n", shown.len(), units::counted(self.lines.len(), "line")));
        }
        text.push_str(self.orientation);
        text.push('\n');
        for (side, points) in [("A", &self.only_a), ("B", &self.only_b)] {
            if !points.is_empty() {
                text.push_str(&format!("\nonly in {side}: {}\n", units::counted(points.len(), "point")));
                let shown = if all { points.len() } else { SHOWN_MAX.min(points.len()) };
                for point in &points[..shown] {
                    text.push_str(&format!("  {point}\n"));
                }
                if shown < points.len() {
                    text.push_str(&format!("  and {} more; --all prints each\n", points.len() - shown));
                }
            }
        }
        if !self.differences.is_empty() {
            text.push_str("\nalso different (these may explain the ratios):\n");
            for found in &self.differences {
                text.push_str(&format!("  {}: A {}, B {}\n", found.name, shortened(&found.a), shortened(&found.b)));
            }
        }
        text
    }

    /// The lines to show: all if they are few or asked for, else those that differ, from the worst ratio on.
    pub(super) fn shown(&self, all: bool) -> Vec<&ComparedMetric> {
        if all || self.lines.len() <= SHOWN_MAX {
            return self.lines.iter().collect();
        }
        let differs =
            |line: &&ComparedMetric| matches!(line.verdict, Some(Verdict::Better | Verdict::Worse)) || line.gate == Some(Gate::Fail);
        let mut found: Vec<&ComparedMetric> = self.lines.iter().filter(differs).collect();
        found.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
        found.truncate(SHOWN_MAX);
        found
    }

    /// How many of the lines with a verdict have one like this.
    pub(super) fn count(&self, is_wanted: impl Fn(Verdict) -> bool) -> usize {
        self.lines.iter().filter_map(|line| line.verdict).filter(|verdict| is_wanted(*verdict)).count()
    }

    /// What there is to know, in a few lines; the candidate goes by a letter.
    pub(super) fn summary(&self, letter: char) -> String {
        let gated: Vec<f64> = self.lines.iter().filter(|line| line.gated).map(|line| line.ratio).collect();
        let undecided = self.count(|verdict| matches!(verdict, Verdict::Undecided(_)));
        let mut text = format!(
            "{} on both sides: {letter} is better in {}, worse in {}, the same within {} in {}, undecided in {undecided}; the middle \
             ratio is {:.3}\n",
            units::counted(gated.len(), "line"),
            self.count(|verdict| verdict == Verdict::Better),
            self.count(|verdict| verdict == Verdict::Worse),
            units::percent(self.margin),
            self.count(|verdict| verdict == Verdict::Same),
            median(&gated).unwrap_or(1.0),
        );
        if undecided > 0 {
            text.push_str(&self.wanted(undecided));
        }
        if self.fail_if_worse {
            let verdict = if self.passed { "passed" } else { "FAILED" };
            let worse = self.count(|verdict| verdict == Verdict::Worse);
            text.push_str(&format!("{verdict}: {} of {} worse than the baseline{}\n", worse, gated.len(), self.missing(letter)));
        }
        if let Some(threshold) = self.fail_below {
            text.push_str(&self.gate(threshold, letter));
        }
        text
    }

    /// What would decide the undecided lines.
    fn wanted(&self, undecided: usize) -> String {
        let mut trials: Vec<u32> = self.lines.iter().filter_map(|line| line.trials_wanted).collect();
        trials.sort_unstable();
        let enough = self.count(|verdict| verdict == Verdict::Undecided(Wanted::Nothing));
        let too_noisy = self.count(|verdict| verdict == Verdict::Undecided(Wanted::TooNoisy));
        let loss = units::percent(LOSS);
        let mut parts = Vec::new();
        if let [.., most] = trials[..] {
            let half = trials[(trials.len() - 1) / 2];
            parts.push(format!(
                "--trials {half} on both sides would find a loss of {loss} in half of {}, {most} in all of them",
                trials.len()
            ));
        }
        if enough > 0 {
            parts.push(format!("a loss of {loss} would have been found in {enough}"));
        }
        if too_noisy > 0 {
            parts.push(format!("{too_noisy} too noisy to find one: measure on a quieter machine, longer (--seconds), or in turns"));
        }
        format!("of {undecided} undecided: {}\n", parts.join("; "))
    }

    fn gate(&self, threshold: f64, letter: char) -> String {
        let gates = || self.lines.iter().filter_map(|line| line.gate);
        let failed = gates().filter(|&gate| gate == Gate::Fail).count();
        let verdict = if self.passed || failed == 0 { "passed" } else { "FAILED" };
        let verdict = if self.missing_fails && !self.only_a.is_empty() { "FAILED" } else { verdict };
        let mut text = format!("{verdict}: {failed} of {} gated lines below {threshold}", gates().count());
        let undecided: Vec<Option<u32>> = gates().filter_map(Gate::trials_to_decide).collect();
        if !undecided.is_empty() {
            let most = undecided.iter().flatten().max();
            let most = most.map_or_else(|| "no number of".to_owned(), |trials| format!("--trials {trials}"));
            text.push_str(&format!(", {} undecided ({most} on both sides would decide those that can be)", undecided.len()));
        }
        text.push_str(&self.missing(letter));
        text.push('\n');
        text
    }

    /// What is said of points that only the baseline has, where there is a gate.
    fn missing(&self, letter: char) -> String {
        if self.only_a.is_empty() {
            return String::new();
        }
        let missing = units::counted(self.only_a.len(), "point");
        let fails = if self.missing_fails { "which fails: measure them, or give --allow-missing" } else { "which is allowed" };
        format!("; {missing} of A missing in {letter}, {fails}")
    }
}

/// A value of a setting; a long one, such as a list of points, by its beginning.
fn shortened(text: &str) -> String {
    const LETTERS_MAX: usize = 80;
    match text.char_indices().nth(LETTERS_MAX) {
        None if text.is_empty() => "(nothing)".to_owned(),
        None => text.to_owned(),
        Some((end, _)) => format!("{}... ({} letters)", &text[..end], text.len()),
    }
}
