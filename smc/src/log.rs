//! What was found in a ring, until it is handed out.

use std::collections::VecDeque;

/// The headers of the records that were looked at and not taken, oldest first, kept out of the peers' reach: what was
/// decided on a header stays decided, whatever becomes of the ring's bytes. Equal headers in a row share an entry.
#[derive(Debug, Default)]
pub(crate) struct Log {
    oldest: Entry,
    entries: VecDeque<Entry>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    header: u64,
    records: u64,
}

impl Log {
    /// Adds the header of so many records behind the last one.
    #[inline]
    pub(crate) fn push(&mut self, header: u64, records: u64) {
        match self.entries.back_mut() {
            _ if records == 0 => {}
            Some(newest) if newest.header == header => newest.records += records,
            _ => self.entries.push_back(Entry { header, records }),
        }
    }

    /// The oldest header, and how many records in a row have it at least.
    ///
    /// # Panics
    /// If there is none.
    #[inline(always)]
    pub(crate) fn oldest(&mut self) -> (u64, u64) {
        if self.oldest.records == 0 {
            self.oldest = self.entries.pop_front().expect("a record that was seen");
        }
        (self.oldest.header, self.oldest.records)
    }

    /// Takes so many of the records that [`Log::oldest`] told of.
    #[inline(always)]
    pub(crate) fn take(&mut self, records: u64) {
        debug_assert!(records <= self.oldest.records);
        self.oldest.records -= records;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_out_as_they_went_in() {
        let mut log = Log::default();
        [(7, 1), (7, 1), (8, 0), (7, 1), (9, 1)].iter().for_each(|&(header, records)| log.push(header, records));
        assert_eq!(log.oldest(), (7, 3));
        log.take(2);
        [(7, 2), (8, 1)].iter().for_each(|&(header, records)| log.push(header, records));
        for expected in [(7, 1), (9, 1), (7, 2), (8, 1)] {
            assert_eq!(log.oldest(), expected);
            log.take(expected.1);
        }
        assert_eq!(log.entries.len(), 0);
    }
}
