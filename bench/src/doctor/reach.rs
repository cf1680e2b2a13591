//! Trying a fabric: writes from node to node, of this host or of several, pair by pair.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::ask::machine::Machine;
use crate::jobs::job::Work;
use crate::jobs::kinds::FabricKind;
use crate::jobs::rdma::Rdma;
use crate::jobs::reach::{Opened, ReachJob, ReachOrder, Tried};
use crate::run::fault::Fault;
use crate::run::hosts::Hosts;
use crate::run::interrupt::Interrupt;
use crate::run::workers::{Workers, WorkersConfig};

/// How long a pair is tried.
const TIME: Duration = Duration::from_millis(100);
/// How long opening a fabric, or a pair, may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// Nodes that stand ready to be tried. Dropping it ends them.
pub struct Reach<'a> {
    workers: Workers<'a>,
    opened: Vec<Opened>,
    round: u32,
}

/// What one node reaches of another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Link {
    /// The node that wrote.
    pub from: u32,
    /// Where it wrote.
    pub to: u32,
    /// What got through, in 10^9 bytes a second.
    pub gigabytes_per_second: Option<f64>,
    /// Half a round trip of one word, in microseconds, the middle of many.
    pub latency_us: Option<f64>,
    /// Why nothing got through, if nothing did.
    pub failed: Option<String>,
}

impl<'a> Reach<'a> {
    /// Opens `fabric` among `nodes` nodes: of this host, or one on each of `hosts`, where it goes on without those that
    /// no link can be made to.
    ///
    /// # Errors
    /// If it cannot be opened, or the user interrupts.
    pub fn open(
        fabric: FabricKind,
        nodes: u32,
        machine: &Machine,
        rdma: &Rdma,
        hosts: Option<&'a Hosts>,
        interrupt: &'a Interrupt,
    ) -> Result<Reach<'a>, Fault> {
        let works = (0..nodes).map(|_| Work::Reach(ReachJob { fabric, is_patient: hosts.is_some() })).collect();
        let cores = if hosts.is_some() { vec![None; nodes as usize] } else { machine.cores_for(nodes, &Default::default()) };
        let config = WorkersConfig { works, cores, meet: true, rdma: rdma.clone(), lost_after: None, hosts };
        let mut workers = Workers::start(config, interrupt, Instant::now() + PATIENCE)?;
        let opened = workers.run(&ReachOrder::Describe, Instant::now() + PATIENCE)?;
        Ok(Reach { workers, opened, round: 0 })
    }

    /// What each node opened, by rank.
    pub fn opened(&self) -> &[Opened] {
        &self.opened
    }

    /// Tries one pair.
    ///
    /// # Errors
    /// If a node dies, or the user interrupts.
    pub fn link(&mut self, from: u32, to: u32) -> Result<Link, Fault> {
        let failed = |why: String| Link { from, to, gigabytes_per_second: None, latency_us: None, failed: Some(why) };
        let missing = self.opened[from as usize].missing.get(to as usize).cloned().flatten();
        if let Some(why) = missing {
            return Ok(failed(why));
        }
        self.round += 1;
        let order = ReachOrder::Try { from, to, round: self.round, time: TIME };
        let tried: Vec<Tried> = self.workers.run(&order, Instant::now() + PATIENCE)?;
        // What the other end found wrong says more than that no answer came.
        let by_reader = tried.get(to as usize).cloned();
        Ok(match (tried.into_iter().nth(from as usize), by_reader) {
            (_, Some(Tried::Failed(why))) if why.contains("other bytes") => failed(why),
            (Some(Tried::Through { bytes, seconds, latency_us }), _) => Link {
                from,
                to,
                gigabytes_per_second: Some(bytes as f64 / seconds.max(1e-9) / 1e9),
                latency_us: Some(latency_us),
                failed: None,
            },
            (Some(Tried::Failed(why)), _) => failed(why),
            (Some(Tried::Nothing) | None, _) => failed("the node did not try".into()),
        })
    }

    /// Ends the nodes.
    pub fn finish(self) {
        self.workers.dismiss(&ReachOrder::Finish);
    }
}
