//! How faults strike a run.

use std::collections::BTreeSet;

use squall_group::{CONTACT_SENDS, Newcomer};
use squall_membership::quorum;
use squall_transport::sim::SimNetwork;
use squall_transport::{NodeId, Rank};

use super::Run;
use super::asking::Asking;
use super::observed::Deaf;
use crate::aim::Aim;
use crate::churn::fault::{Fault, Partition, PartitionEnd, SUSPECT_AFTER_NS};
use crate::churn::process::Process;
use crate::churn::sides::Sides;

/// Who oversleeps wakes by then, even if nobody suspects it.
const OVERSLEEP_NS_MAX: u64 = 5 * SUSPECT_AFTER_NS;
/// Where a leader is heard in part, the others hear each other so much later: by then it has decided, and died.
const TORN_NS: u64 = SUSPECT_AFTER_NS * 6 / 10;

impl Run<'_> {
    /// What is due strikes.
    pub(super) fn strike(&mut self) {
        let now_ns = self.clock.now_ns();
        while let Some((_, fault)) = self.faults.pop_if(|(at_ns, _)| *at_ns <= now_ns) {
            let live: Vec<usize> = (0..self.processes.len()).filter(|&index| self.processes[index].is_alive()).collect();
            if live.is_empty() {
                return;
            }
            let one = self.random.pick(&live);
            self.felt();
            self.inflict(fault, one);
            let events: Vec<_> = self.processes[one].take_events().collect();
            self.trace.events.extend(events);
        }
        if let Some((index, _)) = self.doomed.take_if(|(_, at_ns)| *at_ns <= now_ns)
            && self.processes[index].is_alive()
        {
            self.felt();
            let told = self.random.chance(700);
            self.kill(index, told);
        }
        if let Some(sides) = self.sides.take_if(|sides| sides.until_ns <= now_ns) {
            self.felt();
            sides.end(self.meshes.iter().map(|((_, nodes), network)| (network, nodes.as_slice())));
        }
    }

    fn felt(&mut self) {
        self.last_fault_ns = self.last_fault_ns.max(self.clock.now_ns());
    }

    fn inflict(&mut self, fault: Fault, one: usize) {
        let (now_ns, bits) = (self.clock.now_ns(), self.random.bits());
        self.victims = self.victims.map(|victims| victims + fault.victims());
        match fault {
            Fault::Crash { told } => self.kill(one, told),
            Fault::Stall(ns) => self.stall(one, ns),
            Fault::Oversleep(after_ns) => {
                self.stall(one, OVERSLEEP_NS_MAX);
                self.sleepers.push((one, after_ns));
            }
            Fault::Suspect => self.processes[one].suspect(bits),
            Fault::Cut => self.processes[one].cut(bits),
            Fault::Partition(partition) => self.divide(partition),
            Fault::Leave => self.processes[one].leave(),
            Fault::Join { comes, sends } => {
                let newcomer = self.newcomer(sends);
                self.choose_side(newcomer.node(), None);
                self.asking.push(Asking::new(newcomer, comes, now_ns));
            }
        }
    }

    fn stall(&mut self, index: usize, ns: u64) {
        let (process, until_ns) = (&mut self.processes[index], self.clock.now_ns() + ns);
        process.stalled_until_ns = process.stalled_until_ns.max(until_ns);
        process.next_step_ns = process.next_step_ns.max(until_ns);
        self.last_fault_ns = self.last_fault_ns.max(until_ns);
    }

    pub(super) fn kill(&mut self, index: usize, told: bool) {
        let told_ns = self.random.pick(&[1000, 100_000]);
        let process = &mut self.processes[index];
        process.crash(told.then_some(told_ns));
        self.trace.events.extend(process.take_events());
        self.come_back(index);
    }

    /// Of the others that vote some hear no more of this leader than its first list, to which it then adds. So many do
    /// that it can decide, but they do not hear that it has, nor of each other before it is dead.
    pub(super) fn tear(&mut self, leader: usize) {
        let Some(view) = self.processes[leader].view().cloned() else { return };
        let (network, until_ns) = (self.mesh(&view), self.clock.now_ns() + TORN_NS);
        let mut others: Vec<Rank> = (0..view.voters).map(Rank::new).filter(|&rank| rank != view.me).collect();
        for (&from, &to) in others.iter().flat_map(|from| others.iter().map(move |to| (from, to))).filter(|(from, to)| from != to) {
            network.hold(from, to, until_ns);
        }
        let deaf_max = view.voters - quorum(view.voters, false);
        let deaf_count = deaf_max.min(1 + self.random.below(deaf_max.max(1) as u64) as usize);
        for place in 0..view.voters - 1 {
            let one = others.swap_remove(self.random.below(others.len() as u64) as usize);
            self.deaf.push(Deaf { node: view.nodes[one.index()], view: view.id, leader: view.me, hears_cut: place >= deaf_count });
        }
    }

    /// If this one is to hear no more of its leader, and has heard what it is to hear: so it is.
    pub(super) fn deafen(&mut self, index: usize) {
        let process = &self.processes[index];
        let Some(view) = process.view() else { return };
        let is_now = |deaf: &Deaf| (deaf.node, deaf.view) == (process.node(), view.id) && process.has_accepted(deaf.leader, deaf.hears_cut);
        let Some(place) = self.deaf.iter().position(is_now) else { return };
        let view = view.clone();
        let Deaf { leader, hears_cut, .. } = self.deaf.swap_remove(place);
        let until_ns = if hears_cut { self.clock.now_ns() + TORN_NS / 2 } else { SimNetwork::FOREVER_NS };
        self.mesh(&view).hold(leader, view.me, until_ns);
        if !hears_cut && self.deaf.iter().all(|deaf| deaf.hears_cut) {
            // All that hear no more are told of the list as it is: it grows.
            let leads = |process: &Process| process.is_alive() && process.node() == view.nodes[leader.index()];
            self.processes.iter_mut().filter(|process| leads(process)).for_each(Process::leave);
        }
    }

    /// One side does not hear the other. While it lasts no second one begins.
    fn divide(&mut self, partition: Partition) {
        let nodes: Vec<NodeId> = self.live().map(|process| process.node()).collect();
        if self.sides.is_some() || nodes.len() < 2 {
            return;
        }
        let most = if partition.minority { (nodes.len() as u64 - 1) / 2 } else { nodes.len() as u64 - 1 };
        let count = self.random.between(1, most.max(1)) as usize;
        let mut left = nodes.clone();
        let apart: BTreeSet<NodeId> = (0..count).map(|_| left.swap_remove(self.random.below(left.len() as u64) as usize)).collect();
        let sides = Sides::new(apart, partition, self.clock.now_ns());
        self.meshes.iter().for_each(|((_, nodes), network)| sides.hold(network, nodes));
        if self.churn.config.reads && self.churn.aim == Aim::Safety {
            // Who sleeps while the others find it gone still believes to be one of them when it wakes, and reads.
            let asleep: Vec<usize> = (0..self.processes.len()).filter(|&index| sides.has(self.processes[index].node())).collect();
            for index in asleep {
                let sleep_ns = self.random.between(SUSPECT_AFTER_NS * 5 / 4, SUSPECT_AFTER_NS * 3);
                self.stall(index, sleep_ns);
                self.processes[index].read_soon();
            }
        }
        // Whoever is apart for ever can neither be heard nor drag anybody down. A partition that ends may let a
        // suspicion through that nobody heard in time.
        let lonely = partition.end == PartitionEnd::Stays && !partition.one_way;
        self.victims = self.victims.filter(|_| lonely).map(|victims| victims + count);
        self.sides = Some(sides);
    }

    /// Who has a new name stands where its old one stood, or anywhere.
    pub(super) fn choose_side(&mut self, node: NodeId, old: Option<NodeId>) {
        let chance = self.random.chance(300);
        if let Some(sides) = &mut self.sides
            && old.map_or(chance, |old| sides.has(old))
        {
            sides.add(node);
        }
    }

    /// A process under a new name.
    pub(super) fn newcomer(&mut self, sends: bool) -> Newcomer {
        self.names += 1;
        Newcomer { node: self.names, contact: [0, 0, if sends { CONTACT_SENDS } else { 0 }] }
    }

    /// Whoever gives its state dies in the middle, once.
    pub(super) fn ambush_giver(&mut self, giver: NodeId, at_ns: u64) {
        let index = self.processes.iter().position(|process| process.node() == giver && process.is_alive());
        if self.doomed.is_none() && std::mem::take(&mut self.ambush_givers) {
            self.doomed = index.map(|index| (index, at_ns));
        }
    }

    /// Whoever was stopped or died may come back, under a new name.
    pub(super) fn come_back(&mut self, index: usize) {
        if self.returns_left == 0 || self.processes[index].is_leaving() || !self.random.chance(600) {
            return;
        }
        self.returns_left -= 1;
        let (old, sends) = (self.processes[index].node(), self.random.chance(700));
        let after_ns = self.random.pick(&[0, 100_000, 2_000_000]);
        let newcomer = self.newcomer(sends);
        self.choose_side(newcomer.node(), Some(old));
        self.asking.push(Asking::new(newcomer, true, self.clock.now_ns() + self.random.below(after_ns + 1)));
    }

    /// Who sleeps until it is suspected wakes soon after.
    pub(super) fn wake_sleepers(&mut self, by: usize) {
        let now_ns = self.clock.now_ns();
        let by = &self.processes[by];
        let woken: Vec<(usize, u64)> =
            self.sleepers.iter().copied().filter(|&(index, _)| by.suspects(self.processes[index].node())).collect();
        for (index, after_ns) in woken {
            self.sleepers.retain(|&(sleeper, _)| sleeper != index);
            let process = &mut self.processes[index];
            process.stalled_until_ns = process.stalled_until_ns.min(now_ns + after_ns);
            process.next_step_ns = process.stalled_until_ns;
        }
    }
}
