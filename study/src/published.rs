//! The published points of Derecho, as they lie in the repository.

use crate::run::Senders;

const BANDWIDTH: &str = include_str!("../../report/reference/derecho_bandwidth.csv");
const LATENCY: &str = include_str!("../../report/reference/derecho_latency.csv");

/// A point of a bandwidth curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bandwidth {
    /// The network it was measured on.
    pub network: &'static str,
    /// Bytes of a message.
    pub message_bytes: u64,
    /// Who sent.
    pub senders: Senders,
    /// Members.
    pub nodes: usize,
    /// What the senders sent in all.
    pub gigabytes_per_second: f64,
}

/// A point of a latency curve.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// The figure it is from.
    pub source: &'static str,
    /// Bytes of a message.
    pub message_bytes: u64,
    /// Members, all sending.
    pub nodes: usize,
    /// From sending to delivery at the sender.
    pub latency_us: f64,
}

fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    text.lines().skip(1).filter(|line| !line.is_empty()).map(|line| line.split(',').collect())
}

/// All points of all bandwidth curves.
///
/// # Panics
/// If the file is not as it was committed.
pub fn bandwidth() -> Vec<Bandwidth> {
    let point = |cells: Vec<&'static str>| Bandwidth {
        network: cells[1],
        message_bytes: cells[2].parse().expect("bytes"),
        senders: Senders::EVERY.into_iter().find(|pattern| pattern.name() == cells[3]).expect("a pattern of senders"),
        nodes: cells[4].parse().expect("nodes"),
        gigabytes_per_second: cells[5].parse().expect("a rate"),
    };
    rows(BANDWIDTH).map(point).collect()
}

/// All points of all latency curves.
///
/// # Panics
/// If the file is not as it was committed.
pub fn latency() -> Vec<Latency> {
    let bytes = |size: &str| match size {
        "1B" => 1,
        "1KB" => 1024,
        "10KB" => 10_240,
        "1MB" => 1_048_576,
        "100MB" => 104_857_600,
        other => panic!("`{other}` is no size of the published figures"),
    };
    let point = |cells: Vec<&'static str>| Latency {
        source: cells[1],
        message_bytes: bytes(cells[2]),
        nodes: cells[3].parse().expect("nodes"),
        latency_us: cells[4].parse().expect("a time"),
    };
    rows(LATENCY).map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_hold_the_points_of_the_figures() {
        let (bandwidth, latency) = (bandwidth(), latency());
        let infiniband = bandwidth.iter().filter(|point| point.network == "ib100g-libfabric").count();
        assert_eq!((infiniband, latency.iter().filter(|point| point.source == "rdma_TOCS_fig12b").count()), (9 * 15, 4 * 15));
        assert!(bandwidth.iter().any(|point| (point.nodes, point.message_bytes, point.senders) == (16, 104_857_600, Senders::One)));
    }
}
