//! # Squall's benchmark
//!
//! The library behind the `squall` program. It measures every layer of Squall on one fabric, in one run, against a
//! bound, and turns what it measured into files, figures and comparisons.
//!
//! ```text
//!   cli --request--> run: plan, child processes, progress
//!                     |
//!                     v
//!   node <--orders-- experiments --rows--> results: files, summary, plots, report, comparison
//! ```
#![forbid(unsafe_code)]

pub mod ask;
pub mod chaos;
pub mod cli;
pub mod experiments;
pub mod jobs;
pub mod run;
