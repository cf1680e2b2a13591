//! A fast fabric beside TCP: how many times its bandwidth, and what TCP adds to latency.

use std::collections::BTreeMap;

use super::figure::{Figure, Line, Mark, Of, PATTERNS, Series};
use super::grouping::{colour_of, distinct, only, subtitle};
use super::published;
use super::scale::{Axis, Scale};
use crate::statistics::median;
use crate::summary::{Metric, PointSummary};
use crate::units;

/// The published pair: fast, and TCP.
const PUBLISHED_NETWORKS: [&str; 2] = ["ib100g-libfabric", "tcp-eth100g"];
/// The same among fabrics, by the names of the figures of latency.
const PUBLISHED_FABRICS: [&str; 2] = ["verbs", "tcp"];
const PUBLISHED: &str = "Derecho: RDMA / TCP, 100 Gb/s";
/// Schedules of one message at a time, timed at its sender.
const CLOSED: &str = "closed-sender";

/// Ratios of one line of the figure, by message size.
type Ratios = BTreeMap<(String, String, String), BTreeMap<u64, Vec<Ratio>>>;

/// How many times the bandwidth of TCP, in groups of one size.
#[derive(Clone, Copy, Debug)]
struct Ratio {
    times: f64,
    /// Whether something stood in for the hardware on either side.
    emulated: bool,
}

/// What only fabrics of one kind are compared within: this machine's, modelled ones, the peer's in the model.
fn kind(fabric: &str) -> &'static str {
    ["derecho-in-sim-", "sim-"].into_iter().find(|kind| fabric.starts_with(*kind)).unwrap_or("")
}

fn is_tcp(fabric: &str) -> bool {
    fabric[kind(fabric).len()..].starts_with("tcp")
}

/// Every fast point with those over TCP that differ in nothing else.
fn pairs<'a>(points: &[&'a PointSummary]) -> Vec<(&'a PointSummary, &'a PointSummary)> {
    let (tcp, fast) = (only(points, |point| is_tcp(&point.fabric)), only(points, |point| !is_tcp(&point.fabric)));
    let mut pairs = Vec::new();
    for point in fast {
        let a = &point.point;
        pairs.extend(tcp.iter().filter_map(|other| {
            let b = &other.point;
            let same = kind(&a.fabric) == kind(&b.fabric)
                && (a.nodes, a.message_bytes) == (b.nodes, b.message_bytes)
                && (&a.ordering, &a.sender_pattern) == (&b.ordering, &b.sender_pattern);
            same.then_some((point, *other))
        }));
    }
    pairs
}

fn is_emulated(fast: &PointSummary, tcp: &PointSummary) -> bool {
    fast.emulation().is_some() || tcp.emulation().is_some()
}

fn ratio_of(fast: f64, tcp: f64, emulated: bool) -> Option<Ratio> {
    Some(Ratio { times: fast / tcp, emulated }).filter(|ratio| ratio.times.is_finite())
}

/// How many times faster each other fabric is than TCP, by message size, over all node counts.
pub(super) fn of_bandwidth(name: &str, points: &[&PointSummary]) -> Vec<Figure> {
    let with_rate = points.iter().copied().filter(|point| point.spread(Metric::Algbw).is_some()).collect::<Vec<_>>();
    let mut ratios = Ratios::new();
    for (fast, tcp) in pairs(&with_rate) {
        let rate = |point: &PointSummary| point.spread(Metric::Algbw).map(|spread| spread.median);
        let ratio = rate(fast).zip(rate(tcp)).and_then(|(a, b)| ratio_of(a, b, is_emulated(fast, tcp)));
        let key = &fast.point;
        let line = (format!("{} / {}", key.fabric, tcp.point.fabric), key.sender_pattern.clone(), key.ordering.clone());
        ratios.entry(line).or_default().entry(key.message_bytes).or_default().extend(ratio);
    }
    let mut series: Vec<Series> =
        ratios.iter().map(|((pair, pattern, ordering), by_size)| of_line(pair, pattern, ordering, by_size)).collect();
    if series.is_empty() {
        return Vec::new();
    }
    let patterns: Vec<&str> = PATTERNS.into_iter().filter(|pattern| ratios.keys().any(|(_, own, _)| own == pattern)).collect();
    series.extend(patterns.into_iter().map(published_ratios));
    vec![Figure {
        name: format!("{name}-gap"),
        title: "Gap to TCP: bandwidth of the fast fabric over that of TCP".into(),
        subtitle: subtitle(
            points,
            &["ratio of medians; mark: middle over all group sizes, hollow if some were emulated; bars: least to greatest"],
        ),
        caption: "How many times the bandwidth of TCP the fast fabric reaches in the same group. The gap grows as \
                  messages shrink, since the cost of TCP is per message more than per byte. Published: 4 times at 100 MB, 6 \
                  to 33 times at 10 KB."
            .into(),
        x: Axis::sizes(),
        y: Axis { label: "times the bandwidth of TCP".into(), scale: Scale::Log },
        series,
        level: Some((1.0, "as fast as TCP")),
        event: None,
    }]
}

fn of_line(pair: &str, pattern: &str, ordering: &str, by_size: &BTreeMap<u64, Vec<Ratio>>) -> Series {
    Series {
        label: format!("{pair}, {pattern}, {ordering}"),
        colour: colour_of(pattern).unwrap_or(PATTERNS.len()),
        line: if ordering == "unordered" { Line::Dashed } else { Line::Solid },
        fabric: pair.split(' ').next().unwrap_or_default().to_owned(),
        of: Of { pattern: pattern.to_owned(), size: None },
        marks: by_size.iter().filter_map(|(size, values)| middle(*size as f64, values)).collect(),
    }
}

fn middle(x: f64, ratios: &[Ratio]) -> Option<Mark> {
    let values: Vec<f64> = ratios.iter().map(|ratio| ratio.times).collect();
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(0.0, f64::max);
    let emulated = ratios.iter().any(|ratio| ratio.emulated);
    Some(Mark { x, y: median(&values)?, range: (most > least).then_some((least, most)), emulated })
}

fn published_ratios(pattern: &str) -> Series {
    let rows = published::bandwidths();
    let mut by_size: BTreeMap<u64, Vec<Ratio>> = BTreeMap::new();
    for fast in rows.iter().filter(|row| row.network == PUBLISHED_NETWORKS[0] && row.senders == pattern) {
        let same = |row: &&published::PublishedBandwidth| {
            row.is(PUBLISHED_NETWORKS[1], fast.message_bytes) && (row.nodes, &row.senders) == (fast.nodes, &fast.senders)
        };
        let tcp = rows.iter().find(same);
        let ratio = tcp.and_then(|tcp| ratio_of(fast.gigabytes_per_second, tcp.gigabytes_per_second, false));
        by_size.entry(fast.message_bytes).or_default().extend(ratio);
    }
    Series {
        label: format!("{PUBLISHED}, {pattern} (published)"),
        colour: colour_of(pattern).unwrap_or(PATTERNS.len()),
        line: Line::Published,
        fabric: String::new(),
        of: Of { pattern: pattern.to_owned(), size: None },
        marks: by_size.iter().filter_map(|(size, values)| middle(*size as f64, values)).collect(),
    }
}

/// What TCP adds to the latency of one message at a time, by group size.
pub(super) fn of_latency(name: &str, points: &[&PointSummary]) -> Vec<Figure> {
    let closed = only(points, |point| point.schedule.ends_with(CLOSED));
    let mut figures = Vec::new();
    for size in distinct(&closed, |point| point.message_bytes) {
        let of_size = only(&closed, |point| point.message_bytes == size);
        let mut added: BTreeMap<String, Vec<Mark>> = BTreeMap::new();
        for (fast, tcp) in pairs(&of_size) {
            let p50 = |point: &PointSummary| point.spread(Metric::LatencyP50).map(|spread| spread.median);
            if let Some((fast_us, tcp_us)) = p50(fast).zip(p50(tcp)) {
                let (x, y) = (f64::from(fast.point.nodes), tcp_us - fast_us);
                let mark = Mark { x, y, range: None, emulated: is_emulated(fast, tcp) };
                added.entry(format!("{} less {}", tcp.point.fabric, fast.point.fabric)).or_default().push(mark);
            }
        }
        let mut series: Vec<Series> = added
            .into_iter()
            .enumerate()
            .map(|(at, (label, marks))| Series {
                label,
                colour: PATTERNS.len() + at,
                line: Line::Solid,
                fabric: String::new(),
                of: Of::default(),
                marks,
            })
            .collect();
        if series.is_empty() {
            continue;
        }
        series.push(published_difference(size));
        let scale = added_scale(&series);
        figures.push(Figure {
            name: format!("{name}-gap-{size}"),
            title: format!("What TCP adds to latency, {} messages", units::bytes(size)),
            subtitle: subtitle(&of_size, &["difference of median latencies, one message at a time, at the sender"]),
            caption: "Latency over TCP less that over the fast fabric in the same group. Published: about 125 µs at two \
                      members under light load. The published points are those of streams (TOCS 2019, figures 12b and 13b), \
                      which wait in full windows over TCP: they lie as much higher as there are messages under way."
                .into(),
            x: Axis::nodes(),
            y: Axis { label: "added by TCP (µs)".into(), scale },
            series,
            level: None,
            event: None,
        });
    }
    figures
}

/// By the logarithm, unless TCP was the faster one somewhere: on a busy machine it may be.
fn added_scale(series: &[Series]) -> Scale {
    let values = || series.iter().flat_map(|series| &series.marks).map(|mark| mark.y);
    if values().all(|value| value > 0.0) { Scale::Log } else { Scale::Around(1.1 * values().map(f64::abs).fold(0.0, f64::max)) }
}

fn published_difference(size: u64) -> Series {
    let [fast, tcp] = PUBLISHED_FABRICS.map(|fabric| published::latencies(fabric, size));
    let marks = fast.iter().filter_map(|fast| {
        let tcp = tcp.iter().find(|tcp| tcp.nodes == fast.nodes)?;
        Mark::of_other(f64::from(fast.nodes), tcp.latency_us - fast.latency_us)
    });
    let label = "Derecho: TCP less RDMA, streams of all (published)".to_owned();
    Series { label, colour: 0, line: Line::Published, fabric: String::new(), of: Of::default(), marks: marks.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Row, Summary};

    fn row(fabric: &str, nodes: u32, gigabytes: f64) -> Row {
        Row {
            experiment: "tcp-gap".into(),
            fabric: fabric.into(),
            ordering: "ordered".into(),
            sender_pattern: "all".into(),
            nodes,
            message_bytes: 10_240,
            trial: 1,
            algbw_gigabytes_per_second: Some(gigabytes),
            latency_us_p50: Some(100.0 / gigabytes),
            schedule: "direct-closed-sender".into(),
            ..Row::default()
        }
    }

    #[test]
    fn a_fabric_is_compared_with_tcp_of_its_own_kind() {
        let rows = [row("shm", 2, 8.0), row("tcp", 2, 2.0), row("sim-rdma-100g", 2, 12.0), row("sim-tcp-100g", 2, 3.0), row("shm", 4, 2.0)];
        let summary = Summary::of(&rows);
        let points: Vec<&PointSummary> = summary.points.iter().collect();
        let figures = of_bandwidth("tcp-gap", &points);
        let ours: Vec<(&str, f64)> = figures[0]
            .series
            .iter()
            .filter(|series| series.line != Line::Published)
            .map(|series| (&*series.label, series.marks[0].y))
            .collect();
        assert_eq!(ours, [("shm / tcp, all, ordered", 4.0), ("sim-rdma-100g / sim-tcp-100g, all, ordered", 4.0)]);
        let added = of_latency("tcp-gap", &points);
        let of_shm = added[0].series.iter().find(|series| series.label == "tcp less shm").unwrap();
        assert_eq!((of_shm.marks.len(), of_shm.marks[0].y), (1, 50.0 - 12.5));
    }

    #[test]
    fn what_tcp_takes_away_is_drawn_too() {
        let rows = [row("shm", 2, 2.0), row("tcp", 2, 8.0), row("shm", 3, 8.0), row("tcp", 3, 2.0)];
        let summary = Summary::of(&rows);
        let points: Vec<&PointSummary> = summary.points.iter().collect();
        let added = of_latency("tcp-gap", &points).remove(0).drawable().unwrap();
        let of_shm = added.series.iter().find(|series| series.label == "tcp less shm").unwrap();
        assert_eq!(of_shm.marks.iter().map(|mark| mark.y).collect::<Vec<_>>(), [12.5 - 50.0, 50.0 - 12.5]);
    }

    #[test]
    fn a_mark_is_hollow_if_one_of_its_groups_was_emulated() {
        let hollow = |emulated: &str| {
            let of = |fabric, nodes, gigabytes| Row {
                emulated: if nodes == 4 { emulated } else { "no" }.into(),
                ..row(fabric, nodes, gigabytes)
            };
            let summary = Summary::of(&[of("shm", 2, 8.0), of("tcp", 2, 2.0), of("shm", 4, 4.0), of("tcp", 4, 1.0)]);
            let points: Vec<&PointSummary> = summary.points.iter().collect();
            of_bandwidth("tcp-gap", &points)[0].series[0].marks[0].emulated
        };
        assert!(hollow("oversubscribed") && !hollow("no"));
    }

    #[test]
    fn the_published_gap_is_four_times_at_a_hundred_megabytes_and_six_to_33_at_ten_kilobytes() {
        let marks = published_ratios("all").marks;
        let of = |size: f64| marks.iter().find(|mark| mark.x == size).unwrap();
        assert!((3.5..7.0).contains(&of(104_857_600.0).y), "{:?}", of(104_857_600.0));
        let (least, most) = of(10_240.0).range.unwrap();
        assert!((5.5..6.5).contains(&least) && (30.0..36.0).contains(&most), "{least} to {most}");
        let added = published_difference(1).marks;
        assert!((added[0].x, added[0].y) == (2.0, 139.0), "{:?}", added[0]);
    }
}
