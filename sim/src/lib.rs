//! Simulated clusters by seed, the checker of their traces, and the mutants it must catch.
//!
//! ```text
//!   seed --> Scenario --> n groups on one simulated network --> Trace --> check --> Verdict
//!            sizes, load,  stepped in random order in             ^
//!            links, stalls virtual time, in one thread            '-- traces of real runs, too
//! ```
//!
//! The groups are the very code that runs on a real fabric. A seed decides everything else: who sends what and when,
//! how each link behaves, who stalls or dies, who steps when. The same seed gives the same trace, byte by byte, so a
//! failing seed is its own reproduction.
//!
//! - [`run`](run()) takes a range of seeds and reports; [`simulate`] runs one.
//! - [`trace`]: events as lines of text. [`checker`]: which properties a trace breaks.
//! - [`churn`](churn()) runs a group whose members crash, stall, are suspected wrongly, are cut off, leave, join and
//!   come back, as a [`Churn`] says: for [safety](Aim::Safety) or for [liveness](Aim::Liveness).
//! - [`members`](members()) runs whole [`Member`](squall_group::Member)s as a [`MembersScenario`] says, on simulated
//!   control connections too: newcomers that follow and are given state, a witness, leaves, old names.
//! - [`Recorder`] writes a member's events down, of a simulated group or a real one.
//! - [`Mutant`]: faults built in on purpose, which the checker must find.
//!
//! What it does not do: model what happens inside one step of a member beyond the moments at which it calls the fabric,
//! or measure anything.

#![forbid(unsafe_code)]

mod aim;
mod chain;
pub mod checker;
mod churn;
mod leaders;
mod member;
mod members;
mod mutant;
mod property;
mod reads;
mod recorder;
mod run;
mod sabotage;
mod scenario;
mod simulation;
mod states;
pub mod trace;
mod view;

pub use aim::Aim;
pub use churn::{Ambush, Churn, Fault, Moment, Partition, PartitionEnd, churn};
pub use members::{Blow, MembersScenario, Reached, members, members_reaching};
pub use mutant::Mutant;
pub use recorder::Recorder;
pub use run::{Catch, Failure, Options, Report, catch, run};
pub use scenario::{Burst, Plan, Scenario};
pub use simulation::{Outcome, simulate};
