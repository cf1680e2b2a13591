//! All members of an epoch in one hand.

use std::time::{Duration, Instant};

use squall_transport::exchange::LocalExchange;
use squall_transport::{Endpoint, Event, Fabric, POOL, Rank, Region, RegionOptions, TABLE, Write};

/// Far longer than any check takes; ends a check that would never end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of each member's table region.
pub(crate) const TABLE_BYTES: usize = 64 << 10;
/// Bytes of each member's pool region.
pub(crate) const POOL_BYTES: usize = 72 << 20;

/// One member: its endpoint until it is dropped, and its memory.
pub(crate) struct Member<E> {
    pub(crate) endpoint: Option<E>,
    pub(crate) table: Region,
    pub(crate) pool: Region,
    /// What its endpoint reported.
    pub(crate) events: Vec<Event>,
}

/// The members of one epoch, moved along by [`Cluster::progress`].
pub(crate) struct Cluster<E> {
    pub(crate) members: Vec<Member<E>>,
    advance: Box<dyn FnMut()>,
}

impl<E: Endpoint> Cluster<E> {
    /// Opens `members` endpoints of one fabric on threads.
    pub(crate) fn open<F>(fabric: &F, members: usize) -> Cluster<E>
    where
        F: Fabric<Endpoint = E> + Sync,
        E: Send,
    {
        let open = |mut exchange: LocalExchange| {
            let [table, pool] = regions(fabric);
            let endpoint = fabric.open(&mut exchange, &[table.clone(), pool.clone()]).expect("the fabric opens");
            (endpoint, table, pool)
        };
        let opened = std::thread::scope(|scope| {
            let threads: Vec<_> = LocalExchange::mesh(members).into_iter().map(|exchange| scope.spawn(move || open(exchange))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        Cluster::of(opened, Box::new(|| {}))
    }

    /// Takes endpoints, each with its table and pool region of at least [`TABLE_BYTES`] and [`POOL_BYTES`]; `advance`
    /// lets time pass in a provider that has its own.
    pub(crate) fn of(opened: Vec<(E, Region, Region)>, advance: Box<dyn FnMut()>) -> Cluster<E> {
        Cluster::with_gaps(opened.into_iter().map(|(endpoint, table, pool)| (Some(endpoint), table, pool)).collect(), advance)
    }

    /// As [`Cluster::of`], where members that did not open have no endpoint.
    pub(crate) fn with_gaps(opened: Vec<(Option<E>, Region, Region)>, advance: Box<dyn FnMut()>) -> Cluster<E> {
        let count = opened.len();
        let member = |(index, (endpoint, table, pool)): (usize, (Option<E>, Region, Region))| {
            if let Some(endpoint) = &endpoint {
                assert_eq!((endpoint.rank(), endpoint.members()), (Rank::new(index), count));
            }
            Member { endpoint, table, pool, events: Vec::with_capacity(64) }
        };
        Cluster { members: opened.into_iter().enumerate().map(member).collect(), advance }
    }

    /// The endpoint of a living member.
    pub(crate) fn endpoint(&mut self, index: usize) -> &mut E {
        self.members[index].endpoint.as_mut().expect("alive")
    }

    /// Flushes and polls every living member once.
    pub(crate) fn progress(&mut self) {
        for member in &mut self.members {
            member.progress();
        }
        (self.advance)();
    }

    /// As [`Cluster::progress`], but member `index` does not poll.
    pub(crate) fn progress_without(&mut self, index: usize) {
        for (other, member) in self.members.iter_mut().enumerate() {
            if other != index {
                member.progress();
            }
        }
        (self.advance)();
    }

    /// Progress until `reached`.
    ///
    /// # Panics
    /// If that takes longer than anyone's patience.
    pub(crate) fn until(&mut self, what: &str, mut reached: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        while !reached(self) {
            self.progress();
            assert!(start.elapsed() < PATIENCE, "never reached: {what}");
        }
    }

    /// Posts, making progress as long as the queue is full.
    pub(crate) fn post(&mut self, from: usize, to: usize, write: Write) {
        self.until("room in the queue", |cluster| cluster.endpoint(from).post(Rank::new(to), write).is_ok());
    }

    /// Makes sure that nobody was reported down.
    pub(crate) fn assert_all_up(&self) {
        for (index, member) in self.members.iter().enumerate() {
            assert_eq!(member.events, [], "at rank {index}");
        }
    }
}

impl<E: Endpoint> Member<E> {
    pub(crate) fn progress(&mut self) {
        if let Some(endpoint) = &mut self.endpoint {
            endpoint.flush();
            while let Some(event) = endpoint.poll() {
                self.events.push(event);
            }
        }
    }
}

/// A member's table and pool.
pub(crate) fn regions<F: Fabric>(fabric: &F) -> [Region; 2] {
    assert_eq!((TABLE.0, POOL.0), (0, 1));
    [TABLE_BYTES, POOL_BYTES].map(|bytes| fabric.region(bytes, &RegionOptions::default()).expect("memory"))
}
