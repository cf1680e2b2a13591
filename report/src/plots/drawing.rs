//! Figures as files: what the drawing library is told.

use std::path::Path;

use kuva::plot::legend::{LegendEntry, LegendPosition, LegendShape};
use kuva::plot::line::LineStyle;
use kuva::plot::scatter::MarkerShape;
use kuva::plot::{LinePlot, ScatterPlot};
use kuva::render::annotations::ReferenceLine;
use kuva::render::layout::Layout;
use kuva::render::plots::Plot;

use super::figure::{COLOURS, Figure, Line, Mark, Series};
use super::pdf;
use super::scale::{Scale, log_step_below, nice_above};
use super::style::{Style, StyleName};
use crate::error::ResultsError;
use crate::files::replace;

/// What a hollow mark is filled with, and how much of it.
const PAPER: &str = "#ffffff";
const HOLLOW: f64 = 0.55;

impl Figure {
    /// Draws the figure as `<name>.svg` and `<name>.png` in `folder`, and as `<name>.pdf` if that is wanted.
    pub(crate) fn write(&self, folder: &Path, style: Style) -> Result<(), ResultsError> {
        let svg = kuva::render_to_svg(self.plots(style.weight()), self.layout(style));
        replace(&folder.join(format!("{}.svg", self.name)), svg.as_bytes())?;
        let path = folder.join(format!("{}.png", self.name));
        let png = kuva::render_to_png(self.plots(style.weight()), self.layout(style), style.png_scale())
            .map_err(|reason| ResultsError::Plot { path: path.clone(), reason })?;
        replace(&path, &png)?;
        if style.pdf {
            let path = folder.join(format!("{}.pdf", self.name));
            let page = pdf::page(&svg, || (self.plots(style.weight()), self.layout(style)), style);
            replace(&path, &page.map_err(|reason| ResultsError::Plot { path: path.clone(), reason })?)?;
        }
        Ok(())
    }

    fn plots(&self, weight: f64) -> Vec<Plot> {
        self.series.iter().enumerate().flat_map(|(at, series)| self.drawn(series, at, weight)).collect()
    }

    /// Earlier series are drawn a little broader, so that they show where a later one covers them.
    fn drawn(&self, series: &Series, at: usize, weight: f64) -> Vec<Plot> {
        let broader = weight + 0.6 * weight * (1.0 - (at + 1) as f64 / self.series.len() as f64);
        let at: Vec<(f64, f64)> = series.marks.iter().map(|mark| (self.x.scale.place(mark.x), mark.y)).collect();
        let colour = COLOURS[series.colour % COLOURS.len()];
        let (style, width) = series.line.style();
        let mut line = LinePlot::new().with_data(at.clone()).with_color(colour).with_stroke_width(width * broader).with_line_style(style);
        if series.marks.iter().any(|mark| mark.range.is_some()) {
            line = line.with_y_err_asymmetric(series.marks.iter().map(|mark| {
                let (low, high) = mark.range.unwrap_or((mark.y, mark.y));
                ((mark.y - low).max(0.0), (high - mark.y).max(0.0))
            }));
        }
        let mut plots = vec![Plot::Line(line)];
        if let Some((shape, size)) = series.marker() {
            let marks = |at: Vec<(f64, f64)>, colour: &str, size: f64| {
                Plot::Scatter(ScatterPlot::new().with_data(at).with_color(colour).with_size(size * broader).with_marker(shape))
            };
            let hollow: Vec<(f64, f64)> = at.iter().zip(&series.marks).filter(|(_, mark)| mark.emulated).map(|(at, _)| *at).collect();
            plots.push(marks(at, colour, size));
            if !hollow.is_empty() {
                plots.push(marks(hollow, PAPER, size * HOLLOW));
            }
        }
        plots
    }

    fn layout(&self, style: Style) -> Layout {
        let (width, height) = style.pixels();
        let letters = style.letters();
        let has_title = style.name != StyleName::Paper;
        let title = if has_title { plain(&self.title) } else { String::new() };
        // What stands in for hardware is said everywhere, whatever has its place in a caption.
        let emulated = self.subtitle.find("EMULATED").map_or("", |at| &self.subtitle[at..]);
        let subtitle = plain(if has_title { &self.subtitle } else { emulated });
        let mut layout = Layout::auto_from_plots(&self.plots(style.weight()))
            .with_width(width)
            .with_height(height)
            .with_title(title)
            .with_subtitle(subtitle)
            .with_title_size(letters.title)
            .with_subtitle_size(letters.subtitle)
            .with_subtitle_wrap((width / (0.88 * f64::from(letters.subtitle))) as usize)
            .with_label_size(letters.label)
            .with_tick_size(letters.tick)
            .with_body_size(letters.tick)
            .with_x_label(plain(&self.x.label))
            .with_y_label(plain(&self.y.label))
            .with_x_tick_format(self.x.scale.ticks())
            .with_y_tick_format(self.y.scale.ticks())
            .with_legend_position(if has_title { LegendPosition::OutsideRightTop } else { LegendPosition::OutsideBottomColumns })
            .with_legend_entries(self.series.iter().map(Series::legend).collect());
        layout = self.spread_x(layout);
        layout = self.spread_y(layout);
        if let Some((level, name)) = self.level {
            layout = layout.with_reference_line(ReferenceLine::horizontal(level).with_color("#555555").with_label(name));
        }
        if let Some((place, name)) = self.event {
            layout = layout.with_reference_line(ReferenceLine::vertical(place).with_color("#555555").with_label(name));
        }
        layout
    }

    fn spread_x(&self, layout: Layout) -> Layout {
        let places = || {
            let marks = self.series.iter().flat_map(|series| &series.marks);
            marks.map(|mark| self.x.scale.place(mark.x))
        };
        let least = places().fold(f64::INFINITY, f64::min);
        let most = places().fold(f64::NEG_INFINITY, f64::max);
        match self.x.scale {
            Scale::Log => layout.with_log_x().with_x_axis_min(log_step_below(least)).with_x_axis_max(1.0 / log_step_below(1.0 / most)),
            Scale::Nines => layout.with_log_x().with_x_axis_min(1.0).with_x_axis_max(10f64.powf(most.log10().ceil().max(1.0))),
            Scale::Linear => layout,
            Scale::Around(reach) => layout.with_x_axis_min(-reach).with_x_axis_max(reach).with_x_tick_step(reach / 4.0),
            Scale::Count | Scale::Bytes | Scale::Doubling => {
                let ticks_max = if self.x.scale == Scale::Count { 18.0 } else { 13.0 };
                // A mark on the edge would be cut in half.
                let (first, last) = (least.ceil() - 1.0, most.floor() + 1.0);
                let step = ((last - first) / ticks_max).ceil().max(1.0);
                let first = (first / step).floor() * step;
                let last = (last / step).ceil() * step;
                layout.with_x_axis_min(first).with_x_axis_max(last).with_x_tick_step(step)
            }
        }
    }

    fn spread_y(&self, layout: Layout) -> Layout {
        match self.y.scale {
            Scale::Log | Scale::Nines => {
                let (least, most) = self.y_ends();
                layout.with_log_y().with_y_axis_min(log_step_below(least)).with_y_axis_max(1.0 / log_step_below(1.0 / most))
            }
            Scale::Around(reach) => layout.with_y_axis_min(-reach).with_y_axis_max(reach),
            _ => layout.with_y_axis_min(0.0).with_y_axis_max(nice_above(self.y_ends().1)),
        }
    }

    /// The least and the greatest value, with error bars and the level.
    fn y_ends(&self) -> (f64, f64) {
        let marks = || self.series.iter().flat_map(|series| &series.marks);
        let level = || self.level.map(|(level, _)| level);
        let low = |mark: &Mark| mark.range.map_or(mark.y, |(low, _)| low.min(mark.y));
        let high = |mark: &Mark| mark.range.map_or(mark.y, |(_, high)| high.max(mark.y));
        (marks().map(low).chain(level()).fold(f64::INFINITY, f64::min), marks().map(high).chain(level()).fold(0.0, f64::max))
    }
}

impl Line {
    fn style(self) -> (LineStyle, f64) {
        match self {
            Line::Solid | Line::Curve => (LineStyle::Solid, 2.0),
            Line::Dashed | Line::DashedCurve => (LineStyle::Dashed, 2.0),
            Line::Dotted => (LineStyle::Dotted, 2.0),
            Line::Published => (LineStyle::Custom("1 3".into()), 1.0),
            // No line at all: a dash of nothing.
            Line::Marks => (LineStyle::Custom("0 1000".into()), 0.0),
        }
    }
}

impl Series {
    /// Fabric and line have shapes of their own, so that a legend of marks tells both.
    fn marker(&self) -> Option<(MarkerShape, f64)> {
        match (self.line, self.fabric.as_str()) {
            (Line::Curve | Line::DashedCurve, _) => None,
            (Line::Published, _) => Some((MarkerShape::Cross, 4.0)),
            (Line::Dotted, _) => Some((MarkerShape::Plus, 4.5)),
            (Line::Solid | Line::Marks, "tcp") => Some((MarkerShape::Triangle, 4.5)),
            (Line::Dashed, "tcp") => Some((MarkerShape::TriangleDown, 4.5)),
            (Line::Solid | Line::Marks, "verbs" | "perftest") => Some((MarkerShape::Diamond, 4.5)),
            (Line::Dashed, "verbs" | "perftest") => Some((MarkerShape::Star, 5.0)),
            (Line::Solid | Line::Marks, _) => Some((MarkerShape::Circle, 4.0)),
            (Line::Dashed, _) => Some((MarkerShape::Square, 4.0)),
        }
    }

    fn legend(&self) -> LegendEntry {
        let shape = self.marker().map_or(LegendShape::Line, |(shape, _)| LegendShape::Marker(shape));
        LegendEntry {
            label: plain(&self.label),
            color: COLOURS[self.colour % COLOURS.len()].to_owned(),
            shape,
            dasharray: self.line.style().0.dasharray(),
        }
    }
}

/// Text without the sign that begins mathematics in the drawing library.
fn plain(text: &str) -> String {
    text.replace('$', "\\$")
}

#[cfg(test)]
mod tests {
    use super::super::figure::Of;
    use super::super::scale::Axis;
    use super::*;

    fn figure(scale: Scale, values: &[(f64, f64)]) -> Figure {
        let axis = |scale| Axis { label: "axis (unit)".into(), scale };
        Figure {
            name: "figure".into(),
            title: "Title with $ and <".into(),
            subtitle: String::new(),
            caption: String::new(),
            x: axis(scale),
            y: axis(scale),
            series: vec![Series {
                label: "a & b".into(),
                colour: 17,
                line: Line::Solid,
                fabric: "tcp".into(),
                of: Of::default(),
                marks: values.iter().map(|&(x, y)| Mark { x, y, range: Some((y, y * 2.0)), emulated: x > 0.5 }).collect(),
            }],
            level: Some((1.0, "level")),
            event: Some((0.0, "event")),
        }
    }

    #[test]
    fn every_scale_draws_odd_values_without_fail() {
        let folder = tempfile::tempdir().unwrap();
        let odd = [0.0, 1.0, 0.5, 1e-300, 1e300, 3.0, f64::MAX, 0.999_999];
        for scale in [Scale::Linear, Scale::Around(2.0), Scale::Count, Scale::Doubling, Scale::Log, Scale::Bytes, Scale::Nines] {
            for x in odd {
                for y in odd {
                    if let Some(figure) = figure(scale, &[(x, y)]).drawable() {
                        let svg = kuva::render_to_svg(figure.plots(1.0), figure.layout(Style::default()));
                        assert!(svg.contains("<svg"));
                    }
                }
            }
            let figure = figure(scale, &[(0.1, 0.2), (0.9, 0.3)]).drawable().unwrap();
            figure.write(folder.path(), Style::default()).unwrap();
            assert!(std::fs::read_to_string(folder.path().join("figure.svg")).unwrap().contains("Title"));
            assert!(folder.path().join("figure.png").exists());
        }
    }

    #[test]
    fn what_an_axis_cannot_show_is_left_out() {
        assert!(figure(Scale::Log, &[(0.0, 1.0), (1.0, 0.0)]).drawable().is_none());
        let some = figure(Scale::Log, &[(0.0, 1.0), (1.0, 1.0)]).drawable().unwrap();
        assert_eq!(some.series[0].marks.len(), 1);
    }
}
