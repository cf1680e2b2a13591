//! What a caller must not post.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::Acquire;

use squall_transport::{Endpoint, POOL, Place, Rank, TABLE, Write};

use super::cluster::Cluster;

/// Every wrong post panics, and the link is as good as before.
pub(crate) fn a_wrong_post_is_a_bug_of_the_caller<E: Endpoint>(cluster: &mut Cluster<E>) {
    let (table, pool) = (cluster.members[0].table.bytes() as u64, cluster.members[0].pool.bytes() as u64);
    let word = |offset| Write::Word { at: Place::new(TABLE, offset), value: 1 };
    let span = |from, to, len| Write::Span { from: Place::new(POOL, from), to: Place::new(TABLE, to), len };
    let wrong = [
        ("to myself", 0, word(0)),
        ("to nobody", 2, word(0)),
        ("a word across the end", 1, word(table)),
        ("a word that is not aligned", 1, word(4)),
        ("a span that starts outside", 1, span(pool + 8, 0, 8)),
        ("a span that ends outside", 1, span(pool - 4, 0, 8)),
        ("a span to outside", 1, span(0, table - 7, 8)),
        ("a span that wraps", 1, span(0, 8, u64::MAX)),
    ];
    for (what, to, write) in wrong {
        let post = AssertUnwindSafe(|| cluster.endpoint(0).post(Rank::new(to), write));
        assert!(catch_unwind(post).is_err(), "{what} was taken");
    }
    cluster.post(0, 1, word(8));
    let landed = cluster.members[1].table.clone();
    cluster.until("a right post", |_| landed.word(8).load(Acquire) == 1);
    cluster.assert_all_up();
}
