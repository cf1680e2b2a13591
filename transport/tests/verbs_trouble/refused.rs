//! What cannot be had, and is refused with the mend; what can be had with less, and is.

use std::io::Read;

use squall_transport::Rank;
use squall_transport::verbs::{VerbsFabric, VerbsOptions, availability};

use crate::guest::{self, INTERFACE, is_copy, run, start_copy};
use crate::pair::{self, Pair, refusal};

/// More than [`MEMLOCK_BYTES`].
const TABLE_BYTES: usize = 4 << 20;
const MEMLOCK_BYTES: &str = "1048576";

#[test]
fn without_a_device_one_line_says_so() {
    guest::with_own_device("refused::without_a_device_one_line_says_so", |device| {
        assert!(device.unplug().wait().expect("ended").success());
        let reason = availability().expect_err("there is none");
        assert!(reason.contains("no RDMA device on this machine; scripts/soft-roce"), "{reason}");
        let error = refusal(VerbsOptions::default(), VerbsOptions::default());
        assert_eq!(error, format!("verbs is unavailable: {reason}"));
        device.plug_in();
        let fabric = VerbsFabric::default();
        Pair::open([&fabric, &fabric]).talk(1);
    });
}

#[test]
fn memory_beyond_the_limit_is_refused_with_the_limit_and_the_mend() {
    guest::with_own_device("refused::memory_beyond_the_limit_is_refused_with_the_limit_and_the_mend", |_device| {
        let limited = ["prlimit", "--memlock=1048576:1048576", "setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "--"];
        assert!(limited[1].contains(MEMLOCK_BYTES));
        let mut copy = start_copy("refused::copy_with_little_locked_memory", &limited);
        let mut said = String::new();
        copy.stdout.take().expect("a pipe").read_to_string(&mut said).expect("text");
        assert!(copy.wait().expect("ended").success(), "{said}");
        let one = "registering 4194304 bytes exceeds RLIMIT_MEMLOCK of 1048576 bytes; raise it with `ulimit -l unlimited`";
        assert!(said.contains(one), "{said}");
        let together = "all registered memory counts against RLIMIT_MEMLOCK, which is 1048576 bytes; raise it with `ulimit -l unlimited`";
        assert!(said.contains(together), "{said}");
    });
}

/// Not a test of its own.
#[test]
fn copy_with_little_locked_memory() {
    if is_copy("refused::copy_with_little_locked_memory") {
        // The first is more than the limit; the others, of two members in one process, are so together.
        for bytes in [TABLE_BYTES, 600 << 10] {
            let fabric = VerbsFabric::default();
            let [first, second] = pair::open([&fabric, &fabric], bytes);
            for refused in [first.map(|_| ()), second.map(|_| ())] {
                println!("{}", refused.map_or_else(|error| error.to_string(), |()| "opened".into()));
            }
        }
    }
}

#[test]
fn on_demand_paging_is_refused_where_the_device_has_none() {
    guest::with_device("refused::on_demand_paging_is_refused_where_the_device_has_none", |device| {
        if !device.name.starts_with("rxe") && !device.name.starts_with("siw") {
            println!("skipped: {} may have it", device.name);
            return;
        }
        let paged = VerbsOptions { on_demand_paging: true, ..VerbsOptions::default() };
        let error = refusal(paged.clone(), paged);
        assert!(error.contains("on-demand paging") && error.contains("leave that option off"), "{error}");
        assert!(error.contains(&device.name), "{error}");
    });
}

#[test]
fn the_smaller_path_mtu_of_both_ends_is_used() {
    guest::with_device("refused::the_smaller_path_mtu_of_both_ends_is_used", |device| {
        let small = VerbsFabric::new(VerbsOptions { mtu_bytes: Some(512), ..VerbsOptions::default() });
        let large = VerbsFabric::default();
        for fabrics in [[&small, &large], [&large, &small]] {
            let mut pair = Pair::open(fabrics);
            pair.talk(2);
            let expected = (!device.is_iwarp).then_some(512);
            assert_eq!([0, 1].map(|me| pair.0[me].endpoint.path_mtu_bytes(Rank::new(1 - me))), [expected; 2]);
        }
    });
}

#[test]
fn queues_are_cut_to_what_the_device_holds_and_the_provider_needs() {
    guest::with_device("refused::queues_are_cut_to_what_the_device_holds_and_the_provider_needs", |_| {
        for (queue_writes, inline_bytes) in [(u32::MAX, u32::MAX), (0, 0), (1, 1000)] {
            let fabric = VerbsFabric::new(VerbsOptions { queue_writes, inline_bytes, ..VerbsOptions::default() });
            let mut pair = Pair::open([&fabric, &fabric]);
            for value in 1..100 {
                pair.talk(value);
            }
        }
    });
}

/// Two addresses of one interface, on different subnets, with a route between: they find each other.
#[test]
fn another_subnet_with_a_route_to_it_is_as_good() {
    guest::with_own_device("refused::another_subnet_with_a_route_to_it_is_as_good", |device| {
        if device.is_iwarp {
            println!("skipped: the addresses of iWARP are TCP's");
            return;
        }
        run("ip", &["address", "add", "198.51.100.1/24", "dev", INTERFACE]);
        let [near, far] = ["192.0.2.1", "198.51.100.1"].map(|address| {
            VerbsFabric::new(VerbsOptions { address: Some(address.parse().expect("an address")), ..VerbsOptions::default() })
        });
        crate::guest::until("the GID of the second address", || far.chosen().is_ok());
        assert!(far.chosen().is_ok_and(|chosen| chosen.to_string().contains("198.51.100.1")));
        Pair::open([&near, &far]).talk(3);
        run("ip", &["address", "del", "198.51.100.1/24", "dev", INTERFACE]);
    });
}

/// Two devices on interfaces that no cable joins: each says that the other does not answer, and what the usual cause
/// is.
#[test]
fn another_subnet_without_a_way_to_it_is_refused_by_name() {
    guest::with_own_device("refused::another_subnet_without_a_way_to_it_is_refused_by_name", |device| {
        if device.is_iwarp {
            println!("skipped: TCP finds a way between two addresses of one host");
            return;
        }
        run("ip", &["link", "add", "dummy1", "type", "dummy"]);
        run("ip", &["link", "set", "dummy1", "mtu", "4200", "up"]);
        run("ip", &["address", "add", "198.51.100.1/24", "dev", "dummy1"]);
        device.plug_in_on("rxe1", "dummy1");
        let [near, far] = [device.name.as_str(), "rxe1"].map(|name| VerbsOptions { device: Some(name.into()), ..VerbsOptions::default() });
        let usable = VerbsFabric::new(far.clone());
        crate::guest::until("the second device", || usable.chosen().is_ok_and(|chosen| chosen.to_string().contains("198.51.100.1")));
        let error = refusal(near, far);
        println!("{error}");
        assert!(error.contains("peer 1") && error.contains("192.0.2.1"), "{error}");
        run("rdma", &["link", "del", "rxe1"]);
        run("ip", &["link", "del", "dummy1"]);
    });
}
