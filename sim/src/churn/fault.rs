//! What happens to members.

use squall_transport::sim::Random;

/// Silence that counts as death.
pub(crate) const SUSPECT_AFTER_NS: u64 = 1_000_000;

/// What happens to members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// One dies; the others are told by their links, or not.
    Crash {
        /// Whether links break with it.
        told: bool,
    },
    /// One does not run for so long, in nanoseconds.
    Stall(u64),
    /// One does not run until so long, in nanoseconds, after another has begun to suspect it: it comes back while the
    /// others go on without it.
    Oversleep(u64),
    /// One suspects another for no reason.
    Suspect,
    /// The link between two breaks.
    Cut,
    /// Two sides do not hear each other, and nobody is told.
    Partition(Partition),
    /// One leaves.
    Leave,
    /// One joins; or asks to, and dies before it comes.
    Join {
        /// Whether it comes.
        comes: bool,
        /// Whether it wants to send.
        sends: bool,
    },
}

/// How two sides do not hear each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Less than half of the members are on the one side, where that can be; else any number.
    pub minority: bool,
    /// Only what this side says is not heard; it hears all.
    pub one_way: bool,
    /// For so long, in nanoseconds.
    pub lasts_ns: u64,
    /// And then.
    pub end: PartitionEnd,
}

/// How a partition ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionEnd {
    /// What was posted meanwhile lands after all.
    Heals,
    /// Links break, and both sides are told.
    Breaks,
    /// It never does.
    Stays,
}

/// A leader that dies in the middle of what it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ambush {
    /// After this.
    pub moment: Moment,
    /// So long afterwards, in nanoseconds.
    pub after_ns: u64,
}

/// How far a leader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It has proposed a list of changes.
    Proposed,
    /// It has cut.
    Cut,
    /// It has acted on what was decided; others may not know yet that it was.
    Acted,
}

impl Fault {
    pub(crate) fn draw(random: &mut Random) -> Fault {
        match random.below(100) {
            0..26 => Fault::Crash { told: random.chance(600) },
            26..35 => Fault::Stall(random.between(100_000, 4_000_000)),
            35..46 => Fault::Oversleep(random.pick(&[20_000, 100_000, 400_000]) * random.between(0, 8) / 8),
            46..55 => Fault::Suspect,
            55..62 => Fault::Cut,
            62..74 => Fault::Partition(Partition::draw(random)),
            74..82 => Fault::Leave,
            _ => Fault::join(random),
        }
    }

    /// Somebody who wants to become a member.
    pub(crate) fn join(random: &mut Random) -> Fault {
        Fault::Join { comes: random.chance(850), sends: random.chance(700) }
    }

    /// How many members it may cost the group at the most, whom a partition takes apart aside.
    ///
    /// A cut link makes both ends suspect each other, and some may believe the one and some the other.
    pub(crate) fn victims(self) -> usize {
        match self {
            Fault::Crash { .. } | Fault::Stall(_) | Fault::Oversleep(_) | Fault::Suspect | Fault::Leave => 1,
            Fault::Join { comes, .. } => usize::from(!comes),
            Fault::Cut => 2,
            Fault::Partition(_) => 0,
        }
    }
}

impl Partition {
    fn draw(random: &mut Random) -> Partition {
        let around_ns = SUSPECT_AFTER_NS - 200_000;
        let lasts_ns = match random.below(3) {
            0 => random.between(50_000, around_ns),
            1 => around_ns + random.below(600_000),
            _ => random.between(SUSPECT_AFTER_NS, 5 * SUSPECT_AFTER_NS),
        };
        let end = random.pick(&[PartitionEnd::Heals, PartitionEnd::Heals, PartitionEnd::Breaks, PartitionEnd::Stays]);
        Partition { minority: random.chance(800), one_way: random.chance(250), lasts_ns, end }
    }
}
