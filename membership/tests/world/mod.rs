//! A world of a few members, and all the ways it can go.

mod ways;

use std::collections::VecDeque;

use squall_membership::{Decision, Ends, Mutation, Newcomer, Phase, Protocol, Ranks, Row, What, Witness};
use squall_transport::{NodeId, Rank};
pub(crate) use ways::{explore, walk};

/// What may go wrong or be asked for, at most so often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Limits {
    pub(crate) crashes: u8,
    pub(crate) false_suspicions: u8,
    pub(crate) leaves: u8,
    pub(crate) joins: u8,
}

/// One member: its protocol and the count that stands for messages.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Member {
    protocol: Protocol,
    alive: bool,
    /// By sender: messages that are here, and messages delivered. The first ranks send.
    received: Vec<u64>,
    delivered: Vec<u64>,
    /// What it told last.
    told: Row,
    /// Whom it has ever suspected.
    suspected: Ranks,
    last_leader: Rank,
    accepted_from: Option<Rank>,
}

/// Everything, at one moment.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct World {
    members: Vec<Member>,
    /// The first ones vote.
    voters: usize,
    /// A voter has died, or was suspected by another one.
    voter_hit: bool,
    /// With whom the witness sides.
    sided: Option<usize>,
    /// At `from * members + to`: said, not yet heard.
    queues: Vec<VecDeque<Row>>,
    left: Limits,
    mutation: Mutation,
    /// A majority is enough to deliver, and members that have stopped give each other what they lack.
    fills: bool,
    /// They are given nothing that nobody can have delivered.
    sparing: bool,
    broken: Option<String>,
}

/// What may happen next.
#[derive(Clone, Copy, Debug)]
enum Action {
    /// `to` hears the next thing that `from` said, or all of it at once.
    Hear {
        from: usize,
        to: usize,
        all: bool,
    },
    Receive {
        by: usize,
        sender: usize,
    },
    Deliver {
        by: usize,
        sender: usize,
    },
    Give {
        to: usize,
        sender: usize,
    },
    Crash(usize),
    Suspect {
        by: usize,
        whom: usize,
    },
    Leave(usize),
    Join(usize),
    /// A learner has the state.
    Whole(usize),
    /// What a learner lacks at the end of the view never comes: it stops.
    Stranded(usize),
    /// A learner stops because it is at odds with the voters.
    GiveUp(usize),
    /// One of two voters asks the witness.
    Ask(usize),
}

const MESSAGES: u64 = 1;

impl World {
    pub(crate) fn new(members: usize, senders: usize, left: Limits, mutation: Mutation) -> World {
        World::with_learners(members, 0, senders, left, mutation)
    }

    pub(crate) fn with_learners(voters: usize, learners: usize, senders: usize, left: Limits, mutation: Mutation) -> World {
        let members = voters + learners;
        let nodes: Vec<NodeId> = (0..members as u64).map(|rank| NodeId(100 + rank)).collect();
        let member = |rank: usize| {
            let mut protocol = Protocol::with_voters(Rank::new(rank), nodes.clone(), voters, senders, Ranks::EMPTY);
            protocol.set_mutation(mutation);
            if mutation == Mutation::WholeEarly {
                protocol.say_whole();
            }
            let received = (0..senders).map(|sender| if sender == rank { MESSAGES } else { 0 }).collect();
            let (told, suspected, last_leader) = (Row::default(), Ranks::EMPTY, Rank(0));
            Member { protocol, alive: true, received, delivered: vec![0; senders], told, suspected, last_leader, accepted_from: None }
        };
        let queues = vec![VecDeque::new(); members * members];
        World {
            members: (0..members).map(member).collect(),
            voters,
            voter_hit: false,
            sided: None,
            queues,
            left,
            mutation,
            fills: false,
            sparing: false,
            broken: None,
        }
    }

    /// A majority is enough to deliver here.
    pub(crate) fn filling(mut self) -> World {
        self.members.iter_mut().for_each(|member| member.protocol.fill_up());
        World { fills: true, ..self }
    }

    /// And views are cut before what nobody can have delivered, as if all messages were large.
    pub(crate) fn sparing(self) -> World {
        World { sparing: true, ..self }
    }

    /// Whether a member that has stopped, and hears and is heard, has what this one lacks.
    fn is_given(&self, to: usize, sender: usize) -> bool {
        let hears = |one: usize, other: usize| self.members[one].protocol.hears(Rank::new(other));
        let stopped = |member: &Member| member.goes_on() && member.protocol.row().received.is_some();
        let gives = |from: usize| stopped(&self.members[from]) && self.members[from].received[sender] == MESSAGES && hears(from, to);
        let lacks = |to: &Member| stopped(to) && to.received[sender] < MESSAGES && !to.protocol.row().installed;
        self.fills && lacks(&self.members[to]) && (0..self.voters).any(|from| from != to && gives(from) && hears(to, from))
    }

    /// What may happen next, and whether all that must happen has happened.
    fn actions(&self) -> (Vec<Action>, bool) {
        let mut actions = Vec::new();
        let count = self.members.len();
        for from in 0..count {
            for to in (0..count).filter(|&to| to != from) {
                let waiting = self.queues[from * count + to].len();
                if self.members[to].goes_on() && waiting > 0 && self.members[to].protocol.hears(Rank::new(from)) {
                    actions.push(Action::Hear { from, to, all: false });
                    if waiting > 1 {
                        actions.push(Action::Hear { from, to, all: true });
                    }
                }
            }
        }
        let doubts = |by: usize, whom: usize| {
            let protocol = &self.members[by].protocol;
            self.members[by].goes_on() && protocol.waits_for(Rank::new(whom)) && !protocol.suspects().has(Rank::new(whom))
        };
        let pairs = || (0..count).flat_map(|by| (0..count).map(move |whom| (by, whom)));
        // Whoever is dead or has stopped falls silent, and is suspected in the end.
        let silent = |whom: usize| !self.members[whom].goes_on();
        actions.extend(pairs().filter(|&(by, whom)| doubts(by, whom) && silent(whom)).map(|(by, whom)| Action::Suspect { by, whom }));
        // What would take too long is not waited for.
        for by in (0..count).filter(|&by| self.members[by].goes_on()) {
            let protocol = &self.members[by].protocol;
            let late = |&whom: &usize| {
                let rank = Rank::new(whom);
                let kept = protocol.waits_for_learners_only() && protocol.waits_for(rank);
                !silent(whom) && (kept || protocol.laggards().has(rank))
            };
            actions.extend((0..count).filter(late).map(|whom| Action::Suspect { by, whom }));
            if protocol.phase() == Phase::Decided {
                actions.push(Action::Stranded(by));
            }
            if protocol.phase() == Phase::Split {
                actions.push(Action::Ask(by));
            }
            if protocol.at_odds_with().is_some() {
                actions.push(Action::GiveUp(by));
            }
        }
        let gifts = (0..self.voters).flat_map(|to| (0..self.members[to].received.len()).map(move |sender| (to, sender)));
        actions.extend(gifts.filter(|&(to, sender)| self.is_given(to, sender)).map(|(to, sender)| Action::Give { to, sender }));
        let rests = actions.is_empty();
        for rank in 0..count {
            let member = &self.members[rank];
            if !member.goes_on() {
                continue;
            }
            let votes = rank < self.voters;
            let open = if votes { member.protocol.row().received.is_none() } else { !member.protocol.row().installed };
            if !votes && !member.protocol.row().whole && self.mutation != Mutation::WholeEarly {
                actions.push(Action::Whole(rank));
            }
            for sender in 0..member.received.len() {
                if (open || self.mutation == Mutation::WedgesLate) && member.received[sender] < MESSAGES {
                    actions.push(Action::Receive { by: rank, sender });
                }
                let having = || self.members[..self.voters].iter().filter(|other| other.received[sender] == MESSAGES).count();
                // What a voter is given once it has stopped it does not say to have.
                let said = |voter: &Member| voter.protocol.row().received.as_ref().map_or(voter.received[sender], |said| said[sender]);
                let saying = || self.members[..self.voters].iter().filter(|voter| said(voter) == MESSAGES).count();
                let majority = || self.fills && member.received[sender] == MESSAGES && saying() * 2 > self.voters;
                let stable = || having() == self.voters || majority();
                if open && member.delivered[sender] < MESSAGES && stable() {
                    actions.push(Action::Deliver { by: rank, sender });
                }
            }
            if self.left.crashes > 0 {
                actions.push(Action::Crash(rank));
            }
            if self.left.leaves > 0 && open {
                actions.push(Action::Leave(rank));
            }
            if self.left.joins > 0 && member.protocol.decision().is_none() {
                actions.push(Action::Join(rank));
            }
        }
        if self.left.false_suspicions > 0 {
            let wrongly = pairs().filter(|&(by, whom)| doubts(by, whom) && !silent(whom));
            actions.extend(wrongly.map(|(by, whom)| Action::Suspect { by, whom }));
        }
        (actions, rests)
    }

    fn act(&mut self, action: Action) {
        let count = self.members.len();
        match action {
            Action::Hear { from, to, all } => {
                let queue = &mut self.queues[from * count + to];
                let row = if all { queue.drain(..).next_back() } else { queue.pop_front() };
                self.members[to].protocol.see(Rank::new(from), row.expect("something was said"));
                self.run(to);
            }
            Action::Receive { by, sender } | Action::Give { to: by, sender } => {
                self.members[by].received[sender] = MESSAGES;
                self.run(by);
            }
            Action::Deliver { by, sender } => self.members[by].delivered[sender] = MESSAGES,
            Action::Crash(rank) => {
                self.left.crashes -= 1;
                self.voter_hit |= rank < self.voters;
                self.members[rank].alive = false;
            }
            Action::Suspect { by, whom } => {
                let protocol = &self.members[by].protocol;
                let late = protocol.laggards().has(Rank::new(whom)) || protocol.row().installed;
                self.left.false_suspicions -= u8::from(self.members[whom].goes_on() && !late);
                self.voter_hit |= by < self.voters && whom < self.voters;
                self.members[by].protocol.suspect(Rank::new(whom));
                self.run(by);
            }
            Action::Leave(rank) => {
                self.left.leaves -= 1;
                self.members[rank].protocol.leave();
                self.run(rank);
            }
            Action::Join(rank) => {
                self.left.joins -= 1;
                self.members[rank].protocol.request(Newcomer { node: 7, contact: [0; 3] }).expect("there is room");
                self.run(rank);
            }
            Action::Whole(rank) => {
                self.members[rank].protocol.say_whole();
                self.run(rank);
            }
            Action::Stranded(rank) => self.members[rank].alive = false,
            Action::Ask(rank) => {
                let sides = *self.sided.get_or_insert(rank) == rank;
                self.members[rank].protocol.hear_witness(if sides { Witness::Sides } else { Witness::Refuses });
                self.run(rank);
            }
            Action::GiveUp(rank) => {
                self.members[rank].protocol.give_up();
                self.run(rank);
            }
        }
    }

    /// The member does what it can, and tells the others what is new.
    fn run(&mut self, rank: usize) {
        let count = self.members.len();
        loop {
            let member = &mut self.members[rank];
            if self.fills {
                let cut = |ends: Ends| if self.sparing { (ends.clone(), ends.chosen) } else { (ends.clone(), ends.most) };
                let cut = member.protocol.ends().map(cut);
                member.protocol.hold(member.received.clone(), cut);
            }
            let mut moved = member.protocol.advance();
            match member.protocol.phase() {
                Phase::Wedging => {
                    member.protocol.freeze(member.received.clone());
                    moved = true;
                }
                Phase::Decided if !member.lacks_any() => {
                    self.check_decision(rank);
                    self.members[rank].protocol.install();
                    moved = true;
                }
                _ => {}
            }
            let member = &mut self.members[rank];
            if let Some(tail) = member.protocol.tail()
                && member.has(&tail)
                && member.protocol.row().received.as_ref() != Some(&member.received)
            {
                member.protocol.reach(member.received.clone());
                moved = true;
            }
            self.check_member(rank);
            let member = &mut self.members[rank];
            if *member.protocol.row() != member.told && member.goes_on() {
                member.told = member.protocol.row().clone();
                let told = member.told.clone();
                (0..count).filter(|&to| to != rank).for_each(|to| self.queues[rank * count + to].push_back(told.clone()));
            }
            if !moved {
                return;
            }
        }
    }

    fn breaks(&mut self, what: impl FnOnce() -> String) {
        self.broken.get_or_insert_with(what);
    }

    /// What must hold of one member at any time.
    fn check_member(&mut self, rank: usize) {
        let member = &mut self.members[rank];
        let suspects = member.protocol.suspects();
        let (forgot, back) = (!suspects.has_all(&member.suspected), member.protocol.leader() < member.last_leader);
        member.suspected = suspects;
        member.last_leader = member.protocol.leader();
        if forgot {
            self.breaks(|| format!("property 19: {rank} forgot a suspicion"));
        }
        if back {
            self.breaks(|| format!("property 18: {rank} follows a lower rank than before"));
        }
        // What an acted member accepted is read from others that have acted, whoever led it.
        let protocol = &self.members[rank].protocol;
        if let Some(leader) = protocol.row().accepted.leader
            && protocol.decision().is_none()
            && protocol.votes(Rank::new(rank))
            && leader < protocol.leader()
            && self.members[rank].accepted_from != Some(leader)
        {
            self.breaks(|| format!("property 18: {rank} accepts from rank {leader}, which it suspects"));
        }
        self.members[rank].accepted_from = self.members[rank].protocol.row().accepted.leader;
        let accepted = &self.members[rank].protocol.row().accepted;
        if accepted.leader != Some(Rank::new(rank)) || !self.members[rank].goes_on() {
            return;
        }
        if rank >= self.voters {
            return self.breaks(|| format!("property 18: {rank} leads and has no vote"));
        }
        // One that leads has all who follow it behind it.
        let before = Ranks::below(Rank::new(rank));
        let follows = |other: usize| suspects.has(Rank::new(other)) || self.members[other].protocol.suspects().has_all(&before);
        if !(0..self.voters).all(follows) {
            self.breaks(|| format!("property 18: {rank} leads while others may still follow one before it"));
        }
    }

    /// What must hold when a member is about to act on its decision.
    fn check_decision(&mut self, rank: usize) {
        let decision = self.members[rank].protocol.decision().cloned().expect("it is decided");
        let beyond = |counts: &[u64]| counts.iter().zip(&decision.trim).any(|(count, trim)| count > trim);
        let (votes, witnessed) = (rank < self.voters, self.voters == 2 && self.sided.is_some());
        let needed = if witnessed { 1 } else { self.voters / 2 + 1 };
        let echo = |member: &&Member| {
            let accepted = &member.protocol.row().accepted;
            // Who has acted may lead next, and say it once more, while others are yet to be filled.
            (accepted.leader >= Some(decision.leader) || self.fills) && accepted.trim.as_ref() == Some(&decision.trim)
        };
        if self.members[..self.voters].iter().filter(echo).count() < needed {
            self.breaks(|| format!("property 17: {rank} acts on a trim that no majority has echoed"));
        }
        if self.members.iter().any(|member| beyond(&member.delivered)) {
            self.breaks(|| "property 16: the trim cuts off what was delivered".into());
        }
        if self.members[rank].received.iter().zip(&decision.trim).any(|(received, trim)| received < trim) {
            self.breaks(|| format!("property 16: the trim keeps what {rank} has not received"));
        }
        if votes && !self.fills && self.members[rank].protocol.row().received.as_ref() != Some(&self.members[rank].received) {
            self.breaks(|| format!("property 17: {rank} received after it had wedged"));
        }
        let lost = self.members[rank].protocol.suspects().iter().filter(|lost| lost.index() < self.voters).count();
        if votes && lost * 2 >= self.voters && !witnessed {
            self.breaks(|| format!("property 4: {rank} suspects half or more and goes on"));
        }
        if decision.changes.iter().any(|change| change.by != decision.changes[0].by) {
            self.breaks(|| "property 6: changes of two leaders are blended".into());
        }
        let promoted =
            decision.changes.iter().filter_map(|change| if let What::Vote(rank) = change.what { Some(rank.index()) } else { None });
        if let Some(early) = promoted.into_iter().find(|&rank| !self.members[rank].protocol.row().whole) {
            self.breaks(|| format!("property 31: {early} votes and is not whole"));
        }
        let removed = |rank: Rank| decision.changes.iter().any(|change| change.what == What::Remove(rank));
        let by_others = |lost: &Rank| {
            let voters = (0..self.voters).filter(|&voter| !removed(Rank::new(voter)));
            voters.map(|voter| self.members[voter].protocol.suspects()).any(|suspects| suspects.has(*lost))
        };
        if let Some(missed) = self.members[rank].protocol.lost().iter().find(|lost| !votes && !by_others(lost)) {
            self.breaks(|| format!("property 28: {rank} goes on without {missed}, which only those suspect that are left out"));
        }
        if decision.voters == 0 && !decision.members.is_empty() {
            self.breaks(|| "property 31: nobody votes in the next view".into());
        }
        let same = |other: &Decision| (&other.trim, &other.members, other.voters) == (&decision.trim, &decision.members, decision.voters);
        if !self.members.iter().filter_map(|member| member.protocol.decision()).all(same) {
            self.breaks(|| "property 4, 16: two members decided differently".into());
        }
        self.members[rank].delivered = decision.trim;
    }

    /// What must hold once nothing more must happen.
    fn rested(&self) -> Option<String> {
        let settled =
            |member: &Member| matches!(member.protocol.phase(), Phase::Steady | Phase::Stopped(_)) || member.protocol.is_settled();
        if let Some(rank) = (0..self.members.len()).find(|&rank| self.members[rank].alive && !settled(&self.members[rank])) {
            return Some(format!("property 25: {rank} waits for ever in {:?}", self.members[rank].protocol.phase()));
        }
        let stopped = |member: &Member| matches!(member.protocol.phase(), Phase::Stopped(_));
        if !self.voter_hit && self.members[..self.voters].iter().any(stopped) {
            return Some("property 31: a voter stopped though only learners were hit".into());
        }
        let steady = |member: &Member| member.protocol.phase() == Phase::Steady;
        let installed = |member: &Member| member.protocol.phase() == Phase::Installed;
        let live = || self.members.iter().filter(|member| member.alive);
        if live().any(installed) && live().any(steady) {
            return Some("property 25: some went on and some stayed behind".into());
        }
        None
    }
}

impl Member {
    fn goes_on(&self) -> bool {
        self.alive && !matches!(self.protocol.phase(), Phase::Stopped(_))
    }

    fn has(&self, counts: &[u64]) -> bool {
        self.received.iter().zip(counts).all(|(received, count)| received >= count)
    }

    /// Whether it lacks anything of what is to be delivered.
    fn lacks_any(&self) -> bool {
        self.protocol.decision().is_some_and(|decision| !self.has(&decision.trim)) && self.protocol.me().index() >= self.protocol.voters()
    }
}
