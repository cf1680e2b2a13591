//! From points to the lines of a figure.

use std::collections::BTreeSet;

use super::figure::{Line, Mark, Of, PATTERNS, Series};
use super::limits::reasons;
use crate::row::Point;
use crate::summary::{Metric, PointSummary, Spread};
use crate::units;

/// A part of a point's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dimension {
    Fabric,
    Senders,
    Nodes,
    Size,
    Schedule,
    Block,
    Window,
    Ordering,
}

impl Dimension {
    const ALL: [Dimension; 8] = [
        Dimension::Fabric,
        Dimension::Senders,
        Dimension::Nodes,
        Dimension::Size,
        Dimension::Schedule,
        Dimension::Block,
        Dimension::Window,
        Dimension::Ordering,
    ];

    /// The value of a point, as a legend shows it.
    pub(super) fn of(self, point: &Point) -> String {
        let known = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        match self {
            Dimension::Fabric => known(&point.fabric),
            Dimension::Senders => match point.sender_pattern.as_str() {
                "one" => "one sends".to_owned(),
                "" => known(""),
                pattern => format!("{pattern} send"),
            },
            Dimension::Nodes => units::counted(point.nodes as usize, "node"),
            Dimension::Size => units::bytes(point.message_bytes),
            Dimension::Schedule => known(&in_words(&point.schedule, &[])),
            Dimension::Block => point.block_bytes.map_or(known(""), |bytes| format!("block {}", units::bytes(bytes))),
            Dimension::Window => point.window.map_or(known(""), |window| format!("window {window}")),
            Dimension::Ordering => known(&point.ordering),
        }
    }

    /// Where the point lies on an axis of this dimension.
    fn place(self, point: &Point) -> f64 {
        match self {
            Dimension::Size => point.message_bytes as f64,
            _ => f64::from(point.nodes),
        }
    }
}

/// The column `schedule` in words: `direct-light-last` is `light load, to the last node`. Words that all of a figure's
/// points have are not said.
fn in_words(schedule: &str, common: &[&str]) -> String {
    const WORDS: [(&str, &str); 9] = [
        ("direct", ""),
        ("closed", "one at a time"),
        ("light", "light load"),
        ("full", "full load"),
        ("sender", "to the sender"),
        ("last", "to the last node"),
        ("bandwidth", ""),
        ("latency", ""),
        ("warm source", "warm source"),
    ];
    let joined = schedule
        .replace("one-core", "one core")
        .replace("all-core", "all core")
        .replace("warm-source", "warm source")
        .replace("two-trees", "two trees");
    let words = joined.split('-').map(|part| WORDS.iter().find(|(name, _)| *name == part).map_or(part, |(_, words)| words));
    let words: Vec<&str> = words.filter(|words| !words.is_empty() && !common.contains(words)).collect();
    words.join(", ").replace("one core, ", "one-core ").replace("all core, ", "all-core ")
}

/// The colour of a sender pattern, the same in every figure; none of a number of senders.
pub(super) fn colour_of(pattern: &str) -> Option<usize> {
    PATTERNS.iter().position(|known| *known == pattern)
}

/// The different values of `key`, in order.
pub(super) fn distinct<K: Ord>(points: &[&PointSummary], key: impl Fn(&Point) -> K) -> Vec<K> {
    let found: BTreeSet<K> = points.iter().map(|point| key(&point.point)).collect();
    found.into_iter().collect()
}

/// The points for which `wanted` holds.
pub(super) fn only<'a>(points: &[&'a PointSummary], wanted: impl Fn(&Point) -> bool) -> Vec<&'a PointSummary> {
    points.iter().copied().filter(|point| wanted(&point.point)).collect()
}

/// One line for each set of settings other than `x`. A legend names only the settings that differ within the figure.
/// Who sends has its colour in every figure, and fabrics and orderings share it: they differ in marks and dashes. What
/// else tells lines apart has a colour each, none of those. Windows, blocks and schedules that are chosen from one `x`
/// to the next do not break a line.
pub(super) fn lines(points: &[&PointSummary], x: Dimension, y: Metric) -> Vec<Series> {
    let measured: Vec<&PointSummary> = points.iter().copied().filter(|point| !point.values(y).is_empty()).collect();
    let points = measured.as_slice();
    let splitting = splitting(points, x);
    let only_look = [Dimension::Fabric, Dimension::Ordering, Dimension::Senders];
    let by_pattern = splitting.iter().all(|dimension| only_look.contains(dimension));
    let without_ordering: Vec<Dimension> = splitting.iter().copied().filter(|dimension| *dimension != Dimension::Ordering).collect();
    let colour_keys = distinct(points, |point| key(point, &without_ordering));
    lines_of(points, &splitting)
        .into_iter()
        .filter_map(|chosen| {
            let first = &chosen.first()?.point;
            let colour_key = key(first, &without_ordering);
            let place = colour_keys.iter().position(|found| *found == colour_key)?;
            let tells_ordering = splitting.contains(&Dimension::Ordering);
            Some(Series {
                label: label(first, &splitting, points),
                colour: colour_of(&first.sender_pattern).filter(|_| by_pattern).unwrap_or(PATTERNS.len() + place),
                line: if tells_ordering && first.ordering == "unordered" { Line::Dashed } else { Line::Solid },
                fabric: first.fabric.clone(),
                of: common(&chosen),
                marks: marks(&chosen, x, y),
            })
        })
        .collect()
}

/// The pattern and the size of points, where all have the same.
pub(super) fn common(points: &[&PointSummary]) -> Of {
    let patterns = distinct(points, |point| point.sender_pattern.clone());
    let sizes = distinct(points, |point| point.message_bytes);
    Of {
        pattern: if let [only] = &patterns[..] { only.clone() } else { String::new() },
        size: if let [only] = sizes[..] { Some(only) } else { None },
    }
}

/// The dimensions that tell lines apart. A window or block counts only where two points share everything else; a
/// schedule only if most points share everything else with one of another schedule: where a group chooses, two trials
/// of one point may have been relayed differently.
pub(super) fn splitting(points: &[&PointSummary], x: Dimension) -> Vec<Dimension> {
    let differs = |dimension: &Dimension| distinct(points, |point| dimension.of(point)).len() > 1;
    let adapted = [Dimension::Schedule, Dimension::Window, Dimension::Block];
    let mut found: Vec<Dimension> =
        Dimension::ALL.into_iter().filter(|dimension| *dimension != x && !adapted.contains(dimension)).filter(differs).collect();
    for dimension in adapted {
        let places = |dimensions: &[Dimension]| distinct(points, |point| (key(point, dimensions), x.of(point))).len();
        let with: Vec<Dimension> = found.iter().copied().chain([dimension]).collect();
        let (many, few) = (places(&with), places(&found));
        let splits = if dimension == Dimension::Schedule { 2 * many > 3 * few } else { many > few };
        if splits {
            found.push(dimension);
        }
    }
    found.sort();
    found
}

/// The values of a point along some dimensions: numbers sort by size, names by letter.
fn key(point: &Point, dimensions: &[Dimension]) -> Vec<(u64, String)> {
    dimensions
        .iter()
        .map(|dimension| {
            let size = match dimension {
                Dimension::Nodes => u64::from(point.nodes),
                Dimension::Size => point.message_bytes,
                Dimension::Block => point.block_bytes.unwrap_or(0),
                Dimension::Window => point.window.unwrap_or(0),
                _ => 0,
            };
            (size, dimension.of(point))
        })
        .collect()
}

/// What a legend calls the lines of `point` among `all`, which `splitting` tells apart.
pub(super) fn label(point: &Point, splitting: &[Dimension], all: &[&PointSummary]) -> String {
    let words: Vec<String> = distinct(all, |point| in_words(&point.schedule, &[]));
    let has = |words: &str, word: &str| words.split(", ").any(|part| part == word);
    let first = words.first().map_or("", String::as_str);
    let common: Vec<&str> = first.split(", ").filter(|word| words.len() > 1 && words.iter().all(|own| has(own, word))).collect();
    let of = |dimension: &Dimension| match dimension {
        Dimension::Schedule => in_words(&point.schedule, &common),
        dimension => dimension.of(point),
    };
    let parts: Vec<String> = splitting.iter().map(of).filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { point.fabric.clone() } else { parts.join(", ") }
}

fn lines_of<'a>(points: &[&'a PointSummary], splitting: &[Dimension]) -> Vec<Vec<&'a PointSummary>> {
    distinct(points, |point| key(point, splitting)).iter().map(|own| only(points, |point| key(point, splitting) == *own)).collect()
}

/// A mark for each place, over all trials there.
fn marks(points: &[&PointSummary], x: Dimension, y: Metric) -> Vec<Mark> {
    let mut places: Vec<f64> = points.iter().map(|point| x.place(&point.point)).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let mark = |place: f64| {
        let here: Vec<&PointSummary> = points.iter().copied().filter(|point| x.place(&point.point) == place).collect();
        let spread = Spread::over(&here.iter().flat_map(|point| point.values(y)).collect::<Vec<_>>())?;
        let range = (spread.max > spread.min).then_some((spread.min, spread.max));
        Some(Mark { x: place, y: spread.median, range, emulated: here.iter().any(|point| point.emulation().is_some()) })
    };
    places.into_iter().filter_map(mark).collect()
}

/// How many trials a median is of, and what its bars are.
pub(super) fn trials(points: &[&PointSummary]) -> String {
    format!("{}, bars: least to greatest", median_of(points))
}

/// How many trials a median is of.
pub(super) fn median_of(points: &[&PointSummary]) -> String {
    let counts = || points.iter().map(|point| point.trials.len());
    let (least, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
    let trials = if least == most { units::counted(most, "trial") } else { format!("{least} to {most} trials") };
    format!("median of {trials}")
}

/// The line under a title: how the numbers were taken, and what they are not.
pub(super) fn subtitle(points: &[&PointSummary], how: &[&str]) -> String {
    subtitle_with(points, how, "hollow marks")
}

/// The same of a figure in which `look` tells what is emulated.
pub(super) fn subtitle_with(points: &[&PointSummary], how: &[&str], look: &str) -> String {
    let mut parts: Vec<String> = how.iter().map(|&part| part.to_owned()).collect();
    if points.iter().any(|point| point.emulation().is_some()) {
        let all = points.iter().all(|point| point.emulation().is_some());
        let which = if all { "all" } else { look };
        parts.push(format!("EMULATED, {which} ({}): not what RDMA hardware does", reasons(points)));
    }
    parts.join("; ")
}

/// What to say of the points that came out above their bound; nothing if none did.
pub(super) fn above_bound(points: &[&PointSummary]) -> String {
    match points.iter().filter(|point| point.passes_bound()).count() {
        0 => String::new(),
        beyond => format!("; {} above the bound: do not trust those shares", units::counted(beyond, "point")),
    }
}

/// Keeps `limit` of the items, evenly over their order, the first and the last among them; of one, the last.
pub(super) fn thin_out<T>(items: &mut Vec<T>, limit: usize) {
    let count = items.len();
    if count <= limit {
        return;
    }
    let kept: Vec<usize> = match limit {
        1 => vec![count - 1],
        _ => (0..limit).map(|at| at * (count - 1) / (limit - 1)).collect(),
    };
    let mut at = 0;
    items.retain(|_| {
        at += 1;
        kept.contains(&(at - 1))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Row, Summary};

    fn row(nodes: u32, ordering: &str, window: u64) -> Row {
        Row {
            experiment: "multicast".into(),
            fabric: "shm".into(),
            ordering: ordering.into(),
            nodes,
            window: Some(window),
            trial: 1,
            algbw_gigabytes_per_second: Some(1.0),
            ..Row::default()
        }
    }

    fn labels(rows: &[Row]) -> Vec<String> {
        let summary = Summary::of(rows);
        let points: Vec<&PointSummary> = summary.points.iter().collect();
        let lines = lines(&points, Dimension::Nodes, Metric::Algbw);
        lines.into_iter().map(|line| line.label).collect()
    }

    #[test]
    fn a_legend_names_only_what_differs() {
        assert_eq!(labels(&[row(2, "ordered", 4), row(4, "ordered", 4)]), ["shm"]);
        assert_eq!(labels(&[row(2, "ordered", 4), row(2, "unordered", 4)]), ["ordered", "unordered"]);
    }

    #[test]
    fn a_window_that_shrinks_with_the_group_does_not_break_a_line() {
        assert_eq!(labels(&[row(2, "ordered", 8), row(4, "ordered", 4)]), ["shm"]);
        assert_eq!(labels(&[row(2, "ordered", 8), row(2, "ordered", 4)]), ["window 4", "window 8"]);
    }

    #[test]
    fn a_schedule_that_was_chosen_does_not_break_a_line_and_one_that_was_asked_for_does() {
        let of = |nodes, schedule: &str, gigabytes| Row {
            schedule: schedule.into(),
            algbw_gigabytes_per_second: Some(gigabytes),
            ..row(nodes, "ordered", 4)
        };
        // At four nodes the third trial was relayed in another way.
        let again = Row { trial: 2, ..of(4, "pipeline", 1.2) };
        let chosen = [of(2, "two-trees", 3.0), of(3, "two-trees", 2.0), of(4, "pipeline", 1.0), again, of(4, "chain", 0.8)];
        let summary = Summary::of(&chosen);
        let points: Vec<&PointSummary> = summary.points.iter().collect();
        let lines = lines(&points, Dimension::Nodes, Metric::Algbw);
        assert_eq!(lines.len(), 1);
        let marks: Vec<_> = lines[0].marks.iter().map(|mark| (mark.x, mark.y, mark.range)).collect();
        assert_eq!(marks, [(2.0, 3.0, None), (3.0, 2.0, None), (4.0, 1.0, Some((0.8, 1.2)))]);
        let asked = [of(2, "chain", 1.0), of(4, "chain", 1.0), of(2, "pipeline", 1.0), of(4, "pipeline", 1.0)];
        assert_eq!(labels(&asked), ["chain", "pipeline"]);
    }

    #[test]
    fn thinning_keeps_the_ends() {
        let mut items: Vec<u32> = (0..20).collect();
        thin_out(&mut items, 8);
        assert_eq!(items.len(), 8);
        assert_eq!((items[0], items[7]), (0, 19));
        let mut few = vec![1, 2];
        thin_out(&mut few, 8);
        assert_eq!(few, [1, 2]);
        thin_out(&mut few, 1);
        assert_eq!(few, [2]);
    }

    #[test]
    fn group_sizes_are_in_order_of_number() {
        let rows = [row(16, "ordered", 4), row(2, "ordered", 4)];
        let summary = Summary::of(&rows);
        let points: Vec<&PointSummary> = summary.points.iter().collect();
        let lines = lines(&points, Dimension::Size, Metric::Algbw);
        let labels: Vec<String> = lines.into_iter().map(|line| line.label).collect();
        assert_eq!(labels, ["2 nodes", "16 nodes"]);
    }

    #[test]
    fn emulated_points_are_marked_one_by_one() {
        let emulated = Row { emulated: "oversubscribed".into(), ..row(4, "ordered", 4) };
        let summary = Summary::of(&[row(2, "ordered", 4), emulated.clone()]);
        let points: Vec<&PointSummary> = summary.points.iter().collect();
        let lines = lines(&points, Dimension::Nodes, Metric::Algbw);
        assert_eq!(lines[0].marks.iter().map(|mark| mark.emulated).collect::<Vec<_>>(), [false, true]);
        assert!(subtitle(&points, &["a"]).starts_with("a; EMULATED, hollow marks (oversubscribed: more nodes than cores)"));
        let summary = Summary::of(&[emulated]);
        let points: Vec<&PointSummary> = summary.points.iter().collect();
        assert_eq!(subtitle(&points, &["a"]), "a; EMULATED, all (oversubscribed: more nodes than cores): not what RDMA hardware does");
    }

    #[test]
    fn a_pattern_has_its_colour_in_every_figure() {
        let of = |pattern: &str, fabric: &str| Row { sender_pattern: pattern.into(), fabric: fabric.into(), ..row(2, "ordered", 4) };
        let colours = |rows: &[Row]| -> Vec<(String, usize)> {
            let summary = Summary::of(rows);
            let points: Vec<&PointSummary> = summary.points.iter().collect();
            lines(&points, Dimension::Nodes, Metric::Algbw).into_iter().map(|line| (line.label, line.colour)).collect()
        };
        assert_eq!(colours(&[of("one", "shm")]), [("shm".to_owned(), 2)]);
        assert_eq!(colours(&[of("one", "shm"), of("all", "shm")]), [("all send".to_owned(), 0), ("one sends".to_owned(), 2)]);
        let unsent = colours(&[of("", "shm"), of("", "tcp")]);
        assert_eq!(unsent.iter().map(|(_, colour)| *colour).collect::<Vec<_>>(), [3, 4]);
        let both = colours(&[of("one", "shm"), of("one", "tcp")]);
        assert_eq!(both.iter().map(|(_, colour)| *colour).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn legends_have_words_and_no_names_of_columns() {
        for (schedule, words) in [
            ("direct-light-last", "light load, to the last node"),
            ("direct-closed-sender", "one at a time, to the sender"),
            ("pipeline-saturated-last", "pipeline, saturated, to the last node"),
            ("one-core-warm-source", "one-core warm source"),
            ("two-trees", "two trees"),
            ("pipeline", "pipeline"),
        ] {
            assert_eq!(in_words(schedule, &[]), words);
        }
    }

    #[test]
    fn words_that_all_lines_have_are_not_said() {
        let of = |schedule: &str| Row { schedule: schedule.into(), ..row(2, "ordered", 4) };
        assert_eq!(labels(&[of("pipeline-light-last"), of("pipeline-saturated-last")]), ["light load", "saturated"]);
        assert_eq!(labels(&[of("pipeline"), of("tree")]), ["pipeline", "tree"]);
        assert_eq!(labels(&[of("pipeline-light-last")]), ["shm"]);
    }
}
