//! Every number that is a choice rather than a measurement, with its reason.

use std::time::Duration;

use squall_group::Pace;

use super::experiment::Experiment;
use super::setting::Variant;
use crate::jobs::group::Delay;
use crate::jobs::kinds::FabricKind;
use crate::jobs::shape::{LARGE_WINDOW_MIN, RING_BYTES_MANY, SMALL_MAX, Shape};

/// Bytes of large messages under way, over all senders, where members relay: enough that nobody waits for a member that
/// is not running at the moment. More only spreads the same flow over more memory: 16 members that all send 1 MB copy 5
/// GB/s in all with 16 under way each, and 13 to 17 with 4.
const LARGE_FLIGHT_BYTES: u64 = 64 << 20;
/// The same between two members, who have a core each on most hosts and relay nothing: what stays in the caches.
const LARGE_FLIGHT_BYTES_PAIR: u64 = 4 << 20;
const LARGE_WINDOW_MAX: u64 = 16;
/// Up to so many members have [rings that stay in a cache](crate::jobs::shape::RING_BYTES). From 16 on larger ones take
/// half of the processor time a message away where cores are shared; at 8 they take none, and lose what the cache gave.
const FEW_NODES: u32 = 8;
/// Memory that the larger rings of all members take at the most, all copies together.
const MANY_RINGS_BYTES: u64 = 1 << 30;

/// Bytes written into the ring before the loop turns: bounds how long a sender with a core to itself does not look at
/// what arrives.
const SEND_BURST_BYTES: u64 = 64 << 10;
/// The same in messages, for the smallest.
pub const SEND_BURST_MESSAGES: u64 = 256;
/// Both over TCP, where a turn with something to send costs a system call a peer, which is worth the work of a thousand
/// of the smallest messages, and wakes a receiver, which then finds little.
const SEND_BURST_BYTES_TCP: u64 = 256 << 10;
const SEND_BURST_MESSAGES_TCP: u64 = 4096;

/// Silence of a node that counts as its end where failures are detected: longer than a node of an oversubscribed host
/// waits for its core.
pub const SUSPECT_AFTER_NS: u64 = 10_000_000_000;
/// How long an idle raw writer spins before it sleeps; where the two share a core it gives it away meanwhile.
pub const WRITE_SPIN: Duration = Duration::from_micros(200);

/// Raw writes posted between two flushes.
pub const WRITE_BURST_MAX: u64 = 32;
/// Bytes of raw writes under way: the bandwidth-delay product of any fabric here, and little enough to stay in the last
/// cache.
const WRITE_WINDOW_BYTES: u64 = 4 << 20;
const WRITE_WINDOW_MAX: u64 = 128;
const WRITE_WINDOW_MIN: u64 = 4;

/// Share of the memory that is free at the start which nodes may take: the rest is for the page tables, the sockets and
/// the machine.
pub const MEMORY_SHARE: f64 = 0.85;

/// What is taken for free where `/proc/meminfo` cannot be read: little enough for any machine that is measured.
pub const MEMORY_UNKNOWN_BYTES: u64 = 1 << 30;

/// Bytes that one warm-up trial moves per sender before the rate is known.
const WARM_UP_BYTES: u64 = 8 << 20;
const WARM_UP_MESSAGES_MAX: u64 = 20_000;
/// At least so many of each sender, so that every buffer of a usual window has been touched by everyone who writes it.
pub const WARM_UP_MESSAGES_MIN: u64 = 6;
/// Where touching every buffer takes longer, one message shows the rate: page faults are nothing beside it.
pub const TOUCHING_SECONDS_MAX: f64 = 5.0;
/// Fewest messages of a sender in a trial: one that fills the pipeline, and one that flows.
pub const MESSAGES_MIN: u64 = 2;
/// Most messages of a sender in a trial.
pub const MESSAGES_MAX: u64 = 1 << 32;
/// Most latencies recorded in one trial, over all senders: they are kept one by one, to be matched across nodes.
const LATENCIES_MAX: u64 = 100_000;

/// Window of the saturated latency of small messages: a full ring of one-byte messages would measure its own length.
pub const SATURATED_WINDOW: u64 = 64;
/// Offered loads of `latency-load`, in percent of the saturated rate: light ones, and the knee from both sides.
pub fn offered_loads(quick: bool) -> &'static [u32] {
    if quick { &[30, 80, 120] } else { &[10, 30, 50, 70, 80, 90, 100, 120] }
}

/// By how many percent one member's loop is slower in `delay`: up to 50 times.
const SLOWER_PERCENT: [u32; 6] = [10, 50, 100, 400, 900, 4900];
const SLOWER_PERCENT_QUICK: [u32; 2] = [50, 900];
/// By how many percent the loops of half of the members are.
const HALF_SLOWER_PERCENT: u32 = 50;

/// Who is slow or idle in `delay` among so many members, beginning with nobody.
pub fn delays(nodes: u32, quick: bool) -> Vec<Delay> {
    let slower: &[u32] = if quick { &SLOWER_PERCENT_QUICK } else { &SLOWER_PERCENT };
    let mut delays = vec![Delay::default()];
    delays.extend(slower.iter().map(|&percent| Delay { slow: 1, percent, idle: 0 }));
    delays.push(Delay { idle: 1, ..Delay::default() });
    let half = nodes / 2;
    if half > 1 {
        delays.push(Delay { slow: half, percent: HALF_SLOWER_PERCENT, idle: 0 });
        delays.push(Delay { idle: half, ..Delay::default() });
    }
    delays
}

/// The same in `orders`, where one member's loop is slower by so much: from twice to a thousand times as long.
const SLOWED_PERCENT: [u32; 4] = [100, 900, 9_900, 99_900];
const SLOWED_PERCENT_QUICK: [u32; 1] = [900];

/// Nobody, then one member, more and more.
pub fn slowed(quick: bool) -> impl Iterator<Item = Delay> {
    let slower: &[u32] = if quick { &SLOWED_PERCENT_QUICK } else { &SLOWED_PERCENT };
    std::iter::once(Delay::default()).chain(slower.iter().map(|&percent| Delay { slow: 1, percent, idle: 0 }))
}

/// What a slow loop counts as its own work of one turn, at the most: what is longer, it was interrupted.
pub const TURN_MAX: Duration = Duration::from_millis(2);

/// Light load of the open loop: one message of each sender in this many closed-loop latencies of the whole group.
pub const LIGHT_LOAD_GAP: u64 = 20;

/// Silence that counts as death in `view-change` where every member has a core. A killed process is noticed by its
/// links, long before.
const CHANGE_SUSPECT_AFTER_NS: f64 = 1e9;
/// What a node of a host that is not slow moves a second at the least, in 10^9 bytes, over any fabric.
const MOVED_USUALLY: f64 = 0.5;
/// No silence is taken for so many times slower: a death has to be noticed.
const SLOWNESS_MAX: f64 = 20.0;
/// What members that share cores move a second in software devices, all copies of all members together.
const SHARED_BYTES_PER_SECOND: f64 = 20e6;
/// From one message of a member to its next in `view-change` under light load.
pub const CHANGE_INTERVAL_NS: u64 = 1_000_000;

/// Each figure of a bound is measured so often, and the best counts: a bound is the most that was ever seen.
pub const BOUND_REPEATS: u32 = 5;
/// Seconds of one measurement of a copy for a bound.
pub const BOUND_SECONDS: f64 = 0.1;
/// The same in a quick run.
pub const BOUND_SECONDS_QUICK: f64 = 0.04;
/// Streams take longer to settle than copies.
pub const STREAM_FACTOR: f64 = 2.5;

/// Set-up of a point: starting processes, opening links.
const SET_UP_SECONDS: f64 = 0.12;
const SET_UP_SECONDS_A_NODE: f64 = 0.02;
/// Populating memory: zeroing pages.
const POPULATE_BYTES_PER_SECOND: f64 = 2.5e9;
/// perftest beside a trial of ours: both its ends start and meet, and our nodes start anew.
pub const PERFTEST_SECONDS: f64 = 3.0;
/// Share of a trial that the warm-ups take which approach its length.
pub const WARM_UP_SHARE: f64 = 0.6;
/// State that a member gives a second, for estimates.
const GIVEN_BYTES_PER_SECOND: f64 = 50e6;
/// Starting another program beside ours, and our own nodes again.
pub const PEER_SECONDS: f64 = 2.0;
/// Drawing one figure, as SVG and as PNG.
pub const FIGURE_SECONDS: f64 = 0.1;
/// A trial fails after this many times what it should take, and at least after [`DEADLINE_MIN`].
const DEADLINE_FACTOR: f64 = 20.0;
const DEADLINE_MIN: Duration = Duration::from_secs(30);

/// Seconds that a trial of `experiment` should take.
pub fn trial_seconds(experiment: Experiment, variant: Variant, quick: bool) -> f64 {
    match (experiment, quick) {
        // Ten minutes for all orders: a calm time, the fault, and as much behind it.
        (Experiment::Orders, false) if variant.is_change() => 0.8,
        (Experiment::Orders, false) => 0.25,
        (Experiment::Orders, true) if variant.is_change() => 0.5,
        (Experiment::Multicast | Experiment::RdmcSchedules | Experiment::TcpGap, false) => 0.3,
        (Experiment::Multicast | Experiment::RdmcSchedules | Experiment::TcpGap, true) => 0.1,
        (Experiment::SmcRate | Experiment::Latency | Experiment::RdmcTimeline, false) => 0.3,
        (Experiment::LatencyLoad | Experiment::Delay | Experiment::Peers, false) => 0.2,
        // The fault, and time to see what was before and after.
        (Experiment::ViewChange, false) => 3.0,
        (Experiment::ViewChange, true) => 0.5,
        // Many short points: a sweep of sizes says more than long trials of few.
        (Experiment::Write | Experiment::Memcpy, false) => 0.15,
        (_, true) => 0.05,
    }
}

/// Seconds that processes take to join in `view-change`: whoever gives state gives it to one after the other, as fast
/// as that one restores it.
pub fn joining_seconds(variant: Variant, restore_bytes_per_second: Option<u64>) -> f64 {
    let Variant::Change { upset, .. } = variant else { return 0.0 };
    let rate = restore_bytes_per_second.map_or(GIVEN_BYTES_PER_SECOND, |rate| GIVEN_BYTES_PER_SECOND.min(rate as f64));
    upset.state_bytes() as f64 / rate * f64::from(upset.newcomers())
}

/// Trials of a point after the warm-up: the fewest with a median that one bad trial cannot move far; `--trials` for
/// more.
pub const TRIALS: u32 = 3;

/// Silence that counts as death in `view-change`: longer on a host that is slow at everything, as an emulated one is,
/// and where members share cores, since they are silent while another one moves a message. `moved` is what one node
/// moves a second, in 10^9 bytes, if that was measured.
pub fn change_suspect_after_ns(message_bytes: u64, members: u32, own_core: bool, moved: Option<f64>) -> u64 {
    let slowness = moved.map_or(1.0, |moved| (MOVED_USUALLY / moved.max(f64::MIN_POSITIVE)).clamp(1.0, SLOWNESS_MAX));
    let shared_rate = moved.map_or(SHARED_BYTES_PER_SECOND, |moved| SHARED_BYTES_PER_SECOND.min(moved * 1e9));
    let moving_seconds = if own_core { 0.0 } else { message_bytes as f64 * f64::from(members) / shared_rate };
    (CHANGE_SUSPECT_AFTER_NS * slowness + moving_seconds * 1e9) as u64
}

/// How an idle node waits. Decided by the parent: a node that is pinned sees one core only.
pub fn pace(own_core: bool, fabric: FabricKind) -> Pace {
    match (own_core, fabric) {
        (true, _) => Pace::alone(),
        // Falling asleep costs messages: an invitation to be woken must have landed first.
        (false, FabricKind::Verbs) => Pace::alone().yielding(),
        (false, _) => Pace::sharing(),
    }
}

/// Messages that a node sends between two turns of its loop, at the most. Where members share cores, as many as there
/// is room for: receivers run when the sender does not, are woken for every batch, and tell all others what they have.
pub fn send_burst(own_core: bool, fabric: FabricKind, message_bytes: u64) -> u64 {
    let (bytes, messages_max) = match (own_core, fabric) {
        (false, _) => return u64::MAX,
        (true, FabricKind::Tcp) => (SEND_BURST_BYTES_TCP, SEND_BURST_MESSAGES_TCP),
        (true, FabricKind::Shm | FabricKind::Verbs) => (SEND_BURST_BYTES, SEND_BURST_MESSAGES),
    };
    (bytes / message_bytes).clamp(1, messages_max)
}

/// Most messages of each of so many senders in a trial whose latencies are recorded.
pub fn latencies_max(senders: u32) -> u64 {
    LATENCIES_MAX / u64::from(senders)
}

/// Messages for a trial of `seconds`, after `messages` took `took`.
pub fn messages_for(messages: u64, took: f64, seconds: f64) -> u64 {
    let wanted = messages as f64 / took.max(1e-9) * seconds;
    (wanted as u64).clamp(MESSAGES_MIN, MESSAGES_MAX)
}

/// Messages that each of `senders` senders of `nodes` nodes may have undelivered, if nobody asked for a window; none:
/// as many as the ring holds.
pub fn usual_window(message_bytes: u64, nodes: u32, senders: u32, saturated: bool) -> Option<u64> {
    if message_bytes <= SMALL_MAX {
        let rings = u64::from(nodes) * u64::from(senders) * RING_BYTES_MANY;
        let many = nodes > FEW_NODES && rings <= MANY_RINGS_BYTES;
        return match saturated {
            true => Some(SATURATED_WINDOW),
            false => many.then(|| Shape::window_of_ring(RING_BYTES_MANY, message_bytes)),
        };
    }
    let flight = if nodes == 2 { LARGE_FLIGHT_BYTES_PAIR } else { LARGE_FLIGHT_BYTES };
    Some((flight / message_bytes / u64::from(senders)).clamp(LARGE_WINDOW_MIN, LARGE_WINDOW_MAX))
}

/// Messages of a sender in the first warm-up trial.
pub fn warm_up_messages(message_bytes: u64, senders: u32) -> u64 {
    (WARM_UP_BYTES / message_bytes / u64::from(senders)).clamp(WARM_UP_MESSAGES_MIN, WARM_UP_MESSAGES_MAX)
}

/// Raw writes under way.
pub fn write_window(message_bytes: u64) -> u64 {
    (WRITE_WINDOW_BYTES / message_bytes).clamp(WRITE_WINDOW_MIN, WRITE_WINDOW_MAX)
}

/// Seconds to set a point up: its processes, links and memory.
pub fn set_up_seconds(nodes: u32, memory_bytes: u64) -> f64 {
    SET_UP_SECONDS + SET_UP_SECONDS_A_NODE * f64::from(nodes) + memory_bytes as f64 / POPULATE_BYTES_PER_SECOND
}

/// Descriptors that a process opens at the most in a point of so many nodes: the run has three pipes and a connection
/// to each, a node a few for every peer.
pub fn open_files(nodes: u32) -> u64 {
    64 + 8 * u64::from(nodes)
}

/// When to give up on something that should take `seconds`.
pub fn deadline(seconds: f64) -> Duration {
    DEADLINE_MIN.max(Duration::from_secs_f64(seconds * DEADLINE_FACTOR))
}

/// The core of each of `nodes` nodes: those asked for, around the list; else a core each while they last; else
/// anywhere, because the kernel balances more nodes than cores better than a fixed place does.
pub fn cores(nodes: u32, available: &[usize], asked: &[usize]) -> Vec<Option<usize>> {
    let around = |cores: &[usize]| (0..nodes as usize).map(|rank| Some(cores[rank % cores.len()])).collect();
    if !asked.is_empty() {
        around(asked)
    } else if nodes as usize <= available.len() {
        around(available)
    } else {
        vec![None; nodes as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_that_share_a_core_may_be_silent_while_another_moves_a_message() {
        assert_eq!(change_suspect_after_ns(20 << 20, 5, true, None), 1_000_000_000);
        let shared = change_suspect_after_ns(20 << 20, 5, false, Some(5.0));
        assert!((6_000_000_000..7_000_000_000).contains(&shared), "{shared}");
        assert!(change_suspect_after_ns(1, 5, false, None) < 1_001_000_000);
    }

    #[test]
    fn on_a_slow_host_silence_means_less() {
        assert_eq!(change_suspect_after_ns(1, 5, true, Some(5.0)), 1_000_000_000);
        assert_eq!(change_suspect_after_ns(1, 5, true, Some(0.1)), 5_000_000_000);
        assert_eq!(change_suspect_after_ns(1, 5, true, Some(0.0)), 20_000_000_000);
    }

    #[test]
    fn many_members_have_larger_rings_while_memory_lasts() {
        let window = |nodes, senders| usual_window(10 << 10, nodes, senders, false);
        assert_eq!([window(2, 1), window(8, 8)], [None; 2]);
        assert_eq!([window(16, 1), window(16, 16), window(64, 1)], [Some(408); 3]);
        assert_eq!(window(64, 64), None);
        assert_eq!(usual_window(10 << 10, 16, 1, true), Some(SATURATED_WINDOW));
    }

    #[test]
    fn nodes_get_a_core_each_while_they_last() {
        assert_eq!(cores(2, &[0, 1], &[]), [Some(0), Some(1)]);
        assert_eq!(cores(3, &[0, 1], &[]), [None; 3]);
        assert_eq!(cores(3, &[0, 1], &[4, 6]), [Some(4), Some(6), Some(4)]);
    }
}
