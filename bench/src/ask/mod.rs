//! What can be asked for, and what comes of it before anything runs.
//!
//! ```text
//!   Request, Machine --Sweep--> Settings --Plan::of--> points, each with its memory and its time
//! ```

pub mod axes;
pub mod defaults;
pub mod effect;
mod estimate;
pub mod experiment;
pub mod fabric;
pub mod host;
pub mod hostlist;
pub mod machine;
pub mod memory;
pub mod network;
pub mod omnipaxos;
pub mod orders;
pub mod plan;
pub mod point;
pub mod policy;
pub mod request;
pub mod setting;
pub mod size;
mod sweep;
pub mod upset;
pub mod verbs;
