//! In whose hand the bytes of one region are: its words, its rings and its pools share none.
//!
//! ```text
//!   words_end  |------ words ------|                         read and written as atomics by anybody
//!   claims                         |-- ring --|  |-- pool --|  each by its handles alone, as long as one of them lives
//! ```
//!
//! What a byte is for is settled the first time that somebody asks: a word once it is looked at, a ring or a pool once
//! it is made.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::pool::Holding;
use super::ring::Sides;

/// Words are opened in steps of as many bytes, where nothing else is in the way.
const STEP_BYTES: u64 = 64;

/// What the bytes of one region are for.
#[derive(Debug, Default)]
pub(super) struct Hands {
    /// Before this every byte is part of a word: a multiple of 8, never more than the region has.
    words_end: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Words behind the first claim.
    words: Vec<Range<u64>>,
    claims: Vec<Claim>,
}

#[derive(Debug)]
struct Claim {
    range: Range<u64>,
    holder: Holder,
}

/// Who holds a range: over once it can be upgraded no more.
#[derive(Debug)]
enum Holder {
    Ring(Weak<Sides>),
    Pool(Weak<Holding>),
}

impl Holder {
    fn is_over(&self) -> bool {
        match self {
            Holder::Ring(sides) => sides.strong_count() == 0,
            Holder::Pool(holding) => holding.strong_count() == 0,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Holder::Ring(_) => "a ring",
            Holder::Pool(_) => "a pool",
        }
    }
}

fn overlap(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

impl Hands {
    /// Whether the 8 bytes at `offset`, a multiple of 8, are known to be a word.
    #[inline]
    pub(super) fn is_word(&self, offset: u64) -> bool {
        // Relaxed: the bound publishes no bytes. It only grows, under the lock, and never over a claim.
        offset < self.words_end.load(Ordering::Relaxed)
    }

    /// Makes `range`, multiples of 8 within a region of `bytes`, words for good.
    ///
    /// # Panics
    /// If a ring or a pool has any of it.
    #[cold]
    pub(super) fn open_words(&self, range: Range<u64>, bytes: u64) {
        let mut state = self.state();
        if let Some(claim) = state.claims.iter().find(|claim| overlap(&claim.range, &range)) {
            panic!("bytes {range:?} are no words: {} has bytes {:?}", claim.holder.name(), claim.range);
        }
        let first_claim = state.claims.iter().map(|claim| claim.range.start).min().unwrap_or(bytes);
        if range.end <= first_claim {
            let end = range.end.next_multiple_of(STEP_BYTES).min(first_claim / 8 * 8).min(bytes / 8 * 8);
            self.words_end.fetch_max(end, Ordering::Relaxed);
        } else if !state.words.iter().any(|words| words.start <= range.start && range.end <= words.end) {
            state.words.push(range);
        }
    }

    /// The two sides of the ring at `range`, which all that is made of it share.
    ///
    /// # Panics
    /// If words, a pool or another ring have any of it.
    pub(super) fn ring(&self, range: Range<u64>) -> Arc<Sides> {
        let mut state = self.state();
        let same = state.claims.iter().find(|claim| claim.range == range);
        if let Some(Claim { holder: Holder::Ring(sides), .. }) = same
            && let Some(sides) = sides.upgrade()
        {
            return sides;
        }
        let sides = Arc::new(Sides::default());
        self.claim(&mut state, range, Holder::Ring(Arc::downgrade(&sides)));
        sides
    }

    /// Gives `range` to the pool that `holding` stands for.
    ///
    /// # Panics
    /// If words, a ring or another pool have any of it.
    pub(super) fn pool(&self, range: Range<u64>, holding: &Arc<Holding>) {
        let mut state = self.state();
        self.claim(&mut state, range, Holder::Pool(Arc::downgrade(holding)));
    }

    fn claim(&self, state: &mut State, range: Range<u64>, holder: Holder) {
        if range.is_empty() {
            return;
        }
        let (words_end, what) = (self.words_end.load(Ordering::Relaxed), holder.name());
        let of_words = std::iter::once(&(0..words_end)).chain(&state.words).find(|words| overlap(words, &range)).cloned();
        if let Some(words) = of_words {
            panic!("{what} cannot have bytes {range:?}: bytes {words:?} are used as words");
        }
        if let Some(claim) = state.claims.iter().find(|claim| overlap(&claim.range, &range)) {
            panic!("{what} cannot have bytes {range:?}: {} has bytes {:?}", claim.holder.name(), claim.range);
        }
        state.claims.push(Claim { range, holder });
    }

    /// The state, without claims that are over.
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic above leaves the state as it was.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.claims.retain(|claim| !claim.holder.is_over());
        state
    }
}
