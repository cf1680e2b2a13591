//! The first members of a group, until they are connected.

use std::net::SocketAddr;

use squall_transport::mesh::Net;
use squall_transport::{Fabric, NodeId};

use super::{Member, MemberError, Stage};
use crate::view::View;

/// A founder that waits for the connections with the others.
#[derive(Debug)]
pub(crate) struct Founding {
    others: Vec<NodeId>,
    deadline_ns: u64,
    /// The secret of the first view, if its members meet over their connections; else the caller opens it.
    token: Option<[u8; 32]>,
}

impl Founding {
    pub(crate) fn new(view: &View, token: Option<[u8; 32]>, deadline_ns: u64) -> Founding {
        let others = view.nodes.iter().copied().filter(|&node| node != view.node()).collect();
        Founding { others, deadline_ns, token }
    }

    pub(crate) fn due_ns(&self) -> u64 {
        self.deadline_ns
    }

    pub(crate) fn unreachable(&self, node: Option<NodeId>, address: SocketAddr, reason: &str) -> Result<(), MemberError> {
        if node.is_some_and(|node| self.others.contains(&node)) {
            return Err(MemberError::Found(format!("the member at {address} cannot be reached: {reason}")));
        }
        Ok(())
    }
}

impl<F: Fabric, N: Net> Member<F, N> {
    /// Whether all founders are connected with this one.
    pub(super) fn is_gathered(&self) -> bool {
        let Stage::Founding(founding) = &self.stage else { return false };
        let peers = self.net.peers();
        founding.others.iter().all(|node| peers.iter().any(|peer| peer.0 == *node))
    }

    /// What a founder does until its first view. Whether it did anything.
    pub(super) fn gather(&mut self, now_ns: u64) -> Result<bool, MemberError> {
        let gathered = self.is_gathered();
        let Stage::Founding(founding) = &self.stage else { return Ok(false) };
        match founding.token {
            _ if !gathered && now_ns >= founding.deadline_ns => Err(MemberError::Found("not all members connected in time".into())),
            Some(token) if gathered => {
                self.token = token;
                let view = self.view.clone();
                self.meet(view, token)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}
