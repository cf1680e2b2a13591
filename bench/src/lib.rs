//! # Squall's benchmark
//!
//! The library behind the `squall` program. It measures every layer of Squall on one fabric, in one run, against a
//! bound. What it measured goes to files, figures and comparisons, which `squall_report` makes.
//!
//! ```text
//!   cli                    commands, and the child's entry
//!   experiments   chaos    what is measured and how, parent's side and node's side; faults, and how traces are checked
//!   doctor                 what a machine offers, what stands in the way, which fabric works
//!   run                    the loop over points; processes, hosts, rendezvous, progress
//!   ask                    what can be asked for: experiments, axes, sizes, settings, the plan
//!   jobs                   what a node is told and answers
//! ```
//!
//! Each floor knows those below it, and none above; a test of `tools/layers` keeps it so.
#![forbid(unsafe_code)]

pub mod ask;
pub mod chaos;
pub mod cli;
pub mod doctor;
pub mod experiments;
pub mod jobs;
pub mod run;
