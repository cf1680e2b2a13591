//! The checker reads traces of real runs as it reads simulated ones: threads over shared memory, TCP and RDMA.

use std::net::{IpAddr, Ipv4Addr};

use squall_group::{Config, Delivery, Group, Mode, Outgoing, Pace, Upcalls};
use squall_sim::Recorder;
use squall_sim::checker::{Verdict, check};
use squall_sim::trace::{Interleaving, Trace, hash_bytes};
use squall_transport::exchange::LocalExchange;
use squall_transport::shm::ShmFabric;
use squall_transport::tcp::TcpFabric;
use squall_transport::verbs::VerbsFabric;
use squall_transport::{Endpoint, Fabric, Rank, RegionOptions};

const MEMBERS: usize = 4;
const MESSAGES: u64 = 300;

struct Application {
    recorder: Recorder,
    delivered: u64,
}

impl Upcalls for Application {
    fn deliver(&mut self, delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        self.recorder.delivered(&delivery);
        self.delivered += 1;
    }
}

/// Members 0 and 2 send; small and large messages by turns, in small rings.
fn config(mode: Mode) -> Config {
    let senders = vec![Rank(0), Rank(2)];
    let region = RegionOptions::default();
    Config { mode, ring_bytes: 4096, small_max: 700, window_messages: 20, large_max: 30_000, region, ..Config::new(senders) }
}

/// One member's whole life.
fn live<E: Endpoint>(mut group: Group<E>, mode: Mode) -> Recorder {
    let (recorder, mut pace) = (Recorder::new(group.view(), mode), Pace::for_members(MEMBERS));
    let mut application = Application { recorder, delivered: 0 };
    let sends = group.view().is_sender();
    let mut sent = if sends { 0 } else { MESSAGES };
    while sent < MESSAGES || application.delivered < 2 * MESSAGES {
        while sent < MESSAGES {
            let len = if sent % 10 == 9 { 800 + 97 * sent } else { sent * 7 % 700 };
            let Ok(mut slot) = group.reserve(len) else { break };
            slot.bytes_mut().iter_mut().enumerate().for_each(|(at, byte)| *byte = (at as u64 * 31 + sent) as u8);
            let hash = hash_bytes(slot.bytes_mut());
            application.recorder.sent(slot.commit(), hash);
            sent += 1;
        }
        group.turn(&mut application, &mut pace).expect("everybody lives");
        application.recorder.stepped(&mut group);
    }
    group.close(&mut application, &mut pace).expect("everybody leaves");
    application.recorder.finished(0, 0);
    application.recorder
}

fn run<F>(fabric: &F, mode: Mode) -> Verdict
where
    F: Fabric + Sync,
    F::Endpoint: Send,
{
    let member = |mut exchange: LocalExchange| {
        let group = Group::join(&config(mode), fabric, &mut exchange).expect("four members join");
        live(group, mode)
    };
    let recorders: Vec<Recorder> = std::thread::scope(|scope| {
        let threads: Vec<_> = LocalExchange::mesh(MEMBERS).into_iter().map(|exchange| scope.spawn(|| member(exchange))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no member panics")).collect()
    });
    let mut trace = Trace::new(Interleaving::PerProcess);
    recorders.into_iter().for_each(|mut recorder| trace.events.extend(recorder.take()));
    check(&trace)
}

#[track_caller]
fn holds(verdict: &Verdict) {
    assert_eq!(verdict.violations, []);
    assert_eq!((verdict.sends, verdict.deliveries), (2 * MESSAGES, 2 * MESSAGES * MEMBERS as u64));
}

#[test]
fn every_property_holds_over_shared_memory() {
    holds(&run(&ShmFabric::new(), Mode::Ordered));
    holds(&run(&ShmFabric::new(), Mode::Unordered));
}

#[test]
fn every_property_holds_over_tcp() {
    let fabric = TcpFabric::new(IpAddr::V4(Ipv4Addr::LOCALHOST));
    holds(&run(&fabric, Mode::Ordered));
    holds(&run(&fabric, Mode::Unordered));
}

/// Skipped where there is no device, unless `SQUALL_REQUIRE_VERBS` is 1.
#[test]
fn every_property_holds_over_verbs() {
    let fabric = VerbsFabric::default();
    if let Err(error) = fabric.chosen() {
        assert!(std::env::var_os("SQUALL_REQUIRE_VERBS").is_none_or(|value| value != "1"), "{error}");
        println!("skipped: {error}");
        return;
    }
    holds(&run(&fabric, Mode::Ordered));
    holds(&run(&fabric, Mode::Unordered));
}
