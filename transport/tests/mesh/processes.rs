//! Meshes of several processes: one that is killed, and one whose descriptors and threads are counted.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Barrier;

use squall_transport::Exchange;

use super::*;

/// Tells a copy of this program what to be.
const ROLE: &str = "SQUALL_TEST_MESH";
const KEY: &str = "SQUALL_TEST_MESH_KEY";

/// A copy of this program that runs only `test`.
fn copy(test: &str, role: &str, key: &ClusterKey) -> Child {
    let program = std::env::current_exe().expect("my own name");
    let mut command = Command::new(program);
    command.args(["--exact", test, "--nocapture"]).env(ROLE, role).env(KEY, key.to_hex());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a copy of this program starts")
}

fn role() -> Option<(String, ClusterKey)> {
    let role = std::env::var(ROLE).ok()?;
    let key = std::env::var(KEY).expect("the key comes with the role");
    Some((role, ClusterKey::from_hex(&key).expect("its own parent's key")))
}

fn await_line(out: &mut BufReader<ChildStdout>, wanted: &str) {
    let found = out.lines().any(|line| line.expect("text").contains(wanted));
    assert!(found, "the copy ended without \"{wanted}\"");
}

fn of(me: usize) -> Meeting {
    let nodes = vec![NodeId(1), NodeId(2), NodeId(3)];
    Meeting { token: [5; 32], me: Rank::new(me), nodes, absent: vec![], patience: Duration::MAX, hasty: vec![], haste: Duration::ZERO }
}

/// Rank 2: gives to the first gather, and never to the second.
fn be_the_victim(role: &str, key: &ClusterKey) {
    let mesh = open(key, 3, MeshOptions::default());
    for place in role.split(' ') {
        mesh.connect(place.parse().expect("its own parent's address"), None);
    }
    let mut exchange = mesh.meet(of(2));
    let parts = exchange.all_gather("first", b"two").expect("all are there");
    assert_eq!(parts, [b"zero".to_vec(), b"one".to_vec(), b"two".to_vec()]);
    println!("gathered");
    loop {
        thread::park();
    }
}

#[test]
fn a_killed_process_is_absent_from_the_gather_that_waits_for_it() {
    if let Some((role, key)) = role() {
        return be_the_victim(&role, &key);
    }
    let key = ClusterKey::random();
    let meshes = [open(&key, 1, MeshOptions::default()), open(&key, 2, MeshOptions::default())];
    join(&meshes);
    let places = meshes.each_ref().map(|mesh| mesh.address().to_string()).join(" ");
    let mut victim = copy("processes::a_killed_process_is_absent_from_the_gather_that_waits_for_it", &places, &key);
    let mut out = BufReader::new(victim.stdout.take().expect("piped"));
    let all_have_its_part = &Barrier::new(3);
    thread::scope(|scope| {
        for (me, mesh) in meshes.iter().enumerate() {
            scope.spawn(move || {
                let mut exchange = mesh.meet(of(me));
                let mine: [&[u8]; 2] = [b"zero", b"one"];
                let parts = exchange.all_gather("first", mine[me]).expect("all are there");
                assert_eq!(parts, [b"zero".to_vec(), b"one".to_vec(), b"two".to_vec()]);
                all_have_its_part.wait();
                let parts = exchange.all_gather("second", mine[me]).expect("two are left");
                assert_eq!(parts, [b"zero".to_vec(), b"one".to_vec(), vec![]]);
                assert!(exchange.is_absent(Rank(2)));
                assert_eq!(up(mesh), NodeId(3));
                assert_eq!(down(mesh), NodeId(3));
            });
        }
        all_have_its_part.wait();
        await_line(&mut out, "gathered");
        victim.kill().expect("it lives");
    });
    victim.wait().expect("it ended");
}

fn entries(folder: &str) -> usize {
    std::fs::read_dir(folder).expect("this process' own folder").count()
}

/// One mesh stays, a peer comes and goes: as a mesh of its own every time, and as one that connects again.
fn count_rounds(key: &ClusterKey) {
    let meshes = [open(key, 1, MeshOptions::default()), open(key, 2, MeshOptions::default())];
    let settled = |fds: usize| {
        let deadline = Instant::now() + LONG;
        while entries("/proc/self/fd") > fds && Instant::now() < deadline {
            thread::yield_now();
        }
        (entries("/proc/self/fd"), entries("/proc/self/task"))
    };
    let (fds, tasks) = (entries("/proc/self/fd"), entries("/proc/self/task"));
    for round in 0..1000u32 {
        meshes[round as usize % 2].connect(meshes[1 - round as usize % 2].address(), None);
        assert_eq!((up(&meshes[0]), up(&meshes[1])), (NodeId(2), NodeId(1)));
        meshes[0].disconnect(NodeId(2));
        assert_eq!(down(&meshes[1]), NodeId(1));
    }
    assert_eq!(settled(fds), (fds, tasks));
    for round in 0..100 {
        let guest = open(key, 100 + round, MeshOptions::default());
        guest.connect(meshes[0].address(), Some(NodeId(1)));
        assert_eq!((up(&guest), up(&meshes[0])), (NodeId(1), guest.node()));
        let node = guest.node();
        drop(guest);
        assert_eq!(down(&meshes[0]), node);
    }
    assert_eq!(settled(fds), (fds, tasks));
    println!("nothing grew");
}

#[test]
fn a_thousand_rounds_leave_no_descriptor_and_no_thread() {
    if let Some((_, key)) = role() {
        return count_rounds(&key);
    }
    let mut counter = copy("processes::a_thousand_rounds_leave_no_descriptor_and_no_thread", "count", &ClusterKey::random());
    let mut out = BufReader::new(counter.stdout.take().expect("piped"));
    await_line(&mut out, "nothing grew");
    assert!(counter.wait().expect("it ended").success());
}
