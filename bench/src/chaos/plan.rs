//! What happens to the members of a group, round by round, as a seed says.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use squall_transport::sim::Random;

/// Members above the number asked for that joins may bring.
const EXTRA_MAX: usize = 2;
/// Faults in one round, at most.
const FAULTS_MAX: u64 = 3;
/// A state of so many bytes is on its way for longer than [`SOON`], on any machine.
const LONG_STATE_BYTES: u64 = 64 << 20;
/// How long after its beginning, or its end, a transfer is struck.
const SOON: [Duration; 4] = [Duration::ZERO, Duration::from_micros(500), Duration::from_millis(3), Duration::from_millis(15)];

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
pub enum Kind {
    /// SIGKILL to one member or several, never to half of them
    Kill,
    /// SIGSTOP, and SIGCONT before or after the others have noticed
    Stop,
    /// A connection between two members is shut down
    Cut,
    /// A new process joins
    Join,
    /// A member leaves
    Leave,
    /// A new process joins, and it or the one that gives it the state is killed meanwhile or soon after
    Transfer,
}

impl Kind {
    /// All.
    pub const ALL: [Kind; 6] = [Kind::Kill, Kind::Stop, Kind::Cut, Kind::Join, Kind::Leave, Kind::Transfer];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

/// One thing that happens. Numbers named `choice` pick a member: the remainder by the number of those that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// So many members are killed, at once.
    Kill {
        /// How many.
        count: usize,
    },
    /// One stands still for a while.
    Stop {
        /// For how long.
        lasts: Duration,
    },
    /// Two members lose a connection.
    Cut {
        /// All of their connections rather than one.
        all: bool,
    },
    /// A process joins.
    Join,
    /// A member leaves.
    Leave,
    /// A process joins and somebody dies while it is given the state.
    Transfer {
        /// The member that gives rather than the newcomer.
        giver: bool,
        /// Once the newcomer has entered its first view, rather than once it was started.
        entered: bool,
        /// So long after that.
        after: Duration,
    },
}

impl Fault {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Fault::Kill { .. } => Kind::Kill,
            Fault::Stop { .. } => Kind::Stop,
            Fault::Cut { .. } => Kind::Cut,
            Fault::Join => Kind::Join,
            Fault::Leave => Kind::Leave,
            Fault::Transfer { .. } => Kind::Transfer,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Kill { count: 1 } => f.write_str("kill"),
            Fault::Kill { count } => write!(f, "kill {count}"),
            Fault::Stop { lasts } => write!(f, "stop for {} ms", lasts.as_millis()),
            Fault::Cut { all: true } => f.write_str("cut all"),
            Fault::Cut { all: false } => f.write_str("cut one"),
            Fault::Join => f.write_str("join"),
            Fault::Leave => f.write_str("leave"),
            Fault::Transfer { giver, entered, .. } => {
                let (victim, when) = (if *giver { "its giver" } else { "it" }, if *entered { "inside" } else { "on its way" });
                write!(f, "join, kill {victim} {when}")
            }
        }
    }
}

/// A fault, when it happens and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    /// Since the round began.
    pub at: Duration,
    /// What.
    pub fault: Fault,
    /// To whom.
    pub choice: u64,
}

/// What the rounds of a group are made from.
#[derive(Clone, Debug)]
pub struct Odds {
    /// What may happen.
    pub kinds: Vec<Kind>,
    /// Members that the group should have.
    pub nodes: usize,
    /// Silence that counts as death.
    pub suspect_after: Duration,
    /// Whether two members have a witness.
    pub has_witness: bool,
    /// Bytes of the application's state.
    pub state_bytes: u64,
}

impl Odds {
    /// What happens in a round that begins with `members` members, ascending by time. No more are lost by it than the
    /// others can go on without.
    pub fn round(&self, random: &mut Random, members: usize) -> Vec<Strike> {
        let mut spare = self.spare(members);
        let mut joined = members;
        let count = random.pick(&[1, 1, 1, 1, 1, 1, 2, 2, 2, FAULTS_MAX]);
        let mut at = Duration::from_micros(random.between(2_000, 60_000));
        // Several at nearly the same time: the second meets the protocol in the middle.
        let gap_us_max = random.pick(&[2_000, 10_000, 100_000]);
        let mut strikes: Vec<Strike> = Vec::new();
        for _ in 0..count {
            let is_first = strikes.is_empty();
            let fits = |kind: &Kind| {
                self.lost(*kind, members, is_first).is_some_and(|lost| lost <= spare) && (!brings(*kind) || joined < self.nodes + EXTRA_MAX)
            };
            let kinds: Vec<Kind> = self.kinds.iter().copied().filter(fits).collect();
            if kinds.is_empty() {
                break;
            }
            let kind = random.pick(&kinds);
            let fault = self.fault(kind, random, spare);
            let lost = if let Fault::Kill { count } = fault { count } else { self.lost(kind, members, is_first).unwrap_or(0) };
            spare -= lost;
            joined += usize::from(brings(kind));
            strikes.push(Strike { at, fault, choice: random.bits() });
            if kind == Kind::Leave && lost == 0 {
                // Everybody is needed until it is out.
                break;
            }
            at += Duration::from_micros(random.below(gap_us_max));
        }
        strikes
    }

    /// How many of so many members may be lost at once.
    fn spare(&self, members: usize) -> usize {
        if members == 2 && self.has_witness { 1 } else { members.saturating_sub(1) / 2 }
    }

    /// How many of `members` the group must be able to spare for it; none if it cannot be.
    fn lost(&self, kind: Kind, members: usize, is_first: bool) -> Option<usize> {
        match kind {
            Kind::Join => Some(0),
            // Of two that lose each other one goes on.
            Kind::Cut if members == 2 => Some(1),
            Kind::Cut => Some(2),
            // By the book nobody is lost, if nothing else happens meanwhile.
            Kind::Leave if self.spare(members) == 0 => (members > 1 && is_first).then_some(0),
            // There is nobody who could miss it.
            Kind::Stop if members == 1 => is_first.then_some(0),
            // Whoever is on its way to a state has no vote.
            Kind::Transfer if self.spare(members) == 0 => (self.state_bytes >= LONG_STATE_BYTES).then_some(0),
            Kind::Kill | Kind::Stop | Kind::Leave | Kind::Transfer => Some(1),
        }
    }

    fn fault(&self, kind: Kind, random: &mut Random, spare: usize) -> Fault {
        match kind {
            Kind::Kill => Fault::Kill { count: random.between(1, spare as u64) as usize },
            // Well before, around, and well after the moment at which the others take it for dead.
            Kind::Stop => Fault::Stop { lasts: self.suspect_after.mul_f64(random.pick(&[0.1, 0.5, 0.9, 1.05, 1.3, 2.0])) },
            Kind::Cut => Fault::Cut { all: random.chance(400) },
            Kind::Join => Fault::Join,
            Kind::Leave => Fault::Leave,
            Kind::Transfer => {
                let (giver, entered) = (random.chance(500) && spare > 0, random.chance(500) && spare > 0);
                Fault::Transfer { giver, entered, after: random.pick(&SOON) }
            }
        }
    }
}

/// Whether it brings a member.
fn brings(kind: Kind) -> bool {
    matches!(kind, Kind::Join | Kind::Transfer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn odds(kinds: &[Kind], nodes: usize) -> Odds {
        let suspect_after = Duration::from_millis(200);
        Odds { kinds: kinds.to_vec(), nodes, suspect_after, has_witness: false, state_bytes: 0 }
    }

    /// Members that are gone, stopped or cut off, whatever the group may think of it.
    fn lost(strikes: &[Strike], members: usize) -> usize {
        let of = |strike: &Strike| match strike.fault {
            Fault::Kill { count } => count,
            Fault::Cut { .. } => members.min(3) - 1,
            Fault::Join | Fault::Transfer { giver: false, entered: false, .. } => 0,
            Fault::Stop { .. } | Fault::Leave | Fault::Transfer { .. } => 1,
        };
        strikes.iter().map(of).sum()
    }

    proptest! {
        #[test]
        fn a_round_loses_fewer_than_half_and_is_the_same_for_the_same_seed(seed: u64, members in 3usize..12) {
            let odds = odds(&Kind::ALL, members);
            let strikes = odds.round(&mut Random::new(seed), members);
            prop_assert!(!strikes.is_empty());
            prop_assert!(2 * lost(&strikes, members) < members);
            prop_assert!(strikes.windows(2).all(|pair| pair[0].at <= pair[1].at));
            prop_assert_eq!(strikes, odds.round(&mut Random::new(seed), members));
        }

        #[test]
        fn small_groups_lose_what_they_can_do_without(seed: u64, members in 1usize..3, has_witness: bool, long: bool) {
            let state_bytes = if long { 200 << 20 } else { 0 };
            let odds = Odds { has_witness, state_bytes, ..odds(&Kind::ALL, members) };
            let strikes = odds.round(&mut Random::new(seed), members);
            prop_assert!(!strikes.is_empty());
            let by_the_book = matches!(strikes[..], [Strike { fault: Fault::Leave, .. }]) && members == 2;
            let lone = members == 1 && strikes.iter().skip(1).all(|strike| !matches!(strike.fault, Fault::Stop { .. } | Fault::Leave));
            let spare = usize::from(members == 2 && has_witness);
            let is_lone_stop = lone && matches!(strikes[0].fault, Fault::Stop { .. });
            prop_assert!(by_the_book || lost(&strikes, members) <= spare + usize::from(is_lone_stop), "{strikes:?}");
        }
    }

    #[test]
    fn every_kind_of_fault_comes_up_and_no_other_than_asked_for() {
        let mut random = Random::new(1);
        let all: Vec<Strike> = (0..200).flat_map(|_| odds(&Kind::ALL, 5).round(&mut random, 5)).collect();
        for kind in Kind::ALL {
            assert!(all.iter().any(|strike| strike.fault.kind() == kind), "{kind}");
        }
        let kills: Vec<Strike> = (0..50).flat_map(|_| odds(&[Kind::Kill], 5).round(&mut random, 5)).collect();
        assert!(kills.iter().all(|strike| strike.fault.kind() == Kind::Kill));
    }

    #[test]
    fn two_members_can_spare_none_without_a_witness() {
        let two = odds(&[Kind::Kill, Kind::Cut], 2);
        assert!(two.round(&mut Random::new(1), 2).is_empty());
        assert!(!Odds { has_witness: true, ..two }.round(&mut Random::new(1), 2).is_empty());
        assert!(odds(&[Kind::Leave], 1).round(&mut Random::new(1), 1).is_empty(), "the last one turns the light off");
    }
}
