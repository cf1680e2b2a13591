//! More than two runs side by side.

use std::collections::BTreeMap;

use super::comparison::{ComparedMetric, Comparison};
use super::tables::{in_words, parts_side_by_side, plain_table, short_name};
use super::text::SHOWN_MAX;
use super::verdict::Verdict;
use crate::row::Point;
use crate::units;

/// What ratios of several runs mean.
pub(super) const ABOVE_ONE: &str = "ratio: how many times better than A (above 1 is better, for rates and for latencies)";

/// Several runs against one baseline, for a terminal: what became of each, then tables with a column a run, of the
/// parts, and of the lines that differ in any of them, or of all.
pub fn side_by_side(comparisons: &[Comparison], all: bool) -> String {
    let Some(first) = comparisons.first() else { return String::new() };
    let mut text = format!("A: {}\n", first.a.display());
    for (letter, comparison) in letters().zip(comparisons) {
        text.push_str(&format!("\n{letter}: {}\n{}", comparison.b.display(), comparison.summary(letter)));
        for notice in &comparison.notices {
            text.push_str(&format!("notice: {notice}\n"));
        }
    }
    text + &tables(comparisons, all)
}

/// The same as Markdown, for a pull request.
pub fn side_by_side_markdown(comparisons: &[Comparison], all: bool) -> String {
    let Some(first) = comparisons.first() else { return String::new() };
    let mut text = format!("**A** `{}`\n", first.a.display());
    for (letter, comparison) in letters().zip(comparisons) {
        text.push_str(&format!("\n**{letter}** `{}`\n\n", comparison.b.display()));
        for line in comparison.summary(letter).lines().chain(comparison.notices.iter().map(String::as_str)) {
            text.push_str(&format!("- {line}\n"));
        }
    }
    text + &tables(comparisons, all)
}

/// Tables that are Markdown too.
fn tables(comparisons: &[Comparison], all: bool) -> String {
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
    let mut text = format!("\n{}\n", parts_side_by_side(comparisons, &names));
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
    if !shown.is_empty() {
        text.push_str(&format!("\n{table}\n"));
    }
    if shown.len() < count {
        text.push_str(&format!("\n{} of {} shown; --all prints each\n", shown.len(), units::counted(count, "line")));
    }
    text + &format!("\n{ABOVE_ONE}\n")
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
