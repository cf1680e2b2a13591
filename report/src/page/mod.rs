//! `report.html`: one page that needs nothing else, neither a network nor a script.

mod markup;
mod tables;

use std::fmt::Write;

use crate::environment::Environment;
use crate::plots::Drawn;
use crate::record::RunRecord;
use crate::summary::{PointSummary, Summary};
use crate::units;
use markup::{escape, plain_table, section};

/// What goes on the page.
pub(super) struct Report<'a> {
    pub(super) name: &'a str,
    pub(super) record: Option<&'a RunRecord>,
    pub(super) environment: Option<&'a Environment>,
    pub(super) summary: &'a Summary,
    pub(super) figures: &'a [Drawn],
    pub(super) notices: &'a [String],
}

/// The page.
pub(super) fn html(report: &Report<'_>) -> String {
    let mut body = headline(report);
    body.push_str(&warnings(report));
    body.push_str(&section("Headline", &tables::best(report.summary)));
    body.push_str(&section("How to read this", HOW_TO_READ));
    for experiment in experiments(report.summary) {
        body.push_str(&section(&escape(experiment), &experiment_part(report, experiment)));
    }
    if !report.summary.unmeasured.is_empty() {
        body.push_str(&section("Skipped and failed", &unmeasured(report.summary)));
    }
    body.push_str(&section("Machine and settings", &surroundings(report)));
    markup::page(&format!("Squall: {}", report.name), &body)
}

const HOW_TO_READ: &str = "<ul>
<li><b>Bandwidth</b> (algbw) is the payload that all senders sent, over the time from the first send to the last delivery \
at the last node, in gigabytes (10<sup>9</sup> bytes) a second. Headers and nulls do not count.</li>
<li><b>busbw</b> is algbw over a factor that depends on the group, so that groups of different sizes compare; the \
<b>bound</b> is what busbw could be at most, from capacities measured in the same run; the <b>share</b> is busbw over \
the bound. A share above 100 % is a bug in the bound, not a fast machine.</li>
<li>Each number is the <b>median</b> of its trials; the spread is (greatest - least) / median. A difference smaller than \
the spreads is no difference: <code>squall compare</code> says which are.</li>
<li><b>Latency</b> counts from the time at which a message was meant to be sent, so that a sender that falls behind does \
not hide it.</li>
<li><b>Emulated</b> numbers come from a stand-in (an oversubscribed host, soft-RoCE, shaped links, the simulator). They \
show the protocol at work and are not what RDMA hardware does.</li>
<li>Published points of other systems are drawn as shares of their own bound, never as gigabytes a second beside \
these.</li>
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
    let emulated = points.iter().filter(|point| point.emulation().is_some()).count();
    if emulated > 0 {
        found.push(format!(
            "{} of {} measured on an emulated fabric: not what RDMA hardware does.",
            emulated,
            units::counted(points.len(), "point")
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
    point.trials.iter().any(|row| row.verified == "none")
}

fn experiments(summary: &Summary) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for point in &summary.points {
        if !found.contains(&point.point.experiment.as_str()) {
            found.push(&point.point.experiment);
        }
    }
    found
}

fn experiment_part(report: &Report<'_>, experiment: &str) -> String {
    let mut text = String::new();
    for figure in report.figures.iter().filter(|figure| figure.experiment == experiment) {
        let _ = writeln!(
            text,
            "<figure id=\"{}\">{}<figcaption>{} <a href=\"plots/{}.png\">PNG</a></figcaption></figure>",
            escape(&figure.name),
            inline(figure),
            escape(&figure.caption),
            escape(&figure.name),
        );
    }
    let points: Vec<&PointSummary> = report.summary.points.iter().filter(|point| point.point.experiment == experiment).collect();
    let _ = writeln!(text, "<details><summary>{}</summary>\n{}</details>", units::counted(points.len(), "point"), tables::points(&points));
    text
}

/// An SVG file as a part of a page: without what comes before its first element, scaling with the page, and with names
/// that are not those of another figure on it.
fn inline(figure: &Drawn) -> String {
    let svg = figure.svg.find("<svg").map_or("", |at| &figure.svg[at..]);
    let Some(end) = svg.find('>') else {
        return String::new();
    };
    let (start, rest) = svg.split_at(end);
    let size = |name: &str| {
        let (_, value) = start.split_once(&format!(" {name}=\""))?;
        value.split('"').next()?.parse::<f64>().ok()
    };
    let view = match (size("width"), size("height")) {
        (Some(width), Some(height)) if !start.contains("viewBox") => format!(" viewBox=\"0 0 {width} {height}\""),
        _ => String::new(),
    };
    let own = escape(&figure.name);
    let rest = rest
        .replace(" id=\"", &format!(" id=\"{own}-"))
        .replace("url(#", &format!("url(#{own}-"))
        .replace("href=\"#", &format!("href=\"#{own}-"));
    format!("{start}{view}{rest}")
}

fn unmeasured(summary: &Summary) -> String {
    let rows = summary.unmeasured.iter().map(|unmeasured| {
        let reason = match unmeasured.reason.as_str() {
            "" => "no reason given",
            reason => reason,
        };
        vec![unmeasured.point.to_string(), reason.to_owned()]
    });
    plain_table(&["point", "why"], rows)
}

fn surroundings(report: &Report<'_>) -> String {
    let mut text = String::new();
    if let Some(environment) = report.environment {
        let value = serde_json::to_value(environment).unwrap_or_default();
        text.push_str("<h3>environment.json</h3>\n");
        text.push_str(&tables::facts(&value));
    }
    if let Some(record) = report.record {
        text.push_str("<h3>run.json: what ran</h3>\n");
        text.push_str(&tables::facts(&record.effective));
        text.push_str("<h3>run.json: what was asked</h3>\n");
        text.push_str(&tables::facts(&record.asked));
    }
    if text.is_empty() {
        text.push_str("<p>The folder holds neither environment.json nor run.json.</p>\n");
    }
    text
}
