//! The ways that a world can go: all of them, or one by chance.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use squall_transport::sim::Random;

use super::{Action, World};

/// What an exploration came to.
pub(crate) struct Found {
    pub(crate) states: usize,
    pub(crate) rests: usize,
    pub(crate) broken: Option<String>,
}

/// Goes every way from `start`, until something is broken.
pub(crate) fn explore(start: &World) -> Found {
    let (mut seen, mut found) = (HashSet::new(), Found { states: 0, rests: 0, broken: None });
    let mut stack = vec![start.clone()];
    while let Some(world) = stack.pop() {
        let mut hasher = DefaultHasher::new();
        world.hash(&mut hasher);
        if !seen.insert(hasher.finish()) {
            continue;
        }
        found.states += 1;
        let (actions, rests) = world.actions();
        if rests {
            found.rests += 1;
            found.broken = found.broken.or_else(|| world.rested());
        }
        for action in actions {
            let mut next = world.clone();
            next.act(action);
            found.broken = found.broken.or_else(|| next.broken.take().map(|what| format!("{what}, at {action:?}")));
            stack.push(next);
        }
        if found.broken.is_some() {
            break;
        }
    }
    found
}

/// Goes one way from `world` until it rests and chance says so, or something is broken.
pub(crate) fn walk(mut world: World, seed: u64) -> Option<String> {
    let mut random = Random::new(seed);
    loop {
        let (actions, rests) = world.actions();
        if rests && (actions.is_empty() || random.chance(100)) {
            return world.rested();
        }
        // Faults are rarer than words, so that they meet the protocol at each of its stages.
        let rare = |action: &Action| !matches!(action, Action::Hear { .. } | Action::Receive { .. } | Action::Deliver { .. });
        let action = random.pick(&actions);
        if rare(&action) && !rests && random.chance(700) {
            continue;
        }
        world.act(action);
        if let Some(what) = world.broken {
            return Some(format!("{what}, at {action:?}"));
        }
    }
}
