//! What a node does with what it is delivered.

use squall_group::{Delivery, Outgoing, Upcalls};
use squall_transport::Rank;

use crate::experiments::payload::{self, OrderHash};
use crate::jobs::group::{GroupJob, Trial};
use crate::jobs::kinds::Verify;
use crate::jobs::os;

/// What is done with deliveries.
pub(in crate::experiments) struct Receiver {
    message_bytes: usize,
    verify: Verify,
    /// Messages delivered of each sender, in all trials.
    pub(super) counts: Vec<u64>,
    pub(super) order: OrderHash,
    /// Messages of this trial that are still to come.
    pub(super) remaining: u64,
    pub(super) last_ns: u64,
    pub(super) wrong: Option<String>,
    timed: bool,
    pub(super) deliveries_ns: Vec<Vec<u64>>,
}

impl Receiver {
    pub(in crate::experiments) fn new(members: usize, group_job: &GroupJob) -> Receiver {
        Receiver {
            message_bytes: group_job.message_bytes as usize,
            verify: group_job.verify,
            counts: vec![0; members],
            order: OrderHash::new(members, group_job.ordering.is_total()),
            remaining: 0,
            last_ns: 0,
            wrong: None,
            timed: false,
            deliveries_ns: Vec::new(),
        }
    }

    pub(super) fn begin(&mut self, trial: &Trial, messages: u64) {
        self.order.clear();
        self.remaining = messages;
        self.timed = trial.timed;
        let kept = if trial.timed { trial.messages as usize } else { 0 };
        self.deliveries_ns = self.counts.iter().map(|_| Vec::with_capacity(kept)).collect();
    }

    /// Takes the next message of `sender`, and checks it.
    #[inline(always)]
    pub(in crate::experiments) fn take(&mut self, sender: Rank, payload: &[u8]) {
        let index = self.counts[sender.index()];
        if payload.len() != self.message_bytes || !payload::holds(payload, sender, index, self.verify) || self.remaining == 0 {
            self.note_wrong(sender, index, payload.len());
        }
        self.order.add(sender, payload);
        self.counts[sender.index()] = index + 1;
        if self.timed {
            self.deliveries_ns[sender.index()].push(os::now_ns());
        }
        self.remaining = self.remaining.saturating_sub(1);
        if self.remaining == 0 {
            self.last_ns = os::now_ns();
        }
    }

    #[cold]
    #[inline(never)]
    fn note_wrong(&mut self, sender: Rank, index: u64, found_bytes: usize) {
        if self.wrong.is_none() {
            self.wrong = Some(format!(
                "message {index} of node {sender} was delivered with other bytes than were sent ({found_bytes} bytes, {} expected)",
                self.message_bytes
            ));
        }
    }
}

impl Upcalls for Receiver {
    #[inline(always)]
    fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        self.take(delivery.sender, delivery.payload);
    }
}
