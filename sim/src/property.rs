//! The properties of the specification, and how a trace breaks one.

use std::fmt;

/// A property of the specification, by its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Property {
    /// The same id means the same members and ranks everywhere.
    ViewIdentity = 1,
    /// A process installs ids that only rise.
    ViewMonotony = 2,
    /// A process that installs a view is in it.
    SelfInclusion = 3,
    /// More than half of a view, leaves aside, go on to the next, and nobody else.
    Majority = 4,
    /// Who is in the next view follows from who is in this one, was suspected, left and joined.
    ChangeDerivation = 5,
    /// A change that was accepted under a leader that died is a view of its own, not blended with those of the next
    /// leader.
    Adoption = 6,
    /// What is delivered was sent, same bytes, by a sender of that view.
    Integrity = 7,
    /// Nothing is delivered twice.
    NoDuplication = 8,
    /// A message is delivered in the view in which it was sent.
    SameView = 9,
    /// Per sender, indices are delivered 0, 1, 2, ... without gaps.
    Fifo = 10,
    /// Of the sequences of any two processes one is a prefix of the other.
    TotalOrder = 11,
    /// seq = index * senders + rank, ascending, contiguous.
    RoundRobin = 12,
    /// What is delivered, every member has received.
    Stability = 13,
    /// Whoever goes on to the next view delivered whatever anybody delivered in this one.
    Uniformity = 14,
    /// All cut a view at the same place, not below what was delivered, and deliver nothing beyond.
    TrimAgreement = 16,
    /// Whoever cuts has wedged before, and who has wedged does nothing in between; nobody cuts before a majority has
    /// accepted where.
    Wedge = 17,
    /// Nobody follows a lower rank than before, and nobody leads whom not all have turned to that it trusts.
    Leaders = 18,
    /// Suspicion is not taken back.
    Suspicion = 19,
    /// A sender learns what was cut off, once, and sends it again first, in its order.
    CutNotice = 20,
    /// Nulls reach no application, only answer data, and are few.
    Nulls = 21,
    /// Bytes that may still be read are not written.
    BufferSafety = 22,
    /// A newcomer is given the state with which its view begins, and delivers nothing before it has it.
    StateTransfer = 23,
    /// Nobody stays in a view of which a member is gone, and nobody leaves one that is whole.
    ViewProgress = 25,
    /// Everything sent is delivered by all that stay.
    DeliveryProgress = 26,
    /// With nobody sending, writes stop.
    Quiescence = 27,
    /// A newcomer that asks becomes a member.
    JoinProgress = 28,
    /// Whoever reaches no majority of its view stops in time.
    MinorityStops = 29,
    /// Whoever wants to send gets to send, from within an upcall too.
    SendProgress = 30,
    /// Members without the state count in nothing: who votes has it, some member of each view votes, and no voter stops
    /// because of one that does not.
    StateContinuity = 31,
    /// A read sees whatever anybody had delivered when it was asked for, and who stays gets to read.
    Reads = 33,
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({self:?})", *self as u8)
    }
}

/// One property broken by one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub property: Property,
    /// Position of the event in the trace, from 0; at its end for what should have happened and did not.
    pub event: usize,
    /// What was seen, and what was expected.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "property {} at event {}: {}", self.property, self.event, self.what)
    }
}

/// A property and what was seen instead.
pub(crate) type Broken = (Property, String);
