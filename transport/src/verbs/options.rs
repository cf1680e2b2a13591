//! Everything that is chosen by itself and can be chosen by hand.

use std::net::IpAddr;
use std::time::Duration;

/// How soon a peer that does not answer is given up.
///
/// The queue pair sends a packet again after `4.096 us * 2^timeout_exponent`, `retry_count` times; then it fails. A
/// probe goes to each peer that is not written to, so silence is noticed too. NICs may round the time-out up (some
/// never go below a few milliseconds, others take up to four times as long), and time that the peer's *program* takes
/// does not count: its NIC answers. iWARP leaves sending again to TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detection {
    /// Exponent of the time-out, 1 to 31. (0 would wait for ever.)
    pub timeout_exponent: u8,
    /// How often a packet is sent again, 1 to 6. (7 fits the field too, but soft-RoCE then never stops.)
    pub retry_count: u8,
    /// How long a peer that is not written to goes unprobed.
    pub probe_every: Duration,
}

impl Detection {
    /// Gives a peer half a second: rides out a congested or rerouted network (67 ms, 7 times; a probe each 100 ms).
    pub const PATIENT: Detection = Detection { timeout_exponent: 14, retry_count: 6, probe_every: Duration::from_millis(100) };
    /// Gives a peer 10 ms, where the NIC can: for clusters with a network of their own (1 ms, 7 times; a probe each 2
    /// ms).
    pub const PROMPT: Detection = Detection { timeout_exponent: 8, retry_count: 6, probe_every: Duration::from_millis(2) };

    /// The time from a packet's first sending to giving its receiver up, as the attributes say.
    pub fn gives_up_after(&self) -> Duration {
        Duration::from_nanos(4096 << self.timeout_exponent.min(31)) * (u32::from(self.retry_count) + 1)
    }

    /// What is wrong with it, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        let fits = (1..=31).contains(&self.timeout_exponent) && (1..=RETRIES_MAX).contains(&self.retry_count);
        (!fits).then(|| {
            let Detection { timeout_exponent, retry_count, .. } = self;
            format!(
                "a dead peer would never be noticed with a time-out exponent of {timeout_exponent} and {retry_count} retries: take 1 \
                 to 31, and 1 to {RETRIES_MAX}"
            )
        })
    }
}

/// One more means "for ever" to soft-RoCE.
const RETRIES_MAX: u8 = 6;

/// Choices for [`VerbsFabric`](super::VerbsFabric). What is `None` is chosen by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerbsOptions {
    /// The device, by name.
    pub device: Option<String>,
    /// The port of the device.
    pub port: Option<u8>,
    /// The entry of the port's GID table.
    pub gid_index: Option<u8>,
    /// An address of this host that the peers reach; the device that owns it is taken.
    pub address: Option<IpAddr>,
    /// The partition, by its key; whether as full member is the port's. All members need the same.
    pub partition: Option<u16>,
    /// The core that the data path will run on; of devices that are equally fast one near to it is preferred.
    pub core: Option<usize>,
    /// The largest path MTU in bytes: 256, 512, 1024, 2048 or 4096.
    pub mtu_bytes: Option<u32>,
    /// How soon a peer that does not answer is given up.
    pub detection: Detection,
    /// Writes that may be under way to one peer; less where the device holds less.
    pub queue_writes: u32,
    /// Spans up to this length travel inside the request, where the device can. With 0 not even words do, as on devices
    /// that cannot; not so on iWARP.
    pub inline_bytes: u32,
    /// Register memory without pinning it, for devices that can page it in on demand.
    pub on_demand_paging: bool,
    /// Traffic class (DSCP in its upper six bits) of RoCE packets: for lossless classes.
    pub traffic_class: u8,
    /// Service level: virtual lane of InfiniBand, priority of RoCE.
    pub service_level: u8,
    /// For fabrics that do not keep the order of writes (EFA, adaptive routing out of order):
    /// [count](crate::WriteOrder::Counted) them. Costs a receive and a completion a write; every member must say the
    /// same. Not over iWARP, which has no immediates.
    pub counted: bool,
    /// How long a dropped endpoint waits at the most until its last writes have landed.
    pub linger: Duration,
}

impl Default for VerbsOptions {
    fn default() -> VerbsOptions {
        VerbsOptions {
            device: None,
            port: None,
            gid_index: None,
            address: None,
            partition: None,
            core: None,
            mtu_bytes: None,
            detection: Detection::PATIENT,
            queue_writes: 256,
            inline_bytes: 64,
            on_demand_paging: false,
            traffic_class: 0,
            service_level: 0,
            counted: false,
            linger: Duration::from_millis(500),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detection_that_never_ends_is_no_detection() {
        for good in [Detection::PATIENT, Detection::PROMPT] {
            assert_eq!(good.fault(), None);
        }
        for bad in [
            Detection { timeout_exponent: 0, ..Detection::PROMPT },
            Detection { timeout_exponent: 32, ..Detection::PROMPT },
            Detection { retry_count: 7, ..Detection::PROMPT },
            Detection { retry_count: 0, ..Detection::PROMPT },
        ] {
            assert!(bad.fault().is_some_and(|fault| fault.contains("never be noticed")), "{bad:?}");
        }
        assert_eq!(Detection::PATIENT.gives_up_after().as_millis(), 469);
        assert_eq!(Detection::PROMPT.gives_up_after().as_micros(), 7340);
    }
}
