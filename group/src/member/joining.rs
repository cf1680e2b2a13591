//! How a newcomer becomes a member.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use squall_transport::mesh::{Mesh, MeshEvent};
use squall_transport::{Fabric, NodeId};

use super::change::{meeting, roles};
use super::message::{Control, Welcome};
use super::state::Taking;
use super::{Member, MemberError, MemberOptions};
use crate::group::Group;

/// How long the first members wait for each other's connections.
pub(super) const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// What came of asking one contact.
enum Answer {
    Welcome(Welcome),
    /// It cannot be reached, or is gone.
    NoContact(String),
    Refused(String),
}

impl<F: Fabric> Member<F> {
    /// Joins a group that is there, by asking `contacts` (addresses of any members) one after the other; `sends`: it wants to send. It is a member when
    /// this returns, but delivers only once [`Member::turn`] has brought in the application's state.
    ///
    /// # Errors
    /// [`MemberError`]: no contact answers, one refuses, no view takes it in within `timeout`, or the view cannot be entered. `mesh` is then of no more use: come
    /// back under a new name.
    pub fn join(
        options: MemberOptions,
        fabric: F,
        mesh: Mesh,
        contacts: &[SocketAddr],
        sends: bool,
        timeout: Duration,
    ) -> Result<Member<F>, MemberError> {
        let ask = Control::Ask { sends, agreement: options.config.agreement(fabric.name()) };
        let welcome = find_a_way_in(&mesh, contacts, &ask, timeout)?;
        let view = welcome.view_of(mesh.node()).ok_or(MemberError::Welcome)?;
        let addresses: HashMap<NodeId, SocketAddr> = welcome.addresses.iter().copied().collect();
        // Members that were there call newcomers; newcomers call those before them.
        for node in &view.nodes[..view.me.index()] {
            if let Some(address) = addresses.get(node) {
                mesh.connect(*address, Some(*node));
            }
        }
        let mut exchange = mesh.meet(meeting(&view, welcome.token, options.patience));
        let mut group = Group::enter(&options.lenient(), view.clone(), &fabric, &mut exchange)?;
        let roles = roles(&mut exchange, &view, true)?;
        drop(exchange);
        if roles.restored.is_empty() {
            return Err(MemberError::StateLost { view: view.id });
        }
        group.await_state();
        let mut member = Member::new(group, fabric, mesh, options, welcome.token, addresses);
        member.taking = Some(Taking::new(view.id));
        Ok(member)
    }
}

/// Asks one contact after the other until a welcome comes.
fn find_a_way_in(mesh: &Mesh, contacts: &[SocketAddr], ask: &Control, timeout: Duration) -> Result<Welcome, MemberError> {
    let (started, mut silent) = (Instant::now(), Vec::new());
    for &contact in contacts {
        match ask_one(mesh, contact, ask, started + timeout) {
            Some(Answer::Welcome(welcome)) => return Ok(welcome),
            Some(Answer::Refused(reason)) => return Err(MemberError::Refused { contact, reason }),
            Some(Answer::NoContact(reason)) => silent.push((contact, reason)),
            None => return Err(MemberError::Late { contact, waited_ms: timeout.as_millis() as u64 }),
        }
    }
    Err(MemberError::NoContact(silent))
}

/// Asks one contact; `None` if it took note, but no welcome came in time.
fn ask_one(mesh: &Mesh, contact: SocketAddr, ask: &Control, deadline: Instant) -> Option<Answer> {
    mesh.connect(contact, None);
    let mut asked = None;
    loop {
        match mesh.wait(deadline)? {
            MeshEvent::Up { node, address } if address == contact => {
                asked = Some(node);
                // If it has gone, its Down follows.
                let _ = ask.say(mesh, node);
            }
            MeshEvent::Unreachable { address, reason, .. } if address == contact => return Some(Answer::NoContact(reason)),
            // Others may have heard of this newcomer by it, or not: the next contact is asked under the same name, which is in at most once.
            MeshEvent::Down { node, reason } if asked == Some(node) => return Some(Answer::NoContact(reason)),
            MeshEvent::Message { bytes, .. } => match Control::heard(&bytes) {
                Some((Control::Welcome(welcome), _)) => return Some(Answer::Welcome(welcome)),
                Some((Control::Refused { reason }, _)) => return Some(Answer::Refused(reason)),
                _ => {}
            },
            _ => {}
        }
    }
}
