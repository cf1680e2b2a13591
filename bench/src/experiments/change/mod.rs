//! `view-change`: how long a group is held up when a member is killed, leaves or joins.
//!
//! ```text
//!          load                    the fault                                               load goes on
//!   --------------------------------- | ------ wedged -- trimmed -- installed -- active --------------->
//!                                    t0        ^ at the first member: times of the later steps count from here
//! ```
//!
//! Every trial is a group of its own, on this host, whose processes share a clock.

pub mod member;
mod parent;

pub(super) use parent::measure;
