//! Faults as they happen to a cluster.

use std::time::{Duration, Instant};

use super::cluster::{Cluster, Halt};
use super::cut;
use super::plan::{Fault, Strike};
use super::process_state::{Due, Standing, Trap};
use crate::jobs::chaos::Order;

/// Load goes on so long after the last fault.
const AFTERMATH: Duration = Duration::from_millis(20);

impl Cluster<'_> {
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
            Fault::Transfer { giver, entered, after } => {
                let (newcomer, first) = self.join()?;
                let victim = first.filter(|_| giver).unwrap_or(newcomer);
                match entered {
                    true => self.traps.push(Trap { newcomer, victim, after }),
                    false => self.dues.push((Instant::now() + after, Due::Kill(victim))),
                }
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

    /// A newcomer is in: whoever waited for that strikes soon.
    pub(super) fn spring(&mut self, newcomer: u32) {
        let sprung: Vec<Trap> = self.traps.extract_if(.., |trap| trap.newcomer == newcomer).collect();
        self.dues.extend(sprung.into_iter().map(|trap| (Instant::now() + trap.after, Due::Kill(trap.victim))));
    }
}
