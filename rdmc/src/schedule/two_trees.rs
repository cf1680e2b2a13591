//! Two trees: even blocks go down one binary tree, odd blocks down another, and who passes blocks on in one is a leaf
//! in the other.
//!
//! The root sends every block once, block t in step t. So messages that follow each other fill the whole line, which
//! the binomial pipeline cannot do: its root sends its last block log2 n times.
//!
//! # The trees
//!
//! The members but the root stand in a row, at places 1 to p. In the first tree place x hangs under the next multiple
//! of twice its lowest bit: 1 and 3 under 2, 2 and 6 under 4. Where that lies beyond p, x hangs under `x - lowest bit`.
//! So odd places are leaves. In the second tree the members stand in the row turned round (p even) or moved on by one
//! place (p odd): whoever stood at an even place now stands at an odd one.
//!
//! # Steps
//!
//! A member gets one block of each tree in every two steps, and passes one on to each of its children in every two
//! steps. Each edge is used in even steps only or in odd steps only: its *colour*. The two edges into a member differ
//! in colour, and so do the two edges out of one. Such a colouring exists: ends and beginnings of edges form paths and
//! rings of even length. An edge below one of the other colour passes a block on in the next step, below one of its own
//! colour in the step after.
//!
//! Block k thus reaches a member `delay` steps after step k: 0 for the two that the root sends to, and 1 or 2 more for
//! each level. That makes at most b + 2 ceil(log2 n) steps.
//!
//! Example with 5 members and 4 blocks; the first tree is 4 > 2 > (1, 3), the second 1 > 3 > (4, 2):
//!
//! ```text
//! 0->4:b0 | 0->1:b1 4->2:b0 | 0->4:b2 1->3:b1 2->1:b0 | 0->1:b3 2->3:b0 3->4:b1 4->2:b2
//!         | 1->3:b3 2->1:b2 3->2:b1 | 2->3:b2 3->4:b3 | 3->2:b3
//! ```
//!
//! Source: Sanders, Speck, Traff, "Two-tree algorithms for full bandwidth broadcast, reduction and scan", Parallel
//! Computing 35 (2009), sections 2 and 3.

use super::Hop;

/// The two trees of a group and the delays in them.
#[derive(Clone, Debug)]
pub(super) struct Trees {
    trees: [Tree; 2],
}

/// One of them. Vectors are indexed by vertex; the root's places are unused.
#[derive(Clone, Debug)]
struct Tree {
    parents: Vec<u32>,
    children: Vec<[Option<u32>; 2]>,
    /// Steps from the root's send of a block to its arrival.
    delays: Vec<u64>,
}

impl Trees {
    /// Those of `members` members, at least 2.
    pub(super) fn new(members: u32) -> Trees {
        let mut trees = [Tree::new(members, |vertex| vertex), Tree::new(members, |vertex| second_place(vertex, members - 1))];
        let colours = colours(&trees, members);
        trees.iter_mut().for_each(|tree| tree.set_delays(&colours));
        Trees { trees }
    }

    pub(super) fn steps(&self, blocks: u32) -> u64 {
        let blocks = u64::from(blocks);
        let of_tree = |(number, tree): (u64, &Tree)| {
            // The last block that goes down this tree: the last one of all, or the one before it.
            let last = (blocks - 1).checked_sub(u64::from((blocks - 1) % 2 != number))?;
            Some(last + tree.delays.iter().max()? + 1)
        };
        (0..).zip(&self.trees).filter_map(of_tree).max().unwrap_or(0)
    }

    pub(super) fn send(&self, blocks: u32, vertex: u32, step: u64) -> Option<Hop> {
        let child = |(number, tree): (u64, &Tree)| {
            let mut children = tree.children[vertex as usize].into_iter().flatten();
            children.find_map(|peer| Some(Hop { peer, block: tree.block_into(number, peer, blocks, step)? }))
        };
        (0..).zip(&self.trees).find_map(child)
    }

    pub(super) fn receive(&self, blocks: u32, vertex: u32, step: u64) -> Option<Hop> {
        if vertex == 0 {
            return None;
        }
        let parent = |(number, tree): (u64, &Tree)| {
            Some(Hop { peer: tree.parents[vertex as usize], block: tree.block_into(number, vertex, blocks, step)? })
        };
        (0..).zip(&self.trees).find_map(parent)
    }
}

impl Tree {
    /// The tree in which `place` says where each vertex stands in the row; `place` is undone by the place's vertex.
    fn new(members: u32, place: impl Fn(u32) -> u32) -> Tree {
        let row = members - 1;
        let mut vertices = vec![0; members as usize];
        (1..members).for_each(|vertex| vertices[place(vertex) as usize] = vertex);
        let mut tree =
            Tree { parents: vec![0; members as usize], children: vec![[None; 2]; members as usize], delays: vec![0; members as usize] };
        for vertex in 1..members {
            let parent = place_above(place(vertex), row).map_or(0, |above| vertices[above as usize]);
            tree.parents[vertex as usize] = parent;
            let [first, second] = &mut tree.children[parent as usize];
            *if first.is_none() { first } else { second } = Some(vertex);
        }
        tree
    }

    /// The other child of a vertex's parent.
    fn sibling(&self, vertex: u32) -> Option<u32> {
        let children = self.children[self.parents[vertex as usize] as usize];
        children.into_iter().flatten().find(|&other| other != vertex)
    }

    /// Delays from the top down: an edge is used in the first later step of its colour.
    fn set_delays(&mut self, colours: &[bool]) {
        let mut below: Vec<u32> = self.children[0].into_iter().flatten().collect();
        while let Some(vertex) = below.pop() {
            let children = self.children[vertex as usize];
            for child in children.into_iter().flatten() {
                let same = colours[child as usize] == colours[vertex as usize];
                self.delays[child as usize] = self.delays[vertex as usize] + if same { 2 } else { 1 };
                below.push(child);
            }
        }
    }

    /// The block of tree `number` that comes into `vertex` in `step`.
    fn block_into(&self, number: u64, vertex: u32, blocks: u32, step: u64) -> Option<u32> {
        let block = step.checked_sub(self.delays[vertex as usize])?;
        (block < u64::from(blocks) && block % 2 == number).then_some(block as u32)
    }
}

/// Where a vertex stands in the row of the second tree: whoever stands at an even place of the first stands at an odd
/// one.
fn second_place(vertex: u32, row: u32) -> u32 {
    match row.is_multiple_of(2) {
        true => row + 1 - vertex,
        false if vertex == 1 => row,
        false => vertex - 1,
    }
}

/// The place under which `place` hangs in a row of places 1 to `row`; none for the highest.
///
/// Worked example, a row of 5: 1 and 3 hang under 2, 2 and 5 under 4 (5 would hang under 6), and 4 is the highest.
fn place_above(place: u32, row: u32) -> Option<u32> {
    let bit = place & place.wrapping_neg();
    let (lower, upper) = (place - bit, u64::from(place - bit) | u64::from(bit) << 1);
    if upper <= u64::from(row) { Some(upper as u32) } else { (lower > 0).then_some(lower) }
}

/// A colour for each member: that of the edge into it in the first tree; the one in the second tree has the other.
fn colours(trees: &[Tree; 2], members: u32) -> Vec<bool> {
    let mut colours = vec![None; members as usize];
    // The root sends to the first tree in even steps and to the second in odd ones: both members that it sends to have
    // the first colour.
    let tops = trees.iter().flat_map(|tree| tree.children[0]).flatten();
    for start in tops.chain(1..members) {
        if colours[start as usize].is_some() {
            continue;
        }
        colours[start as usize] = Some(false);
        let mut reached = vec![start];
        while let Some(vertex) = reached.pop() {
            let other = colours[vertex as usize].map(|colour| !colour);
            for sibling in trees.iter().filter_map(|tree| tree.sibling(vertex)) {
                if colours[sibling as usize].is_none() {
                    colours[sibling as usize] = other;
                    reached.push(sibling);
                }
            }
        }
    }
    colours.into_iter().map(|colour| colour.unwrap_or(false)).collect()
}
