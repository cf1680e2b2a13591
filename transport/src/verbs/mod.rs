//! Provider `verbs`: reliable-connected queue pairs over InfiniBand, RoCE and iWARP, real or in software.
//!
//! ```text
//!   post    a work request into the peer's chain: Words and short Spans by value, other Spans by reference
//!   flush   one doorbell a peer for the whole chain; if the peer sleeps, its last request carries an immediate
//!   poll    one look at the completion queue: credits, wake-ups, farewells, failures
//!   park    invite the peers to wake me, wait until that has landed, look once more, sleep on the completion channel
//! ```
//!
//! RC keeps one queue pair's writes in order (T1) and memory is never registered for relaxed ordering, so a Word lands
//! after the Spans before it. What the device says of that order can be asked ([`VerbsEndpoint::promises_order`]);
//! devices that keep it without a promise are common, soft-RoCE among them. For those that do not keep it (EFA,
//! adaptive routing out of order) [`VerbsOptions::counted`] has writes [counted](crate::WriteOrder::Counted). A request
//! is signalled now and then; its completion returns the credit of all before it. The completion queue is as large as
//! all send and receive queues together, so it cannot overrun.
//!
//! `libibverbs` is opened when it is first needed ([`availability`]): one binary serves machines with and without RDMA.
//! What its header has inline is called through the context's table of functions.
//!
//! iWARP has no immediates and no connections but by `librdmacm`: there a message of one word wakes, and `manager`
//! connects. Its standard promises order for messages alone; writes land in order as far as adapters place what TCP
//! hands them, in order (soft-iWARP does). Its completions say that TCP took the bytes: a process that ends is noticed
//! at once, a host that vanishes only when TCP, or the group's heartbeat, gives up.
//!
//! From epoch to epoch the device stays open and regions that come again stay registered, but queue pairs are made anew
//! ([`Fabric::retire`] drops them): destroying one is what keeps the old epoch's writes out (T5). To keep it, both ends
//! would have to drain all that was posted, writes and their completions, behind a word that says so, and the key of
//! the old table would have to be invalidated (a memory window, or its registration taken back) before the new table is
//! announced.
//!
//! What notices that a peer is gone: its farewell, if its process ends in an orderly way; else its queue pair, which
//! does not answer a write or a probe any more ([`Detection`]). A port of this host that goes down ends no link by
//! itself: only if it stays down for as long as a peer may be silent.
//!
//! Forking: regions are shared mappings, which a fork does not copy, and `ibv_fork_init` is called before anything
//! else, so that on kernels before 5.12 the library keeps its own queues from being copied away under the device;
//! children there see neither. A child that goes on without `exec` must use nothing of this provider.
//!
//! What it does not do: dmabuf (regions are memfds of this host, not memory of a GPU), relaxed ordering, reconnecting.

pub mod abi;
mod card;
mod chain;
mod choose;
mod completion;
mod counters;
mod counting;
mod credits;
mod device;
mod endpoint;
mod errors;
mod failure;
mod library;
mod limits;
mod link;
mod manager;
mod memory;
mod open;
mod opened;
mod options;
mod queue_pair;
mod request;
mod sleep;
mod sysfs;
mod wake;
mod words;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use choose::{Choice, merit};
pub use counters::Counters;
pub use endpoint::VerbsEndpoint;
pub use failure::Failure;
pub use options::{Detection, VerbsOptions};
pub use sysfs::{DeviceInfo, Gid, LinkKind, PortInfo};

use choose::{choices, common};
use device::Device;
use errors::unavailable;
use manager::Anchor;
use memory::MemoryRegion;
use opened::Opened;
use sysfs::Tree;

use crate::endpoint::{Fabric, OpenError, WriteOrder};
use crate::exchange::Exchange;
use crate::region::{Region, RegionError, RegionOptions};

/// The RDMA devices that can be used, or in one line why there are none.
pub fn availability() -> Result<Vec<DeviceInfo>, String> {
    let names = device::names()?;
    let devices: Vec<_> = Tree::system().devices().into_iter().filter(|device| names.contains(&device.name)).collect();
    if devices.is_empty() {
        return Err("no RDMA device on this machine; scripts/soft-roce makes one in software".into());
    }
    Ok(devices)
}

/// Makes endpoints over RDMA.
///
/// Memory that is registered for one epoch stays registered for the next one that opens with it: a pool outlives its
/// epochs and is large.
#[derive(Debug)]
pub struct VerbsFabric {
    options: VerbsOptions,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    opened: Option<Arc<Opened>>,
    /// The device's count of changes when it was chosen.
    changes: u64,
    registered: Vec<Arc<MemoryRegion>>,
}

impl VerbsFabric {
    /// Chooses and opens nothing yet.
    pub fn new(options: VerbsOptions) -> VerbsFabric {
        VerbsFabric { options, state: Mutex::default() }
    }

    /// What would be used: device, port and GID.
    ///
    /// # Errors
    /// [`OpenError::Unavailable`].
    pub fn chosen(&self) -> Result<Choice, OpenError> {
        Ok(self.candidates()?.swap_remove(0))
    }

    /// What could be used, the best first; at least one.
    ///
    /// # Errors
    /// [`OpenError::Unavailable`].
    pub fn candidates(&self) -> Result<Vec<Choice>, OpenError> {
        Ok(self.choices()?.0)
    }

    /// The address of this host that connections of `choice` are made from, where the connection manager makes them:
    /// over iWARP. None elsewhere.
    ///
    /// # Errors
    /// [`OpenError::Unavailable`]: the device has none.
    pub fn address_of(&self, choice: &Choice) -> Result<Option<IpAddr>, OpenError> {
        match choice.link {
            LinkKind::Iwarp => Anchor::cast(&choice.device, self.options.address).map(|anchor| Some(anchor.address)),
            LinkKind::InfiniBand | LinkKind::Roce | LinkKind::Other => Ok(None),
        }
    }

    /// What could be used, the best first, and the NUMA node of the best.
    fn choices(&self) -> Result<(Vec<Choice>, Option<u32>), OpenError> {
        let devices = availability().map_err(unavailable)?;
        let tree = Tree::system();
        let near = tree.node_of(&self.cores());
        let choices = choices(&devices, &self.options, &tree, near).map_err(unavailable)?;
        let node = devices.iter().find(|device| device.name == choices[0].device).and_then(|device| device.numa_node);
        Ok((choices, node))
    }

    /// What all members can use: see [`common`].
    fn agree(&self, exchange: &mut dyn Exchange) -> Result<Choice, OpenError> {
        let mut choices = match self.unchanged(&mut self.state()) {
            Some(opened) => vec![opened.choice.clone()],
            None => self.choices()?.0,
        };
        let networks: Vec<_> = choices.iter().map(Choice::network).collect();
        let mine: Vec<_> = networks.iter().flatten().collect();
        let parts = exchange.all_gather("verbs networks", &postcard::to_stdvec(&mine).expect("texts always encode"))?;
        // What cannot be read has no say; that member's card is refused.
        let lists: Vec<Vec<String>> = parts.iter().map(|part| postcard::from_bytes(part).unwrap_or_default()).collect();
        Ok(choices.swap_remove(common(&networks, &lists)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The core that was named, else those that this thread may use.
    fn cores(&self) -> Vec<usize> {
        if let Some(core) = self.options.core {
            return vec![core];
        }
        let set = rustix::thread::sched_getaffinity(None);
        set.map_or_else(|_| Vec::new(), |set| (0..rustix::thread::CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect())
    }

    /// What the last epoch used, unless that is gone or its ports or addresses have changed since.
    fn unchanged(&self, state: &mut State) -> Option<Arc<Opened>> {
        let is_usable = |opened: &Arc<Opened>| {
            opened.device.take_events();
            !opened.device.is_lost()
        };
        state.opened = state.opened.take().filter(is_usable);
        state.opened.clone().filter(|opened| opened.device.changes() == state.changes)
    }

    /// What was chosen, open; as the last epoch used it, if it did.
    fn opened(&self, state: &mut State, choice: Choice) -> Result<Arc<Opened>, OpenError> {
        if let Some(opened) = self.unchanged(state).filter(|opened| opened.choice == choice) {
            return Ok(opened);
        }
        let known = state.opened.take();
        let changes = known.as_ref().map_or(0, |opened| opened.device.changes());
        let (device, address) = match (choice.link, known.filter(|opened| opened.device.name == choice.device)) {
            (LinkKind::Iwarp, _) => {
                let anchor = Anchor::cast(&choice.device, self.options.address)?;
                let address = anchor.address;
                (Device::anchored(anchor, &choice.device)?, Some(address))
            }
            (_, Some(opened)) => (Arc::clone(&opened.device), None),
            (_, None) => (Device::open(&choice.device)?, None),
        };
        // What changed since `known` was asked shows the next time.
        state.changes = changes;
        Ok(Arc::clone(state.opened.insert(Arc::new(Opened { device, choice, address }))))
    }

    /// Registers `regions`, those that were registered for the last epoch not again.
    fn register(&self, state: &mut State, device: &Arc<Device>, regions: &[Region]) -> Result<Vec<Arc<MemoryRegion>>, OpenError> {
        let known = std::mem::take(&mut state.registered);
        let register = |region: &Region| match known.iter().find(|memory| memory.is_of(device, region)) {
            Some(memory) => Ok(Arc::clone(memory)),
            None => MemoryRegion::register(device, region, self.options.on_demand_paging).map(Arc::new),
        };
        state.registered = regions.iter().map(register).collect::<Result<_, _>>()?;
        Ok(state.registered.clone())
    }
}

impl Default for VerbsFabric {
    fn default() -> VerbsFabric {
        VerbsFabric::new(VerbsOptions::default())
    }
}

impl Fabric for VerbsFabric {
    type Endpoint = VerbsEndpoint;

    fn name(&self) -> &'static str {
        "verbs"
    }

    fn write_order(&self) -> WriteOrder {
        if self.options.counted { WriteOrder::Counted } else { WriteOrder::Ordered }
    }

    fn has_links(&self) -> bool {
        true
    }

    /// Memory near to the device, unless the options name a node.
    fn region(&self, bytes: usize, options: &RegionOptions) -> Result<Region, RegionError> {
        let mut options = options.clone();
        if options.numa_node.is_none() {
            // Without a device, opening says why.
            options.numa_node = self.choices().ok().and_then(|(_, node)| node);
        }
        Region::allocate(bytes, &options)
    }

    fn open(&self, exchange: &mut dyn Exchange, regions: &[Region]) -> Result<VerbsEndpoint, OpenError> {
        let choice = self.agree(exchange)?;
        let (opened, memory) = {
            let mut state = self.state();
            let opened = self.opened(&mut state, choice)?;
            let memory = self.register(&mut state, &opened.device, regions)?;
            (opened, memory)
        };
        let parts = open::open(&opened, &self.options, exchange, memory)?;
        VerbsEndpoint::new(exchange.rank(), &opened, &self.options, parts)
    }
}
