//! A meeting among threads that goes on without members that do not come.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::rank::Rank;

use super::error::GatherFault;

/// Where members leave their parts for each other. Each decides for itself whom it does without.
#[derive(Debug)]
pub(super) struct Patient {
    table: Mutex<Table>,
    changed: Condvar,
    patience: Duration,
}

#[derive(Debug)]
struct Table {
    /// By rank: what it gave to the gathers from `first` on.
    given: Vec<VecDeque<(String, Vec<u8>)>>,
    /// By rank: gathers that it has taken the parts of; `None` once it has left.
    taken: Vec<Option<u64>>,
    /// The first gather that somebody has yet to take.
    first: u64,
}

impl Patient {
    pub(super) fn new(members: usize, patience: Duration) -> Patient {
        let table = Table { given: vec![VecDeque::new(); members], taken: vec![Some(0); members], first: 0 };
        Patient { table: Mutex::new(table), changed: Condvar::new(), patience }
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Whether `rank` has left and gave nothing to the next gather of `me`.
    pub(super) fn has_left(&self, rank: Rank, me: Rank) -> bool {
        let table = self.lock();
        table.taken[me.index()].is_some_and(|step| table.has_left(rank.index(), step))
    }

    /// `rank` gives nothing more.
    pub(super) fn leave(&self, rank: Rank) {
        let mut table = self.lock();
        table.taken[rank.index()] = None;
        table.forget();
        self.changed.notify_all();
    }

    /// Gives the part of `me` and takes everyone's; whom `me` does without from now on is added to `absent`.
    pub(super) fn gather(&self, me: Rank, what: &str, mine: &[u8], absent: &mut [bool]) -> Result<Vec<Vec<u8>>, GatherFault> {
        let mut table = self.lock();
        let step = table.taken[me.index()].expect("a member that gives has not left");
        for (rank, absent) in absent.iter_mut().enumerate() {
            *absent |= table.has_left(rank, step);
        }
        table.given[me.index()].push_back((what.to_owned(), mine.to_vec()));
        self.changed.notify_all();
        let deadline = Instant::now() + self.patience;
        while table.is_awaited(step, absent) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            table = self.changed.wait_timeout(table, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let parts = table.take(me, what, step, absent);
        table.taken[me.index()] = Some(step + 1);
        table.forget();
        parts
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn part(&self, rank: usize, step: u64) -> Option<&(String, Vec<u8>)> {
        self.given[rank].get(usize::try_from(step.checked_sub(self.first)?).ok()?)
    }

    /// Whether `rank` will never give to gather `step`.
    fn has_left(&self, rank: usize, step: u64) -> bool {
        self.taken[rank].is_none() && self.part(rank, step).is_none()
    }

    /// Whether a part of gather `step` may still come.
    fn is_awaited(&self, step: u64, absent: &[bool]) -> bool {
        absent.iter().enumerate().any(|(rank, absent)| !absent && self.taken[rank].is_some() && self.part(rank, step).is_none())
    }

    fn take(&self, me: Rank, what: &str, step: u64, absent: &mut [bool]) -> Result<Vec<Vec<u8>>, GatherFault> {
        let part = |(rank, absent): (usize, &mut bool)| match self.part(rank, step).filter(|_| !*absent) {
            Some((given, part)) if given == what => Ok(part.clone()),
            Some((given, _)) => Err(GatherFault::OutOfStep { rank: Rank::new(rank), given: given.clone(), expected: what.to_owned() }),
            None => {
                debug_assert!(rank != me.index());
                *absent = true;
                Ok(Vec::new())
            }
        };
        absent.iter_mut().enumerate().map(part).collect()
    }

    /// Drops the parts that all who are left have taken.
    fn forget(&mut self) {
        let least = self.taken.iter().flatten().copied().min().unwrap_or(u64::MAX);
        while self.first < least && self.given.iter().any(|given| !given.is_empty()) {
            for given in &mut self.given {
                given.pop_front();
            }
            self.first += 1;
        }
    }
}
