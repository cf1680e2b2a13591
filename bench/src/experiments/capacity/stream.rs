//! A plain TCP stream over loopback with large writes: the bound of the TCP fabric.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use squall_transport::unpaced_within_host;

use crate::jobs::control::Control;
use crate::jobs::os;
use crate::jobs::stream::{StreamCase, StreamJob, StreamOrder, Streamed, Threads};
use crate::jobs::threads;

/// Share of the time in which windows and buffers grow; what arrives then does not count.
const WARM_UP_SHARE: f64 = 0.3;

/// The node's side.
///
/// # Errors
/// If sockets fail or the parent is gone.
pub fn node(_job: &StreamJob, control: &mut Control) -> anyhow::Result<()> {
    control.ready(Vec::new())?;
    loop {
        match control.next()? {
            StreamOrder::Run(case) => {
                let streamed = run(&case)?;
                control.done(&streamed)?;
            }
            StreamOrder::Finish => return Ok(()),
        }
    }
}

fn run(case: &StreamCase) -> anyhow::Result<Streamed> {
    let mut ends = ends(&case.threads)?;
    let polls = !matches!(case.threads, Threads::Sleeping(_));
    for end in &mut ends {
        end.set_up(polls)?;
    }
    let began = Instant::now();
    let warm = began + Duration::from_secs_f64(case.seconds * WARM_UP_SHARE);
    let until = began + Duration::from_secs_f64(case.seconds);
    let bytes = thread::scope(|scope| -> anyhow::Result<u64> {
        let pump = |end: End| threads::start(scope, move || end.pump(case.write_bytes as usize, warm, until));
        let threads = ends.into_iter().map(pump).collect::<anyhow::Result<Vec<_>>>()?;
        let mut bytes = 0;
        for thread in threads {
            bytes += thread.join().map_err(|_| anyhow!("a streaming thread panicked"))??;
        }
        Ok(bytes)
    })?;
    Ok(Streamed { bytes, seconds: warm.elapsed().as_secs_f64() })
}

/// What one thread does: send, receive, or both in turns.
#[derive(Default)]
struct End {
    sender: Option<TcpStream>,
    receiver: Option<TcpStream>,
    core: Option<usize>,
}

fn ends(threads: &Threads) -> anyhow::Result<Vec<End>> {
    let listener = TcpListener::bind((os::loopback().map_err(|what| anyhow!(what))?, 0))?;
    let address = listener.local_addr()?;
    let pair = || -> anyhow::Result<(TcpStream, TcpStream)> { Ok((TcpStream::connect(address)?, listener.accept()?.0)) };
    let mut ends = Vec::new();
    match threads {
        Threads::Sleeping(streams) => {
            for _ in 0..*streams {
                let (sender, receiver) = pair()?;
                ends.push(End { sender: Some(sender), ..End::default() });
                ends.push(End { receiver: Some(receiver), ..End::default() });
            }
        }
        Threads::Polling(first, second) => {
            let (sender, receiver) = pair()?;
            ends.push(End { sender: Some(sender), receiver: None, core: Some(*first) });
            ends.push(End { sender: None, receiver: Some(receiver), core: Some(*second) });
        }
        Threads::Ring(cores) => {
            ends.extend(cores.iter().map(|&core| End { core: Some(core), ..End::default() }));
            for from in 0..ends.len() {
                let (sender, receiver) = pair()?;
                let to = (from + 1) % ends.len();
                ends[from].sender = Some(sender);
                ends[to].receiver = Some(receiver);
            }
        }
    }
    Ok(ends)
}

impl End {
    fn set_up(&mut self, polls: bool) -> anyhow::Result<()> {
        for socket in [&self.sender, &self.receiver].into_iter().flatten() {
            socket.set_nonblocking(polls)?;
            // As the fabric does: a bound may not be slower for want of it.
            unpaced_within_host(socket);
        }
        Ok(())
    }

    /// Moves bytes until the time is over, or the peer's is; bytes received from `warm` on.
    fn pump(mut self, chunk_bytes: usize, warm: Instant, until: Instant) -> anyhow::Result<u64> {
        self.core.map_or(Ok(()), |core| os::pin_if_allowed(core).map(drop)).map_err(|what| anyhow!(what))?;
        let (outgoing, mut incoming) = (vec![0x5A; chunk_bytes], vec![0; chunk_bytes]);
        let mut received = 0;
        loop {
            let now = Instant::now();
            if let Some(sender) = &mut self.sender {
                moved(sender.write(&outgoing))?;
            }
            if let Some(receiver) = &mut self.receiver {
                match moved(receiver.read(&mut incoming))? {
                    Some(0) => return Ok(received),
                    Some(count) if now >= warm => received += count as u64,
                    _ => {}
                }
            }
            // A receiver alone takes what is still under way.
            if now >= until && (self.sender.is_some() || received > 0) {
                return Ok(received);
            }
        }
    }
}

/// How much was moved; none if nothing can be now. A peer that has stopped takes no more.
fn moved(result: io::Result<usize>) -> anyhow::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Ok(Some(0)),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_arrives() {
        let cores = os::cores();
        let second = cores.get(1).copied().unwrap_or(cores[0]);
        for threads in [Threads::Sleeping(2), Threads::Polling(cores[0], second), Threads::Ring(cores.clone())] {
            let streamed = run(&StreamCase { write_bytes: 4096, threads, seconds: 0.02 }).unwrap();
            assert!(streamed.bytes > 0 && streamed.seconds > 0.0);
        }
    }
}
