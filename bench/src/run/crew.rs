//! The child processes of one point: started, ordered about, watched, and ended whatever happens.

use std::io::{self, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::{Fault, Obituary};
use super::interrupt::Interrupt;
use super::rendezvous::Rendezvous;
use super::stderr_tail::StderrTail;
use crate::node::control::Reply;
use crate::node::job::{Job, Work};
use crate::node::{PARENT_VARIABLE, frame};

/// How often a wait looks whether it was interrupted.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long nodes that are well are listened to after one failed, to learn which failed first.
const INQUEST: Duration = Duration::from_millis(700);
/// How long nodes may take to end by themselves.
const LEAVE: Duration = Duration::from_secs(3);

/// The nodes of one point, each a child process. Dropping it ends them all.
pub struct Crew<'a> {
    members: Vec<Member>,
    news: Receiver<(usize, News)>,
    interrupt: &'a Interrupt,
    rendezvous: Option<Rendezvous>,
    notices: Vec<String>,
}

struct Member {
    process: Child,
    stdin: Option<ChildStdin>,
    stderr: StderrTail,
}

enum News {
    Reply(Reply),
    Gone,
}

/// What the nodes of a point are to do.
pub struct Muster {
    /// The work of each node, by rank.
    pub works: Vec<Work>,
    /// The core of each node, by rank.
    pub cores: Vec<Option<usize>>,
    /// Whether they meet to open a fabric.
    pub meet: bool,
}

impl<'a> Crew<'a> {
    /// Starts the nodes and waits until all are set up.
    ///
    /// Call it from a thread that lives as long as the crew: the kernel ends children with the thread that made them.
    ///
    /// # Errors
    /// If a node cannot be started, fails, or is not ready by `deadline`.
    pub fn start(muster: Muster, interrupt: &'a Interrupt, deadline: Instant) -> Result<Crew<'a>, Fault> {
        let (sender, news) = mpsc::channel();
        let nodes = muster.works.len();
        let rendezvous = if muster.meet { Some(Rendezvous::open(nodes).map_err(Fault::Failed)?) } else { None };
        let mut crew = Crew { members: Vec::with_capacity(nodes), news, interrupt, rendezvous, notices: Vec::new() };
        for (rank, work) in muster.works.into_iter().enumerate() {
            let meeting = crew.rendezvous.as_ref().map(Rendezvous::meeting);
            let core = muster.cores.get(rank).copied().flatten();
            let job = Job { rank: rank as u32, nodes: nodes as u32, core, meeting, work };
            let member = Member::start(rank, &sender).map_err(|error| Fault::Failed(format!("cannot start node {rank}: {error}")))?;
            crew.members.push(member);
            crew.tell(rank, &job)?;
        }
        drop(sender);
        let ready = crew.replies(deadline)?;
        for (rank, reply) in ready.into_iter().enumerate() {
            let Reply::Ready(notices) = reply else {
                return Err(Fault::Failed(format!("node {rank} answered before it was asked")));
            };
            crew.notices.extend(notices.into_iter().map(|notice| format!("node {rank}: {notice}")));
        }
        // Every link stands: nobody meets any more.
        crew.rendezvous = None;
        Ok(crew)
    }

    /// What the nodes could not have as asked.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// Process ids, by rank.
    pub fn ids(&self) -> Vec<u32> {
        self.members.iter().map(|member| member.process.id()).collect()
    }

    /// Orders every node to do `order` and waits for all results, by rank.
    ///
    /// # Errors
    /// If a node fails, dies, or has not answered by `deadline`; or the user interrupts.
    pub fn run<R: DeserializeOwned>(&mut self, order: &impl Serialize, deadline: Instant) -> Result<Vec<R>, Fault> {
        for rank in 0..self.members.len() {
            self.tell(rank, order)?;
        }
        let replies = self.replies(deadline)?;
        let results = replies.into_iter().enumerate().map(|(rank, reply)| match reply {
            Reply::Done(bytes) => frame::decode(&bytes).map_err(|error| Fault::Failed(format!("node {rank}: {error}"))),
            _ => Err(Fault::Failed(format!("node {rank} answered something else than was asked"))),
        });
        results.collect()
    }

    /// Gives `order`, after which the nodes end by themselves, and sees to it that they do.
    pub fn dismiss(mut self, order: &impl Serialize) {
        for rank in 0..self.members.len() {
            if self.tell(rank, order).is_err() {
                return;
            }
        }
        let deadline = Instant::now() + LEAVE;
        let mut left = self.members.len();
        while left > 0 && !self.interrupt.is_set() {
            match self.news.recv_timeout(deadline.saturating_duration_since(Instant::now()).min(LOOK_EVERY)) {
                Ok((_, News::Gone)) => left -= 1,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {}
                Err(_) => return,
            }
        }
        for member in &mut self.members {
            // Its pipe is closed, so it is ending: this takes no time.
            let _ = member.process.wait();
        }
    }

    fn tell(&mut self, rank: usize, order: &impl Serialize) -> Result<(), Fault> {
        let member = &mut self.members[rank];
        let Some(stdin) = member.stdin.as_mut() else { return Ok(()) };
        match frame::write(stdin, order) {
            Ok(()) => Ok(()),
            // It is gone: the inquest says why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(self.inquest()),
            Err(error) => Err(Fault::Failed(format!("cannot talk to node {rank}: {error}"))),
        }
    }

    /// One reply of each node, by rank.
    fn replies(&mut self, deadline: Instant) -> Result<Vec<Reply>, Fault> {
        let began = Instant::now();
        let mut replies: Vec<Option<Reply>> = self.members.iter().map(|_| None).collect();
        loop {
            if replies.iter().all(Option::is_some) {
                return Ok(replies.into_iter().flatten().collect());
            }
            if self.interrupt.is_set() {
                return Err(Fault::Interrupted);
            }
            let now = Instant::now();
            if now >= deadline {
                let silent: Vec<String> = (0..replies.len()).filter(|&rank| replies[rank].is_none()).map(|rank| rank.to_string()).collect();
                let what = format!("no answer from node {} within {:.1} s", silent.join(", "), began.elapsed().as_secs_f64());
                return Err(Fault::Failed(what));
            }
            match self.news.recv_timeout((deadline - now).min(LOOK_EVERY)) {
                Ok((rank, News::Reply(Reply::Failed(what)))) => return Err(self.inquest_after(rank, Some(what))),
                Ok((rank, News::Reply(reply))) => replies[rank] = Some(reply),
                Ok((rank, News::Gone)) => return Err(self.inquest_after(rank, None)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(self.inquest()),
            }
        }
    }

    fn inquest_after(&mut self, rank: usize, what: Option<String>) -> Fault {
        let mut said = vec![None; self.members.len()];
        said[rank] = what;
        self.hold_inquest(rank, said)
    }

    fn inquest(&mut self) -> Fault {
        let said = vec![None; self.members.len()];
        self.hold_inquest(0, said)
    }

    /// Finds out what went wrong: when one node dies the others fail soon after, because they miss it, and the reason is the first one's.
    fn hold_inquest(&mut self, first: usize, mut said: Vec<Option<String>>) -> Fault {
        let until = Instant::now() + INQUEST;
        let mut gone = 0;
        while gone < self.members.len() {
            match self.news.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((rank, News::Reply(Reply::Failed(what)))) => said[rank] = Some(what),
                Ok((_, News::Gone)) => gone += 1,
                Ok(_) => {}
                Err(_) => break,
            }
        }
        let mut obituaries = Vec::new();
        for (rank, (member, said)) in self.members.iter_mut().zip(said).enumerate() {
            let status = member.process.try_wait().ok().flatten();
            let stderr = if status.is_some() { member.stderr.text() } else { String::new() };
            obituaries.push(Obituary { rank, status, said, stderr });
        }
        obituaries.sort_by_key(|node| node.rank != first);
        self.end();
        Fault::of(&obituaries)
    }

    /// Ends every node, now.
    fn end(&mut self) {
        for member in &mut self.members {
            member.stdin = None;
            // An error means that it has ended.
            let _ = member.process.kill();
        }
        for member in &mut self.members {
            let _ = member.process.wait();
        }
    }
}

impl Drop for Crew<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

impl Member {
    fn start(rank: usize, news: &Sender<(usize, News)>) -> io::Result<Member> {
        // This very program, even if its file has been replaced since it started.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("squall").arg("worker").env(PARENT_VARIABLE, std::process::id().to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // In a process group of its own, so that Ctrl-C reaches only the parent, which then ends it in order.
        command.process_group(0);
        let mut process = command.spawn()?;
        let missing = || io::Error::other("a pipe is missing");
        let stdin = process.stdin.take().ok_or_else(missing)?;
        let stdout = process.stdout.take().ok_or_else(missing)?;
        let stderr = StderrTail::follow(process.stderr.take().ok_or_else(missing)?)?;
        let member = Member { process, stdin: Some(stdin), stderr };
        let news = news.clone();
        let listen = move || {
            let mut stdout = BufReader::new(stdout);
            while let Ok(Some(bytes)) = frame::read_bytes(&mut stdout) {
                let reply = frame::decode(&bytes).unwrap_or_else(|error| Reply::Failed(error.to_string()));
                if news.send((rank, News::Reply(reply))).is_err() {
                    return;
                }
            }
            // Nobody listens any more if the crew is gone.
            let _ = news.send((rank, News::Gone));
        };
        thread::Builder::new().name(format!("node {rank}")).spawn(listen)?;
        Ok(member)
    }
}
