//! The application of one modelled member: sends as its load says, and looks at what it is handed.

use std::collections::VecDeque;

use squall_group::{Delivery, Group, Outgoing, Upcalls};
use squall_transport::Rank;
use squall_transport::model::{ModelEndpoint, ModelNetwork};
use squall_transport::sim::mix;

/// Messages sent in one turn at the most, so that the loop turns between them.
const SENDS_A_TURN_MAX: u32 = 64;

/// When a sender sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// As much as the window takes.
    Stream,
    /// The next message once the last one was delivered here.
    Closed,
    /// One message in so many picoseconds, whatever happens: latency counts from when it was due.
    Paced {
        /// Between two messages of a sender.
        interval_ps: u64,
    },
}

/// What one member's application costs, on its own core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppCosts {
    pub(crate) send_ps: u64,
    pub(crate) delivery_ps: u64,
    pub(crate) touch_byte_ps: f64,
    /// The least time from one message to the next.
    pub(crate) gap_ps: u64,
}

/// When a message was due, and when it was sent.
#[derive(Clone, Copy, Debug)]
struct Sent {
    due_ps: u64,
    called_ps: u64,
}

#[derive(Debug)]
pub(crate) struct App {
    network: ModelNetwork,
    rank: Rank,
    costs: AppCosts,
    message_bytes: u64,
    load: Load,
    /// When each message was handed over that waits to be sent, where a queue of its own holds them.
    handed_ps: Option<VecDeque<u64>>,
    left: u64,
    not_before_ps: u64,
    /// My messages that are on their way.
    sent: VecDeque<Sent>,
    /// From when a message was due.
    pub(crate) latencies_ps: Vec<u64>,
    /// From the call that sent it.
    pub(crate) from_call_ps: Vec<u64>,
    pub(crate) first_send_ps: Option<u64>,
    pub(crate) last_delivery_ps: u64,
    pub(crate) delivered: u64,
    /// What was delivered, in its order.
    pub(crate) order: u64,
}

impl App {
    pub(crate) fn new(
        network: &ModelNetwork,
        rank: Rank,
        costs: AppCosts,
        message_bytes: u64,
        load: Load,
        queue: u64,
        messages: u64,
    ) -> App {
        App {
            network: network.clone(),
            rank,
            costs,
            message_bytes,
            load,
            handed_ps: (queue > 0).then(|| (0..queue).map(|_| 0).collect()),
            left: messages,
            not_before_ps: 0,
            sent: VecDeque::new(),
            latencies_ps: Vec::new(),
            from_call_ps: Vec::new(),
            first_send_ps: None,
            last_delivery_ps: 0,
            delivered: 0,
            order: 0,
        }
    }

    /// When the next message is due, if time alone keeps it back.
    pub(crate) fn due_ps(&self) -> Option<u64> {
        (self.left > 0 && !self.waits()).then_some(self.not_before_ps)
    }

    /// Whether the next message is not sent before another was delivered.
    fn waits(&self) -> bool {
        self.load == Load::Closed && !self.sent.is_empty() || self.handed_ps.as_ref().is_some_and(VecDeque::is_empty)
    }

    fn touch_ps(&self) -> u64 {
        (self.message_bytes as f64 * self.costs.touch_byte_ps) as u64
    }

    /// Sends what is due and has room. Whether anything was sent.
    pub(crate) fn send(&mut self, group: &mut Group<ModelEndpoint>) -> bool {
        let mut sent = 0;
        while self.left > 0 && !self.waits() && sent < SENDS_A_TURN_MAX {
            let now_ps = self.network.clock_ps(self.rank);
            if now_ps < self.not_before_ps {
                break;
            }
            // Payload bytes are not filled: of large messages there are none, of small ones it is the time that counts.
            let Ok(slot) = group.reserve(self.message_bytes) else { break };
            slot.commit();
            self.network.spend(self.rank, self.costs.send_ps + self.touch_ps());
            self.left -= 1;
            sent += 1;
            self.first_send_ps.get_or_insert(now_ps);
            let handed_ps = self.handed_ps.as_mut().and_then(VecDeque::pop_front);
            let due_ps = if matches!(self.load, Load::Paced { .. }) { self.not_before_ps } else { handed_ps.unwrap_or(now_ps) };
            self.sent.push_back(Sent { due_ps, called_ps: now_ps });
            self.not_before_ps = match self.load {
                Load::Paced { interval_ps } => self.not_before_ps + interval_ps,
                _ => now_ps + self.costs.gap_ps,
            };
        }
        sent > 0
    }
}

impl Upcalls for App {
    fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        self.network.spend(self.rank, self.costs.delivery_ps + self.touch_ps());
        self.delivered += 1;
        self.order = mix(self.order ^ mix(delivery.index << 16 | u64::from(delivery.sender.0)));
        self.last_delivery_ps = self.network.clock_ps(self.rank);
        if delivery.sender == self.rank {
            let sent = self.sent.pop_front().expect("what is delivered was sent");
            self.latencies_ps.push(self.last_delivery_ps - sent.due_ps);
            self.from_call_ps.push(self.last_delivery_ps - sent.called_ps);
            if let Some(handed_ps) = &mut self.handed_ps {
                handed_ps.push_back(self.last_delivery_ps);
            }
        }
    }
}
