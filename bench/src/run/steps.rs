//! What the user sees while steps of one kind go on, rounds or points: a bar with the time left on a terminal, a line a
//! step elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a bar is drawn anew, so that the time moves while a step goes on.
const TICK: Duration = Duration::from_millis(250);

/// Steps of one kind. Dropping it takes the bar away.
#[derive(Debug)]
pub struct Steps {
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Steps {
    /// So many are to come; the first of them is `what`. Who wants to hear nothing is `quiet`.
    pub fn new(count: u64, what: &str, quiet: bool) -> Steps {
        let terminal = io::stderr().is_terminal() && !quiet;
        let bar = terminal.then(|| {
            let bar = ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::stderr_with_hz(5));
            // The template is a constant, so the default style is never what is shown.
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed_precise}, {eta} left: {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(what.to_owned());
            bar.enable_steady_tick(TICK);
            bar
        });
        Steps { bar, quiet }
    }

    /// One is over, and came to `line`.
    pub fn done(&self, line: String) {
        match &self.bar {
            Some(bar) => {
                bar.inc(1);
                bar.set_message(line);
            }
            None => self.say(&line),
        }
    }

    /// The same of steps that are so many that only each `line_every`th, the `at`th from 1, has a line.
    pub fn done_of_many(&self, at: usize, line_every: usize, line: String) {
        if self.bar.is_some() || at.is_multiple_of(line_every) {
            self.done(line);
        }
    }

    /// A line that stays.
    pub fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            None if self.quiet => {}
            // Nobody reads it: the run goes on.
            None => drop(writeln!(io::stderr(), "{line}")),
        }
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
