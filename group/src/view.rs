//! Who is in the group.

use squall_transport::Rank;

/// The members of an epoch, and who of them sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// My row.
    pub me: Rank,
    /// How many members; ranks are `0..members`.
    pub members: usize,
    /// Who sends, by rank.
    pub senders: Vec<Rank>,
}

impl View {
    /// My place among the senders.
    pub fn my_sender(&self) -> Option<usize> {
        self.senders.iter().position(|&sender| sender == self.me)
    }
}
