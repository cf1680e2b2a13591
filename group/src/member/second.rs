//! Asking a witness, when one of two members has lost the other.

use std::net::SocketAddr;

use squall_membership::Witness;
use squall_transport::NodeId;
use squall_transport::exchange::derived_token;
use squall_transport::mesh::Net;

use super::message::Control;

/// One question to the witness.
#[derive(Debug)]
struct Question {
    witness: SocketAddr,
    ballot: [u8; 32],
    deadline_ns: u64,
}

impl Question {
    fn put(&self, node: NodeId, net: &impl Net) {
        // If it is gone again the deadline ends the waiting.
        let _ = Control::Side { ballot: self.ballot }.say(net, node);
    }
}

/// The question of this view, if there is one.
#[derive(Debug, Default)]
pub(crate) struct Second {
    question: Option<Question>,
}

impl Second {
    /// Asks, or goes on waiting; the answer if there will be none.
    pub(crate) fn ask(&mut self, witness: SocketAddr, token: &[u8; 32], net: &impl Net, now_ns: u64, patience_ns: u64) -> Option<Witness> {
        let question = self.question.get_or_insert_with(|| {
            let question = Question { witness, ballot: derived_token(token, b"witness"), deadline_ns: now_ns.saturating_add(patience_ns) };
            match net.peers().into_iter().find(|(_, address)| *address == witness) {
                Some((node, _)) => question.put(node, net),
                None => net.connect(witness, None),
            }
            question
        });
        (now_ns >= question.deadline_ns).then_some(Witness::Refuses)
    }

    /// When waiting is over.
    pub(crate) fn deadline_ns(&self) -> Option<u64> {
        self.question.as_ref().map(|question| question.deadline_ns)
    }

    /// A connection stands; if it is the witness's, it is asked.
    pub(crate) fn is_up(&self, node: NodeId, address: SocketAddr, net: &impl Net) {
        if let Some(question) = &self.question
            && question.witness == address
        {
            question.put(node, net);
        }
    }

    /// Nobody is reached at `address`.
    pub(crate) fn is_down(&mut self, address: SocketAddr) {
        if let Some(question) = &mut self.question
            && question.witness == address
        {
            question.deadline_ns = 0;
        }
    }

    /// An answer came.
    pub(crate) fn heard(&self, ballot: &[u8; 32], with_you: bool) -> Option<Witness> {
        let mine = self.question.as_ref().is_some_and(|question| question.ballot == *ballot);
        mine.then_some(if with_you { Witness::Sides } else { Witness::Refuses })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_witness_says_of_another_view_is_no_answer() {
        let (mine, earlier) = (derived_token(&[1; 32], b"witness"), derived_token(&[2; 32], b"witness"));
        let question = Question { witness: "127.0.0.1:1".parse().unwrap(), ballot: mine, deadline_ns: 5 };
        let asking = Second { question: Some(question) };
        for with_you in [true, false] {
            assert_eq!(asking.heard(&earlier, with_you), None, "it comes late");
            assert_eq!(Second::default().heard(&earlier, with_you), None, "nobody asks");
        }
        assert_eq!(asking.heard(&mine, true), Some(Witness::Sides));
        assert_eq!(asking.heard(&mine, false), Some(Witness::Refuses));
    }
}
