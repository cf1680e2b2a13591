//! Derecho's limits as settings of the same code.

use squall_transport::model::{LaneSpec, ModelSpec, MoverSpec};

use crate::cluster::Work;
use crate::profile::Profile;

/// What limits Derecho, and what its loop costs: read from its source (one block in flight a sender and member, one
/// message of a sender at a time, whole slots, counters by reference, several spinning threads that share one lock),
/// with the costs fitted to its published curves.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// Payload that a port of its test bed carries: the line less what PCIe and memory take.
    pub port_gigabytes_per_second: f64,
    /// Its thread for blocks: dealing with a block, at either end.
    pub block_us: f64,
    /// From one large message of a sender to its next: threads that wake each other.
    pub message_us: f64,
    /// From one small message of a sender to its next: the lock that it takes.
    pub send_us: f64,
    /// A write posted to one member, by whatever thread.
    pub post_us: f64,
    /// A turn of its loop of predicates.
    pub turn_us: f64,
    /// More for each sender.
    pub sender_us: f64,
    /// A message delivered.
    pub delivery_us: f64,
    /// Over TCP: what its sockets cost.
    pub sockets: Option<PeerSockets>,
}

/// What a socket costs the peer: its library has one thread a host that moves every write, out and in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeerSockets {
    /// A write, at either end.
    pub write_us: f64,
    /// Its bytes, at either end, where it is a block.
    pub ns_per_kilobyte: f64,
    /// The same of small messages, which no segmentation of the card helps.
    pub small_ns_per_kilobyte: f64,
    /// From the last byte in until that thread has been woken.
    pub wake_us: f64,
}

impl Peer {
    pub(crate) fn window(&self, message_bytes: u64) -> u64 {
        match message_bytes {
            // As its authors ran it (issue 50 of its repository): 30 of 10 KB, 15 of 1 MB, 5 of 100 MB.
            ..=16_384 => 30,
            16_385..=10_000_000 => 15,
            _ => 5,
        }
    }

    /// The same where latency was published, which was measured in a stream. By Little's law (messages under way = rate
    /// x latency), from the published points at n = 2, 4 and 16: of 10 KB 1.5 to 2.3 over RDMA and 9 to 27 over TCP,
    /// 7 to 18 of 1 MB, 0.8 to 0.9 of 100 MB. No rate was published of 1 B, whose latency over RDMA is that of 10 KB.
    pub fn latency_window(&self, message_bytes: u64) -> u64 {
        match message_bytes {
            ..=16_384 if self.sockets.is_none() => 2,
            ..=16_384 => 30,
            16_385..=10_000_000 => 10,
            _ => 1,
        }
    }

    /// A tenth of the message, at most 1 MiB.
    pub(crate) fn block_bytes(&self, message_bytes: u64) -> u32 {
        (message_bytes / 10).clamp(4096, 1 << 20).next_multiple_of(4096) as u32
    }

    pub(crate) fn limit(&self, message_bytes: u64, is_relayed: bool, spec: &mut ModelSpec) {
        spec.nic.pcie_bytes_per_s = self.port_gigabytes_per_second * 1e9;
        (spec.host.post_ps, spec.host.doorbell_ps) = (ps(self.post_us), 0);
        spec.lanes = Some(LaneSpec {
            block_ps: ps(self.block_us),
            block_spread: 0.3,
            record_bytes: if is_relayed { 0 } else { message_bytes.next_multiple_of(8) + 8 },
            slot_bytes: message_bytes + 40,
            words_by_reference: true,
            mover: self.sockets.map(|sockets| MoverSpec {
                write_ps: ps(sockets.write_us),
                byte_ps: if is_relayed { sockets.ns_per_kilobyte } else { sockets.small_ns_per_kilobyte },
            }),
        });
        if let Some(sockets) = self.sockets {
            // The loop calls no kernel: it posts, and the library's thread does the rest.
            spec.kernel = None;
            spec.nic.land_ps += ps(sockets.wake_us);
        }
    }

    pub(crate) fn slow_down(&self, senders: usize, is_relayed: bool, work: &mut Work) {
        work.costs.transfer_ps = 0;
        // Its threads never sleep.
        work.costs.spin_ps = u64::MAX / 2;
        work.costs.turn_ps = ps(self.turn_us + self.sender_us * senders as f64);
        work.app.delivery_ps = ps(self.delivery_us);
        work.app.gap_ps = ps(if is_relayed { self.message_us } else { self.send_us });
    }
}

impl Peer {
    /// As it is on this kind of cluster. Over RDMA most costs are fitted by `examples/fit.rs` to the curves over 100
    /// Gb/s InfiniBand (with libfabric); what a post costs is set by hand. Over 100 Gb/s TCP it fitted what blocks cost
    /// (the port came out as the whole line), and the costs of small messages are worked out by hand from the published
    /// rates at n = 2, 4 and 16.
    pub fn on(profile: &Profile) -> Peer {
        let rdma = Peer {
            port_gigabytes_per_second: 10.6,
            block_us: 6.0,
            message_us: 0.05,
            send_us: 4.6,
            post_us: 0.15,
            turn_us: 2.0,
            sender_us: 0.27,
            delivery_us: 0.75,
            sockets: None,
        };
        if profile.kernel.is_none() {
            return rdma;
        }
        Peer {
            port_gigabytes_per_second: 12.3,
            block_us: 54.0,
            send_us: 2.0,
            sender_us: 0.22,
            delivery_us: 2.0,
            sockets: Some(PeerSockets { write_us: 1.6, ns_per_kilobyte: 180.0, small_ns_per_kilobyte: 1350.0, wake_us: 10.0 }),
            ..rdma
        }
    }
}

fn ps(us: f64) -> u64 {
    (us * 1e6) as u64
}
