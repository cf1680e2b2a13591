//! Opening a fabric as one node of a meeting.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use squall_transport::exchange::{BindError, ClusterKey, ConnectOptions, Session};
use squall_transport::mesh::{Mesh, MeshError, MeshOptions};
use squall_transport::tcp::TcpFabric;
use squall_transport::{LOST_AFTER, NodeId, Rank};

use super::job::Job;

/// How long a node tries to reach the rendezvous, which listens before any node starts.
const CONNECT: Duration = Duration::from_secs(20);

/// Joins the job's meeting as its rank.
///
/// # Errors
/// If the job has no meeting, or the rendezvous refuses.
pub fn meet(job: &Job) -> anyhow::Result<Session> {
    let Some(meeting) = &job.meeting else { bail!("this work needs a meeting, and the job has none") };
    let key = ClusterKey::from_hex(&meeting.key).context("the cluster key")?;
    // Process ids of different hosts may be the same; ranks of a point are not.
    let node = NodeId(u64::from(job.rank));
    let options = ConnectOptions { node, rank: Some(Rank::new(job.rank as usize)), timeout: CONNECT };
    Ok(Session::connect(meeting.place.clone(), &key, &options)?)
}

/// The mesh of a member, by which it meets others again when the group changes: at the address that the job's other
/// nodes reach, or on this host alone, which needs no IP.
///
/// # Errors
/// If it cannot listen.
pub fn mesh(job: &Job, key: &ClusterKey, node: NodeId) -> Result<Mesh, MeshError> {
    match job.address {
        Some(address) => {
            let open = |port| Mesh::open(SocketAddr::new(address, port), key, node, MeshOptions::default());
            job.ports.first_free(open, is_taken)
        }
        None => mesh_of_this_host(key, node),
    }
}

/// The same, for processes of this host alone.
///
/// # Errors
/// If it cannot listen.
pub fn mesh_of_this_host(key: &ClusterKey, node: NodeId) -> Result<Mesh, MeshError> {
    match squall_transport::loopback() {
        Ok(address) => Mesh::open(SocketAddr::new(address, 0), key, node, MeshOptions::default()),
        Err(_) => Mesh::open_local(key, node, MeshOptions::default()),
    }
}

fn is_taken(error: &MeshError) -> bool {
    matches!(error, MeshError::Bind(BindError::Listen { reason, .. }) if reason.kind() == ErrorKind::AddrInUse)
}

/// TCP as a job wants it.
pub fn tcp(job: &Job) -> TcpFabric {
    job.address.map_or_else(TcpFabric::default, TcpFabric::new).ports(job.ports).lost_after(job.lost_after.unwrap_or(LOST_AFTER))
}

/// Calls `$body` with `$fabric` bound to the provider that `$kind` names, as `$job` wants it.
macro_rules! with_fabric {
    ($kind:expr, $job:expr, $fabric:ident => $body:expr) => {
        match $kind {
            $crate::jobs::kinds::FabricKind::Shm => {
                let $fabric = squall_transport::shm::ShmFabric::new();
                $body
            }
            $crate::jobs::kinds::FabricKind::Tcp => {
                let $fabric = $crate::jobs::fabric::tcp($job);
                $body
            }
            $crate::jobs::kinds::FabricKind::Verbs => {
                let $fabric = squall_transport::verbs::VerbsFabric::new($job.rdma.options($job.core));
                $body
            }
        }
    };
}
pub(crate) use with_fabric;
