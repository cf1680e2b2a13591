//! The smallest chains, exhaustively: three members, and every order in which messages, decisions and words can land,
//! be passed on and be taken note of, with an end of the view at any moment, for whoever goes on.
//!
//! A link lands what was written to it in that order. A member passes each stream on when it likes, so that decisions
//! overtake the messages that they are about.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering::Relaxed;

use squall_orderer::{Chain, Columns, Line, Mutation, Orderer};
use squall_sst::{LayoutBuilder, Table};
use squall_transport::{Outbox, Rank, Region, RegionOptions, Write};

const MEMBERS: usize = 3;
/// The head's place among the senders, and its rank.
const HEAD: usize = 0;

/// What is on its way on a link.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Item {
    /// All of a sender's stream below this index.
    Stream { sender: usize, until: u64 },
    /// A word of the table.
    Word { offset: u64, value: u64 },
}

/// What stands at an index of the head's stream.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Record {
    Message,
    Decision(Vec<u8>),
}

#[derive(Clone)]
struct Member {
    order: Chain,
    /// Its copy of the table.
    words: Vec<u64>,
    /// Of each sender: what is here, and what was passed on of it.
    received: Vec<u64>,
    passed: Vec<u64>,
    delivered: Vec<(usize, u64)>,
}

/// Everything, at one moment.
#[derive(Clone)]
struct World {
    members: Vec<Member>,
    /// At `from * MEMBERS + to`.
    links: Vec<VecDeque<Item>>,
    head: Vec<Record>,
    /// Of each sender: how long its stream is, and how many messages it is yet to send.
    lengths: Vec<u64>,
    left: Vec<u64>,
    broken: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Send(usize),
    Decide,
    Pass {
        member: usize,
        sender: usize,
    },
    /// The next thing lands, or all that is on its way; then the member takes note.
    Land {
        from: usize,
        to: usize,
        all: bool,
    },
}

/// The table of each member, whose words are those of the world that is looked at.
struct Tables {
    regions: Vec<Region>,
    words: usize,
    tables: Vec<Table>,
    columns: Columns,
    lines: Vec<Line>,
}

impl Tables {
    fn new(senders: usize) -> Tables {
        let (layout, columns) = LayoutBuilder::compose(MEMBERS, |builder| Columns::compose(builder, senders));
        let region = |_| Region::allocate(layout.bytes() as usize, &RegionOptions::default()).unwrap();
        let regions: Vec<Region> = (0..MEMBERS).map(region).collect();
        let tables = (0..MEMBERS).map(|me| Table::new(regions[me].clone(), &layout, Rank::new(me))).collect();
        let ranks: Vec<Rank> = (0..senders).map(Rank::new).collect();
        let words = layout.bytes() as usize / 8;
        Tables { regions, words, tables, columns, lines: (0..MEMBERS).map(|me| Line::new(&ranks, MEMBERS, Rank::new(me))).collect() }
    }

    fn world(&self, messages: &[u64], mutation: Mutation) -> World {
        let senders: Vec<Rank> = (0..messages.len()).map(Rank::new).collect();
        let member = |me| {
            let mut order = Chain::new(self.columns, MEMBERS, MEMBERS, &senders, Rank::new(me));
            order.set_mutation(mutation);
            let none = vec![0; messages.len()];
            Member { order, words: vec![0; self.words], received: none.clone(), passed: none, delivered: Vec::new() }
        };
        World {
            members: (0..MEMBERS).map(member).collect(),
            links: vec![VecDeque::new(); MEMBERS * MEMBERS],
            head: Vec::new(),
            lengths: vec![0; messages.len()],
            left: messages.to_vec(),
            broken: None,
        }
    }

    /// Lends the member's words to its table.
    fn with<T>(&self, me: usize, words: &mut [u64], what: impl FnOnce(&Table) -> T) -> T {
        let at = |index: usize| self.regions[me].word(8 * index as u64);
        words.iter().enumerate().for_each(|(index, &word)| at(index).store(word, Relaxed));
        let done = what(&self.tables[me]);
        words.iter_mut().enumerate().for_each(|(index, word)| *word = at(index).load(Relaxed));
        done
    }

    fn actions(&self, world: &World) -> Vec<Action> {
        let senders = 0..world.lengths.len();
        let mut actions: Vec<Action> = senders.clone().filter(|&sender| world.left[sender] > 0).map(Action::Send).collect();
        for from in 0..MEMBERS {
            for to in 0..MEMBERS {
                let waiting = world.links[from * MEMBERS + to].len();
                actions.extend((waiting > 0).then_some(Action::Land { from, to, all: false }));
                actions.extend((waiting > 1).then_some(Action::Land { from, to, all: true }));
            }
            let Member { received, passed, .. } = &world.members[from];
            let passes = |&sender: &usize| received[sender] > passed[sender] && self.lines[from].passes_to(Rank::new(sender)).is_some();
            actions.extend(senders.clone().filter(passes).map(|sender| Action::Pass { member: from, sender }));
        }
        let mut head = world.members[HEAD].clone();
        if self.decide(&mut head, world.lengths[HEAD]).is_some() {
            actions.push(Action::Decide);
        }
        actions
    }

    fn decide(&self, head: &mut Member, next_index: u64) -> Option<Vec<u8>> {
        let mut decision = Vec::new();
        let order = &mut head.order;
        let decides = self.with(HEAD, &mut head.words, |table| order.decide(table, 1, next_index, &mut decision).unwrap());
        decides.then_some(decision)
    }

    fn act(&self, world: &mut World, action: Action) {
        match action {
            Action::Send(sender) => {
                world.left[sender] -= 1;
                self.append(world, sender, Record::Message);
            }
            Action::Decide => {
                let decision = self.decide(&mut world.members[HEAD], world.lengths[HEAD]).expect("it decides");
                self.append(world, HEAD, Record::Decision(decision));
            }
            Action::Pass { member, sender } => {
                let to = self.lines[member].passes_to(Rank::new(sender)).expect("somebody comes behind").index();
                let until = world.members[member].received[sender];
                world.members[member].passed[sender] = until;
                world.links[member * MEMBERS + to].push_back(Item::Stream { sender, until });
            }
            Action::Land { from, to, all } => {
                let link = &mut world.links[from * MEMBERS + to];
                let landing = if all { link.len() } else { 1 };
                let items: Vec<Item> = link.drain(..landing).collect();
                for item in items {
                    match item {
                        Item::Stream { sender, until } => world.receive(to, sender, until),
                        Item::Word { offset, value } => world.members[to].words[offset as usize / 8] = value,
                    }
                }
                self.take_note(world, to);
            }
        }
    }

    /// One more record of a sender's stream, on its way to whom it hands it.
    fn append(&self, world: &mut World, sender: usize, record: Record) {
        if sender == HEAD {
            world.head.push(record);
        }
        world.lengths[sender] += 1;
        let until = world.lengths[sender];
        world.receive(sender, sender, until);
        for to in self.lines[sender].hands_to(MEMBERS) {
            world.links[sender * MEMBERS + to.index()].push_back(Item::Stream { sender, until });
        }
        self.take_note(world, sender);
    }

    /// A member's turn.
    fn take_note(&self, world: &mut World, me: usize) {
        let (mut outbox, mut runs) = (Outbox::new(MEMBERS), Vec::new());
        let Member { order, words, .. } = &mut world.members[me];
        self.with(me, words, |table| {
            order.acknowledge(table, &mut outbox, true);
            order.refresh(table).unwrap();
            while let Some(run) = order.next(u64::MAX) {
                runs.push(run);
            }
            order.delivered(table, &mut outbox);
        });
        for to in (0..MEMBERS).filter(|&to| to != me) {
            while let Some(write) = outbox.pop(Rank::new(to)) {
                let Write::Word { at, value } = write else { panic!("an order writes words") };
                world.links[me * MEMBERS + to].push_back(Item::Word { offset: at.offset, value });
            }
        }
        for run in runs {
            let lacks = |member: &Member| member.received[run.sender] < run.index + run.count;
            if world.members.iter().any(lacks) {
                world.broken.get_or_insert(format!("{me} delivers {run:?}, which not all have"));
            }
            world.members[me].delivered.extend((run.index..run.index + run.count).map(|index| (run.sender, index)));
        }
    }

    /// Goes every way until something is broken. How many moments there are, and what broke.
    fn explore(&self, start: World) -> (usize, Option<String>) {
        let (mut seen, mut stack) = (HashSet::new(), vec![start]);
        while let Some(world) = stack.pop() {
            if !seen.insert(world.fingerprint()) {
                continue;
            }
            let actions = self.actions(&world);
            let all: u64 = world.lengths.iter().sum();
            let is_done = |member: &Member| member.delivered.len() as u64 == all;
            if actions.is_empty() && !world.members.iter().all(is_done) {
                return (seen.len(), Some("something is delivered nowhere though nothing is on its way".into()));
            }
            if let Some(what) = world.ends_badly() {
                return (seen.len(), Some(what));
            }
            for action in actions {
                let mut next = world.clone();
                self.act(&mut next, action);
                if let Some(what) = next.broken {
                    return (seen.len(), Some(format!("{what}, at {action:?}")));
                }
                stack.push(next);
            }
        }
        (seen.len(), None)
    }
}

impl World {
    fn receive(&mut self, member: usize, sender: usize, until: u64) {
        let Member { order, received, .. } = &mut self.members[member];
        if sender == HEAD {
            for index in received[sender]..until {
                if let Record::Decision(decision) = &self.head[index as usize] {
                    assert!(order.decided(HEAD, index, decision), "it is one");
                }
            }
        }
        received[sender] = until;
        order.received(sender, until, 0);
    }

    /// What tells this moment from others: an order is a function of what it has heard.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.links, &self.head, &self.lengths, &self.left).hash(&mut hasher);
        for Member { words, received, passed, delivered, .. } in &self.members {
            (words, received, passed, delivered).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// What goes wrong if the view ends now for any of the members, whoever they are.
    fn ends_badly(&self) -> Option<String> {
        (1usize..1 << MEMBERS).find_map(|bits| {
            let survivors: Vec<usize> = (0..MEMBERS).filter(|at| bits >> at & 1 == 1).collect();
            let least = |sender: usize| survivors.iter().map(|&at| self.members[at].received[sender]).min().unwrap_or(0);
            let trim: Vec<u64> = (0..self.lengths.len()).map(least).collect();
            let ends: Vec<Vec<(usize, u64)>> = survivors.iter().map(|&at| self.members[at].delivered_to(&trim)).collect();
            let kept = trim.iter().sum::<u64>() as usize;
            let fine = ends.iter().all(|end| *end == ends[0] && end.len() == kept)
                && self.members.iter().all(|member| ends[0].starts_with(&member.delivered));
            (!fine).then(|| format!("{survivors:?} go on with {ends:?} of {trim:?}"))
        })
    }
}

impl Member {
    /// All that it has delivered once the view has ended at `trim`.
    fn delivered_to(&self, trim: &[u64]) -> Vec<(usize, u64)> {
        let (mut order, mut delivered) = (self.order.clone(), self.delivered.clone());
        while let Some(run) = order.next_to(trim) {
            delivered.extend((run.index..run.index + run.count).map(|index| (run.sender, index)));
        }
        delivered
    }
}

fn explored(messages: &[u64], mutation: Mutation) -> (usize, Option<String>) {
    let tables = Tables::new(messages.len());
    tables.explore(tables.world(messages, mutation))
}

#[test]
fn whatever_lands_when_all_deliver_the_same_and_so_does_whoever_goes_on() {
    for messages in [&[2][..], &[1, 1], &[0, 2], &[0, 1, 1]] {
        let (moments, broken) = explored(messages, Mutation::None);
        println!("{messages:?}: {moments} moments");
        assert_eq!(broken, None, "{messages:?} after {moments}");
        assert!(moments > 100, "{messages:?}: {moments}");
    }
}

#[test]
fn a_broken_rule_shows() {
    let broken =
        [Mutation::ForwardedEarly, Mutation::LinkSkipped, Mutation::TailIgnored, Mutation::DecidedAhead, Mutation::CutDecisionsCount];
    for mutation in broken {
        let found = [&[1, 1][..], &[0, 1, 1]].into_iter().find_map(|messages| explored(messages, mutation).1);
        assert!(found.is_some(), "{mutation:?} was not caught");
    }
}
