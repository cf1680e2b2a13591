//! What a member does about words and news of the mesh.

use squall_membership::Stop;
use squall_transport::mesh::MeshEvent;
use squall_transport::{Fabric, NodeId};

use super::message::Control;
use super::{Member, MemberError, contact};
use crate::error::Ended;
use crate::group::Upcalls;

impl<F: Fabric> Member<F> {
    pub(super) fn suspect(&mut self, node: NodeId) {
        if let Some(rank) = self.view().rank_of(node) {
            self.group_mut().suspect(rank);
        }
    }

    pub(super) fn hear(&mut self, event: MeshEvent, upcalls: &mut impl Upcalls) -> Result<(), MemberError> {
        match event {
            MeshEvent::Up { node, address } => {
                self.calls.retain(|call| call.0 != node);
                self.second.is_up(node, address, &self.mesh);
            }
            MeshEvent::Unreachable { address, .. } => {
                self.calls.retain(|call| call.1 != address);
                self.second.is_down(address);
            }
            MeshEvent::Down { node, .. } => {
                self.asks.drop_of(node);
                self.suspect(node);
            }
            MeshEvent::Message { from, bytes } => {
                if let Some((said, behind)) = Control::heard(&bytes) {
                    return self.heed(from, &said, behind, upcalls);
                }
            }
        }
        Ok(())
    }

    fn heed(&mut self, from: NodeId, said: &Control, behind: &[u8], upcalls: &mut impl Upcalls) -> Result<(), MemberError> {
        match said {
            Control::Ask { sends, agreement } => self.note(from, *sends, agreement),
            Control::Removed { view } if *view == self.view().id + 1 => {
                if let Some(by) = self.view().rank_of(from) {
                    return Err(Ended::Stopped(Stop::Excluded { by }).into());
                }
            }
            Control::Sided { ballot, with_you } => {
                if let Some(witness) = self.second.heard(ballot, *with_you) {
                    self.group_mut().hear_witness(witness);
                }
            }
            Control::Begin { .. } | Control::Bytes { .. } | Control::End { .. } => {
                let Some(taking) = &mut self.taking else { return Ok(()) };
                if taking.hear(from, said, behind, upcalls).map_err(MemberError::State)? {
                    self.taking = None;
                    let view = self.view().id;
                    self.group_mut().restored(view);
                }
            }
            // Answers to what a newcomer asked before it was in, and words of views that are over.
            Control::Noted | Control::Refused { .. } | Control::Welcome(_) | Control::Removed { .. } | Control::Side { .. } => {}
        }
        Ok(())
    }

    /// A newcomer asks.
    fn note(&mut self, from: NodeId, sends: bool, agreement: &str) {
        let ours = self.options.config.agreement(self.fabric.name());
        let address = self.mesh.peers().into_iter().find_map(|(node, address)| (node == from).then_some(address));
        let answer = match address {
            // It has gone again.
            None => return,
            _ if *agreement != *ours => Err(format!("it is configured with \"{agreement}\", the group with \"{ours}\"")),
            Some(address) => self.asks.note(contact::newcomer(from, address, sends)),
        };
        let answer = answer.map_or_else(|reason| Control::Refused { reason }, |()| Control::Noted);
        // If it has gone, its Down follows.
        let _ = answer.say(&self.mesh, from);
    }

    /// One of two members that has lost the other asks the witness. Whether it waits for the answer.
    pub(super) fn second_opinion(&mut self) -> bool {
        if !self.group().needs_witness() {
            return false;
        }
        match self.second.ask(self.options.witness, &self.token, &self.mesh, self.options.patience) {
            None => true,
            Some(witness) => {
                self.group_mut().hear_witness(witness);
                false
            }
        }
    }
}
