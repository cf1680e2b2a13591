//! What one member tells all others: its row, and the same as words of the table.

use squall_sst::{Column, LayoutBuilder, Table};
use squall_transport::{NodeId, Rank};

use crate::limits::{CHANGES_MAX, REQUESTS_MAX};
use crate::ranks::Ranks;

/// Words of a newcomer: its name and its contact.
const NEWCOMER_WORDS: usize = 4;
/// Words of a change: what, whose idea, and a newcomer.
const CHANGE_WORDS: usize = 1 + NEWCOMER_WORDS;

/// Who wants to join, and where it can be reached: three words that, but for one bit, mean something to `group` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Newcomer {
    /// Its name: one incarnation, for ever.
    pub node: u64,
    /// Where it is.
    pub contact: [u64; 3],
}

impl Newcomer {
    /// Bit of the last word of its contact: it wants to send.
    pub const SENDS: u64 = 1;

    /// Whether it wants to send, once it votes.
    pub fn sends(&self) -> bool {
        self.contact[2] & Newcomer::SENDS != 0
    }

    /// Its name.
    pub fn node(&self) -> NodeId {
        NodeId(self.node)
    }
}

/// What happens to the list of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// This member was suspected: it is removed.
    Remove(Rank),
    /// This member asked to leave: it is removed.
    Leave(Rank),
    /// This process becomes a member, behind all others, and learns.
    Join(Newcomer),
    /// This learner has the state: it votes from the next view on.
    Vote(Rank),
    /// This member does not leave yet, though that was listed: nobody would vote in the next view.
    Stay(Rank),
}

/// Whether a member wants to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Leaving {
    /// It stays.
    #[default]
    No,
    /// It leaves as soon as others vote, or nobody needs it.
    Asks,
    /// It leaves, whoever stays.
    Insists,
}

/// One change and whose idea it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// The leader that proposed it first.
    pub by: Rank,
    /// What is to happen.
    pub what: What,
}

/// What a member has accepted from a leader. It only moves forward: to a later leader, and under one leader from a
/// shorter to a longer list and from no trim to the trim, after which the list is closed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Accepted {
    /// The leader that it was accepted from; none so far if absent.
    pub leader: Option<Rank>,
    /// The changes, in their order.
    pub changes: Vec<Change>,
    /// Where each sender's messages end, exclusive. With it the list of changes is complete.
    pub trim: Option<Vec<u64>>,
}

impl Accepted {
    /// What is newer is larger.
    pub(crate) fn age(&self) -> (Option<Rank>, bool, usize) {
        (self.leader, self.trim.is_some(), self.changes.len())
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.trim.is_none()
    }
}

/// What one member tells all others.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Row {
    /// Whom it suspects.
    pub suspected: Ranks,
    /// Whether it wants to leave.
    pub leaving: Leaving,
    /// It is a learner that has the state, and can vote.
    pub whole: bool,
    /// A voter: it has wedged, and has received so much of each sender. A learner: it has received at least so much,
    /// which voters that have wedged will deliver.
    pub received: Option<Vec<u64>>,
    /// Who asked it to join.
    pub requests: Vec<Newcomer>,
    /// What it has accepted.
    pub accepted: Accepted,
    /// It has acted on the decision, and needs this epoch no more.
    pub installed: bool,
}

/// Where a row's words lie. See the crate's documentation for what each one means.
#[derive(Clone, Debug)]
pub struct Columns {
    /// `heartbeat`.
    pub heartbeat: Column,
    pub(crate) begin: Column,
    pub(crate) end: Column,
    /// All others, in the order of [`Row::encode`].
    pub(crate) words: Vec<Column>,
    members: usize,
    senders: usize,
}

impl Columns {
    /// Adds them to a table with `senders` senders.
    pub fn compose(layout: &mut LayoutBuilder, senders: usize) -> Columns {
        let members = layout.members();
        let heartbeat = layout.word("membership.heartbeat");
        let begin = layout.word("membership.begin");
        let parts = [
            layout.words("membership.suspected", Ranks::words_for(members)),
            layout.words("membership.leaving", 1),
            layout.words("membership.whole", 1),
            layout.words("membership.wedged", 1),
            layout.words("membership.received", senders),
            layout.words("membership.requests", 1 + REQUESTS_MAX * NEWCOMER_WORDS),
            layout.words("membership.leader", 1),
            layout.words("membership.acknowledged", 1),
            layout.words("membership.changes", CHANGES_MAX * CHANGE_WORDS),
            layout.words("membership.trimmed", 1),
            layout.words("membership.trim", senders),
            layout.words("membership.installed", 1),
        ];
        let words = parts.iter().flat_map(|part| (0..part.len()).map(|index| part.get(index))).collect();
        Columns { heartbeat, begin, end: layout.word("membership.end"), words, members, senders }
    }

    /// Members of the view that they were composed for.
    pub fn members(&self) -> usize {
        self.members
    }

    /// Senders of the view that they were composed for.
    pub fn senders(&self) -> usize {
        self.senders
    }

    pub(crate) fn read(&self, table: &Table, row: Rank, into: &mut Vec<u64>) {
        into.clear();
        into.extend(self.words.iter().map(|column| table.get(*column, row)));
    }
}

impl Row {
    /// The row as words, in the order of the columns.
    pub(crate) fn encode(&self, columns: &Columns, words: &mut Vec<u64>) {
        let (members, senders) = (columns.members, columns.senders);
        words.clear();
        words.extend((0..Ranks::words_for(members)).map(|index| self.suspected.word(index)));
        words.extend([self.leaving as u64, u64::from(self.whole), u64::from(self.received.is_some())]);
        extend_or_zero(words, self.received.as_deref(), senders);
        words.push(self.requests.len() as u64);
        let requests = self.requests.iter().flat_map(newcomer_words);
        words.extend(requests.chain(std::iter::repeat(0)).take(REQUESTS_MAX * NEWCOMER_WORDS));
        let Accepted { leader, changes, trim } = &self.accepted;
        words.extend([leader.map_or(0, |leader| u64::from(leader.0) + 1), changes.len() as u64]);
        let changes = changes.iter().flat_map(change_words);
        words.extend(changes.chain(std::iter::repeat(0)).take(CHANGES_MAX * CHANGE_WORDS));
        words.push(u64::from(trim.is_some()));
        extend_or_zero(words, trim.as_deref(), senders);
        words.push(u64::from(self.installed));
    }

    /// The row that these words say; `None` if no member of such a view says so.
    pub(crate) fn decode(columns: &Columns, words: &[u64]) -> Option<Row> {
        let (members, senders) = (columns.members, columns.senders);
        let mut words = words.iter().copied();
        let mut suspected = Ranks::EMPTY;
        for index in 0..Ranks::words_for(members) {
            suspected.set_word(index, words.next()?);
        }
        if suspected.iter().any(|rank| rank.index() >= members) {
            return None;
        }
        let leaving = leaving(words.next()?)?;
        let whole = flag(words.next()?)?;
        let received = vector_if(flag(words.next()?)?, &mut words, senders);
        let requests = counted(&mut words, REQUESTS_MAX, newcomer)?;
        let leader = match words.next()? {
            0 => None,
            word => Some(rank(word - 1, members)?),
        };
        let changes = counted(&mut words, CHANGES_MAX, |words| change(words, members))?;
        let trim = vector_if(flag(words.next()?)?, &mut words, senders);
        let installed = flag(words.next()?)?;
        let accepted = Accepted { leader, changes, trim };
        (accepted.leader.is_some() || accepted.is_empty()).then_some(Row {
            suspected,
            leaving,
            whole,
            received,
            requests,
            accepted,
            installed,
        })
    }
}

fn newcomer_words(newcomer: &Newcomer) -> [u64; NEWCOMER_WORDS] {
    let [a, b, c] = newcomer.contact;
    [newcomer.node, a, b, c]
}

/// A change: code in the low byte, whose idea above it, then the rank or the newcomer.
fn change_words(change: &Change) -> [u64; CHANGE_WORDS] {
    let (code, [node, a, b, c]) = match &change.what {
        What::Remove(rank) => (1, [u64::from(rank.0), 0, 0, 0]),
        What::Leave(rank) => (2, [u64::from(rank.0), 0, 0, 0]),
        What::Join(newcomer) => (3, newcomer_words(newcomer)),
        What::Vote(rank) => (4, [u64::from(rank.0), 0, 0, 0]),
        What::Stay(rank) => (5, [u64::from(rank.0), 0, 0, 0]),
    };
    [code | u64::from(change.by.0) << 8, node, a, b, c]
}

fn extend_or_zero(words: &mut Vec<u64>, values: Option<&[u64]>, len: usize) {
    match values {
        Some(values) => words.extend_from_slice(values),
        None => words.extend(std::iter::repeat_n(0, len)),
    }
}

fn flag(word: u64) -> Option<bool> {
    (word <= 1).then_some(word == 1)
}

fn leaving(word: u64) -> Option<Leaving> {
    [Leaving::No, Leaving::Asks, Leaving::Insists].get(usize::try_from(word).ok()?).copied()
}

fn rank(word: u64, members: usize) -> Option<Rank> {
    (word < members as u64).then(|| Rank::new(word as usize))
}

/// Takes `len` words; a vector of them if they count.
fn vector_if(counts: bool, words: &mut impl Iterator<Item = u64>, len: usize) -> Option<Vec<u64>> {
    let values: Vec<u64> = words.take(len).collect();
    counts.then_some(values)
}

/// A count and so many items, out of room for `max`.
fn counted<T, W: Iterator<Item = u64>>(words: &mut W, max: usize, mut item: impl FnMut(&mut W) -> Option<Option<T>>) -> Option<Vec<T>> {
    let count = words.next().filter(|&count| count <= max as u64)? as usize;
    let mut items = Vec::with_capacity(count);
    for place in 0..max {
        let item = item(words)?;
        if place < count {
            items.push(item?);
        }
    }
    Some(items)
}

fn newcomer(words: &mut impl Iterator<Item = u64>) -> Option<Option<Newcomer>> {
    let node = words.next()?;
    Some(Some(Newcomer { node, contact: [words.next()?, words.next()?, words.next()?] }))
}

/// The outer `None`: words are missing; the inner one: they say nothing.
fn change(words: &mut impl Iterator<Item = u64>, members: usize) -> Option<Option<Change>> {
    let head = words.next()?;
    let newcomer = newcomer(words)??;
    let what = match head & 0xFF {
        1 => rank(newcomer.node, members).map(What::Remove),
        2 => rank(newcomer.node, members).map(What::Leave),
        3 => Some(What::Join(newcomer)),
        4 => rank(newcomer.node, members).map(What::Vote),
        5 => rank(newcomer.node, members).map(What::Stay),
        _ => None,
    };
    Some(what.zip(rank(head >> 8, members)).map(|(what, by)| Change { by, what }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn columns(members: usize, senders: usize) -> Columns {
        LayoutBuilder::compose(members, |layout| Columns::compose(layout, senders)).1
    }

    #[test]
    fn a_row_says_the_same_as_its_words() {
        let columns = columns(70, 2);
        let newcomer = Newcomer { node: 77, contact: [1, 2, 3] };
        let by = Rank(69);
        let changes = vec![
            Change { by, what: What::Remove(Rank(65)) },
            Change { by, what: What::Join(newcomer) },
            Change { by, what: What::Vote(Rank(69)) },
        ];
        let row = Row {
            suspected: [Rank(0), Rank(65)].into_iter().collect(),
            leaving: Leaving::Insists,
            whole: true,
            received: Some(vec![5, 6]),
            requests: vec![newcomer],
            accepted: Accepted { leader: Some(Rank(69)), changes, trim: Some(vec![4, 6]) },
            installed: true,
        };
        for row in [row, Row::default()] {
            let mut words = Vec::new();
            row.encode(&columns, &mut words);
            assert_eq!(words.len(), columns.words.len());
            assert_eq!(Row::decode(&columns, &words), Some(row));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_words_decode_to_what_encodes_or_to_nothing(
            words in proptest::collection::vec(prop_oneof![3 => 0u64..6, 1 => any::<u64>()], 221)
        ) {
            let columns = columns(3, 2);
            let words = &words[..columns.words.len()];
            if let Some(row) = Row::decode(&columns, words) {
                prop_assert!(row.suspected.iter().all(|rank| rank.index() < 3));
                let mut again = Vec::new();
                row.encode(&columns, &mut again);
                prop_assert_eq!(Row::decode(&columns, &again), Some(row));
            }
            prop_assert_eq!(Row::decode(&columns, &words[1..]), None);
        }
    }
}
