//! What a group refuses: configurations that cannot work, each with its mend, and messages that have no room.

use std::net::SocketAddr;
use std::time::Duration;

use squall_group::{
    Config, ConfigError, Delivery, Group, JoinError, Member, MemberError, MemberOptions, Mode, Outgoing, Pace, ReadRefused, Role,
    SendError, Timeouts, Upcalls,
};
use squall_transport::exchange::{ClusterKey, LocalExchange, random_node};
use squall_transport::mesh::{Mesh, MeshOptions};
use squall_transport::shm::{ShmEndpoint, ShmFabric};
use squall_transport::{Rank, RegionOptions};

fn config(senders: &[usize]) -> Config {
    Config { region: RegionOptions::default(), ..Config::new(senders.iter().map(|&sender| Rank::new(sender)).collect()) }
}

#[test]
fn sizes_that_no_machine_has_are_named() {
    for change in [
        |config: &mut Config| config.ring_bytes = 1 << 63,
        |config: &mut Config| config.small_max = u64::MAX,
        |config: &mut Config| config.large_max = u64::MAX,
    ] {
        let mut config = Config::new(vec![Rank::new(0)]);
        change(&mut config);
        assert!(matches!(config.check(2), Err(ConfigError::TooLarge { .. })));
    }
}

#[test]
fn reads_need_an_order_and_to_be_configured() {
    let unordered = Config { reads: true, mode: Mode::Unordered, ..config(&[0]) };
    assert_eq!(unordered.check(2), Err(ConfigError::Reads));
    let mut group = Group::join(&config(&[0]), &ShmFabric::new(), &mut LocalExchange::mesh(1).remove(0)).unwrap();
    assert_eq!(group.read_point(), Err(ReadRefused::NotConfigured));
}

#[test]
fn more_buffers_than_can_be_counted_are_memory_that_is_not_there() {
    let membership = Some(Timeouts::after(Duration::from_secs(60)));
    let wrong = Config { large_max: 1 << 20, senders_max: usize::MAX, membership, ..Config::new(vec![Rank::new(0)]) };
    assert!(wrong.memory_bytes(1) > 1 << 50);
    let Err(error) = Group::join(&wrong, &ShmFabric::new(), &mut LocalExchange::mesh(1).remove(0)) else { panic!("no machine has it") };
    assert!(matches!(error, JoinError::Region(_)), "{error}");
}

#[test]
fn no_patience_is_too_long() {
    let membership = Some(Timeouts::after(Duration::MAX));
    let config = Config { membership, ..config(&[0]) };
    let options = MemberOptions { patience: Duration::MAX, ..MemberOptions::new(config) };
    let mesh = Mesh::open("127.0.0.1:0".parse().unwrap(), &ClusterKey::random(), random_node(), MeshOptions::default()).unwrap();
    Member::found(options, ShmFabric::new(), mesh, &mut LocalExchange::mesh(1).remove(0)).unwrap();
}

/// What a founder and a newcomer are told, who has these contacts.
fn refused(options: &MemberOptions, contacts: &[SocketAddr]) -> [MemberError; 2] {
    let open = || Mesh::open("127.0.0.1:0".parse().unwrap(), &ClusterKey::random(), random_node(), MeshOptions::default()).unwrap();
    let founded = Member::found(options.clone(), ShmFabric::new(), open(), &mut LocalExchange::mesh(1).remove(0));
    let joined = Member::join(options.clone(), ShmFabric::new(), open(), contacts, Role::Sender, Duration::from_secs(60));
    [founded, joined].map(|member| member.expect_err("it cannot work"))
}

fn changing() -> MemberOptions {
    MemberOptions::new(Config { membership: Some(Timeouts::after(Duration::from_secs(60))), ..config(&[0]) })
}

#[test]
fn whose_members_never_change_has_none_that_come_and_go() {
    for error in refused(&MemberOptions::new(config(&[0])), &["127.0.0.1:1".parse().unwrap()]) {
        let MemberError::Join(error) = error else { panic!("{error}") };
        assert!(matches!(*error, JoinError::Config(ConfigError::Fixed)), "{error}");
        assert!(error.to_string().contains("`membership` is not set"), "{error}");
    }
}

#[test]
fn options_by_which_nobody_would_ever_come_are_named() {
    let contacts = ["127.0.0.1:1".parse().unwrap()];
    for (options, field) in [
        (MemberOptions { patience: Duration::ZERO, ..changing() }, "`patience` is 0"),
        (MemberOptions { state_bytes_per_second: 0, ..changing() }, "`state_bytes_per_second` is 0"),
    ] {
        for error in refused(&options, &contacts) {
            assert!(error.to_string().contains(field), "{error}");
        }
    }
    let hasty = Config { membership: Some(Timeouts::after(Duration::ZERO)), ..config(&[0]) };
    for error in refused(&MemberOptions::new(hasty), &contacts) {
        assert!(error.to_string().contains("suspicion after 0ns"), "{error}");
    }
}

#[test]
fn a_newcomer_without_contacts_is_told_to_name_one() {
    let mesh = Mesh::open("127.0.0.1:0".parse().unwrap(), &ClusterKey::random(), random_node(), MeshOptions::default()).unwrap();
    let joined = Member::join(changing(), ShmFabric::new(), mesh, &[], Role::Sender, Duration::from_secs(60));
    let error = joined.expect_err("nobody is asked").to_string();
    assert!(error.contains("no contact is named"), "{error}");
}

#[test]
fn senders_are_members_once_and_ascending() {
    for senders in [&[][..], &[3], &[1, 0], &[1, 1]] {
        let error = config(senders).check(3).unwrap_err();
        assert!(matches!(&error, ConfigError::Senders { members: 3, senders: found } if found.len() == senders.len()), "{error}");
        assert!(error.to_string().contains("each once, ascending"), "{error}");
    }
    config(&[0, 2]).check(3).unwrap();
}

#[test]
fn a_ring_that_is_too_small_is_told_what_would_do() {
    for (ring_bytes, small_max) in [(4096, 2048), (5000, 100), (0, 1), (32, 1), (1 << 20, 1 << 20)] {
        let wrong = Config { ring_bytes, small_max, ..config(&[0]) };
        let error = wrong.check(1).unwrap_err();
        let ConfigError::Ring { least, .. } = error else { panic!("{error}") };
        assert!(error.to_string().contains(&least.to_string()), "{error}");
        Config { ring_bytes: least, ..wrong.clone() }.check(1).unwrap();
        assert!(Config { ring_bytes: least / 2, ..wrong }.check(1).is_err(), "{least} is the least that does");
    }
}

#[test]
fn a_window_holds_a_message() {
    assert_eq!(Config { window_messages: 0, ..config(&[0]) }.check(1), Err(ConfigError::Window));
    let no_transfers = Config { transfers_max: 0, ..config(&[0]) };
    no_transfers.check(1).unwrap();
    assert_eq!(Config { large_max: 1 << 20, ..no_transfers }.check(1), Err(ConfigError::Window));
}

#[test]
fn blocks_that_are_too_small_are_told_what_would_do() {
    for (block_bytes, large_max) in [(0, 1 << 20), (100, 1 << 30)] {
        let wrong = Config { block_bytes: Some(block_bytes), large_max, ..config(&[0]) };
        let error = wrong.check(1).unwrap_err();
        let ConfigError::Blocks { least, .. } = error else { panic!("{error}") };
        assert!(error.to_string().contains(&format!("at least {least} bytes")), "{error}");
        Config { block_bytes: Some(least as u32), ..wrong }.check(1).unwrap();
    }
}

#[test]
fn a_configuration_that_cannot_work_does_not_join() {
    let mut exchange = LocalExchange::mesh(1).remove(0);
    let error = Group::join(&config(&[1]), &ShmFabric::new(), &mut exchange).map(drop).unwrap_err();
    assert!(error.to_string().contains("senders must be"), "{error}");
}

#[test]
fn modes_are_named_and_an_unknown_one_is_told_the_names() {
    for mode in [Mode::Ordered, Mode::Unordered] {
        assert_eq!(mode.to_string().parse(), Ok(mode));
    }
    let error = "total".parse::<Mode>().unwrap_err();
    assert!(error.contains("ordered") && error.contains("unordered") && error.contains("total"), "{error}");
}

/// A group of one.
fn alone(config: &Config) -> Group<ShmEndpoint> {
    Group::join(config, &ShmFabric::new(), &mut LocalExchange::mesh(1).remove(0)).unwrap()
}

struct Count(u64);

impl Upcalls for Count {
    fn deliver(&mut self, _delivery: Delivery<'_>, _outgoing: &mut Outgoing) {
        self.0 += 1;
    }
}

/// Sends messages of `bytes` bytes until one is refused; how many were taken, and the refusal.
fn send_until_refused(group: &mut Group<ShmEndpoint>, bytes: usize) -> (u64, SendError) {
    let payload = vec![0; bytes];
    for taken in 0.. {
        if let Err(error) = group.send(&payload) {
            return (taken, error);
        }
    }
    unreachable!("a window has an end");
}

#[test]
fn a_full_window_or_pool_is_an_answer_that_passes() {
    let small = Config { ring_bytes: 4096, small_max: 1000, window_messages: 3, ..config(&[0]) };
    let wide = Config { window_messages: 1000, ..small.clone() };
    let large = Config { large_max: 100_000, transfers_max: 2, ..wide.clone() };
    // (configuration, message, how many fit: 3 by count; 4096 / 1008 by bytes; 2 transfers)
    for (config, bytes, fit) in [(small, 1, 3), (wide, 1000, 4), (large, 50_000, 2)] {
        let (mut group, mut count, mut pace) = (alone(&config), Count(0), Pace::spinning());
        let mut sent = 0;
        for round in 0..5 {
            let (taken, error) = send_until_refused(&mut group, bytes);
            assert!(error.is_full(), "{error}");
            assert!(if round == 0 { taken == fit } else { taken >= 1 }, "{taken} of {bytes} bytes");
            sent += taken;
            while count.0 < sent {
                group.turn(&mut count, &mut pace).unwrap();
            }
        }
        assert_eq!(group.stats().messages_sent, sent);
        group.close(&mut count, &mut pace).unwrap();
    }
}

#[test]
fn a_refusal_that_does_not_pass_is_not_called_full() {
    let mut group = alone(&Config { large_max: 50_000, ..config(&[0]) });
    let error = group.send(&[0; 50_001]).unwrap_err();
    assert_eq!(error, SendError::TooLarge { bytes: 50_001, max: 50_000 });
    assert!(!error.is_full() && error.to_string().contains("large_max"), "{error}");
    assert!(!SendError::NotASender.is_full() && !SendError::Ended.is_full());
    assert!(SendError::WindowFull.is_full() && SendError::PoolExhausted.is_full());
}

#[test]
fn a_slot_that_is_dropped_sends_nothing_and_keeps_nothing() {
    let config = Config { large_max: 50_000, transfers_max: 1, window_messages: 1, ..config(&[0]) };
    let (mut group, mut count, mut pace) = (alone(&config), Count(0), Pace::spinning());
    for bytes in [10, 50_000, 10, 50_000] {
        group.reserve(bytes).unwrap().bytes_mut().fill(9);
    }
    std::mem::forget(group.reserve(50_000).unwrap());
    group.send(&[1; 40_000]).unwrap();
    group.close(&mut count, &mut pace).unwrap();
    assert_eq!(count.0, 1);
}
