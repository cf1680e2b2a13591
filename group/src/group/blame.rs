//! Whose fault it is: what members write that no member writes, and what is said of it before the end.

use squall_transport::{Endpoint, Rank, Write};

use super::Group;
use crate::error::Ended;
use crate::last_word::LastWord;

/// Times that a member that ends tries to get its last word out.
const LAST_WORD_TRIES: usize = 200;

impl<E: Endpoint> Group<E> {
    /// What a member wrote in this view that no member writes, if this one has seen such a thing: the group goes on
    /// without that member.
    pub fn blamed(&self) -> Option<Ended> {
        self.blamed
    }

    /// A member that wrote what no member writes is lost to the group, if that can go on without it; otherwise the
    /// others are told whose fault the end is. Where somebody wrote into my own ring, nobody but me can be named, and I
    /// cannot go on.
    #[cold]
    pub(super) fn blame(&mut self, ended: Ended) -> Result<bool, Ended> {
        let Some(of) = ended.blames().filter(|&of| of != self.view.me) else { return Err(ended) };
        match &mut self.epoch {
            Some(epoch) => {
                epoch.membership.suspect(of);
                epoch.look = true;
                self.blamed.get_or_insert(ended);
                Ok(true)
            }
            None => {
                self.say_last(LastWord { of, accuser: Some(self.view.me) });
                Err(ended)
            }
        }
    }

    /// Why the group is over, now that the link to `peer` is down: a member that ends because of another says so before
    /// it goes. What a member says of its own is passed on. What it has passed on itself is not: nobody would know any
    /// more whose word that is, so the others are told only that this one is gone.
    #[cold]
    pub(super) fn lost(&mut self, peer: Rank) -> Ended {
        // Nobody loses itself, or me while I am here.
        let said = self.last_word_of(peer).filter(|word| word.accuser.is_some() || ![peer, self.view.me].contains(&word.of));
        let gone = LastWord { of: peer, accuser: None };
        let word = said.unwrap_or(gone);
        let LastWord { of, accuser: Some(by) } = word else {
            self.say_last(word);
            return Ended::MemberDown(word.of);
        };
        let told_by = if self.last_word_of(by) == Some(word) { by } else { peer };
        self.say_last(if told_by == by { word } else { gone });
        Ended::Accused { member: of, by, told_by }
    }

    fn last_word_of(&self, member: Rank) -> Option<LastWord> {
        LastWord::parse(self.table.get(self.columns.lost, member), self.view.members)
    }

    /// Tells the others because of whom the group is over here, as far as that goes without waiting for them: whom it
    /// does not reach blames me.
    fn say_last(&mut self, word: LastWord) {
        let write = Write::Word { at: self.table.place(self.columns.lost), value: word.encode() };
        let mut untold: Vec<Rank> = (0..self.view.members).map(Rank::new).filter(|&row| row != self.view.me).collect();
        for _ in 0..LAST_WORD_TRIES {
            untold.retain(|&row| self.endpoint.post(row, write).is_err());
            self.endpoint.flush();
            if untold.is_empty() && !self.endpoint.backlog() {
                return;
            }
            // What else there is to hear changes nothing any more.
            let _ = self.endpoint.poll();
            std::thread::yield_now();
        }
    }
}
