//! The log: what the head has put behind what, as far as it is known here.

use std::collections::VecDeque;

use crate::orderer::Run;

/// A run of one sender in the log.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// Where it begins, what it is.
    run: Run,
    /// Index of the decision that put it there; of the head's own, its first index, which needs none.
    by: u64,
}

impl Step {
    fn until(&self) -> u64 {
        self.run.index + self.run.count
    }
}

/// The log of a chain: its head's stream, and behind each decision in it what that one takes of the others.
#[derive(Clone, Debug)]
pub(super) struct Log {
    /// The head's place among the senders.
    head: usize,
    /// In their order, from the first that is not delivered on.
    steps: VecDeque<Step>,
    /// Decisions that came, with what they take: sender and count. They wait until everything before them is here.
    decisions: VecDeque<(u64, Vec<(usize, u64)>)>,
    /// Of each sender: below which index it stands in the log, and below which everything is here.
    logged: Vec<u64>,
    received: Vec<u64>,
    /// Positions: the end of the log, below which everything is here, below which everything is delivered.
    end: u64,
    whole: u64,
    delivered: u64,
    /// How many steps from the first on are whole.
    whole_steps: usize,
}

impl Log {
    pub(super) fn new(head: usize, senders: usize) -> Log {
        Log {
            head,
            steps: VecDeque::new(),
            decisions: VecDeque::new(),
            logged: vec![0; senders],
            received: vec![0; senders],
            end: 0,
            whole: 0,
            delivered: 0,
            whole_steps: 0,
        }
    }

    /// First position of which something is not here.
    pub(super) fn whole(&self) -> u64 {
        self.whole
    }

    /// First position that nothing is known of.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// First position that is not delivered.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Index below which everything of `sender` is here.
    pub(super) fn received_of(&self, sender: usize) -> u64 {
        self.received[sender]
    }

    /// A decision of the head came.
    pub(super) fn decided(&mut self, index: u64, takes: Vec<(usize, u64)>) {
        self.decisions.push_back((index, takes));
    }

    /// Everything of `sender` below `frontier` is here. Tells `logged` of each run that has its place in the log now.
    pub(super) fn received(&mut self, sender: usize, frontier: u64, mut logged: impl FnMut(Run)) {
        self.received[sender] = frontier;
        if sender == self.head {
            while self.decisions.front().is_some_and(|(index, _)| *index < frontier)
                && let Some((index, takes)) = self.decisions.pop_front()
            {
                self.log(self.head, index + 1, None, &mut logged);
                for (taken, count) in takes {
                    self.log(taken, self.logged[taken] + count, Some(index), &mut logged);
                }
            }
            self.log(self.head, frontier, None, &mut logged);
        }
        self.look();
    }

    /// The next ones of `sender`, up to `until`, come behind all others.
    fn log(&mut self, sender: usize, until: u64, by: Option<u64>, logged: &mut impl FnMut(Run)) {
        let index = self.logged[sender];
        if until > index {
            let run = Run { seq: self.end, sender, index, count: until - index };
            logged(run);
            self.end += run.count;
            self.logged[sender] = until;
            self.steps.push_back(Step { run, by: by.unwrap_or(index) });
        }
    }

    /// How much of the log is whole now.
    fn look(&mut self) {
        while let Some(step) = self.steps.get(self.whole_steps) {
            let here = self.received[step.run.sender].min(step.until());
            self.whole = self.whole.max(step.run.seq + here.saturating_sub(step.run.index));
            if here < step.until() {
                break;
            }
            self.whole_steps += 1;
        }
    }

    /// Takes the next ones, `max` at the most, below position `stable`, which is whole.
    pub(super) fn next(&mut self, max: u64, stable: u64) -> Option<Run> {
        let step = self.steps.front_mut()?;
        let count = step.run.count.min(max).min(stable.saturating_sub(step.run.seq));
        if count == 0 {
            return None;
        }
        let run = Run { count, ..step.run };
        step.run = Run { seq: run.seq + count, index: run.index + count, count: step.run.count - count, ..run };
        if step.run.count == 0 {
            self.steps.pop_front();
            self.whole_steps = self.whole_steps.saturating_sub(1);
        }
        self.delivered += count;
        Some(run)
    }

    /// Takes the next ones of which all who go on know the place, because decision and messages lie below `trim`; then
    /// what has none, by index and then sender. `handed` is how far each sender's messages were delivered.
    /// `cut_count`: as if decisions behind the trim counted, a fault.
    pub(super) fn next_to(&mut self, trim: &[u64], handed: &[u64], cut_count: bool) -> Option<Run> {
        while let Some(Step { run, by }) = self.steps.pop_front() {
            let count = trim[run.sender].saturating_sub(run.index).min(run.count);
            if count > 0 && (by < trim[self.head] || cut_count) && handed[run.sender] == run.index {
                return Some(self.pass(Run { count, ..run }));
            }
        }
        let left = |(sender, &index): (usize, &u64)| (index < trim[sender]).then_some((index, sender));
        let (index, sender) = (0..).zip(handed).filter_map(left).min()?;
        Some(self.pass(Run { seq: 0, sender, index, count: 1 }))
    }

    /// The same at the next position: those of others may be passed over.
    fn pass(&mut self, run: Run) -> Run {
        let seq = self.delivered;
        self.delivered += run.count;
        Run { seq, ..run }
    }
}
