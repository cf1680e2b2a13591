//! An exchange among threads of one process.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::rank::Rank;

use super::Exchange;
use super::error::{ExchangeError, GatherFault};
use super::gather::{Gather, Outcome, WHAT_BYTES_MAX};
use super::token::random_bytes;

/// One member of an in-process exchange: for tests, and for nodes that are threads.
///
/// Dropping it is leaving: members that wait for it get an error that names it.
pub struct LocalExchange {
    rank: Rank,
    members: usize,
    token: [u8; 32],
    meeting: Arc<Meeting>,
}

#[derive(Debug)]
struct Meeting {
    table: Mutex<Table>,
    changed: Condvar,
}

#[derive(Debug)]
struct Table {
    gather: Gather,
    /// What each member has yet to take, by rank.
    results: Vec<Option<Taken>>,
}

type Taken = Result<Arc<Vec<Vec<u8>>>, GatherFault>;

impl LocalExchange {
    /// The `members` members of one epoch, in order of rank, each to be moved to its thread.
    pub fn mesh(members: usize) -> Vec<Self> {
        let table = Table { gather: Gather::new(members), results: vec![None; members] };
        let meeting = Arc::new(Meeting { table: Mutex::new(table), changed: Condvar::new() });
        let token = random_bytes();
        let member = |index| Self { rank: Rank::new(index), members, token, meeting: Arc::clone(&meeting) };
        (0..members).map(member).collect()
    }
}

impl fmt::Debug for LocalExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalExchange").field("rank", &self.rank).field("members", &self.members).finish_non_exhaustive()
    }
}

impl Exchange for LocalExchange {
    fn rank(&self) -> Rank {
        self.rank
    }

    fn members(&self) -> usize {
        self.members
    }

    fn token(&self) -> &[u8; 32] {
        &self.token
    }

    fn all_gather(&mut self, what: &str, mine: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError> {
        assert!(what.len() <= WHAT_BYTES_MAX, "the name of a gather is short");
        let mut table = self.meeting.lock();
        let outcome = table.gather.give(self.rank, what, mine.to_vec());
        // A member calls again only after it has taken its result, so it cannot give twice.
        table.publish(outcome.expect("one gather at a time"));
        self.meeting.changed.notify_all();
        let taken = loop {
            if let Some(taken) = table.results[self.rank.index()].take() {
                break taken;
            }
            table = self.meeting.changed.wait(table).unwrap_or_else(PoisonError::into_inner);
        };
        drop(table);
        match taken {
            Ok(parts) => Ok(Arc::unwrap_or_clone(parts)),
            Err(fault) => Err(ExchangeError::Gather { what: what.to_owned(), fault }),
        }
    }
}

impl Drop for LocalExchange {
    fn drop(&mut self) {
        let mut table = self.meeting.lock();
        let outcome = table.gather.leave(self.rank, "its exchange was dropped");
        table.publish(outcome);
        self.meeting.changed.notify_all();
    }
}

impl Meeting {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn publish(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Open => {}
            Outcome::Complete(parts) => self.results.fill(Some(Ok(Arc::new(parts)))),
            Outcome::Failed { waiting, fault } => {
                for rank in waiting {
                    self.results[rank.index()] = Some(Err(fault.clone()));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::super::agree;
    use super::*;

    fn on_threads<T: Send>(exchanges: Vec<LocalExchange>, body: impl Fn(LocalExchange) -> T + Sync) -> Vec<T> {
        thread::scope(|scope| {
            let body = &body;
            let threads: Vec<_> = exchanges.into_iter().map(|member| scope.spawn(move || body(member))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        })
    }

    #[test]
    fn each_member_gets_all_parts_by_rank_in_every_round() {
        let seen = on_threads(LocalExchange::mesh(5), |mut member| {
            assert_eq!(member.members(), 5);
            let round = |round: u8| member.all_gather("numbers", &[member.rank().0 as u8, round]).expect("all alive");
            (0..50).map(round).collect::<Vec<_>>()
        });
        let round = |round| (0..5).map(|rank| vec![rank, round]).collect::<Vec<_>>();
        let expected: Vec<_> = (0..50).map(round).collect();
        assert!(seen.iter().all(|member| *member == expected));
    }

    #[test]
    fn a_group_of_one_gathers_alone() {
        let mut alone = LocalExchange::mesh(1).remove(0);
        assert_eq!(alone.all_gather("me", b"x"), Ok(vec![b"x".to_vec()]));
    }

    #[test]
    fn a_dropped_member_fails_those_who_wait() {
        let results = on_threads(LocalExchange::mesh(3), |mut member| {
            if member.rank() == Rank(1) {
                return None;
            }
            Some(member.all_gather("start", b""))
        });
        for result in results.into_iter().flatten() {
            let error = result.expect_err("rank 1 left");
            assert!(error.to_string().contains("rank 1 left"), "{error}");
        }
    }

    #[test]
    fn members_of_one_mesh_share_a_token_and_meshes_do_not() {
        let (one, other) = (LocalExchange::mesh(2), LocalExchange::mesh(1));
        assert_eq!(one[0].token(), one[1].token());
        assert_ne!(one[0].token(), other[0].token());
    }

    #[test]
    fn agree_names_who_differs() {
        let results = on_threads(LocalExchange::mesh(3), |mut member| {
            let layout: &[u8] = if member.rank() == Rank(1) { b"\x02" } else { b"\x01" };
            agree(&mut member, "version", b"\x07")?;
            agree(&mut member, "table layout", layout)
        });
        for result in results {
            assert_eq!(
                result.expect_err("rank 1 differs").to_string(),
                "members disagree on table layout: ranks 0, 2 give 01; rank 1 gives 02"
            );
        }
    }
}
