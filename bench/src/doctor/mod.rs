//! `squall doctor`: what a machine offers, what stands in the way, and which command mends it. Fabrics are tried, not
//! assumed.
//!
//! ```text
//!   Environment, Machine --limits, processors, rdma--> Findings      what can be read
//!   Reach: nodes on a fabric, pair by pair ----------> Fabrics       what can be tried
//! ```

mod finding;
mod fleet;
mod limits;
pub mod node;
mod outliers;
mod processors;
mod rdma;
mod reach;

use std::time::Instant;

use serde::Serialize;
use squall_report::Environment;

pub use finding::{Finding, Level, worst};
pub use fleet::{Difference, Fleet, Host, Matrix};
pub use rdma::{Address, Devices, Port};
pub use reach::{Link, Reach};

use crate::ask::machine::Machine;
use crate::jobs::kinds::FabricKind;
use crate::jobs::os;
use crate::jobs::rdma::Rdma;
use crate::run::cache_line::round_trip_ns;
use crate::run::fault::Fault;
use crate::run::interrupt::Interrupt;

/// All fabrics.
const FABRICS: [FabricKind; 3] = [FabricKind::Shm, FabricKind::Tcp, FabricKind::Verbs];

/// Everything that was found on a machine.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// The machine and the program.
    pub environment: Environment,
    /// What runs may use of it.
    pub machine: Machine,
    /// Nanoseconds of a round trip of a cache line between the first two cores.
    pub cache_line_round_trip_ns: Option<f64>,
    /// Nanoseconds of one read of the clock.
    pub clock_read_ns: f64,
    /// RDMA.
    pub rdma: Devices,
    /// Each fabric, tried between two nodes of this host.
    pub fabrics: Vec<Fabric>,
    /// What was found, the worst first.
    pub findings: Vec<Finding>,
}

/// A fabric that was tried between two nodes of this host.
#[derive(Clone, Debug, Serialize)]
pub struct Fabric {
    /// `shm`, `tcp`, `verbs`.
    pub name: String,
    /// What came of a verified write; none where it was not tried, because there is no device.
    pub link: Option<Link>,
    /// What it promises of the order in which writes land.
    pub order: String,
    /// Bytes of a packet, where it has packets of its own.
    pub path_mtu_bytes: Option<u32>,
}

impl Diagnosis {
    /// Looks at this machine and tries its fabrics, with RDMA devices used as `asked`.
    ///
    /// # Errors
    /// Only if the user interrupts.
    pub fn of_this_machine(asked: &Rdma, interrupt: &Interrupt) -> Result<Diagnosis, Fault> {
        let environment = Environment::collect();
        let machine = Machine::of(&environment, asked);
        let rdma = rdma::look(&environment, asked);
        let clock_read_ns = clock_read_ns();
        let mut findings = limits::findings(&environment);
        findings.extend(processors::findings(&environment, &machine, clock_read_ns));
        findings.extend(rdma::findings(&environment, &machine, &rdma));
        findings.extend(os::loopback().err().map(|why| Finding::wrong("loopback", why).mended_by("sudo ip link set lo up")));
        let mut fabrics = Vec::new();
        for kind in FABRICS {
            let fabric = tried(kind, &machine, asked, interrupt)?;
            findings.extend(finding_of(&fabric));
            fabrics.push(fabric);
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        let cache_line_round_trip_ns = round_trip_ns(&machine.cores);
        Ok(Diagnosis { environment, machine, cache_line_round_trip_ns, clock_read_ns, rdma, fabrics, findings })
    }
}

/// The middle of several short loops: one may be interrupted.
fn clock_read_ns() -> f64 {
    const READS: u32 = 1000;
    let mut loops: Vec<f64> = (0..9)
        .map(|_| {
            let began = Instant::now();
            for _ in 0..READS {
                std::hint::black_box(os::now_ns());
            }
            began.elapsed().as_nanos() as f64 / f64::from(READS)
        })
        .collect();
    loops.sort_by(f64::total_cmp);
    loops[loops.len() / 2]
}

/// Writes from one node of this host to another and back.
fn tried(kind: FabricKind, machine: &Machine, asked: &Rdma, interrupt: &Interrupt) -> Result<Fabric, Fault> {
    let fabric = Fabric { name: kind.to_string(), link: None, order: order(kind, None), path_mtu_bytes: None };
    if kind == FabricKind::Verbs && machine.verbs.unavailable.is_some() {
        return Ok(fabric);
    }
    let failed = |why: String| Link { from: 0, to: 1, gigabytes_per_second: None, latency_us: None, failed: Some(why) };
    let mut reach = match Reach::open(kind, 2, machine, asked, None, interrupt) {
        Ok(reach) => reach,
        Err(Fault::Interrupted) => return Err(Fault::Interrupted),
        Err(fault) => return Ok(Fabric { link: Some(failed(fault.to_string())), ..fabric }),
    };
    let opened = reach.opened().first().cloned().unwrap_or_default();
    let link = match reach.link(0, 1) {
        Ok(link) => link,
        Err(Fault::Interrupted) => return Err(Fault::Interrupted),
        Err(fault) => return Ok(Fabric { link: Some(failed(fault.to_string())), ..fabric }),
    };
    reach.finish();
    let of_peer = |list: &[Option<u32>]| list.get(1).copied().flatten();
    let order = if opened.is_counted {
        "counted: writes carry numbers, because the fabric was said not to keep their order".to_owned()
    } else {
        order(kind, opened.promises_order.get(1).copied().flatten())
    };
    Ok(Fabric { link: Some(link), order, path_mtu_bytes: of_peer(&opened.path_mtu_bytes), ..fabric })
}

/// What a fabric promises of the order in which writes land; `device` is what an RDMA device says of itself.
fn order(kind: FabricKind, device: Option<bool>) -> String {
    match (kind, device) {
        (FabricKind::Shm, _) => "in order: a processor's stores, released by the count behind them".into(),
        (FabricKind::Tcp, _) => "in order: one stream a peer".into(),
        (FabricKind::Verbs, Some(true)) => "in order: reliable connections, and the device promises it of data too".into(),
        (FabricKind::Verbs, Some(false)) => {
            "in order as reliable connections are; the device promises nothing of data, as most that keep it do not".into()
        }
        (FabricKind::Verbs, None) => "in order as reliable connections are; the device cannot be asked".into(),
    }
}

fn finding_of(fabric: &Fabric) -> Vec<Finding> {
    let Some(link) = &fabric.link else { return Vec::new() };
    let about = format!("fabric {}", fabric.name);
    let mut found = Vec::new();
    if let Some(why) = &link.failed {
        let mend = match fabric.name.as_str() {
            "tcp" => "sudo ip link set lo up",
            "verbs" => "ibv_devinfo -v; ibv_rc_pingpong",
            _ => "df /dev/shm; ulimit -a",
        };
        found.push(Finding::wrong(&about, format!("a write between two nodes of this host failed: {why}")).mended_by(mend));
    } else if fabric.order.contains("promises nothing") {
        let what = "the device does not promise the order of writes; if it is one that does not keep it (EFA, adaptive routing out of \
                    order), count them";
        found.push(Finding::note(&about, what).mended_by("squall run ... --fabric verbs --count-writes"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fabric(name: &str, failed: Option<&str>, device: Option<bool>) -> Fabric {
        let link = Link { from: 0, to: 1, gigabytes_per_second: None, latency_us: None, failed: failed.map(Into::into) };
        Fabric { name: name.into(), link: Some(link), order: order(FabricKind::Verbs, device), path_mtu_bytes: None }
    }

    #[test]
    fn a_fabric_that_fails_its_try_is_wrong_and_one_that_was_not_tried_is_not() {
        let found = finding_of(&fabric("tcp", Some("refused"), Some(true)));
        assert_eq!((found[0].level, found[0].mend.is_some()), (Level::Wrong, true));
        assert!(found[0].what.contains("refused"));
        assert!(finding_of(&Fabric { link: None, ..fabric("verbs", None, None) }).is_empty());
    }

    #[test]
    fn a_device_that_promises_no_order_is_told_of() {
        assert!(finding_of(&fabric("verbs", None, Some(true))).is_empty());
        let found = finding_of(&fabric("verbs", None, Some(false)));
        assert_eq!(found[0].level, Level::Note);
        assert!(found[0].mend.as_ref().unwrap().contains("--count-writes"));
    }

    #[test]
    fn a_clock_can_be_read_and_that_takes_time() {
        assert!(clock_read_ns() > 0.0);
    }
}
