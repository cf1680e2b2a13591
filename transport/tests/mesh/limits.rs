//! What is bounded: queues, frames, connections, strangers.

use std::io::{Read, Write};
use std::net::TcpStream;

use squall_transport::mesh::MeshSendError;

use super::*;

fn small(peers_max: usize) -> MeshOptions {
    MeshOptions { frame_bytes_max: 16 << 10, unread_bytes_max: 64 << 10, unsent_bytes_max: 64 << 10, peers_max, ..MeshOptions::default() }
}

#[test]
fn a_peer_that_takes_nothing_fills_its_queue_alone_and_loses_nothing() {
    let key = ClusterKey::random();
    let meshes = [1, 2, 3].map(|node| open(&key, node, small(8)));
    join(&meshes);
    let [from, stuck, other] = &meshes;
    let mut sent = 0u32;
    let full = loop {
        match from.send(stuck.node(), &sent.to_le_bytes().repeat(2500)) {
            Ok(()) => sent += 1,
            // The socket may take more at any moment; only one that stays full while another peer is served is stuck.
            Err(error) => match serve_other(from, other, stuck, sent) {
                Some(more) => sent = more,
                None => break error,
            },
        }
    };
    assert!(matches!(full, MeshSendError::Full { node: NodeId(2), bytes_max: 65_536, .. }), "{full}");
    for number in 0..sent {
        assert_eq!(message(stuck), (from.node(), number.to_le_bytes().repeat(2500)));
    }
    from.send(stuck.node(), b"there is room again").expect("all was taken");
    assert_eq!(message(stuck).1, b"there is room again");
}

/// Some rounds with another peer, then once more to the one that may be stuck: how many it was sent, or none if it is.
fn serve_other(from: &Mesh, other: &Mesh, stuck: &Mesh, sent: u32) -> Option<u32> {
    for round in 0..50u8 {
        from.send(other.node(), &[round; 5000]).expect("it takes all");
        assert_eq!(message(other), (from.node(), vec![round; 5000]));
    }
    from.send(stuck.node(), &sent.to_le_bytes().repeat(2500)).ok().map(|()| sent + 1)
}

#[test]
fn a_message_is_as_large_as_the_smaller_frame_limit_allows() {
    let key = ClusterKey::random();
    let meshes = [open(&key, 1, MeshOptions::default()), open(&key, 2, small(8))];
    join(&meshes);
    let bytes_max = (16 << 10) - 256;
    assert_eq!(meshes[0].send(NodeId(2), &vec![0; bytes_max + 1]), Err(MeshSendError::TooLarge { bytes: bytes_max + 1, bytes_max }));
    meshes[0].send(NodeId(2), &vec![9; bytes_max]).expect("it fits");
    assert_eq!(message(&meshes[1]), (NodeId(1), vec![9; bytes_max]));
    assert_eq!(meshes[0].send(NodeId(3), b""), Err(MeshSendError::NotConnected { node: NodeId(3) }));
}

#[test]
fn no_more_peers_than_allowed_at_either_side() {
    let key = ClusterKey::random();
    let meshes = [open(&key, 1, small(1)), open(&key, 2, small(8)), open(&key, 3, small(8))];
    join(&meshes[..2]);
    meshes[2].connect(meshes[0].address(), None);
    let reason = unreachable(&meshes[2]);
    assert!(reason.contains("peers_max") && reason.contains("refused"), "{reason}");
    meshes[0].connect(meshes[2].address(), None);
    let reason = unreachable(&meshes[0]);
    assert!(reason.contains("this process has as many"), "{reason}");
    assert_eq!(meshes[0].peers().len(), 1);
}

#[test]
fn strangers_neither_block_nor_break_a_mesh_and_the_oldest_give_way() {
    let key = ClusterKey::random();
    let meshes = [open(&key, 1, small(8)), open(&key, 2, small(8))];
    let mut silent = TcpStream::connect(meshes[0].address()).expect("it accepts");
    let mut strangers = Vec::new();
    for number in 0..200u32 {
        let mut stranger = TcpStream::connect(meshes[0].address()).expect("it accepts");
        if number % 2 == 0 {
            let noise: Vec<u8> = (0..number).flat_map(|byte| (byte * number).to_le_bytes()).collect();
            // It may have been closed already.
            let _ = stranger.write_all(&noise);
        }
        strangers.push(stranger);
    }
    join(&meshes);
    meshes[1].send(NodeId(1), b"through the crowd").expect("it stands");
    assert_eq!(message(&meshes[0]).1, b"through the crowd");
    silent.set_read_timeout(Some(LONG)).expect("a socket");
    // It is told why, where that still gets through.
    let mut said = Vec::new();
    let ended = silent.read_to_end(&mut said);
    assert!(ended.is_ok() || said.is_empty(), "{ended:?}");
    assert!(said.is_empty() || said == [0, 1], "the first came long before the last: {said:?}");
    assert_eq!(meshes[0].next(), None);
}

#[test]
fn a_stranger_that_says_nothing_is_closed_when_its_time_is_over() {
    let options = MeshOptions { handshake_timeout: Duration::from_millis(30), ..small(8) };
    let mesh = open(&ClusterKey::random(), 1, options);
    let mut silent = TcpStream::connect(mesh.address()).expect("it accepts");
    silent.set_read_timeout(Some(LONG)).expect("a socket");
    assert_eq!(silent.read(&mut [0; 1]).expect("closed in order"), 0);
}
