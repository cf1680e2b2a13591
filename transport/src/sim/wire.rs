//! A wire that a test makes by hand.

use std::sync::atomic::Ordering;

use crate::region::{CopyMethod, Region, carry};
use crate::write::{Place, Write};

/// Lands one write in the regions `to` of its receiver, read now from the regions `from` of its sender, as a link does:
/// for tests that decide themselves what lands when. As to any link, what the two members hold there is nothing to it.
///
/// # Panics
/// If it lies outside the regions.
pub fn land(write: Write, from: &[Region], to: &[Region]) {
    let of = |regions: &'_ [Region], place: Place| regions[usize::from(place.region.0)].clone();
    match write {
        Write::Span { from: source, to: target, len } => {
            carry(&of(from, source), source.offset, &of(to, target), target.offset, len, CopyMethod::Plain);
        }
        // Release: pairs with the acquire of the reader of the word.
        Write::Word { at, value } => of(to, at).link_word(at.offset).store(value, Ordering::Release),
    }
}
