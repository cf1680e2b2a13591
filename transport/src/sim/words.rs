//! Copying bytes between a region and ordinary memory, one atomic word at a time.

use std::sync::atomic::Ordering;

use crate::region::Region;

/// Copies bytes out of a region word by word: memory that is being written is only touched as atomics.
pub(super) fn read_words(source: &Region, from: u64, bytes: &mut [u8]) {
    let (mut at, mut rest) = (from, bytes);
    while !rest.is_empty() {
        let (word, skip) = (at / 8 * 8, (at % 8) as usize);
        let (part, after) = rest.split_at_mut(rest.len().min(8 - skip));
        // Relaxed: what orders these bytes for the receiver is the release of the Word behind them.
        let value = source.link_word(word).load(Ordering::Relaxed).to_ne_bytes();
        part.copy_from_slice(&value[skip..skip + part.len()]);
        at += part.len() as u64;
        rest = after;
    }
}

/// Copies bytes into a region word by word. Only its own bytes of a word that it shares change.
pub(super) fn write_words(target: &Region, to: u64, bytes: &[u8]) {
    let (mut at, mut rest) = (to, bytes);
    while !rest.is_empty() {
        let (word, skip) = (at / 8 * 8, (at % 8) as usize);
        let (part, after) = rest.split_at(rest.len().min(8 - skip));
        let word = target.link_word(word);
        // Relaxed: as for reading; and one thread moves the time.
        let mut value = word.load(Ordering::Relaxed).to_ne_bytes();
        value[skip..skip + part.len()].copy_from_slice(part);
        word.store(u64::from_ne_bytes(value), Ordering::Relaxed);
        at += part.len() as u64;
        rest = after;
    }
}
