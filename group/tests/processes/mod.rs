//! Processes (threads here) of a group whose members come and go.

use std::io::{Cursor, Read};
use std::net::SocketAddr;
use std::time::Duration;

use squall_group::{Config, Delivery, Member, MemberError, MemberOptions, Outgoing, Pace, StatePiece, Timeouts, Upcalls, View};
use squall_transport::exchange::ClusterKey;
use squall_transport::mesh::{Mesh, MeshOptions};
use squall_transport::{Fabric, NodeId, Rank, RegionOptions};

/// Longer than any of these tests on any machine: who is lost is noticed by its links, and who is late is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of state beside what was delivered: more than one message of the mesh takes.
const BALLAST: usize = 3 << 20;

pub(crate) fn key() -> ClusterKey {
    ClusterKey::from_hex(&"07".repeat(32)).expect("64 digits")
}

pub(crate) fn mesh(node: u64) -> Mesh {
    Mesh::open("127.0.0.1:0".parse().unwrap(), &key(), NodeId(node), MeshOptions::default()).expect("loopback is there")
}

pub(crate) fn options(senders: usize) -> MemberOptions {
    let config = Config {
        ring_bytes: 4096,
        small_max: 300,
        large_max: 20_000,
        transfers_max: 2,
        senders_max: 8,
        window_messages: 32,
        block_bytes: Some(4096),
        membership: Some(Timeouts { learner: PATIENCE, ..Timeouts::after(PATIENCE) }),
        region: RegionOptions::default(),
        ..Config::new((0..senders).map(Rank::new).collect())
    };
    MemberOptions { patience: PATIENCE, ..MemberOptions::new(config) }
}

/// Its state is what was delivered: who sent it and its number.
#[derive(Default)]
pub(crate) struct App {
    pub(crate) delivered: Vec<(u64, u64)>,
    /// State in the making.
    restoring: Vec<u8>,
    pub(crate) restores: usize,
    pub(crate) views: Vec<View>,
    /// Deliveries before each view.
    pub(crate) before: Vec<usize>,
}

impl Upcalls for App {
    fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        let word = |at: usize| u64::from_le_bytes(delivery.payload[at..at + 8].try_into().unwrap());
        self.delivered.push((word(0), word(8)));
    }

    fn view_installed(&mut self, view: &View) {
        self.views.push(view.clone());
        self.before.push(self.delivered.len());
    }

    fn snapshot(&mut self) -> Box<dyn Read + Send> {
        let mut bytes = vec![7; BALLAST];
        for (node, number) in &self.delivered {
            bytes.extend_from_slice(&node.to_le_bytes());
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        Box::new(Cursor::new(bytes))
    }

    fn restore(&mut self, piece: StatePiece<'_>) {
        match piece {
            StatePiece::Begin => self.restoring.clear(),
            StatePiece::Bytes(bytes) => self.restoring.extend_from_slice(bytes),
            StatePiece::End => {
                let (ballast, rest) = self.restoring.split_at(BALLAST);
                assert!(ballast.iter().all(|&byte| byte == 7));
                let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap());
                self.delivered = rest.chunks_exact(16).map(|pair| (word(&pair[..8]), word(&pair[8..]))).collect();
                self.restores += 1;
            }
        }
    }
}

/// One process's life.
pub(crate) struct Life<F: Fabric> {
    pub(crate) member: Member<F>,
    pub(crate) app: App,
    pub(crate) pace: Pace,
    pub(crate) sent: u64,
}

impl<F: Fabric> Life<F> {
    pub(crate) fn new(member: Member<F>) -> Life<F> {
        let mut app = App::default();
        if !member.is_behind() {
            app.view_installed(member.view());
        }
        Life { member, app, pace: Pace::for_members(8), sent: 0 }
    }

    pub(crate) fn join(fabric: F, node: u64, contacts: &[SocketAddr]) -> Result<Life<F>, MemberError> {
        Ok(Life::new(Member::join(options(1), fabric, mesh(node), contacts, true, PATIENCE)?))
    }

    /// Sends up to `messages` in all, until `done`.
    pub(crate) fn live(&mut self, messages: u64, mut done: impl FnMut(&Life<F>) -> bool) -> Result<(), MemberError> {
        while !done(self) {
            while self.sent < messages {
                let mut payload = vec![0; if self.sent % 10 == 9 { 9000 } else { 100 }];
                payload[..8].copy_from_slice(&self.member.node().0.to_le_bytes());
                payload[8..16].copy_from_slice(&self.sent.to_le_bytes());
                if self.member.send(&payload).is_err() {
                    break;
                }
                self.sent += 1;
            }
            self.member.turn(&mut self.app, &mut self.pace)?;
        }
        Ok(())
    }
}
