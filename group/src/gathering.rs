//! How long acknowledgements are gathered.
//!
//! An acknowledgement costs a Word to every member, and wakes those that sleep: of n members that answer every batch,
//! n (n - 1) Words a batch. Members that share cores pay for all of them on the same cores, and get their batches in
//! small pieces, since the sender runs beside them. So they gather: while more comes in every turn, one Word stands for
//! several batches. The first turn without news tells: then the sender may be waiting, and nothing is left to gather.

/// Turns in a row with news that one acknowledgement stands for at the most: a sender whose window is not much larger
/// than a batch would wait for it.
const TURNS_MAX: u32 = 8;

/// Whether it is time to tell the others what was received.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Gathering {
    on: bool,
    turns: u32,
}

impl Gathering {
    /// From here on gathers, or tells every turn.
    #[inline]
    pub(crate) fn set(&mut self, on: bool) {
        self.on = on;
    }

    /// Whether this turn, in which something `came` or nothing, is one to tell.
    #[inline]
    pub(crate) fn is_due(&mut self, came: bool) -> bool {
        self.turns += 1;
        let due = !self.on || !came || self.turns == TURNS_MAX;
        if due {
            self.turns = 0;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns_until_due(gathering: &mut Gathering, came: bool) -> u32 {
        (1..).find(|_| gathering.is_due(came)).unwrap()
    }

    #[test]
    fn one_acknowledgement_stands_for_some_turns_and_silence_ends_the_wait() {
        let mut gathering = Gathering::default();
        assert_eq!(turns_until_due(&mut gathering, true), 1, "who has a core tells every turn");
        gathering.set(true);
        assert_eq!(turns_until_due(&mut gathering, true), TURNS_MAX);
        assert_eq!(turns_until_due(&mut gathering, true), TURNS_MAX, "and again");
        assert!(!gathering.is_due(true) && gathering.is_due(false));
        assert_eq!(turns_until_due(&mut gathering, true), TURNS_MAX, "what was told is not counted again");
    }
}
