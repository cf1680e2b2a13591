//! What every provider of one-sided writes promises (rules T1 to T7 of [`squall_transport::Endpoint`]), checked by one
//! suite.
//!
//! A provider with real time and threads runs all of it with [`conformance!`]; one that is driven calls the checks in
//! [`suite`] that take a [`suite::Cluster`], which is driven by whoever holds it.

mod allocations;
#[macro_use]
mod suite;

mod model;
mod shm;
mod sim;
mod tcp;
mod verbs;
