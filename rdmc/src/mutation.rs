//! Deliberate faults, so that a checker can show that it would notice them.

use squall_sst::{Column, Table};
use squall_transport::{Place, TABLE, Write};

/// Which rule the engine breaks.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutation {
    /// None: the real thing.
    #[default]
    None,
    /// The counter goes before the data it publishes.
    CounterFirst,
    /// The counter goes by reference: whatever it says when it is read.
    CounterByReference,
    /// What others are to give is taken before anybody has written it.
    TakesUngiven,
}

impl Mutation {
    /// The writes of one block in their order; `sent` is the counter's column.
    #[inline]
    pub(crate) fn apply(self, span: Write, word: Write, sent: Column, table: &Table) -> [Write; 2] {
        match (self, word) {
            (Mutation::CounterFirst, _) => [word, span],
            (Mutation::CounterByReference, Write::Word { at, value }) => {
                table.set(sent, value);
                [span, Write::Span { from: Place::new(TABLE, at.offset), to: at, len: 8 }]
            }
            _ => [span, word],
        }
    }
}
