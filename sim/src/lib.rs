//! Simulated clusters by seed, the checker of their traces, and the mutants it must catch.

#![forbid(unsafe_code)]

pub mod checker;
pub mod trace;
mod view;
