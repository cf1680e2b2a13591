//! One group of processes: started, loaded, struck by faults, and brought to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use squall_transport::exchange::ClusterKey;
use squall_transport::sim::{Random, mix};
use squall_transport::{NodeId, Ports};

use super::evidence::{Fate, Life};
use super::options::Options;
use super::process_state::{Due, Process, Standing, Trap};
use super::witness::Witness;
use crate::jobs::chaos::{ChaosJob, Load, News, Order, Parting, Start};
use crate::jobs::control::Reply;
use crate::jobs::frame;
use crate::jobs::job::{Job, Work};
use crate::jobs::os;
use crate::run::interrupt::Interrupt;
use crate::run::processes::Processes;
use crate::run::rendezvous::Rendezvous;

/// How often a wait looks whether it was interrupted.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Times that a process may fail to get in, in one round.
const TRIES_MAX: u32 = 8;

/// Members above the number asked for that the buffers suffice for.
const MEMBERS_EXTRA: usize = 8;

/// Why a group does not go on.
#[derive(Debug)]
pub(super) enum Halt {
    /// The user wants an end.
    Interrupted,
    /// This cannot go on, whatever the group does.
    Failed(String),
    /// A property is broken.
    Violated,
}

/// One group.
pub(super) struct Cluster<'a> {
    pub(super) options: &'a Options,
    pub(super) interrupt: &'a Interrupt,
    pub(super) children: Processes,
    pub(super) key: ClusterKey,
    pub(super) witness: Option<Witness>,
    pub(super) load: Load,
    pub(super) folder: PathBuf,
    pub(super) random: Random,
    pub(super) processes: BTreeMap<u32, Process>,
    /// All lives of all processes so far.
    pub(super) lives: Vec<Life>,
    pub(super) loud: bool,
    pub(super) started: u32,
    pub(super) reports: u64,
    pub(super) dues: Vec<(Instant, Due)>,
    pub(super) traps: Vec<Trap>,
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
        let key = ClusterKey::random();
        let file = folder.join("witness");
        let witness = options.has_witness.then(|| Witness::start(&key, &file)).transpose().map_err(Halt::Failed)?;
        let load = Load {
            ordering: options.ordering,
            bytes_min: options.bytes.0,
            bytes_max: options.bytes.1,
            rate: options.rate,
            state_bytes: random.pick(&options.state_bytes),
            witness: None,
            own_core: options.nodes <= os::cores().len(),
            suspect_after_ns: options.suspect_after.as_nanos() as u64,
            members_max: options.nodes + MEMBERS_EXTRA,
            seed,
        };
        let mut cluster = Cluster {
            options,
            interrupt,
            children: Processes::default(),
            key,
            witness,
            load,
            folder: folder.to_owned(),
            random,
            processes: BTreeMap::new(),
            lives: Vec::new(),
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
        let rendezvous = Rendezvous::of_this_host(options.nodes).map_err(Halt::Failed)?;
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
        let load = Load { witness: self.witness.as_ref().map(Witness::address), ..self.load };
        let chaos = ChaosJob { fabric: self.options.fabric, key: self.key.to_hex(), start, load };
        let nodes = self.options.nodes as u32;
        let job = Job {
            ports: Ports::ANY,
            rank: 0,
            nodes,
            core: None,
            meeting: None,
            address: None,
            rdma: self.options.rdma.clone(),
            lost_after: None,
            work: Work::Chaos(chaos),
        };
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

    /// A process joins; it, and the member that it asks first, which gives it the state.
    pub(super) fn join(&mut self) -> Result<(u32, Option<u32>), Halt> {
        let contacts = self.contacts();
        let first = contacts.first().copied();
        let giver = self.processes.iter().find(|(_, process)| process.address.is_some() && process.address == first);
        let giver = giver.map(|(number, _)| *number);
        Ok((self.start(contacts, |job| job)?, giver))
    }

    /// Where members listen, in any order: those that run, or if there are none whoever will.
    pub(super) fn contacts(&mut self) -> Vec<SocketAddr> {
        let addresses = |runs: bool| {
            let wanted = |process: &&Process| process.standing == Standing::Member && (!process.stopped || !runs);
            self.processes.values().filter(wanted).filter_map(|process| process.address).collect::<Vec<SocketAddr>>()
        };
        let mut contacts = addresses(true);
        if contacts.is_empty() {
            contacts = addresses(false);
        }
        for last in (1..contacts.len()).rev() {
            contacts.swap(last, self.random.below(last as u64 + 1) as usize);
        }
        contacts
    }

    /// Members, from the first that was started to the last.
    pub(super) fn members(&self) -> Vec<u32> {
        let there = |process: &Process| process.standing == Standing::Member && !process.stopped;
        self.processes.iter().filter(|(_, process)| there(process)).map(|(number, _)| *number).collect()
    }

    /// How many processes there are.
    pub(super) fn size(&self) -> usize {
        self.processes.len()
    }

    pub(super) fn kill(&mut self, number: u32) {
        if let Some(process) = self.processes.remove(&number) {
            self.children.kill(number);
            self.lives[process.life].fate = Fate::Killed;
        }
    }

    /// Stops everybody where it is, so that what they wrote down fits together.
    pub(super) fn freeze(&self) {
        self.processes.keys().for_each(|number| self.children.set_running(*number, false));
    }

    pub(super) fn tell(&mut self, number: u32, order: &Order) -> Result<(), Halt> {
        self.children.tell(number, order).map_err(Halt::Failed)
    }

    pub(super) fn tell_all(&mut self, order: &Order) -> Result<(), Halt> {
        let numbers: Vec<u32> = self.processes.keys().copied().collect();
        numbers.into_iter().try_for_each(|number| self.tell(number, order))
    }

    pub(super) fn set_loud(&mut self, loud: bool) -> Result<(), Halt> {
        self.loud = loud;
        self.tell_all(if loud { &Order::Load } else { &Order::Quiet })
    }

    /// Whether this group has no future.
    pub(super) fn is_over(&self) -> bool {
        !self.wrong.is_empty() || !self.gave_up.is_empty()
    }

    /// Takes in one piece of news, if one comes before `until`, or soon.
    pub(super) fn listen(&mut self, until: Instant) -> Result<(), Halt> {
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
            Some(Reply::Ready(_) | Reply::Live(_)) => Ok(()),
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
