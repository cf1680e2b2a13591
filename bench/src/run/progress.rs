//! What the user sees on standard error while a run goes on: a bar on a terminal, plain lines elsewhere.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::ask::plan::Plan;
use crate::ask::point::PlannedPoint;
use squall_report::{Row, units};

/// What the user sees on standard error while a run goes on.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    /// The figures of the trial measured last.
    last: RefCell<String>,
    /// Notices that were shown, without their numbers.
    noticed: RefCell<HashSet<String>>,
}

impl Progress {
    /// For a run of so many points: a bar if standard error is a terminal.
    pub fn new(points: usize) -> Progress {
        let terminal = io::stderr().is_terminal();
        let bar = terminal.then(|| {
            let bar = ProgressBar::with_draw_target(Some(points as u64), ProgressDrawTarget::stderr_with_hz(5));
            // The template is a constant, so the default style is never what is shown.
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed_precise} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style);
            bar
        });
        Progress { bar, last: RefCell::default(), noticed: RefCell::default() }
    }

    /// A line for people.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            // Nobody reads it: the run goes on.
            None => drop(writeln!(io::stderr(), "{line}")),
        }
    }

    /// A point begins.
    pub fn begin(&self, point: &PlannedPoint) {
        if let Some(bar) = &self.bar {
            bar.set_message(point.setting.row(None).point().to_string());
        }
    }

    /// A trial was measured.
    pub fn row(&self, row: &Row) {
        let figures = headline(row);
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{} #{}: {figures}", row.point(), row.trial));
        }
        self.last.replace(figures);
    }

    /// The figures of the trial measured last.
    pub fn last(&self) -> String {
        self.last.borrow().clone()
    }

    /// A point ended; what came of it.
    pub fn end(&self, at: usize, points: usize, point: &PlannedPoint, outcome: &str) {
        self.say(&format!("[{at}/{points}] {}: {outcome}", point.setting.row(None).point()));
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// What nodes could not have as asked; what differs only in its numbers is said once.
    pub fn notices(&self, notices: &[String]) {
        for notice in notices {
            let kind = notice.chars().filter(|c| !c.is_ascii_digit()).collect();
            if self.noticed.borrow_mut().insert(kind) {
                self.say(&format!("  note: {notice}"));
            }
        }
    }

    /// Everything has been said.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The figure of a row that matters most.
pub fn headline(row: &Row) -> String {
    let emulated = row.emulation().map(|label| format!(" ({label})")).unwrap_or_default();
    if let Some(p50) = row.latency_us_p50 {
        return format!("p50 {} us{emulated}", units::number(p50));
    }
    let mut parts = Vec::new();
    parts.extend(row.algbw_gigabytes_per_second.map(|rate| format!("{} GB/s", units::number(rate))));
    if row.message_bytes <= 1024 {
        parts.extend(row.messages_per_second.map(|rate| format!("{} messages/s", units::number(rate))));
    }
    parts.extend(row.bound_fraction.map(|fraction| format!("{} of {}", units::percent(fraction), row.bound_kind)));
    parts.extend(row.passes_bound().then(|| "ABOVE ITS BOUND".to_owned()));
    parts.join(", ") + &emulated
}

/// What will run, how long it will take, and what will not run.
pub fn announcement(plan: &Plan, remaining: &[&PlannedPoint]) -> Vec<String> {
    let running: Vec<_> = remaining.iter().filter(|point| point.skip.is_none()).collect();
    let seconds: f64 = running.iter().map(|point| point.seconds).sum();
    let memory = running.iter().map(|point| point.memory_bytes).max().unwrap_or(0);
    let mut lines = vec![format!(
        "{} to measure, about {}, at most {} of memory at a time",
        units::counted(running.len(), "point"),
        duration(seconds),
        units::bytes(memory)
    )];
    let done = plan.points.len() - remaining.len();
    if done > 0 {
        lines.push(format!("{} measured before", units::counted(done, "point")));
    }
    for point in &running {
        for note in &point.notes {
            lines.push(format!("  {}: {note}", point.setting.row(None).point()));
        }
    }
    for point in remaining {
        if let Some(why) = &point.skip {
            lines.push(format!("  skipped: {}: {why}", point.setting.row(None).point()));
        }
    }
    lines
}

/// A time for people.
pub fn duration(seconds: f64) -> String {
    // Nothing at all adds up to -0.
    let seconds = seconds.max(0.0) + 0.0;
    let whole = Duration::from_secs_f64(seconds).as_secs();
    match whole {
        0..=90 => format!("{} s", seconds.ceil()),
        91..=5400 => format!("{} min", whole.div_ceil(60)),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_says_what_it_is_not() {
        let row = Row {
            message_bytes: 1 << 20,
            algbw_gigabytes_per_second: Some(2.0),
            bound_fraction: Some(1.04),
            bound_kind: "one-core copy".into(),
            emulated: "oversubscribed+throttled".into(),
            ..Row::default()
        };
        assert_eq!(headline(&row), "2.00 GB/s, 104.0 % of one-core copy, ABOVE ITS BOUND (oversubscribed+throttled)");
        let latency = Row { latency_us_p50: Some(1.0), emulated: "shaped".into(), ..Row::default() };
        assert_eq!(headline(&latency), "p50 1.00 us (shaped)");
    }

    #[test]
    fn times_are_short_enough_to_read() {
        assert_eq!(duration(4.2), "5 s");
        assert_eq!((duration(-0.0), duration(std::iter::empty::<f64>().sum())), ("0 s".into(), "0 s".into()));
        assert_eq!(duration(125.0), "3 min");
        assert_eq!(duration(7325.0), "2 h 2 min");
    }
}
