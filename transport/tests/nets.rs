//! Simulated control connections: what goes through, in what order, and what happens when it does not.

use std::net::SocketAddr;
use std::time::Duration;

use squall_transport::mesh::{Gather, Meeting, MeshEvent, MeshSendError, Net};
use squall_transport::sim::{LinkSpec, NetSpec, SimNet, SimNets, SimNetwork};
use squall_transport::{Exchange, NodeId, Rank};

const SPEC: NetSpec =
    NetSpec { latency_ns: 1000, jitter_ns: 5000, bytes_per_s: 1_000_000_000, unsent_bytes_max: 10_000, connect_timeout_ns: 100_000 };

struct World {
    clock: SimNetwork,
    nets: SimNets,
}

impl World {
    fn new(seed: u64) -> World {
        let clock = SimNetwork::new(seed, 1, LinkSpec::default());
        World { nets: SimNets::new(seed, SPEC, &clock), clock }
    }

    fn pass(&self, ns: u64) {
        self.clock.advance_to(self.clock.now_ns() + ns);
    }

    /// Two processes that are connected.
    fn pair(&self) -> (SimNet, SimNet) {
        let (one, other) = (self.nets.open(NodeId(1)), self.nets.open(NodeId(2)));
        one.connect(other.address(), Some(NodeId(2)));
        self.pass(20_000);
        assert_eq!(one.next(), Some(up(&other)));
        assert_eq!(other.next(), Some(up(&one)));
        (one, other)
    }
}

fn up(net: &SimNet) -> MeshEvent {
    MeshEvent::Up { node: net.node(), address: net.address() }
}

fn events(net: &SimNet) -> Vec<MeshEvent> {
    std::iter::from_fn(|| net.next()).collect()
}

#[test]
fn messages_come_in_their_order_after_their_time_and_a_full_way_says_so() {
    for seed in 0..20 {
        let world = World::new(seed);
        let (one, other) = world.pair();
        for number in 0..9u8 {
            one.send(NodeId(2), &[number; 1000]).expect("there is room");
        }
        assert!(matches!(one.send(NodeId(2), &[9; 1000]), Err(MeshSendError::Full { .. })));
        assert_eq!(other.next(), None, "nothing comes at once");
        world.pass(1_000_000);
        let came: Vec<MeshEvent> = (0..9u8).map(|number| MeshEvent::Message { from: NodeId(1), bytes: vec![number; 1000] }).collect();
        assert_eq!(events(&other), came);
        one.send(NodeId(2), b"again").expect("what was taken makes room");
    }
}

#[test]
fn who_ends_is_told_of_or_not_and_who_is_held_comes_later() {
    let world = World::new(3);
    let (one, other) = world.pair();
    world.nets.hold(NodeId(1), NodeId(2), world.clock.now_ns() + 500_000);
    one.send(NodeId(2), b"late").expect("it is not known to be held");
    world.pass(400_000);
    assert_eq!(other.next(), None);
    world.pass(200_000);
    assert_eq!(events(&other).len(), 1);
    world.nets.end(&one, true);
    world.pass(100_000);
    assert!(matches!(other.next(), Some(MeshEvent::Down { node: NodeId(1), .. })));
    assert_eq!(other.send(NodeId(1), b"x"), Err(MeshSendError::NotConnected { node: NodeId(1) }));
    let (silent, hears) = World::pair(&world);
    world.nets.end(&silent, false);
    world.pass(10_000_000);
    assert_eq!(hears.next(), None, "nobody is told");
}

#[test]
fn a_dial_leads_to_who_listens_and_to_nobody_else() {
    let world = World::new(5);
    let (one, other, stopped) = (world.nets.open(NodeId(1)), world.nets.open(NodeId(2)), world.nets.open(NodeId(3)));
    world.nets.stop(&stopped, world.clock.now_ns() + 10_000_000);
    let nowhere: SocketAddr = "10.9.9.9:7000".parse().unwrap();
    one.connect(nowhere, None);
    one.connect(other.address(), Some(NodeId(7)));
    one.connect(stopped.address(), None);
    world.pass(SPEC.connect_timeout_ns + 10_000);
    let unreachable = events(&one).iter().filter(|event| matches!(event, MeshEvent::Unreachable { .. })).count();
    assert_eq!((unreachable, one.peers().len()), (3, 0));
    // A second process of a name whose first one stands is not heard.
    let twin = world.nets.open(NodeId(1));
    one.connect(other.address(), None);
    world.pass(20_000);
    twin.connect(other.address(), None);
    world.pass(SPEC.connect_timeout_ns + 10_000);
    assert!(matches!(events(&twin)[..], [MeshEvent::Unreachable { .. }]));
    assert_eq!(one.peers(), [(NodeId(2), other.address())]);
}

fn meeting(me: usize, nodes: &[u64], hasty: Vec<Rank>) -> Meeting {
    Meeting {
        token: [4; 32],
        me: Rank::new(me),
        nodes: nodes.iter().map(|&node| NodeId(node)).collect(),
        absent: Vec::new(),
        patience: Duration::from_nanos(1_000_000),
        hasty,
        haste: Duration::from_nanos(100_000),
    }
}

#[test]
fn a_gather_ends_with_all_parts_and_does_without_who_is_late_sooner_where_it_is_hasty() {
    let world = World::new(7);
    let (one, other) = world.pair();
    let mut gathers = [one.meet(meeting(0, &[1, 2], vec![])), other.meet(meeting(1, &[1, 2], vec![]))];
    assert!(gathers[0].poll(world.clock.now_ns(), "part", b"a").is_none());
    world.pass(50_000);
    let there = gathers[1].poll(world.clock.now_ns(), "part", b"b").expect("both are here").expect("all is well");
    assert_eq!(there, [b"a".to_vec(), b"b".to_vec()]);
    world.pass(50_000);
    assert_eq!(gathers[0].poll(world.clock.now_ns(), "part", b"a").expect("both are here").expect("all is well"), there);
    drop(gathers);
    for (hasty, due_ns) in [(vec![Rank(1)], 100_000), (vec![], 1_000_000)] {
        let token = [9; 32];
        let mut gather = one.meet(Meeting { token, ..meeting(0, &[1, 2], hasty) });
        let began_ns = world.clock.now_ns();
        assert!(gather.poll(began_ns, "part", b"a").is_none());
        assert_eq!(gather.due_ns(began_ns), Some(began_ns + due_ns));
        world.pass(due_ns - 1);
        assert!(gather.poll(world.clock.now_ns(), "part", b"a").is_none());
        world.pass(1);
        let alone = gather.poll(world.clock.now_ns(), "part", b"a").expect("its time is over").expect("all is well");
        assert_eq!((alone, gather.is_absent(Rank(1))), (vec![b"a".to_vec(), Vec::new()], true));
    }
}
