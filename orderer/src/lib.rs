//! When and in which order messages are delivered.
//!
//! [`RoundRobin`]: one total order over the messages of all senders, uniform: a message is delivered once every member
//! has received it. `Seq = index * senders + sender`, so with three senders index 2 of sender 1 has Seq 7. A sender
//! with nothing to say fills its turn with nulls. Where some members do not vote, a delivery waits for voters only.
//! [`Unordered`]: a message is delivered when it is received, in its sender's order only.
//! [`Lamport`]: one total order by times that senders take from the clocks of all.
//! [`Paxos`]: one total order by a leader's log; a message is delivered once more than half of the members that vote
//! have it and all before it.
//! [`Chain`]: one total order by a log that passes from member to member.
//!
//! # Decisions are records
//!
//! Where somebody decides on the order it puts the decision into its own stream ([`Orderer::decide`]), and everybody
//! hears it there ([`Orderer::decided`]). So frontiers, windows, the end of a view and its trim treat decisions as they
//! treat messages, and an order is a function of the records below the frontiers. What nobody has decided on below the
//! trim of a view comes behind what is decided, by index and then sender. Answers that decide nothing alone are
//! columns.
//!
//! ```text
//!   received(sender, frontier) --> received_seq --Word--> all     stable = min over all members of received_seq
//!   refresh(), next(): runs of turns below stable   --> deliver -->  delivered_seq --Word--> all   (senders reclaim their rings)
//! ```
//!
//! What it does not do: move or hold payloads, know how large messages travel, or count time.
//!
//! Source: Derecho (TOCS 2019), section 5 and appendix B. (The paper's formula for the global index is transposed.)

#![forbid(unsafe_code)]

mod chain;
mod columns;
mod cost;
mod lamport;
mod mutation;
mod orderer;
mod paxos;
mod places;
mod round_robin;
mod unordered;

pub use chain::{Chain, Line};
pub use columns::Columns;
pub use cost::Cost;
pub use lamport::Lamport;
#[doc(hidden)]
pub use mutation::Mutation;
pub use orderer::{Orderer, Run};
pub use paxos::Paxos;
pub use round_robin::RoundRobin;
pub use unordered::Unordered;
