//! Members that have acted on a decision and then lost each other.

use squall_membership::{Phase, Protocol, Ranks};
use squall_transport::{NodeId, Rank};

struct Members(Vec<Protocol>);

impl Members {
    fn new(count: usize) -> Members {
        let nodes: Vec<NodeId> = (0..count as u64).map(NodeId).collect();
        Members((0..count).map(|rank| Protocol::new(Rank::new(rank), nodes.clone(), 1, Ranks::EMPTY)).collect())
    }

    /// What `from` says now reaches all of `to`, which do what they can.
    fn tell(&mut self, from: usize, to: &[usize]) {
        let row = self.0[from].row().clone();
        for &to in to {
            self.0[to].see(Rank::new(from), row.clone());
            self.advance(to);
        }
    }

    fn advance(&mut self, rank: usize) {
        let member = &mut self.0[rank];
        while member.advance() {}
        if member.phase() == Phase::Wedging {
            member.freeze(vec![7]);
            while member.advance() {}
        }
    }

    fn suspect(&mut self, rank: usize, whom: usize) {
        self.0[rank].suspect(Rank::new(whom));
        self.advance(rank);
    }
}

#[test]
fn who_has_not_heard_of_the_cut_learns_it_from_those_that_have_acted_though_they_lost_each_other() {
    let mut members = Members::new(5);
    members.suspect(0, 4);
    members.tell(0, &[1, 2, 3]);
    for rank in [1, 2, 3] {
        members.tell(rank, &[0]);
    }
    // 3 hears no more of 0.
    members.tell(0, &[1, 2]);
    members.tell(1, &[0, 2]);
    members.tell(2, &[0, 1]);
    for rank in [1, 2] {
        assert_eq!(members.0[rank].phase(), Phase::Decided);
        members.0[rank].install();
        members.advance(rank);
    }
    for rank in [1, 2, 3] {
        members.suspect(rank, 0);
    }
    members.suspect(1, 2);
    members.suspect(2, 1);
    // 1 may not lead: the last word that it has of 2 does not turn its back on 0.
    for _ in 0..3 {
        members.tell(3, &[1, 2]);
        members.tell(1, &[3]);
        members.tell(2, &[3]);
    }
    assert_eq!(members.0[3].phase(), Phase::Decided);
    assert_eq!(members.0[3].decision(), members.0[1].decision());
}
