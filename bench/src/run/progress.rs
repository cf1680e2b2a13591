//! What the user sees on standard error while a run goes on: a bar on a terminal, plain lines elsewhere.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::ask::plan::Plan;
use crate::ask::point::PlannedPoint;
use crate::ask::policy;
use squall_report::{Row, Summary, units};

/// What the user sees on standard error while a run goes on.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    /// Whether people want to hear nothing.
    quiet: bool,
    points: usize,
    /// The point that runs.
    current: RefCell<String>,
    time: RefCell<TimeLeft>,
    /// The figures of the trial measured last.
    last: RefCell<String>,
    /// Notices that were shown, without their numbers.
    noticed: RefCell<HashSet<String>>,
}

/// How often a bar is drawn anew.
const TICK: Duration = Duration::from_millis(250);
/// Nothing is silent for longer.
const SILENCE_MAX: f64 = 1.0;
/// Figures that come of a point: a line of a few points is one.
const FIGURES_A_POINT: f64 = 0.25;

/// How long a run will still take: what was estimated for the rest of it, stretched as what is done was.
#[derive(Clone, Debug)]
struct TimeLeft {
    estimated: f64,
    done: f64,
    began: Instant,
}

impl TimeLeft {
    /// Seconds, after so many for what is done.
    fn seconds(&self, elapsed: f64) -> f64 {
        /// Until so much is done, it is no measure for the rest.
        const TOLD_BY: f64 = 2.0;
        let stretch = if self.done > TOLD_BY { elapsed / self.done } else { 1.0 };
        (self.estimated - self.done).max(0.0) * stretch
    }

    fn text(&self) -> String {
        format!("about {} left", duration(self.seconds(self.began.elapsed().as_secs_f64())))
    }
}

impl Progress {
    /// For a run of these points after bounds, and what comes before them, that take so long: a bar if standard error
    /// is a terminal; nothing at all if it is to be `quiet`.
    pub fn new(points: &[&PlannedPoint], before_seconds: f64, quiet: bool) -> Progress {
        let terminal = io::stderr().is_terminal() && !quiet;
        let bar = terminal.then(|| {
            let bar = ProgressBar::with_draw_target(Some(points.len() as u64), ProgressDrawTarget::stderr_with_hz(5));
            // The template is a constant, so the default style is never what is shown.
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed_precise}, {prefix}: {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_style(style);
            // So that the time moves while a point goes on.
            bar.enable_steady_tick(TICK);
            bar
        });
        let running = points.iter().filter(|point| point.skip.is_none());
        let estimated = before_seconds + running.map(|point| point.seconds).sum::<f64>();
        let time = TimeLeft { estimated, done: 0.0, began: Instant::now() };
        Progress {
            bar,
            quiet,
            points: points.len(),
            current: RefCell::default(),
            time: RefCell::new(time),
            last: RefCell::default(),
            noticed: RefCell::default(),
        }
    }

    /// The bounds are being measured.
    pub fn begin_bounds(&self) {
        match &self.bar {
            Some(bar) => {
                bar.set_prefix(self.time.borrow().text());
                bar.set_message("measuring what this machine can do at most");
            }
            None => self.say("measuring what this machine can do at most"),
        }
    }

    /// So many seconds of what was estimated are behind us.
    pub(super) fn pass(&self, seconds: f64) {
        let mut time = self.time.borrow_mut();
        time.done += seconds;
        if let Some(bar) = &self.bar {
            bar.set_prefix(time.text());
        }
    }

    /// A bound begins to be measured, which takes about so long.
    pub fn probing(&self, what: &str, seconds: f64) {
        match &self.bar {
            Some(bar) => bar.set_message(format!("measuring {what}")),
            None if seconds > SILENCE_MAX => self.say(&format!("  measuring {what}, about {}", duration(seconds))),
            None => {}
        }
    }

    /// A bound is measured, for which so many seconds were estimated.
    pub fn bound(&self, what: &str, seconds: f64) {
        self.pass(seconds);
        self.doing(what);
    }

    /// All bounds are measured, or cannot be: so many seconds of the estimate are behind us.
    pub fn end_bounds(&self, seconds: f64) {
        let left = seconds - self.time.borrow().done;
        self.pass(left);
    }

    /// A line for people.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None if self.quiet => {}
            // Nobody reads it: the run goes on.
            None => drop(writeln!(io::stderr(), "{line}")),
        }
    }

    /// A point begins.
    pub fn begin(&self, point: &PlannedPoint) {
        if let Some(bar) = &self.bar {
            let point = point.setting.row(None).point().to_string();
            bar.set_message(point.clone());
            self.current.replace(point);
        }
    }

    /// Whether anybody watches what goes on within a trial.
    pub fn is_watched(&self) -> bool {
        self.bar.is_some()
    }

    /// What goes on within the trial that runs.
    pub fn live(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {text}", self.current.borrow()));
        }
    }

    /// A point that was announced as skipped has its turn.
    pub fn pass_over(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// Something begins that takes its time.
    pub fn doing(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None => self.say(&format!("  {what}")),
        }
    }

    /// So many parts of something that takes its time are over.
    pub fn so_far(&self, what: &str, done: usize, count: usize) {
        /// Parts from one line to the next where there is no bar.
        const LINE_EVERY: usize = 50;
        let text = format!("{what}: {done} of {count}");
        match &self.bar {
            Some(bar) => bar.set_message(text),
            None if done.is_multiple_of(LINE_EVERY) => self.say(&format!("  {text}")),
            None => {}
        }
    }

    /// A trial was measured; `beside` if it is another program's, in turns with ours.
    pub fn row(&self, row: &Row, beside: bool) {
        let figures = headline(row);
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{} #{}: {figures}", row.point(), row.trial));
        }
        match beside {
            true => self.last.borrow_mut().push_str(&format!("; {}: {figures}", row.fabric)),
            false => drop(self.last.replace(figures)),
        }
    }

    /// The figures of the trial measured last.
    pub fn last(&self) -> String {
        self.last.borrow().clone()
    }

    /// A point ended; what came of it.
    pub fn end(&self, at: usize, point: &PlannedPoint, outcome: &str) {
        if point.skip.is_none() {
            self.pass(point.seconds);
        }
        let place = place(at, self.points, || self.time.borrow().text());
        self.say(&format!("[{place}] {}: {outcome}", point.setting.row(None).point()));
        if let Some(bar) = &self.bar {
            bar.set_length(self.points.max(at) as u64);
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
pub fn announcement(plan: &Plan, remaining: &[&PlannedPoint], before_seconds: f64) -> Vec<String> {
    let running: Vec<_> = remaining.iter().filter(|point| point.skip.is_none()).collect();
    let drawing = running.len() as f64 * FIGURES_A_POINT * policy::FIGURE_SECONDS;
    let seconds = before_seconds + running.iter().map(|point| point.seconds).sum::<f64>() + drawing;
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
    lines.extend(skipped(remaining));
    lines
}

/// Points that will not run, those with one reason together.
fn skipped(points: &[&PlannedPoint]) -> Vec<String> {
    let mut reasons: Vec<&str> = Vec::new();
    let mut rows = Vec::new();
    for (point, why) in points.iter().filter_map(|point| Some((point, point.skip.as_deref()?))) {
        // What differs only in its numbers, and their units, is one reason.
        let is_number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) || ["B", "KB", "MB", "GB"].contains(word);
        let kind = |why: &str| why.split(' ').filter(|word| !is_number(word)).collect::<Vec<_>>().join(" ");
        let known = reasons.iter().find(|known| kind(known) == kind(why)).copied();
        let why = known.unwrap_or_else(|| {
            reasons.push(why);
            why
        });
        rows.push(Row { note: why.to_owned(), ..point.setting.row(None) });
    }
    Summary::of(&rows).unmeasured_by_reason().into_iter().map(|(points, why)| format!("  skipped: {points}: {why}")).collect()
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

/// Which visit of how many ended, and how long the rest will take; those that `--until-ci` adds have no number to end
/// at.
fn place(at: usize, planned: usize, left: impl Fn() -> String) -> String {
    match at.cmp(&planned) {
        Ordering::Less => format!("{at}/{planned}, {}", left()),
        Ordering::Equal => format!("{at}/{planned}"),
        Ordering::Greater => format!("{at}, again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::experiment::Experiment;
    use crate::ask::machine::Machine;
    use crate::ask::request::{Axes, Request};
    use crate::ask::verbs::Verbs;
    use crate::jobs::kinds::FabricKind;

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
    fn points_that_are_skipped_alike_take_a_line_a_reason() {
        let axes = Axes { fabric: vec![FabricKind::Verbs.into(), FabricKind::Shm.into()], ..Axes::default() };
        let request = Request { experiments: vec![Experiment::SmcRate], quick: false, axes };
        let verbs = Verbs { unavailable: Some("no device".into()), ..Verbs::default() };
        let plan = Plan::of(&request, &Machine { cores: vec![0, 1], memory_bytes: 1 << 12, verbs, ..Machine::default() }).unwrap();
        let points: Vec<&PlannedPoint> = plan.points.iter().collect();
        assert!(points.len() > 12 && points.iter().all(|point| point.skip.is_some()));
        let lines = skipped(&points);
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(lines[0].contains("no device") && lines[1].contains("of memory for"), "{lines:#?}");
        assert_eq!(announcement(&plan, &points, 0.0).len(), 3);
    }

    #[test]
    fn who_wants_to_hear_nothing_hears_nothing() {
        let quiet = Progress::new(&[], 0.0, true);
        assert!(!quiet.is_watched() && quiet.quiet);
    }

    #[test]
    fn what_is_left_is_stretched_as_what_is_done_was() {
        let time = TimeLeft { estimated: 100.0, done: 20.0, began: Instant::now() };
        assert_eq!(time.seconds(40.0), 160.0);
        assert_eq!(TimeLeft { done: 1.0, ..time.clone() }.seconds(40.0), 99.0);
        assert_eq!(TimeLeft { done: 120.0, ..time }.seconds(40.0), 0.0);
    }

    #[test]
    fn times_are_short_enough_to_read() {
        assert_eq!(duration(4.2), "5 s");
        assert_eq!((duration(-0.0), duration(std::iter::empty::<f64>().sum())), ("0 s".into(), "0 s".into()));
        assert_eq!(duration(125.0), "3 min");
        assert_eq!(duration(7325.0), "2 h 2 min");
    }

    #[test]
    fn repeats_are_not_counted_beyond_what_was_planned() {
        let of = |at| place(at, 3, || "about 2 s left".into());
        assert_eq!([of(2), of(3), of(4)], ["2/3, about 2 s left", "3/3", "4, again"]);
    }
}
