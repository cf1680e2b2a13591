//! Members on tables, whose words land when told to.

use std::sync::atomic::Ordering;

use squall_membership::{Columns, Decision, Membership, Phase, Protocol, Ranks, Timeouts, reaches};
use squall_sst::{LayoutBuilder, Table};
use squall_transport::{NodeId, Outbox, Rank, Region, RegionOptions, Write};

pub(crate) const MS: u64 = 1_000_000;
const SUSPECT_AFTER_NS: u64 = 8 * MS;

pub(crate) struct Member {
    pub(crate) membership: Membership,
    pub(crate) table: Table,
    pub(crate) region: Region,
    pub(crate) outbox: Outbox,
    pub(crate) received: Vec<u64>,
    /// What it says to have delivered when it wedges, if anything.
    pub(crate) delivered: Option<Vec<u64>>,
    pub(crate) runs: bool,
}

/// Members whose words land when told to.
pub(crate) struct Cluster {
    pub(crate) members: Vec<Member>,
    pub(crate) now_ns: u64,
}

impl Cluster {
    pub(crate) fn new(count: usize) -> Cluster {
        Cluster::with_learners(count, 0)
    }

    pub(crate) fn with_learners(voters: usize, learners: usize) -> Cluster {
        let count = voters + learners;
        let (layout, columns) = LayoutBuilder::compose(count, |layout| Columns::compose(layout, 2));
        let nodes: Vec<NodeId> = (0..count as u64).map(|rank| NodeId(50 + rank)).collect();
        let member = |rank: usize| {
            let region = Region::allocate(layout.bytes() as usize, &RegionOptions::default()).unwrap();
            let timeouts = Timeouts::after_ns(SUSPECT_AFTER_NS);
            let protocol = Protocol::with_voters(Rank::new(rank), nodes.clone(), voters, columns.senders(), Ranks::EMPTY);
            let membership = Membership::with(protocol, columns.clone(), timeouts, Vec::new());
            let table = Table::new(region.clone(), &layout, Rank::new(rank));
            // Learners have what voters have.
            let received = if rank < voters { vec![10 + rank as u64, 20 - rank as u64] } else { vec![30, 30] };
            Member { membership, table, region, outbox: Outbox::new(count), received, delivered: None, runs: true }
        };
        Cluster { members: (0..count).map(member).collect(), now_ns: 0 }
    }

    /// One word of `from` lands at `to`. Whether there was one.
    pub(crate) fn land(&mut self, from: usize, to: usize) -> bool {
        let Some(write) = self.members[from].outbox.pop(Rank::new(to)) else { return false };
        let Write::Word { at, value } = write else { panic!("membership sends words") };
        // Release: as any landing word.
        self.members[to].region.word(at.offset).store(value, Ordering::Release);
        true
    }

    pub(crate) fn land_all(&mut self) {
        let count = self.members.len();
        for from in 0..count {
            for to in (0..count).filter(|&to| to != from) {
                while self.land(from, to) {}
            }
        }
    }

    pub(crate) fn step(&mut self, rank: usize) {
        let Member { membership, table, outbox, received, delivered, runs, .. } = &mut self.members[rank];
        if !*runs {
            return;
        }
        membership.step(self.now_ns, table, outbox);
        if let Some(tail) = membership.protocol().tail().filter(|tail| reaches(received, tail)) {
            membership.reach(tail);
        }
        match membership.phase() {
            Phase::Wedging => {
                delivered.take().into_iter().for_each(|delivered| membership.say_delivered(delivered));
                membership.freeze(received.clone());
            }
            Phase::Decided => membership.install(),
            _ => return,
        }
        membership.step(self.now_ns, table, outbox);
    }

    /// Everyone steps and hears, for so long.
    pub(crate) fn run_ms(&mut self, ms: u64) {
        for _ in 0..2 * ms {
            self.now_ns += MS / 2;
            (0..self.members.len()).for_each(|rank| self.step(rank));
            self.land_all();
        }
    }

    pub(crate) fn phases(&self) -> Vec<Phase> {
        self.members.iter().map(|member| member.membership.phase()).collect()
    }

    #[track_caller]
    pub(crate) fn decision(&self, ranks: &[usize]) -> Decision {
        let first = self.members[ranks[0]].membership.decision().cloned().expect("it decided");
        for &rank in ranks {
            let member = &self.members[rank];
            assert_eq!(member.membership.decision(), Some(&first));
            assert!(member.membership.is_settled() && !member.membership.is_behind(&member.outbox), "{rank} still waits");
        }
        first
    }
}

pub(crate) fn nodes(ranks: &[u64]) -> Vec<NodeId> {
    ranks.iter().map(|rank| NodeId(50 + rank)).collect()
}
