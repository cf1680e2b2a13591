//! Provider `model`: the same rules as every fabric, in virtual time, with what network cards, links, switches and
//! kernels cost.
//!
//! ```text
//!   one core       egress port            switch               ingress port        memory
//!   post, post     bytes queue a link,    leaves, if it is     bytes queue         a Span and the Word behind it
//!   doorbell  -->  links take turns  -->  oversubscribed  -->  in arrival     -->  are readable once the last byte is in
//! ```
//!
//! Where [`sim`](crate::sim) asks whether the protocols are right under everything the rules allow, this asks how fast
//! they are. Times are picoseconds, so that a byte of a 400 Gb/s link is a whole number; the same calls give the same
//! times.
//!
//! - [`ModelSpec`]: what costs how much. [`KernelSpec`] makes the links TCP: bytes cost both cores time, calls too, and
//!   what is in flight fits the kernel's buffers. [`LaneSpec`] holds large messages back as a fabric with less
//!   pipelining does, and has threads beside the loop.
//! - [`ModelNetwork`]: the time, and everything on its way. [`ModelFabric`] opens endpoints on it.
//! - The pool may be *hollow* (`ModelSpec::hollow_pools`): a Span between pools takes its time and moves no byte. The
//!   table is real; of Spans within it the payloads of records may be hollow too ([`RecordsSpec`]). [`ModelFabric`]
//!   gives reserved address space for both.
//!
//! What it does not do: run members (the crate `squall-study` does), lose or break anything, or bound a switch's
//! buffers: what an ingress port cannot take waits before it and holds up nobody's egress.

mod due;
mod fabric;
mod lanes;
mod link;
mod network;
mod node;
mod spec;
mod state;
mod wire;

pub use fabric::{ModelEndpoint, ModelFabric};
pub use network::{Counted, ModelNetwork};
pub use spec::{HostSpec, KernelSpec, LaneSpec, ModelSpec, MoverSpec, NicSpec, PS_PER_S, RecordsSpec, SwitchSpec};
