//! How views follow each other: the properties that relate one view to the next.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use squall_group::Mode;
use squall_transport::{NodeId, Rank};

use crate::property::{Broken, Property};
use crate::states::States;
use crate::trace::Event;

/// What is known of all views and of who went from which to which.
#[derive(Default)]
pub(crate) struct Chain {
    views: BTreeMap<u64, Link>,
    processes: HashMap<NodeId, Process>,
    /// Everyone who was ever a member, and in which view last.
    members: HashMap<NodeId, u64>,
}

/// One view.
#[derive(Default)]
struct Link {
    members: Vec<NodeId>,
    /// How many of them vote.
    voters: usize,
    senders: Vec<Rank>,
    ordered: bool,
    /// Members that have wedged give each other what they lack.
    fills: bool,
    trim: Option<Vec<u64>>,
    /// Members of the next view, as decided, and how many vote.
    next: Option<(Vec<NodeId>, usize)>,
    /// Members that anyone suspected, or that left.
    excused: BTreeSet<NodeId>,
    left: BTreeSet<NodeId>,
    /// Messages delivered, by process.
    delivered: HashMap<NodeId, u64>,
    installed: BTreeSet<NodeId>,
    /// First index of each sender that nobody has delivered.
    beyond: BTreeMap<Rank, u64>,
    /// Where there is no order: first index of each sender that a process has not delivered.
    upto: HashMap<(NodeId, Rank), u64>,
    /// Members that waited for their state until the view was over: they delivered nothing in it.
    behind: BTreeSet<NodeId>,
}

#[derive(Default)]
struct Process {
    view: Option<u64>,
    wedged: bool,
    trimmed: bool,
    gone: bool,
    finished: bool,
    suspects: BTreeSet<Rank>,
    /// Sent in the present view: hash by index.
    sent: BTreeMap<u64, u64>,
    /// Told to be cut in the present view.
    cut: BTreeSet<u64>,
    /// Hashes of messages that were cut, in the order in which they must be sent again.
    again: Vec<u64>,
    /// Everything ever delivered.
    hashes: HashSet<u64>,
}

impl Chain {
    /// What `event` breaks, where it stands.
    pub(crate) fn look(&mut self, event: &Event, states: &States) -> Result<(), Broken> {
        let process = self.processes.entry(event.process()).or_default();
        match event {
            Event::Install { process: node, view, members, voters, senders, order } => {
                if states.is_behind(*node)
                    && let Some(link) = process.view.and_then(|view| self.views.get_mut(&view))
                {
                    link.behind.insert(*node);
                }
                self.install(*node, *view, (members, *voters), senders, *order)
            }
            Event::Send { view, index, hash, .. } => {
                if process.wedged {
                    return Err(wedged(event, "sends"));
                }
                process.sent.insert(*index, *hash);
                if !process.again.is_empty() && process.again.remove(0) != *hash {
                    let what = format!("{} sends something else in view {view} before what was cut off before", event.process());
                    return Err((Property::CutNotice, what));
                }
                Ok(())
            }
            Event::Receive { view, .. } if process.wedged && !self.views.get(view).is_some_and(|link| link.fills) => {
                Err(wedged(event, "receives"))
            }
            Event::Deliver { process: node, view, sender, index, hash, .. } => {
                if process.wedged && !process.trimmed {
                    return Err(wedged(event, "delivers"));
                }
                if !process.hashes.insert(*hash) {
                    return Err((Property::NoDuplication, format!("{node} delivers in view {view} what it delivered before")));
                }
                self.deliver(*node, *view, *sender, *index)
            }
            Event::Suspect { process: node, view, whom } => {
                if !process.suspects.insert(*whom) {
                    return Err((Property::Suspicion, format!("{node} suspects rank {whom} of view {view} twice")));
                }
                // What a learner suspects is nobody's business.
                if let Some(link) = self.views.get_mut(view)
                    && link.votes(event.process())
                    && let Some(member) = link.members.get(whom.index())
                {
                    link.excused.insert(*member);
                }
                Ok(())
            }
            Event::Leave { process, view } => {
                if let Some(link) = self.views.get_mut(view) {
                    link.excused.insert(*process);
                    link.left.insert(*process);
                }
                Ok(())
            }
            Event::Wedge { .. } => {
                process.wedged = true;
                Ok(())
            }
            Event::Trim { process: node, view, vector, proposed_by, next, next_voters, .. } => {
                if proposed_by.iter().any(|by| *by != proposed_by[0]) {
                    return Err((Property::Adoption, format!("changes of ranks {proposed_by:?} are blended after view {view}")));
                }
                let votes = self.views.get(view).is_none_or(|link| link.votes(*node));
                if !std::mem::replace(&mut process.trimmed, true) && !process.wedged && votes {
                    return Err((Property::Wedge, format!("{node} cuts view {view} and is not wedged")));
                }
                self.decided(*node, *view, next, *next_voters)?;
                self.trim(*node, *view, vector)
            }
            Event::Cut { process: node, view, index } => {
                if !process.sent.contains_key(index) || !process.cut.insert(*index) {
                    return Err((
                        Property::CutNotice,
                        format!("{node} is told twice, or of what it never sent: index {index} of view {view}"),
                    ));
                }
                Ok(())
            }
            Event::Crash { .. } => {
                process.gone = true;
                Ok(())
            }
            Event::Stop { process: node, reason } => {
                process.gone = true;
                let link = process.view.and_then(|view| self.views.get(&view));
                let lost = |link: &Link| process.suspects.iter().filter(|rank| rank.index() < link.voters).count();
                match link.filter(|link| link.votes(*node) && lost(link) * 2 < link.voters && reason.contains(NO_QUORUM)) {
                    Some(link) => {
                        let what = format!("{node} stops with {} of {} voters lost: {reason}", lost(link), link.voters);
                        Err((Property::StateContinuity, what))
                    }
                    None => Ok(()),
                }
            }
            Event::Finish { .. } => {
                process.finished = true;
                Ok(())
            }
            Event::Receive { .. }
            | Event::Null { .. }
            | Event::Decide { .. }
            | Event::Accept { .. }
            | Event::Behind { .. }
            | Event::Restore { .. }
            | Event::Learn { .. }
            | Event::Vote { .. } => Ok(()),
        }
    }

    fn deliver(&mut self, node: NodeId, view: u64, sender: Rank, index: u64) -> Result<(), Broken> {
        let Some(link) = self.views.get_mut(&view) else { return Ok(()) };
        *link.delivered.entry(node).or_default() += 1;
        if !link.ordered {
            link.upto.insert((node, sender), index + 1);
        }
        let beyond = link.beyond.entry(sender).or_default();
        *beyond = (*beyond).max(index + 1);
        let position = link.senders.iter().position(|&other| other == sender);
        match link.trim.as_ref().zip(position).and_then(|(trim, position)| trim.get(position).copied()) {
            Some(trim) if link.ordered && index >= trim => Err((
                Property::TrimAgreement,
                format!("{node} delivers index {index} of rank {sender} of view {view}, which ends at {trim}"),
            )),
            _ => Ok(()),
        }
    }

    /// All go to the same view.
    fn decided(&mut self, node: NodeId, view: u64, next: &[NodeId], voters: usize) -> Result<(), Broken> {
        let Some(link) = self.views.get_mut(&view) else { return Ok(()) };
        let known = link.next.get_or_insert_with(|| (next.to_vec(), voters));
        if (known.0.as_slice(), known.1) != (next, voters) {
            return Err((Property::Majority, format!("{node} goes from view {view} to one of {next:?}, another to one of {known:?}")));
        }
        if voters == 0 && !next.is_empty() {
            return Err((Property::StateContinuity, format!("{node} leaves {next:?} behind, and none of them votes after view {view}")));
        }
        Ok(())
    }

    fn trim(&mut self, node: NodeId, view: u64, vector: &[u64]) -> Result<(), Broken> {
        let Some(link) = self.views.get_mut(&view) else { return Ok(()) };
        let known = link.trim.get_or_insert_with(|| vector.to_vec());
        if known != vector {
            return Err((Property::TrimAgreement, format!("{node} cuts view {view} at {vector:?}, another at {known:?}")));
        }
        let below = link.senders.iter().zip(vector).find(|(sender, trim)| link.beyond.get(sender).is_some_and(|beyond| beyond > trim));
        match below.filter(|_| link.ordered) {
            Some((sender, trim)) => {
                Err((Property::TrimAgreement, format!("view {view} ends at {trim} for rank {sender}, of which more was delivered")))
            }
            None => Ok(()),
        }
    }

    fn install(
        &mut self,
        node: NodeId,
        view: u64,
        (members, voters): (&[NodeId], usize),
        senders: &[Rank],
        order: Mode,
    ) -> Result<(), Broken> {
        let new = !self.views.contains_key(&view);
        let link = self.views.entry(view).or_default();
        link.installed.insert(node);
        if new {
            (link.members, link.voters) = (members.to_vec(), voters);
            (link.senders, link.ordered, link.fills) = (senders.to_vec(), order.is_total(), order.fills());
        }
        let derived = if new { self.derived(view, members, voters) } else { Ok(()) };
        let known = self.processes.entry(node).or_default();
        let before = known.view.replace(view);
        let ended = before.map_or(Ok(()), |before| self.ended(node, before, view));
        let known = self.processes.entry(node).or_default();
        (known.wedged, known.trimmed) = (false, false);
        known.suspects.clear();
        derived.and(ended)
    }

    /// The view follows from the one before.
    fn derived(&mut self, view: u64, members: &[NodeId], voters: usize) -> Result<(), Broken> {
        for member in members {
            if self.members.insert(*member, view).is_some_and(|last| last + 1 != view) {
                return Err((Property::ChangeDerivation, format!("{member} comes back in view {view}")));
            }
        }
        let Some(before) = view.checked_sub(1).and_then(|before| self.views.get(&before)) else {
            let first = self.views.len() == 1;
            return if first { Ok(()) } else { Err((Property::ViewMonotony, format!("view {view} does not follow another"))) };
        };
        let old_voters = &before.members[..before.voters];
        let stay: Vec<&NodeId> = old_voters.iter().filter(|member| members.contains(member)).collect();
        if let Some(member) = before.members.iter().find(|member| !members.contains(member) && !before.excused.contains(member)) {
            let what = format!("{member} is not in view {view}, and was neither suspected nor left");
            return Err((Property::ChangeDerivation, what));
        }
        if stay.len() > voters || !members.iter().take(stay.len()).eq(stay.iter().copied()) {
            return Err((Property::ChangeDerivation, format!("in view {view} those that stayed are not in their order")));
        }
        if let Some(member) = members[..voters].iter().find(|member| !before.members.contains(member)) {
            return Err((Property::ChangeDerivation, format!("{member} votes in view {view}, the first that it is in")));
        }
        let learned = &before.members[before.voters..];
        let learn = |list: &[NodeId]| list.iter().copied().filter(|node| learned.contains(node)).collect::<Vec<_>>();
        let still: Vec<NodeId> = learn(&members[voters..]);
        if !learned.iter().filter(|member| still.contains(member)).eq(&still) || !members[voters..].starts_with(&still) {
            return Err((Property::ChangeDerivation, format!("in view {view} those that still learn are not in their order")));
        }
        let left = before.left.iter().filter(|member| old_voters.contains(member) && !members.contains(member)).count();
        if (stay.len() + left) * 2 <= before.voters && before.voters > 2 {
            return Err((Property::Majority, format!("{} of {} voters go on to view {view}", stay.len(), before.voters)));
        }
        Ok(())
    }

    /// The process is through with the view before.
    fn ended(&mut self, node: NodeId, before: u64, view: u64) -> Result<(), Broken> {
        if before + 1 != view {
            return Err((Property::ViewMonotony, format!("{node} goes from view {before} to view {view}")));
        }
        let Some(link) = self.views.get(&before) else { return Ok(()) };
        let known = self.processes.entry(node).or_default();
        let (sent, cut) = (std::mem::take(&mut known.sent), std::mem::take(&mut known.cut));
        let lost = known.suspects.iter().filter(|rank| rank.index() < link.voters).count();
        if link.votes(node) && lost * 2 >= link.voters && link.voters > 2 {
            return Err((Property::Majority, format!("{node} suspects half of view {before} or more and installs view {view}")));
        }
        let position = link.senders.iter().position(|sender| link.members.get(sender.index()) == Some(&node));
        let Some(trim) = &link.trim else {
            return Err((Property::Wedge, format!("{node} installs view {view} without a cut of {before}")));
        };
        if !link.ordered && !link.behind.contains(&node) {
            return link.has_all_before(node, trim).map_err(|what| (Property::Uniformity, what));
        }
        let end = position.filter(|_| link.ordered).and_then(|position| trim.get(position).copied());
        let Some(end) = end else { return Ok(()) };
        let lost: Vec<(u64, u64)> = sent.range(end..).map(|(index, hash)| (*index, *hash)).collect();
        if !lost.iter().map(|(index, _)| index).eq(&cut) {
            let what = format!("{node} sent {} messages of view {before} behind its end and was told of {}", lost.len(), cut.len());
            return Err((Property::CutNotice, what));
        }
        let older = std::mem::take(&mut known.again);
        known.again = lost.into_iter().map(|(_, hash)| hash).chain(older).collect();
        Ok(())
    }

    /// After the last event.
    pub(crate) fn conclude(&self) -> Vec<Broken> {
        let mut broken = Vec::new();
        for (&view, link) in &self.views {
            let Some(next) = self.views.get(&(view + 1)).filter(|_| link.ordered) else { continue };
            let most = link.delivered.values().copied().max().unwrap_or(0);
            for node in link.installed.intersection(&next.installed).filter(|node| !link.behind.contains(node)) {
                let mine = link.delivered.get(node).copied().unwrap_or(0);
                if mine != most {
                    broken.push((Property::Uniformity, format!("{node} delivered {mine} messages of view {view}, another {most}")));
                }
            }
        }
        let finished: Vec<(&NodeId, &Process)> = self.processes.iter().filter(|(_, process)| process.finished).collect();
        let last = finished.iter().filter_map(|(_, process)| process.view).max();
        for (node, process) in finished {
            if process.gone || process.view != last {
                broken.push((Property::ViewProgress, format!("at the end {node} is in view {:?}, another in {last:?}", process.view)));
            }
            if !process.again.is_empty() {
                broken.push((Property::CutNotice, format!("{node} never sent {} messages again that were cut off", process.again.len())));
            }
            let members = process.view.and_then(|view| self.views.get(&view)).map_or(&[][..], |link| &link.members);
            let present = |member: &&NodeId| self.processes.get(member).is_some_and(|other| other.finished && !other.gone);
            if let Some(member) = members.iter().find(|member| !present(member)) {
                broken.push((Property::ViewProgress, format!("at the end {node} is in a view with {member}, which is not there")));
            }
        }
        broken.sort();
        broken
    }

    /// Views that were installed by anybody.
    pub(crate) fn views(&self) -> u64 {
        self.views.len() as u64
    }

    /// Whether everybody in the view stayed in it to the end.
    pub(crate) fn is_whole(&self, view: u64) -> bool {
        let stays = |member: &NodeId| self.processes.get(member).is_some_and(|process| process.finished && process.view == Some(view));
        self.views.get(&view).is_some_and(|link| link.trim.is_none() && link.members.iter().all(stays))
    }
}

impl Link {
    fn votes(&self, node: NodeId) -> bool {
        self.members[..self.voters].contains(&node)
    }

    /// Without an order whoever goes on has delivered at least what lies before the view's end.
    fn has_all_before(&self, node: NodeId, trim: &[u64]) -> Result<(), String> {
        let upto = |sender: &Rank| self.upto.get(&(node, *sender)).copied().unwrap_or(0);
        match self.senders.iter().zip(trim).find(|(sender, end)| upto(sender) < **end) {
            Some((sender, end)) => Err(format!("{node} delivered {} of the {end} messages of rank {sender}, and goes on", upto(sender))),
            None => Ok(()),
        }
    }
}

/// Part of the reason of a process that stops because it reaches no majority.
const NO_QUORUM: &str = "are needed";

fn wedged(event: &Event, does: &str) -> Broken {
    (Property::Wedge, format!("{} {does} after it had wedged: {event:?}", event.process()))
}
