//! A comparison as a figure: every ratio with its interval, from the worst to the best.

use std::path::Path;

use super::comparison::{ComparedMetric, Comparison};
use super::verdict::Verdict;
use crate::error::ResultsError;
use crate::plots::{Axis, Figure, Line, Mark, Of, Scale, Series, Style};
use crate::units;

/// How far beyond the ratios themselves, as a factor, their intervals are drawn.
const BEYOND: f64 = 1.5;

impl Comparison {
    /// Draws `<name>.svg` and `<name>.png` in `folder`.
    ///
    /// # Errors
    /// [`ResultsError::Io`] or [`ResultsError::Plot`].
    pub fn draw(&self, folder: &Path, name: &str) -> Result<(), ResultsError> {
        let mut lines: Vec<&ComparedMetric> = self.lines.iter().filter(|line| line.gated).collect();
        lines.sort_by(|a, b| a.ratio.total_cmp(&b.ratio));
        // A few that are hardly known would leave all others on one line.
        let (least, most) = (lines.first().map_or(1.0, |line| line.ratio), lines.last().map_or(1.0, |line| line.ratio));
        let shown = |ratio: f64| ratio.clamp(least.min(1.0) / BEYOND, most.max(1.0) * BEYOND);
        let of_verdict = |label: &str, colour: usize, fabric: &str, is_wanted: fn(Verdict) -> bool| Series {
            label: label.to_owned(),
            colour,
            line: Line::Marks,
            fabric: fabric.to_owned(),
            of: Of::default(),
            marks: lines
                .iter()
                .enumerate()
                .filter(|(_, line)| line.verdict.is_some_and(is_wanted))
                .map(|(at, line)| Mark {
                    x: (at + 1) as f64,
                    y: line.ratio,
                    range: Some((shown(line.ratio_low), shown(line.ratio_high))),
                    emulated: false,
                })
                .collect(),
        };
        let figure = Figure {
            name: name.to_owned(),
            title: format!("{} against {}", last_name(&self.b), last_name(&self.a)),
            subtitle: format!("{}; bars: 95 % interval of the ratio of medians, as far as it fits", units::counted(lines.len(), "line")),
            caption: self.orientation.to_owned(),
            x: Axis { label: "lines, from the worst ratio to the best".into(), scale: Scale::Count },
            y: Axis { label: "times as good as the baseline".into(), scale: Scale::Log },
            series: vec![
                of_verdict("undecided", 7, "", |verdict| matches!(verdict, Verdict::Undecided(_))),
                of_verdict("same", 2, "verbs", |verdict| verdict == Verdict::Same),
                of_verdict("worse", 1, "tcp", |verdict| verdict == Verdict::Worse),
                of_verdict("better", 0, "tcp", |verdict| verdict == Verdict::Better),
            ],
            level: Some((1.0, "equal")),
            event: None,
        };
        figure.drawable().map_or(Ok(()), |figure| figure.write(folder, Style::default()))
    }
}

fn last_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
