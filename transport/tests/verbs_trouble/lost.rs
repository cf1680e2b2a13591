//! Devices that go away under those who use them.

use std::io::{BufRead, BufReader, Read, Write as _, stdin};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use squall_transport::verbs::{Detection, VerbsFabric, VerbsOptions, availability};
use squall_transport::{Endpoint, Place, Rank, TABLE, Write};

use crate::guest::{self, INTERFACE, PATIENCE, is_copy, run, start_copy};
use crate::pair::{self, Pair, TABLE_BYTES, refusal};

/// How long a copy goes on writing while its device goes away, if it notices nothing.
const GO_ON: Duration = Duration::from_secs(2);

#[test]
fn a_port_that_goes_down_takes_its_links_along_and_serves_again_once_it_is_up() {
    guest::with_own_device("lost::a_port_that_goes_down_takes_its_links_along_and_serves_again_once_it_is_up", |device| {
        // Both know the device; one asks for it while its port is down, one only later.
        let often = Detection { probe_every: Duration::from_millis(1), ..Detection::PATIENT };
        let fabrics = [(); 2].map(|()| VerbsFabric::new(VerbsOptions { detection: often, ..VerbsOptions::default() }));
        let mut pairs = fabrics.each_ref().map(|fabric| Pair::open([fabric, fabric]));
        pairs.iter_mut().for_each(|pair| pair.talk(1));
        run("ip", &["link", "set", INTERFACE, "down"]);
        for pair in &mut pairs {
            pair.until_both_down();
            // The device's report, or the failure of a request that could not leave any more: whichever came first.
            let why = pair.0.each_ref().map(|member| member.endpoint.failure(Rank::new(1 - member.endpoint.rank().index())));
            println!("{why:?}");
            assert!(why.iter().all(Option::is_some));
        }
        drop(pairs);
        let error = refusal(VerbsOptions::default(), VerbsOptions::default());
        assert!(error.contains("no active port (DOWN): set the network interface behind it up"), "{error}");
        let again = pair::open([&fabrics[0]; 2], TABLE_BYTES).map(|member| member.expect_err("the port is down").to_string());
        assert!(again.iter().all(|error| error.contains("no active port")), "{again:?}");
        run("ip", &["link", "set", INTERFACE, "up"]);
        device.until_usable();
        for fabric in &fabrics {
            // What the device reported then is over.
            let mut pair = Pair::open([fabric, fabric]);
            let start = Instant::now();
            for value in 1.. {
                pair.talk(value);
                if value > 500 && start.elapsed() > 20 * often.probe_every {
                    break;
                }
            }
        }
    });
}

#[test]
fn a_port_that_is_soon_up_again_costs_no_link() {
    guest::with_own_device("lost::a_port_that_is_soon_up_again_costs_no_link", |device| {
        if device.is_iwarp {
            println!("skipped: soft-iWARP ends its connections itself when its interface goes down");
            return;
        }
        // It may be down for two minutes.
        let patient = Detection { timeout_exponent: 22, retry_count: 6, probe_every: Duration::from_millis(1) };
        let fabric = VerbsFabric::new(VerbsOptions { detection: patient, ..VerbsOptions::default() });
        let mut pair = Pair::open([&fabric, &fabric]);
        pair.talk(1);
        run("ip", &["link", "set", INTERFACE, "down"]);
        guest::until("the port is down", || VerbsFabric::default().chosen().is_err());
        // Long enough to hear of it.
        let began = Instant::now();
        while began.elapsed() < 20 * patient.probe_every {
            assert!(pair.0.iter_mut().all(|member| member.endpoint.poll().is_none()), "a link is down");
        }
        run("ip", &["link", "set", INTERFACE, "up"]);
        device.until_usable();
        for value in 2..100 {
            pair.talk(value);
        }
    });
}

#[test]
fn a_device_that_is_deleted_hangs_nobody() {
    guest::with_own_device("lost::a_device_that_is_deleted_hangs_nobody", |device| {
        let end = while_a_copy_writes(|| device.unplug());
        println!("while the RDMA device was deleted: {end}");
        assert!(availability().is_err(), "it is gone");
        device.plug_in();
        let fabric = VerbsFabric::default();
        Pair::open([&fabric, &fabric]).talk(1);
    });
}

#[test]
fn a_network_interface_that_is_deleted_hangs_nobody() {
    guest::with_own_device("lost::a_network_interface_that_is_deleted_hangs_nobody", |device| {
        let end = while_a_copy_writes(|| Command::new("ip").args(["link", "del", INTERFACE]).spawn().expect("ip (iproute2) runs"));
        println!("while its network interface was deleted: {end}");
        guest::until("the device goes with its interface", || availability().is_err());
        run("ip", &["link", "add", INTERFACE, "type", "dummy"]);
        run("ip", &["link", "set", INTERFACE, "mtu", if device.is_iwarp { "9000" } else { "4200" }, "up"]);
        run("ip", &["address", "add", "192.0.2.1/24", "dev", INTERFACE]);
        device.plug_in();
        let fabric = VerbsFabric::default();
        Pair::open([&fabric, &fabric]).talk(1);
    });
}

/// Lets a copy of this program write, starts `take_away`, which the kernel may hold up until the copy is gone, and says
/// how the copy ended.
fn while_a_copy_writes(take_away: impl FnOnce() -> Child) -> String {
    let mut copy = start_copy("lost::copy_that_writes", &[]);
    let mut said = BufReader::new(copy.stdout.take().expect("a pipe"));
    let mut line = String::new();
    while !line.contains("writing") {
        line.clear();
        assert!(said.read_line(&mut line).expect("text") > 0, "the copy ended before it wrote");
    }
    let mut under_way = take_away();
    copy.stdin.take().expect("a pipe").write_all(b"gone\n").expect("it listens");
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("text");
    assert!(copy.wait().expect("ended").success(), "{rest}");
    assert!(under_way.wait().expect("ended").success());
    rest.lines().find_map(|line| line.strip_prefix("end: ")).expect("it says how").to_owned()
}

/// Not a test of its own: writes to and fro until the links are down, or all is well some time after the device was
/// taken away.
#[test]
fn copy_that_writes() {
    if !is_copy("lost::copy_that_writes") {
        return;
    }
    let fabric = VerbsFabric::default();
    let mut pair = Pair::open([&fabric, &fabric]);
    pair.talk(1);
    println!("\nwriting");
    let (told, hear) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = stdin().read_line(&mut line);
        let _ = told.send(());
    });
    let (started, mut gone_at) = (Instant::now(), None);
    let down = loop {
        for (me, member) in pair.0.iter_mut().enumerate() {
            let _ = member.endpoint.post(Rank::new(1 - me), Write::Word { at: Place::new(TABLE, 8), value: 7 });
            member.endpoint.flush();
        }
        if let Some(event) = pair.0.iter_mut().find_map(|member| member.endpoint.poll()) {
            break Some(event);
        }
        if hear.try_recv().is_ok() {
            gone_at = Some(Instant::now());
        }
        if gone_at.is_some_and(|at| at.elapsed() > GO_ON) {
            break None;
        }
        assert!(started.elapsed() < PATIENCE, "nobody took the device away");
    };
    match down {
        Some(event) => {
            assert!(gone_at.is_some() || hear.recv().is_ok());
            let why = pair.0.each_ref().map(|member| [0, 1].map(|rank| member.endpoint.failure(Rank(rank)).map(|why| why.to_string())));
            println!("end: {event:?}, {why:?}");
        }
        None => println!("end: it served on until nobody used it"),
    }
    // Whatever the answer is, there is one.
    let again = pair::open([&fabric, &fabric], TABLE_BYTES).map(|member| member.map(drop).map_err(|error| error.to_string()));
    println!("again: {again:?}");
}
