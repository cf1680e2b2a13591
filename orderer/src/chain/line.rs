//! Who comes behind whom.

use squall_transport::Rank;

/// The chain as one member sees it: the head, then all others that vote, by rank. Learners are not on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    head: Rank,
    voters: usize,
    me: Rank,
}

impl Line {
    /// The chain of the first `voters` members; the first sender is its head, I am `me`.
    ///
    /// # Panics
    /// If nobody sends.
    pub fn new(senders: &[Rank], voters: usize, me: Rank) -> Line {
        Line { head: *senders.first().expect("a chain has a head, who sends"), voters, me }
    }

    /// Who puts messages into the log.
    pub fn head(&self) -> Rank {
        self.head
    }

    /// Whether I am on it.
    pub fn has_me(&self) -> bool {
        self.me == self.head || self.me.index() < self.voters
    }

    /// Who comes before me.
    pub fn before(&self) -> Option<Rank> {
        if self.me == self.head || !self.has_me() {
            return None;
        }
        let lower = (0..self.me.index()).rev().map(Rank::new).find(|&rank| rank != self.head);
        Some(lower.unwrap_or(self.head))
    }

    /// Who comes behind me: nobody behind the tail.
    pub fn after(&self) -> Option<Rank> {
        let from = if self.me == self.head { 0 } else { self.me.index() + 1 };
        if self.has_me() { (from..self.voters).map(Rank::new).find(|&rank| rank != self.head) } else { None }
    }

    /// Whom I write my own stream to, of `members` members: the head, who comes behind me, and all learners.
    pub fn hands_to(&self, members: usize) -> Vec<Rank> {
        let learners = (self.voters..members).map(Rank::new).filter(|&rank| rank != self.head);
        [self.head].into_iter().chain(self.after()).chain(learners).filter(|&rank| rank != self.me).collect()
    }

    /// Who writes the stream of `sender` to me: itself, if it comes before me or I am not on the chain.
    pub fn hears_from(&self, sender: Rank) -> Rank {
        self.before().unwrap_or(sender)
    }

    /// Whom I pass the stream of `sender` on to: nobody if that is my own, or who comes behind me has it from itself.
    pub fn passes_to(&self, sender: Rank) -> Option<Rank> {
        self.after().filter(|&after| after != sender && self.me != sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The chain that begins at the first of `senders`.
    fn walk(senders: &[Rank], voters: usize) -> Vec<usize> {
        let mut at = Some(senders[0]);
        let mut found = Vec::new();
        while let Some(me) = at {
            found.push(me.index());
            at = Line::new(senders, voters, me).after();
        }
        found
    }

    #[test]
    fn the_first_sender_comes_before_all_others_in_their_order() {
        let ranks = |ranks: &[usize]| ranks.iter().copied().map(Rank::new).collect::<Vec<_>>();
        assert_eq!(walk(&ranks(&[0, 2]), 4), [0, 1, 2, 3]);
        assert_eq!(walk(&ranks(&[2, 3]), 4), [2, 0, 1, 3]);
        assert_eq!(walk(&ranks(&[3]), 4), [3, 0, 1, 2]);
        assert_eq!(walk(&ranks(&[0]), 1), [0]);
    }

    #[test]
    fn every_stream_comes_to_every_member_once() {
        for voters in 1..6 {
            for members in voters..voters + 3 {
                for first in 0..voters {
                    let senders: Vec<Rank> = (first..voters).map(Rank::new).collect();
                    let line = |me: usize| Line::new(&senders, voters, Rank::new(me));
                    for &sender in &senders {
                        let mut came = vec![0; members];
                        line(sender.index()).hands_to(members).into_iter().for_each(|to| came[to.index()] += 1);
                        (0..members).filter_map(|me| line(me).passes_to(sender)).for_each(|to| came[to.index()] += 1);
                        let expected: Vec<i32> = (0..members).map(|rank| i32::from(rank != sender.index())).collect();
                        assert_eq!(came, expected, "{senders:?} of {voters} and {members}, the stream of {sender:?}");
                    }
                    for me in 0..voters {
                        let behind = line(me).after().map(|after| line(after.index()).before());
                        assert!(behind.is_none_or(|before| before == Some(Rank::new(me))));
                    }
                }
            }
        }
    }
}
