//! What an experiment sweeps: every combination of the axes that were given, and of its own defaults for the others.

use clap::ValueEnum;
use squall_group::Mode;
use squall_report::bounds::Warmth;

use super::axes::Senders;
use super::experiment::Experiment;
use super::fabric::FabricName;
use super::machine::Machine;
use super::memory::copy_bytes;
use super::omnipaxos;
use super::orders;
use super::policy;
use super::request::{Axes, Request, UsageError};
use super::setting::{CopyVariant, Setting, Variant};
use super::size::{ByteSize, KB, MB};
use super::upset::{Joining, Upset, UpsetKind, Victim};
use crate::jobs::kinds::{FabricKind, GroupOrdering, Ordering, Schedule};
use crate::jobs::peer::Peer;
use crate::jobs::shape::{SMALL_MAX, Shape};

/// One experiment's part of a request.
pub(super) struct Sweep<'a> {
    pub(super) experiment: Experiment,
    pub(super) request: &'a Request,
    pub(super) machine: &'a Machine,
}

/// `given`, or the default if nothing was.
fn or<T: Clone>(given: &[T], default: &[T]) -> Vec<T> {
    if given.is_empty() { default.to_vec() } else { given.to_vec() }
}

/// Each value, or one that is not given.
fn optional<T: Clone>(given: &[T]) -> Vec<Option<T>> {
    if given.is_empty() { vec![None] } else { given.iter().cloned().map(Some).collect() }
}

const PUBLISHED_SIZES: [ByteSize; 3] = [ByteSize(10 * KB), ByteSize(MB), ByteSize(100 * MB)];

impl Sweep<'_> {
    /// Every setting of it.
    ///
    /// # Errors
    /// A contradiction in the request.
    pub(super) fn settings(&self) -> Result<Vec<Setting>, UsageError> {
        self.check_ordering()?;
        match self.experiment {
            Experiment::Memcpy => Ok(self.memcpy()),
            Experiment::Write => Ok(self.write()),
            Experiment::SmcRate => self.smc_rate(),
            Experiment::RdmcSchedules => self.rdmc_schedules(),
            Experiment::RdmcTimeline => self.rdmc_timeline(),
            Experiment::Multicast => self.multicast(),
            Experiment::Latency => self.latency(),
            Experiment::LatencyLoad => self.latency_load(),
            Experiment::Delay => self.delay(),
            Experiment::TcpGap => self.tcp_gap(),
            Experiment::Orders => self.orders(),
            Experiment::Peers => self.peers(),
            Experiment::ViewChange => self.view_change(),
        }
    }

    fn axes(&self) -> &Axes {
        &self.request.axes
    }

    fn fabrics(&self) -> Vec<FabricKind> {
        let verbs = self.machine.verbs.unavailable.is_none().then_some(FabricKind::Verbs);
        let shm = self.machine.hosts.is_none().then_some(FabricKind::Shm);
        let mut all: Vec<FabricKind> = shm.into_iter().chain([FabricKind::Tcp]).chain(verbs).collect();
        if self.experiment == Experiment::Orders {
            // As many orders as can be measured in ten minutes: the others when they are asked for.
            all.truncate(1);
        }
        let given: Vec<FabricKind> = self.axes().fabric.iter().filter_map(FabricName::real).collect();
        or(&given, &all)
    }

    fn sizes(&self, full: &[u64], quick: &[u64]) -> Vec<u64> {
        let default = if self.request.quick { quick } else { full };
        let default: Vec<ByteSize> = default.iter().copied().map(ByteSize).collect();
        or(&self.axes().size, &default).into_iter().map(|size| size.0).collect()
    }

    fn nodes(&self, full: &[u32], quick: &[u32]) -> Vec<u32> {
        let usual = if self.request.quick { quick } else { full };
        let Some(hosts) = &self.machine.hosts else { return or(&self.axes().nodes, usual) };
        let usual: Vec<u32> = usual.iter().copied().filter(|&nodes| nodes < hosts.count).chain([hosts.count]).collect();
        or(&self.axes().nodes, &usual)
    }

    fn bare(&self, message_bytes: u64, variant: Variant) -> Setting {
        Setting {
            experiment: self.experiment,
            fabric: None,
            ordering: None,
            nodes: 1,
            pattern: None,
            senders: 1,
            message_bytes,
            window: None,
            shape: None,
            block_bytes: None,
            schedule: None,
            variant,
        }
    }

    /// Copies of what no cache holds are not called cached.
    fn memcpy(&self) -> Vec<Setting> {
        let sizes = self.sizes(&[KB, 10 * KB, 100 * KB, MB, 10 * MB, 100 * MB], &PUBLISHED_SIZES.map(|size| size.0));
        let mut settings = Vec::new();
        for message_bytes in sizes {
            for all_cores in [false, true] {
                let cores = if all_cores { self.machine.cores.len() as u32 } else { 1 };
                let fits = self.may_be_cached(copy_bytes(message_bytes, Warmth::Cached, cores));
                for warmth in [Warmth::Cold, Warmth::WarmSource].into_iter().chain(fits.then_some(Warmth::Cached)) {
                    let bare = self.bare(message_bytes, Variant::Copy(CopyVariant { all_cores, warmth }));
                    settings.push(Setting { nodes: cores, senders: cores, ..bare });
                }
            }
        }
        settings
    }

    /// Of a cache that nobody knows the size of, anything may be.
    fn may_be_cached(&self, bytes: u64) -> bool {
        let cache_bytes = self.machine.last_level_cache_bytes;
        cache_bytes == 0 || bytes <= cache_bytes
    }

    fn write(&self) -> Vec<Setting> {
        let every_fourth: Vec<u64> = (0..12).map(|step| 2 << (2 * step)).collect();
        let sizes = self.sizes(&every_fourth, &[2, 8 * KB, MB]);
        let mut settings = Vec::new();
        for fabric in self.fabrics() {
            for &message_bytes in &sizes {
                for window in optional(&self.axes().window) {
                    let window = window.unwrap_or_else(|| policy::write_window(message_bytes));
                    let bare = self.bare(message_bytes, Variant::Bandwidth);
                    settings.push(Setting { fabric: Some(fabric), nodes: 2, window: Some(window), ..bare });
                }
                let bare = self.bare(message_bytes, Variant::PingPong);
                settings.push(Setting { fabric: Some(fabric), nodes: 2, window: Some(1), ..bare });
            }
        }
        settings
    }

    fn smc_rate(&self) -> Result<Vec<Setting>, UsageError> {
        let sizes = self.sizes(&[1, 16, 128, KB, 10 * KB], &[1, KB]);
        let (sizes, large): (Vec<u64>, Vec<u64>) = sizes.into_iter().partition(|&bytes| bytes <= SMALL_MAX);
        // `reproduce` gives each experiment what it takes.
        if let ([_], Some(large)) = (&self.request.experiments[..], large.first()) {
            let (size, max) = (ByteSize(*large), ByteSize(SMALL_MAX));
            return Err(UsageError(format!(
                "smc-rate measures small messages, up to {max}: --size {size} is relayed; use `squall run multicast`"
            )));
        }
        let senders: &[Senders] = &[Senders::One, Senders::All];
        self.groups(&sizes, &self.nodes(&[2, 4, 8], &[2]), senders, &[Ordering::ORDERED], Variant::Plain)
    }

    /// # Errors
    /// A size that goes through the rings.
    fn check_relayed(&self, sizes: &[u64]) -> Result<(), UsageError> {
        match sizes.iter().find(|&&bytes| bytes <= SMALL_MAX) {
            None => Ok(()),
            Some(&small) => {
                let (size, max) = (ByteSize(small), ByteSize(SMALL_MAX));
                Err(UsageError(format!("messages of --size {size} are not relayed; {} takes sizes above {max}", self.experiment)))
            }
        }
    }

    /// One sender's large messages by every schedule.
    fn rdmc_schedules(&self) -> Result<Vec<Setting>, UsageError> {
        let sizes = self.sizes(&[10 * MB, 100 * MB], &[10 * MB]);
        self.check_relayed(&sizes)?;
        self.groups(&sizes, &self.nodes(&[2, 4, 8], &[2, 4]), &[Senders::One], &[Ordering::UNORDERED], Variant::Plain)
    }

    /// One sender's large message as the group relays it.
    fn rdmc_timeline(&self) -> Result<Vec<Setting>, UsageError> {
        let sizes = self.sizes(&[100 * MB], &[10 * MB]);
        self.check_relayed(&sizes)?;
        self.groups(&sizes, &self.nodes(&[4, 8], &[4]), &[Senders::One], &[Ordering::UNORDERED], Variant::Plain)
    }

    fn multicast(&self) -> Result<Vec<Setting>, UsageError> {
        let sizes = self.sizes(&PUBLISHED_SIZES.map(|size| size.0), &PUBLISHED_SIZES.map(|size| size.0));
        let senders: &[Senders] = match self.request.quick {
            true => &[Senders::All, Senders::One],
            false => &[Senders::All, Senders::Half, Senders::One],
        };
        let orderings = [Ordering::UNORDERED, Ordering::ORDERED];
        self.groups(&sizes, &self.nodes(&[2, 4, 8, 16], &[2, 4]), senders, &orderings, Variant::Plain)
    }

    /// The largest messages are not swept under light load: nothing that they wait for takes as long as they do, so it
    /// is what one at a time takes, twenty times over.
    fn latency(&self) -> Result<Vec<Setting>, UsageError> {
        let nodes = self.nodes(&[2, 4, 8, 16], &[2]);
        let mut settings = Vec::new();
        for (variant, senders) in [(Variant::Closed, Senders::One), (Variant::Light, Senders::All), (Variant::Saturated, Senders::All)] {
            if self.request.quick && variant == Variant::Saturated {
                continue;
            }
            let full: &[u64] = if variant == Variant::Light { &[1, 10 * KB, MB] } else { &[1, 10 * KB, MB, 100 * MB] };
            let sizes = self.sizes(full, &[1, 10 * KB]);
            settings.extend(self.groups(&sizes, &nodes, &[senders], &[Ordering::ORDERED], variant)?);
        }
        Ok(settings)
    }

    /// Light loads, and the knee from both sides.
    fn latency_load(&self) -> Result<Vec<Setting>, UsageError> {
        let sizes = self.sizes(&[1, 10 * KB], &[1]);
        let nodes = self.nodes(&[2, 4], &[2]);
        let variants = policy::offered_loads(self.request.quick).iter().map(|&percent| Variant::Offered { percent });
        self.each(variants, &sizes, &nodes)
    }

    /// One member with a slower loop, half of them, and senders that send nothing.
    fn delay(&self) -> Result<Vec<Setting>, UsageError> {
        let sizes = self.sizes(&[10 * KB, MB], &[10 * KB]);
        let mut settings = Vec::new();
        for nodes in self.nodes(&[2, 4], &[2]) {
            settings.extend(self.each(policy::delays(nodes, self.request.quick).into_iter().map(Variant::Delayed), &sizes, &[nodes])?);
        }
        // Where nobody would be left to send, there is nothing to measure.
        settings.retain(|setting| setting.delay().idle < setting.senders);
        Ok(settings)
    }

    /// Bandwidth when all send, and latency of one message at a time, over TCP and over what is compared with it.
    fn tcp_gap(&self) -> Result<Vec<Setting>, UsageError> {
        let fabrics = self.fabrics();
        if !fabrics.contains(&FabricKind::Tcp) || fabrics.len() < 2 {
            return Err(UsageError("tcp-gap puts a fast fabric beside TCP: give both, such as --fabric shm,tcp".into()));
        }
        let nodes = self.nodes(&[2, 4, 8], &[2]);
        let sizes = self.sizes(&PUBLISHED_SIZES.map(|size| size.0), &PUBLISHED_SIZES.map(|size| size.0));
        let mut settings = self.groups(&sizes, &nodes, &[Senders::All], &[Ordering::ORDERED], Variant::Plain)?;
        let sizes = self.sizes(&[1], &[1]);
        settings.extend(self.groups(&sizes, &nodes, &[Senders::One], &[Ordering::ORDERED], Variant::Closed)?);
        Ok(settings)
    }

    /// Each other program over each fabric that both know. What was not asked for by name is left out where it is not
    /// installed.
    fn peers(&self) -> Result<Vec<Setting>, UsageError> {
        let installed: Vec<Peer> = Peer::value_variants().iter().copied().filter(|peer| peer.missing().is_none()).collect();
        let mut settings = Vec::new();
        for peer in or(&self.axes().peer, &installed) {
            let variant = Variant::Peer(peer);
            let fabrics: Vec<FabricKind> = self.fabrics().into_iter().filter(|fabric| peer.fabrics().contains(fabric)).collect();
            if !peer.is_pair() {
                let sizes = self.sizes(&PUBLISHED_SIZES.map(|size| size.0), &[MB]);
                // Small messages are not relayed: every sender writes them to each member anyway.
                let sizes: Vec<u64> = sizes.into_iter().filter(|&bytes| peer != Peer::Unicast || bytes > SMALL_MAX).collect();
                let ordering = if peer == Peer::Corosync { Ordering::ORDERED } else { Ordering::UNORDERED };
                let groups = self.groups(&sizes, &self.nodes(&[2, 4], &[2]), &[Senders::One], &[ordering], variant)?;
                settings.extend(groups.into_iter().filter(|group| group.fabric.is_some_and(|fabric| fabrics.contains(&fabric))));
                continue;
            }
            let usual: (&[u64], &[u64]) = if peer.is_latency() { (&[8, 10 * KB], &[8]) } else { (&[10 * KB, MB], &[MB]) };
            for message_bytes in self.sizes(usual.0, usual.1) {
                let window = Some(if peer.is_latency() { 1 } else { policy::write_window(message_bytes) });
                settings.extend(fabrics.iter().map(|&fabric| Setting {
                    fabric: Some(fabric),
                    nodes: 2,
                    window,
                    ..self.bare(message_bytes, variant)
                }));
            }
        }
        match (settings.first(), self.axes().peer.first()) {
            (None, Some(peer)) => {
                let known = peer.fabrics().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                Err(UsageError(format!("{peer} is measured over {known}, of which nothing is among what runs; give --fabric {known}")))
            }
            _ => Ok(settings),
        }
    }

    /// All variants of ordered groups in which all send.
    fn each(&self, variants: impl Iterator<Item = Variant>, sizes: &[u64], nodes: &[u32]) -> Result<Vec<Setting>, UsageError> {
        let mut settings = Vec::new();
        for variant in variants {
            settings.extend(self.groups(sizes, nodes, &[Senders::All], &[Ordering::ORDERED], variant)?);
        }
        Ok(settings)
    }

    /// Small messages at a constant rate and as fast as the window lets; large ones as fast as it lets.
    fn view_change(&self) -> Result<Vec<Setting>, UsageError> {
        let nodes = self.nodes(&[5], &[5]);
        if let Some(few) = nodes.iter().find(|&&nodes| nodes < 3) {
            return Err(UsageError(format!("--nodes {few}: neither of two members is a majority when the other is lost; use 3 or more")));
        }
        if let Some(none) = self.axes().ordering.iter().find(|ordering| !ordering.is_total()) {
            let known = GroupOrdering::total().iter().map(GroupOrdering::to_string).collect::<Vec<_>>().join(", ");
            return Err(UsageError(format!(
                "--ordering {none}: what is cut off by a change is not sent again without an order; use {known}"
            )));
        }
        // At full load a group delivers faster than anybody who joins takes it in beside the state.
        let is_given_state = self.axes().state.is_some();
        let mut settings = Vec::new();
        for size in self.sizes(if is_given_state { &[KB] } else { &[KB, 20 * MB] }, &[KB]) {
            if is_given_state && size > SMALL_MAX {
                let (size, max) = (ByteSize(size), ByteSize(SMALL_MAX));
                return Err(UsageError(format!(
                    "--state is given under light load, which messages of --size {size} are not; use up to {max}"
                )));
            }
            for full in [false, true] {
                let is_left_out = if full { is_given_state } else { size > SMALL_MAX };
                if is_left_out {
                    continue;
                }
                for upset in self.upsets() {
                    let variant = Variant::Change { upset, full };
                    settings.extend(self.groups(&[size], &nodes, &[Senders::All], &[Ordering::ORDERED], variant)?);
                }
            }
        }
        Ok(settings)
    }

    /// Every order, in every part of the sweep.
    fn orders(&self) -> Result<Vec<Setting>, UsageError> {
        let mut settings = Vec::new();
        for part in orders::parts(self.request.quick, false) {
            let (sizes, nodes) = (self.sizes(&part.sizes, &part.sizes), self.nodes(&part.nodes, &part.nodes));
            for variant in part.variants {
                settings.extend(self.groups(&sizes, &nodes, &part.senders, Ordering::every(), variant)?);
            }
        }
        // A change takes a majority of the others, an order to check them by, and a load that is light.
        let may_change = |setting: &Setting| {
            setting.nodes > 2 && setting.message_bytes <= SMALL_MAX && setting.ordering.is_some_and(|ordering| ordering.is_total())
        };
        // A read has its place in an order.
        let may_read = |setting: &Setting| setting.ordering.is_some_and(|ordering| ordering.is_total());
        settings.retain(|setting| !setting.variant.is_change() || may_change(setting));
        settings.retain(|setting| setting.variant != Variant::Reading || may_read(setting));
        let may_be_another = |setting: &Setting| {
            let is_carried = setting.fabric.is_some_and(|fabric| omnipaxos::carries(fabric, setting.message_bytes));
            is_carried && !setting.variant.is_change() && setting.variant != Variant::Reading
        };
        settings.retain(|setting| setting.ordering != Some(Ordering::Omnipaxos) || may_be_another(setting));
        match settings.is_empty() {
            true => Err(UsageError(format!("--ordering {}: {}", Ordering::Omnipaxos, omnipaxos::KNOWN))),
            false => Ok(settings),
        }
    }

    /// # Errors
    /// Another program's order, where it is not put beside ours.
    fn check_ordering(&self) -> Result<(), UsageError> {
        let is_asked = self.axes().ordering.contains(&Ordering::Omnipaxos);
        if !is_asked || self.experiment == Experiment::Orders {
            return Ok(());
        }
        let known = Ordering::of_groups().iter().map(Ordering::to_string).collect::<Vec<_>>().join(", ");
        Err(UsageError(format!(
            "--ordering {}: another program's order, which `squall run orders` alone puts beside ours; {} takes {known}",
            Ordering::Omnipaxos,
            self.experiment
        )))
    }

    fn upsets(&self) -> Vec<Upset> {
        let axes = self.axes();
        let joining = Joining { newcomers: axes.newcomers.unwrap_or(1), state_bytes: axes.state.map_or(0, |state| state.0) };
        let upset = |kind| match kind {
            UpsetKind::Kill => Upset::Kill(Victim::Last),
            UpsetKind::KillFirst => Upset::Kill(Victim::First),
            UpsetKind::KillMiddle => Upset::Kill(Victim::Middle),
            UpsetKind::Leave => Upset::Leave,
            UpsetKind::Join => Upset::Join(joining),
        };
        // Who says how processes join wants to see them join.
        let usual: &[UpsetKind] = if joining == Joining::default() { &UpsetKind::USUAL } else { &[UpsetKind::Join] };
        or(&axes.upset, usual).into_iter().map(upset).collect()
    }

    fn groups(
        &self,
        sizes: &[u64],
        nodes: &[u32],
        senders: &[Senders],
        orderings: &[Ordering],
        variant: Variant,
    ) -> Result<Vec<Setting>, UsageError> {
        let patterns = or(&self.axes().senders, senders);
        let mut settings = Vec::new();
        for fabric in self.fabrics() {
            for &message_bytes in sizes {
                for &pattern in &patterns {
                    for ordering in or(&self.axes().ordering, orderings) {
                        for &nodes in nodes {
                            let Some(senders) = pattern.count(nodes) else {
                                return Err(UsageError(format!(
                                    "{pattern} senders do not fit into {nodes} nodes; use --nodes {pattern} or more, or fewer --senders"
                                )));
                            };
                            let bare = self.bare(message_bytes, variant);
                            let group =
                                Setting { fabric: Some(fabric), ordering: Some(ordering), nodes, pattern: Some(pattern), senders, ..bare };
                            settings.extend(self.shapes(group)?);
                        }
                    }
                }
            }
        }
        Ok(settings)
    }

    /// None: the group chooses. Where views change it is the same in all of them.
    fn schedules(&self, variant: Variant) -> Vec<Option<Schedule>> {
        match self.experiment {
            Experiment::RdmcSchedules if self.axes().schedule.is_empty() => Schedule::value_variants().iter().copied().map(Some).collect(),
            _ if variant.is_change() && self.axes().schedule.is_empty() => vec![Some(Schedule::Pipeline)],
            _ => optional(&self.axes().schedule),
        }
    }

    /// The same group with every window, block and schedule.
    fn shapes(&self, group: Setting) -> Result<Vec<Setting>, UsageError> {
        let mut settings = Vec::new();
        for window in optional(&self.axes().window) {
            let saturated = matches!(group.variant, Variant::Saturated | Variant::Offered { .. }) || group.variant.is_change();
            let usual = policy::usual_window(group.message_bytes, group.nodes, group.senders, saturated);
            let shape = Shape::of(group.message_bytes, window.or(usual));
            let group = Setting { window: Some(shape.window), shape: Some(shape), ..group.clone() };
            if !shape.is_relayed() {
                settings.push(group);
                continue;
            }
            for block in optional(&self.axes().block) {
                for schedule in self.schedules(group.variant) {
                    let block = block.map(|block| block.0);
                    let config =
                        shape.config(group.senders, group.ordering.and_then(Ordering::mode).unwrap_or(Mode::Ordered), block, schedule);
                    config.check(group.nodes as usize).map_err(|error| UsageError(error.to_string()))?;
                    let of_all_views = || config.relay_of(group.message_bytes, group.nodes as usize, 1).block_bytes.into();
                    let block_bytes = block.or_else(|| group.variant.is_change().then(of_all_views));
                    settings.push(Setting { block_bytes, schedule, ..group.clone() });
                }
            }
        }
        Ok(settings)
    }
}
