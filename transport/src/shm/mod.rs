//! Provider `shm`: one host, many processes. Regions are memfds passed over Unix sockets; a post is a copy into the
//! peer's mapping.
//!
//! ```text
//!   my Region --post(Span): copy--> peer's Region, mapped here
//!   flush: is the peer asleep? its bell (a futex word in a memfd of its own) says so; wake it
//!   the Unix socket that carried the memfds stays open: its hang-up is the peer's end
//! ```
//!
//! Only the end of a peer's process is noticed: the kernel closes its socket then, so no time-out is needed. A host
//! that falls silent takes all its members along, and a member that is stopped is none of this fabric's business.
//!
//! Sockets have abstract names that are new each time, so a killed run leaves nothing stale behind: memfds and sockets
//! end with the last process that holds them.

mod aside;
mod bell;
mod endpoint;
mod fence;
mod link;
mod memory;
mod process;
mod watch;

pub use endpoint::ShmEndpoint;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use link::Kept;

use crate::endpoint::{Fabric, OpenError};
use crate::exchange::Exchange;
use crate::region::{Region, RegionError, RegionOptions};

/// The shared-memory fabric of this host. Clones share what was kept from retired endpoints.
#[derive(Clone, Debug, Default)]
pub struct ShmFabric {
    left: Arc<Mutex<Left>>,
}

/// What retired endpoints left.
#[derive(Debug, Default)]
struct Left {
    /// What the next one may use.
    kept: Vec<Kept>,
    /// What none will: see [`aside`].
    stale: Vec<Region>,
}

impl ShmFabric {
    /// The shared-memory fabric of this host.
    pub fn new() -> ShmFabric {
        // The first time takes the kernel some milliseconds, for which the others would wait when an endpoint opens.
        fence::register();
        ShmFabric::default()
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fabric for ShmFabric {
    type Endpoint = ShmEndpoint;

    fn name(&self) -> &'static str {
        "shm"
    }

    /// A peer writes by its own mapping, which nobody can take from it.
    fn severs(&self) -> bool {
        false
    }

    fn region(&self, bytes: usize, options: &RegionOptions) -> Result<Region, RegionError> {
        Region::allocate(bytes, options)
    }

    fn open(&self, exchange: &mut dyn Exchange, regions: &[Region]) -> Result<ShmEndpoint, OpenError> {
        let bell = bell::Bell::new()?;
        let fenceable = fence::register();
        let me = exchange.node(exchange.rank());
        let kept: Vec<Kept> = self.left().kept.extract_if(.., |kept| Some(kept.link_name.me) == me).collect();
        let before: Vec<Region> = kept.iter().flat_map(|kept| &kept.theirs).cloned().collect();
        let met = link::connect(exchange, regions, &bell, fenceable, kept);
        let mut stale = std::mem::take(&mut self.left().stale);
        let is_used = |region: &Region| met.as_ref().is_ok_and(|met| met.links.iter().any(|link| link.has(region)));
        stale.extend(before.into_iter().filter(|region| !is_used(region)));
        aside::let_go(stale);
        ShmEndpoint::new(exchange.rank(), regions.to_vec(), bell, met?)
    }

    fn retire(&self, endpoint: ShmEndpoint) {
        let (kept, stale) = endpoint.retire();
        let mut left = self.left();
        left.kept.extend(kept);
        left.stale.extend(stale);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::endpoint::{Endpoint, Event};
    use crate::exchange::LocalExchange;
    use crate::rank::{NodeId, Rank};
    use crate::write::{POOL, Place, TABLE, Write};

    /// Two members with names, each with a fabric and a pool of its own, and a new table.
    fn open(fabrics: &[ShmFabric; 2], pools: &[Region; 2]) -> Vec<(ShmEndpoint, Region)> {
        let open = |(exchange, (fabric, pool)): (LocalExchange, (&ShmFabric, &Region))| {
            let table = Region::allocate(4096, &RegionOptions::default()).unwrap();
            let mut exchange = exchange.named(&[NodeId(7), NodeId(5)]);
            (fabric.open(&mut exchange, &[table.clone(), pool.clone()]).unwrap(), table)
        };
        let (open, members) = (&open, LocalExchange::mesh(2).into_iter().zip(fabrics.iter().zip(pools)));
        std::thread::scope(|scope| {
            let threads: Vec<_> = members.map(|member| scope.spawn(move || open(member))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    }

    fn pools() -> [Region; 2] {
        [(); 2].map(|()| Region::allocate(1 << 20, &RegionOptions::default()).unwrap())
    }

    fn until_an_event(endpoint: &mut ShmEndpoint) -> Event {
        loop {
            if let Some(event) = endpoint.poll() {
                return event;
            }
            endpoint.arm();
            endpoint.park(Duration::from_secs(1));
        }
    }

    #[test]
    fn a_pool_that_comes_again_stays_mapped_and_a_new_table_is_new() {
        let (fabrics, mut pools) = ([ShmFabric::new(), ShmFabric::new()], pools());
        let mut mapped: Option<Region> = None;
        for epoch in 1..=4 {
            if epoch == 4 {
                pools[1] = Region::allocate(1 << 20, &RegionOptions::default()).unwrap();
            }
            let mut members = open(&fabrics, &pools);
            let theirs = &members[0].0.peer_regions(Rank::new(1))[1];
            assert_eq!(mapped.as_ref().is_some_and(|mapped| mapped.is_same(theirs)), epoch == 2 || epoch == 3, "epoch {epoch}");
            mapped = Some(theirs.clone());
            for region in [TABLE, POOL] {
                members[0].0.post(Rank::new(1), Write::Word { at: Place::new(region, 8 * epoch), value: epoch }).unwrap();
            }
            let words = |region: &Region| (1..5).map(|word| region.word(8 * word).load(crate::atomic::Ordering::Relaxed)).sum::<u64>();
            assert_eq!(words(&members[1].1), epoch);
            assert_eq!(words(&pools[1]), if epoch == 4 { 4 } else { (1..=epoch).sum() });
            members.into_iter().zip(&fabrics).for_each(|((endpoint, _), fabric)| fabric.retire(endpoint));
        }
    }

    #[test]
    fn who_retired_is_down_only_once_its_fabric_has_gone() {
        let (fabrics, pools) = ([ShmFabric::new(), ShmFabric::new()], pools());
        let mut members = open(&fabrics, &pools);
        let [_mine, other] = fabrics;
        other.retire(members.remove(1).0);
        let mine = &mut members[0].0;
        assert_eq!(mine.poll(), None);
        drop(other);
        assert_eq!(until_an_event(mine), Event::Down(Rank::new(1)));
    }

    #[test]
    fn a_socket_that_only_one_end_kept_is_made_anew() {
        let (fabrics, pools) = ([ShmFabric::new(), ShmFabric::new()], pools());
        let mut members = open(&fabrics, &pools);
        fabrics[1].retire(members.remove(1).0);
        drop(members);
        let mut members = open(&fabrics, &pools);
        members[1].0.post(Rank::new(0), Write::Word { at: Place::new(TABLE, 0), value: 9 }).unwrap();
        assert_eq!(members[0].1.word(0).load(crate::atomic::Ordering::Relaxed), 9);
    }
}
