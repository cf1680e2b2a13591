//! The way from port to port: one switch, or leaves under a spine.

use super::spec::{NicSpec, SwitchSpec};

/// When a burst's first byte comes.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    hop_ps: u64,
    leaf_hosts: usize,
    /// Picoseconds a byte between a leaf and the spine.
    trunk_byte_ps: f64,
    up_free_ps: Vec<u64>,
    down_free_ps: Vec<u64>,
}

impl Wire {
    pub(super) fn new(switch: &SwitchSpec, nic: &NicSpec, members: usize) -> Wire {
        let leaf_hosts = switch.leaf_hosts.unwrap_or(members).max(1);
        let leaves = members.div_ceil(leaf_hosts);
        let trunk_byte_ps = nic.byte_ps() * switch.oversubscription / leaf_hosts as f64;
        Wire { hop_ps: switch.hop_ps, leaf_hosts, trunk_byte_ps, up_free_ps: vec![0; leaves], down_free_ps: vec![0; leaves] }
    }

    /// When the first of `bytes` bytes that leave `from` at `at_ps` reaches `to`.
    pub(super) fn cross(&mut self, from: usize, to: usize, bytes: u64, at_ps: u64) -> u64 {
        let (leaf, other) = (from / self.leaf_hosts, to / self.leaf_hosts);
        if leaf == other {
            return at_ps + self.hop_ps;
        }
        // Cut through: a trunk that is free delays nothing but by its hop.
        let takes_ps = (bytes as f64 * self.trunk_byte_ps) as u64;
        let up_ps = (at_ps + self.hop_ps).max(self.up_free_ps[leaf]);
        self.up_free_ps[leaf] = up_ps + takes_ps;
        let down_ps = (up_ps + self.hop_ps).max(self.down_free_ps[other]);
        self.down_free_ps[other] = down_ps + takes_ps;
        down_ps + self.hop_ps
    }
}
