//! More than two runs side by side.

use std::collections::BTreeMap;

use super::comparison::{ComparedMetric, Comparison};
use super::tables::{in_words, plain_table, short_name};
use super::text::SHOWN_MAX;
use super::verdict::Verdict;
use crate::row::Point;
use crate::units;

/// Several runs against one baseline, for a terminal (and as Markdown): what became of each, then a table with a column
/// a run, of the lines that differ in any of them, or of all.
pub fn side_by_side(comparisons: &[Comparison], all: bool) -> String {
    let Some(first) = comparisons.first() else { return String::new() };
    let mut text = format!("A: {}\n", first.a.display());
    for (letter, comparison) in letters().zip(comparisons) {
        text.push_str(&format!(
            "\n{letter}: {}\n{}",
            comparison.b.display(),
            comparison.summary().replace("B is", &format!("{letter} is"))
        ));
        for notice in &comparison.notices {
            text.push_str(&format!("notice: {notice}\n"));
        }
    }
    let lines = joined(comparisons);
    let count = lines.len();
    let differs = |found: &[Option<&ComparedMetric>]| {
        found.iter().flatten().any(|line| matches!(line.verdict, Some(Verdict::Better | Verdict::Worse)))
    };
    let mut shown: Vec<_> = lines.into_iter().filter(|(_, found)| all || count <= SHOWN_MAX || differs(found)).collect();
    if !all {
        shown.truncate(SHOWN_MAX);
    }
    let names: Vec<String> = letters().take(comparisons.len()).map(|letter| letter.to_string()).collect();
    let header: Vec<&str> = ["point", "metric", "A"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let mut table = plain_table(&header);
    for ((point, metric), found) in &shown {
        let baseline = found.iter().flatten().next().map(|line| units::number(line.a_median)).unwrap_or_default();
        let of_run = |line: &Option<&ComparedMetric>| {
            let Some(line) = line else { return "-".to_owned() };
            format!("{} x{:.3} {}", units::number(line.b_median), line.ratio, line.verdict.map(in_words).unwrap_or_default())
        };
        table.add_row([point.to_string(), short_name(metric).to_owned(), baseline].into_iter().chain(found.iter().map(of_run)));
    }
    text.push_str(&format!("\n{table}\n"));
    if shown.len() < count {
        text.push_str(&format!("{} of {} shown; --all prints each\n", shown.len(), units::counted(count, "line")));
    }
    text.push_str("x: how many times better than A (above 1 is better, for rates and for latencies)\n");
    text
}

fn letters() -> impl Iterator<Item = char> {
    'B'..='Z'
}

/// A metric of a point.
type Key = (Point, &'static str);
/// What each comparison found of it, if anything.
type Found<'a> = Vec<Option<&'a ComparedMetric>>;

/// The lines of all comparisons by point and metric, in the order of the baseline.
fn joined(comparisons: &[Comparison]) -> Vec<(Key, Found<'_>)> {
    let mut order: Vec<Key> = Vec::new();
    let mut found: BTreeMap<Key, Found<'_>> = BTreeMap::new();
    for (at, comparison) in comparisons.iter().enumerate() {
        for line in &comparison.lines {
            let key = (line.point.clone(), line.metric);
            let entry = found.entry(key.clone()).or_insert_with(|| {
                order.push(key);
                vec![None; comparisons.len()]
            });
            entry[at] = Some(line);
        }
    }
    order.into_iter().filter_map(|key| found.remove_entry(&key)).collect()
}
