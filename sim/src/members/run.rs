//! A run of whole members.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use squall_group::Member;
use squall_transport::NodeId;
use squall_transport::mesh::Net;
use squall_transport::sim::{Random, SimNet, SimNets, SimNetwork};

use super::app::App;
use super::fabric::{ColonyFabric, Meshes};
use super::process::{Process, Stepped};
use super::reached::{All, Reached};
use super::scenario::{Blow, MembersScenario, PATIENCE_NS, SUSPECT_AFTER_NS};
use super::witness::Witness;
use crate::checker::{Property, Violation, check};
use crate::mutant::Mutant;
use crate::reads::Reader;
use crate::simulation::Outcome;
use crate::trace::{Interleaving, Trace};

/// After the last fault and the last message everything must have come to rest within this time, and that which the
/// state of all newcomers takes ([`Run::rest_ns`]).
const REST_NS: u64 = 150_000_000;
/// After the last fault one more newcomer comes once all rest, and after so long in any case.
const CALM_NS: u64 = 10 * PATIENCE_NS;
/// How long a newcomer looks for a member that takes it.
const JOIN_NS: u64 = 60_000_000;
/// Steps of all processes in one run, at most.
const STEPS_MAX: u64 = 1_500_000;
/// Steps in a row that find nothing to do and are due again at once, at most.
const IDLE_STEPS_MAX: u32 = 20;
/// Processes share one clock, which goes on while one of them calls its fabric. Where many do, one may get its turn so
/// late that it was as silent as one that stalls.
const LATE_NS: u64 = SUSPECT_AFTER_NS / 2;
/// The witness's name.
const WITNESS: u64 = 900;

/// Runs what `scenario` says, with a fault in the members if asked for, and checks the trace.
pub fn members(scenario: &MembersScenario, mutant: Option<Mutant>) -> Outcome {
    members_reaching(scenario, mutant).0
}

/// As [`members`]; also what the run came through.
pub fn members_reaching(scenario: &MembersScenario, mutant: Option<Mutant>) -> (Outcome, BTreeSet<Reached>) {
    let mut run = Run::new(scenario, mutant);
    run.go();
    let reached = run.reached();
    let mut verdict = check(&run.trace);
    verdict.violations.append(&mut run.seen);
    (Outcome { virtual_ns: run.clock.now_ns(), steps: run.steps, trace: run.trace, verdict }, reached)
}

pub(super) struct Run<'a> {
    scenario: &'a MembersScenario,
    mutant: Option<Mutant>,
    pub(super) clock: SimNetwork,
    nets: SimNets,
    meshes: Rc<RefCell<Meshes>>,
    witness: Option<Witness>,
    pub(super) processes: Vec<Process>,
    /// Where anybody ever listened.
    book: Vec<SocketAddr>,
    /// The next one last.
    blows: Vec<(u64, Blow)>,
    random: Random,
    pub(super) trace: Trace,
    pub(super) steps: u64,
    names: u64,
    last_blow_ns: u64,
    /// Until when some do not hear others.
    apart_until_ns: u64,
    /// Something happened to somebody who had the state.
    pub(super) hurt: bool,
    /// When somebody was last without state.
    pub(super) takers_until_ns: u64,
    /// The newcomer that comes when all is calm.
    pub(super) last: Option<usize>,
    /// The next that are to die while another one waits for them: whether connections tell, and whether it is early.
    ambushes: Vec<(bool, bool)>,
    /// How often some leave when somebody is asked for.
    turnovers: u32,
    /// Newcomers whose first contact hangs.
    misled: Vec<usize>,
    /// A control connection broke.
    cut: bool,
    pub(super) seen: Vec<Violation>,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a MembersScenario, mutant: Option<Mutant>) -> Run<'a> {
        let mut random = Random::new(scenario.seed ^ 0x3E3B);
        let clock = SimNetwork::new(random.bits(), 1, scenario.link);
        clock.set_call_ns_max(scenario.call_ns_max);
        clock.audit_sources();
        if scenario.mapped {
            clock.map_memory();
        }
        if scenario.counted {
            clock.count_writes();
        }
        let nets = SimNets::new(random.bits(), scenario.net, &clock);
        let forgets = mutant == Some(Mutant::WitnessForgets);
        let mut run = Run {
            scenario,
            mutant,
            meshes: Rc::new(RefCell::new(Meshes::new(&clock, scenario.link))),
            witness: scenario.witness.then(|| Witness::new(&nets, NodeId(WITNESS), forgets)),
            clock,
            nets,
            processes: Vec::new(),
            book: Vec::new(),
            blows: scenario.blows.iter().rev().copied().collect(),
            random,
            trace: Trace::new(Interleaving::Global),
            steps: 0,
            names: 1000,
            last_blow_ns: scenario.busy_ns,
            apart_until_ns: 0,
            hurt: false,
            takers_until_ns: 0,
            last: None,
            ambushes: Vec::new(),
            turnovers: 0,
            misled: Vec::new(),
            cut: false,
            seen: Vec::new(),
        };
        run.found();
        run
    }

    fn found(&mut self) {
        let nets: Vec<SimNet> = (1..=self.scenario.founders as u64).map(|node| self.nets.open(NodeId(node))).collect();
        let founders: Vec<(NodeId, SocketAddr)> = nets.iter().map(|net| (net.node(), net.address())).collect();
        for net in nets {
            let fabric = ColonyFabric::on(&self.meshes);
            let founder = Member::founder(self.options(), fabric.clone(), net.clone(), &founders, [7; 32], 0);
            let messages = self.scenario.messages;
            self.begin(founder.expect("it can be founded"), net, fabric, messages);
        }
    }

    fn options(&self) -> squall_group::MemberOptions {
        let witness = self.witness.as_ref().map(Witness::address);
        squall_group::MemberOptions { witness, ..self.scenario.options.clone() }
    }

    fn begin(&mut self, mut member: Member<ColonyFabric, SimNet>, net: SimNet, fabric: ColonyFabric, messages: u64) -> usize {
        let now_ns = self.clock.now_ns();
        if let Some(mutation) = self.mutant.and_then(Mutant::member) {
            member.set_mutation(mutation);
        }
        self.book.push(net.address());
        let app = App::new(net.node(), self.scenario, messages, self.random.split(), now_ns);
        let reader = Reader::new(self.scenario.options.config.reads, self.scenario.seed, net.node());
        let first_ns = now_ns + self.random.below(self.scenario.step_ns);
        self.processes.push(Process::new(member, net, fabric, app, reader, first_ns, self.mutant.and_then(Mutant::membership)));
        self.processes.len() - 1
    }

    /// Somebody asks to join.
    fn come(&mut self, node: NodeId, first: Option<SocketAddr>, sends: bool) -> usize {
        let (net, fabric, now_ns) = (self.nets.open(node), ColonyFabric::on(&self.meshes), self.clock.now_ns());
        // Some that are there, and some that were.
        let mut contacts = Vec::new();
        for _ in 0..self.random.between(1, 4) {
            let contact = self.random.pick(&self.book);
            if !contacts.contains(&contact) {
                contacts.push(contact);
            }
        }
        let live: Vec<SocketAddr> =
            self.processes.iter().filter(|process| process.is_live()).map(|process| process.net.address()).collect();
        if !live.is_empty() {
            let place = self.random.below(contacts.len() as u64 + 1) as usize;
            contacts.insert(place, self.random.pick(&live));
        }
        if let Some(first) = first {
            contacts.retain(|contact| *contact != first);
            contacts.insert(0, first);
        }
        let timeout = Duration::from_nanos(JOIN_NS);
        let newcomer = Member::newcomer(self.options(), fabric.clone(), net.clone(), &contacts, sends, timeout, now_ns);
        let messages = if sends { self.scenario.messages / 4 } else { 0 };
        self.begin(newcomer.expect("there is memory"), net, fabric, messages)
    }

    fn newcomer(&mut self, sends: bool) -> usize {
        self.newcomer_by(None, sends)
    }

    fn newcomer_by(&mut self, first: Option<SocketAddr>, sends: bool) -> usize {
        self.names += 1;
        self.come(NodeId(self.names), first, sends)
    }

    fn go(&mut self) {
        while self.steps < STEPS_MAX {
            let now_ns = self.clock.now_ns();
            let quiet_ns = self.last_blow_ns.max(self.apart_until_ns);
            let doomed = self.processes.iter().any(|process| process.is_alive() && process.dies_at_ns.is_some());
            let calm = self.blows.is_empty() && !doomed && now_ns > quiet_ns && (now_ns > quiet_ns + CALM_NS || self.rests());
            if calm && self.last.is_none() && self.processes.iter().any(Process::is_live) {
                self.ambushes.clear();
                self.turnovers = 0;
                let last = self.newcomer(false);
                self.last = Some(last);
            }
            if calm && self.rests() {
                return self.finish();
            }
            if now_ns > self.last_blow_ns + self.rest_ns() {
                break;
            }
            self.advance();
        }
        self.tell_restless(self.rest_ns());
        self.finish();
    }

    /// A member gives state to all newcomers together at no more than a set rate, and in turn: the last of many gets
    /// its own when all others have theirs, if one member alone has it.
    fn rest_ns(&self) -> u64 {
        let newcomers = (self.processes.len() - self.scenario.founders) as u64;
        let bytes = u128::from(newcomers * self.scenario.state_bytes);
        let given_ns = bytes * 1_000_000_000 / u128::from(self.scenario.options.state_bytes_per_second);
        REST_NS + given_ns as u64
    }

    fn rests(&self) -> bool {
        let live: Vec<&Process> = self.processes.iter().filter(|process| process.is_alive()).collect();
        live.iter().all(|process| process.rests(&live))
    }

    fn finish(&mut self) {
        if let Some(changed) = self.clock.changed_source() {
            let what = format!("bytes were written while they could still be read: {changed:?}");
            self.see(Property::BufferSafety, what);
        }
        for process in &mut self.processes {
            process.finish();
            self.trace.events.extend(process.app.take_events());
        }
    }

    /// Goes to the next moment at which something is to happen, and lets it happen.
    fn advance(&mut self) {
        let now_ns = self.clock.now_ns();
        let live = || self.processes.iter().filter(|process| process.is_alive());
        let times = live()
            .map(|process| process.next_step_ns)
            .chain(live().filter_map(|process| process.net.next_ns()).filter(|&at_ns| at_ns > now_ns))
            .chain(live().filter_map(|process| process.dies_at_ns))
            .chain(self.clock.next_event_ns())
            .chain(self.witness.as_ref().and_then(|witness| witness.net.next_ns()).filter(|&at_ns| at_ns > now_ns))
            .chain(self.blows.last().map(|(at_ns, _)| *at_ns));
        let next_ns = times.min().unwrap_or(u64::MAX).min(now_ns + CALM_NS);
        self.clock.advance_to(next_ns.max(now_ns + 1));
        self.strike();
        if let Some(witness) = &mut self.witness {
            witness.step();
        }
        if self.processes.iter().any(|process| process.is_alive() && !process.is_live()) {
            self.takers_until_ns = self.clock.now_ns();
        }
        for index in 0..self.processes.len() {
            self.tend(index);
        }
    }

    fn tend(&mut self, index: usize) {
        let now_ns = self.clock.now_ns();
        if self.processes[index].dies_at_ns.is_some_and(|at_ns| at_ns <= now_ns) && self.processes[index].is_alive() {
            self.kill(index, true);
        }
        let process = &mut self.processes[index];
        if !process.is_alive() {
            return;
        }
        if process.take_news(now_ns) {
            let soon_ns = now_ns + self.random.below(self.scenario.step_ns / 4 + 1);
            process.next_step_ns = process.next_step_ns.min(soon_ns).max(process.stalled_until_ns);
        }
        if process.next_step_ns > now_ns || process.stalled_until_ns > now_ns {
            return;
        }
        self.steps += 1;
        if now_ns - process.next_step_ns > LATE_NS {
            self.hurts(index);
        }
        let process = &mut self.processes[index];
        let stepped = process.step(now_ns);
        let later_ns = now_ns + self.random.between(1, self.scenario.step_ns);
        let debt_ns = std::mem::take(&mut process.app.debt_ns);
        let due_ns = process.due_ns(now_ns);
        let spins = matches!(stepped, Stepped::Idle) && due_ns <= now_ns;
        process.idle_steps = if spins { process.idle_steps + 1 } else { 0 };
        process.next_step_ns = debt_ns + if matches!(stepped, Stepped::Idle) && !spins { due_ns } else { later_ns };
        if process.idle_steps == IDLE_STEPS_MAX {
            let what = format!("at {now_ns} ns nothing is to be done and the next step is due at once: {}", process.state(now_ns));
            self.see(Property::Quiescence, what);
        }
        let process = &mut self.processes[index];
        if debt_ns > 0 {
            process.stalled_until_ns = now_ns + debt_ns;
        }
        self.trace.events.extend(process.app.take_events());
        match stepped {
            Stepped::Over(error) => {
                self.look_at_the_end(index, error.as_ref());
                self.nets.end(&self.processes[index].net, true);
            }
            Stepped::Busy | Stepped::Idle => {
                self.look_at_the_step(index);
                self.ambush(index);
            }
        }
    }

    fn kill(&mut self, index: usize, told: bool) {
        self.hurts(index);
        let nets = self.nets.clone();
        self.processes[index].crash(&nets, told);
        self.trace.events.extend(self.processes[index].app.take_events());
    }

    /// Whatever happens to it now.
    fn hurts(&mut self, index: usize) {
        // Founders have the state before they are in a view.
        self.hurt |= self.processes[index].is_live() || index < self.scenario.founders;
        self.processes[index].hurt = true;
        self.last_blow_ns = self.last_blow_ns.max(self.clock.now_ns());
    }

    fn strike(&mut self) {
        let now_ns = self.clock.now_ns();
        while let Some((_, blow)) = self.blows.pop_if(|(at_ns, _)| *at_ns <= now_ns) {
            self.last_blow_ns = self.last_blow_ns.max(now_ns);
            let live: Vec<usize> = (0..self.processes.len()).filter(|&index| self.processes[index].is_alive()).collect();
            if !live.is_empty() {
                let one = self.random.pick(&live);
                self.inflict(blow, one, &live);
            }
        }
    }

    fn inflict(&mut self, blow: Blow, one: usize, live: &[usize]) {
        let now_ns = self.clock.now_ns();
        match blow {
            Blow::Crash { told } => self.kill(one, told),
            Blow::Stall(ns) => {
                // Often one that is being given state.
                let takers: Vec<usize> = live.iter().copied().filter(|&index| !self.processes[index].is_live()).collect();
                let taker = (!takers.is_empty() && self.random.chance(500)).then(|| self.random.pick(&takers));
                self.stall(taker.unwrap_or(one), ns, false);
            }
            Blow::Hang { ns, accepts } => {
                self.stall(one, ns, accepts);
                let contact = self.processes[one].net.address();
                let newcomer = self.newcomer_by(Some(contact), true);
                self.misled.push(newcomer);
            }
            Blow::Suspect => {
                self.hurts(one);
                self.hurt = true;
                let bits = self.random.bits();
                self.processes[one].suspect(bits);
                // It shows when that one steps.
                self.last_blow_ns = self.last_blow_ns.max(self.processes[one].next_step_ns);
            }
            Blow::Cut => {
                self.hurt = true;
                let other = self.random.pick(live);
                self.cut |= self.nets.cut(self.processes[one].node(), self.processes[other].node());
            }
            Blow::Deaf { ns, both } => {
                self.hurt = true;
                let other = self.random.pick(live);
                // One that came back under an old name may stand beside the one that had it.
                if self.processes[other].node() != self.processes[one].node() {
                    self.deafen(one, other, now_ns + ns);
                    if both {
                        self.deafen(other, one, now_ns + ns);
                    }
                }
            }
            Blow::Leave => self.processes[one].leave(now_ns),
            Blow::LeaveAll => live.iter().for_each(|&index| self.processes[index].leave(now_ns)),
            Blow::Turnover => self.turnovers += 1,
            Blow::Join { count, send } => {
                for _ in 0..count {
                    self.newcomer(send);
                }
            }
            Blow::Mayfly(ns) => {
                let index = self.newcomer(true);
                self.processes[index].dies_at_ns = Some(now_ns + self.random.below(ns));
            }
            Blow::Ambush { told, early } => self.ambushes.push((told, early)),
            Blow::OldName => self.come_back(),
            Blow::Witness => {
                if let Some(witness) = &mut self.witness {
                    witness.tear(&mut self.random);
                }
            }
        }
    }

    /// If this one waits for the others of a view, and it is to be: one of those dies, and a newcomer asks it
    /// meanwhile.
    fn ambush(&mut self, index: usize) {
        let (process, now_ns) = (&self.processes[index], self.clock.now_ns());
        let Some(&(told, early)) = self.ambushes.last() else { return };
        let waits = if early { process.has_acted() } else { process.meets_since_ns == Some(now_ns) };
        let Some(view) = process.view().filter(|_| waits) else { return };
        let is_victim = |other: &Process| {
            let votes = other.view().is_some_and(|theirs| theirs.id == view.id && theirs.votes(theirs.me));
            votes && other.node() != process.node() && other.meets_since_ns.is_none() && !(early && other.has_acted())
        };
        let Some(victim) = self.processes.iter().position(is_victim) else { return };
        let address = process.net.address();
        self.ambushes.pop();
        self.kill(victim, told);
        let mayfly = self.newcomer_by(Some(address), true);
        self.processes[mayfly].dies_at_ns = Some(now_ns + self.random.between(PATIENCE_NS / 8, PATIENCE_NS));
    }

    /// A member has asked the group to take somebody in; if it is to be, up to half of those who have the state leave.
    pub(super) fn turn_over(&mut self) {
        if self.turnovers == 0 {
            return;
        }
        self.turnovers -= 1;
        let now_ns = self.clock.now_ns();
        let live: Vec<usize> = (0..self.processes.len()).filter(|&index| self.processes[index].is_live()).collect();
        for _ in 0..self.random.below(live.len() as u64 / 2 + 1) {
            let one = self.random.pick(&live);
            self.processes[one].leave(now_ns);
        }
    }

    /// The one does not hear what the other says before that time.
    fn deafen(&mut self, to: usize, from: usize, until_ns: u64) {
        let (from, to) = (self.processes[from].node(), self.processes[to].node());
        self.nets.hold(from, to, until_ns);
        let mut meshes = self.meshes.borrow_mut();
        meshes.hold(from, to, until_ns);
        meshes.deaf.0.push((from, to, until_ns));
        self.apart_until_ns = self.apart_until_ns.max(until_ns + SUSPECT_AFTER_NS);
    }

    fn stall(&mut self, one: usize, ns: u64, accepts: bool) {
        self.hurts(one);
        let (process, until_ns) = (&mut self.processes[one], self.clock.now_ns() + ns);
        process.stalled_until_ns = until_ns;
        process.next_step_ns = process.next_step_ns.max(until_ns);
        if !accepts {
            self.nets.stop(&process.net, until_ns);
        }
        self.last_blow_ns = self.last_blow_ns.max(until_ns);
    }

    /// What the run came through.
    fn reached(&self) -> All {
        let mut reached: All = self.processes.iter().flat_map(|process| process.app.reached()).collect();
        let witness = self.witness.as_ref();
        let others = [
            (Reached::Cut, self.cut),
            (Reached::Full, self.nets.refused() > 0),
            (Reached::HungContact, self.misled.iter().any(|&index| self.processes[index].app.was_in())),
            (Reached::WitnessAsked, witness.is_some_and(|witness| witness.asked)),
            (Reached::TornLine, witness.is_some_and(|witness| witness.torn)),
        ];
        reached.extend(others.into_iter().filter_map(|(what, is_so)| is_so.then_some(what)));
        reached
    }

    /// One that was a member asks under its old name.
    fn come_back(&mut self) {
        let gone: Vec<NodeId> =
            self.processes.iter().filter(|process| !process.is_alive() && process.app.was_in()).map(Process::node).collect();
        if !gone.is_empty() {
            let node = self.random.pick(&gone);
            let index = self.come(node, None, true);
            self.processes[index].old_name = true;
        }
    }

    /// Whether anybody was apart from anybody since then.
    pub(super) fn any_apart(&self, since_ns: u64) -> bool {
        self.apart_until_ns >= since_ns
    }
}
