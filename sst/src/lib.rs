//! The shared state table: one row a node, replicated at every node; only node r writes row r.
//!
//! ```text
//!            column a   column b ...            rings of the senders
//!   row 0  [ word      | word word  ] pad  ...  [ bytes .............. ]
//!   row 1  [ word      | word word  ] pad  ...  [ bytes .............. ]
//!            written by node 1 at every node's copy, read by that node
//! ```
//!
//! [`LayoutBuilder`] composes the columns of all protocols once; [`Table`] reads them; [`Counter`] is a monotone word
//! of one's own row that is pushed to every other member, by value, and coalesced: a push may be dropped in favour of a
//! later one.
//!
//! What it does not do: interpret a column (each protocol documents its own: who writes, who reads, the invariant), or
//! notice failures.

#![forbid(unsafe_code)]

mod counter;
mod frontier;
mod layout;
mod malformed;
mod table;

pub use counter::Counter;
pub use frontier::Frontier;
pub use layout::{Column, Columns, Layout, LayoutBuilder, RingColumn};
pub use malformed::Malformed;
pub use table::Table;
