//! Provider `model`: driven by whoever holds the cluster, as `sim` is. No link of it breaks (T6), it allocates as it
//! goes (T7), and whoever runs it never parks. Pools are real here, so that what is read out of them can be asked for.

use squall_transport::model::{HostSpec, KernelSpec, ModelEndpoint, ModelFabric, ModelNetwork, ModelSpec, NicSpec, SwitchSpec};
use squall_transport::sim::SoloExchange;
use squall_transport::{Fabric, Rank};

use crate::suite::{self, Cluster};

/// Short queues, and bursts that cut Spans.
fn spec(kernel: Option<KernelSpec>) -> ModelSpec {
    let nic = NicSpec {
        bytes_per_s: 12.5e9,
        pcie_bytes_per_s: 13e9,
        write_ps: 13_000,
        packet_bytes: 1024,
        header_bytes: 50,
        burst_bytes: 4096,
        start_ps: 200_000,
        fetch_ps: 200_000,
        inline_bytes: 64,
        land_ps: 150_000,
        queue_max: 64,
    };
    let switch = SwitchSpec { hop_ps: 300_000, leaf_hosts: None, oversubscription: 1.0 };
    ModelSpec {
        nic,
        switch,
        host: HostSpec { post_ps: 10_000, doorbell_ps: 50_000 },
        kernel,
        lanes: None,
        hollow_pools: false,
        records: None,
    }
}

fn kernel() -> KernelSpec {
    KernelSpec {
        call_ps: 1_000_000,
        look_ps: 400_000,
        send_byte_ps: 100.0,
        receive_byte_ps: 200.0,
        interrupt_ps: 5_000_000,
        buffer_bytes: 20_000,
        intake_bytes: 3000,
    }
}

fn cluster(members: usize, kernel: Option<KernelSpec>) -> Cluster<ModelEndpoint> {
    let network = ModelNetwork::new(&spec(kernel), members, 1);
    let fabric = ModelFabric::on(&network);
    let open = |index: usize| {
        let [table, pool] = suite::regions(&fabric);
        let mut exchange = SoloExchange::new(Rank::new(index), members);
        let endpoint = fabric.open(&mut exchange, &[table.clone(), pool.clone()]).expect("the fabric opens");
        (Some(endpoint), table, pool)
    };
    let opened = (0..members).map(open).collect();
    // Every loop turns once, and then a little of what is on its way happens.
    let turn = move || {
        for rank in (0..members).map(Rank::new) {
            network.end_turn(rank);
            network.begin_turn(rank, network.clock_ps(rank));
        }
        (0..5).for_each(|_| network.happen(&mut Vec::new()));
    };
    Cluster::with_gaps(opened, Box::new(turn))
}

macro_rules! driven {
    ($members:expr, [$($check:ident)*]) => {$(
        #[test]
        fn $check() {
            suite::$check(&mut cluster($members, None));
            suite::$check(&mut cluster($members, Some(kernel())));
        }
    )*};
}

driven!(2, [
    words_land_in_posting_order
    a_word_carries_its_value
    a_word_never_tears
    words_in_an_aligned_span_do_not_tear
    a_full_queue_leaves_nothing_behind
    posting_never_waits_for_a_peer_that_does_not_poll
    a_wrong_post_is_a_bug_of_the_caller
    large_spans_are_complete_when_their_counter_is_seen
]);
driven!(4, [
    data_is_complete_when_its_counter_is_seen
    streams_of_all_members_at_once
]);
