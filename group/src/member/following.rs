//! A newcomer that is in no view yet: whom it asks, and who gives it the state.

use std::net::SocketAddr;
use std::time::Duration;

use squall_membership::MEMBERS_MAX;
use squall_transport::mesh::Net;
use squall_transport::{Fabric, NodeId};

use super::message::{Control, Outline};
use super::taking::Taking;
use super::{Member, MemberError, Stage};
use crate::role::Role;

/// Givers that a newcomer may lose before it gives up.
const GIVERS_MAX: u32 = 4;
/// Contacts beyond which it heeds nobody who names others: the members of some views.
const CONTACTS_MAX: usize = 4 * MEMBERS_MAX;

/// A newcomer on its way.
#[derive(Debug)]
pub(crate) struct Following {
    pub(crate) role: Role,
    agreement: String,
    /// Whom to ask, one after the other, and who is next.
    contacts: Vec<SocketAddr>,
    next: usize,
    asked: Vec<Asked>,
    /// Who is asked last has until then before the next one is asked too.
    ask_next_ns: u64,
    silent: Vec<(SocketAddr, String)>,
    refused: Option<(SocketAddr, String)>,
    began_ns: u64,
    timeout_ns: u64,
    givers: u32,
}

/// A contact that has yet to answer.
#[derive(Debug)]
struct Asked {
    contact: SocketAddr,
    node: Option<NodeId>,
    transfer: u64,
}

impl Following {
    pub(crate) fn new(contacts: Vec<SocketAddr>, role: Role, agreement: String, timeout_ns: u64, now_ns: u64) -> Following {
        Following {
            role,
            agreement,
            contacts,
            next: 0,
            asked: Vec::new(),
            ask_next_ns: now_ns,
            silent: Vec::new(),
            refused: None,
            began_ns: now_ns,
            timeout_ns,
            givers: 0,
        }
    }

    /// Whom to ask now, if anybody.
    fn turn(&mut self, now_ns: u64) -> Result<Option<SocketAddr>, MemberError> {
        if now_ns < self.ask_next_ns && !self.asked.is_empty() {
            return self.in_time(now_ns).map(|()| None);
        }
        if let Some(&contact) = self.contacts.get(self.next) {
            self.next += 1;
            return Ok(Some(contact));
        }
        if self.asked.is_empty() {
            return Err(match self.refused.take() {
                Some((contact, reason)) => MemberError::Refused { contact, reason },
                None => MemberError::NoContact(std::mem::take(&mut self.silent)),
            });
        }
        self.in_time(now_ns).map(|()| None)
    }

    fn in_time(&self, now_ns: u64) -> Result<(), MemberError> {
        if now_ns < self.began_ns.saturating_add(self.timeout_ns) {
            return Ok(());
        }
        let contact = self.contacts[self.next.saturating_sub(1)];
        Err(MemberError::Late { contact, waited: Duration::from_nanos(self.timeout_ns) })
    }

    /// When it has something to do by itself.
    pub(crate) fn due_ns(&self) -> u64 {
        let over_ns = self.began_ns.saturating_add(self.timeout_ns);
        if self.next < self.contacts.len() { over_ns.min(self.ask_next_ns) } else { over_ns }
    }

    /// A contact will not do: the next one is asked at once.
    fn strike(&mut self, is: impl Fn(&Asked) -> bool, now_ns: u64) -> Option<SocketAddr> {
        let place = self.asked.iter().position(is)?;
        self.ask_next_ns = now_ns;
        Some(self.asked.remove(place).contact)
    }

    /// Nobody is reached at `address`.
    pub(crate) fn unreachable(&mut self, address: SocketAddr, reason: String, now_ns: u64) {
        if let Some(contact) = self.strike(|asked| asked.contact == address && asked.node.is_none(), now_ns) {
            self.silent.push((contact, reason));
        }
    }

    /// Who was asked is gone. Others may have heard of this newcomer by it, or not: the next contact is asked under the
    /// same name, which is in at most once.
    pub(crate) fn down(&mut self, node: NodeId, reason: String, now_ns: u64) {
        if let Some(contact) = self.strike(|asked| asked.node == Some(node), now_ns) {
            self.silent.push((contact, reason));
        }
    }

    /// Who was asked will not have it, and names others, who are asked behind those that are known.
    pub(crate) fn refused(&mut self, node: NodeId, transfer: u64, reason: String, others: &[SocketAddr], now_ns: u64) {
        if let Some(contact) = self.strike(|asked| (asked.node, asked.transfer) == (Some(node), transfer), now_ns) {
            self.refused.get_or_insert((contact, reason));
            for &other in others {
                if self.contacts.len() < CONTACTS_MAX {
                    self.learn_of(other);
                }
            }
        }
    }

    /// One more to ask, unless it was named before.
    fn learn_of(&mut self, contact: SocketAddr) {
        if !self.contacts.contains(&contact) {
            self.contacts.push(contact);
        }
    }

    /// A connection stands; if it leads to a contact, that is asked.
    pub(crate) fn up(&mut self, node: NodeId, address: SocketAddr, net: &impl Net) {
        for asked in self.asked.iter_mut().filter(|asked| asked.contact == address && asked.node.is_none()) {
            asked.node = Some(node);
            let ask = Control::Ask { transfer: asked.transfer, sends: self.role.sends(), agreement: self.agreement.clone() };
            // If it has gone, its Down follows.
            let _ = ask.say(net, node);
        }
    }

    /// Somebody took it: the others need do nothing. Whether that one was asked.
    fn taken_by(&mut self, node: NodeId, transfer: u64, net: &impl Net) -> bool {
        if !self.asked.iter().any(|asked| (asked.node, asked.transfer) == (Some(node), transfer)) {
            return false;
        }
        for asked in self.asked.drain(..).filter(|asked| asked.transfer != transfer) {
            if let Some(other) = asked.node {
                // If it has gone it gives nothing.
                let _ = Control::Done { transfer: asked.transfer }.say(net, other);
            }
        }
        true
    }

    /// The giver is of no more use: members that are known are asked, others than that one first.
    fn begin_again(&mut self, members: Vec<SocketAddr>, lost: Option<SocketAddr>, now_ns: u64) -> Result<(), MemberError> {
        self.givers += 1;
        if self.givers == GIVERS_MAX {
            return Err(match self.refused.take() {
                Some((contact, reason)) => MemberError::Refused { contact, reason },
                None => MemberError::Giver { givers: GIVERS_MAX },
            });
        }
        let known = members.into_iter().chain(self.contacts.drain(..)).collect::<Vec<_>>();
        known.iter().filter(|&&address| Some(address) != lost).chain(&lost).for_each(|&address| self.learn_of(address));
        (self.next, self.began_ns, self.ask_next_ns) = (0, now_ns, now_ns);
        self.asked.clear();
        self.silent.clear();
        Ok(())
    }
}

impl<F: Fabric, N: Net> Member<F, N> {
    /// What a newcomer does that is in no view. Whether it did anything.
    pub(super) fn follow(&mut self, now_ns: u64) -> Result<bool, MemberError> {
        if let Some(taking) = &self.taking {
            if taking.has_more() || now_ns <= taking.heard_ns + self.patience.giver_ns {
                return Ok(false);
            }
            return self.lose_giver(now_ns, None).map(|()| true);
        }
        let Stage::Following(following) = &mut self.stage else { return Ok(false) };
        let Some(contact) = following.turn(now_ns)? else { return Ok(false) };
        self.transfers += 1;
        following.ask_next_ns = now_ns + self.patience.ask_ns;
        following.asked.push(Asked { contact, node: None, transfer: self.transfers });
        match self.net.peers().into_iter().find(|(_, address)| *address == contact) {
            Some((node, address)) => following.up(node, address, &self.net),
            None => self.net.connect(contact, None),
        }
        Ok(true)
    }

    /// Whoever gave the state gives it no more.
    pub(super) fn lose_giver(&mut self, now_ns: u64, refusal: Option<String>) -> Result<(), MemberError> {
        let Some(taking) = self.taking.take() else { return Ok(()) };
        // If it has gone it gives nothing.
        let _ = Control::Done { transfer: taking.transfer() }.say(&self.net, taking.giver);
        let address = self.addresses.get(&taking.giver).copied();
        if let Stage::Following(following) = &mut self.stage {
            if let (Some(reason), Some(contact)) = (refusal, address) {
                following.refused = Some((contact, reason));
            }
            let members = self.view.nodes.iter().filter_map(|node| self.addresses.get(node).copied()).collect();
            following.begin_again(members, address, now_ns)?;
        }
        Ok(())
    }

    /// A contact takes this newcomer.
    pub(super) fn noted(&mut self, from: NodeId, transfer: u64, outline: &Outline, addresses: &[(NodeId, SocketAddr)], now_ns: u64) {
        let wanted = match &mut self.stage {
            Stage::Following(following) if self.taking.is_none() => following.taken_by(from, transfer, &self.net),
            _ => false,
        };
        let Some(view) = outline.seen_by(self.net.node()).filter(|_| wanted) else {
            if self.taking.as_ref().is_none_or(|taking| taking.transfer() != transfer) {
                // If it has gone it gives nothing.
                let _ = Control::Done { transfer }.say(&self.net, from);
            }
            return;
        };
        self.view = view;
        self.addresses.extend(addresses.iter().copied());
        self.taking = Some(Taking::new(from, transfer, now_ns));
        // When their view begins its connections stand.
        for node in &self.view.nodes {
            if let Some(address) = self.addresses.get(node) {
                self.net.connect(*address, Some(*node));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_others_without_end_is_heeded_so_far_and_no_further() {
        let (first, node) = (SocketAddr::from(([127, 0, 0, 1], 1)), NodeId(9));
        let mut following = Following::new(vec![first], Role::Sender, String::new(), u64::MAX, 0);
        let mut asked = 0;
        let over = loop {
            match following.turn(0) {
                Ok(contact) => {
                    let contact = contact.expect("nobody is waited for");
                    let others: Vec<SocketAddr> = (1..100).map(|more| SocketAddr::new(contact.ip(), contact.port() + more)).collect();
                    following.asked.push(Asked { contact, node: Some(node), transfer: 7 });
                    following.refused(node, 7, "ask another".into(), &others, 0);
                    asked += 1;
                }
                Err(over) => break over,
            }
        };
        assert_eq!(asked, CONTACTS_MAX);
        assert!(matches!(over, MemberError::Refused { contact, .. } if contact == first), "{over}");
    }
}
