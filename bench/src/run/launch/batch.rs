//! A run whose processes srun or mpirun start. This process holds the rendezvous, wherever they are.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use squall_transport::exchange::{BindError, ClusterKey};

use crate::ask::network::{Network, own_addresses};
use crate::jobs::job::KEY_VARIABLE;
use crate::run::hosts::meeting::{Held, Meeting};
use crate::run::interrupt::{EXIT_INTERRUPTED, Interrupt};

/// How often a wait looks whether it was interrupted.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long all may take to end in order.
const END: Duration = Duration::from_secs(60);
/// Names of the environment variables that all processes inherit.
const RENDEZVOUS_VARIABLE: &str = "SQUALL_RENDEZVOUS";

/// A run whose processes another program starts.
pub struct BatchRun {
    /// That program with all its arguments, without what it is to start.
    pub command: Vec<String>,
    /// What it is to start everywhere.
    pub words: Vec<String>,
    /// Interfaces and ports.
    pub network: Network,
}

impl BatchRun {
    /// Runs; the exit status.
    ///
    /// # Errors
    /// If the program cannot be started, or this host has no address that others might reach.
    pub fn conduct(self, interrupt: &Interrupt) -> anyhow::Result<u8> {
        let key = ClusterKey::random();
        let (_held, rendezvous) = self.hold(&key)?;
        let (program, arguments) = self.command.split_first().context("no program to start the processes with")?;
        let mut command = Command::new(program);
        command.args(arguments).args(&self.words).env(KEY_VARIABLE, key.to_hex()).env(RENDEZVOUS_VARIABLE, rendezvous);
        // In a process group of its own, so that Ctrl-C reaches only this process, which then ends all in order.
        command.process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start {program}; is it installed, and in PATH?"))?;
        wait(child, program, interrupt)
    }

    /// Holds the rendezvous at every address that the rules take.
    fn hold(&self, key: &ClusterKey) -> anyhow::Result<(Held, String)> {
        let rules = &self.network.interface;
        let mut own: Vec<IpAddr> = match own_addresses(rules) {
            Ok(own) => own.into_iter().map(|own| own.address).collect(),
            // All processes may be on this host.
            Err(_) if rules.is_empty() => vec![Ipv4Addr::LOCALHOST.into()],
            Err(why) => bail!("{why}"),
        };
        // One listener is at all addresses of a kind.
        let is_v4 = own.iter().any(IpAddr::is_ipv4);
        own.retain(|address| address.is_ipv4() == is_v4);
        let all: IpAddr = if is_v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let is_taken = |error: &BindError| matches!(error, BindError::Listen { reason, .. } if reason.kind() == io::ErrorKind::AddrInUse);
        let at = |port| Meeting::at(SocketAddr::new(if own.len() == 1 { own[0] } else { all }, port), key);
        let meeting = self.network.ports.first_free(at, is_taken)?;
        let port = meeting.address().port();
        let places: Vec<String> = own.iter().map(|address| SocketAddr::new(*address, port).to_string()).collect();
        Ok((meeting.hold().context("a thread for the rendezvous")?, places.join(",")))
    }
}

fn wait(mut child: Child, program: &str, interrupt: &Interrupt) -> anyhow::Result<u8> {
    let mut ends_by: Option<Instant> = None;
    loop {
        if let Some(status) = child.try_wait()? {
            return match status.code() {
                _ if ends_by.is_some() => Ok(EXIT_INTERRUPTED),
                Some(code) => Ok(code as u8),
                None => bail!("{program} was ended by a signal ({status})"),
            };
        }
        if interrupt.is_set() && ends_by.is_none() {
            // It hands that on to what it started, which ends in order. An error means that it has ended.
            let _ = Pid::from_raw(child.id() as i32).map(|id| kill_process(id, Signal::TERM));
            ends_by = Some(Instant::now() + END);
        }
        if ends_by.is_some_and(|ends_by| Instant::now() >= ends_by) {
            child.kill()?;
        }
        thread::sleep(LOOK_EVERY);
    }
}
