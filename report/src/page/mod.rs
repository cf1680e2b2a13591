//! `report.html` and its kin: one page that needs nothing else and no network. Its script draws the figures.

mod figures;
mod markup;
mod tables;

use std::fmt::Write;

use serde_json::Value;

use crate::environment::Environment;
use crate::plots::{Drawn, limits::reasons};
use crate::record::RunRecord;
use crate::summary::{PointSummary, Summary};
use crate::units;
pub(crate) use figures::Part;
use markup::plain_table;
pub(crate) use markup::{escape, grouped_table, page as frame, section};

/// What goes on the page of a run.
pub(super) struct Report<'a> {
    pub(super) name: &'a str,
    pub(super) record: Option<&'a RunRecord>,
    pub(super) environment: Option<&'a Environment>,
    pub(super) summary: &'a Summary,
    pub(super) figures: &'a [Drawn],
    pub(super) notices: &'a [String],
}

/// The page of a run.
pub(super) fn html(report: &Report<'_>) -> String {
    let mut body = headline(report);
    body.push_str(&warnings(report));
    body.push_str(&section("Headline", &tables::best(report.summary)));
    body.push_str(&section("How to read this", HOW_TO_READ));
    let part = Part { name: "", summary: report.summary, figures: report.figures };
    body.push_str(&interactive(&[part], true));
    let noise = tables::noise(report.summary);
    if !noise.is_empty() {
        body.push_str(&section("Noise", &noise));
    }
    if !report.summary.unmeasured.is_empty() {
        body.push_str(&section("Skipped and failed", &unmeasured(report.summary)));
    }
    body.push_str(&section("Machine and settings", &surroundings(report)));
    markup::page(&format!("Squall: {}", report.name), &body)
}

/// The figures of runs, each over those of the first, and the table of their points, with what filters both.
/// `has_files` says whether the figures lie in `plots/` beside the page as well.
pub(crate) fn interactive(parts: &[Part<'_>], has_files: bool) -> String {
    let mut text = String::from("<form id=\"filters\" aria-label=\"what to show\"></form>\n");
    text.push_str("<noscript><p class=\"warning\">The figures and the table of points are drawn by the script of this page. ");
    text.push_str("The same figures are files in plots/, the same numbers in summary.csv.</p></noscript>\n");
    let mut drawn: Vec<&Drawn> = Vec::new();
    for figure in parts.iter().flat_map(|part| part.figures) {
        if !drawn.iter().any(|known| known.name == figure.name) {
            drawn.push(figure);
        }
    }
    let mut experiments: Vec<&str> = Vec::new();
    for experiment in drawn.iter().map(|figure| figure.experiment.as_str()) {
        if !experiments.contains(&experiment) {
            experiments.push(experiment);
        }
    }
    for experiment in experiments {
        let own = drawn.iter().filter(|figure| figure.experiment == experiment);
        let figures: String = own.map(|figure| place(figure, has_files)).collect();
        text.push_str(&section(&escape(heading(experiment)), &(lead(experiment, parts).to_owned() + &figures)));
    }
    text.push_str(&section("Points", "<div id=\"points\" class=\"scroll\"></div>"));
    text.push_str(&markup::script(&figures::data(parts)));
    text
}

/// What the figures of an experiment stand below.
fn heading(experiment: &str) -> &str {
    match experiment {
        "orders" => "Four ways to the same place: orders side by side",
        other => other,
    }
}

/// What is to be known before the figures of an experiment.
fn lead(experiment: &str, parts: &[Part<'_>]) -> &'static str {
    let has = |ordering| parts.iter().flat_map(|part| &part.summary.points).any(|point| point.point.ordering == ordering);
    if experiment == "orders" && has("omnipaxos") { OMNIPAXOS } else { "" }
}

const OMNIPAXOS: &str = "<p><b>omnipaxos</b> is another program's order, that of the library of this name, between whose \
replicas are links of ours, under the same load and the same checks. Its line shows its order with its encoding and its \
heap, where the others write and read messages in rings. It takes no part in reads and kills, nor in messages above \
16 KB.</p>\n";

/// Where the script draws a figure.
fn place(drawn: &Drawn, has_files: bool) -> String {
    let name = escape(&drawn.name);
    let files = match has_files {
        true => format!(" <a href=\"plots/{name}.svg\">SVG</a> <a href=\"plots/{name}.png\">PNG</a>"),
        false => String::new(),
    };
    format!(
        "<figure id=\"{name}\"><h3>{}</h3><div class=\"how\">{}</div><div class=\"chart\"></div><div class=\"legend\"></div>\
         <figcaption>{}{files}</figcaption></figure>\n",
        escape(&drawn.title),
        escape(&drawn.figure.subtitle),
        escape(&drawn.caption),
    )
}

const HOW_TO_READ: &str = "<ul>
<li><b>Bandwidth</b> (algbw) is the payload that all senders sent, over the time from the first send to the last delivery \
at the last node, in gigabytes (10<sup>9</sup> bytes) a second. Headers and nulls do not count.</li>
<li><b>busbw</b> is algbw over a factor that depends on the group, so that groups of different sizes compare; the \
<b>bound</b> is what busbw could be at most, from capacities measured in the same run; the <b>share</b> is busbw over \
the bound. A share above 100 % is a bug in the bound, not a fast machine.</li>
<li>Each number is the <b>median</b> of its trials; <b>±</b> is how far its 95 % interval reaches (of fewer than six \
trials, their range). A difference smaller than that is no difference: <code>squall compare</code> says which are.</li>
<li><b>Latency</b> counts from the time at which a message was meant to be sent, so that a sender that falls behind does \
not hide it. A percentile is blank where the samples do not carry it.</li>
<li>Published points of other systems are drawn as shares of their own bound, never as gigabytes a second beside \
these.</li>
<li>Point at a figure to read its values, draw a box to enlarge a part, click twice to see all of it, and click names \
in its legend to leave them out.</li>
</ul>";

fn headline(report: &Report<'_>) -> String {
    let mut text = format!("<h1>Squall: {}</h1>\n", escape(report.name));
    if let Some(record) = report.record {
        let _ = write!(text, "<p>Begun {}", escape(&record.started));
        if let Some(resumed) = &record.resumed {
            let _ = write!(text, ", resumed {}", escape(resumed));
        }
        let command = record.command.join(" ");
        let _ = writeln!(text, ": <code>{}</code></p>", escape(&command));
    }
    if let Some(environment) = report.environment {
        let _ = writeln!(text, "<p>{}</p>", escape(&environment.headline()));
    }
    let trials: usize = report.summary.points.iter().map(|point| point.trials.len()).sum();
    let _ = writeln!(
        text,
        "<p>{} measured in {}, {} not measured.</p>",
        units::counted(report.summary.points.len(), "point"),
        units::counted(trials, "trial"),
        units::counted(report.summary.unmeasured.len(), "point"),
    );
    text
}

fn warnings(report: &Report<'_>) -> String {
    let mut found: Vec<String> = report.notices.to_vec();
    let points = &report.summary.points;
    let emulated: Vec<&PointSummary> = points.iter().filter(|point| point.emulation().is_some()).collect();
    if !emulated.is_empty() {
        found.push(format!(
            "{} of {} emulated ({}): they show the protocol at work, not what RDMA hardware does.",
            emulated.len(),
            units::counted(points.len(), "point"),
            reasons(&emulated),
        ));
    }
    let beyond = points.iter().filter(|point| point.passes_bound()).count();
    if beyond > 0 {
        found.push(format!("{} above the bound: the bound is wrong there, do not trust these shares.", units::counted(beyond, "point")));
    }
    let unverified = points.iter().filter(|point| is_unverified(point)).count();
    if unverified > 0 {
        found.push(format!("{} not verified.", units::counted(unverified, "point")));
    }
    if report.environment.is_some_and(|environment| environment.squall.profile == "debug") {
        found.push("Measured with a debug build: the numbers mean nothing.".into());
    }
    found.iter().map(|text| format!("<p class=\"warning\">{}</p>\n", escape(text))).collect()
}

fn is_unverified(point: &PointSummary) -> bool {
    // A copy of memory is nobody's message.
    point.point.experiment != "memcpy" && point.trials.iter().any(|row| row.verified == "none")
}

fn unmeasured(summary: &Summary) -> String {
    let rows = summary.unmeasured_by_reason().into_iter().map(|(points, reason)| vec![points, reason]);
    plain_table(&["points", "why"], rows)
}

fn surroundings(report: &Report<'_>) -> String {
    let mut text = String::new();
    if let Some(environment) = report.environment {
        let value = serde_json::to_value(environment).unwrap_or_default();
        text.push_str(&folded("environment.json", &value));
    }
    if let Some(record) = report.record {
        text.push_str(&folded("run.json: what was asked", &record.asked));
        // Of each point its own settings stand in the rows.
        let mut effective = record.effective.clone();
        if let Some(settings) = effective.as_object_mut() {
            settings.remove("points");
        }
        text.push_str(&folded("run.json: what ran", &effective));
    }
    if text.is_empty() {
        text.push_str("<p>The folder holds neither environment.json nor run.json.</p>\n");
    }
    text
}

fn folded(title: &str, value: &Value) -> String {
    format!("<details><summary>{}</summary>\n{}</details>\n", escape(title), tables::facts(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plots::figures;
    use crate::row::Row;

    #[test]
    fn ten_thousand_rows_are_a_page_below_a_megabyte() {
        let row = |at: u32| Row {
            experiment: "multicast".into(),
            fabric: ["shm", "tcp"][at as usize / 3 % 2].into(),
            ordering: "ordered".into(),
            nodes: 2 + at / 6 % 15,
            sender_pattern: ["all", "half", "one"][at as usize / 90 % 3].into(),
            message_bytes: 1 << (at / 270 % 25),
            window: Some(1 + u64::from(at / 6750)),
            trial: 1 + at % 3,
            algbw_gigabytes_per_second: Some(1.0 + f64::from(at) / 977.0),
            messages_per_second: Some(f64::from(at) * 31.7),
            latency_us_p50: Some(1.0 + f64::from(at) / 13.0),
            bound_fraction: Some(f64::from(at) / 11_000.0),
            bound_gigabytes_per_second: Some(12.5),
            bound_kind: "one-core copy (cold)".into(),
            verified: "sampled".into(),
            ..Row::default()
        };
        let rows: Vec<Row> = (0..10_000).map(row).collect();
        let summary = Summary::of(&rows);
        let figures = figures(&summary, std::path::Path::new("nowhere"));
        let report = Report { name: "many", record: None, environment: None, summary: &summary, figures: &figures, notices: &[] };
        let page = html(&report);
        assert!(summary.points.len() > 3000 && figures.len() > 50);
        assert!(page.len() < 1_000_000, "{} bytes", page.len());
    }
}
