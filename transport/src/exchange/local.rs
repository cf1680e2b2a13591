//! An exchange among threads of one process.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::rank::{NodeId, Rank};

use super::Exchange;
use super::error::{ExchangeError, GatherFault};
use super::gather::{Gather, Outcome, WHAT_BYTES_MAX};
use super::patient::Patient;
use super::token::random_bytes;

/// One member of an in-process exchange: for tests, and for nodes that are threads.
///
/// Dropping it is leaving: members that wait for it get an error that names it, or, where they have patience, go on
/// without it.
pub struct LocalExchange {
    rank: Rank,
    members: usize,
    token: [u8; 32],
    /// By rank: whom this member does without.
    absent: Vec<bool>,
    /// By rank, if they are known.
    nodes: Vec<NodeId>,
    meeting: Meeting,
}

#[derive(Clone)]
enum Meeting {
    Strict(Arc<Strict>),
    Patient(Arc<Patient>),
}

#[derive(Debug)]
struct Strict {
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
        Self::all(members, &Meeting::Strict(Arc::new(Strict { table: Mutex::new(table), changed: Condvar::new() })))
    }

    /// As [`LocalExchange::mesh`], but a member waits for another no longer than `patience`, and those in `absent`
    /// never come: there is `None` in their place.
    pub fn mesh_without(members: usize, absent: &[Rank], patience: Duration) -> Vec<Option<Self>> {
        let all = Self::all(members, &Meeting::Patient(Arc::new(Patient::new(members, patience))));
        let comes = |member: Self| match absent.contains(&member.rank) {
            // Dropped, it would have left; nothing is to be known of one that never comes.
            true => {
                std::mem::forget(member);
                None
            }
            false => Some(member),
        };
        all.into_iter().map(comes).collect()
    }

    /// The same member, which knows the node ids of all, by rank.
    ///
    /// # Panics
    /// If there is not one name a member.
    pub fn named(mut self, nodes: &[NodeId]) -> Self {
        assert_eq!(nodes.len(), self.members, "one name a member");
        self.nodes = nodes.to_vec();
        self
    }

    fn all(members: usize, meeting: &Meeting) -> Vec<Self> {
        let token = random_bytes();
        let member = |index| Self {
            rank: Rank::new(index),
            members,
            token,
            absent: vec![false; members],
            nodes: Vec::new(),
            meeting: meeting.clone(),
        };
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
        let taken = match &self.meeting {
            Meeting::Strict(strict) => strict.gather(self.rank, what, mine).map(Arc::unwrap_or_clone),
            Meeting::Patient(patient) => patient.gather(self.rank, what, mine, &mut self.absent),
        };
        taken.map_err(|fault| ExchangeError::Gather { what: what.to_owned(), fault })
    }

    fn patience(&self) -> Option<Duration> {
        match &self.meeting {
            Meeting::Strict(_) => None,
            Meeting::Patient(patient) => Some(patient.patience()),
        }
    }

    fn is_absent(&self, rank: Rank) -> bool {
        match &self.meeting {
            Meeting::Strict(_) => false,
            Meeting::Patient(patient) => self.absent[rank.index()] || patient.has_left(rank, self.rank),
        }
    }

    fn node(&self, rank: Rank) -> Option<NodeId> {
        self.nodes.get(rank.index()).copied()
    }

    fn give_up(&mut self, rank: Rank) {
        assert!(rank != self.rank, "a member cannot do without itself");
        self.absent[rank.index()] = true;
    }
}

impl Drop for LocalExchange {
    fn drop(&mut self) {
        match &self.meeting {
            Meeting::Strict(strict) => strict.leave(self.rank),
            Meeting::Patient(patient) => patient.leave(self.rank),
        }
    }
}

impl Strict {
    fn gather(&self, rank: Rank, what: &str, mine: &[u8]) -> Taken {
        let mut table = self.lock();
        let outcome = table.gather.give(rank, what, mine.to_vec());
        // A member calls again only after it has taken its result, so it cannot give twice.
        table.publish(outcome.expect("one gather at a time"));
        self.changed.notify_all();
        loop {
            if let Some(taken) = table.results[rank.index()].take() {
                return taken;
            }
            table = self.changed.wait(table).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn leave(&self, rank: Rank) {
        let mut table = self.lock();
        let outcome = table.gather.leave(rank, "its exchange was dropped");
        table.publish(outcome);
        self.changed.notify_all();
    }

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

    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn a_patient_member_goes_on_without_one_that_never_comes() {
        let members = LocalExchange::mesh_without(4, &[Rank(2)], Duration::from_secs(2));
        assert_eq!(members.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false, true]);
        on_threads(members.into_iter().flatten().collect(), |mut member| {
            for round in 0..10 {
                let mine = [member.rank().0 as u8, round];
                let expected = [vec![0, round], vec![1, round], vec![], vec![3, round]];
                assert_eq!(member.all_gather("numbers", &mine).expect("patience"), expected);
                assert_eq!((0..4).filter(|&rank| member.is_absent(Rank(rank))).collect::<Vec<_>>(), [2]);
            }
            agree(&mut member, "version", b"7").expect("an absent member does not differ");
        });
    }

    #[test]
    fn a_member_that_leaves_is_absent_at_once_and_what_it_gave_before_counts() {
        on_threads(LocalExchange::mesh_without(3, &[], Duration::from_secs(3600)).into_iter().flatten().collect(), |mut member| {
            assert_eq!(member.all_gather("first", b"x").expect("all come"), vec![b"x".to_vec(); 3]);
            if member.rank() == Rank(1) {
                return;
            }
            assert_eq!(member.all_gather("second", b"y").expect("patience"), [&b"y"[..], b"", b"y"]);
            assert!(member.is_absent(Rank(1)));
        });
    }

    #[test]
    fn members_may_differ_on_who_is_absent() {
        on_threads(LocalExchange::mesh_without(3, &[], Duration::from_secs(3600)).into_iter().flatten().collect(), |mut member| {
            if member.rank() == Rank(0) {
                member.give_up(Rank(2));
            }
            let parts = member.all_gather("names", &[7]).expect("all come");
            assert_eq!(parts[2].is_empty(), member.rank() == Rank(0));
            assert_eq!((parts[0].len(), parts[1].len()), (1, 1));
        });
    }

    #[test]
    fn a_late_member_is_absent_for_good_and_finds_the_parts_of_the_others() {
        let mut members = LocalExchange::mesh_without(2, &[], SHORT).into_iter().flatten();
        let (mut first, mut second) = (members.next().expect("comes"), members.next().expect("comes"));
        assert_eq!(first.all_gather("a", b"1").expect("patience"), [&b"1"[..], b""]);
        assert_eq!(second.all_gather("a", b"2").expect("patience"), [b"1", b"2"]);
        assert!(first.is_absent(Rank(1)) && !second.is_absent(Rank(0)));
        assert_eq!(first.all_gather("b", b"3").expect("patience"), [&b"3"[..], b""]);
        assert!(second.all_gather("c", b"4").expect_err("out of step").to_string().contains("rank 0 gives \"b\""));
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
