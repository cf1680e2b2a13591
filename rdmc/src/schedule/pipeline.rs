//! Binomial pipeline: blocks travel over the edges of a hypercube.
//!
//! # A power of two
//!
//! With n = 2^d members, step t uses dimension t mod d: every vertex v pairs with the vertex that differs in that bit.
//! The root injects block t in step t (the last block again and again at the end). Of the others, a vertex passes on
//! what its partner misses. Turn the number of the *receiver* right by t mod d (within d bits), so that the bit of this
//! step's dimension becomes bit 0:
//!
//! - bit 0 clear: the receiver is on the older side of the edge and gets block t - d, the one injected d steps ago;
//! - bit 0 set, and the lowest other set bit is q: it gets block t + q - d, at most b - 1;
//! - only bit 0 set: the giver is the root, and the block is t, at most b - 1.
//!
//! The root receives nothing. A vertex v > 0 whose highest set bit is h receives in step h and then in every step
//! from d to b + d - 2: b blocks, no step wasted.
//!
//! Example: d = 3, t = 4 (dimension 1), receiver 6 = 0b110. Turned right by one: 0b011; the lowest set bit above bit 0
//! is q = 1, so it gets block 4 + 1 - 3 = 2, from vertex 6 ^ 2 = 4.
//!
//! # Any other number
//!
//! With 2^d < n < 2^(d+1) members the n - 2^d members that are left over double up: member m >= 2^d is the *twin* of
//! vertex m + 1 - 2^d (so the root never has a twin), and the two share that vertex of the cube. In every step one of
//! the pair takes the vertex's cube block (the *taker*) and the other sends the vertex's cube block (the *giver*); the
//! taker also passes to the giver the latest cube block that it took itself and has not passed on yet. They swap
//! roles after every step whose dimension is a set bit of the vertex. One last step, after the cube has finished, lets
//! the two exchange the block that each still lacks. Hence b + d steps.
//!
//! Example: n = 5, b = 4; vertex 1 of the square is shared by members 1 and 4:
//!
//! ```text
//! 0->1:b0 | 0->2:b1 1->3:b0 | 0->4:b2 2->3:b1 3->2:b0 | 0->2:b3 1->4:b0 3->1:b1 4->3:b2
//!         | 0->1:b3 1->4:b1 2->3:b3 3->2:b2 | 1->4:b3 4->1:b2
//! ```
//!
//! Source: as for the parent module; the paper on RDMC describes the shared vertex.

use super::{Hop, block_at};

pub(super) fn steps(members: u32, blocks: u32) -> u64 {
    u64::from(blocks) + u64::from(members.ilog2()) - u64::from(members.is_power_of_two())
}

pub(super) fn send(members: u32, blocks: u32, vertex: u32, step: u64) -> Option<Hop> {
    let cube = Cube::new(members, blocks);
    let place = cube.place(vertex);
    if step == cube.exchange_step() || place.is_taker(&cube, step) {
        return cube.twin_hop(&place, step);
    }
    let receiver = place.corner ^ cube.edge(step);
    let block = cube.block_into(receiver, step)?;
    let peer = cube.taker(receiver, step);
    Some(Hop { peer, block })
}

pub(super) fn receive(members: u32, blocks: u32, vertex: u32, step: u64) -> Option<Hop> {
    let cube = Cube::new(members, blocks);
    let place = cube.place(vertex);
    if let Some(twin) = place.twin
        && (step == cube.exchange_step() || !place.is_taker(&cube, step))
    {
        let hop = cube.twin_hop(&cube.place(twin), step)?;
        return Some(Hop { peer: twin, block: hop.block });
    }
    let block = cube.block_into(place.corner, step)?;
    let peer = cube.giver(place.corner ^ cube.edge(step), step);
    Some(Hop { peer, block })
}

/// The hypercube of a group.
struct Cube {
    members: u32,
    blocks: u32,
    /// d: floor(log2 members), at least 1.
    dimensions: u32,
}

/// Where a member sits.
struct Place {
    member: u32,
    /// The hypercube vertex.
    corner: u32,
    /// The other member at this vertex.
    twin: Option<u32>,
}

impl Place {
    /// Whether this member shares its vertex and takes the vertex's cube block in `step`, while its twin sends.
    fn is_taker(&self, cube: &Cube, step: u64) -> bool {
        self.twin.is_some() && cube.taker(self.corner, step) == self.member
    }
}

impl Cube {
    fn new(members: u32, blocks: u32) -> Self {
        Cube { members, blocks, dimensions: members.ilog2() }
    }

    fn corners(&self) -> u32 {
        1 << self.dimensions
    }

    fn place(&self, member: u32) -> Place {
        if member >= self.corners() {
            let corner = member + 1 - self.corners();
            return Place { member, corner, twin: Some(corner) };
        }
        Place { member, corner: member, twin: self.twin_of(member) }
    }

    /// The second member at `corner`, if there is one.
    fn twin_of(&self, corner: u32) -> Option<u32> {
        let second = corner.checked_sub(1)? + self.corners();
        (second < self.members).then_some(second)
    }

    /// The step after the cube's last, in which twins exchange what is left. A cube without twins stops before it.
    fn exchange_step(&self) -> u64 {
        u64::from(self.blocks) + u64::from(self.dimensions) - 1
    }

    /// The bit in which partners differ in `step`.
    fn edge(&self, step: u64) -> u32 {
        1 << self.dimension(step)
    }

    fn dimension(&self, step: u64) -> u32 {
        (step % u64::from(self.dimensions)) as u32
    }

    /// The block that `corner` gets over its edge of `step`, if any: the rule of the module's first part.
    fn block_into(&self, corner: u32, step: u64) -> Option<u32> {
        if corner == 0 || step >= self.exchange_step() {
            return None;
        }
        let shift = self.dimension(step);
        let turned = (corner >> shift | corner << (self.dimensions - shift)) & (self.corners() - 1);
        let d = u64::from(self.dimensions);
        let last = u64::from(self.blocks) - 1;
        if turned & 1 == 0 {
            return block_at(step, d, self.blocks);
        }
        let above = turned & !1;
        let injected = if above == 0 { step } else { (step + u64::from(above.trailing_zeros())).checked_sub(d)? };
        Some(injected.min(last) as u32)
    }

    /// The member of `corner` that takes the corner's cube block in `step`.
    fn taker(&self, corner: u32, step: u64) -> u32 {
        match self.twin_of(corner) {
            Some(twin) if self.swaps_before(corner, step) % 2 == 1 => twin,
            _ => corner,
        }
    }

    /// The member of `corner` that sends the corner's cube block in `step`.
    fn giver(&self, corner: u32, step: u64) -> u32 {
        match self.twin_of(corner) {
            Some(twin) if self.taker(corner, step) == corner => twin,
            _ => corner,
        }
    }

    /// How often the members of `corner` swapped roles before `step`: once for each earlier step whose dimension is a
    /// set bit of the corner. Corner 5 = 0b101 in 3 dimensions, step 4: two in a whole round, one in step 3, so 3.
    fn swaps_before(&self, corner: u32, step: u64) -> u64 {
        let rounds = step / u64::from(self.dimensions);
        let rest = corner & (self.edge(step) - 1);
        rounds * u64::from(corner.count_ones()) + u64::from(rest.count_ones())
    }

    /// What the member at `place` passes to its twin in `step`: the latest cube block it took before, if any. A taker
    /// passes one block in each step that brings it one, and in its next turn the one that the swap left over; so the
    /// latest is never passed twice.
    fn twin_hop(&self, place: &Place, step: u64) -> Option<Hop> {
        let peer = place.twin?;
        let taken = (0..step.min(self.exchange_step())).rev();
        let mut own = taken.filter(|&earlier| self.taker(place.corner, earlier) == place.member);
        let block = own.find_map(|earlier| self.block_into(place.corner, earlier))?;
        Some(Hop { peer, block })
    }
}
