//! Provider `sim`: the same rules as every fabric, in virtual time, in one thread, repeatable by seed.
//!
//! ```text
//!   post          flush            pieces read late,        last piece        the Word behind it
//!   queued  -->   on its way  -->  landing in any order --> landed       -->  lands
//!            the sender's memory may change until here ^
//! ```
//!
//! It is as unkind as the rules allow: a Span is cut into pieces that land in any order and are each read at a moment
//! of their own between post and landing; queues are short and sometimes claim to be full; a link may be slow, or break
//! with a part of what is on its way still landing. What the rules promise it keeps: posts to one peer land in posting
//! order (T1), words do not tear (T2), a Word carries its value (T3), a broken link is reported and never invented
//! (T6).
//!
//! A network may also keep no order at all and be [counted](SimNetwork::count_writes), as some real ones must be: then
//! T1 comes about at the receiving endpoint's poll.
//!
//! [`SimNetwork`] holds the time and everything that is on its way, [`SimFabric`] opens endpoints on it,
//! [`SoloExchange`] stands in for the meeting at start-up, [`SimNets`] are the control connections of processes whose
//! groups change, [`Random`] is where all chance comes from. [`land`] is for tests that are the network themselves.
//!
//! What it does not do: run members (the crate `squall-sim` does), or wait in real time.

mod connections;
mod due;
mod exchange;
mod fabric;
mod gather;
mod link;
mod net;
mod nets;
mod network;
mod random;
mod state;
mod wire;
mod words;

pub use connections::NetSpec;
pub use exchange::SoloExchange;
pub use fabric::{SimEndpoint, SimFabric};
pub use gather::SimGather;
pub use link::LinkSpec;
pub use net::SimNet;
pub use nets::SimNets;
pub use network::SimNetwork;
pub use random::{Random, mix};
pub use state::Changed;
pub use wire::land;
