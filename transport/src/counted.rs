//! Counted publication: order where the fabric gives none.
//!
//! ```text
//!   sender     Span 0   Span 1   Word a (behind 2)   Span 2   Word b (behind 3)
//!   landing    Span 2,  Word b,  Span 0,             Word a,  Span 1           in any order
//!   applied                                                   a, then b        at the receiver's poll
//! ```
//!
//! Each Span carries its number, each Word its own and how many Spans it stands behind. A Word that has come waits in
//! [`Arrivals`] until it is the next and all Spans before it are in; then the receiving endpoint sets it. So a Word
//! lands behind all that was posted before it, as rule T1 asks of it. A Span may land before a Word that was posted
//! before it.
//!
//! Both ends agree on a window: a power of two that neither Spans nor Words are further ahead of the oldest outstanding
//! one. It is what the sender's queue holds, so a receiver that does not poll fills that queue and no more.

use crate::write::Place;

/// A Word on its way over a fabric that does not order writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CountedWord {
    /// Its number among the Words to this peer.
    pub(crate) number: u64,
    /// Spans that were posted to this peer before it.
    pub(crate) behind: u64,
    pub(crate) at: Place,
    pub(crate) value: u64,
}

/// The sending end of one link: numbers what is posted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Departures {
    spans: u64,
    words: u64,
}

impl Departures {
    /// The number of the next Span.
    #[inline]
    pub(crate) fn span(&mut self) -> u64 {
        self.spans += 1;
        self.spans - 1
    }

    /// The next Word.
    #[inline]
    pub(crate) fn word(&mut self, at: Place, value: u64) -> CountedWord {
        self.words += 1;
        CountedWord { number: self.words - 1, behind: self.spans, at, value }
    }
}

/// What came that no correct peer sends: a number outside the window, or one for the second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uncountable;

/// The receiving end of one link: what has come, and what of it may be seen.
#[derive(Clone, Debug)]
pub(crate) struct Arrivals {
    mask: u64,
    /// Spans before this are all in.
    spans: u64,
    /// At `number & mask`: whether a Span from `spans` on is in.
    spans_in: Box<[bool]>,
    /// Words before this are applied.
    words: u64,
    /// At `number & mask`: Words from `words` on that have come.
    words_in: Box<[Option<CountedWord>]>,
}

impl Arrivals {
    /// Nothing has come; `window` is a power of two.
    pub(crate) fn new(window: usize) -> Arrivals {
        assert!(window.is_power_of_two(), "a window of {window}");
        Arrivals { mask: window as u64 - 1, spans: 0, spans_in: vec![false; window].into(), words: 0, words_in: vec![None; window].into() }
    }

    /// How far ahead of the oldest outstanding one numbers may be.
    pub(crate) fn window(&self) -> usize {
        self.spans_in.len()
    }

    /// Spans that are in without a gap.
    pub(crate) fn spans(&self) -> u64 {
        self.spans
    }

    /// Words that are applied.
    pub(crate) fn words(&self) -> u64 {
        self.words
    }

    /// Span `number` is in. How many Spans more are in without a gap.
    pub(crate) fn span(&mut self, number: u64) -> Result<u64, Uncountable> {
        let place = self.place(number, self.spans)?;
        if std::mem::replace(&mut self.spans_in[place], true) {
            return Err(Uncountable);
        }
        let before = self.spans;
        while std::mem::take(&mut self.spans_in[(self.spans & self.mask) as usize]) {
            self.spans += 1;
        }
        Ok(self.spans - before)
    }

    /// A Word is here.
    pub(crate) fn word(&mut self, word: CountedWord) -> Result<(), Uncountable> {
        let place = self.place(word.number, self.words)?;
        match self.words_in[place].replace(word) {
            Some(_) => Err(Uncountable),
            None => Ok(()),
        }
    }

    /// Takes the next Word, if it is here and all Spans before it are in: it may be set now.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<CountedWord> {
        let next = self.words_in[(self.words & self.mask) as usize].take_if(|word| word.behind <= self.spans)?;
        self.words += 1;
        Some(next)
    }

    fn place(&self, number: u64, from: u64) -> Result<usize, Uncountable> {
        if number.wrapping_sub(from) > self.mask { Err(Uncountable) } else { Ok((number & self.mask) as usize) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::write::TABLE;
    use proptest::prelude::*;

    const WINDOW: usize = 8;

    #[derive(Clone, Copy, Debug)]
    enum Write {
        Span(u64),
        Word(CountedWord),
    }

    proptest! {
        /// However what was posted lands: words are applied once each, in their order, each with all spans before it
        /// in, and in the end all are.
        #[test]
        fn words_come_in_order_and_behind_their_spans(
            posts in proptest::collection::vec(any::<bool>(), 1..200),
            picks in proptest::collection::vec(any::<proptest::sample::Index>(), 400),
        ) {
            let (mut departures, mut arrivals) = (Departures::default(), Arrivals::new(WINDOW));
            let (mut posts, mut picks) = (posts.into_iter().peekable(), picks.into_iter());
            let (mut wire, mut landed) = (Vec::new(), std::collections::BTreeSet::new());
            let (mut in_row, mut applied, mut words) = (0, 0, 0);
            while posts.peek().is_some() || !wire.is_empty() {
                // As much as the window lets through is under way at once.
                while let Some(is_word) = posts.next_if(|is_word| {
                    if *is_word { departures.words - applied < WINDOW as u64 } else { departures.spans - in_row < WINDOW as u64 }
                }) {
                    let word = |departures: &mut Departures| departures.word(Place::new(TABLE, 8), departures.words * 10);
                    wire.push(if is_word { Write::Word(word(&mut departures)) } else { Write::Span(departures.span()) });
                    words += u64::from(is_word);
                }
                match wire.swap_remove(picks.next().expect("a pick").index(wire.len())) {
                    Write::Span(number) => {
                        in_row += arrivals.span(number).expect("in the window");
                        landed.insert(number);
                        prop_assert_eq!(arrivals.span(number), Err(Uncountable));
                    }
                    Write::Word(word) => {
                        arrivals.word(word).expect("in the window");
                    }
                }
                while let Some(word) = arrivals.next() {
                    prop_assert_eq!((word.number, word.value), (applied, applied * 10));
                    prop_assert!((0..word.behind).all(|span| landed.contains(&span)), "{word:?} before its spans");
                    applied += 1;
                }
            }
            prop_assert_eq!((applied, in_row), (words, landed.len() as u64));
        }
    }

    #[test]
    fn what_cannot_be_is_told() {
        let mut arrivals = Arrivals::new(WINDOW);
        let word = |number| CountedWord { number, behind: 0, at: Place::new(TABLE, 0), value: 0 };
        assert_eq!((arrivals.span(8), arrivals.span(u64::MAX)), (Err(Uncountable), Err(Uncountable)));
        assert_eq!((arrivals.word(word(8)), arrivals.word(word(1)), arrivals.word(word(1))), (Err(Uncountable), Ok(()), Err(Uncountable)));
        assert_eq!((arrivals.span(0), arrivals.span(0)), (Ok(1), Err(Uncountable)));
        // What stands behind spans that never come waits for ever.
        assert_eq!(arrivals.word(CountedWord { behind: 2, ..word(0) }), Ok(()));
        assert_eq!(arrivals.next(), None);
    }
}
