//! What makes a figure another one than the hardware's: what stands in for it, and what held it back.

use crate::ask::machine::Machine;
use crate::jobs::kinds::FabricKind;
use squall_report::environment::Throttled;
use squall_report::{Row, units};

/// More nodes of a point on a host than it has cores.
const OVERSUBSCRIBED: &str = "oversubscribed";
/// Links of a set rate.
const SHAPED: &str = "shaped";
/// A quota of processor time was used up.
const THROTTLED: &str = "throttled";

/// Fills in the column `emulated` of a row over `fabric`, and says what it means there. The reason that is most its own
/// comes first: a device in software, links of a set rate, then cores that nodes share; a quota that held the nodes
/// back counts beside any of them.
pub(super) fn mark(row: &mut Row, fabric: Option<FabricKind>, machine: &Machine, throttled: Throttled) -> Vec<String> {
    let (mut labels, mut notes) = (Vec::new(), Vec::new());
    if let Some(fabric) = fabric {
        let shaped = machine.hosts.as_ref().and_then(|hosts| hosts.shaped.as_deref()).filter(|_| fabric != FabricKind::Shm);
        let crowded = machine.is_crowded(row.nodes);
        labels.extend(match (fabric, machine.verbs.emulated.as_str(), shaped) {
            (FabricKind::Verbs, label, _) if !label.is_empty() => Some(label),
            (_, _, Some(_)) => Some(SHAPED),
            _ => crowded.then_some(OVERSUBSCRIBED),
        });
        notes.extend(shaped.map(|rate| format!("links are shaped to {rate}")));
        if crowded {
            notes.push(format!("{} nodes share {}", row.nodes, machine.share(row.nodes)));
        }
    }
    if throttled.is_any() {
        labels.push(THROTTLED);
        let (periods, ms) = (units::counted(throttled.periods as usize, "period"), units::number(throttled.waited_ns as f64 / 1e6));
        notes.push(format!("a CPU quota held it back in {periods}, for {ms} ms of all threads together"));
    }
    if !labels.is_empty() {
        row.emulated = labels.join("+");
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::machine::Spread;
    use crate::ask::verbs::Verbs;

    fn machine() -> Machine {
        Machine { cores: vec![0, 1], ..Machine::default() }
    }

    fn marked(fabric: Option<FabricKind>, nodes: u32, machine: &Machine, throttled: Throttled) -> (String, String) {
        let mut row = Row { nodes, ..Row::default() };
        let notes = mark(&mut row, fabric, machine, throttled);
        (row.emulated, notes.join("; "))
    }

    #[test]
    fn every_fabric_of_a_crowded_host_is_oversubscribed() {
        for fabric in [FabricKind::Shm, FabricKind::Tcp, FabricKind::Verbs] {
            assert_eq!(marked(Some(fabric), 2, &machine(), Throttled::default()), ("no".into(), String::new()));
            let (emulated, note) = marked(Some(fabric), 4, &machine(), Throttled::default());
            assert_eq!((emulated.as_str(), note.as_str()), ("oversubscribed", "4 nodes share 2 cores"));
        }
    }

    #[test]
    fn a_quota_below_the_cores_crowds_and_throttles() {
        let machine = Machine { quota_cores: Some(1.5), ..machine() };
        let throttled = Throttled { periods: 3, waited_ns: 2_500_000 };
        let (emulated, note) = marked(Some(FabricKind::Tcp), 2, &machine, throttled);
        assert_eq!(emulated, "oversubscribed+throttled");
        assert!(note.contains("2 nodes share 2 cores, of which a quota leaves 1.5") && note.contains("3 periods, for 2.50 ms"), "{note}");
        assert_eq!(marked(None, 1, &machine, throttled).0, "throttled");
    }

    #[test]
    fn a_device_in_software_and_shaped_links_are_reasons_of_their_own() {
        let verbs = Verbs { emulated: "soft-roce".into(), ..Verbs::default() };
        let hosts = Spread { shaped: Some("200mbit".into()), same_machine: true, count: 4, ..Spread::default() };
        let machine = Machine { verbs, hosts: Some(hosts), ..machine() };
        assert_eq!(marked(Some(FabricKind::Verbs), 4, &machine, Throttled::default()).0, "soft-roce");
        let (emulated, note) = marked(Some(FabricKind::Tcp), 4, &machine, Throttled::default());
        assert_eq!(emulated, "shaped");
        assert!(note.contains("shaped to 200mbit") && note.contains("4 nodes share 2 cores"), "{note}");
    }
}
