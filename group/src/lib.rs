//! Squall's public API: a group of processes with one total order over the messages of its senders.
//!
//! ```text
//!      application                     one polling loop: Group::step
//!   reserve, fill, commit  --> smc / rdmc --Outbox--> Endpoint ==> the peers' memory
//!   deliver(message)       <-- orderer <-- smc / rdmc <-- my memory <== the peers
//! ```
//!
//! # First steps
//!
//! Every member makes the same [`Config`], opens a fabric over an exchange and joins. Here three members live in three threads of
//! one process; across processes only the exchange differs.
//!
//! ```
//! use squall_group::{Config, Delivery, Group, Outgoing, Pace, Upcalls};
//! use squall_transport::{Rank, exchange::LocalExchange, shm::ShmFabric};
//!
//! struct Printer(u64);
//! impl Upcalls for Printer {
//!     fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
//!         assert_eq!(delivery.payload, b"hello");
//!         self.0 += 1;
//!     }
//! }
//!
//! let members: Vec<_> = LocalExchange::mesh(3)
//!     .into_iter()
//!     .map(|mut exchange| {
//!         std::thread::spawn(move || {
//!             let config = Config::new(vec![Rank::new(0), Rank::new(1)]);
//!             let mut group = Group::join(&config, &ShmFabric::new(), &mut exchange).expect("three members join");
//!             let (mut printer, mut pace) = (Printer(0), Pace::for_members(3));
//!             if group.view().my_sender().is_some() {
//!                 group.send(b"hello").expect("the window is empty");
//!             }
//!             while printer.0 < 2 {
//!                 group.turn(&mut printer, &mut pace).expect("everybody lives");
//!             }
//!             group.close(&mut printer, &mut pace).expect("everybody leaves");
//!         })
//!     })
//!     .collect();
//! for member in members {
//!     member.join().expect("no member panics");
//! }
//! ```
//!
//! - Callers that own their loop call [`Group::step`] or [`Group::turn`]; the others hand the group to a [`Driver`], which owns a pinned thread.
//! - [`Group::reserve`] gives memory that peers will be sent from, to be filled in place; a delivery's payload lies in memory that peers wrote.
//! - Messages up to [`Config::small_max`] bytes go by SMC, larger ones by RDMC; both are in one order.
//!
//! # Views
//!
//! Without [`Config::membership`] the members never change, and one that dies ends the group at all others with [`Ended::MemberDown`]. With it, members that
//! are lost, leave ([`Group::leave`]) or join ([`Group::request`]) end the *view*: [`Group::step`] stops taking messages, delivers what the view keeps, tells
//! of messages of one's own that it does not ([`Upcalls::cut`]), and then [`Group::next_view`] names the view to [`Group::install`]. A member that the group goes on
//! without, or that cannot be sure of a majority, ends with [`Ended::Stopped`].

#![forbid(unsafe_code)]

mod config;
mod driver;
mod epoch;
mod error;
mod group;
mod member;
mod order;
mod outgoing;
mod pace;
mod stats;
mod stream;
mod view;
mod witness;

pub use config::{Config, ConfigError, Mode};
pub use driver::{Driver, DriverError, Handle};
pub use error::{Ended, JoinError, JoinRefused, SendError};
pub use group::{Delivery, Group, StatePiece, Upcalls};
pub use member::{Member, MemberError, MemberOptions, ViewChange};
pub use outgoing::{Outgoing, Slot};
pub use pace::Pace;
pub use squall_membership::{Newcomer, Phase, Stop, Timeouts, Witness};
pub use squall_rdmc::schedule::ScheduleKind;
pub use stats::Stats;
pub use view::{CONTACT_SENDS, View};
pub use witness::{WitnessError, WitnessService};

/// Keeps the example in the README true.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
