//! Published numbers of Derecho, as shares of what its links could carry.
//!
//! A number from another machine says nothing beside one from this machine: gigabytes per second of 100 Gb/s links are
//! not compared with those of a laptop's memory. What compares is how much of its own bound each system reaches, and
//! how latency grows with the group.

use serde::Deserialize;

use crate::bounds::{Bound, Carriage, Load};

const BANDWIDTH: &str = include_str!("../../reference/derecho_bandwidth.csv");
const LATENCY: &str = include_str!("../../reference/derecho_latency.csv");

/// The largest message that Derecho sends directly (SMC) in these experiments; larger ones are relayed (RDMC).
const DIRECT_BYTES_MAX: u64 = 10_240;

/// A published bandwidth.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct PublishedBandwidth {
    pub(crate) network: String,
    pub(crate) message_bytes: u64,
    /// `all`, `half` or `one`.
    pub(crate) senders: String,
    pub(crate) nodes: u32,
    /// Payload delivered at each node a second, 10^9 bytes.
    pub(crate) gigabytes_per_second: f64,
}

/// A published latency.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(crate) struct PublishedLatency {
    pub(crate) source: String,
    /// `1B`, `10KB`, `1MB`, `100MB`.
    pub(crate) message: String,
    pub(crate) nodes: u32,
    pub(crate) latency_us: f64,
}

/// The published network that a fabric is drawn beside, with its name for a legend.
pub(crate) fn counterpart(fabric: &str) -> (&'static str, &'static str) {
    match fabric {
        "tcp" | "sim-tcp-100g" | "derecho-in-sim-tcp-100g" => ("tcp-eth100g", "Derecho over TCP, 100 Gb/s"),
        "sim-tcp-10g" | "derecho-in-sim-tcp-10g" => ("tcp-eth10g", "Derecho over TCP, 10 Gb/s"),
        _ => ("ib100g-libfabric", "Derecho over RDMA, 100 Gb/s"),
    }
}

/// The published bandwidths.
pub(crate) fn bandwidths() -> Vec<PublishedBandwidth> {
    rows(BANDWIDTH)
}

/// The published latencies of the paper (figures 12b and 13b), which have the four message sizes of `latency`.
pub(crate) fn latencies(fabric: &str, message_bytes: u64) -> Vec<PublishedLatency> {
    let source = match fabric {
        "tcp" | "sim-tcp-100g" | "sim-tcp-10g" => "tcp_TOCS_fig13b",
        _ => "rdma_TOCS_fig12b",
    };
    let message = crate::units::bytes(message_bytes).replace(' ', "");
    rows::<PublishedLatency>(LATENCY).into_iter().filter(|row| row.source == source && row.message == message).collect()
}

fn rows<T: serde::de::DeserializeOwned>(text: &str) -> Vec<T> {
    // The files are part of the program; a test reads every row of them.
    csv::Reader::from_reader(text.as_bytes()).deserialize().filter_map(Result::ok).collect()
}

impl PublishedBandwidth {
    /// Share of its own bound: `busbw` over the rate of one link, one way.
    pub(crate) fn bound_fraction(&self) -> Option<f64> {
        let senders = match self.senders.as_str() {
            "all" => self.nodes,
            "half" => (self.nodes / 2).max(1),
            _ => 1,
        };
        let carriage = if self.message_bytes <= DIRECT_BYTES_MAX { Carriage::Direct } else { Carriage::Relayed };
        let load = Load { nodes: self.nodes, senders, carriage };
        Bound::of_links(self.link_gigabytes_per_second(), "link").fraction(load.busbw(self.gigabytes_per_second))
    }

    /// Whether it is of this size on this network.
    pub(crate) fn is(&self, network: &str, message_bytes: u64) -> bool {
        self.network == network && self.message_bytes == message_bytes
    }

    /// 100 Gb/s are 12.5 gigabytes a second, 10 Gb/s are 1.25.
    fn link_gigabytes_per_second(&self) -> f64 {
        if self.network.ends_with("10g") { 1.25 } else { 12.5 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_row_is_read() {
        assert_eq!(bandwidths().len(), BANDWIDTH.lines().count() - 1);
        assert_eq!(rows::<PublishedLatency>(LATENCY).len(), LATENCY.lines().count() - 1);
    }

    #[test]
    fn no_published_point_exceeds_its_bound() {
        for row in bandwidths() {
            let fraction = row.bound_fraction().unwrap();
            assert!(fraction > 0.0 && fraction <= 1.0, "{row:?}: {fraction}");
        }
    }

    #[test]
    fn counterparts_are_in_the_files() {
        for fabric in ["shm", "tcp", "verbs", "sim-rdma-100g", "sim-tcp-10g"] {
            let (network, _) = counterpart(fabric);
            assert!(bandwidths().iter().any(|row| row.network == network));
            for bytes in [1, 10_240, 1 << 20, 100 << 20] {
                assert_eq!(latencies(fabric, bytes).len(), 15, "{fabric} {bytes}");
            }
        }
        assert!(latencies("shm", 12).is_empty());
    }
}
