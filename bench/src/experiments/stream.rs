//! A plain TCP stream over loopback with large writes: the bound of the TCP fabric.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde::{Deserialize, Serialize};

use crate::node::control::Control;
use crate::node::machine;

/// A node that streams to itself through the kernel's loopback, from one thread to another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StreamJob {}

/// What a streaming node is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum StreamOrder {
    /// Measure this.
    Run(StreamCase),
    /// End.
    Finish,
}

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StreamCase {
    /// Bytes of one write and of one read.
    pub write_bytes: u64,
    /// Streams at once, each with two threads.
    pub streams: u32,
    /// Where the sending and the receiving threads run, or anywhere.
    pub cores: Option<(usize, usize)>,
    /// For how long.
    pub seconds: f64,
}

/// What was measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Streamed {
    /// Bytes that arrived.
    pub bytes: u64,
    /// From the first write to the last byte.
    pub seconds: f64,
}

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
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let mut pairs = Vec::new();
    for _ in 0..case.streams {
        let sender = TcpStream::connect(address)?;
        pairs.push((sender, listener.accept()?.0));
    }
    let began = Instant::now();
    let until = began + Duration::from_secs_f64(case.seconds);
    let bytes = thread::scope(|scope| -> anyhow::Result<u64> {
        let mut receivers = Vec::new();
        for (sender, receiver) in pairs {
            scope.spawn(move || send_until(sender, case, until));
            receivers.push(scope.spawn(move || receive_all(receiver, case)));
        }
        let mut bytes = 0;
        for receiver in receivers {
            bytes += receiver.join().map_err(|_| anyhow!("a receiving thread panicked"))??;
        }
        Ok(bytes)
    })?;
    Ok(Streamed { bytes, seconds: began.elapsed().as_secs_f64() })
}

fn send_until(mut sender: TcpStream, case: &StreamCase, until: Instant) -> anyhow::Result<()> {
    pin(case.cores.map(|cores| cores.0))?;
    let bytes = vec![0x5A; case.write_bytes as usize];
    loop {
        sender.write_all(&bytes)?;
        if Instant::now() >= until {
            return Ok(());
        }
    }
}

fn receive_all(mut receiver: TcpStream, case: &StreamCase) -> anyhow::Result<u64> {
    pin(case.cores.map(|cores| cores.1))?;
    let mut bytes = vec![0; case.write_bytes as usize];
    let mut total = 0;
    loop {
        match receiver.read(&mut bytes)? {
            0 => return Ok(total),
            count => total += count as u64,
        }
    }
}

fn pin(core: Option<usize>) -> anyhow::Result<()> {
    core.map_or(Ok(()), machine::pin).map_err(|what| anyhow!(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_arrives() {
        let case = StreamCase { write_bytes: 4096, streams: 2, cores: None, seconds: 0.001 };
        let streamed = run(&case).unwrap();
        assert!(streamed.bytes.is_multiple_of(4096) && streamed.bytes > 0);
    }
}
