//! Derecho's limits as settings of the same code.

use squall_transport::model::{LaneSpec, ModelSpec};

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
    /// A turn of its loop of predicates.
    pub turn_us: f64,
    /// More for each sender.
    pub sender_us: f64,
    /// A message delivered.
    pub delivery_us: f64,
    /// Over TCP: what its sockets cost.
    pub kernel: Option<PeerKernel>,
}

/// What a socket costs the peer, whose library calls the kernel for each write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeerKernel {
    /// A write.
    pub write_us: f64,
    /// Bytes sent.
    pub send_ns_per_kilobyte: f64,
    /// Bytes received.
    pub receive_ns_per_kilobyte: f64,
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

    /// A tenth of the message, at most 1 MiB.
    pub(crate) fn block_bytes(&self, message_bytes: u64) -> u32 {
        (message_bytes / 10).clamp(4096, 1 << 20).next_multiple_of(4096) as u32
    }

    pub(crate) fn limit(&self, message_bytes: u64, is_relayed: bool, spec: &mut ModelSpec) {
        spec.nic.pcie_bytes_per_s = self.port_gigabytes_per_second * 1e9;
        spec.lanes = Some(LaneSpec {
            block_ps: (self.block_us * 1e6) as u64,
            block_spread: 0.3,
            record_bytes: if is_relayed { 0 } else { message_bytes.next_multiple_of(8) + 8 },
            slot_bytes: message_bytes + 40,
            words_by_reference: true,
        });
        if let (Some(costs), Some(kernel)) = (self.kernel, &mut spec.kernel) {
            spec.host.post_ps = (costs.write_us * 1e6) as u64;
            (kernel.send_byte_ps, kernel.receive_byte_ps) = (costs.send_ns_per_kilobyte, costs.receive_ns_per_kilobyte);
        }
    }

    pub(crate) fn slow_down(&self, senders: usize, is_relayed: bool, work: &mut Work) {
        let ps = |us: f64| (us * 1e6) as u64;
        work.costs.transfer_ps = 0;
        work.costs.turn_ps = ps(self.turn_us + self.sender_us * senders as f64);
        work.app.delivery_ps = ps(self.delivery_us);
        work.app.gap_ps = ps(if is_relayed { self.message_us } else { self.send_us });
    }
}

impl Peer {
    /// As it is on this kind of cluster: fitted by `examples/fit.rs` to the curves over 100 Gb/s InfiniBand (with
    /// libfabric) and 100 Gb/s TCP.
    pub fn on(profile: &Profile) -> Peer {
        let rdma = Peer {
            port_gigabytes_per_second: 10.6,
            block_us: 6.0,
            message_us: 0.05,
            send_us: 4.6,
            turn_us: 2.0,
            sender_us: 0.27,
            delivery_us: 0.75,
            kernel: None,
        };
        if profile.kernel.is_none() {
            return rdma;
        }
        Peer {
            port_gigabytes_per_second: 3.27,
            block_us: 57.0,
            send_us: 10.0,
            sender_us: 0.22,
            delivery_us: 5.7,
            kernel: Some(PeerKernel { write_us: 4.0, send_ns_per_kilobyte: 187.0, receive_ns_per_kilobyte: 350.0 }),
            ..rdma
        }
    }
}
