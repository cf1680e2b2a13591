//! A run on hosts that are reached by ssh.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use squall_transport::exchange::ClusterKey;

use super::orders::{self, EXIT_NO_RESULTS, EXIT_NOT_TAKEN, Orders};
use super::program::Program;
use super::remote::{Heard, Remote};
use crate::ask::network::Network;
use crate::run::interrupt::{EXIT_INTERRUPTED, Interrupt};

/// What ssh is told after the user's own options, of which the first ones count: never to ask, and to notice a host
/// that hangs.
const SSH: [&str; 9] =
    ["-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"];
/// Exit status of ssh itself.
const EXIT_SSH: i32 = 255;
/// How often a wait looks whether it was interrupted.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long the other hosts may take to end once the first one has.
const LEAVE: Duration = Duration::from_secs(5);
/// How long the first host may take to end in order.
const END: Duration = Duration::from_secs(60);

/// A run on hosts that are reached by ssh.
pub struct SshRun {
    /// The command for ssh, with the user's own options.
    pub command: Vec<String>,
    /// The hosts, the first of which runs the experiments.
    pub hosts: Vec<String>,
    /// What that one runs: the whole command line.
    pub words: Vec<String>,
    /// The folder for the results here.
    pub folder: PathBuf,
    /// Whether they are in it already as far as they go.
    pub resume: bool,
    /// How long to wait for all hosts.
    pub wait: Duration,
    /// Interfaces and ports.
    pub network: Network,
}

struct Host {
    name: String,
    remote: Remote,
    ready: bool,
    ordered: bool,
    closed: bool,
    last_words: String,
}

impl SshRun {
    /// Runs, and fetches the results; the exit status of the first host.
    ///
    /// # Errors
    /// If a host cannot be reached or used, named with the reason and the mend; if the first host is lost; or if
    /// results cannot be fetched.
    pub fn conduct(self, interrupt: &Interrupt) -> anyhow::Result<u8> {
        let run = format!("{}-{}", std::process::id(), &ClusterKey::random().to_hex()[..12]);
        if self.resume {
            self.send_results(&run)?;
        }
        let ended = self.converse(&run, interrupt);
        let fetched = match ended {
            Err(Ending::NeverBegan(_)) => Ok(false),
            _ => self.fetch(&run),
        };
        if matches!(fetched, Ok(false)) {
            // An empty folder is no run; one that is to go on is not empty.
            let _ = fs::remove_dir(&self.folder);
        }
        match (ended, fetched) {
            (Err(_), _) if interrupt.is_set() => Ok(EXIT_INTERRUPTED),
            (Err(Ending::NeverBegan(error)), _) => Err(error),
            (Err(Ending::Lost(error)), Ok(true)) => Err(error.context(format!("what was measured before is in {}", self.folder.display()))),
            (Err(Ending::Lost(error)), _) => Err(error),
            (Ok(_), Err(error)) => Err(error),
            (Ok(status), Ok(_)) => Ok(status),
        }
    }

    fn ssh(&self, host: &str, script: String) -> Vec<String> {
        let told = SSH.map(str::to_owned).into_iter().chain([host.to_owned(), script]);
        self.command.iter().cloned().chain(told).collect()
    }

    /// Starts all, gives them their orders, and passes on what they say until all have ended.
    fn converse(&self, run: &str, interrupt: &Interrupt) -> Result<u8, Ending> {
        let program = Arc::new(Program::of_this_process().map_err(Ending::NeverBegan)?);
        let (heard, news) = mpsc::channel();
        let mut hosts = Vec::new();
        for (rank, name) in self.hosts.iter().enumerate() {
            let command = self.ssh(name, orders::script(&program.hash, program.bytes.len()));
            let remote = Remote::start(&command, &program, rank, heard.clone());
            let remote = remote.with_context(|| format!("cannot start {}, to reach {name}; is it installed?", self.command[0]));
            hosts.push(Host {
                name: name.clone(),
                remote: remote.map_err(Ending::NeverBegan)?,
                ready: false,
                ordered: false,
                closed: false,
                last_words: String::new(),
            });
        }
        drop(heard);
        Conversation { asked: self, run, key: ClusterKey::random().to_hex(), hosts, news, first: None }.hold(interrupt)
    }

    /// Brings what was measured before to the first host.
    fn send_results(&self, run: &str) -> anyhow::Result<()> {
        let first = &self.hosts[0];
        let mut pack =
            Command::new("tar").arg("-C").arg(&self.folder).args(["-cf", "-", "."]).stdout(Stdio::piped()).spawn().context("tar")?;
        let packed = pack.stdout.take().context("a pipe is missing")?;
        let sent = self.plain(first, orders::unpack(run)).stdin(packed).output().context("ssh")?;
        if !pack.wait()?.success() || !sent.status.success() {
            let why = String::from_utf8_lossy(&sent.stderr).trim().to_owned();
            bail!("{first} does not take the results so far, to go on with them: {why}");
        }
        Ok(())
    }

    /// Brings the results here, and removes them there once they are; whether there are any.
    fn fetch(&self, run: &str) -> anyhow::Result<bool> {
        let first = &self.hosts[0];
        let mut pack = self.plain(first, orders::pack(run)).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("ssh")?;
        let packed = pack.stdout.take().context("a pipe is missing")?;
        let unpacked = Command::new("tar").arg("-C").arg(&self.folder).args(["-xf", "-"]).stdin(packed).output().context("tar")?;
        match pack.wait()?.code() {
            Some(0) if unpacked.status.success() => {}
            Some(EXIT_NO_RESULTS) => return Ok(false),
            _ => bail!("the results could not be fetched; they are on {first}: ~/.cache/squall/runs/{run}; copy them by scp -r"),
        }
        // What stays there does no harm.
        let _ = self.plain(first, orders::remove(run)).stdin(Stdio::null()).output();
        Ok(true)
    }

    fn plain(&self, host: &str, script: String) -> Command {
        let words = self.ssh(host, script);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stderr(Stdio::piped());
        command
    }
}

/// Why there is no exit status of the first host.
enum Ending {
    /// Nothing was measured.
    NeverBegan(anyhow::Error),
    /// The first host is lost.
    Lost(anyhow::Error),
}

/// All hosts, while they run.
struct Conversation<'a> {
    asked: &'a SshRun,
    run: &'a str,
    key: String,
    hosts: Vec<Host>,
    news: Receiver<(usize, Heard)>,
    /// Where the first host listens.
    first: Option<SocketAddr>,
}

impl Conversation<'_> {
    fn hold(mut self, interrupt: &Interrupt) -> Result<u8, Ending> {
        let deadline = Instant::now() + self.asked.wait;
        let mut ends_by: Option<Instant> = None;
        loop {
            if interrupt.is_set() && ends_by.is_none() {
                if self.first.is_none() {
                    return Err(Ending::NeverBegan(anyhow::anyhow!("interrupted")));
                }
                // It says goodbye to the others once it has kept what was measured.
                self.hosts[0].remote.interrupt();
                ends_by = Some(Instant::now() + END);
            }
            if ends_by.is_some_and(|ends_by| Instant::now() >= ends_by) {
                let name = &self.hosts[0].name;
                return Err(Ending::Lost(anyhow::anyhow!("{name} does not end {} s after it was interrupted", END.as_secs())));
            }
            if self.first.is_none() && Instant::now() >= deadline {
                return Err(Ending::NeverBegan(self.late()));
            }
            match self.news.recv_timeout(LOOK_EVERY) {
                Ok((rank, heard)) => {
                    if let Some(status) = self.hear(rank, heard)? {
                        return Ok(self.part(status));
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Ending::Lost(anyhow::anyhow!("all hosts have closed their lines"))),
            }
        }
    }

    /// Takes news in; the exit status of the first host once that has ended.
    fn hear(&mut self, rank: usize, heard: Heard) -> Result<Option<u8>, Ending> {
        match heard {
            Heard::Ready => self.hosts[rank].ready = true,
            Heard::Unfit(why) => return Err(Ending::NeverBegan(anyhow::anyhow!("host {}: {why}", self.hosts[rank].name))),
            Heard::At(first) => self.first = Some(first),
            Heard::Output(line) => {
                // Nobody reads it: the run goes on.
                let _ = if rank == 0 { io::stdout().write_all(&line) } else { self.tell(rank, String::from_utf8_lossy(&line).trim_end()) };
            }
            Heard::Error(line) => {
                let _ = self.tell(rank, &line);
                self.hosts[rank].last_words = line;
            }
            Heard::Closed => return self.closed(rank),
        }
        self.order()?;
        Ok(None)
    }

    /// A line for people: the first host's as it is, the others' with their names.
    fn tell(&self, rank: usize, line: &str) -> io::Result<()> {
        let name = &self.hosts[rank].name;
        if rank == 0 { writeln!(io::stderr(), "{line}") } else { writeln!(io::stderr(), "[{name}] {line}") }
    }

    /// Gives orders to who is ready for them: the first host once all are, so that nothing begins that cannot go on.
    fn order(&mut self) -> Result<(), Ending> {
        if !self.hosts.iter().all(|host| host.ready) {
            return Ok(());
        }
        for (rank, host) in self.hosts.iter_mut().enumerate().filter(|(rank, _)| *rank == 0 || self.first.is_some()) {
            if !host.ordered {
                host.ordered = true;
                let orders = Orders {
                    key: self.key.clone(),
                    rank: rank as u32,
                    nodes: self.asked.hosts.len() as u32,
                    first: self.first.filter(|_| rank > 0),
                    words: self.asked.words.clone(),
                    run: self.run.to_owned(),
                    wait: self.asked.wait.as_secs(),
                    network: self.asked.network.clone(),
                };
                let given = host.remote.order(&orders);
                given.map_err(|error| Ending::NeverBegan(anyhow::anyhow!("host {} takes no orders: {error}", host.name)))?;
            }
        }
        Ok(())
    }

    fn closed(&mut self, rank: usize) -> Result<Option<u8>, Ending> {
        let began = self.first.is_some();
        let host = &mut self.hosts[rank];
        host.closed = true;
        let status = host.remote.wait();
        let why = refusal(&self.asked.command[0], &host.name, status, &host.last_words, host.ready);
        match status.and_then(|status| status.code()) {
            Some(code) if rank == 0 && host.ordered && code != EXIT_SSH => Ok(Some(code as u8)),
            Some(0) if began => Ok(None),
            _ if rank == 0 && began => Err(Ending::Lost(why.context("the first host, which runs the experiments, is lost"))),
            _ if began => {
                // The first host notices what that costs.
                let _ = writeln!(io::stderr(), "[{}] {why}", host.name);
                Ok(None)
            }
            _ => Err(Ending::NeverBegan(why)),
        }
    }

    /// Waits for the others a little; those that do not end are ended, and named.
    fn part(mut self, status: u8) -> u8 {
        let deadline = Instant::now() + LEAVE;
        while self.hosts.iter().skip(1).any(|host| !host.closed) {
            match self.news.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((rank, heard)) => {
                    let _ = self.hear(rank, heard);
                }
                Err(_) => break,
            }
        }
        for host in self.hosts.iter().skip(1).filter(|host| !host.closed) {
            let seconds = LEAVE.as_secs();
            let _ = writeln!(io::stderr(), "[{}] does not end {seconds} s after the run; its line is cut, at which it should", host.name);
        }
        status
    }

    /// Who has not come in time.
    fn late(&self) -> anyhow::Error {
        let late: Vec<&str> = self.hosts.iter().filter(|host| !host.ready).map(|host| host.name.as_str()).collect();
        let seconds = self.asked.wait.as_secs();
        match late.first() {
            Some(one) => anyhow::anyhow!(
                "no answer from {} within {seconds} s (--wait): does `{} {one} true` come back there?",
                late.join(", "),
                self.asked.command.join(" ")
            ),
            None => anyhow::anyhow!("{}, the first host, did not begin within {seconds} s (--wait)", self.hosts[0].name),
        }
    }
}

/// Why a host's line has ended, and what to do.
fn refusal(ssh: &str, host: &str, status: Option<ExitStatus>, last_words: &str, ready: bool) -> anyhow::Error {
    let said = if last_words.is_empty() { String::new() } else { format!(": {last_words}") };
    match status.and_then(|status| status.code()) {
        Some(EXIT_SSH) if !ready => anyhow::anyhow!(
            "host {host} cannot be reached by {ssh}{said}; `{ssh} -o BatchMode=yes {host} true` must succeed without a question; \
             options of your own go with --launch-with"
        ),
        Some(EXIT_SSH) => anyhow::anyhow!("the connection to host {host} is lost{said}"),
        Some(EXIT_NOT_TAKEN) => {
            anyhow::anyhow!(
                "host {host} cannot keep the program{said}; it goes to ~/.cache/squall there: is there room, and may it be written?"
            )
        }
        Some(126 | 127) => anyhow::anyhow!("host {host} cannot run the program{said}; is it built for the C library there?"),
        Some(code) => anyhow::anyhow!("host {host} ended with status {code}{said}"),
        None => anyhow::anyhow!("{ssh} to host {host} was ended by a signal{said}"),
    }
}
