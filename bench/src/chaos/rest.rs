//! Bringing a cluster to rest: every process in one view with all others, with everything delivered.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use squall_transport::NodeId;

use super::cluster::{Cluster, Halt};
use super::process_state::{Process, Standing};
use crate::jobs::chaos::{Order, Report};

/// From one look whether all is at rest to the next.
const REST_EVERY: Duration = Duration::from_millis(4);

impl Cluster<'_> {
    /// Starts processes until there are as many as asked for, and waits until all are members with all their state,
    /// under load.
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

    fn rests(&self) -> bool {
        let reports: Option<Vec<&Report>> = self.processes.values().map(|process| process.report.as_ref()).collect();
        let Some(reports) = reports else { return false };
        let Some(first) = reports.first() else { return true };
        let same = |report: &&Report| {
            !report.behind && report.owed == 0 && (report.view, report.count, report.chain) == (first.view, first.count, first.chain)
        };
        let alive: BTreeSet<NodeId> = self.processes.values().map(|process| self.lives[process.life].node).collect();
        let settled = self.processes.values().all(|process| process.standing == Standing::Member);
        let whole = first.members.iter().copied().collect::<BTreeSet<NodeId>>() == alive;
        settled && whole && reports.iter().all(same)
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
}
