//! The last lines of a child's standard error.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::process::ChildStderr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::jobs::threads;

const LINES_MAX: usize = 8;
const LINE_BYTES_MAX: usize = 400;

/// Reads a child's standard error to its end and keeps the last lines.
#[derive(Clone, Debug, Default)]
pub(super) struct StderrTail(Arc<(Mutex<Tail>, Condvar)>);

#[derive(Debug, Default)]
struct Tail {
    lines: VecDeque<String>,
    /// The first panic: where, and its message. A backtrace behind it would push it out of the last lines.
    panic: Vec<String>,
    ended: bool,
}

impl StderrTail {
    pub(super) fn follow(pipe: ChildStderr) -> io::Result<StderrTail> {
        let tail = StderrTail::default();
        let follower = tail.clone();
        threads::begin("stderr", move || {
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
        let mut tail = self.lock();
        if tail.panic.len() == 1 || (tail.panic.is_empty() && text.contains("panicked at ")) {
            tail.panic.push(text);
            return;
        }
        if tail.lines.len() == LINES_MAX {
            tail.lines.pop_front();
        }
        tail.lines.push_back(text);
    }

    /// The lines, one after the other, or where and why it panicked: all if the child ends within `patience`, else
    /// those so far.
    pub(super) fn text_at_end(&self, patience: Duration) -> String {
        let waited = self.0.1.wait_timeout_while(self.lock(), patience, |tail| !tail.ended);
        let (tail, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if !tail.panic.is_empty() {
            return tail.panic.join(" ");
        }
        tail.lines.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail_of(lines: &[&str]) -> String {
        let tail = StderrTail::default();
        lines.iter().for_each(|line| tail.keep(format!("{line}\n").as_bytes()));
        tail.text_at_end(Duration::ZERO)
    }

    #[test]
    fn a_panic_is_told_whatever_backtrace_follows() {
        let backtrace: Vec<String> = (0..40).map(|frame| format!("  {frame}: squall::frame")).collect();
        let first = ["a notice", "", "thread 'main' (7) panicked at src/a.rs:1:2:", "the reason", "stack backtrace:"];
        let later = ["thread 'other' (8) panicked at src/b.rs:3:4:", "another"];
        let lines: Vec<&str> = first.into_iter().chain(backtrace.iter().map(String::as_str)).chain(later).collect();
        assert_eq!(tail_of(&lines), "thread 'main' (7) panicked at src/a.rs:1:2: the reason");
    }

    #[test]
    fn without_a_panic_the_last_lines_count() {
        let lines: Vec<String> = (0..LINES_MAX + 3).map(|line| line.to_string()).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        assert_eq!(tail_of(&lines), lines[3..].join(" | "));
    }
}
