//! Which of its addresses each host is reached at: all are tried from all other hosts before a run begins.
//!
//! ```text
//!   every host    listens at each address that the rules take, and shows a proof there: an address may mean another
//!                 host elsewhere, as those of container bridges do
//!   every host    connects to each address of all others
//!   first host    for each host, the first address that all others reached
//! ```

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use squall_transport::Ports;
use squall_transport::exchange::ClusterKey;

use crate::ask::network::{InterfaceRule, OwnAddress, own_addresses};
use crate::jobs::threads;

/// How long an attempt may take.
const ATTEMPT: Duration = Duration::from_millis(1500);
/// How often a listener looks whether somebody came.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const PROOF_BYTES: usize = 16;

/// An address at which a host may be reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Offer {
    pub(super) own: OwnAddress,
    at: SocketAddr,
    proof: [u8; PROOF_BYTES],
}

/// What each host reached: of each host each offer.
pub(super) type Reached = Vec<Vec<bool>>;

/// Offers that are shown until this is dropped.
pub(super) struct Offered {
    pub(super) offers: Vec<Offer>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Offered {
    /// Listens at each address that the rules take. Those that mean nothing beyond their link are left out: at another
    /// host they belong to another interface.
    pub(super) fn open(rules: &[InterfaceRule], ports: Ports) -> Result<Offered, String> {
        let mut offered = Offered { offers: Vec::new(), over: Arc::default(), threads: Vec::new() };
        let own = own_addresses(rules)?;
        for own in own.into_iter().filter(|own| !own.is_of_one_link()) {
            let listen = |port| TcpListener::bind((own.address, port));
            let listener = ports.first_free(listen, |error| error.kind() == ErrorKind::AddrInUse);
            let at = listener.and_then(|listener| Ok((listener.local_addr()?, listener.set_nonblocking(true)?, listener)));
            let (at, (), listener) = at.map_err(|error| format!("listening at {} of {}: {error}", own.address, own.interface))?;
            let proof = random();
            let over = Arc::clone(&offered.over);
            let show = move || show(&listener, &proof, &over);
            offered.threads.push(threads::begin("offer", show).map_err(|error| error.to_string())?);
            offered.offers.push(Offer { own, at, proof });
        }
        Ok(offered)
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        // Relaxed: a flag that publishes nothing.
        self.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic in it has been printed.
            let _ = thread.join();
        }
    }
}

fn random() -> [u8; PROOF_BYTES] {
    let digits = ClusterKey::random().to_hex();
    std::array::from_fn(|index| u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).unwrap_or_default())
}

fn show(listener: &TcpListener, proof: &[u8; PROOF_BYTES], over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        match listener.accept() {
            // Whoever has gone again does not want it.
            Ok((mut stream, _)) => drop(stream.write_all(proof)),
            Err(_) => thread::sleep(LOOK_EVERY),
        }
    }
}

/// Tries every offer of all hosts but `me`, all at once.
pub(super) fn reach(all: &[Vec<Offer>], me: usize) -> Reached {
    thread::scope(|scope| {
        let attempts: Vec<Vec<_>> = all
            .iter()
            .enumerate()
            .map(|(host, offers)| {
                // A thread that cannot be had reaches nobody.
                let attempt = |offer| thread::Builder::new().spawn_scoped(scope, move || host == me || is_reached(offer)).ok();
                offers.iter().map(attempt).collect()
            })
            .collect();
        let result = |attempt: Option<thread::ScopedJoinHandle<'_, bool>>| attempt.is_some_and(|attempt| attempt.join().unwrap_or(false));
        attempts.into_iter().map(|attempts| attempts.into_iter().map(result).collect()).collect()
    })
}

fn is_reached(offer: &Offer) -> bool {
    let attempt = || {
        let mut stream = TcpStream::connect_timeout(&offer.at, ATTEMPT)?;
        stream.set_read_timeout(Some(ATTEMPT))?;
        let mut shown = [0; PROOF_BYTES];
        stream.read_exact(&mut shown).map(|()| shown)
    };
    attempt().is_ok_and(|shown: [u8; PROOF_BYTES]| shown == offer.proof)
}

/// What comes of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settled {
    /// The address of each host.
    pub(super) addresses: Vec<OwnAddress>,
    /// Those that not all hosts reach, for people.
    pub(super) left_out: Vec<String>,
}

/// The first address of each host that all others reach, all of one kind; `reached` by the host that tried, `rules` as
/// they were given.
pub(super) fn settle(all: &[Vec<Offer>], reached: &[Reached], rules: &str) -> Result<Settled, String> {
    let misses = |host: usize, offer: usize| (0..all.len()).find(|&other| other != host && !reached[other][host][offer]);
    let mut left_out = Vec::new();
    for (host, offers) in all.iter().enumerate() {
        for (index, offer) in offers.iter().enumerate() {
            if let Some(other) = misses(host, index) {
                let OwnAddress { interface, address } = &offer.own;
                left_out.push(format!("host {host}: {interface} {address} is left out: host {other} does not reach it"));
            }
        }
    }
    let of_kind = |is_v4: bool| -> Result<Vec<OwnAddress>, usize> {
        let first = |(host, offers): (usize, &Vec<Offer>)| {
            let fits = |(index, offer): &(usize, &Offer)| offer.own.address.is_ipv4() == is_v4 && misses(host, *index).is_none();
            offers.iter().enumerate().find(fits).map(|(_, offer)| offer.own.clone()).ok_or(host)
        };
        all.iter().enumerate().map(first).collect()
    };
    match of_kind(true).or_else(|host| of_kind(false).map_err(|_| host)) {
        Ok(addresses) => Ok(Settled { addresses, left_out }),
        Err(host) => {
            let why = if left_out.is_empty() { "it has none".to_owned() } else { left_out.join("; ") };
            Err(format!(
                "no interface of host {host} that --interface {rules} takes reaches all other hosts: {why}; name one that all hosts share"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(interface: &str, address: &str) -> Offer {
        let own = OwnAddress { interface: interface.into(), address: address.parse().unwrap() };
        Offer { at: SocketAddr::new(own.address, 1), own, proof: [0; PROOF_BYTES] }
    }

    #[test]
    fn the_first_address_that_all_reach_is_taken_and_the_others_are_named() {
        let all = [
            vec![offer("ib0", "10.1.0.1"), offer("eth0", "10.2.0.1")],
            vec![offer("ib0", "10.1.0.2"), offer("eth0", "10.2.0.2")],
            vec![offer("eth0", "10.2.0.3"), offer("ib0", "10.1.0.3")],
        ];
        let reached = |by: usize| all.iter().enumerate().map(move |(host, _)| vec![by != 2 || host != 0, true]).collect::<Reached>();
        let settled = settle(&all, &[reached(0), reached(1), reached(2)], "10.0.0.0/8").unwrap();
        let addresses: Vec<String> = settled.addresses.iter().map(|own| own.address.to_string()).collect();
        assert_eq!(addresses, ["10.2.0.1", "10.1.0.2", "10.2.0.3"]);
        assert_eq!(settled.left_out, ["host 0: ib0 10.1.0.1 is left out: host 2 does not reach it"]);
    }

    #[test]
    fn without_a_network_that_all_share_it_is_said_who_does_not_reach_whom() {
        let all = [vec![offer("ib0", "10.1.0.1")], vec![offer("ib0", "10.1.0.2")]];
        let error = settle(&all, &[vec![vec![true], vec![false]], vec![vec![true], vec![true]]], "ib0").unwrap_err();
        assert!(error.contains("no interface of host 1 that --interface ib0") && error.contains("host 0 does not reach it"), "{error}");
    }

    #[test]
    fn hosts_are_of_one_kind() {
        let all = [vec![offer("a", "10.1.0.1"), offer("a", "fd00::1")], vec![offer("a", "fd00::2")]];
        let reached = [vec![vec![true, true], vec![true]], vec![vec![true, true], vec![true]]];
        let settled = settle(&all, &reached, "a").unwrap();
        assert!(settled.addresses.iter().all(|own| own.address.is_ipv6()), "{settled:?}");
    }

    #[test]
    fn an_address_is_reached_if_who_listens_there_shows_the_proof() {
        let rules: Vec<InterfaceRule> = vec!["127.0.0.0/8".parse().unwrap()];
        let (mine, theirs) = (Offered::open(&rules, Ports::ANY).unwrap(), Offered::open(&rules, Ports::ANY).unwrap());
        let mut impostor = theirs.offers.clone();
        impostor[0].proof = [7; PROOF_BYTES];
        let closed = offer("lo", "127.0.0.1");
        let all = [mine.offers.clone(), theirs.offers.clone(), impostor, vec![closed]];
        let reached = reach(&all, 0);
        assert!(reached[0][0] && reached[1][0] && !reached[2][0] && !reached[3][0], "{reached:?}");
    }
}
