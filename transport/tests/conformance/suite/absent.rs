//! Opening without members that cannot be had.

use std::sync::Barrier;
use std::sync::atomic::Ordering::Acquire;
use std::thread;
use std::time::Duration;

use squall_transport::exchange::{ExchangeError, LocalExchange};
use squall_transport::{Endpoint, Event, Exchange, Fabric, OpenError, Place, Rank, Region, RegionOptions, TABLE, Write};

use super::cluster::{Cluster, TABLE_BYTES};

const MEMBERS: usize = 3;
/// Longer than a busy machine keeps a member that is well from a step; a check takes this long for each step at which
/// somebody is missed.
const SHORT: Duration = Duration::from_secs(2);

/// What a member does at the start of an epoch instead of opening and staying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    NeverComes,
    /// Ends when it has told the others where it is.
    EndsAfterGather,
    /// Stops there; all it has open stays open, until the others are done.
    StopsAfterGather,
}

/// An exchange whose member does not get beyond its first gather.
struct OneGather<'a> {
    inner: LocalExchange,
    after: &'a (dyn Fn() + Sync),
}

impl Exchange for OneGather<'_> {
    fn rank(&self) -> Rank {
        self.inner.rank()
    }

    fn members(&self) -> usize {
        self.inner.members()
    }

    fn token(&self) -> &[u8; 32] {
        self.inner.token()
    }

    fn all_gather(&mut self, what: &str, mine: &[u8]) -> Result<Vec<Vec<u8>>, ExchangeError> {
        self.inner.all_gather(what, mine)?;
        (self.after)();
        Err(ExchangeError::TooLarge { bytes: 0, bytes_max: 0 })
    }

    fn patience(&self) -> Option<Duration> {
        self.inner.patience()
    }
}

/// A member's table and pool: small, since registering memory takes its time.
fn memory<F: Fabric>(fabric: &F) -> [Region; 2] {
    [TABLE_BYTES; 2].map(|bytes| fabric.region(bytes, &RegionOptions::default()).expect("memory"))
}

/// Opens three members, of which `who` has that fate.
fn open<F>(fabric: &F, who: usize, fate: Fate, prepare: impl Fn(&mut LocalExchange) + Sync) -> Cluster<F::Endpoint>
where
    F: Fabric + Sync,
    F::Endpoint: Send,
{
    let absent: &[Rank] = if fate == Fate::NeverComes { &[Rank::new(who)] } else { &[] };
    // One that stops lives on until the others are done.
    let others_done = Barrier::new(MEMBERS);
    let wait = || {
        if fate == Fate::StopsAfterGather {
            others_done.wait();
        }
    };
    let (stop, go_on): (&(dyn Fn() + Sync), _) = (&wait, &|| {});
    let member = |mut exchange: LocalExchange| {
        let [table, pool] = memory(fabric);
        let memory = [table.clone(), pool.clone()];
        prepare(&mut exchange);
        if exchange.rank() == Rank::new(who) && fate != Fate::Stays {
            let after = if fate == Fate::StopsAfterGather { stop } else { go_on };
            assert!(fabric.open(&mut OneGather { inner: exchange, after }, &memory).is_err());
            return (None, table, pool);
        }
        let endpoint = fabric.open(&mut exchange, &memory);
        wait();
        let endpoint = Some(endpoint.expect("the fabric opens"));
        (endpoint, table, pool)
    };
    let member = &member;
    let members = LocalExchange::mesh_without(MEMBERS, absent, SHORT);
    let opened = thread::scope(|scope| {
        let threads: Vec<_> = members.into_iter().map(|exchange| exchange.map(|it| scope.spawn(move || member(it)))).collect();
        let join = |thread: Option<thread::ScopedJoinHandle<'_, _>>| match thread {
            Some(thread) => thread.join().expect("no panic"),
            None => {
                let [table, pool] = memory(fabric);
                (None, table, pool)
            }
        };
        threads.into_iter().map(join).collect()
    });
    Cluster::with_gaps(opened, Box::new(|| {}))
}

/// Makes sure that exactly the pairs of members of which one is absent to the other are down to each other, and that
/// words of all other pairs go on.
pub(crate) fn assert_absent<E: Endpoint>(cluster: &mut Cluster<E>, is_absent: impl Fn(usize, usize) -> bool) {
    let count = cluster.members.len();
    let pairs: Vec<(usize, usize)> =
        (0..count).flat_map(|from| (0..count).map(move |to| (from, to))).filter(|(from, to)| from != to).collect();
    let pairs: Vec<_> = pairs.into_iter().filter(|&(from, _)| cluster.members[from].endpoint.is_some()).collect();
    for round in 1..100 {
        for &(from, to) in &pairs {
            cluster.post(from, to, Write::Word { at: Place::new(TABLE, 8 * from as u64), value: round });
        }
        cluster.until("words among the linked", |cluster| {
            for &(from, to) in pairs.iter().filter(|&&(from, to)| !is_absent(from, to)) {
                let is_down = cluster.members[from].events.contains(&Event::Down(Rank::new(to)));
                assert!(!is_down, "rank {from} lost {to}: {:?}", cluster.endpoint(from).down_reason(Rank::new(to)));
            }
            let told = |from: usize, to: usize| cluster.members[from].events.contains(&Event::Down(Rank::new(to)));
            let seen = |from: usize, to: usize| cluster.members[to].table.word(8 * from as u64).load(Acquire) == round;
            pairs.iter().all(|&(from, to)| if is_absent(from, to) { told(from, to) } else { seen(from, to) })
        });
    }
}

fn check<F>(fabric: &F, fate: Fate)
where
    F: Fabric + Sync,
    F::Endpoint: Send,
{
    for who in 0..MEMBERS {
        let mut cluster = open(fabric, who, fate, |_| {});
        for at in (0..MEMBERS).filter(|&at| at != who) {
            let reason = cluster.endpoint(at).down_reason(Rank::new(who));
            assert!(reason.is_some_and(|reason| !reason.is_empty()), "{who} at {at} has no reason");
        }
        assert_absent(&mut cluster, |from, to| from == who || to == who);
    }
}

pub(crate) fn a_member_that_never_comes_is_down_from_the_start<F>(fabric: &F)
where
    F: Fabric + Sync,
    F::Endpoint: Send,
{
    check(fabric, Fate::NeverComes);
}

pub(crate) fn a_member_that_ends_before_it_is_linked_is_down_from_the_start<F>(fabric: &F)
where
    F: Fabric + Sync,
    F::Endpoint: Send,
{
    check(fabric, Fate::EndsAfterGather);
}

pub(crate) fn a_member_that_stops_before_it_is_linked_is_down_from_the_start<F>(fabric: &F)
where
    F: Fabric + Sync,
    F::Endpoint: Send,
{
    check(fabric, Fate::StopsAfterGather);
}

/// Down at both ends, and at nobody else.
pub(crate) fn a_member_that_one_gave_up_is_not_linked_with_it_alone<F>(fabric: &F)
where
    F: Fabric + Sync,
    F::Endpoint: Send,
{
    for (one, other) in [(0, 1), (1, 0), (0, 2), (2, 1)] {
        let give_up = |exchange: &mut LocalExchange| {
            if exchange.rank() == Rank::new(one) {
                exchange.give_up(Rank::new(other));
            }
        };
        let mut cluster = open(fabric, MEMBERS, Fate::Stays, give_up);
        assert_absent(&mut cluster, |from, to| (from, to) == (one, other) || (to, from) == (one, other));
    }
}

/// Everybody else learns who it was.
pub(crate) fn without_patience_a_member_that_leaves_is_an_error<F>(fabric: &F)
where
    F: Fabric + Sync,
    F::Endpoint: Send,
{
    let open = |mut exchange: LocalExchange| {
        let [table, pool] = memory(fabric);
        let leaves = exchange.rank() == Rank::new(1);
        if leaves {
            return None;
        }
        fabric.open(&mut exchange, &[table, pool]).err().map(|error: OpenError| error.to_string())
    };
    let open = &open;
    let errors: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = LocalExchange::mesh(MEMBERS).into_iter().map(|exchange| scope.spawn(move || open(exchange))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    for at in [0, 2] {
        assert!(errors[at].as_ref().is_some_and(|error| error.contains("rank 1 left")), "{errors:?}");
    }
}
