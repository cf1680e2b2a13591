//! The real witness, with a file that tears.

use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::rc::Rc;

use squall_group::{Journal, WitnessService};
use squall_transport::NodeId;
use squall_transport::mesh::Net;
use squall_transport::sim::{Random, SimNet, SimNets};

/// A file in memory; its owner may die while it writes.
#[derive(Clone, Debug, Default)]
pub(super) struct TornFile {
    bytes: Rc<RefCell<Vec<u8>>>,
    /// The next line is written up to here only, and then the witness is dead.
    tears_at: Rc<RefCell<Option<u64>>>,
}

impl Journal for TornFile {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.bytes.borrow().clone())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(part) = self.tears_at.borrow_mut().take() {
            self.bytes.borrow_mut().extend_from_slice(&bytes[..(part as usize).min(bytes.len())]);
            return Err(io::Error::other("the witness dies"));
        }
        self.bytes.borrow_mut().extend_from_slice(bytes);
        Ok(())
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.bytes.borrow_mut().truncate(len as usize);
        Ok(())
    }
}

/// The witness, which may die and be started again at its address.
#[derive(Debug)]
pub(super) struct Witness {
    pub(super) net: SimNet,
    service: Option<WitnessService<SimNet, TornFile>>,
    file: TornFile,
    forgets: bool,
    /// It was asked; it died while it wrote a line.
    pub(super) asked: bool,
    pub(super) torn: bool,
}

impl Witness {
    pub(super) fn new(nets: &SimNets, node: NodeId, forgets: bool) -> Witness {
        let mut witness = Witness { net: nets.open(node), service: None, file: TornFile::default(), forgets, asked: false, torn: false };
        witness.start();
        witness
    }

    /// Starts it, or starts it again with what its file says.
    fn start(&mut self) {
        let service = WitnessService::with(self.net.clone(), Some(self.file.clone()), Path::new("witness"));
        self.service = service.map_err(|error| panic!("{error}")).ok();
        if let Some(service) = self.service.as_mut().filter(|_| self.forgets) {
            service.set_forgetful();
        }
    }

    /// It will die while it writes its next line, and come back.
    pub(super) fn tear(&mut self, random: &mut Random) {
        *self.file.tears_at.borrow_mut() = Some(random.below(80));
    }

    pub(super) fn step(&mut self) {
        match self.service.as_mut().map(WitnessService::step) {
            Some(Ok(answered)) => self.asked |= answered > 0,
            Some(Err(_)) => {
                (self.torn, self.service) = (true, None);
                self.start();
            }
            None => {}
        }
    }

    pub(super) fn address(&self) -> std::net::SocketAddr {
        self.net.address()
    }
}
