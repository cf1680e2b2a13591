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
//! Every member makes the same [`Config`], opens a fabric over an exchange and joins. Here three members live in three
//! threads of one process; across processes only the exchange differs.
//!
//! ```
//! use squall_group::prelude::*;
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
//!             if group.view().is_sender() {
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
//! - [`prelude`] has all that a first program names; this crate is the only one it depends on. [`transport`] is there
//!   too, by that name.
//! - Callers that own their loop call [`Group::step`] or [`Group::turn`]; the others hand the group to a [`Driver`],
//!   which owns a thread, pinned if asked. Its handles take messages from any thread or future, a [`Ticket`] says what
//!   became of each, and [`Deliveries`] are a stream: [`driver`] shows an async program.
//! - [`Group::reserve`] gives memory that peers will be sent from, to be filled in place; a delivery's payload lies in
//!   memory that peers wrote.
//! - Messages up to [`Config::small_max`] bytes go by SMC, larger ones by RDMC; both are in one order.
//!
//! # Members that come and go
//!
//! Without [`Config::membership`] the members never change, and one that dies ends the group at all others with
//! [`Ended::MemberDown`]. With it, a [`Member`] takes its process from *view* to view: members that are lost, leave or
//! join end the view; what the view keeps is delivered everywhere, messages of one's own that it does not keep are told
//! ([`Upcalls::cut`]) and sent again first, and the next view begins. A newcomer asks any member, and gets the
//! application's state ([`Upcalls::snapshot`], [`Upcalls::restore`]) before its first delivery. A member that the group
//! goes on without, or that cannot be sure of a majority, ends with [`Ended::Stopped`], and may come back under a new
//! name.
//!
//! ```
//! use std::io::{Cursor, Read};
//! use std::time::Duration;
//! use squall_group::prelude::*;
//!
//! /// Its state is all bytes that were delivered.
//! struct Log(Vec<u8>);
//! impl Upcalls for Log {
//!     fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
//!         self.0.extend_from_slice(delivery.payload);
//!     }
//!     fn snapshot(&mut self) -> Box<dyn Read + Send> {
//!         Box::new(Cursor::new(self.0.clone()))
//!     }
//!     fn restore(&mut self, piece: StatePiece<'_>) {
//!         match piece {
//!             StatePiece::Begin => self.0.clear(),
//!             StatePiece::Bytes(bytes) => self.0.extend_from_slice(bytes),
//!             StatePiece::End => {}
//!         }
//!     }
//! }
//!
//! let key = ClusterKey::random();
//! let mesh = || Mesh::open("127.0.0.1:0".parse().unwrap(), &key, random_node(), MeshOptions::default()).expect("loopback is there");
//! let options = || {
//!     let membership = Some(Timeouts::after(Duration::from_secs(1)));
//!     MemberOptions::new(Config { membership, ..Config::new(vec![Rank::new(0)]) })
//! };
//!
//! // One process founds the group alone (`Session` in the place of `LocalExchange` founds it with several); here it
//! // lives in a thread.
//! let mut alone = LocalExchange::mesh(1).remove(0);
//! let mut founder = Member::found(options(), ShmFabric::new(), mesh(), &mut alone).expect("nobody else is needed");
//! let contact = founder.address();
//! let founding = std::thread::spawn(move || {
//!     let (mut log, mut pace) = (Log(Vec::new()), Pace::for_members(2));
//!     founder.send(b"before ").expect("the window is empty");
//!     // Until both have said their part, and the other one has left.
//!     while log.0 != b"before after" || founder.view().members > 1 {
//!         founder.turn(&mut log, &mut pace).expect("nobody dies");
//!     }
//! });
//!
//! // Another one joins, by asking it.
//! let mut newcomer = Member::join(options(), ShmFabric::new(), mesh(), &[contact], Role::Sender, Duration::from_secs(10)).expect("it is there");
//! let (mut log, mut pace) = (Log(Vec::new()), Pace::for_members(2));
//! while newcomer.is_behind() {
//!     newcomer.turn(&mut log, &mut pace).expect("nobody dies");
//! }
//! assert_eq!(log.0, b"before ");
//! newcomer.send(b"after").expect("the window is empty");
//! while log.0 != b"before after" {
//!     newcomer.turn(&mut log, &mut pace).expect("nobody dies");
//! }
//! newcomer.leave();
//! while newcomer.turn(&mut log, &mut pace).expect("nobody dies") != Turn::Left {}
//! founding.join().expect("it saw the same");
//! ```
//!
//! [`Group::install`], [`Group::request`], [`Group::leave`] and [`Group::await_state`] are what it is made of, for
//! programs with their own way to meet.
//!
//! # What a turn says, and what an error is
//!
//! A turn is [`Turn::Busy`] or [`Turn::Idle`], and [`Turn::Left`] once a member has left as it wanted to. All else is
//! an error, so a loop of `turn(..)?` passes no failure over: [`Ended`] says why a group is over, [`MemberError`] why a
//! process is no member. [`SendError::is_full`] tells what passes by itself from what does not.
//!
//! # Time
//!
//! Settings are [`Duration`](std::time::Duration)s. What runs on a clock of the caller's, which may be a virtual one,
//! counts nanoseconds from any beginning: [`Group::step_at`], [`Member::step_at`] and what they are told is due.
//!
//! # How it grows
//!
//! Errors are `#[non_exhaustive]`: match those that you act on, and let `_` be the rest. Configurations ([`Config`],
//! [`MemberOptions`], [`Timeouts`] and those of `transport`) are made by their constructors, with single fields changed
//! behind them: `Config { large_max, ..Config::new(senders) }`. Written so, a program goes on compiling when there are
//! more fields, whose defaults change nothing for it. That is why they are not `#[non_exhaustive]`, which forbids this
//! way to write them. [`StatePiece`] and [`Turn`] are closed: whoever forgets one of their cases has a bug.

#![forbid(unsafe_code)]

mod config;
pub mod driver;
mod epoch;
mod error;
mod gathering;
mod group;
mod held;
mod kept;
mod last_word;
mod member;
mod order;
mod outgoing;
mod pace;
mod probe;
mod reads;
mod role;
mod stats;
mod stream;
mod turn;
mod upcalls;
mod view;
mod witness;

pub use config::{Config, ConfigError, Mode, SENDERS_MAX};
pub use driver::{
    Deliveries, Drivable, Driver, DriverError, Handle, Message, NextTold, NotTaken, Payload, Reading, Receipt, Sending, Ticket, Told,
    Undelivered, Unread,
};
pub use error::{Ended, JoinError, JoinRefused, SendError};
pub use group::Group;
#[doc(hidden)]
pub use member::MemberMutation;
pub use member::{Member, MemberError, MemberOptions, ViewChange};
pub use outgoing::{Outgoing, Slot};
pub use pace::Pace;
#[doc(hidden)]
pub use reads::ReadMutation;
pub use reads::{ReadPoint, ReadRefused};
pub use role::Role;
pub use squall_membership::{Newcomer, Phase, RequestError, Stop, Timeouts, TimeoutsError, Witness};
pub use squall_orderer::Cost;
#[doc(hidden)]
pub use squall_orderer::Mutation as OrderMutation;
pub use squall_rdmc::schedule::ScheduleKind;
pub use squall_rdmc::{Limit, Moment, Record, Relay, Timeline};
#[doc(no_inline)]
pub use squall_transport as transport;
pub use stats::Stats;
pub use turn::Turn;
pub use upcalls::{Delivery, StatePiece, Upcalls};
pub use view::{CONTACT_SENDS, View};
pub use witness::{Journal, WitnessError, WitnessService};

/// Everything that a first program names: `use squall_group::prelude::*;` and no other crate.
pub mod prelude {
    pub use super::{
        Config, Deliveries, Delivery, Driver, Ended, Group, Handle, Member, MemberError, MemberOptions, Mode, Outgoing, Pace, Payload,
        ReadPoint, Role, SendError, StatePiece, Ticket, Timeouts, Told, Turn, Upcalls, View,
    };
    pub use squall_transport::exchange::{
        ClusterKey, ConnectOptions, Exchange, LocalExchange, Place, RendezvousServer, ServerEvent, ServerOptions, Session, random_node,
    };
    pub use squall_transport::mesh::{Mesh, MeshOptions};
    pub use squall_transport::shm::ShmFabric;
    pub use squall_transport::tcp::TcpFabric;
    pub use squall_transport::verbs::{VerbsFabric, VerbsOptions};
    pub use squall_transport::{Fabric, NodeId, Rank};
}

/// Keeps the example in the README true.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
