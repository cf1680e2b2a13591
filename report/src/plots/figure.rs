//! A figure: what is drawn, whoever draws it.

use super::scale::{Axis, Scale};

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figure {
    /// File name without its ending.
    pub(crate) name: String,
    /// Headline.
    pub(crate) title: String,
    /// Smaller line under it.
    pub(crate) subtitle: String,
    /// What to see in it, for the report.
    pub(crate) caption: String,
    /// Horizontal axis.
    pub(crate) x: Axis,
    /// Vertical axis.
    pub(crate) y: Axis,
    /// What is drawn, in the order of the legend.
    pub(crate) series: Vec<Series>,
    /// A level that means something, with its name.
    pub(crate) level: Option<(f64, &'static str)>,
    /// A place on the horizontal axis at which something happened, and what.
    pub(crate) event: Option<(f64, &'static str)>,
}

/// A line with marks, or marks alone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    /// Name in the legend.
    pub(crate) label: String,
    /// Which of the [`COLOURS`], counted round.
    pub(crate) colour: usize,
    /// The line through the marks.
    pub(crate) line: Line,
    /// What carried the messages, which the shape of the marks tells; empty where it tells nothing.
    pub(crate) fabric: String,
    /// What else its points have in common.
    pub(crate) of: Of,
    /// The marks, from left to right.
    pub(crate) marks: Vec<Mark>,
}

/// What all points of a series have in common, by which a page can leave it out; empty where they differ.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Of {
    /// Who sends.
    pub(crate) pattern: String,
    /// Bytes of a message.
    pub(crate) size: Option<u64>,
}

/// The line through marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A full line with round marks.
    Solid,
    /// A dashed line with square marks.
    Dashed,
    /// A dotted line with triangles.
    Dotted,
    /// A line without marks, for curves of many points.
    Curve,
    /// The same, of what was emulated.
    DashedCurve,
    /// Hollow-looking marks on a thin dotted line: numbers of somebody else.
    Published,
    /// Marks alone.
    Marks,
}

/// One point of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mark {
    /// Where, in the unit of the axis.
    pub(crate) x: f64,
    /// The value.
    pub(crate) y: f64,
    /// Ends of its error bar.
    pub(crate) range: Option<(f64, f64)>,
    /// Whether something stood in for the hardware, or held it back: such marks are hollow.
    pub(crate) emulated: bool,
}

impl Mark {
    /// A number of somebody else, without a spread; none of what is no number.
    pub(crate) fn of_other(x: f64, y: f64) -> Option<Mark> {
        y.is_finite().then_some(Mark { x, y, range: None, emulated: false })
    }
}

/// Linear, unless the values lie so far apart that the small ones would not be seen.
pub(super) fn fitting(series: &[Series]) -> Scale {
    const FAR_APART: f64 = 10.0;
    let values = || series.iter().flat_map(|series| &series.marks).map(|mark| mark.y);
    let least = values().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
    if values().fold(0.0, f64::max) / least > FAR_APART { Scale::Log } else { Scale::Linear }
}

/// Colours that stay apart in print and for colour-blind eyes (after Okabe and Ito, and Tol).
pub(crate) const COLOURS: [&str; 10] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#777777", "#44aa99", "#332288"];

/// The colours of `all`, `half` and `one` in every figure; other series have those behind them.
pub(crate) const PATTERNS: [&str; 3] = ["all", "half", "one"];

impl Figure {
    /// The series without the marks that the axes cannot show; a series without any left is gone.
    pub(crate) fn drawable(mut self) -> Option<Figure> {
        let (x, y) = (self.x.scale, self.y.scale);
        for series in &mut self.series {
            series.marks.retain(|mark| x.shows(mark.x) && y.shows(mark.y));
            for mark in &mut series.marks {
                mark.range = mark.range.filter(|(low, high)| y.shows(*low) && y.shows(*high));
            }
            series.marks.sort_by(|a, b| a.x.total_cmp(&b.x));
        }
        // A line without marks needs two ends.
        self.series.retain(|series| series.marks.len() > usize::from(matches!(series.line, Line::Curve | Line::DashedCurve)));
        (!self.series.is_empty()).then_some(self)
    }
}
