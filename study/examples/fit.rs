//! Fits the peer's free parameters to its published bandwidths and latencies at n = 2, 4 and 16, by coordinate descent,
//! and prints them, all points, and the errors: `fit PROFILE NETWORK SOURCE [ROUNDS [PARAMETER ..]]`, with the
//! names of the published files, and all parameters if none is named.

use squall_study::published::{self, Bandwidth, Latency};
use squall_study::{FITTED_NODES, Peer, PeerError, PeerSockets, Profile, Published, Run};

/// A free parameter: its name, and where it lies.
type Parameter = (&'static str, fn(&mut Peer) -> &mut f64);

const PARAMETERS: [Parameter; 8] = [
    ("port_gigabytes_per_second", |peer| &mut peer.port_gigabytes_per_second),
    ("block_us", |peer| &mut peer.block_us),
    ("message_us", |peer| &mut peer.message_us),
    ("send_us", |peer| &mut peer.send_us),
    ("post_us", |peer| &mut peer.post_us),
    ("turn_us", |peer| &mut peer.turn_us),
    ("sender_us", |peer| &mut peer.sender_us),
    ("delivery_us", |peer| &mut peer.delivery_us),
];
const OF_SOCKETS: [Parameter; 4] = [
    ("write_us", |peer| &mut sockets(peer).write_us),
    ("ns_per_kilobyte", |peer| &mut sockets(peer).ns_per_kilobyte),
    ("small_ns_per_kilobyte", |peer| &mut sockets(peer).small_ns_per_kilobyte),
    ("wake_us", |peer| &mut sockets(peer).wake_us),
];

fn sockets(peer: &mut Peer) -> &mut PeerSockets {
    peer.sockets.as_mut().expect("sockets")
}

/// Fewer messages than a figure is drawn with: some windows.
fn shortened(run: Run) -> Run {
    let windows = if run.message_bytes > 10_000_000 { 1 } else { 3 };
    Run { messages: Some(run.messages().min(windows * run.window().max(2))), ..run }
}

fn sum_of_logarithms<P: Published>(profile: &Profile, peer: &Peer, points: &[P]) -> f64 {
    match PeerError::of(profile, peer, points, shortened) {
        Ok(error) => error.points.iter().map(|point| (1.0 + point.part()).ln().abs()).sum(),
        Err(error) => {
            eprintln!("{error}");
            f64::INFINITY
        }
    }
}

fn tell<P: Published>(what: &str, profile: &Profile, peer: &Peer, points: &[P], name: impl Fn(&P) -> String) {
    let error = PeerError::of(profile, peer, points, |run| run).unwrap_or_else(|error| panic!("{error}"));
    for point in &error.points {
        let mark = if point.is_fitted() { "fitted" } else { "" };
        let (name, published, off) = (name(&point.point), point.point.value(), 100.0 * point.part());
        println!("{name} n={:<2} published {published:.3} model {:.3} {off:+.1} % {mark}", point.point.nodes(), point.drawn);
    }
    println!("{what}, median error: fitted {:.1} %, held out {:.1} %", 100.0 * error.median_fitted(), 100.0 * error.median_held_out());
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [profile, network, source, rest @ ..] = &args[..] else { panic!("fit PROFILE NETWORK SOURCE [ROUNDS [PARAMETER ..]]") };
    let profile = Profile::built_in(profile).unwrap_or_else(|error| panic!("{error}"));
    let rounds = rest.first().map_or(3, |rounds| rounds.parse().expect("rounds"));
    let bandwidth: Vec<Bandwidth> = published::bandwidth().into_iter().filter(|point| point.network == network).collect();
    let latency: Vec<Latency> = published::latency().into_iter().filter(|point| point.source == source).collect();
    let fitted: Vec<Bandwidth> = bandwidth.iter().copied().filter(|point| FITTED_NODES.contains(&point.nodes)).collect();
    let slow: Vec<Latency> = latency.iter().copied().filter(|point| FITTED_NODES.contains(&point.nodes)).collect();
    let misfit = |peer: &Peer| {
        let sum = sum_of_logarithms(&profile, peer, &fitted) + sum_of_logarithms(&profile, peer, &slow);
        sum / (fitted.len() + slow.len()) as f64
    };
    let mut peer = Peer::on(&profile);
    let mut best = misfit(&peer);
    eprintln!("{best:.4}");
    let mut parameters = PARAMETERS.to_vec();
    if peer.sockets.is_some() {
        parameters.extend(OF_SOCKETS);
    }
    let named = rest.get(1..).unwrap_or_default();
    parameters.retain(|(name, _)| named.is_empty() || named.iter().any(|named| named == name));
    for round in 0..rounds {
        let step = 1.0 + 0.5 / f64::from(1 << round);
        for (name, of) in &parameters {
            for factor in [step, 1.0 / step] {
                loop {
                    let mut other = peer.clone();
                    *of(&mut other) = of(&mut other).max(0.05) * factor;
                    let found = misfit(&other);
                    if found >= best - 1e-4 {
                        break;
                    }
                    (peer, best) = (other, found);
                    eprintln!("{best:.4} {name} {:.3}", *of(&mut peer));
                }
            }
        }
    }
    println!("{peer:#?}");
    tell("bandwidth", &profile, &peer, &bandwidth, |point| format!("{:>9} {:4}", point.message_bytes, point.senders.name()));
    tell("latency", &profile, &peer, &latency, |point| format!("{:>9}", point.message_bytes));
}
