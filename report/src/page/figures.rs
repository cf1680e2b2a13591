//! What the script of a page draws: figures and points as JSON, as small as reads well.

use serde_json::{Value, json};

use crate::advice::precision;
use crate::plots::{COLOURS, Drawn, Line, Scale, Series};
use crate::summary::{Metric, PointSummary, Summary};

/// Columns of the table of points: name, kind, and, for numbers, a word on what they are. Kinds are `text`, `count`,
/// `bytes`, `number` and `share`; the script writes each accordingly.
const COLUMNS: [(&str, &str); 22] = [
    ("run", "text"),
    ("experiment", "text"),
    ("fabric", "text"),
    ("ordering", "text"),
    ("nodes", "count"),
    ("senders", "text"),
    ("size", "bytes"),
    ("window", "count"),
    ("block", "bytes"),
    ("schedule", "text"),
    ("trials", "count"),
    ("GB/s", "number"),
    ("± of its median", "share"),
    ("messages/s", "number"),
    ("p50 µs", "number"),
    ("p99 µs", "number"),
    ("p99.9 µs", "number"),
    ("bound GB/s", "number"),
    ("bound by", "text"),
    ("of bound", "share"),
    ("verified", "text"),
    ("emulated", "text"),
];

/// One run on a page.
pub(crate) struct Part<'a> {
    /// What the legend calls it; empty if it is alone.
    pub(crate) name: &'a str,
    pub(crate) summary: &'a Summary,
    pub(crate) figures: &'a [Drawn],
}

/// The data of a page. Figures of the same name are one, and the lines of later runs lie over those of the first.
pub(super) fn data(parts: &[Part<'_>]) -> Value {
    let mut texts = Texts::default();
    let mut rows = Vec::new();
    let mut figures: Vec<Value> = Vec::new();
    for (run, part) in parts.iter().enumerate() {
        rows.extend(part.summary.points.iter().map(|point| point_row(part.name, point, &mut texts)));
        for drawn in part.figures {
            // What others published is the same for every run: the first one's will do, unless it has none.
            let is_told = |series: &Series| {
                let known = || figures.iter().find(|found| found["id"] == json!(drawn.figure.name))?["series"].as_array();
                series.line == Line::Published && known().is_some_and(|all| all.iter().any(|other| other["label"] == json!(series.label)))
            };
            let own = drawn.figure.series.iter().filter(|series| !is_told(series));
            let series: Vec<Value> = own.map(|series| series_json(series, run, part.name)).collect();
            match figures.iter_mut().find(|found| found["id"] == json!(drawn.figure.name)) {
                Some(found) => found["series"].as_array_mut().into_iter().for_each(|all| all.extend(series.clone())),
                None => figures.push(figure_json(drawn, series)),
            }
        }
    }
    let names: Vec<&str> = parts.iter().map(|part| part.name).filter(|name| !name.is_empty()).collect();
    json!({
        "runs": names,
        "columns": COLUMNS.iter().map(|(name, kind)| json!([name, kind])).collect::<Vec<_>>(),
        "texts": texts.0,
        "points": rows,
        "colours": COLOURS,
        "figures": figures,
    })
}

/// Texts, each once; a row holds its place.
#[derive(Default)]
struct Texts(Vec<String>);

impl Texts {
    fn place(&mut self, text: &str) -> Value {
        let place = self.0.iter().position(|known| known == text).unwrap_or_else(|| {
            self.0.push(text.to_owned());
            self.0.len() - 1
        });
        json!(place)
    }
}

fn point_row(run: &str, summary: &PointSummary, texts: &mut Texts) -> Value {
    let point = &summary.point;
    let median = |metric| short(summary.spread(metric).map(|spread| spread.median));
    json!([
        texts.place(run),
        texts.place(&point.experiment),
        texts.place(&point.fabric),
        texts.place(&point.ordering),
        point.nodes,
        texts.place(&point.sender_pattern),
        point.message_bytes,
        point.window,
        point.block_bytes,
        texts.place(&point.schedule),
        summary.trials.len(),
        median(Metric::Algbw),
        short(precision(summary)),
        median(Metric::MessagesPerSecond),
        median(Metric::LatencyP50),
        median(Metric::LatencyP99),
        median(Metric::LatencyP999),
        median(Metric::Bound),
        texts.place(&summary.text(|row| &row.bound_kind)),
        median(Metric::BoundFraction),
        texts.place(&summary.text(|row| &row.verified)),
        texts.place(&summary.emulations().join(", ")),
    ])
}

fn figure_json(drawn: &Drawn, series: Vec<Value>) -> Value {
    let figure = &drawn.figure;
    let scale = |scale: Scale| match scale {
        Scale::Linear => json!("linear"),
        Scale::Around(reach) => json!(reach),
        Scale::Count => json!("count"),
        Scale::Doubling => json!("doubling"),
        Scale::Log => json!("log"),
        Scale::Bytes => json!("bytes"),
        Scale::Nines => json!("nines"),
    };
    let place = |found: &Option<(f64, &str)>| found.map(|(at, name)| json!([at, name]));
    json!({
        "id": figure.name,
        "x": { "label": figure.x.label, "scale": scale(figure.x.scale) },
        "y": { "label": figure.y.label, "scale": scale(figure.y.scale) },
        "level": place(&figure.level),
        "event": place(&figure.event),
        "series": series,
    })
}

fn series_json(series: &Series, run: usize, name: &str) -> Value {
    let line = match series.line {
        Line::Solid => "solid",
        Line::Dashed => "dashed",
        Line::Dotted => "dotted",
        Line::Curve => "curve",
        Line::DashedCurve => "dashed-curve",
        Line::Published => "published",
        Line::Marks => "marks",
    };
    let marks = series.marks.iter().map(|mark| {
        // What is drawn is read to a pixel; a place may be one of many nines.
        let height = |value| rounded(value, 4);
        let mut values = vec![short(Some(mark.x)), height(mark.y)];
        match (mark.range, mark.emulated) {
            (Some((low, high)), _) => values.extend([height(low), height(high), json!(u8::from(mark.emulated))]),
            (None, true) => values.extend([Value::Null, Value::Null, json!(1)]),
            (None, false) => {}
        }
        Value::Array(values)
    });
    let own = series.line != Line::Published;
    let mut told = json!({
        "label": if name.is_empty() || !own { series.label.clone() } else { format!("{name}: {}", series.label) },
        "colour": series.colour,
        "line": line,
        "run": run,
        "fabric": Some(&series.fabric).filter(|fabric| !fabric.is_empty()),
        "pattern": Some(&series.of.pattern).filter(|pattern| !pattern.is_empty()),
        "size": series.of.size,
        "marks": marks.collect::<Vec<_>>(),
    });
    if let Some(fields) = told.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    told
}

/// A number with five digits that count; whole numbers stay whole.
fn short(value: Option<f64>) -> Value {
    value.map_or(Value::Null, |value| rounded(value, 5))
}

fn rounded(value: f64, digits: u8) -> Value {
    if !value.is_finite() {
        return Value::Null;
    }
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return json!(value as i64);
    }
    let decimals = (f64::from(digits) - 1.0 - value.abs().log10().floor()).clamp(0.0, 15.0);
    let factor = 10f64.powf(decimals);
    let near = (value * factor).round() / factor;
    // Without the point that says nothing.
    if near.fract() == 0.0 { json!(near as i64) } else { json!(near) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_five_digits() {
        for (value, text) in [(1.0, "1"), (0.123_456_78, "0.12346"), (123_456.78, "123457"), (104_857_600.0, "104857600"), (0.0, "0")] {
            assert_eq!(short(Some(value)).to_string(), text);
        }
        assert_eq!(rounded(0.123_456_78, 4), json!(0.1235));
        assert_eq!(short(Some(f64::NAN)), Value::Null);
        assert_eq!(short(Some(0.999_987)), json!(0.99999), "a share of many nines keeps them");
    }

    #[test]
    fn texts_are_told_once() {
        let mut texts = Texts::default();
        assert_eq!([texts.place("a"), texts.place("b"), texts.place("a")], [json!(0), json!(1), json!(0)]);
    }
}
