//! What a learner has taken out of rings and buffers, and cannot deliver before it has the state that comes first.

use std::collections::VecDeque;

use squall_transport::Rank;

use crate::outgoing::Outgoing;
use crate::upcalls::{Delivery, Upcalls};
use crate::view::View;

/// Messages that are handed out in one turn at the most.
const REPLAYED_A_TURN_MAX: usize = 1024;
/// Bytes of them after which a turn hands out no more.
const REPLAYED_A_TURN_BYTES: u64 = 1 << 20;
/// What a held message takes besides its payload.
const ITEM_BYTES: u64 = size_of::<Item>() as u64;

/// Deliveries and changes of view in their order, since the view in which this process became a member: an application
/// that delivers later.
#[derive(Debug)]
pub(crate) struct Held {
    items: VecDeque<Item>,
    bytes: u64,
    bytes_max: u64,
    /// The state is here: what is held follows it.
    begun: bool,
}

#[derive(Debug)]
enum Item {
    Message {
        seq: u64,
        sender: Rank,
        index: u64,
        payload: Box<[u8]>,
    },
    /// A view begins; whether another one ends.
    View {
        view: Box<View>,
        ends: bool,
    },
}

impl Held {
    /// From the beginning of `view` on.
    pub(crate) fn new(view: &View, bytes_max: u64) -> Held {
        let first = Item::View { view: Box::new(view.clone()), ends: false };
        Held { items: VecDeque::from([first]), bytes: ITEM_BYTES, bytes_max, begun: false }
    }

    /// The state is here as it was at the beginning of view `id`: what came before is in it.
    ///
    /// # Panics
    /// If no such view is held.
    pub(crate) fn begin(&mut self, id: u64) {
        let begins = |item: &Item| matches!(item, Item::View { view, .. } if view.id == id);
        let first = self.items.iter().position(begins).expect("the state belongs to a view that this process has seen");
        self.bytes -= self.items.drain(..first).map(|item| item.bytes()).sum::<u64>();
        if let Some(Item::View { ends, .. }) = self.items.front_mut() {
            *ends = false;
        }
        self.begun = true;
    }

    /// More is held than may be: its limit.
    pub(crate) fn is_over(&self) -> Option<u64> {
        (self.bytes > self.bytes_max).then_some(self.bytes_max)
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Whether the state is here and nothing is held any more.
    pub(crate) fn is_done(&self) -> bool {
        self.begun && self.items.is_empty()
    }

    /// Hands out a part of what is held, once the state is here. Whether anything.
    pub(crate) fn replay(&mut self, upcalls: &mut impl Upcalls, outgoing: &mut Outgoing) -> bool {
        let (mut count, mut bytes) = (0, 0);
        while self.begun
            && count < REPLAYED_A_TURN_MAX
            && bytes < REPLAYED_A_TURN_BYTES
            && let Some(item) = self.items.pop_front()
        {
            (count, bytes, self.bytes) = (count + 1, bytes + item.bytes(), self.bytes - item.bytes());
            match item {
                Item::Message { seq, sender, index, payload } => {
                    upcalls.deliver(Delivery { seq, sender, index, payload: &payload }, outgoing);
                }
                Item::View { view, ends } => {
                    if ends {
                        upcalls.view_ended(Some(&view));
                    }
                    upcalls.view_installed(&view);
                }
            }
        }
        count > 0
    }
}

impl Item {
    fn bytes(&self) -> u64 {
        let payload = if let Item::Message { payload, .. } = self { payload.len() as u64 } else { 0 };
        ITEM_BYTES + payload
    }
}

impl Upcalls for Held {
    fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        let Delivery { seq, sender, index, payload } = delivery;
        let item = Item::Message { seq, sender, index, payload: payload.into() };
        self.bytes += item.bytes();
        self.items.push_back(item);
    }

    fn view_ended(&mut self, next: Option<&View>) {
        if let Some(view) = next {
            self.bytes += ITEM_BYTES;
            self.items.push_back(Item::View { view: Box::new(view.clone()), ends: true });
        }
    }
}
