//! The first host's end of the control connections: one thread that owns the rendezvous.
//!
//! ```text
//!   Hosts --Command--> Switchboard --ToAgent--> agents
//!         <--GatherNews, news of listeners, clocks, facts--   <--FromAgent--
//! ```

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use squall_transport::Rank;
use squall_transport::exchange::{LeaveReason, Place, RendezvousServer, ServerEvent};

use super::bell::Bell;
use super::clock::Clock;
use super::talk::{Answer, FromAgent, Greeting, Hello, Question, ToAgent, decode, encode};
use crate::jobs::os::now_ns;
use crate::run::news::{End, News};
use squall_report::environment::Throttled;

/// How often an agent is asked whether it is there.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long either side may be silent before the other gives it up.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(10);
/// How long an agent may take from its connection to its hello.
const GREETING_MAX: Duration = Duration::from_secs(10);
/// Questions asked of a clock; the answer that came fastest counts.
const CLOCK_QUESTIONS: u32 = 8;
/// How long they may take.
const CLOCK_PATIENCE: Duration = Duration::from_secs(1);
/// How long agents may take to say goodbye.
const FAREWELL: Duration = Duration::from_secs(3);

/// What the switchboard is to do.
pub(super) enum Command {
    /// Tell an agent something.
    Tell { rank: usize, message: ToAgent },
    /// A point of the first `nodes` hosts begins; whoever runs it wants news of them.
    Begin { point: u64, nodes: usize, news: Sender<(usize, News)> },
    /// It is over: every agent ends its node.
    End { point: u64 },
    /// Ask for the clocks of the first `nodes` hosts.
    Clocks { nodes: usize, answer: Sender<Vec<Option<Clock>>> },
    /// Ask agents something; one thing at a time.
    Ask { questions: Vec<(usize, Question)>, answer: Sender<Answered> },
    /// Say goodbye, with the reason if the run failed, and end.
    Close(Option<String>),
}

/// A host's rank and what it answers, or why it does not.
pub(super) type Answered = (usize, Result<Answer, String>);

/// What is heard while the hosts gather.
pub(super) enum GatherNews {
    /// For people.
    Line(String),
    /// A host is here.
    Here(usize),
    /// They will not all come.
    Failed(String),
}

/// What others know of a host.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// Where it is, once it has come.
    pub(super) address: Option<SocketAddr>,
    /// Why it is lost, if it is.
    pub(super) lost: Option<String>,
    /// How far a quota of processor time had held it back when it last answered.
    pub(super) throttled: Throttled,
}

struct Seat {
    state: State,
    heard: Instant,
    /// Its own reason to leave.
    said: Option<String>,
    probe: Option<Probe>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Greeting,
    Here,
    Lost,
}

/// Questions asked of a clock.
struct Probe {
    id: u64,
    sent_ns: u64,
    left: u32,
    best: Option<Clock>,
}

struct Sampling {
    nodes: usize,
    answer: Sender<Vec<Option<Clock>>>,
    deadline: Instant,
}

pub(super) struct Switchboard {
    pub(super) server: RendezvousServer,
    pub(super) bell: Arc<Bell>,
    pub(super) commands: Receiver<Command>,
    pub(super) gatherer: Sender<GatherNews>,
    pub(super) standings: Arc<Mutex<Vec<Standing>>>,
    hello: Hello,
    seats: Vec<Seat>,
    gathered: bool,
    listeners: HashMap<u64, (usize, Sender<(usize, News)>)>,
    sampling: Option<Sampling>,
    asking: Option<Sender<Answered>>,
    next_ping: u64,
    next_heartbeat: Instant,
    closing: Option<Instant>,
}

impl Switchboard {
    /// For `nodes` hosts, of which this is the first.
    pub(super) fn new(
        server: RendezvousServer,
        nodes: u32,
        bell: Arc<Bell>,
        commands: Receiver<Command>,
        gatherer: Sender<GatherNews>,
        standings: Arc<Mutex<Vec<Standing>>>,
    ) -> Switchboard {
        let now = Instant::now();
        let seat = |rank| Seat { state: if rank == 0 { State::Here } else { State::Absent }, heard: now, said: None, probe: None };
        Switchboard {
            server,
            bell,
            commands,
            gatherer,
            standings,
            hello: Hello::of(nodes, true),
            seats: (0..nodes).map(seat).collect(),
            gathered: nodes == 1,
            listeners: HashMap::new(),
            sampling: None,
            asking: None,
            next_ping: 0,
            next_heartbeat: now + HEARTBEAT,
            closing: None,
        }
    }

    /// Serves until it is closed.
    pub(super) fn serve(mut self) {
        loop {
            let bell = Arc::clone(&self.bell);
            let events = match self.server.poll_beside(self.pause(), bell.as_fd()) {
                Ok(events) => events,
                Err(error) => return self.lose_all(&format!("the first host cannot wait for its connections: {error}")),
            };
            self.bell.silence();
            for event in events {
                self.take(event);
            }
            loop {
                match self.commands.try_recv() {
                    Ok(command) => self.obey(command),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            self.expire(Instant::now());
            if self.closing.is_some_and(|deadline| self.agents().next().is_none() || Instant::now() >= deadline) {
                return;
            }
        }
    }

    /// Until something is due.
    fn pause(&self) -> Duration {
        let due = [self.sampling.as_ref().map(|sampling| sampling.deadline), self.closing];
        let next = due.into_iter().flatten().fold(self.next_heartbeat, Instant::min);
        next.saturating_duration_since(Instant::now())
    }

    /// Ranks of the agents that are here.
    fn agents(&self) -> impl Iterator<Item = usize> + '_ {
        (1..self.seats.len()).filter(|&rank| self.seats[rank].state == State::Here)
    }

    fn tell(&mut self, rank: usize, message: &ToAgent) {
        if self.seats[rank].state == State::Here {
            // If it has left, its leaving is or will be noticed.
            let _ = self.server.send(Rank::new(rank), &encode(message));
        }
    }

    fn say(&self, line: String) {
        // Nobody listens once all are here.
        let _ = self.gatherer.send(GatherNews::Line(line));
    }

    fn take(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Joined { rank, address, .. } => {
                let rank = rank.index();
                self.seats[rank] = Seat { state: State::Greeting, heard: Instant::now(), said: None, probe: None };
                let address = if let Place::Ip(address) = address { Some(address) } else { None };
                self.standing(rank, |standing| standing.address = address);
            }
            ServerEvent::Message { rank, bytes } => {
                let rank = rank.index();
                self.seats[rank].heard = Instant::now();
                match self.seats[rank].state {
                    State::Greeting => self.greet(rank, &bytes),
                    State::Here => match decode(&bytes) {
                        Ok(message) => self.hear(rank, message),
                        Err(what) => self.part_with(rank, &format!("it sent {what}")),
                    },
                    State::Absent | State::Lost => {}
                }
            }
            ServerEvent::Left { rank, reason } => {
                let rank = rank.index();
                let why = match (self.seats[rank].said.take(), reason) {
                    (Some(said), _) => said,
                    (None, LeaveReason::Finished) => "it left".to_owned(),
                    (None, reason) => format!("its agent is gone ({reason})"),
                };
                self.lose(rank, &why);
            }
            ServerEvent::Refused { address, reason } => self.say(match address.ip() {
                Some(host) => format!("refused {host}: {reason}"),
                None => format!("refused {address}: {reason}"),
            }),
            ServerEvent::RefusedMore { count } => self.say(format!("refused {count} connections more")),
            ServerEvent::AcceptFailed { reason } => self.say(format!("cannot accept connections: {reason}")),
            ServerEvent::JoinTimedOut { .. } | ServerEvent::GatherFailed { .. } => {}
        }
    }

    /// An agent's first words.
    fn greet(&mut self, rank: usize, bytes: &[u8]) {
        let hello =
            serde_json::from_slice::<Hello>(bytes).map_err(|_| "it does not greet as a host does: is it another program?".to_owned());
        let checked = hello.and_then(|theirs| self.hello.check(&theirs));
        let checked = if self.gathered { Err("the run has begun without it".to_owned()) } else { checked };
        let greeting = match &checked {
            Ok(()) => Greeting::Accepted,
            Err(why) => Greeting::Refused(why.clone()),
        };
        let greeting = serde_json::to_vec(&greeting).expect("a greeting is plain data");
        // If it has left, its leaving is or will be noticed.
        let _ = self.server.send(Rank::new(rank), &greeting);
        match checked {
            Ok(()) => {
                self.seats[rank].state = State::Here;
                self.gathered = self.seats.iter().all(|seat| seat.state == State::Here);
                // Nobody listens once all are here.
                let _ = self.gatherer.send(GatherNews::Here(rank));
            }
            Err(why) => {
                self.say(format!("refused rank {rank} at {}: {why}", self.place(rank)));
                self.seats[rank].state = State::Absent;
                self.server.turn_away(Rank::new(rank));
            }
        }
    }

    fn hear(&mut self, rank: usize, message: FromAgent) {
        match message {
            FromAgent::Pong { id, now_ns, throttled: (periods, waited_ns) } => {
                self.standing(rank, |standing| standing.throttled = Throttled { periods, waited_ns });
                self.answered(rank, id, now_ns);
            }
            FromAgent::Answer(answer) => {
                if let Some(asking) = &self.asking {
                    // Nobody listens if it took too long.
                    let _ = asking.send((rank, Ok(answer)));
                }
            }
            FromAgent::Reply { point, reply } => self.tell_run(point, rank, News::Reply(reply)),
            FromAgent::Gone { point, status, stderr } => {
                let end = End { status: status.map(ExitStatus::from_raw), stderr, lost: None };
                self.tell_run(point, rank, News::Gone(Some(end)));
            }
            FromAgent::Leaving(why) => self.seats[rank].said = Some(why),
        }
    }

    fn tell_run(&self, point: u64, rank: usize, news: News) {
        if let Some((_, listener)) = self.listeners.get(&point) {
            // Nobody listens if the point is just ending.
            let _ = listener.send((rank, news));
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Tell { rank, message } => self.tell(rank, &message),
            Command::Begin { point, nodes, news } => {
                for rank in (1..nodes).filter(|&rank| self.seats[rank].state == State::Lost) {
                    let lost = self.standings.lock().unwrap_or_else(PoisonError::into_inner)[rank].lost.clone();
                    // As above.
                    let _ = news.send((rank, News::Gone(Some(End { status: None, stderr: String::new(), lost }))));
                }
                self.listeners.insert(point, (nodes, news));
            }
            Command::End { point } => {
                if let Some((nodes, _)) = self.listeners.remove(&point) {
                    (1..nodes).for_each(|rank| self.tell(rank, &ToAgent::End { point }));
                }
            }
            Command::Clocks { nodes, answer } => {
                let ranks: Vec<usize> = self.agents().filter(|&rank| rank < nodes).collect();
                self.sampling = Some(Sampling { nodes, answer, deadline: Instant::now() + CLOCK_PATIENCE });
                ranks.into_iter().for_each(|rank| self.ask_clock(rank, CLOCK_QUESTIONS, None));
                self.finish_sampling(false);
            }
            Command::Ask { questions, answer } => {
                self.asking = Some(answer);
                questions.into_iter().for_each(|(rank, question)| self.tell(rank, &ToAgent::Ask(question)));
            }
            Command::Close(why) => {
                let ranks: Vec<usize> = self.agents().collect();
                ranks.into_iter().for_each(|rank| self.tell(rank, &ToAgent::Goodbye(why.clone())));
                self.closing = Some(Instant::now() + FAREWELL);
            }
        }
    }

    fn ask_clock(&mut self, rank: usize, left: u32, best: Option<Clock>) {
        self.next_ping += 1;
        let id = self.next_ping;
        self.seats[rank].probe = Some(Probe { id, sent_ns: now_ns(), left, best });
        self.tell(rank, &ToAgent::Ping(id));
    }

    fn answered(&mut self, rank: usize, id: u64, answered_ns: u64) {
        let received_ns = now_ns();
        let Some(probe) = self.seats[rank].probe.take_if(|probe| probe.id == id) else { return };
        let clock = Clock::of(probe.sent_ns, answered_ns, received_ns).or_better(probe.best);
        if probe.left > 1 {
            self.ask_clock(rank, probe.left - 1, Some(clock));
        } else {
            self.seats[rank].probe = Some(Probe { left: 0, best: Some(clock), ..probe });
            self.finish_sampling(false);
        }
    }

    /// Gives the clocks to who asked, if all are known or there is no time left.
    fn finish_sampling(&mut self, now: bool) {
        let Some(sampling) = &self.sampling else { return };
        let is_open =
            |rank: usize| self.seats[rank].state == State::Here && self.seats[rank].probe.as_ref().is_some_and(|probe| probe.left > 0);
        if !now && (1..sampling.nodes).any(is_open) {
            return;
        }
        let known = |rank: usize| if rank == 0 { Some(Clock::default()) } else { self.seats[rank].probe.as_ref()?.best };
        // Nobody listens if the point is just ending.
        let _ = sampling.answer.send((0..sampling.nodes).map(known).collect());
        self.seats.iter_mut().for_each(|seat| seat.probe = None);
        self.sampling = None;
    }

    fn expire(&mut self, now: Instant) {
        if self.sampling.as_ref().is_some_and(|sampling| now >= sampling.deadline) {
            self.finish_sampling(true);
        }
        if now < self.next_heartbeat {
            return;
        }
        self.next_heartbeat = now + HEARTBEAT;
        for rank in 1..self.seats.len() {
            let silent = now.duration_since(self.seats[rank].heard);
            match self.seats[rank].state {
                State::Here if silent >= SILENCE_MAX => {
                    let seconds = silent.as_secs();
                    self.part_with(
                        rank,
                        &format!("it has been silent for {seconds} s: is its host down, or the network, or its agent stopped?"),
                    );
                }
                State::Here => {
                    self.next_ping += 1;
                    self.tell(rank, &ToAgent::Ping(self.next_ping));
                }
                State::Greeting if silent >= GREETING_MAX => {
                    self.say(format!("refused rank {rank} at {}: it has the key, but does not greet", self.place(rank)));
                    self.seats[rank].state = State::Absent;
                    self.server.turn_away(Rank::new(rank));
                }
                State::Greeting | State::Absent | State::Lost => {}
            }
        }
    }

    /// Closes the connection of an agent that is of no use any more.
    fn part_with(&mut self, rank: usize, why: &str) {
        self.lose(rank, why);
        self.server.turn_away(Rank::new(rank));
    }

    fn lose(&mut self, rank: usize, why: &str) {
        let before = std::mem::replace(&mut self.seats[rank].state, State::Lost);
        if self.closing.is_some() || matches!(before, State::Absent | State::Lost) {
            return;
        }
        self.standing(rank, |standing| standing.lost = Some(why.to_owned()));
        if !self.gathered {
            // Nobody listens once gathering has failed.
            let _ = self.gatherer.send(GatherNews::Failed(format!("rank {rank} at {}: {why}", self.place(rank))));
        }
        for (_, listener) in self.listeners.values().filter(|(nodes, _)| rank < *nodes) {
            let end = End { status: None, stderr: String::new(), lost: Some(why.to_owned()) };
            // Nobody listens if the point is just ending.
            let _ = listener.send((rank, News::Gone(Some(end))));
        }
        if let Some(asking) = &self.asking {
            let _ = asking.send((rank, Err(why.to_owned())));
        }
        self.finish_sampling(false);
    }

    fn lose_all(&mut self, why: &str) {
        (1..self.seats.len()).for_each(|rank| self.lose(rank, why));
    }

    fn standing(&self, rank: usize, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standings.lock().unwrap_or_else(PoisonError::into_inner)[rank]);
    }

    fn place(&self, rank: usize) -> String {
        let standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        standings[rank].address.map_or_else(|| "an unknown address".to_owned(), |address| address.ip().to_string())
    }
}
