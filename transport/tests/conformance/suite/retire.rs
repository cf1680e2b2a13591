//! From epoch to epoch.

use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::thread;
use std::time::Duration;

use squall_transport::exchange::LocalExchange;
use squall_transport::{Endpoint, Fabric, NodeId, POOL, Place, Rank, RegionOptions, TABLE, Write};

use super::cluster::{Cluster, TABLE_BYTES};

const MEMBERS: usize = 3;
const EPOCHS: u64 = 6;
const SPAN_BYTES: u64 = 32 << 10;

/// One epoch of members that know each other by node id, with new memory.
fn open<F>(fabrics: &[F]) -> Cluster<F::Endpoint>
where
    F: Fabric + Sync,
    F::Endpoint: Send,
{
    let nodes: Vec<NodeId> = (0..MEMBERS as u64).map(|index| NodeId(100 + index)).collect();
    let open = |(exchange, fabric): (LocalExchange, &F)| {
        let [table, pool] = [TABLE_BYTES; 2].map(|bytes| fabric.region(bytes, &RegionOptions::default()).expect("memory"));
        let endpoint = fabric.open(&mut exchange.named(&nodes), &[table.clone(), pool.clone()]).expect("the fabric opens");
        (endpoint, table, pool)
    };
    let open = &open;
    let members = LocalExchange::mesh_without(MEMBERS, &[], Duration::from_secs(60)).into_iter().flatten();
    let opened = thread::scope(|scope| {
        let threads: Vec<_> = members.zip(fabrics).map(|member| scope.spawn(move || open(member))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    Cluster::of(opened, Box::new(|| {}))
}

/// T5 between epochs: whatever was under way when endpoints were retired lands in no later epoch, and the links of that
/// one stand.
pub(crate) fn nothing_of_an_epoch_lands_in_the_next<F>(make: impl Fn() -> F)
where
    F: Fabric + Sync,
    F::Endpoint: Send,
{
    let fabrics: Vec<F> = (0..MEMBERS).map(|_| make()).collect();
    for epoch in 1..=EPOCHS {
        let mut cluster = open(&fabrics);
        let pairs = (0..MEMBERS).flat_map(|from| (0..MEMBERS).map(move |to| (from, to))).filter(|(from, to)| from != to);
        let pairs: Vec<_> = pairs.collect();
        let now = |from: usize| 8 * (epoch * 8 + from as u64);
        for &(from, to) in &pairs {
            cluster.post(from, to, Write::Word { at: Place::new(TABLE, now(from)), value: epoch });
        }
        cluster.until("words of this epoch", |cluster| {
            pairs.iter().all(|&(from, to)| cluster.members[to].table.word(now(from)).load(Acquire) == epoch)
        });
        cluster.assert_all_up();
        for (index, member) in cluster.members.iter().enumerate() {
            let others = |word: &u64| (0..MEMBERS).filter(|&from| from != index).all(|from| 8 * word != now(from));
            let strays: Vec<u64> =
                (0..TABLE_BYTES as u64 / 8).filter(others).filter(|word| member.table.word(8 * word).load(Relaxed) != 0).collect();
            assert_eq!(strays, [], "words of another epoch at rank {index} in epoch {epoch}");
            assert!((0..TABLE_BYTES as u64 / 8).all(|word| member.pool.word(8 * word).load(Relaxed) == 0), "rank {index} in epoch {epoch}");
        }
        leave_much_under_way(&mut cluster, &pairs, epoch);
        for (member, fabric) in cluster.members.into_iter().zip(&fabrics) {
            fabric.retire(member.endpoint.expect("alive"));
        }
    }
}

/// Words and spans, more in later epochs, of which the receivers take in only the first.
fn leave_much_under_way<E: Endpoint>(cluster: &mut Cluster<E>, pairs: &[(usize, usize)], epoch: u64) {
    for member in &cluster.members {
        (0..TABLE_BYTES as u64 / 8).for_each(|word| member.pool.word(8 * word).store(u64::MAX, Relaxed));
    }
    for &(from, to) in pairs {
        for round in 0..8 * epoch * epoch {
            let (span, word) = (Place::new(POOL, round % 8), Place::new(TABLE, 4096 + 8 * round));
            let short = Write::Span { from: span, to: Place::new(TABLE, 16 << 10), len: 100 + round };
            let long = Write::Span { from: span, to: span, len: SPAN_BYTES };
            for write in [short, Write::Word { at: word, value: round + 1 }, long] {
                // Some are refused, when queues are full.
                let _ = cluster.endpoint(from).post(Rank::new(to), write);
            }
            cluster.endpoint(from).flush();
        }
        if epoch.is_multiple_of(2) {
            assert_eq!(cluster.endpoint(to).poll(), None);
        }
    }
}
