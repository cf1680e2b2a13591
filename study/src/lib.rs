//! How fast the protocol code is on a cluster that is not here: `Group` and all below it, unchanged, on a model of
//! network cards, links and cores, in virtual time.
//!
//! ```text
//!   Profile (TOML)  -->  Cluster: n Groups on one ModelNetwork  -->  Outcome: rate, latencies, what the ports did
//!                          a member's turn: sends, Group::step, what it cost; the next turn when that is over
//! ```
//!
//! - [`Profile`]: what costs how much, with its sources; four are built in.
//! - [`Run`] and [`Outcome`]: one point. [`raw`]: writes without any protocol, which must come out as the profile says.
//! - [`bound`]: what no run can beat.
//! - [`Peer`]: Derecho's limits as settings of the same code; [`published`]: its published curves; [`PeerError`]: how
//!   far apart they are.
//! - [`goals`]: the table of what must come out.
//! - [`calibrate`]: what this code costs on this machine's core. [`parallel`]: many runs on all cores.
//!
//! What it does not do: lose or break anything (`squall-sim` does), move payloads of large messages, or measure. A
//! number from here is never one of a machine.

#![forbid(unsafe_code)]

mod app;
pub mod bound;
pub mod calibrate;
mod cluster;
mod error;
pub mod goals;
mod memory;
pub mod parallel;
mod peer;
mod peer_error;
mod profile;
pub mod published;
pub mod raw;
mod run;
mod spread;

pub use error::RunError;
pub use memory::{MEMORY_BYTES_MAX, TooLarge};
pub use peer::{Peer, PeerSockets};
pub use peer_error::{FITTED_NODES, PeerError, PointError, Published};
pub use profile::{Profile, ProfileError};
pub use run::{Delay, Load, Outcome, Run, Senders};
pub use spread::Spread;
