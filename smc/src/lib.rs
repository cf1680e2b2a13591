//! Small-message multicast (SMC): a byte ring in the sender's row, written to every receiver.
//!
//! ```text
//!   reserve -> fill in place -> commit          received: take every record up to the head in one turn
//!   [hdr|payload][hdr|payload][nulls x 5][hdr|payload]......free......
//!                ^ reclaimed: delivered by all        ^ tail
//!   ship, once a turn and peer: one Span (two where the ring wraps), then the head by Word
//! ```
//!
//! A message is a record: an 8-byte header (kind, and length or run length) and the payload, padded to 8. Records never
//! wrap, so that a payload is one slice; a padding record fills the end of a lap. Kinds: data, a run of nulls (one
//! record, many indices), the descriptor of a large message whose payload comes by RDMC, and decisions about the order,
//! whose payload is the orderers' alone: so one index stream a sender covers small and large messages and what is
//! decided on them. Where there are decisions, messages leave room for some more of them ([`Outbound::keep_room`]): the
//! ring may be full of what only a decision lets go.
//!
//! A stream may also pass from member to member: its sender writes to some ([`Outbound::read_by`]), and each passes on
//! what it has looked at ([`Relay`]). It goes in pieces then, so that no member waits for the whole of a batch.
//!
//! Where a view may end at more than some member has ([`Fill`]), others give it from their own copies of the ring what
//! it lacks.
//!
//! What it does not do: order the messages of several senders, or wait. Full is an answer ([`WindowFull`]).
//!
//! Source: Spindle (SOSP 2021) for opportunistic batching and null runs; Derecho (TOCS 2019), section 5, for SMC
//! itself.

#![forbid(unsafe_code)]

mod columns;
mod fill;
mod inbound;
mod log;
mod outbound;
mod piece;
mod record;
mod relay;

pub use columns::{Columns, FillColumns, Limits};
pub use fill::Fill;
pub use inbound::{Arrived, Inbound, Payloads, Taken};
pub use outbound::{Outbound, OutboundStats, WindowFull};
pub use record::{DECISION_BYTES_MAX, DECISIONS_KEPT_BYTES, DESCRIPTOR_BYTES_MAX, Kind, read_bytes, record_bytes};
pub use relay::Relay;
