//! Asking a witness, when one of two members has lost the other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use squall_membership::Witness;
use squall_transport::NodeId;
use squall_transport::exchange::derived_token;
use squall_transport::mesh::Mesh;

use super::message::Control;

/// One question to the witness.
#[derive(Debug)]
struct Question {
    witness: SocketAddr,
    ballot: [u8; 32],
    deadline: Instant,
}

impl Question {
    fn put(&self, node: NodeId, mesh: &Mesh) {
        // If it is gone again the deadline ends the waiting.
        let _ = Control::Side { ballot: self.ballot }.say(mesh, node);
    }
}

/// The question of this view, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Second {
    question: Option<Question>,
}

impl Second {
    /// Asks, or goes on waiting; the answer if there will be none.
    pub(crate) fn ask(&mut self, witness: Option<SocketAddr>, token: &[u8; 32], mesh: &Mesh, patience: Duration) -> Option<Witness> {
        let Some(witness) = witness else { return Some(Witness::Refuses) };
        let question = self.question.get_or_insert_with(|| {
            let question = Question { witness, ballot: derived_token(token, b"witness"), deadline: Instant::now() + patience };
            match mesh.peers().into_iter().find(|(_, address)| *address == witness) {
                Some((node, _)) => question.put(node, mesh),
                None => mesh.connect(witness, None),
            }
            question
        });
        (Instant::now() >= question.deadline).then_some(Witness::Refuses)
    }

    /// When waiting is over.
    pub(crate) fn deadline(&self) -> Instant {
        self.question.as_ref().map_or_else(Instant::now, |question| question.deadline)
    }

    /// A connection stands; if it is the witness's, it is asked.
    pub(crate) fn is_up(&self, node: NodeId, address: SocketAddr, mesh: &Mesh) {
        if let Some(question) = &self.question
            && question.witness == address
        {
            question.put(node, mesh);
        }
    }

    /// Nobody is reached at `address`.
    pub(crate) fn is_down(&mut self, address: SocketAddr) {
        if let Some(question) = &mut self.question
            && question.witness == address
        {
            question.deadline = Instant::now();
        }
    }

    /// An answer came.
    pub(crate) fn heard(&self, ballot: &[u8; 32], with_you: bool) -> Option<Witness> {
        let mine = self.question.as_ref().is_some_and(|question| question.ballot == *ballot);
        mine.then_some(if with_you { Witness::Sides } else { Witness::Refuses })
    }
}
