//! What a plan needs to know of this machine.

use std::collections::BTreeSet;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use super::axes::Pins;
use super::host::{Facts, boot, shaped_rate};
use super::policy::{self, MEMORY_SHARE, MEMORY_UNKNOWN_BYTES};
use super::verbs::Verbs;
use crate::jobs::os;
use crate::jobs::rdma::Rdma;
use squall_report::environment::Topology;
use squall_report::{Environment, units};

/// What a plan needs to know of this machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Cores that nodes may run on.
    pub cores: Vec<usize>,
    /// Cores' worth of time that a quota leaves them, if there is one.
    #[serde(default)]
    pub quota_cores: Option<f64>,
    /// The cores that nodes were asked to be kept on, one after the other, if some were.
    #[serde(default)]
    pub kept: Vec<usize>,
    /// Why threads cannot be kept on a core, if they cannot.
    #[serde(default)]
    pub unpinned: Option<String>,
    /// Descriptors that a process may open, if there is a limit.
    #[serde(default)]
    pub open_files: Option<u64>,
    /// Bytes that all nodes of a point may take together.
    pub memory_bytes: u64,
    /// Bytes of the last-level cache, 0 if unknown.
    pub last_level_cache_bytes: u64,
    /// RDMA.
    #[serde(default)]
    pub verbs: Verbs,
    /// Where cores, caches and cards are.
    #[serde(skip)]
    pub topology: Topology,
    /// The RDMA device or network interface that data goes by, if that is known.
    #[serde(skip)]
    pub card: Option<String>,
    /// The other hosts, if the run spans any.
    #[serde(default)]
    pub hosts: Option<Spread>,
}

/// What all hosts of a run have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How many hosts there are.
    pub count: u32,
    /// Cores that each of them has.
    pub cores: Vec<usize>,
    /// The core of each, by rank, that is nearest to its network card, if that is known.
    #[serde(default)]
    pub near_cores: Vec<Option<usize>>,
    /// Cores of the one with the fewest.
    pub cores_min: usize,
    /// Bytes that a node may take on the one with the least.
    pub memory_bytes: u64,
    /// Whether some of them are one machine under several addresses, which is only good for trying things out.
    pub same_machine: bool,
    /// What the links between them are shaped to, if they are.
    #[serde(default)]
    pub shaped: Option<String>,
}

impl Machine {
    /// This machine, now; `rdma` says which of its devices.
    pub fn of(environment: &Environment, rdma: &Rdma) -> Machine {
        let memory = &environment.memory;
        let available = if memory.total_bytes > 0 { memory.available_bytes } else { MEMORY_UNKNOWN_BYTES };
        let free = available.min(memory.control_group_free_bytes.unwrap_or(u64::MAX));
        let verbs = Verbs::of(rdma);
        Machine {
            card: card(environment, &verbs),
            cores: environment.topology.spread(&os::cores()),
            kept: Vec::new(),
            unpinned: os::pinning_refused(),
            open_files: os::open_files_max(),
            quota_cores: environment.cpu.quota_cores,
            memory_bytes: (free as f64 * MEMORY_SHARE) as u64,
            last_level_cache_bytes: environment.cpu.last_level_cache_bytes(),
            verbs,
            topology: environment.topology.clone(),
            hosts: None,
        }
    }

    /// This machine as the first of a run's hosts; `others` from rank 1 on.
    pub fn spread_over(mut self, others: &[Facts]) -> Machine {
        let mut cores = self.cores.clone();
        cores.retain(|core| others.iter().all(|other| other.cores.contains(core)));
        let least = |of: fn(&Facts) -> u64, own: u64| others.iter().map(of).fold(own, u64::min);
        let cores_min = least(|other| other.cores.len() as u64, self.cores.len() as u64) as usize;
        let memory_bytes = least(|other| other.memory_bytes, self.memory_bytes);
        for (index, other) in others.iter().enumerate() {
            if let (None, Some(why)) = (&self.verbs.unavailable, &other.verbs.unavailable) {
                self.verbs.unavailable = Some(format!("host {}: {why}", index + 1));
            }
            if self.verbs.emulated.is_empty() {
                self.verbs.emulated.clone_from(&other.verbs.emulated);
            }
        }
        let mut boots: Vec<String> = others.iter().map(|other| other.boot.clone()).chain([boot()]).collect();
        boots.retain(|boot| !boot.is_empty());
        boots.sort();
        let same_machine = boots.windows(2).any(|pair| pair[0] == pair[1]);
        let shaped = shaped_rate();
        let near_cores = std::iter::once(self.near_cores().first().copied()).chain(others.iter().map(|other| other.near_core)).collect();
        self.hosts = Some(Spread { count: others.len() as u32 + 1, cores, near_cores, cores_min, memory_bytes, same_machine, shaped });
        self
    }

    /// Uses as much memory as the run `before` did, so that windows are the same.
    ///
    /// # Errors
    /// If that run spanned other hosts.
    pub fn take_memory_of(&mut self, before: &Machine) -> anyhow::Result<()> {
        let count = |machine: &Machine| machine.hosts.as_ref().map_or(1, |hosts| hosts.count);
        if count(self) != count(before) {
            bail!("it was made on {} hosts, and there are {} now; resume it by the same command", count(before), count(self));
        }
        self.memory_bytes = before.memory_bytes;
        if let (Some(hosts), Some(before)) = (&mut self.hosts, &before.hosts) {
            hosts.memory_bytes = before.memory_bytes;
        }
        Ok(())
    }

    /// Keeps nodes on the cores that `asked` names.
    pub fn keep_on(mut self, asked: &Pins) -> Machine {
        self.kept = if let Pins::Cores(cores) = asked { cores.clone() } else { Vec::new() };
        self
    }

    /// The hosts, if each is a machine of its own.
    fn machines(&self) -> Option<&Spread> {
        self.hosts.as_ref().filter(|hosts| !hosts.same_machine)
    }

    /// Bytes that the nodes of a point may take together.
    pub fn memory_for(&self, nodes: u32) -> u64 {
        match self.machines() {
            Some(hosts) if nodes > 1 => hosts.memory_bytes.saturating_mul(nodes.into()),
            _ => self.memory_bytes,
        }
    }

    /// Cores that a node may be pinned to.
    pub fn pin_cores(&self) -> &[usize] {
        self.hosts.as_ref().map_or(&self.cores, |hosts| &hosts.cores)
    }

    /// Whether so many nodes have to share cores, or a quota that leaves less than a core each.
    pub fn is_crowded(&self, nodes: u32) -> bool {
        self.machines().is_none() && f64::from(nodes) > self.cores_worth(nodes)
    }

    /// Cores that so many nodes run on.
    fn cores_of(&self, nodes: u32) -> usize {
        match self.kept.is_empty() {
            true => self.cores.len(),
            false => self.kept.iter().cycle().take(nodes as usize).collect::<BTreeSet<_>>().len(),
        }
    }

    /// The same, or what a quota leaves of them.
    fn cores_worth(&self, nodes: u32) -> f64 {
        self.quota_cores.unwrap_or(f64::INFINITY).min(self.cores_of(nodes) as f64)
    }

    /// What so many nodes on one host share, for people.
    pub fn share(&self, nodes: u32) -> String {
        let count = self.cores_of(nodes);
        let cores = units::counted(count, "core");
        match self.quota_cores.filter(|&quota| quota < count as f64) {
            Some(quota) => format!("{cores}, of which a quota leaves {quota}"),
            None => cores,
        }
    }

    /// Whether each of so many nodes has a core for itself. A host's only core is also the kernel's, which carries the
    /// packets.
    pub fn own_core(&self, nodes: u32) -> bool {
        self.machines().map_or(f64::from(nodes) <= self.cores_worth(nodes), |hosts| hosts.cores_min > 1)
    }

    /// Cores that nodes may run on, those near to the network card first; as usual where that is not known.
    pub fn near_cores(&self) -> Vec<usize> {
        let near = self.card.as_ref().and_then(|card| self.topology.near(card, &self.cores));
        near.unwrap_or_else(|| self.cores.clone())
    }

    /// The core of each of so many nodes, as `asked`. On hosts of their own nodes are not pinned unless it is asked
    /// for: which core is best depends on where the network card is.
    pub fn cores_for(&self, nodes: u32, asked: &Pins) -> Vec<Option<usize>> {
        match asked {
            Pins::Cores(cores) => policy::cores(nodes, &self.cores, cores),
            Pins::Near => match &self.hosts {
                Some(hosts) if nodes > 1 => hosts.near_cores.iter().copied().chain(std::iter::repeat(None)).take(nodes as usize).collect(),
                _ => policy::cores(nodes, &self.near_cores(), &[]),
            },
            Pins::Usual if self.unpinned.is_none() && (self.hosts.is_none() || nodes == 1) => policy::cores(nodes, &self.cores, &[]),
            Pins::Usual | Pins::None => vec![None; nodes as usize],
        }
    }
}

/// What data goes by: the RDMA device that would be used, else the fastest interface that is up and in a slot.
fn card(environment: &Environment, verbs: &Verbs) -> Option<String> {
    let device = verbs.chosen.split(' ').next().filter(|name| !name.is_empty());
    let has_slot = |name: &str| environment.topology.cards.iter().any(|card| card.name == name);
    let up = environment.network.iter().filter(|one| one.state == "up" && has_slot(&one.name));
    device.map(str::to_owned).or_else(|| up.max_by_key(|one| one.megabits_per_second).map(|one| one.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use squall_report::environment::{Card, NetworkInterface};

    #[test]
    fn nodes_are_pinned_near_the_card_that_data_goes_by() {
        let interface = |name: &str, rate| NetworkInterface {
            name: name.into(),
            state: "up".into(),
            megabits_per_second: Some(rate),
            ..NetworkInterface::default()
        };
        let slot = |name: &str, near: &[usize]| Card { name: name.into(), near: near.to_vec(), ..Card::default() };
        let network = vec![interface("eth0", 10_000), interface("eth1", 100_000), interface("tun0", 400_000)];
        let mut environment = Environment { network, ..Environment::default() };
        environment.topology.cards = vec![slot("eth0", &[0, 1]), slot("eth1", &[2, 3]), slot("mlx5_0", &[1])];
        let of = |chosen: &str| {
            let verbs = Verbs { chosen: chosen.into(), ..Verbs::default() };
            let card = card(&environment, &verbs);
            Machine { cores: vec![0, 1, 2, 3], card, topology: environment.topology.clone(), ..Machine::default() }
        };
        assert_eq!(of("").cores_for(3, &Pins::Near), [Some(2), Some(3), Some(0)]);
        assert_eq!(of("mlx5_0 port 1 (RoCE)").near_cores()[0], 1);
        assert_eq!(of("").cores_for(2, &Pins::Usual), [Some(0), Some(1)]);
        let far = Facts {
            cores: vec![0, 1, 2, 3],
            near_core: Some(7),
            memory_bytes: 1,
            verbs: Verbs::default(),
            boot: "b".into(),
            environment: Environment::default(),
        };
        let spread = of("").spread_over(&[far]);
        assert_eq!(spread.cores_for(2, &Pins::Near), [Some(2), Some(7)]);
        assert_eq!(spread.cores_for(2, &Pins::Usual), [None, None]);
    }

    #[test]
    fn nodes_that_are_kept_on_one_core_share_it_however_many_there_are() {
        let on = |asked: &str| Machine { cores: vec![0, 1, 2, 3], ..Machine::default() }.keep_on(&asked.parse().unwrap());
        for crowded in ["2", "2,2", "2,2,1"] {
            let machine = on(crowded);
            assert!(machine.is_crowded(2) && !machine.own_core(2), "{crowded}");
            assert_eq!(machine.share(2), "1 core");
        }
        assert!(on("2,2,1").is_crowded(3) && on("0,3").is_crowded(3));
        for own in ["0,3", "none", "0,3,3"] {
            assert!(!on(own).is_crowded(2) && on(own).own_core(2), "{own}");
        }
        assert!(!on("2").is_crowded(1));
    }

    #[test]
    fn what_cannot_be_read_is_no_memory_at_all_and_no_endless_one() {
        let blind = Machine::of(&Environment::default(), &Rdma::default());
        assert!((1 << 29..1 << 30).contains(&blind.memory_bytes), "{}", blind.memory_bytes);
        let mut limited = Environment::default();
        limited.memory.total_bytes = 8 << 30;
        limited.memory.available_bytes = 4 << 30;
        limited.memory.control_group_free_bytes = Some(1 << 20);
        assert!(Machine::of(&limited, &Rdma::default()).memory_bytes < 1 << 20);
    }
}
