//! Groups whose members come and go: what a seed stands for, and a run of it.

use std::collections::HashMap;

use squall_group::{CONTACT_SENDS, Config, Group, Newcomer, Timeouts, View, Witness};
use squall_transport::sim::{LinkSpec, Random, SimNetwork, SoloExchange};
use squall_transport::{NodeId, Rank, RegionOptions};

use crate::checker::{Property, Violation, check};
use crate::mutant::Mutant;
use crate::process::{ChurnFabric, Process, Stepped};
use crate::simulation::Outcome;
use crate::trace::{Interleaving, Trace};

/// Silence that counts as death.
const SUSPECT_AFTER_NS: u64 = 1_000_000;
/// After the last fault and the last message everything must have come to rest within this time.
const REST_NS: u64 = 40_000_000;
/// A newcomer that has not become a member by then asks somebody else.
const ASK_AGAIN_NS: u64 = 3_000_000;
/// How fast a slow link is: a block of some kilobytes takes longer than silence may.
const SLOW_BYTES_PER_S: u64 = 2_000_000;
/// Steps of all processes in one run, at most.
const STEPS_MAX: u64 = 400_000;

/// What happens to members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One dies; the others are told by their links, or not.
    Crash {
        /// Whether links break with it.
        told: bool,
    },
    /// One does not run for so long, in nanoseconds.
    Stall(u64),
    /// One suspects another for no reason.
    Suspect,
    /// The link between two breaks.
    Cut,
    /// One leaves.
    Leave,
    /// One joins; or asks to, and dies before it comes.
    Join {
        /// Whether it comes.
        comes: bool,
        /// Whether it wants to send.
        sends: bool,
    },
}

/// A leader that dies in the middle of what it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambush {
    /// After it has cut, rather than after it has proposed a list of changes.
    pub at_trim: bool,
    /// So long afterwards, in nanoseconds.
    pub after_ns: u64,
}

/// A group, its load, and what happens to its members.
#[derive(Clone, Debug)]
pub struct Churn {
    /// Everything follows from it.
    pub seed: u64,
    /// Members at first.
    pub members: usize,
    /// What they agree on.
    pub config: Config,
    /// How links behave.
    pub link: LinkSpec,
    /// A call of the fabric takes up to this long.
    pub call_ns_max: u64,
    /// A link of the first view that is so slow that who sends large messages by it seems to be dead, and what it sent lands long after.
    pub slow: Option<(Rank, Rank)>,
    /// Peers write by mappings of their own: what they posted may land in an epoch that is over.
    pub mapped: bool,
    /// When what happens, ascending by time.
    pub faults: Vec<(u64, Fault)>,
    /// The first that leads a change dies so long, in nanoseconds, after it has proposed the list, or the trim.
    pub ambush: Option<Ambush>,
    /// Messages that each process sends.
    pub messages: u64,
    /// Until when they become ready to be sent.
    pub busy_ns: u64,
    /// From one step to the next, at the most.
    pub step_ns: u64,
}

impl Churn {
    /// What `seed` stands for.
    pub fn new(seed: u64) -> Churn {
        let mut random = Random::new(seed ^ 0xC4_0B11);
        let members = random.pick(&[1, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7]);
        let mut config = Config::new((0..members).map(Rank::new).filter(|_| random.chance(700)).collect());
        if config.senders.is_empty() {
            config.senders = vec![Rank::new(random.below(members as u64) as usize)];
        }
        config.small_max = random.pick(&[24, 100, 500]);
        config.ring_bytes = 2048 << random.below(3);
        config.window_messages = random.pick(&[1, 3, 16, 1 << 20]);
        if random.chance(400) {
            config.large_max = config.small_max + random.pick(&[100, 3000, 20_000]);
            config.transfers_max = random.between(1, 3) as usize;
            config.senders_max = members + 6;
            config.block_bytes = Some((config.large_max / random.pick(&[1, 3, 7])).max(16) as u32);
        }
        config.region = RegionOptions::default();
        config.membership = Some(Timeouts::after_ns(SUSPECT_AFTER_NS));
        let link = LinkSpec {
            bytes_per_s: random.pick(&[100_000_000, 1_000_000_000, 12_500_000_000]),
            latency_ns: random.pick(&[500, 2000, 20_000]),
            jitter_ns: random.pick(&[0, 500, 20_000]),
            queue_max: random.pick(&[4, 16, 128]),
            spurious_full_per_mille: random.pick(&[0, 0, 50]),
            ..LinkSpec::default()
        };
        let busy_ns = random.between(1_000_000, 6_000_000);
        let count = random.pick(&[0, 1, 1, 1, 2, 2, 3, 4]);
        let mut faults: Vec<(u64, Fault)> = (0..count).map(|_| (random.below(busy_ns), fault(&mut random))).collect();
        if count > 1 && random.chance(400) {
            // Several at nearly the same time: the second meets the protocol in the middle.
            let (at_ns, _) = faults[0];
            faults.iter_mut().for_each(|(other_ns, _)| *other_ns = at_ns + random.below(60_000));
        }
        faults.sort_by_key(|(at_ns, _)| *at_ns);
        let call_ns_max = random.pick(&[0, 50, 300]);
        let (messages, step_ns) = (random.between(0, 60), random.pick(&[1000, 10_000, 60_000]));
        let soon_ns = 3 * (link.latency_ns + link.jitter_ns + step_ns);
        let ambush = (members > 2 && random.chance(400)).then(|| Ambush { at_trim: random.chance(600), after_ns: random.below(soon_ns) });
        let slow = (members > 2 && config.large_max > 0 && random.chance(400)).then(|| {
            (config.large_max, config.transfers_max) = (config.small_max + 20_000, 3);
            config.block_bytes = Some(random.pick(&[2000, 7000, 20_500]));
            let from = random.below(members as u64) as usize;
            (Rank::new(from), Rank::new((from + random.between(1, members as u64 - 1) as usize) % members))
        });
        let mapped = random.chance(if slow.is_some() { 800 } else { 400 });
        Churn { seed, members, config, link, call_ns_max, slow, mapped, faults, ambush, messages, busy_ns, step_ns }
    }
}

fn fault(random: &mut Random) -> Fault {
    match random.below(100) {
        0..35 => Fault::Crash { told: random.chance(700) },
        35..50 => Fault::Stall(random.between(100_000, 4_000_000)),
        50..60 => Fault::Suspect,
        60..68 => Fault::Cut,
        68..80 => Fault::Leave,
        _ => Fault::Join { comes: random.chance(850), sends: random.chance(700) },
    }
}

/// Runs what `churn` says, with a fault in the protocol if asked for, and checks the trace.
pub fn churn(churn: &Churn, mutant: Option<Mutant>) -> Outcome {
    let mut run = Run::new(churn, mutant);
    let rested = run.go();
    run.finish(rested);
    let mut verdict = check(&run.trace);
    verdict.violations.append(&mut run.seen);
    Outcome { virtual_ns: run.clock.now_ns(), steps: run.steps, trace: run.trace, verdict }
}

/// A newcomer on its way.
struct Asking {
    newcomer: Newcomer,
    comes: bool,
    ask_at_ns: u64,
}

struct Run<'a> {
    churn: &'a Churn,
    mutant: Option<Mutant>,
    clock: SimNetwork,
    /// The mesh of each view.
    meshes: HashMap<(u64, Vec<NodeId>), SimNetwork>,
    /// With whom the witness sides in a view of two.
    witness: HashMap<(u64, Vec<NodeId>), NodeId>,
    processes: Vec<Process>,
    asking: Vec<Asking>,
    faults: Vec<(u64, Fault)>,
    random: Random,
    trace: Trace,
    steps: u64,
    names: u64,
    ambush: Option<Ambush>,
    /// Who is to die, and when.
    doomed: Option<(usize, u64)>,
    last_fault_ns: u64,
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
        let mut run = Run {
            churn,
            mutant,
            meshes: HashMap::new(),
            witness: HashMap::new(),
            processes: Vec::new(),
            asking: Vec::new(),
            faults: churn.faults.iter().rev().copied().collect(),
            random,
            trace: Trace::new(Interleaving::Global),
            steps: 0,
            names: 1000,
            ambush: churn.ambush,
            doomed: None,
            last_fault_ns: churn.busy_ns,
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
        let (clock, link) = (&self.clock, self.churn.link);
        let slow = self.churn.slow.filter(|_| view.id == 0);
        let extend = || {
            let network = clock.extend(view.members, link);
            if let Some((from, to)) = slow {
                network.set_link(from, to, LinkSpec { bytes_per_s: SLOW_BYTES_PER_S, ..link });
            }
            network
        };
        self.meshes.entry((view.id, view.nodes.clone())).or_insert_with(extend).clone()
    }

    /// A process enters its first view.
    fn enter(&mut self, view: View) {
        let network = self.mesh(&view);
        let mut solo = SoloExchange::new(view.me, view.members);
        let messages = if view.my_sender().is_some() { self.churn.messages } else { 0 };
        let group = Group::enter(&self.churn.config, view, &ChurnFabric::on(&network, self.mutant), &mut solo)
            .expect("a scenario's view can be entered");
        let mut process = Process::new(group, network, messages, self.churn, self.mutant, self.random.split());
        process.next_step_ns = self.clock.now_ns() + self.random.below(1000);
        self.trace.events.extend(process.take_events());
        self.processes.push(process);
    }

    /// Lets everything happen until there is nothing left to do, or no hope. Whether all came to rest.
    fn go(&mut self) -> bool {
        while self.steps < STEPS_MAX {
            let now_ns = self.clock.now_ns();
            if self.faults.is_empty() && self.doomed.is_none() && now_ns > self.last_fault_ns && self.rests() {
                return true;
            }
            if now_ns > self.last_fault_ns + REST_NS {
                return false;
            }
            let steps = self.processes.iter().filter(|process| process.is_alive()).map(|process| process.next_step_ns);
            let asking = self.asking.iter().map(|asking| asking.ask_at_ns);
            let times = steps
                .chain(self.clock.next_event_ns())
                .chain(self.faults.last().map(|(at_ns, _)| *at_ns))
                .chain(asking)
                .chain(self.doomed.map(|(_, at_ns)| at_ns));
            let Some(next_ns) = times.min() else { return true };
            self.clock.advance_to(next_ns);
            self.take_fault();
            self.take_doomed();
            self.ask();
            for index in 0..self.processes.len() {
                self.tend(index);
            }
        }
        false
    }

    fn rests(&self) -> bool {
        let live: Vec<&Process> = self.processes.iter().filter(|process| process.is_alive()).collect();
        let asked = self.asking.iter().all(|asking| !asking.comes);
        live.is_empty() || (asked && live.iter().all(|process| process.rests(&live)))
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
        if self.ambush.is_some_and(|ambush| self.processes[index].leads(ambush.at_trim))
            && let Some(ambush) = self.ambush.take()
        {
            self.doomed = Some((index, now_ns + ambush.after_ns));
        }
        if let Some(view) = self.processes[index].needs_witness() {
            let sided = *self.witness.entry((view.id, view.nodes.clone())).or_insert(view.node());
            let answer = if sided == view.node() { Witness::Sides } else { Witness::Refuses };
            self.processes[index].hear_witness(answer);
        }
        if let Some(view) = self.processes[index].next_view() {
            self.install(index, view);
        }
    }

    /// The process goes over to its next view, and newcomers that it brings come too.
    fn install(&mut self, index: usize, view: View) {
        let network = self.mesh(&view);
        let process = &mut self.processes[index];
        process.install(&view, network);
        process.next_step_ns = self.clock.now_ns() + self.random.below(self.churn.step_ns);
        self.trace.events.extend(process.take_events());
        let came: Vec<Asking> = self.asking.extract_if(.., |asking| view.nodes.contains(&asking.newcomer.node())).collect();
        for asking in came {
            if let Some(view) = view.seen_by(asking.newcomer.node()).filter(|_| asking.comes) {
                self.enter(view);
            }
        }
    }

    /// Newcomers that wait ask somebody.
    fn ask(&mut self) {
        let now_ns = self.clock.now_ns();
        for asking in self.asking.iter_mut().filter(|asking| asking.ask_at_ns <= now_ns) {
            asking.ask_at_ns = now_ns + ASK_AGAIN_NS;
            let mut live: Vec<&mut Process> = self.processes.iter_mut().filter(|process| process.is_alive()).collect();
            if !live.is_empty() {
                let contact = self.random.below(live.len() as u64) as usize;
                live[contact].ask(asking.newcomer);
            }
        }
        let anybody = self.processes.iter().any(Process::is_alive);
        // Without a group there is nothing to join; and who will not come does not ask for ever.
        self.asking.retain(|asking| anybody && (asking.comes || now_ns < self.last_fault_ns));
    }

    fn take_doomed(&mut self) {
        let now_ns = self.clock.now_ns();
        if let Some((index, _)) = self.doomed.take_if(|(_, at_ns)| *at_ns <= now_ns) {
            let process = &mut self.processes[index];
            if process.is_alive() {
                process.crash(true);
                self.trace.events.extend(process.take_events());
                self.last_fault_ns = self.last_fault_ns.max(now_ns);
            }
        }
    }

    fn take_fault(&mut self) {
        let now_ns = self.clock.now_ns();
        while let Some((_, fault)) = self.faults.pop_if(|(at_ns, _)| *at_ns <= now_ns) {
            self.last_fault_ns = self.last_fault_ns.max(now_ns);
            let live: Vec<usize> = (0..self.processes.len()).filter(|&index| self.processes[index].is_alive()).collect();
            if live.is_empty() {
                return;
            }
            let (one, bits) = (self.random.pick(&live), self.random.bits());
            let process = &mut self.processes[one];
            match fault {
                Fault::Crash { told } => process.crash(told),
                Fault::Stall(ns) => {
                    process.stalled_until_ns = now_ns + ns;
                    process.next_step_ns = process.next_step_ns.max(now_ns + ns);
                    self.last_fault_ns = self.last_fault_ns.max(now_ns + ns);
                }
                Fault::Suspect => process.suspect(bits),
                Fault::Cut => process.cut(bits),
                Fault::Leave => process.leave(),
                Fault::Join { comes, sends } => {
                    self.names += 1;
                    let contact = [0, 0, if sends { CONTACT_SENDS } else { 0 }];
                    let newcomer = Newcomer { node: self.names, contact };
                    self.asking.push(Asking { newcomer, comes, ask_at_ns: now_ns });
                }
            }
            let events: Vec<_> = self.processes[one].take_events().collect();
            self.trace.events.extend(events);
        }
    }

    fn finish(&mut self, rested: bool) {
        let event = self.trace.events.len();
        if !rested {
            let states: Vec<String> = self.processes.iter().filter(|process| process.is_alive()).map(Process::state).collect();
            let what = format!("no rest {REST_NS} ns after the last fault: {}", states.join("; "));
            self.seen.push(Violation { property: Property::ViewProgress, event, what });
        }
        if let Some(changed) = self.clock.changed_source() {
            let what = format!("bytes were written while they could still be read: {changed:?}");
            self.seen.push(Violation { property: Property::BufferSafety, event, what });
        }
        for process in &mut self.processes {
            process.finish();
            self.trace.events.extend(process.take_events());
        }
    }
}
