//! Large-message multicast: one member's message reaches all others in blocks that are relayed on a schedule.
//!
//! ```text
//!   root      start(block) -> Descriptor -----------(a small message)-------------> every receiver
//!   receiver  announce(descriptor): takes a buffer of its pool, `ready` + where --> those that will send to it
//!   holder    step: block by Span, then its counter by Word ----------------------> next in the schedule
//!   receiver  step: counter seen, block held, relayed at once; all held: `received` moves on
//!   everyone  delivered(..) and all targets have `received` it: reclaim returns the buffer to the pool
//! ```
//!
//! - [`schedule`]: who sends which block to whom, as pure functions with one law.
//! - [`Rdmc`]: the engine, a state machine over the shared state table, an outbox and a pool. Several transfers run at
//!   once, of several senders and successive ones of one sender, and take turns block by block.
//! - [`Columns`]: the words of the table that it owns. [`Descriptor`]: the announcement. [`Limits`]: every bound.
//! - [`Timeline`]: when each block was posted, landed and was relayed, and what a transfer waited for.
//! - [`Relay`]: by which schedule and in how large blocks a message goes, chosen by its sender for each message: from
//!   what is the [`Limit`], its size, the group, and how many send.
//!
//! Why a buffer stays safe. It is written only by those it was made `ready` for, each block once, and filled once every
//! counter has been seen. It is read by the application until `delivered`, and by Spans to the next members until those
//! have said `received`: a member says so only after it has seen the counters of all blocks, and a counter lands after
//! its data. Only then does the buffer go back to the pool and the slot take another transfer.
//!
//! What it does not do: carry the descriptor (a small message does), order messages of different senders, or survive
//! failures. When an epoch ends all its transfers stop; what is incomplete was never received, and [`Rdmc::dismantle`]
//! hands back the buffers. Where messages are delivered that not all have, members keep them for each other and give
//! each other what they lack at the end ([`Rdmc::filled_by`]).

#![forbid(unsafe_code)]

pub mod schedule;

mod block_size;
mod columns;
mod descriptor;
mod limits;
mod mutation;
mod notices;
mod plans;
mod rdmc;
mod relay;
mod shares;
mod timeline;
mod transfer;

pub use block_size::{BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, block_bytes_for};
pub use columns::{Columns, FillColumns};
pub use descriptor::{Descriptor, DescriptorError};
pub use limits::{BLOCKS_LIMIT, Limits};
#[doc(hidden)]
pub use mutation::Mutation;
pub use rdmc::{AnnounceError, Leftover, Progress, Rdmc};
pub use relay::{Limit, Relay};
pub use shares::BufferError;
pub use timeline::{Moment, Record, Timeline, Waits};
