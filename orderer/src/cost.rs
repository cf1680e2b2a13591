//! What a message costs by rule: the closed formula of each order.

/// What one message costs in a group, by rule rather than by measurement.
///
/// It is small, so that its payload goes the way its order has it go; large ones go by the relay's schedule, whatever
/// the order. Membership's heartbeats are not counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// One-sided writes of all members together, for a message that travels alone in a group with one sender: what no
    /// batch is shared with.
    pub writes: u64,
    /// Writes that wait for one another from the send to the delivery at the sender, the first member.
    pub hops: u64,
    /// The same to the last delivery at any member.
    pub hops_to_last: u64,
    /// How many times its bytes pass the port, out or in, that they pass most often. A stream of all senders cannot be
    /// faster than the line over this.
    pub copies: f64,
}

impl Cost {
    /// The copies of a message that its sender writes to every other member: out of each sender, and into each member
    /// that receives what the others send.
    ///
    /// With 4 members of whom 1 sends: 3 leave its port. If all send, each port carries 3 of 4 messages out, 3 copies
    /// each of a quarter of all, and 3 of 4 in.
    pub(crate) fn copies_of_direct(members: usize, senders: usize) -> f64 {
        let (members, senders) = (members as f64, senders as f64);
        let others = (members - 1.0).max(0.0);
        let taken_in = if senders < members { 1.0 } else { others / members };
        (others / senders).max(taken_in)
    }
}
