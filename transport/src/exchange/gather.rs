//! One gather after another among a fixed set of members, without I/O.

use crate::rank::Rank;

use super::error::GatherFault;

/// The longest name of a gather.
pub(crate) const WHAT_BYTES_MAX: usize = 128;

/// The gather that is open now. There is never more than one: a member starts the next only when
/// it has the result of this one, and so everybody has given to this one. Once one has failed
/// all later ones fail in the same way, because members no longer agree on where they are.
#[derive(Debug)]
pub(super) struct Gather {
    /// What the first to give named; empty while nobody has given.
    what: String,
    parts: Vec<Option<Vec<u8>>>,
    left: Vec<Option<String>>,
    broken: Option<GatherFault>,
}

/// What one step of a gather led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Others have yet to give.
    Open,
    /// Everybody gave: the parts by rank, for every member.
    Complete(Vec<Vec<u8>>),
    /// It cannot complete: tell those who wait.
    Failed { waiting: Vec<Rank>, fault: GatherFault },
}

/// A member gave twice to one gather.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GaveTwice;

impl Gather {
    pub(super) fn new(members: usize) -> Self {
        Self { what: String::new(), parts: vec![None; members], left: vec![None; members], broken: None }
    }

    /// What is being gathered, or was gathered last.
    pub(super) fn what(&self) -> &str {
        &self.what
    }

    /// Whether somebody waits for the others.
    pub(super) fn is_open(&self) -> bool {
        self.parts.iter().any(Option::is_some)
    }

    /// Who has not given to the open gather.
    pub(super) fn missing(&self) -> Vec<Rank> {
        self.ranks_where(|part| part.is_none())
    }

    /// `rank` gives its part under the name `what`.
    pub(super) fn give(&mut self, rank: Rank, what: &str, bytes: Vec<u8>) -> Result<Outcome, GaveTwice> {
        if self.parts[rank.index()].is_some() {
            return Err(GaveTwice);
        }
        let first = !self.is_open();
        if first {
            self.what = what.to_owned();
        }
        self.parts[rank.index()] = Some(bytes);
        if let Some(fault) = self.broken.clone() {
            return Ok(self.fail(fault));
        }
        if self.what != what {
            let fault = GatherFault::OutOfStep { rank, given: what.to_owned(), expected: self.what.clone() };
            return Ok(self.fail(fault));
        }
        Ok(self.settle())
    }

    /// `rank` will give nothing more.
    pub(super) fn leave(&mut self, rank: Rank, reason: &str) -> Outcome {
        self.left[rank.index()].get_or_insert_with(|| reason.to_owned());
        if self.is_open() { self.settle() } else { Outcome::Open }
    }

    /// Ends the open gather, and all that would follow, with `fault`.
    pub(super) fn fail(&mut self, fault: GatherFault) -> Outcome {
        let waiting = self.ranks_where(Option::is_some);
        self.parts.fill(None);
        self.broken = Some(fault.clone());
        Outcome::Failed { waiting, fault }
    }

    fn settle(&mut self) -> Outcome {
        let parts = self.parts.iter().zip(&self.left).enumerate();
        let gone = parts.into_iter().find_map(|(index, (part, left))| match (part, left) {
            (None, Some(reason)) => Some((Rank::new(index), reason.clone())),
            _ => None,
        });
        if let Some((rank, reason)) = gone {
            return self.fail(GatherFault::Left { rank, reason });
        }
        if self.parts.iter().any(Option::is_none) {
            return Outcome::Open;
        }
        Outcome::Complete(self.parts.iter_mut().filter_map(Option::take).collect())
    }

    fn ranks_where(&self, wanted: impl Fn(&Option<Vec<u8>>) -> bool) -> Vec<Rank> {
        let parts = self.parts.iter().enumerate();
        parts.filter(|(_, part)| wanted(part)).map(|(index, _)| Rank::new(index)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_by_rank_whatever_the_order_of_giving() {
        let mut gather = Gather::new(3);
        for rank in [2, 0] {
            assert_eq!(gather.give(Rank(rank), "a", vec![rank as u8]), Ok(Outcome::Open));
        }
        let all = vec![vec![0], vec![1], vec![2]];
        assert_eq!(gather.give(Rank(1), "a", vec![1]), Ok(Outcome::Complete(all)));
        assert!(!gather.is_open());
    }

    #[test]
    fn gather_completes_without_a_member_that_left_after_giving() {
        let mut gather = Gather::new(2);
        assert_eq!(gather.give(Rank(1), "a", b"x".to_vec()), Ok(Outcome::Open));
        assert_eq!(gather.leave(Rank(1), "closed"), Outcome::Open);
        let all = vec![b"y".to_vec(), b"x".to_vec()];
        assert_eq!(gather.give(Rank(0), "a", b"y".to_vec()), Ok(Outcome::Complete(all)));
        let fault = GatherFault::Left { rank: Rank(1), reason: "closed".into() };
        let failed = Outcome::Failed { waiting: vec![Rank(0)], fault };
        assert_eq!(gather.give(Rank(0), "b", b"".to_vec()), Ok(failed));
    }

    #[test]
    fn leaving_fails_those_who_wait_and_all_who_come_later() {
        let mut gather = Gather::new(3);
        assert_eq!(gather.give(Rank(0), "a", b"".to_vec()), Ok(Outcome::Open));
        let fault = GatherFault::Left { rank: Rank(2), reason: "died".into() };
        let failed = |rank| Outcome::Failed { waiting: vec![Rank(rank)], fault: fault.clone() };
        assert_eq!(gather.leave(Rank(2), "died"), failed(0));
        assert_eq!(gather.give(Rank(1), "a", b"".to_vec()), Ok(failed(1)));
    }

    #[test]
    fn a_member_out_of_step_is_named_to_all() {
        let mut gather = Gather::new(2);
        assert_eq!(gather.give(Rank(1), "layout", b"".to_vec()), Ok(Outcome::Open));
        let fault = GatherFault::OutOfStep { rank: Rank(0), given: "start".into(), expected: "layout".into() };
        let waiting = vec![Rank(0), Rank(1)];
        assert_eq!(gather.give(Rank(0), "start", b"".to_vec()), Ok(Outcome::Failed { waiting, fault }));
    }

    #[test]
    fn giving_twice_is_told_apart() {
        let mut gather = Gather::new(2);
        assert_eq!(gather.give(Rank(1), "a", b"".to_vec()), Ok(Outcome::Open));
        assert_eq!(gather.give(Rank(1), "a", b"".to_vec()), Err(GaveTwice));
        assert_eq!(gather.missing(), [Rank(0)]);
    }
}
