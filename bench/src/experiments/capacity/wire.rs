//! Plain TCP streams from one host to another, with large writes: the bound of the TCP fabric between hosts.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use squall_transport::{Exchange, beside, own};

use crate::jobs::control::Control;
use crate::jobs::fabric::meet;
use crate::jobs::job::{Job, Work};
use crate::jobs::os;
use crate::jobs::threads;
use crate::jobs::wire::{Arrived, WireJob, WireOrder};
use crate::run::capacity::Streams;
use crate::run::fault::Fault;
use crate::run::stage::Stage;

/// Streams at once: one, and enough that no single one is the limit.
const STREAMS_MAX: usize = 4;
/// Each figure is measured so often, and the best counts.
const REPEATS: u32 = 3;
const WRITE_BYTES: usize = 1 << 20;
/// Share of the time in which windows and buffers grow; what arrives then does not count.
const WARM_UP_SHARE: f64 = 0.3;
const PATIENCE: Duration = Duration::from_secs(60);
/// A stream on which nothing moves for this long has failed.
const STALLED: Duration = Duration::from_secs(20);

/// What streams from the first host to the second carry: one, and the most of one and several.
///
/// # Errors
/// As [`Stage::workers`] and [`Workers::run`](crate::run::workers::Workers::run).
pub(super) fn streams(stage: &Stage<'_>, seconds: f64) -> Result<Streams, Fault> {
    let mut workers = stage.workers(vec![Work::Wire(WireJob {}), Work::Wire(WireJob {})], Instant::now() + PATIENCE)?;
    let mut most = |streams: usize| -> Result<f64, Fault> {
        let mut most: f64 = 0.0;
        for _ in 0..REPEATS {
            let arrived: Vec<Arrived> = workers.run(&WireOrder::Run { streams, seconds }, Instant::now() + PATIENCE)?;
            most = arrived.iter().map(|arrived| arrived.bytes as f64 / arrived.seconds / 1e9).fold(most, f64::max);
        }
        Ok(most)
    };
    let one = most(1)?;
    let all = most(STREAMS_MAX)?.max(one);
    workers.dismiss(&WireOrder::Finish);
    Ok(Streams { one, all })
}

/// The node's side.
///
/// # Errors
/// If sockets fail or the parent is gone.
pub fn node(job: &Job, _wire: &WireJob, control: &mut Control) -> anyhow::Result<()> {
    ensure!(job.nodes == 2, "streams go between two nodes");
    let here = job.address.map_or_else(os::loopback, Ok).map_err(|what| anyhow!(what))?;
    let mut session = meet(job)?;
    let listen = |port| TcpListener::bind(own(SocketAddr::new(here, port)));
    let listener = job.ports.first_free(listen, |error| error.kind() == ErrorKind::AddrInUse).context("listening for streams")?;
    let here = listener.local_addr()?;
    let addresses = session.all_gather("addresses of streams", &postcard::to_stdvec(&here)?)?;
    let there: SocketAddr = beside(here, postcard::from_bytes(&addresses[1])?);
    let sends = job.rank == 0;
    let mut sockets: Vec<TcpStream> = Vec::new();
    for _ in 0..STREAMS_MAX {
        sockets.push(if sends { TcpStream::connect(there).context("connecting a stream")? } else { listener.accept()?.0 });
    }
    for socket in &sockets {
        socket.set_read_timeout(Some(STALLED))?;
        socket.set_write_timeout(Some(STALLED))?;
    }
    control.ready(Vec::new())?;
    loop {
        match control.next()? {
            WireOrder::Run { streams, seconds } => {
                ensure!(streams <= sockets.len(), "{streams} streams were not connected");
                let arrived = run(&mut sockets[..streams], sends, Duration::from_secs_f64(seconds))?;
                control.done(&arrived)?;
            }
            WireOrder::Finish => return Ok(()),
        }
    }
}

fn run(sockets: &mut [TcpStream], sends: bool, time: Duration) -> anyhow::Result<Arrived> {
    let began = Instant::now();
    let warm = began + time.mul_f64(WARM_UP_SHARE);
    let bytes = thread::scope(|scope| -> anyhow::Result<u64> {
        let pump =
            |socket| threads::start(scope, move || if sends { send(socket, began + time).map(|()| 0) } else { receive(socket, warm) });
        let ends = sockets.iter_mut().map(pump).collect::<anyhow::Result<Vec<_>>>()?;
        let mut bytes = 0;
        for end in ends {
            bytes += end.join().map_err(|_| anyhow!("a streaming thread panicked"))??;
        }
        Ok(bytes)
    })?;
    Ok(Arrived { bytes, seconds: warm.elapsed().as_secs_f64() })
}

/// A message of zeros begins with a zero; the last byte of a trial is a one.
const END: u8 = 1;

fn send(socket: &mut TcpStream, until: Instant) -> anyhow::Result<()> {
    let chunk = vec![0; WRITE_BYTES];
    while Instant::now() < until {
        socket.write_all(&chunk)?;
    }
    Ok(socket.write_all(&[END])?)
}

/// Bytes that arrive from `warm` to the end of the trial.
fn receive(socket: &mut TcpStream, warm: Instant) -> anyhow::Result<u64> {
    let mut chunk = vec![0; WRITE_BYTES];
    let mut received = 0;
    loop {
        let count = match socket.read(&mut chunk) {
            Ok(0) => return Err(anyhow!("the sender is gone")),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        if Instant::now() >= warm {
            received += count as u64;
        }
        if chunk[count - 1] == END {
            return Ok(received);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn what_is_sent_arrives_trial_after_trial() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut senders, mut receivers) = ([sender], [listener.accept().unwrap().0]);
        let mut trial = || {
            let time = Duration::from_millis(20);
            let arrived = thread::scope(|scope| {
                scope.spawn(|| run(&mut senders, true, time).unwrap());
                run(&mut receivers, false, time).unwrap()
            });
            assert!(arrived.seconds > 0.0);
            arrived.bytes
        };
        for _ in 0..2 {
            // A receiver that begins late finds everything there before it counts.
            while trial() == 0 {}
        }
    }
}
