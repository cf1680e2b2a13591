//! Who leads, who accepts, and when anybody may act: the properties of a change of views that one sees in the order of
//! one clock only.

use std::collections::{BTreeSet, HashMap, HashSet};

use squall_transport::{NodeId, Rank};

use crate::property::{Broken, Property};
use crate::trace::Event;

/// What is known of the end of each view.
#[derive(Default)]
pub(crate) struct Leaders {
    views: HashMap<u64, End>,
}

#[derive(Default)]
struct End {
    members: Vec<NodeId>,
    /// Whom each suspects.
    suspects: HashMap<NodeId, BTreeSet<Rank>>,
    /// Whom each follows.
    follows: HashMap<NodeId, Rank>,
    /// Who has accepted from whom where the view ends.
    accepted: HashSet<(NodeId, Rank)>,
}

impl Leaders {
    /// What `event` breaks, where it stands.
    pub(crate) fn look(&mut self, event: &Event) -> Result<(), Broken> {
        match event {
            Event::Install { view, members, .. } => {
                self.views.entry(*view).or_default().members.clone_from(members);
                Ok(())
            }
            Event::Suspect { process, view, whom } => {
                self.views.entry(*view).or_default().suspects.entry(*process).or_default().insert(*whom);
                Ok(())
            }
            Event::Accept { process, view, leader, trimmed } => self.accept(*process, *view, *leader, *trimmed),
            Event::Trim { process, view, leader, .. } => self.act(*process, *view, *leader),
            _ => Ok(()),
        }
    }

    fn accept(&mut self, process: NodeId, view: u64, leader: Rank, trimmed: bool) -> Result<(), Broken> {
        let end = self.views.entry(view).or_default();
        if trimmed {
            end.accepted.insert((process, leader));
        }
        if let Some(before) = end.follows.insert(process, leader).filter(|before| *before > leader) {
            return Err((Property::Leaders, format!("in view {view} {process} follows rank {leader} after rank {before}")));
        }
        if end.members.get(leader.index()) != Some(&process) {
            return Ok(());
        }
        let none = BTreeSet::new();
        let suspects = |node: &NodeId| end.suspects.get(node).unwrap_or(&none);
        let trusted = end.members.iter().enumerate().filter(|(rank, _)| !suspects(&process).contains(&Rank::new(*rank)));
        let loyal = |node: &NodeId| (0..leader.index()).map(Rank::new).find(|lower| !suspects(node).contains(lower));
        match trusted.into_iter().find_map(|(_, node)| loyal(node).map(|lower| (node, lower))) {
            Some((node, lower)) => {
                Err((Property::Leaders, format!("in view {view} {process} leads although {node} does not suspect rank {lower}")))
            }
            None => Ok(()),
        }
    }

    /// Nobody acts before more than half have accepted from one leader; a later leader then repeats it. In a view of
    /// two a witness may do.
    fn act(&mut self, process: NodeId, view: u64, leader: Rank) -> Result<(), Broken> {
        let end = self.views.entry(view).or_default();
        let (members, leaders) = (end.members.len(), (0..=leader.index()).map(Rank::new));
        let count = leaders.map(|leader| end.accepted.iter().filter(|(_, from)| *from == leader).count()).max().unwrap_or(0);
        if count * 2 > members || members == 2 {
            return Ok(());
        }
        Err((Property::Wedge, format!("{process} ends view {view} when {count} of {members} members have accepted where it ends")))
    }
}
