//! One group of processes: started, loaded, struck by faults, and brought to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use squall_transport::NodeId;
use squall_transport::exchange::ClusterKey;
use squall_transport::sim::{Random, mix};

use super::evidence::{Fate, Life};
use super::plan::{Fault, Strike};
use super::{Halt, Options, cut};
use crate::jobs::chaos::{ChaosJob, Load, News, Order, Parting, Report, Start};
use crate::jobs::control::Reply;
use crate::jobs::frame;
use crate::jobs::job::{Job, Work};
use crate::run::interrupt::Interrupt;
use crate::run::processes::Processes;
use crate::run::rendezvous::Rendezvous;

/// How often a wait looks whether it was interrupted.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// From one look whether all is at rest to the next.
const REST_EVERY: Duration = Duration::from_millis(4);
/// Times that a process may fail to get in, in one round.
const TRIES_MAX: u32 = 8;
/// Load goes on so long after the last fault.
const AFTERMATH: Duration = Duration::from_millis(20);
/// Members above the number asked for that the buffers suffice for.
const MEMBERS_EXTRA: usize = 8;

/// One process, in whatever life.
struct Process {
    /// Its present life: a position in `lives`.
    life: usize,
    standing: Standing,
    stopped: bool,
    /// In this round it stood still or lost connections.
    struck: bool,
    behind: bool,
    address: Option<SocketAddr>,
    report: Option<Report>,
    tries: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Coming,
    Member,
    Leaving,
}

/// Something that is due later in a round.
#[derive(Clone, Copy, Debug)]
enum Due {
    Strike(Strike),
    GoOn(u32),
    Kill(u32),
}

/// A newcomer that somebody waits for, to strike while it is given the state.
struct Trap {
    newcomer: u32,
    giver: bool,
    after: Duration,
}

/// One group.
pub(super) struct Cluster<'a> {
    options: &'a Options,
    interrupt: &'a Interrupt,
    children: Processes,
    key: ClusterKey,
    load: Load,
    folder: PathBuf,
    random: Random,
    processes: BTreeMap<u32, Process>,
    /// All lives of all processes so far.
    pub(super) lives: Vec<Life>,
    /// Who was whom, by rank, at the last rest.
    ranks: Vec<NodeId>,
    loud: bool,
    started: u32,
    reports: u64,
    dues: Vec<(Instant, Due)>,
    traps: Vec<Trap>,
    /// What went wrong that no trace tells of.
    pub(super) wrong: Vec<String>,
    /// Why members gave up that nothing was done to: the system did not let live ones run, or talk, for too long.
    pub(super) gave_up: Vec<String>,
    /// Everything has come to rest.
    pub(super) at_rest: bool,
    /// What could not be done here, and why.
    pub(super) skipped: BTreeSet<String>,
    /// Members that the others went on without, and that came back.
    pub(super) returns: u64,
    /// Times that somebody asked and did not get in.
    pub(super) refusals: u64,
}

impl<'a> Cluster<'a> {
    /// Founds a group, whose traces lie in `folder`.
    pub(super) fn found(options: &'a Options, seed: u64, folder: &Path, interrupt: &'a Interrupt) -> Result<Cluster<'a>, Halt> {
        let mut random = Random::new(mix(seed ^ 0xF0_07D));
        let load = Load {
            bytes_min: options.bytes.0,
            bytes_max: options.bytes.1,
            rate: options.rate,
            state_bytes: random.pick(&[0, 64 << 10, 1 << 20, 4 << 20]),
            suspect_after_ns: options.suspect_after.as_nanos() as u64,
            members_max: options.nodes + MEMBERS_EXTRA,
            seed,
        };
        let mut cluster = Cluster {
            options,
            interrupt,
            children: Processes::default(),
            key: ClusterKey::random(),
            load,
            folder: folder.to_owned(),
            random,
            processes: BTreeMap::new(),
            lives: Vec::new(),
            ranks: Vec::new(),
            loud: false,
            started: 0,
            reports: 0,
            dues: Vec::new(),
            traps: Vec::new(),
            wrong: Vec::new(),
            gave_up: Vec::new(),
            at_rest: false,
            skipped: BTreeSet::new(),
            returns: 0,
            refusals: 0,
        };
        let rendezvous = Rendezvous::open(options.nodes, IpAddr::V4(Ipv4Addr::LOCALHOST)).map_err(Halt::Failed)?;
        for rank in 0..options.nodes {
            let meeting = Some(rendezvous.meeting());
            cluster.start(Vec::new(), |job| Job { rank: rank as u32, meeting, ..job })?;
        }
        cluster.rest()?;
        Ok(cluster)
    }

    /// A life begins.
    fn begin(&mut self, contacts: Vec<SocketAddr>) -> (usize, Start) {
        let life = self.lives.len();
        let node = NodeId(1 + life as u64);
        let trace = self.folder.join(format!("{node}.trace"));
        self.lives.push(Life { node, trace: trace.clone(), fate: Fate::Lives });
        (life, Start { node, contacts, trace })
    }

    fn start(&mut self, contacts: Vec<SocketAddr>, with: impl FnOnce(Job) -> Job) -> Result<u32, Halt> {
        let (life, start) = self.begin(contacts);
        let number = self.started;
        self.started += 1;
        let chaos = ChaosJob { fabric: self.options.fabric, key: self.key.to_hex(), start, load: self.load };
        let nodes = self.options.nodes as u32;
        let job = Job { rank: 0, nodes, core: None, meeting: None, address: None, rdma: Default::default(), work: Work::Chaos(chaos) };
        self.children.start(number, &with(job)).map_err(Halt::Failed)?;
        let process = Process {
            life,
            standing: Standing::Coming,
            stopped: false,
            struck: false,
            behind: false,
            address: None,
            report: None,
            tries: 0,
        };
        self.processes.insert(number, process);
        Ok(number)
    }

    /// A process joins.
    fn join(&mut self) -> Result<u32, Halt> {
        let contacts = self.contacts();
        self.start(contacts, |job| job)
    }

    /// Where members listen, in any order.
    fn contacts(&mut self) -> Vec<SocketAddr> {
        let reachable = |process: &&Process| process.standing == Standing::Member && !process.stopped;
        let mut contacts: Vec<SocketAddr> = self.processes.values().filter(reachable).filter_map(|process| process.address).collect();
        for last in (1..contacts.len()).rev() {
            contacts.swap(last, self.random.below(last as u64 + 1) as usize);
        }
        contacts
    }

    /// Members, from the first that was started to the last.
    fn members(&self) -> Vec<u32> {
        let there = |process: &Process| process.standing == Standing::Member && !process.stopped;
        self.processes.iter().filter(|(_, process)| there(process)).map(|(number, _)| *number).collect()
    }

    /// How many processes there are.
    pub(super) fn size(&self) -> usize {
        self.processes.len()
    }

    /// Starts processes until there are as many as asked for, and waits until all are members with all their state, under load.
    pub(super) fn fill_up(&mut self) -> Result<(), Halt> {
        self.at_rest = false;
        self.set_loud(true)?;
        self.processes.values_mut().for_each(|process| (process.tries, process.struck) = (0, false));
        for _ in self.size()..self.options.nodes {
            self.join()?;
        }
        let all_in = |cluster: &Self| cluster.processes.values().all(|process| process.standing == Standing::Member && !process.behind);
        self.wait_until("all processes are members", all_in)
    }

    /// Lets everything happen that is to happen in a round.
    pub(super) fn apply(&mut self, strikes: &[Strike]) -> Result<(), Halt> {
        let began = Instant::now();
        self.dues = strikes.iter().map(|strike| (began + strike.at, Due::Strike(*strike))).collect();
        let end = Instant::now() + self.options.patience;
        while !(self.dues.is_empty() && self.traps.is_empty()) && Instant::now() < end {
            self.dues.sort_by_key(|(at, _)| *at);
            match self.dues.first().copied() {
                Some((at, due)) if at <= Instant::now() => {
                    self.dues.remove(0);
                    self.act(due)?;
                }
                next => self.listen(next.map_or(end, |(at, _)| at).min(end))?,
            }
        }
        // A newcomer that never came in is found when nothing comes to rest.
        self.traps.clear();
        let until = Instant::now() + AFTERMATH;
        while Instant::now() < until {
            self.listen(until)?;
        }
        Ok(())
    }

    fn act(&mut self, due: Due) -> Result<(), Halt> {
        match due {
            Due::Strike(strike) => self.strike(&strike),
            Due::GoOn(number) => {
                if let Some(process) = self.processes.get_mut(&number) {
                    process.stopped = false;
                    self.children.set_running(number, true);
                }
                Ok(())
            }
            Due::Kill(number) => {
                self.kill(number);
                Ok(())
            }
        }
    }

    fn strike(&mut self, strike: &Strike) -> Result<(), Halt> {
        let members = self.members();
        let pick = |choice: u64| (!members.is_empty()).then(|| members[(choice % members.len() as u64) as usize]);
        match strike.fault {
            Fault::Kill { count } => {
                let first = strike.choice as usize % members.len().max(1);
                let victims: Vec<u32> = members.iter().cycle().skip(first).take(count.min(members.len())).copied().collect();
                victims.into_iter().for_each(|victim| self.kill(victim));
            }
            Fault::Stop { lasts } => {
                if let Some(number) = pick(strike.choice) {
                    self.processes.entry(number).and_modify(|process| (process.stopped, process.struck) = (true, true));
                    self.children.set_running(number, false);
                    self.dues.push((Instant::now() + lasts, Due::GoOn(number)));
                }
            }
            Fault::Cut { all } => self.cut(&members, strike.choice, all),
            Fault::Join => drop(self.join()?),
            Fault::Leave => {
                if let Some(number) = pick(strike.choice) {
                    self.processes.entry(number).and_modify(|process| process.standing = Standing::Leaving);
                    self.tell(number, &Order::Leave)?;
                }
            }
            Fault::Transfer { giver, after } => {
                let newcomer = self.join()?;
                self.traps.push(Trap { newcomer, giver, after });
            }
        }
        Ok(())
    }

    fn cut(&mut self, members: &[u32], choice: u64, all: bool) {
        let [_, _, ..] = members else { return };
        let count = members.len() as u64;
        let first = choice % count;
        let second = (first + 1 + (choice >> 32) % (count - 1)) % count;
        let (first, second) = (members[first as usize], members[second as usize]);
        for number in [first, second] {
            self.processes.entry(number).and_modify(|process| process.struck = true);
        }
        let Some((first, second)) = self.children.id(first).zip(self.children.id(second)) else { return };
        if let Err(reason) = cut::cut(first, second, all, choice >> 16) {
            self.skipped.insert(format!("cut: {reason}"));
        }
    }

    fn kill(&mut self, number: u32) {
        if let Some(process) = self.processes.remove(&number) {
            self.children.kill(number);
            self.lives[process.life].fate = Fate::Killed;
        }
    }

    fn tell(&mut self, number: u32, order: &Order) -> Result<(), Halt> {
        self.children.tell(number, order).map_err(Halt::Failed)
    }

    fn tell_all(&mut self, order: &Order) -> Result<(), Halt> {
        let numbers: Vec<u32> = self.processes.keys().copied().collect();
        numbers.into_iter().try_for_each(|number| self.tell(number, order))
    }

    fn set_loud(&mut self, loud: bool) -> Result<(), Halt> {
        self.loud = loud;
        self.tell_all(if loud { &Order::Load } else { &Order::Quiet })
    }

    /// Stops the load and waits until every process is in one view with all others, with everything delivered.
    pub(super) fn rest(&mut self) -> Result<(), Halt> {
        self.set_loud(false)?;
        let end = Instant::now() + self.options.patience;
        loop {
            self.reports += 1;
            self.processes.values_mut().for_each(|process| process.report = None);
            self.tell_all(&Order::Report(self.reports))?;
            let answered = |cluster: &Self| cluster.processes.values().all(|process| process.report.is_some());
            let again = Instant::now() + 25 * REST_EVERY;
            while !answered(self) && Instant::now() < again {
                self.listen(again)?;
            }
            if self.rests() {
                self.at_rest = true;
                return Ok(());
            }
            if self.is_over() {
                return Err(Halt::Violated);
            }
            if Instant::now() >= end {
                self.wrong.push(format!("property 25 (ViewProgress): nothing came to rest in {} s", self.options.patience.as_secs()));
                let states: Vec<String> = self.processes.iter().map(|(number, process)| self.describe(*number, process)).collect();
                self.wrong.extend(states);
                return Err(Halt::Violated);
            }
            let pause = Instant::now() + REST_EVERY;
            while Instant::now() < pause {
                self.listen(pause)?;
            }
        }
    }

    fn rests(&mut self) -> bool {
        let reports: Option<Vec<&Report>> = self.processes.values().map(|process| process.report.as_ref()).collect();
        let Some(reports) = reports else { return false };
        let Some(first) = reports.first() else { return true };
        let same = |report: &&Report| {
            !report.behind && report.owed == 0 && (report.view, report.count, report.chain) == (first.view, first.count, first.chain)
        };
        let alive: BTreeSet<NodeId> = self.processes.values().map(|process| self.lives[process.life].node).collect();
        let settled = self.processes.values().all(|process| process.standing == Standing::Member);
        let whole = first.members.iter().copied().collect::<BTreeSet<NodeId>>() == alive;
        let rests = settled && whole && reports.iter().all(same);
        if rests {
            self.ranks = first.members.clone();
        }
        rests
    }

    /// Whether this group has no future.
    fn is_over(&self) -> bool {
        !self.wrong.is_empty() || !self.gave_up.is_empty()
    }

    /// For people.
    fn describe(&self, number: u32, process: &Process) -> String {
        let node = self.lives[process.life].node;
        let known = process.report.as_ref().map_or_else(
            || "says nothing".to_owned(),
            |report| {
                let members: Vec<u64> = report.members.iter().map(|node| node.0).collect();
                let behind = if report.behind { ", waits for its state" } else { "" };
                format!("in view {} of {members:?}, {} delivered, owes {}{behind}", report.view, report.count, report.owed)
            },
        );
        format!("process {number}, {:?} as {node}: {known}", process.standing)
    }

    fn wait_until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<(), Halt> {
        let end = Instant::now() + self.options.patience;
        while !holds(self) {
            if self.is_over() {
                return Err(Halt::Violated);
            }
            if Instant::now() >= end {
                self.wrong.push(format!("property 28 (JoinProgress): not so within {} s: {what}", self.options.patience.as_secs()));
                let states: Vec<String> = self.processes.iter().map(|(number, process)| self.describe(*number, process)).collect();
                self.wrong.extend(states);
                return Err(Halt::Violated);
            }
            self.listen(end)?;
        }
        Ok(())
    }

    /// Takes in one piece of news, if one comes before `until`, or soon.
    fn listen(&mut self, until: Instant) -> Result<(), Halt> {
        if self.interrupt.is_set() {
            return Err(Halt::Interrupted);
        }
        let heard = self.children.news(until.min(Instant::now() + LOOK_EVERY));
        let Some((number, reply)) = heard else { return Ok(()) };
        if !self.processes.contains_key(&number) {
            return Ok(());
        }
        match reply {
            Some(Reply::Done(bytes)) => match frame::decode(&bytes) {
                Ok(news) => self.hear(number, news),
                Err(error) => Err(Halt::Failed(format!("process {number}: {error}"))),
            },
            Some(Reply::Failed(what)) => {
                self.wrong.push(format!("process {number} failed: {what}"));
                self.processes.remove(&number);
                Ok(())
            }
            Some(Reply::Ready(_)) => Ok(()),
            None => {
                self.ended(number);
                Ok(())
            }
        }
    }

    /// A process has closed its line.
    fn ended(&mut self, number: u32) {
        let Some(process) = self.processes.remove(&number) else { return };
        let last = self.children.reap(number).map_or_else(String::new, |(status, words)| format!(" ({status}): {words}"));
        self.wrong.push(format!("process {number} ended by itself{last}"));
        self.lives[process.life].fate = Fate::Killed;
    }

    fn hear(&mut self, number: u32, news: News) -> Result<(), Halt> {
        let Some(process) = self.processes.get_mut(&number) else { return Ok(()) };
        let current = self.lives[process.life].node;
        match news {
            News::In { node, address, behind, .. } if node == current => {
                let first = process.standing == Standing::Coming;
                (process.address, process.behind) = (Some(address), behind);
                if first {
                    process.standing = Standing::Member;
                    self.spring(number);
                    if self.loud {
                        self.tell(number, &Order::Load)?;
                    }
                }
                Ok(())
            }
            News::Report(report) if report.number == self.reports => {
                process.report = Some(report);
                Ok(())
            }
            News::Out { node, how, reason } if node == current => self.part(number, how, &reason),
            News::TraceLost(reason) => Err(Halt::Failed(format!(
                "a trace cannot be written, so this cannot be checked: {reason}; free some space, or give another folder by --out"
            ))),
            News::In { .. } | News::Report(_) | News::Out { .. } => Ok(()),
        }
    }

    /// A newcomer is in: whoever waited for that strikes soon.
    fn spring(&mut self, newcomer: u32) {
        let sprung: Vec<Trap> = self.traps.extract_if(.., |trap| trap.newcomer == newcomer).collect();
        for trap in sprung {
            let by_node = |node: &NodeId| {
                let is_it = |process: &&u32| self.lives[self.processes[process].life].node == *node;
                self.processes.keys().find(is_it).copied()
            };
            // The first by rank gives.
            let victim = if trap.giver { self.ranks.iter().find_map(by_node) } else { Some(newcomer) };
            self.dues.extend(victim.map(|victim| (Instant::now() + trap.after, Due::Kill(victim))));
        }
    }

    /// A process is no member any more.
    fn part(&mut self, number: u32, how: Parting, reason: &str) -> Result<(), Halt> {
        let Some(process) = self.processes.get_mut(&number) else { return Ok(()) };
        self.lives[process.life].fate = Fate::Over;
        let leaves = process.standing == Standing::Leaving;
        match how {
            Parting::Left | Parting::Excluded | Parting::Alone if leaves => {
                self.processes.remove(&number);
                self.children.tell(number, &Order::Finish).map_err(Halt::Failed)?;
                self.children.reap(number);
                return Ok(());
            }
            Parting::Excluded => self.returns += 1,
            // Whoever lost its links, or comes to when they are gone, cannot know more.
            Parting::Alone if process.struck => self.returns += 1,
            Parting::NotIn => {
                process.tries += 1;
                self.refusals += 1;
                if process.tries >= TRIES_MAX {
                    self.wrong.push(format!("property 28 (JoinProgress): process {number} did not get in: {reason}"));
                    return Ok(());
                }
            }
            Parting::Alone | Parting::StateLost => {
                self.gave_up.push(format!("process {number} gave up, although fewer than half were lost: {reason}"));
                return Ok(());
            }
            Parting::Left | Parting::Ended => {
                self.wrong.push(format!("process {number} stopped: {reason}"));
                return Ok(());
            }
        }
        (process.standing, process.address, process.behind) = (Standing::Coming, None, false);
        let contacts = self.contacts();
        let (life, start) = self.begin(contacts);
        self.processes.entry(number).and_modify(|process| process.life = life);
        self.tell(number, &Order::Return(start))
    }
}
