//! OmniPaxos beside our orders: the same node under the same load, whose messages another program puts in order.
//!
//! ```text
//!   send      a command of the replica: the node's rank and the payload, in the heap
//!   turn      what was sent since the last one is proposed, in one piece; what came over the links is handled; what
//!             the replica wants to say goes out, one frame a link; what is decided is delivered
//!   link      a byte ring each way between two nodes, written as a group's rings are (`link`)
//! ```
//!
//! The library is `omnipaxos`, with its authors' storage in memory; messages are encoded by `postcard`. It has no I/O
//! and no threads, so the loop, its waiting, the payloads, their checks and the marks around a trial are those of our
//! groups. Node 0 leads from the start. The library's own batches (`batch_size`) are off, since what does not fill one
//! waits for a tick; instead all commands of a turn are handed over as one proposal, which is what the library makes of
//! commands that another node forwards, and it gathers what it says to a node until that is fetched. A sender has as
//! many messages under way as in a group, and sends none while a link of its own is full. Silence counts as death
//! after as long as in a group with membership.
//!
//! So what is measured is the order with its encoding and its heap: each payload is copied into the heap, the frame,
//! the ring, the peer's ring and the peer's heap, where a group writes and reads it in the rings. By rule it costs what
//! [`crate::ask::omnipaxos`] says.

mod command;
mod link;
mod replica;

use squall_transport::Endpoint;

use self::link::Links;
use self::replica::Replica;
use super::group::node::Member;
use crate::ask::omnipaxos::LINK_RING_BYTES;
use crate::jobs::control::Control;
use crate::jobs::fabric::{meet, with_fabric};
use crate::jobs::group::GroupJob;
use crate::jobs::job::Job;

/// The node's side.
///
/// # Errors
/// If the links cannot be had or break, a message is none, or the parent is gone.
pub fn node(job: &Job, group_job: &GroupJob, control: &mut Control) -> anyhow::Result<()> {
    let mut session = meet(job)?;
    with_fabric!(group_job.fabric, job, fabric => {
        let links = Links::open(&fabric, &mut session, LINK_RING_BYTES)?;
        drop(session);
        serve(links, job, group_job, control)
    })
}

fn serve<E: Endpoint>(links: Links<E>, job: &Job, group_job: &GroupJob, control: &mut Control) -> anyhow::Result<()> {
    control.wake_with(links.waker());
    control.ready(links.notices())?;
    Member::new(Replica::new(links, group_job)?, job, group_job).serve(control)
}
