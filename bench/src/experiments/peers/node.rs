//! A node that runs another program, the client or the server of it.
//!
//! ```text
//!   node 1   iperf3 --server ...                       waits at a port that it found free
//!   node 0   iperf3 --client ADDRESS OF NODE 1 ...     prints what it measured
//! ```

use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use serde_json::Value;
use squall_transport::Exchange;

use super::alone;
use super::program::{failed, limited, run};
use crate::jobs::control::Control;
use crate::jobs::fabric::meet;
use crate::jobs::job::Job;
use crate::jobs::kinds::FabricKind;
use crate::jobs::os;
use crate::jobs::peer::{Peer, PeerJob, PeerOrder, PeerSaid};

/// How long a server may take to listen.
const SERVER_UP_MAX: Duration = Duration::from_secs(5);
const RETRY_EVERY: Duration = Duration::from_millis(100);
/// iperf3 writes no more at once.
pub(super) const IPERF3_BYTES_MAX: u64 = 1 << 20;
/// The fewest bytes that iperf3 is asked for: its server has counted none yet where all are sent within a millisecond.
const IPERF3_BYTES_MIN: u64 = 64 << 20;

/// The node's side.
///
/// # Errors
/// If the parent is gone, or the nodes cannot meet. That a program fails is an answer.
pub fn node(job: &Job, peer: &PeerJob, control: &mut Control) -> anyhow::Result<()> {
    if !peer.peer.is_pair() {
        return alone::node(peer, control);
    }
    let here = job.address.map_or_else(os::loopback, Ok).map_err(|what| anyhow!(what))?;
    let mut session = meet(job)?;
    // The program listens at a number that it is told; one that was free a moment ago.
    let free = TcpListener::bind((here, 0)).and_then(|listener| listener.local_addr()).context("looking for a free port")?;
    // The rendezvous is over once all are ready.
    let addresses = session.all_gather("address of the server", &postcard::to_stdvec(&free)?)?;
    let server: SocketAddr = postcard::from_bytes(addresses.get(1).ok_or_else(|| anyhow!("the server told no address"))?)?;
    control.ready(Vec::new())?;
    loop {
        match control.next()? {
            PeerOrder::Run(messages) => {
                let said = match job.rank {
                    0 => client(peer, messages, server)?,
                    _ => run(&mut serving(peer, server)).map(|_| PeerSaid::Nothing)?,
                };
                control.done(&said)?;
            }
            PeerOrder::Finish => return Ok(()),
        }
    }
}

/// The server's end.
fn serving(peer: &PeerJob, server: SocketAddr) -> Command {
    let port = server.port().to_string();
    match peer.peer {
        Peer::Iperf3 => {
            let mut command = limited("iperf3");
            command.args(["--server", "--one-off", "--bind", &server.ip().to_string(), "--port", &port]);
            command
        }
        _ => {
            let mut command = limited("ucx_perftest");
            command.args(["-p", &port]).envs(transports(peer.fabric));
            command
        }
    }
}

/// Runs the client until it finds the server.
fn client(peer: &PeerJob, messages: u64, server: SocketAddr) -> anyhow::Result<PeerSaid> {
    let deadline = Instant::now() + SERVER_UP_MAX;
    let port = server.port().to_string();
    loop {
        let mut command = match peer.peer {
            Peer::Iperf3 => {
                let mut command = limited("iperf3");
                let write = peer.message_bytes.min(IPERF3_BYTES_MAX).to_string();
                let all = (peer.message_bytes * messages).max(IPERF3_BYTES_MIN).to_string();
                command.args(["--client", &server.ip().to_string(), "--port", &port, "--json", "--bytes", &all, "--length", &write]);
                command
            }
            _ => {
                let mut command = limited("ucx_perftest");
                let test = if peer.peer.is_latency() { "ucp_put_lat" } else { "ucp_put_bw" };
                let warm_up = (messages / 10).clamp(1, 1000).to_string();
                command.arg(server.ip().to_string()).args(["-p", &port, "-t", test, "-f", "-v"]);
                command.args(["-s", &peer.message_bytes.to_string(), "-n", &messages.to_string(), "-w", &warm_up]);
                command.envs(transports(peer.fabric));
                command
            }
        };
        let output = run(&mut command)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let said = match peer.peer {
            Peer::Iperf3 => streamed(&text, peer.message_bytes),
            _ => put(&text, peer.peer.is_latency()),
        };
        match said {
            Some(said) if output.status.success() => return Ok(said),
            _ if Instant::now() >= deadline => return Ok(failed(peer.peer.programs().map_or("", |(programs, _)| programs[0]), &output)),
            _ => std::thread::sleep(RETRY_EVERY),
        }
    }
}

/// What has UCX take the same way as ours.
fn transports(fabric: FabricKind) -> [(&'static str, &'static str); 2] {
    let transports = match fabric {
        FabricKind::Shm => "self,posix,sysv,cma",
        FabricKind::Tcp => "self,tcp",
        FabricKind::Verbs => "self,rc",
    };
    [("UCX_TLS", transports), ("UCX_WARN_UNUSED_ENV_VARS", "n")]
}

/// iperf3's JSON: what the receiver saw.
fn streamed(json: &str, message_bytes: u64) -> Option<PeerSaid> {
    let found: Value = serde_json::from_str(json).ok()?;
    let received = &found["end"]["sum_received"];
    let (bytes, seconds) = (received["bytes"].as_f64()?, received["seconds"].as_f64()?);
    (bytes > 0.0 && seconds > 0.0).then(|| PeerSaid::Moved { messages: bytes / message_bytes as f64, seconds })
}

/// The last line of ucx_perftest's CSV: iterations, the middle latency, latencies of the last part and of all (us),
/// rates of both (MB/s), messages of both.
fn put(csv: &str, is_latency: bool) -> Option<PeerSaid> {
    let line = csv.lines().rev().find(|line| line.trim_start().starts_with(|first: char| first.is_ascii_digit()))?;
    let numbers: Vec<f64> = line.split(',').map(|field| field.trim().parse()).collect::<Result<_, _>>().ok()?;
    let [messages, p50, _, mean, ..] = numbers[..] else { return None };
    let all = [messages, p50, mean].iter().all(|number| number.is_finite() && *number > 0.0);
    all.then_some(match is_latency {
        true => PeerSaid::Turns { p50, mean },
        // Per message: of puts under way at once it is the time between two of them.
        false => PeerSaid::Moved { messages, seconds: mean * messages / 1e6 },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_print_is_read() {
        let json = r#"{"end": {"sum_sent": {"bytes": 9}, "sum_received": {"seconds": 0.5, "bytes": 104857600}}}"#;
        assert_eq!(streamed(json, 1 << 20), Some(PeerSaid::Moved { messages: 100.0, seconds: 0.5 }));
        assert_eq!(streamed(r#"{"error": "unable to connect"}"#, 1), None);
        let csv = "iterations,50.0_percentile_lat,avg_lat,overall_lat,avg_bw,overall_bw,avg_mr,overall_mr\n\
                   \x20500,0.170,69276.957,6942.026,14.43,144.05,14,144\n";
        assert_eq!(put(csv, false), Some(PeerSaid::Moved { messages: 500.0, seconds: 3.471_013 }));
        assert_eq!(put(csv, true), Some(PeerSaid::Turns { p50: 0.17, mean: 6942.026 }));
        assert_eq!(put("no device\n", true), None);
    }
}
