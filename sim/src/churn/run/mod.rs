//! A run of a group whose members come and go.

mod asking;
mod join;
mod observed;
mod state;
mod strike;
mod transfer;
mod watch;

use std::collections::BTreeMap;

use squall_group::{Group, View, Witness};
use squall_transport::sim::{LinkSpec, Random, SimNetwork, SoloExchange};
use squall_transport::{NodeId, Rank};

use asking::Asking;
use observed::{Deaf, Observed};
use transfer::Transfer;

use super::fault::{Ambush, Fault, Moment, SUSPECT_AFTER_NS};
use super::process::{ChurnFabric, Process, Stepped};
use super::scenario::Churn;
use super::sides::Sides;
use crate::aim::Aim;
use crate::checker::{Property, Violation, check};
use crate::mutant::Mutant;
use crate::simulation::Outcome;
use crate::trace::{Interleaving, Trace};

/// After the last fault and the last message everything must have come to rest within this time, where a message is
/// delivered after two hops.
const REST_NS: u64 = 40_000_000;
/// Within this time of a fault everybody near has noticed it whom somebody tells.
const FELT_NS: u64 = 200_000 + ODD_NS;
/// How late the latest of odd links are: much later than the others, much earlier than silence counts as death.
const ODD_NS: u64 = SUSPECT_AFTER_NS / 10;
/// How fast a slow link is: a block of some kilobytes takes longer than silence may.
const SLOW_BYTES_PER_S: u64 = 2_000_000;
/// Steps of all processes in one run, at most.
const STEPS_MAX: u64 = 400_000;

/// Runs what `churn` says, with a fault in the protocol if asked for, and checks the trace.
pub fn churn(churn: &Churn, mutant: Option<Mutant>) -> Outcome {
    let mut run = Run::new(churn, mutant);
    let ending = run.go();
    run.finish(ending);
    let mut verdict = check(&run.trace);
    verdict.violations.append(&mut run.seen);
    Outcome { virtual_ns: run.clock.now_ns(), steps: run.steps, trace: run.trace, verdict }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// There was nothing left to do.
    Rested,
    /// There was, and it was not done in time.
    Restless,
    /// In the middle, as it was meant to.
    CutOff,
}

struct Run<'a> {
    churn: &'a Churn,
    mutant: Option<Mutant>,
    clock: SimNetwork,
    /// The mesh of each view.
    meshes: BTreeMap<(u64, Vec<NodeId>), SimNetwork>,
    /// With whom the witness sides in a view of two.
    witness: BTreeMap<(u64, Vec<NodeId>), NodeId>,
    processes: Vec<Process>,
    asking: Vec<Asking>,
    transfers: Vec<Transfer>,
    /// The next one that gives its state dies while it does.
    ambush_givers: bool,
    /// The next one last.
    faults: Vec<(u64, Fault)>,
    sides: Option<Sides>,
    random: Random,
    trace: Trace,
    steps: u64,
    /// The last name that was given to a newcomer.
    names: u64,
    /// The next one last.
    ambushes: Vec<Ambush>,
    /// The next leader is heard in part only.
    tears: bool,
    /// Who is to hear no more of its leader.
    deaf: Vec<Deaf>,
    /// Who is to die, and when.
    doomed: Option<(usize, u64)>,
    /// Who sleeps until so long after others suspect it.
    sleepers: Vec<(usize, u64)>,
    returns_left: u64,
    /// Members that the faults so far may have cost the group, at the most; none: nobody can tell.
    victims: Option<usize>,
    last_fault_ns: u64,
    observed: Observed,
    seen: Vec<Violation>,
}

impl<'a> Run<'a> {
    fn new(churn: &'a Churn, mutant: Option<Mutant>) -> Run<'a> {
        let mut random = Random::new(churn.seed ^ 0x5EED);
        let clock = SimNetwork::new(random.bits(), churn.members, churn.link);
        clock.set_call_ns_max(churn.call_ns_max);
        clock.audit_sources();
        if churn.mapped {
            clock.map_memory();
        }
        if churn.counted {
            clock.count_writes();
        }
        let mut run = Run {
            churn,
            mutant,
            meshes: BTreeMap::new(),
            witness: BTreeMap::new(),
            processes: Vec::new(),
            asking: Vec::new(),
            transfers: Vec::new(),
            ambush_givers: churn.ambush_giver,
            faults: churn.faults.iter().rev().copied().collect(),
            sides: None,
            random,
            trace: Trace::new(Interleaving::Global),
            steps: 0,
            names: 1000,
            ambushes: churn.ambushes.clone(),
            tears: churn.torn,
            deaf: Vec::new(),
            doomed: None,
            sleepers: Vec::new(),
            returns_left: churn.returns,
            victims: Some(churn.victims()),
            last_fault_ns: churn.busy_ns,
            observed: Observed::default(),
            seen: Vec::new(),
            clock,
        };
        for rank in 0..churn.members {
            let view = View::first(Rank::new(rank), churn.members, &churn.config.senders, &[0; 32]);
            run.enter(view);
        }
        run
    }

    /// The mesh of a view: made when the first of its members comes.
    fn mesh(&mut self, view: &View) -> SimNetwork {
        let key = (view.id, view.nodes.clone());
        if let Some(network) = self.meshes.get(&key) {
            return network.clone();
        }
        let network = self.clock.extend(view.members, self.churn.link);
        self.slow_down(&network, view);
        if let Some(sides) = &self.sides {
            sides.hold(&network, &view.nodes);
        }
        self.meshes.insert(key, network.clone());
        network
    }

    /// Some links are slower than others.
    fn slow_down(&mut self, network: &SimNetwork, view: &View) {
        let link = self.churn.link;
        let ranks = || (0..view.members).map(Rank::new);
        for (from, to) in ranks().flat_map(|from| ranks().map(move |to| (from, to))).filter(|(from, to)| from != to) {
            if self.random.chance(self.churn.odd_per_mille) {
                let latency_ns = self.random.between(ODD_NS / 10, ODD_NS);
                network.set_link(from, to, LinkSpec { latency_ns, queue_max: link.queue_max.max(16), ..link });
            }
        }
        if let Some((from, to)) = self.churn.slow.filter(|_| view.id == 0) {
            network.set_link(from, to, LinkSpec { bytes_per_s: SLOW_BYTES_PER_S, ..link });
        }
    }

    /// A process enters its first view.
    fn enter(&mut self, view: View) {
        let network = self.mesh(&view);
        let mut solo = SoloExchange::new(view.me, view.members);
        let sends = view.is_sender() || view.will_send.has(view.me) || (view.id == 0 && self.churn.orphaned);
        let messages = if sends { self.churn.messages } else { 0 };
        let group = Group::enter(&self.churn.config, view, &ChurnFabric::on(&network, self.mutant), &mut solo)
            .expect("a scenario's view can be entered");
        let mut process = Process::new(group, network, messages, self.churn, self.mutant, self.random.split());
        process.next_step_ns = self.clock.now_ns() + self.random.below(1000);
        self.trace.events.extend(process.take_events());
        let behind = process.awaits_state();
        self.processes.push(process);
        if behind {
            self.fetch(self.processes.len() - 1);
        }
    }

    /// Lets everything happen until there is nothing left to do, or no hope, or the run is to end.
    fn go(&mut self) -> Ending {
        while self.steps < STEPS_MAX {
            let now_ns = self.clock.now_ns();
            if self.churn.ends_ns.is_some_and(|ends_ns| now_ns >= ends_ns) {
                return Ending::CutOff;
            }
            if !self.has_faults_left() && now_ns > self.last_fault_ns + FELT_NS && self.rests() {
                return if self.churn.aim == Aim::Safety { Ending::CutOff } else { Ending::Rested };
            }
            if now_ns > self.last_fault_ns + self.rest_ns() {
                break;
            }
            self.advance();
        }
        if self.churn.aim == Aim::Safety { Ending::CutOff } else { Ending::Restless }
    }

    /// Within which everything must have come to rest: windows may let one message through at a time, and each takes as
    /// many hops as its order says.
    fn rest_ns(&self) -> u64 {
        let cost = self.churn.config.mode.cost(self.processes.len(), 1);
        REST_NS * cost.hops.div_ceil(2).max(1)
    }

    fn has_faults_left(&self) -> bool {
        let ends = self.sides.as_ref().is_some_and(|sides| !sides.stays());
        ends || !self.faults.is_empty() || self.doomed.is_some()
    }

    /// Goes to the next moment at which something is to happen, and lets it happen.
    fn advance(&mut self) {
        let steps = self.processes.iter().filter(|process| process.is_alive()).map(|process| process.next_step_ns);
        let times = steps
            .chain(self.clock.next_event_ns())
            .chain(self.faults.last().map(|(at_ns, _)| *at_ns))
            .chain(self.asking.iter().map(|asking| asking.ask_at_ns))
            .chain(self.transfers.iter().map(|transfer| transfer.next_ns))
            .chain(self.doomed.map(|(_, at_ns)| at_ns))
            .chain(self.sides.as_ref().map(|sides| sides.until_ns));
        // Where nothing is left but what is held for ever, time passes all the same.
        let hopeless_ns = self.clock.now_ns() + self.rest_ns() + 1;
        let next_ns = times.min().map_or(hopeless_ns, |next_ns| next_ns.min(hopeless_ns));
        self.clock.advance_to(next_ns);
        self.strike();
        self.ask();
        self.transfer();
        for index in 0..self.processes.len() {
            self.tend(index);
        }
    }

    fn rests(&self) -> bool {
        let live: Vec<&Process> = self.live().collect();
        let wanted = self.asking.iter().any(|asking| asking.comes) || live.iter().any(|process| process.is_leaving());
        let together = live.iter().all(|process| self.reaches(live[0].node(), process.node()));
        live.is_empty() || (together && !wanted && live.iter().all(|process| process.rests(&live)))
    }

    fn live(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(|process| process.is_alive())
    }

    fn tend(&mut self, index: usize) {
        let (now_ns, random) = (self.clock.now_ns(), &mut self.random);
        let process = &mut self.processes[index];
        if !process.is_alive() {
            return;
        }
        if process.take_news() {
            process.next_step_ns =
                process.next_step_ns.min(now_ns + random.below(self.churn.step_ns / 4 + 1)).max(process.stalled_until_ns);
        }
        if process.next_step_ns > now_ns || process.stalled_until_ns > now_ns {
            return;
        }
        self.steps += 1;
        let stepped = process.step(now_ns);
        let later_ns = now_ns + random.between(1, self.churn.step_ns);
        process.next_step_ns = match (stepped, process.due_ns(now_ns)) {
            (Stepped::Idle, Some(due_ns)) => due_ns.max(now_ns + 1),
            _ => later_ns,
        };
        self.trace.events.extend(process.take_events());
        match stepped {
            Stepped::Over => self.come_back(index),
            Stepped::Busy | Stepped::Idle => self.go_on(index),
        }
    }

    /// What follows from a step of a process that is still there.
    fn go_on(&mut self, index: usize) {
        let now_ns = self.clock.now_ns();
        if self.doomed.is_none()
            && let Some(ambush) = self.ambushes.pop_if(|ambush| self.processes[index].leads(ambush.moment))
        {
            self.doomed = Some((index, now_ns + ambush.after_ns));
        }
        if self.tears && self.processes[index].leads(Moment::Proposed) && !self.processes[index].leads(Moment::Cut) {
            self.tears = false;
            self.tear(index);
        }
        self.deafen(index);
        self.wake_sleepers(index);
        if let Some(view) = self.processes[index].needs_witness() {
            let answer = self.ask_witness(&view);
            self.processes[index].hear_witness(answer);
        }
        if let Some(view) = self.processes[index].next_view() {
            self.install(index, view);
        }
        self.look_who_is_cornered(index);
    }

    /// The witness sides with the first that asks; whoever was taken apart does not reach it.
    fn ask_witness(&mut self, view: &View) -> Witness {
        let node = view.node();
        if self.sides.as_ref().is_some_and(|sides| sides.has(node)) {
            return Witness::Refuses;
        }
        let sided = *self.witness.entry((view.id, view.nodes.clone())).or_insert(node);
        if sided == node { Witness::Sides } else { Witness::Refuses }
    }

    /// The process goes over to its next view, and newcomers that it brings come too.
    fn install(&mut self, index: usize, view: View) {
        let network = self.mesh(&view);
        let process = &mut self.processes[index];
        process.install(&view, network);
        process.next_step_ns = self.clock.now_ns() + self.random.below(self.churn.step_ns);
        self.trace.events.extend(process.take_events());
        if process.awaits_state() {
            self.fetch(index);
        }
        self.bring(&view);
    }

    fn finish(&mut self, ending: Ending) {
        let event = self.trace.events.len();
        match ending {
            Ending::Rested => self.be_quiet(),
            Ending::Restless => self.tell_restless(self.rest_ns()),
            Ending::CutOff => {}
        }
        if let Some(changed) = self.clock.changed_source() {
            let what = format!("bytes were written while they could still be read: {changed:?}");
            self.seen.push(Violation { property: Property::BufferSafety, event, what });
        }
        if ending != Ending::CutOff {
            for (index, process) in self.processes.iter_mut().enumerate() {
                process.finish(self.observed.idle_posts(index));
                self.trace.events.extend(process.take_events());
            }
        }
    }
}
