//! Fits the peer's free parameters to its published points at n = 2, 4 and 16, by coordinate descent, and prints them
//! and both errors: `fit PROFILE NETWORK [ROUNDS]`.

use squall_study::{FITTED_NODES, Peer, PeerError, Profile};

/// A free parameter: its name, and where it lies.
type Parameter = (&'static str, fn(&mut Peer) -> &mut f64);

const PARAMETERS: [Parameter; 7] = [
    ("port_gigabytes_per_second", |peer| &mut peer.port_gigabytes_per_second),
    ("block_us", |peer| &mut peer.block_us),
    ("message_us", |peer| &mut peer.message_us),
    ("send_us", |peer| &mut peer.send_us),
    ("turn_us", |peer| &mut peer.turn_us),
    ("sender_us", |peer| &mut peer.sender_us),
    ("delivery_us", |peer| &mut peer.delivery_us),
];
const KERNEL_PARAMETERS: [Parameter; 3] = [
    ("write_us", |peer| &mut peer.kernel.as_mut().expect("a kernel").write_us),
    ("send_ns_per_kilobyte", |peer| &mut peer.kernel.as_mut().expect("a kernel").send_ns_per_kilobyte),
    ("receive_ns_per_kilobyte", |peer| &mut peer.kernel.as_mut().expect("a kernel").receive_ns_per_kilobyte),
];

/// Mean size of the logarithmic errors: what is fitted.
fn misfit(profile: &Profile, peer: &Peer, network: &str) -> f64 {
    match PeerError::of(profile, peer, network, |point| FITTED_NODES.contains(&point.nodes)) {
        Ok(error) => error.points.iter().map(|point| (1.0 + point.part()).ln().abs()).sum::<f64>() / error.points.len() as f64,
        Err(error) => {
            eprintln!("{error}");
            f64::INFINITY
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let profile = Profile::built_in(&args[0]).unwrap_or_else(|error| panic!("{error}"));
    let (network, rounds) = (&args[1], args.get(2).map_or(3, |rounds| rounds.parse().expect("rounds")));
    let mut peer = Peer::on(&profile);
    let mut best = misfit(&profile, &peer, network);
    eprintln!("{best:.4}");
    let mut parameters = PARAMETERS.to_vec();
    if peer.kernel.is_some() {
        parameters.extend(KERNEL_PARAMETERS);
    }
    for round in 0..rounds {
        let step = 1.0 + 0.5 / f64::from(1 << round);
        for (name, of) in &parameters {
            for factor in [step, 1.0 / step] {
                loop {
                    let mut other = peer.clone();
                    *of(&mut other) = of(&mut other).max(0.05) * factor;
                    let found = misfit(&profile, &other, network);
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
    let error = PeerError::of(&profile, &peer, network, |_| true).unwrap_or_else(|error| panic!("{error}"));
    for point in &error.points {
        let mark = if point.is_fitted() { "fitted" } else { "" };
        let published = point.point;
        println!(
            "{:>9} {:4} n={:<2} published {:.3} model {:.3} {:+.1} % {mark}",
            published.message_bytes,
            published.senders.name(),
            published.nodes,
            published.gigabytes_per_second,
            point.gigabytes_per_second,
            100.0 * point.part()
        );
    }
    println!("median error: fitted {:.1} %, held out {:.1} %", 100.0 * error.median_fitted(), 100.0 * error.median_held_out());
}
