//! The law of schedules, for every group of up to 33 members and every message of up to 20 blocks.

use std::ops::RangeInclusive;

use squall_rdmc::schedule::{Hop, Plan, ScheduleKind, SendAt};

const MEMBERS_MAX: u32 = 33;
const BLOCKS_MAX: u32 = 20;

/// The closed forms, written apart from the code under test: the least and the most steps.
fn closed_form(kind: ScheduleKind, n: u64, b: u64) -> RangeInclusive<u64> {
    let floor_log2 = (0..).take_while(|e| 2u64 << e <= n).count() as u64;
    let power_of_two = 1 << floor_log2 == n;
    let ceil_log2 = floor_log2 + u64::from(!power_of_two);
    let steps = match kind {
        ScheduleKind::TwoTrees => return b..=b + 2 * ceil_log2,
        ScheduleKind::Sequential => b * (n - 1),
        ScheduleKind::Chain => b + n - 2,
        ScheduleKind::Tree => b * ceil_log2,
        ScheduleKind::Pipeline if power_of_two => b + floor_log2 - 1,
        ScheduleKind::Pipeline => b + floor_log2,
    };
    steps..=steps
}

fn cases() -> impl Iterator<Item = (ScheduleKind, u32, u32)> {
    ScheduleKind::ALL.into_iter().flat_map(|kind| (2..=MEMBERS_MAX).flat_map(move |n| (1..=BLOCKS_MAX).map(move |b| (kind, n, b))))
}

#[test]
fn steps_match_the_closed_form() {
    for (kind, n, b) in cases() {
        let steps = kind.steps(n, b);
        assert!(closed_form(kind, n.into(), b.into()).contains(&steps), "{kind} n={n} b={b}: {steps}");
    }
}

#[test]
fn each_member_gets_each_block_once_from_a_holder() {
    for (kind, n, b) in cases() {
        let case = format!("{kind} n={n} b={b}");
        let mut held = vec![vec![false; b as usize]; n as usize];
        held[0].fill(true);
        for step in 0..kind.steps(n, b) {
            let sends: Vec<_> = (0..n).map(|v| kind.send(n, b, v, step)).collect();
            let receives: Vec<_> = (0..n).map(|v| kind.receive(n, b, v, step)).collect();
            for (from, hop) in (0..n).zip(&sends) {
                let Some(Hop { peer, block }) = *hop else {
                    continue;
                };
                assert!(held[from as usize][block as usize], "{case} step {step}: {from} lacks {block}");
                let seen = receives[peer as usize];
                assert_eq!(seen, Some(Hop { peer: from, block }), "{case} step {step}: {from} -> {peer}");
            }
            let sent = sends.iter().flatten().count();
            assert_eq!(sent, receives.iter().flatten().count(), "{case} step {step}: a receive without a send");
            for (to, hop) in receives.iter().enumerate() {
                let Some(Hop { block, .. }) = *hop else {
                    continue;
                };
                let first = !std::mem::replace(&mut held[to][block as usize], true);
                assert!(first, "{case} step {step}: {to} gets {block} twice");
            }
        }
        assert!(held.iter().flatten().all(|&held| held), "{case}: something is missing");
    }
}

#[test]
fn the_last_step_is_used() {
    for (kind, n, b) in cases() {
        let last = kind.steps(n, b) - 1;
        assert!((0..n).any(|v| kind.send(n, b, v, last).is_some()), "{kind} n={n} b={b}");
        assert!((0..n).all(|v| kind.send(n, b, v, last + 1).is_none()), "{kind} n={n} b={b}");
    }
}

#[test]
fn plans_of_two_ends_agree_and_lose_nothing() {
    for (kind, n, b) in cases().filter(|&(_, n, b)| n <= 18 && b <= 9) {
        let case = format!("{kind} n={n} b={b}");
        let plans: Vec<_> = (0..n).map(|v| Plan::new(kind, n, b, v)).collect();
        for (from, plan) in (0..n).zip(&plans) {
            let mut steps: Vec<_> = plan.outgoing().iter().flat_map(|out| &out.blocks).map(|s| s.step).collect();
            steps.sort_unstable();
            assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{case}: {from} sends twice in a step");
            for out in plan.outgoing() {
                assert!(out.blocks.is_sorted_by_key(|send| send.step), "{case}: {from} -> {}", out.peer);
                let seen = plans[out.peer as usize].incoming().iter().find(|incoming| incoming.peer == from);
                let sent: Vec<_> = out.blocks.iter().map(|send| send.block).collect();
                assert_eq!(seen.map(|incoming| &incoming.blocks), Some(&sent), "{case}: {from} -> {}", out.peer);
            }
            let received: usize = plan.incoming().iter().map(|incoming| incoming.blocks.len()).sum();
            assert_eq!(received, if from == 0 { 0 } else { b as usize }, "{case}: {from}");
        }
    }
}

#[test]
fn five_members_four_blocks_share_a_corner_as_published() {
    let expected: [&[(u32, u32, u32)]; 6] = [
        &[(0, 1, 0)],
        &[(0, 2, 1), (1, 3, 0)],
        &[(0, 4, 2), (2, 3, 1), (3, 2, 0)],
        &[(0, 2, 3), (1, 4, 0), (3, 1, 1), (4, 3, 2)],
        &[(0, 1, 3), (1, 4, 1), (2, 3, 3), (3, 2, 2)],
        &[(1, 4, 3), (4, 1, 2)],
    ];
    for (step, hops) in (0..).zip(expected) {
        let sends = |v| ScheduleKind::Pipeline.send(5, 4, v, step).map(|hop| (v, hop.peer, hop.block));
        assert_eq!((0..5).filter_map(sends).collect::<Vec<_>>(), hops, "step {step}");
    }
}

#[test]
fn two_trees_burden_no_link_with_more_than_the_message() {
    for (n, b) in (2..=129).flat_map(|n| [1, 2, 7, 40].map(|b| (n, b))) {
        for vertex in 0..n {
            let plan = Plan::new(ScheduleKind::TwoTrees, n, b, vertex);
            let sent: usize = plan.outgoing().iter().map(|outgoing| outgoing.blocks.len()).sum();
            let most = if vertex == 0 { b } else { b + 1 };
            assert!(sent <= most as usize, "n={n} b={b}: {vertex} sends {sent} blocks");
            assert!(plan.outgoing().len() <= 2 && plan.incoming().len() <= 2, "n={n} b={b}: {vertex}");
        }
    }
}

#[test]
fn five_members_four_blocks_by_two_trees() {
    let expected: [&[(u32, u32, u32)]; 7] = [
        &[(0, 4, 0)],
        &[(0, 1, 1), (4, 2, 0)],
        &[(0, 4, 2), (1, 3, 1), (2, 1, 0)],
        &[(0, 1, 3), (2, 3, 0), (3, 4, 1), (4, 2, 2)],
        &[(1, 3, 3), (2, 1, 2), (3, 2, 1)],
        &[(2, 3, 2), (3, 4, 3)],
        &[(3, 2, 3)],
    ];
    assert_eq!(ScheduleKind::TwoTrees.steps(5, 4), 7);
    for (step, hops) in (0..).zip(expected) {
        let sends = |v| ScheduleKind::TwoTrees.send(5, 4, v, step).map(|hop| (v, hop.peer, hop.block));
        assert_eq!((0..5).filter_map(sends).collect::<Vec<_>>(), hops, "step {step}");
    }
}

#[test]
fn a_group_of_one_and_an_empty_message_need_no_steps() {
    for kind in ScheduleKind::ALL {
        assert_eq!((kind.steps(1, 7), kind.steps(9, 0)), (0, 0));
        assert_eq!((kind.send(1, 7, 0, 0), kind.receive(9, 0, 3, 0)), (None, None));
        assert!(Plan::new(kind, 1, 7, 0).outgoing().is_empty());
    }
}

#[test]
fn large_groups_and_messages_stay_in_range() {
    let (n, b) = (1_000, 100_000);
    let sends = Plan::new(ScheduleKind::Pipeline, n, b, 700);
    let received: usize = sends.incoming().iter().map(|incoming| incoming.blocks.len()).sum();
    assert_eq!(received, b as usize);
    assert_eq!(ScheduleKind::Sequential.steps(u32::MAX, u32::MAX), u64::from(u32::MAX) * u64::from(u32::MAX - 1));
    let last = SendAt { step: u64::from(b) + 8, block: b - 1 };
    assert!(sends.outgoing().iter().flat_map(|out| &out.blocks).all(|send| send.step <= last.step));
}

#[test]
fn names_round_trip() {
    for kind in ScheduleKind::ALL {
        assert_eq!(kind.to_string().parse(), Ok(kind));
    }
    let error = "star".parse::<ScheduleKind>().unwrap_err();
    assert_eq!(error.to_string(), "unknown schedule 'star' (known: pipeline, two-trees, tree, chain, sequential)");
}

#[test]
fn a_leaf_gets_each_block_from_the_root_behind_what_the_schedule_sends_and_nobody_else_sends_more() {
    for (kind, n, b) in cases().filter(|&(_, n, b)| n <= 9 && b <= 7) {
        for leaves in 1..4 {
            let root = Plan::with_leaves(kind, n, leaves, b, 0);
            let steps: Vec<u64> = root.outgoing().iter().flat_map(|outgoing| outgoing.blocks.iter().map(|send| send.step)).collect();
            let mut distinct = steps.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), steps.len(), "{kind} n={n} b={b}: no two blocks in one step");
            for leaf in n..n + leaves {
                let to = root.outgoing().iter().find(|outgoing| outgoing.peer == leaf).expect("the root sends to it");
                let blocks: Vec<u32> = to.blocks.iter().map(|send| send.block).collect();
                assert!(to.blocks.iter().all(|send| send.step >= kind.steps(n, b)));
                let plan = Plan::with_leaves(kind, n, leaves, b, leaf);
                assert!(plan.outgoing().is_empty() && plan.incoming().len() == 1, "{kind} n={n} b={b}: a leaf relays");
                assert_eq!((plan.incoming()[0].peer, &plan.incoming()[0].blocks), (0, &blocks));
                assert_eq!(blocks, (0..b).collect::<Vec<_>>());
            }
            assert!((1..n).all(|vertex| Plan::with_leaves(kind, n, leaves, b, vertex) == Plan::new(kind, n, b, vertex)));
        }
    }
}
