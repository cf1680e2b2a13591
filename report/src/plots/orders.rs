//! Figures of `orders`, "four ways to the same place": one line an order, and in each caption a sentence that says what
//! these lines show.

use std::path::Path;

use super::change;
use super::figure::{Figure, Line, Mark, Of, Series, fitting};
use super::grouping::{Dimension, distinct, only, subtitle, trials};
use super::scale::{Axis, Scale};
use crate::files::file_name;
use crate::row::Point;
use crate::summary::{Metric, PointSummary};
use crate::units;

/// Orders in the order of their legend; each has its colour in every figure.
const ORDERS: [&str; 6] = ["ordered", "lamport", "paxos", "chain", "unordered", "omnipaxos"];
/// From so many times the least median latency on a load is past the knee.
const KNEE: f64 = 10.0;
/// Messages up to this size are told as a rate.
const RATE_BYTES_MAX: u64 = 1 << 10;
/// The order whose messages pass from member to member; those of all others go to each member directly.
const PASSED_ON: &str = "chain";
/// The colours of what the machine or the links allow at most: none that an order has.
const BOUND_COLOURS: [usize; 2] = [7, 6];

/// Every figure that the points allow, fabric by fabric.
pub(super) fn figures(points: &[&PointSummary], timelines: &Path) -> Vec<Figure> {
    let mut figures = Vec::new();
    for fabric in distinct(points, |point| point.fabric.clone()) {
        let own = only(points, |point| point.fabric == fabric);
        figures.extend(knees(&fabric, &own));
        figures.extend(scaling(&fabric, &own));
        figures.extend(slow_member(&fabric, &own));
        figures.extend(kills(&fabric, &own, timelines));
    }
    figures
}

/// What is done there, and to which part of a trial the point belongs: `direct-load-80-due` is `load-80-due`.
fn what(point: &Point) -> &str {
    point.schedule.trim_start_matches("two-trees").split_once('-').map_or("", |(_, what)| what)
}

/// Whether nothing is done there but to send as fast as the window lets.
fn is_plain(point: &Point) -> bool {
    what(point).is_empty()
}

/// By how many percent one member is slower, in a point of which nothing else is done than `before` and `after` say.
fn slowness(point: &Point, before: &str, after: &str) -> Option<f64> {
    what(point).strip_prefix(before)?.strip_suffix(after)?.strip_prefix("1-slow-")?.parse().ok()
}

fn load_of(point: &Point) -> Option<f64> {
    what(point).strip_prefix("load-")?.strip_suffix("-due")?.parse().ok()
}

/// A line for each order.
fn lines<'a>(points: &[&'a PointSummary], line: Line, words: &str, mark: impl Fn(&'a PointSummary) -> Option<Mark>) -> Vec<Series> {
    let mut orders = distinct(points, |point| point.ordering.clone());
    orders.sort_by_key(|order| place(order));
    let one = |order: &String| {
        let own = only(points, |point| point.ordering == *order);
        let mut marks: Vec<Mark> = own.into_iter().filter_map(&mark).collect();
        marks.sort_by(|a, b| a.x.total_cmp(&b.x));
        Series { label: format!("{order}{words}"), colour: place(order), line, fabric: String::new(), of: Of::default(), marks }
    };
    orders.iter().map(one).filter(|series| !series.marks.is_empty()).collect()
}

fn place(order: &str) -> usize {
    ORDERS.iter().position(|known| *known == order).unwrap_or(ORDERS.len())
}

fn mark(point: &PointSummary, x: f64, metric: Metric) -> Option<Mark> {
    let spread = point.spread(metric)?;
    let range = (spread.max > spread.min).then_some((spread.min, spread.max));
    Some(Mark { x, y: spread.median, range, emulated: point.emulation().is_some() })
}

/// `ordered 12, lamport 7` of what is said of each line.
fn said(series: &[Series], of: impl Fn(&Series) -> Option<String>) -> String {
    series.iter().filter_map(|series| Some(format!("{} {}", series.label, of(series)?))).collect::<Vec<_>>().join(", ")
}

/// Latency against what is delivered, one figure for each size and group.
fn knees(fabric: &str, points: &[&PointSummary]) -> Vec<Figure> {
    let loaded = only(points, |point| load_of(point).is_some());
    let groups = distinct(&loaded, |point| (point.message_bytes, point.nodes, point.sender_pattern.clone()));
    let figure = |(size, nodes, pattern): (u64, u32, String)| {
        let own = only(&loaded, |point| (point.message_bytes, point.nodes, &point.sender_pattern) == (size, nodes, &pattern));
        let own: Vec<_> = own.iter().copied().filter(|point| delivers_more(point, &own)).collect();
        let at = |point: &PointSummary| point.spread(Metric::MessagesPerSecond).map(|rate| rate.median / 1e6);
        let p50 = lines(&own, Line::Solid, "", |point| mark(point, at(point)?, Metric::LatencyP50));
        let p99 = lines(&own, Line::Dashed, ", p99", |point| mark(point, at(point)?, Metric::LatencyP99));
        let knees = said(&p50, |series| Some(units::number(1e6 * knee(&series.marks)?)));
        Figure {
            name: format!("orders-knee-{size}-n{nodes}-{}", file_name(fabric)),
            title: format!("Latency by load, {} messages, {nodes} nodes, {fabric}", units::bytes(size)),
            subtitle: subtitle(&own, &[&trials(&own), "from when a message was due to its delivery at the sender; solid p50, dashed p99"]),
            caption: format!(
                "The most that is delivered before the median takes {KNEE} times as long as at the lightest load, in messages/s: {knees}."
            ),
            x: Axis { label: "messages of all senders a second (millions)".into(), scale: Scale::Linear },
            y: Axis { label: "latency (µs)".into(), scale: Scale::Log },
            series: [p50, p99].concat(),
            level: None,
            event: None,
        }
    };
    groups.into_iter().map(figure).collect()
}

/// Whether a point delivers more than every lighter load of its order does: past its knee a group may deliver less, and
/// a line would turn back.
fn delivers_more(point: &PointSummary, all: &[&PointSummary]) -> bool {
    let rate = |point: &PointSummary| point.spread(Metric::MessagesPerSecond).map(|rate| rate.median);
    let is_lighter = |other: &&&PointSummary| other.point.ordering == point.point.ordering && load_of(&other.point) < load_of(&point.point);
    all.iter().filter(is_lighter).all(|lighter| rate(lighter) < rate(point))
}

/// The greatest rate whose latency is no more than some times the least.
fn knee(marks: &[Mark]) -> Option<f64> {
    let least = marks.iter().map(|mark| mark.y).min_by(f64::total_cmp)?;
    marks.iter().filter(|mark| mark.y <= KNEE * least).map(|mark| mark.x).max_by(f64::total_cmp)
}

/// Bandwidth or rate, and latency, by group size.
fn scaling(fabric: &str, points: &[&PointSummary]) -> Vec<Figure> {
    let mut figures = Vec::new();
    let streams = only(points, is_plain);
    for (size, pattern) in distinct(&streams, |point| (point.message_bytes, point.sender_pattern.clone())) {
        let own = only(&streams, |point| (point.message_bytes, &point.sender_pattern) == (size, &pattern));
        let (metric, unit, label) = match size <= RATE_BYTES_MAX {
            true => (Metric::MessagesPerSecond, "messages/s", "messages of all senders per second"),
            false => (Metric::Algbw, "GB/s", "bandwidth of all senders (GB/s, 10^9 bytes)"),
        };
        let sends = own.first().map(|point| Dimension::Senders.of(&point.point)).unwrap_or_default();
        let title = format!("By group size: {} messages, {sends}, {fabric}", units::bytes(size));
        figures.extend(by_nodes(format!("orders-rate-{size}-{pattern}-{}", file_name(fabric)), title, &own, metric, (unit, label)));
    }
    let latencies = [
        ("closed-sender", "latency", "latency of one message at a time", "latency at the sender, median (µs)"),
        ("reading-read", "read", "a linearizable read at the last member, beside messages", "latency of a read, median (µs)"),
    ];
    for (part, name, title, label) in latencies {
        let alone = only(points, |point| what(point) == part);
        for size in distinct(&alone, |point| point.message_bytes) {
            let own = only(&alone, |point| point.message_bytes == size);
            let title = format!("By group size: {title}, {}, {fabric}", units::bytes(size));
            let name = format!("orders-{name}-{size}-{}", file_name(fabric));
            figures.extend(by_nodes(name, title, &own, Metric::LatencyP50, ("µs", label)));
        }
    }
    figures
}

fn by_nodes(name: String, title: String, points: &[&PointSummary], metric: Metric, (unit, label): (&str, &str)) -> Option<Figure> {
    let series = lines(points, Line::Solid, "", |point| mark(point, f64::from(point.point.nodes), metric));
    let most = series.iter().flat_map(|series| &series.marks).map(|mark| mark.x).max_by(f64::total_cmp)?;
    let at_most = said(&series, |series| Some(units::number(series.marks.iter().find(|mark| mark.x == most)?.y)));
    let is_bandwidth = metric == Metric::Algbw;
    let series = if is_bandwidth { [series, bounds(points)].concat() } else { series };
    let scale = if is_bandwidth { fitting(&series) } else { Scale::Log };
    Some(Figure {
        name,
        title,
        subtitle: subtitle(points, &[&trials(points)]),
        caption: format!("In a group of {most}, in {unit}: {at_most}."),
        x: Axis::nodes_up_to(most),
        y: Axis { label: label.into(), scale },
        series,
        level: None,
        event: None,
    })
}

/// What the bound of each point allows, which differs by how messages travel and not by their order; one line where it
/// does not differ.
fn bounds(points: &[&PointSummary]) -> Vec<Series> {
    let allowed = |point: &PointSummary| Some(point.spread(Metric::Algbw)?.median / point.spread(Metric::BoundFraction)?.median);
    let one = |(passed_on, label, colour)| {
        let own = only(points, |point| (point.ordering == PASSED_ON) == passed_on);
        let at = |nodes| only(&own, |point| point.nodes == nodes).into_iter().filter_map(allowed).max_by(f64::total_cmp);
        let marks = distinct(&own, |point| point.nodes).into_iter().filter_map(|nodes| Mark::of_other(nodes.into(), at(nodes)?)).collect();
        Series { label, colour, line: Line::Dotted, fabric: String::new(), of: Of::default(), marks }
    };
    let [direct, passed] = BOUND_COLOURS;
    let both = [(false, "bound, sent to each".to_owned(), direct), (true, "bound, passed on".to_owned(), passed)].map(one);
    let drawn = match both {
        [direct, passed] if direct.marks == passed.marks => vec![Series { label: "bound".into(), ..direct }],
        both => both.into(),
    };
    drawn.into_iter().filter(|series| !series.marks.is_empty()).collect()
}

/// What a member with a slow loop leaves of the bandwidth, and what it makes of the latency.
fn slow_member(fabric: &str, points: &[&PointSummary]) -> Vec<Figure> {
    let kinds = [
        ("", "", Metric::Algbw, "orders-slow", "Bandwidth with one slow member", "part of the bandwidth that is kept"),
        ("closed-", "-sender", Metric::LatencyP50, "orders-slow-latency", "Latency with one slow member", "times the latency without it"),
    ];
    let mut figures = Vec::new();
    for (before, after, metric, name, title, label) in kinds {
        let slowed = only(points, |point| slowness(point, before, after).is_some());
        for (size, nodes) in distinct(&slowed, |point| (point.message_bytes, point.nodes)) {
            let own = only(&slowed, |point| (point.message_bytes, point.nodes) == (size, nodes));
            let even = format!("{before}even{after}");
            // As a part of what the same group does where nobody is slow.
            let relative = |point: &PointSummary| {
                let same = |other: &Point| {
                    (&other.ordering, other.message_bytes, other.nodes, &other.sender_pattern)
                        == (&point.point.ordering, size, nodes, &point.point.sender_pattern)
                };
                let base = only(points, |other| what(other) == even && same(other)).first()?.spread(metric)?.median;
                let found = mark(point, 1.0 + slowness(&point.point, before, after)? / 100.0, metric)?;
                let range = found.range.map(|(least, most)| (least / base, most / base));
                (base > 0.0).then_some(Mark { y: found.y / base, range, ..found })
            };
            let series = lines(&own, Line::Solid, "", relative);
            let Some(most) = series.iter().flat_map(|series| &series.marks).map(|mark| mark.x).max_by(f64::total_cmp) else { continue };
            let left = said(&series, |series| Some(units::number(series.marks.iter().find(|mark| mark.x == most)?.y)));
            figures.push(Figure {
                name: format!("{name}-{size}-n{nodes}-{}", file_name(fabric)),
                title: format!("{title}, {} messages, {nodes} nodes, {fabric}", units::bytes(size)),
                subtitle: subtitle(&own, &[&trials(&own), "the last member's loop is slow, the first sends"]),
                caption: format!("Where the last member's turns take {most} times as long, {label}: {left}."),
                x: Axis { label: "a turn of the last member's loop takes so many times as long".into(), scale: Scale::Log },
                y: Axis { label: label.into(), scale: Scale::Log },
                series,
                level: Some((1.0, "nobody is slow")),
                event: None,
            });
        }
    }
    figures
}

/// Deliveries around the kill of one member, one figure for each victim.
fn kills(fabric: &str, points: &[&PointSummary], timelines: &Path) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (kill, victim) in
        [("kill@first", "the first member: leader, head"), ("kill@middle", "an ordinary member"), ("kill", "the last member: tail")]
    {
        let of = |part: &str| only(points, |point| what(point) == format!("{kill}-light-{part}"));
        let gaps = lines(&of("gap"), Line::Marks, "", |point| mark(point, f64::from(point.point.nodes), Metric::LatencyP50));
        let silences = said(&gaps, |series| Some(format!("{} ms", units::number(series.marks.last()?.y / 1e3))));
        let drawn = change::around_kill(&of("active"), timelines, fabric, |point| (point.ordering.clone(), place(&point.ordering)));
        figures.extend(drawn.map(|figure| Figure {
            name: format!("orders-{}-{}", kill.replace('@', "-"), file_name(fabric)),
            title: format!("A kill of {victim}, {fabric}"),
            caption: format!("The longest silence at the median member from the kill on: {silences}."),
            ..figure
        }));
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Row, Summary};

    fn row(ordering: &str, schedule: &str, nodes: u32) -> Row {
        Row {
            experiment: "orders".into(),
            fabric: "shm".into(),
            ordering: ordering.into(),
            schedule: schedule.into(),
            nodes,
            senders: 1,
            sender_pattern: "one".into(),
            message_bytes: 10_240,
            trial: 1,
            ..Row::default()
        }
    }

    fn captions(rows: &[Row]) -> Vec<String> {
        let summary = Summary::of(rows);
        let points: Vec<&PointSummary> = summary.points.iter().collect();
        figures(&points, Path::new("nowhere")).into_iter().map(|figure| figure.caption).collect()
    }

    #[test]
    fn a_caption_says_how_much_is_left_beside_a_slow_member() {
        let of = |ordering: &str, schedule: &str, rate| Row { algbw_gigabytes_per_second: Some(rate), ..row(ordering, schedule, 3) };
        let rows = [
            of("ordered", "direct-even", 10.0),
            of("ordered", "direct-1-slow-900", 1.0),
            of("ordered", "direct-1-slow-99900", 0.5),
            of("unordered", "direct-even", 20.0),
            of("unordered", "direct-1-slow-99900", 5.0),
        ];
        let found = captions(&rows);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("take 1000 times as long") && found[0].ends_with("ordered 0.0500, unordered 0.25."), "{found:?}");
    }

    #[test]
    fn bounds_are_one_line_where_they_do_not_differ() {
        let of = |ordering: &str, bound: f64| Row {
            algbw_gigabytes_per_second: Some(8.0),
            bound_fraction: Some(8.0 / bound),
            ..row(ordering, "direct", 4)
        };
        let labels = |of_chain| {
            let summary = Summary::of(&[of("ordered", 16.0), of("chain", of_chain)]);
            bounds(&summary.points.iter().collect::<Vec<_>>()).into_iter().map(|series| series.label).collect::<Vec<_>>()
        };
        assert_eq!(labels(16.0), ["bound"]);
        assert_eq!(labels(32.0), ["bound, sent to each", "bound, passed on"]);
    }

    #[test]
    fn the_knee_is_the_most_before_latency_grows_tenfold() {
        let of = |percent: u32, rate, us| Row {
            messages_per_second: Some(rate),
            latency_us_p50: Some(us),
            ..row("ordered", &format!("direct-load-{percent}-due"), 3)
        };
        // What is offered beyond that is delivered more slowly: no line goes there.
        let found = captions(&[of(10, 1e5, 2.0), of(80, 8e5, 19.0), of(120, 1e6, 900.0), of(150, 9e5, 10.0)]);
        assert!(found[0].ends_with("messages/s: ordered 800.0 k."), "{found:?}");
    }

    #[test]
    fn a_caption_of_a_stream_tells_the_largest_group() {
        let of =
            |ordering: &str, schedule: &str, nodes, rate| Row { algbw_gigabytes_per_second: Some(rate), ..row(ordering, schedule, nodes) };
        let found = captions(&[of("ordered", "direct", 2, 9.0), of("ordered", "direct", 8, 1.5), of("unordered", "direct", 8, 1.6)]);
        assert_eq!(found, ["In a group of 8, in GB/s: ordered 1.50, unordered 1.60."]);
    }
}
