//! One run of a scenario, from the first message to the last write.

use squall_group::Group;
use squall_transport::Rank;
use squall_transport::sim::{Changed, LinkSpec, Random, SimFabric, SimNetwork};

use crate::checker::{Property, Verdict, Violation, check};
use crate::member::{Member, Stepped};
use crate::mutant::Mutant;
use crate::sabotage::way_in;
use crate::scenario::Scenario;
use crate::trace::{Interleaving, Trace};

/// Steps of one member in a row that find nothing to do, with nothing on its way, after which it is taken to be at
/// rest.
const REST_STEPS: u64 = 12;
/// Steps of all members in one run, at most: one that goes on for longer makes no progress.
const STEPS_MAX: u64 = 2_000_000;
/// Steps of each member during which a group at rest must stay silent.
const SILENT_STEPS: u64 = 6;

/// What one run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What happened.
    pub trace: Trace,
    /// What the checker says of it.
    pub verdict: Verdict,
    /// How long it took in virtual time.
    pub virtual_ns: u64,
    /// Steps of all members.
    pub steps: u64,
}

/// Runs what `scenario` says, with a fault in it if asked for, and checks the trace.
pub fn simulate(scenario: &Scenario, mutant: Option<Mutant>) -> Outcome {
    let mut simulation = Simulation::new(scenario, mutant);
    let rested = simulation.run();
    simulation.members.iter_mut().for_each(Member::read_no_more);
    if rested {
        simulation.meet();
    }
    simulation.finish();
    simulation.look_at_sources();
    let mut verdict = check(&simulation.trace);
    verdict.violations.append(&mut simulation.seen);
    Outcome { virtual_ns: simulation.network.now_ns(), steps: simulation.steps, trace: simulation.trace, verdict }
}

struct Simulation<'a> {
    scenario: &'a Scenario,
    network: SimNetwork,
    members: Vec<Member>,
    random: Random,
    trace: Trace,
    steps: u64,
    crash: Option<(Rank, u64)>,
    /// What no trace tells.
    seen: Vec<Violation>,
}

impl<'a> Simulation<'a> {
    fn new(scenario: &'a Scenario, mutant: Option<Mutant>) -> Simulation<'a> {
        let mut random = Random::new(scenario.seed ^ 0x5EED);
        let link = sabotaged(scenario.link, mutant);
        let (network, fabrics) = SimFabric::mesh(random.bits(), scenario.members, link);
        network.set_call_ns_max(scenario.call_ns_max);
        network.audit_sources();
        if scenario.counted || mutant == Some(Mutant::HastyWord) {
            network.count_writes();
        }
        if mutant == Some(Mutant::HastyWord) {
            network.apply_words_early();
        }
        for &(from, to, spec) in &scenario.odd_links {
            network.set_link(from, to, sabotaged(spec, mutant));
        }
        let mut trace = Trace::new(Interleaving::Global);
        let mut members = Vec::with_capacity(scenario.members);
        for (index, fabric) in fabrics.into_iter().enumerate() {
            let rank = Rank::new(index);
            let (fabric, mut exchange) = way_in(fabric, rank, scenario.members, scenario.config.senders.len() as u64, mutant);
            let group = Group::join(&scenario.config, &fabric, &mut exchange).expect("a scenario's group can be joined");
            members.push(Member::new(group, scenario, mutant, &network, random.split()));
        }
        trace.events.extend(members.iter_mut().flat_map(Member::take_events));
        Simulation { scenario, network, members, random, trace, steps: 0, crash: scenario.crash, seen: Vec::new() }
    }

    /// Lets everything happen until there is nothing left to do, or no hope. Whether all is done.
    fn run(&mut self) -> bool {
        while self.steps < STEPS_MAX {
            if self.is_done() && self.crash.is_none() && self.is_at_rest() {
                return true;
            }
            if !self.advance() {
                return self.is_done();
            }
            if self.is_at_rest() && self.is_hopeless() {
                return self.is_done();
            }
        }
        false
    }

    /// Everybody sent all and delivered all; after a crash, everybody is gone.
    fn is_done(&self) -> bool {
        if self.members.iter().any(|member| !member.is_alive()) {
            return self.members.iter().all(|member| !member.is_alive());
        }
        let sent: u64 = self.members.iter().map(Member::sent_count).sum();
        self.members.iter().all(|member| member.unsent() == 0 && member.delivered_count() == sent && member.has_read())
    }

    /// Nothing is on its way and nobody has found anything to do for a while.
    fn is_at_rest(&self) -> bool {
        let resting = |member: &Member| member.next_step_ns.is_none() || member.idle_steps >= REST_STEPS;
        let told = |index: usize| !self.network.has_news(Rank::new(index));
        let rests = |(index, member): (usize, &Member)| !member.is_alive() || (resting(member) && told(index));
        self.network.next_event_ns().is_none() && self.members.iter().enumerate().all(rests)
    }

    /// Nothing will happen by itself any more: no bursts, no stalls, no crash to come.
    fn is_hopeless(&self) -> bool {
        let now_ns = self.network.now_ns();
        let over = |rank: usize| self.scenario.plans[rank].stalls.iter().all(|&(_, until_ns)| until_ns < now_ns);
        let waits = |member: &Member| !member.is_alive() || member.bursts.is_empty();
        self.crash.is_none() && (0..self.members.len()).all(over) && self.members.iter().all(waits)
    }

    /// Goes to the next moment at which something happens. `false` if there is none.
    fn advance(&mut self) -> bool {
        let steps = self.members.iter().filter_map(|member| member.next_step_ns);
        let bursts = self.members.iter().filter(|member| member.is_alive()).filter_map(|member| member.bursts.front());
        let times = steps.chain(bursts.map(|burst| burst.at_ns));
        let times = times.chain(self.network.next_event_ns()).chain(self.crash.map(|(_, at_ns)| at_ns));
        // What landed while another member was being stepped wakes those who were looked after before it.
        let told = (0..self.members.len()).any(|index| self.members[index].is_alive() && self.network.has_news(Rank::new(index)));
        let times = times.chain(told.then(|| self.network.now_ns()));
        let Some(next_ns) = times.min() else { return false };
        self.network.advance_to(next_ns);
        self.crash_if_due();
        let first = self.random.below(self.members.len() as u64) as usize;
        for offset in 0..self.members.len() {
            self.tend((first + offset) % self.members.len());
        }
        true
    }

    fn crash_if_due(&mut self) {
        let now_ns = self.network.now_ns();
        let Some((rank, _)) = self.crash.take_if(|(_, at_ns)| *at_ns <= now_ns) else { return };
        let member = &mut self.members[rank.index()];
        if member.is_alive() {
            self.network.crash(rank, 100_000);
            member.crash();
            self.trace.events.extend(member.take_events());
        }
    }

    /// Wakes a member that has news, and steps it if its time has come.
    fn tend(&mut self, index: usize) {
        let (now_ns, plan) = (self.network.now_ns(), &self.scenario.plans[index]);
        let member = &mut self.members[index];
        if !member.is_alive() {
            return;
        }
        if member.take_bursts(now_ns) | self.network.take_news(Rank::new(index)) {
            member.idle_steps = 0;
            if member.next_step_ns.is_none() {
                member.next_step_ns = Some(now_ns + self.random.below(plan.step_ns.0));
            }
        }
        if member.next_step_ns.is_none_or(|at_ns| at_ns > now_ns) {
            return;
        }
        if let Some(&(_, until_ns)) = plan.stalls.iter().find(|(from_ns, until_ns)| (*from_ns..*until_ns).contains(&now_ns)) {
            member.next_step_ns = Some(until_ns);
            return;
        }
        self.step(index);
    }

    fn step(&mut self, index: usize) {
        let (rank, plan, member) = (Rank::new(index), &self.scenario.plans[index], &mut self.members[index]);
        // What lands from here on is news.
        self.network.take_news(rank);
        self.steps += 1;
        let stepped = member.step();
        self.trace.events.extend(member.take_events());
        let Stepped::On { progress } = stepped else { return };
        let now_ns = self.network.now_ns();
        let sleeps = plan.sleeps && !progress && !self.network.take_news(rank);
        // Looking again and again at nothing only takes time: who has long been idle looks less often.
        let patience = if member.idle_steps > REST_STEPS { 20 } else { 1 };
        member.next_step_ns = (!sleeps).then(|| now_ns + patience * self.random.between(plan.step_ns.0, plan.step_ns.1));
    }

    /// At the end everybody raises its mark and waits for all others, as programs do before they leave.
    fn meet(&mut self) {
        for member in &mut self.members {
            member.raise_mark(1);
            member.idle_steps = 0;
            member.next_step_ns = member.is_alive().then(|| self.network.now_ns() + self.random.below(1000));
        }
        let steps_max = self.steps + STEPS_MAX / 10;
        while self.steps < steps_max && self.advance() && !self.is_at_rest() {}
        for rank in (0..self.members.len()).filter(|&rank| !self.members[rank].sees_mark(1)) {
            let what = format!("{rank} does not see that all have raised their marks");
            self.seen.push(Violation { property: Property::DeliveryProgress, event: self.trace.events.len(), what });
        }
    }

    /// No member wrote what it had posted before it was read.
    fn look_at_sources(&mut self) {
        if let Some(Changed { from, to, at, len, at_ns }) = self.network.changed_source() {
            let (region, offset) = (at.region.0, at.offset);
            let what = format!(
                "{len} bytes that {from} posted for {offset} of region {region} of {to} were others when they were read at {at_ns} ns"
            );
            self.seen.push(Violation { property: Property::BufferSafety, event: self.trace.events.len(), what });
        }
    }

    /// Steps everybody a few times more: a group at rest posts nothing.
    fn finish(&mut self) {
        let posts = |network: &SimNetwork, index: usize| network.posts(Rank::new(index));
        let before: Vec<u64> = (0..self.members.len()).map(|index| posts(&self.network, index)).collect();
        for _ in 0..SILENT_STEPS {
            for index in 0..self.members.len() {
                if self.members[index].is_alive() {
                    self.step(index);
                }
                let now_ns = self.network.now_ns();
                self.network.advance_to(now_ns + self.random.below(10_000));
            }
        }
        for (index, before) in before.into_iter().enumerate() {
            let member = &mut self.members[index];
            if member.is_alive() {
                member.finish(posts(&self.network, index) - before);
                self.trace.events.extend(member.take_events());
            }
        }
    }
}

/// The link with the fault that concerns links.
fn sabotaged(link: LinkSpec, mutant: Option<Mutant>) -> LinkSpec {
    match mutant {
        Some(Mutant::UnorderedLink) => LinkSpec { ordered: false, jitter_ns: link.jitter_ns.max(10_000), ..link },
        _ => link,
    }
}
