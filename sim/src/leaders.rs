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
    /// Who has just accepted from a leader that it suspects: right only if it was told so by one that has acted, and so
    /// acts in the same turn.
    late: Option<(NodeId, u64, Rank)>,
}

#[derive(Default)]
struct End {
    members: Vec<NodeId>,
    /// How many of them vote.
    voters: usize,
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
        if let Some((process, view, leader)) = self.late.take_if(|(process, ..)| *process == event.process())
            && !matches!(event, Event::Trim { .. })
        {
            // It may come to lead in that turn too, and repeats what was decided.
            let leads = matches!(event, Event::Accept { leader: own, .. } if *own > leader);
            if leads || matches!(event, Event::Wedge { .. }) {
                self.late = Some((process, view, leader));
            } else {
                return Err((Property::Leaders, format!("in view {view} {process} accepts from rank {leader}, which it suspects")));
            }
        }
        match event {
            Event::Install { view, members, voters, .. } => {
                let end = self.views.entry(*view).or_default();
                end.members.clone_from(members);
                end.voters = *voters;
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
        // A learner may have to wait for what it lacks before it acts.
        let votes = end.members[..end.voters].contains(&process);
        if votes && end.suspects.get(&process).is_some_and(|suspects| suspects.contains(&leader)) {
            self.late = Some((process, view, leader));
        }
        if trimmed {
            end.accepted.insert((process, leader));
        }
        if let Some(before) = end.follows.insert(process, leader).filter(|before| *before > leader) {
            return Err((Property::Leaders, format!("in view {view} {process} follows rank {leader} after rank {before}")));
        }
        if end.members.get(leader.index()) != Some(&process) {
            return Ok(());
        }
        if leader.index() >= end.voters {
            return Err((Property::Leaders, format!("in view {view} {process} leads and has no vote")));
        }
        let none = BTreeSet::new();
        let suspects = |node: &NodeId| end.suspects.get(node).unwrap_or(&none);
        let trusted = end.members[..end.voters].iter().enumerate().filter(|(rank, _)| !suspects(&process).contains(&Rank::new(*rank)));
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
        let (voters, leaders) = (&end.members[..end.voters], (0..=leader.index()).map(Rank::new));
        let from = |leader: Rank| end.accepted.iter().filter(|(node, from)| *from == leader && voters.contains(node)).count();
        let count = leaders.map(from).max().unwrap_or(0);
        if count * 2 > voters.len() || voters.len() == 2 {
            return Ok(());
        }
        let of = voters.len();
        Err((Property::Wedge, format!("{process} ends view {view} when {count} of {of} voters have accepted where it ends")))
    }
}
