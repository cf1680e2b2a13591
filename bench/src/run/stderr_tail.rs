//! The last lines of a child's standard error.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::process::ChildStderr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

const LINES_MAX: usize = 8;
const PANIC_LINES_MAX: usize = 4;
const LINE_BYTES_MAX: usize = 400;

/// Reads a child's standard error to its end and keeps the last lines.
#[derive(Clone, Debug, Default)]
pub(super) struct StderrTail(Arc<(Mutex<Tail>, Condvar)>);

#[derive(Debug, Default)]
struct Tail {
    /// Where a thread panicked, and what it said: the lines before the backtrace, which would push them out.
    panic: Vec<String>,
    panicking: bool,
    lines: VecDeque<String>,
    ended: bool,
}

impl Tail {
    fn keep(&mut self, text: String) {
        if self.panic.is_empty() && text.starts_with("thread '") && text.contains(" panicked at ") {
            self.panicking = true;
        } else if text.starts_with("stack backtrace:") || text.starts_with("note: ") {
            self.panicking = false;
        }
        if self.panicking && self.panic.len() < PANIC_LINES_MAX {
            self.panic.push(text);
            return;
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(text);
    }

    /// A panic says all there is to say; else the last lines.
    fn text(&self) -> String {
        let lines: Vec<&str> = match self.panic.is_empty() {
            true => self.lines.iter().map(String::as_str).collect(),
            false => self.panic.iter().map(String::as_str).collect(),
        };
        lines.join(" | ")
    }
}

impl StderrTail {
    pub(super) fn follow(pipe: ChildStderr) -> io::Result<StderrTail> {
        let tail = StderrTail::default();
        let follower = tail.clone();
        thread::Builder::new().name("stderr".into()).spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while pipe.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                follower.keep(&line);
                line.clear();
            }
            follower.lock().ended = true;
            follower.0.1.notify_all();
        })?;
        Ok(tail)
    }

    fn lock(&self) -> MutexGuard<'_, Tail> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, line: &[u8]) {
        let text = String::from_utf8_lossy(&line[..line.len().min(LINE_BYTES_MAX)]).trim_end().to_owned();
        if text.is_empty() {
            return;
        }
        self.lock().keep(text);
    }

    /// The lines, one after the other: all if the child ends within `patience`, else those so far.
    pub(super) fn text_at_end(&self, patience: Duration) -> String {
        let waited = self.0.1.wait_timeout_while(self.lock(), patience, |tail| !tail.ended);
        let (tail, _) = waited.unwrap_or_else(PoisonError::into_inner);
        tail.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(lines: &[&str]) -> String {
        let mut tail = Tail::default();
        lines.iter().for_each(|line| tail.keep((*line).to_owned()));
        tail.text()
    }

    #[test]
    fn a_panic_is_not_lost_behind_its_backtrace() {
        let frames: Vec<String> = (0..40).map(|frame| format!("{frame}: core::ops::function")).collect();
        let said = ["starting", "thread 'main' (7) panicked at src/a.rs:3:5:", "index out of bounds: 9", "stack backtrace:"];
        let lines: Vec<&str> = said.into_iter().chain(frames.iter().map(String::as_str)).collect();
        assert_eq!(text_of(&lines), "thread 'main' (7) panicked at src/a.rs:3:5: | index out of bounds: 9");
    }

    #[test]
    fn without_a_panic_the_last_lines_count() {
        assert_eq!(text_of(&["a", "b"]), "a | b");
    }
}
