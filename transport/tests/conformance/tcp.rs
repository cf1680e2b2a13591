//! Provider `tcp` over loopback.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use squall_transport::exchange::LocalExchange;
use squall_transport::tcp::TcpFabric;
use squall_transport::{Endpoint, Fabric, Place, Rank, TABLE, Write};

use crate::suite::Cluster;

conformance!(TcpFabric::default());

/// Stronger than T5 asks: a closed socket lets nothing in, whether or not the peers know.
#[test]
fn nothing_lands_at_a_dropped_endpoint_from_that_moment_on() {
    let mut cluster = Cluster::open(&TcpFabric::default(), 2);
    for value in 1..100 {
        cluster.post(0, 1, Write::Word { at: Place::new(TABLE, 0), value });
        cluster.endpoint(0).flush();
    }
    cluster.members[1].endpoint = None;
    let before = cluster.members[1].table.word(0).load(Relaxed);
    for value in 1000..2000 {
        let _ = cluster.endpoint(0).post(Rank::new(1), Write::Word { at: Place::new(TABLE, 0), value });
        cluster.progress();
    }
    assert_eq!(cluster.members[1].table.word(0).load(Relaxed), before);
}

/// What was flushed before an orderly end arrives, though the peer had sent what nobody read.
#[test]
fn the_last_words_of_a_dropped_endpoint_arrive() {
    for round in 1..200 {
        let mut cluster = Cluster::open(&TcpFabric::default(), 2);
        for (from, to) in [(1, 0), (0, 1)] {
            cluster.post(from, to, Write::Word { at: Place::new(TABLE, 8), value: round });
            cluster.endpoint(from).flush();
        }
        // It has arrived, so that closing over it would reset the link.
        cluster.endpoint(1).arm();
        cluster.endpoint(1).park(Duration::from_secs(60));
        cluster.members[1].endpoint = None;
        cluster.until("the last word", |cluster| cluster.members[0].table.word(8).load(Relaxed) == round);
        cluster.until("its end", |cluster| !cluster.members[0].events.is_empty());
    }
}

#[test]
fn all_interfaces_are_refused() {
    let everywhere = TcpFabric::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let error = everywhere.open(&mut LocalExchange::mesh(1)[0], &[]).unwrap_err();
    assert!(error.to_string().contains("all interfaces"), "{error}");
}
