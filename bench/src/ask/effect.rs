//! Flags that would have no effect: they are refused, because whoever gives one expects it to do something.

use super::axes::Pins;
use super::point::PlannedPoint;
use super::request::{Axes, Request, UsageError};
use crate::jobs::kinds::FabricKind;
use crate::jobs::rdma::Rdma;

/// Fails for the first flag of `request` that does nothing in any of `points`.
pub(super) fn check(request: &Request, points: &[PlannedPoint]) -> Result<(), UsageError> {
    let axes = &request.axes;
    let experiments = request.experiments.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if let Some(flag) = given_settings(axes).find(|flag| !request.experiments.iter().any(|experiment| experiment.settings().contains(flag)))
    {
        return Err(UsageError(format!("--{flag} has no effect on {experiments}; leave it out")));
    }
    let has_verbs = points.iter().any(|point| point.setting.fabric == Some(FabricKind::Verbs));
    let of_verbs = given_rdma(&axes.rdma).chain(axes.perftest.then_some("perftest"));
    if let Some(flag) = of_verbs.into_iter().find(|_| !has_verbs) {
        return Err(UsageError(format!(
            "--{flag} has an effect over --fabric verbs only, which is not among what runs; add it, or leave --{flag} out"
        )));
    }
    let has_tcp = points.iter().any(|point| point.setting.fabric == Some(FabricKind::Tcp));
    if axes.lost_after.is_some() && !has_tcp {
        return Err(UsageError("--lost-after has an effect over --fabric tcp only, which is not among what runs; leave it out".into()));
    }
    let of_relays = [("block", !axes.block.is_empty()), ("schedule", !axes.schedule.is_empty())];
    let is_relayed = points.iter().any(|point| point.setting.is_relayed());
    match of_relays.into_iter().find(|(_, given)| *given && !is_relayed) {
        None => Ok(()),
        Some((flag, _)) => {
            Err(UsageError(format!("--{flag} has an effect on messages that are relayed, and none here is; use a larger --size")))
        }
    }
}

/// The flags of how to measure that were given, as far as an experiment may not take them.
fn given_settings(axes: &Axes) -> impl Iterator<Item = &'static str> {
    let given = [
        ("messages", axes.messages.is_some()),
        ("verify", axes.verify.is_some()),
        ("perftest", axes.perftest),
        ("spin", axes.spin),
        ("membership", axes.membership),
        ("pin", axes.pin != Pins::Usual),
        ("deadline", axes.deadline.is_some()),
        ("newcomers", axes.newcomers.is_some()),
        ("state", axes.state.is_some()),
        ("restore", axes.restore.is_some()),
    ];
    given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name)
}

/// The flags of RDMA that were given on the command line: what the environment says holds for every run of the host.
pub fn given_rdma(rdma: &Rdma) -> impl Iterator<Item = &'static str> {
    let from_environment = |name: &str| std::env::var_os(name).is_some();
    let given = [
        ("ib-dev", rdma.ib_dev.is_some() && !from_environment("SQUALL_IB_DEV")),
        ("ib-port", rdma.ib_port.is_some() && !from_environment("SQUALL_IB_PORT")),
        ("gid-index", rdma.gid_index.is_some() && !from_environment("SQUALL_GID_INDEX")),
        ("mtu", rdma.mtu.is_some() && !from_environment("SQUALL_MTU")),
        ("tclass", rdma.tclass.is_some()),
        ("sl", rdma.sl.is_some()),
        ("pkey", rdma.pkey.is_some() && !from_environment("SQUALL_PKEY")),
        ("prompt-detection", rdma.prompt_detection),
        ("count-writes", rdma.count_writes),
    ];
    given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name)
}
