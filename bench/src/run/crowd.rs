//! Processes that come and go: all on this host, or spread over the hosts of a run.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde::Serialize;
use squall_report::units;

use super::hosts::Hosts;
use super::hosts::clock::Clock;
use super::look::Look;
use super::news::{End, News};
use super::processes::Processes;
use crate::jobs::control::Reply;
use crate::jobs::job::Job;

/// How often both kinds of news are looked at, where there are two.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Processes by number. Dropping it ends them all.
///
/// On several hosts process `n` is on the host of rank `n`; those for whom there is no host of their own are on the
/// first.
pub struct Crowd<'a> {
    here: Processes,
    there: Option<There<'a>>,
    /// How those on other hosts ended.
    ends: BTreeMap<u32, End>,
}

/// The other hosts.
struct There<'a> {
    hosts: &'a Hosts,
    /// Names these processes to the agents.
    point: u64,
    news: Receiver<(usize, News)>,
    /// Of the hosts that take part, by rank.
    clocks: Vec<Clock>,
}

impl<'a> Crowd<'a> {
    /// For up to `most` processes.
    pub fn new(hosts: Option<&'a Hosts>, most: u32) -> Crowd<'a> {
        let there = hosts.map(|hosts| {
            let (sender, news) = mpsc::channel();
            let taking_part = most.min(hosts.count()) as usize;
            There { hosts, point: hosts.begin(taking_part, sender), news, clocks: hosts.clocks(taking_part) }
        });
        Crowd { here: Processes::default(), there, ends: BTreeMap::new() }
    }

    fn host_of(&self, number: u32) -> Option<&There<'a>> {
        self.there.as_ref().filter(|there| number > 0 && (number as usize) < there.clocks.len())
    }

    /// Starts process `number` with its job; where it listens and how it uses RDMA devices its host says.
    ///
    /// Call it from a thread that lives as long as they: the kernel ends children with the thread that made them.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(&mut self, number: u32, mut job: Job) -> Result<(), String> {
        if let Some(there) = self.host_of(number) {
            there.hosts.start(number as usize, there.point, job);
            return Ok(());
        }
        if let Some(there) = &self.there {
            job.address = Some(there.hosts.address());
            job.rdma = there.hosts.own_rdma(&job.rdma);
        }
        self.here.start(number, &job)
    }

    /// Tells a process something. One that is gone does not hear it.
    ///
    /// # Errors
    /// What its pipe says, if that is not that it is gone.
    pub fn tell(&mut self, number: u32, what: &impl Serialize) -> Result<(), String> {
        let Some(there) = self.host_of(number) else { return self.here.tell(number, what) };
        let order = postcard::to_stdvec(what).map_err(|error| format!("an order that cannot be written: {error}"))?;
        there.hosts.order(number as usize, there.point, there.clocks[number as usize].offset_ns, order);
        Ok(())
    }

    /// The next that is heard of any process until `deadline`; no reply: its line is closed.
    pub fn news(&mut self, deadline: Instant) -> Option<(u32, Option<Reply>)> {
        loop {
            let Some(there) = &self.there else { return self.here.news(deadline) };
            match there.news.try_recv() {
                Ok((rank, News::Reply(reply))) => return Some((rank as u32, Some(reply))),
                Ok((rank, News::Gone(end))) => {
                    self.ends.extend(end.map(|end| (rank as u32, end)));
                    return Some((rank as u32, None));
                }
                Err(_) => {}
            }
            let now = Instant::now();
            if let Some(news) = self.here.news(deadline.min(now + LOOK_EVERY)) {
                return Some(news);
            }
            if now >= deadline {
                return None;
            }
        }
    }

    /// How a process ended whose line is closed, and its last words.
    pub fn last_words(&mut self, number: u32) -> String {
        let (status, words, lost) = match self.ends.remove(&number) {
            Some(end) => (end.status, end.stderr, end.lost),
            None => self.here.reap(number).map_or((None, String::new(), None), |(status, words)| (Some(status), words, None)),
        };
        match (lost, status) {
            (Some(lost), _) => format!(": its host is lost: {lost}"),
            (None, Some(status)) => format!(" ({status}): {words}"),
            (None, None) => String::new(),
        }
    }

    /// Seconds of processor time that each process of this host has taken, by number.
    pub fn cpu_seconds(&self) -> BTreeMap<u32, f64> {
        let seconds = |number: u32| Some((number, Look::at(self.here.id(number)?.as_raw_nonzero().get().unsigned_abs())?.cpu_seconds()));
        self.here.numbers().filter_map(seconds).collect()
    }

    /// What it takes to read times across hosts, if there are several: the clocks are looked at once more.
    pub fn note_of_clocks(&self) -> Option<String> {
        let there = self.there.as_ref()?;
        let after = there.hosts.clocks(there.clocks.len());
        let mut wrong: Vec<u64> = there.clocks.iter().zip(&after).map(|(before, after)| before.uncertainty_until(after)).collect();
        wrong.sort_unstable();
        // Two hosts, neither the first, may both be wrong, in opposite directions.
        let uncertainty_ns: u64 = wrong.iter().rev().take(2).sum();
        Some(format!("clocks of the hosts agree within {} us", units::number(uncertainty_ns as f64 / 1e3)))
    }
}

impl Drop for Crowd<'_> {
    fn drop(&mut self) {
        if let Some(there) = &self.there {
            there.hosts.end(there.point);
        }
    }
}
