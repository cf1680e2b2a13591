//! What `orders` puts side by side: the parts of its sweep, the same on real and on modelled fabrics.

use super::axes::Senders;
use super::policy;
use super::setting::Variant;
use super::size::{KB, MB};
use super::upset::{Upset, Victim};
use crate::jobs::group::Delay;

/// One part of the sweep: every variant at every place of its axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What is done there.
    pub variants: Vec<Variant>,
    /// Message sizes.
    pub sizes: Vec<u64>,
    /// Group sizes.
    pub nodes: Vec<u32>,
    /// Who sends.
    pub senders: Vec<Senders>,
}

/// All parts. `modelled`: on links that are the limit, where larger groups can be had; nobody is killed there.
///
/// Payloads of 10 KB go the way their order has them go; those of 1 MB are relayed the same way whatever the order, so
/// that there the order alone differs.
pub fn parts(quick: bool, modelled: bool) -> Vec<Part> {
    // Where all send, each of n members has n rings, and each message is passed n times: the largest groups take
    // longest.
    let (nodes, of_all): (&[u32], &[u32]) = match (modelled, quick) {
        (true, true) => (&[2, 4, 8], &[2, 4, 8]),
        (true, false) => (&[2, 3, 4, 8, 16, 32, 64], &[2, 3, 4, 8, 16]),
        (false, true) => (&[3], &[3]),
        (false, false) => (&[2, 3, 5, 8], &[2, 3, 5, 8]),
    };
    let small: &[u64] = if quick { &[10 * KB] } else { &[1, 10 * KB] };
    let one_group = if modelled { vec![4] } else { vec![3] };
    // Two have a core each on most hosts: where members wait for cores a knee says little.
    let loaded = if modelled || quick { one_group.clone() } else { vec![2, 3] };
    let (one, all) = (Senders::One, Senders::All);
    // On links and cores that are never shared a window's bursts are not the most that a group delivers.
    let past_the_knee: &[u32] = if modelled && !quick { &[150, 200] } else { &[] };
    let loads = policy::offered_loads(quick).iter().chain(past_the_knee).map(|&percent| Variant::Offered { percent });
    let slow: Vec<Delay> = policy::slowed(quick).collect();
    let part = |variants: Vec<Variant>, sizes: &[u64], nodes: &[u32], senders: &[Senders]| Part {
        variants,
        sizes: sizes.to_vec(),
        nodes: nodes.to_vec(),
        senders: senders.to_vec(),
    };
    let mut parts = vec![
        part(vec![Variant::Plain], small, nodes, &[one]),
        part(vec![Variant::Plain], small, of_all, &[all]),
        part(vec![Variant::Closed], if quick { &[1] } else { &[1, 10 * KB] }, nodes, &[one]),
        part(loads.collect(), &[KB], &loaded, &[all]),
        part(slow.iter().copied().map(Variant::Delayed).collect(), &[10 * KB], &one_group, &[one]),
        part(slow.into_iter().map(Variant::ClosedDelayed).collect(), &[KB], &one_group, &[one]),
    ];
    if !quick {
        parts.push(part(vec![Variant::Plain], &[MB], of_all, &[one]));
    }
    if !modelled {
        parts.push(part(vec![Variant::Reading], &[1], nodes, &[one]));
        let kill = |victim| Variant::Change { upset: Upset::Kill(victim), full: false };
        let victims: &[Victim] = if quick { &[Victim::First] } else { &[Victim::First, Victim::Middle, Victim::Last] };
        parts.push(part(victims.iter().copied().map(kill).collect(), &[KB], &[if quick { 3 } else { 5 }], &[all]));
    }
    parts
}
