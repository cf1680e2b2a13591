//! Sleep and wake-up over a network: [`park`](crate::park) with messages in place of fences.
//!
//! ```text
//!   sleeper R                                     writer P
//!   invitation g --> P's memory                   data --> R's memory
//!   wait until it and all data of mine landed     each flush and poll: is there an invitation that I did not answer, and
//!   look at memory once more                        data that R may have missed? then wake: a write with immediate
//!   sleep
//! ```
//!
//! An invitation is one word in the peer's memory, a number that only grows. It stands until the peer answers it, by
//! one write with immediate behind its data; it is not taken back when R wakes for another reason, which costs one
//! wake-up too many and saves a message. So at most one wake-up is under way from each peer, and R posts its receive
//! before it invites again: receives cannot run out.
//!
//! Why no wake-up is lost. Let data D of P land after R's last look. R sleeps only when its invitation had landed at P
//! before that look (its completion was seen). P goes on looking at the invitation until it has once seen none *after*
//! D completed ([`Wake::look`]); D completes after it lands, that is after R's look, that is after the invitation
//! landed: so P sees it. P itself sleeps only when all its data has completed and it has looked since. The model test
//! below tries every interleaving of two nodes.

/// What one member knows of the handshake with one peer, in both roles. Sequence numbers are those of the requests to
/// that peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Wake {
    /// As writer: end of the data posted to the peer.
    data_end: u64,
    /// As writer: data before this needs no wake-up any more.
    settled: u64,
    /// As writer: the peer's last invitation that I answered.
    answered: u64,
    /// As sleeper: my last invitation.
    invited: u64,
    /// As sleeper: the peer has not answered it.
    stands: bool,
    /// As sleeper: end of the request that carried it or repeated it.
    fence_end: u64,
}

impl Wake {
    /// Data was posted, the last of it before sequence number `end`.
    #[inline]
    pub(super) fn posted(&mut self, end: u64) {
        self.data_end = end;
    }

    /// Whether the peer may have missed data.
    #[inline]
    pub(super) fn is_dirty(&self) -> bool {
        self.data_end > self.settled
    }

    /// Looks at the invitation that the peer left, which was loaded after all before `completed` was known to have
    /// completed. Whether the peer must be woken.
    #[inline]
    pub(super) fn look(&mut self, invitation: u64, completed: u64) -> bool {
        if invitation != self.answered {
            return self.is_dirty();
        }
        self.settled = self.settled.max(completed.min(self.data_end));
        false
    }

    /// A wake-up for `invitation` was posted behind all data.
    #[inline]
    pub(super) fn answer(&mut self, invitation: u64) {
        self.answered = invitation;
        self.settled = self.data_end;
    }

    /// Whether I may sleep as far as this peer goes: it has my invitation, and all my data landed there.
    #[inline]
    pub(super) fn is_quiet(&self, completed: u64) -> bool {
        self.stands && completed >= self.data_end.max(self.fence_end)
    }

    /// Whether [`Wake::invite`] is needed to become quiet; not while one is under way.
    #[inline]
    pub(super) fn wants_fence(&self, completed: u64) -> bool {
        !self.is_quiet(completed) && self.fence_end <= completed
    }

    /// The invitation to write to the peer, by the signalled request before sequence number `end`: a new one, or the
    /// standing one once more.
    pub(super) fn invite(&mut self, end: u64) -> u64 {
        self.invited += u64::from(!self.stands);
        self.stands = true;
        self.fence_end = end;
        self.invited
    }

    /// The peer answered.
    #[inline]
    pub(super) fn woken(&mut self) {
        self.stands = false;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashSet, VecDeque};

    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    enum Message {
        Data,
        Invitation(u64),
        WakeUp,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    enum Completion {
        Sent(u64),
        Woken,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    enum Doing {
        Running,
        Armed,
        Parking,
        Asleep,
    }

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Node {
        doing: Doing,
        quiet_at_arm: bool,
        stirred: bool,
        to_send: u8,
        wake: Wake,
        posted: u64,
        completed: u64,
        /// What peers wrote here.
        landed: u8,
        seen: u8,
        invitation: u64,
        completions: VecDeque<Completion>,
        /// Under way to the other, in order.
        wire: VecDeque<(u64, Message)>,
    }

    type World = [Node; 2];

    impl Node {
        fn new(to_send: u8) -> Node {
            let (completions, wire) = Default::default();
            Node {
                doing: Doing::Running,
                quiet_at_arm: false,
                stirred: false,
                to_send,
                wake: Wake::default(),
                posted: 0,
                completed: 0,
                landed: 0,
                seen: 0,
                invitation: 0,
                completions,
                wire,
            }
        }

        fn put(&mut self, message: Message) {
            self.wire.push_back((self.posted, message));
            self.posted += 1;
        }

        /// As `Link::flush`: the wake-up goes with the data, or there is none.
        fn send_data(&mut self) {
            self.to_send -= 1;
            self.put(Message::Data);
            self.wake.posted(self.posted);
            self.ring_if_due();
        }

        fn ring_if_due(&mut self) {
            if self.wake.is_dirty() && self.wake.look(self.invitation, self.completed) {
                self.put(Message::WakeUp);
                self.wake.answer(self.invitation);
            }
        }

        /// As the endpoint's progress.
        fn poll(&mut self) {
            while let Some(completion) = self.completions.pop_front() {
                match completion {
                    Completion::Sent(sequence) => self.completed = self.completed.max(sequence + 1),
                    Completion::Woken => {
                        self.wake.woken();
                        self.stirred = true;
                    }
                }
            }
            self.ring_if_due();
        }

        fn fence(&mut self) {
            if self.wake.wants_fence(self.completed) {
                let invitation = self.wake.invite(self.posted + 1);
                self.put(Message::Invitation(invitation));
            }
        }

        fn arm(&mut self) {
            self.stirred = false;
            self.fence();
            self.quiet_at_arm = self.wake.is_quiet(self.completed);
            self.doing = Doing::Armed;
        }

        fn look(&mut self) {
            self.doing = if self.landed > self.seen { Doing::Running } else { Doing::Parking };
            self.seen = self.landed;
        }

        fn park(&mut self) {
            self.poll();
            self.fence();
            let settled = !self.quiet_at_arm && self.wake.is_quiet(self.completed);
            self.doing = if self.stirred || settled { Doing::Running } else { Doing::Asleep };
        }
    }

    /// Every world that one step leads to.
    fn steps(world: &World) -> Vec<World> {
        let mut next = Vec::new();
        for me in 0..2 {
            let mut step = |act: &dyn Fn(&mut World)| {
                let mut after = world.clone();
                act(&mut after);
                next.push(after);
            };
            let node = &world[me];
            if !node.wire.is_empty() {
                step(&|world| deliver(world, me));
            }
            match node.doing {
                Doing::Running => {
                    if node.to_send > 0 {
                        step(&|world| world[me].send_data());
                    }
                    step(&|world| world[me].arm());
                }
                Doing::Armed => step(&|world| world[me].look()),
                Doing::Parking => step(&|world| world[me].park()),
                Doing::Asleep => {
                    if !node.completions.is_empty() {
                        step(&|world| world[me].doing = Doing::Parking);
                    }
                    // A waker calls, and there is something to send.
                    if node.to_send > 0 {
                        step(&|world| {
                            world[me].doing = Doing::Running;
                            world[me].send_data();
                        });
                    }
                }
            }
            if matches!(node.doing, Doing::Running | Doing::Armed) && !node.completions.is_empty() {
                step(&|world| world[me].poll());
            }
        }
        next
    }

    fn deliver(world: &mut World, from: usize) {
        let (sequence, message) = world[from].wire.pop_front().unwrap();
        let to = &mut world[1 - from];
        match message {
            Message::Data => to.landed += 1,
            Message::Invitation(number) => to.invitation = number,
            Message::WakeUp => {
                assert!(to.wake.stands, "a wake-up that no receive was kept for");
                assert!(!to.completions.contains(&Completion::Woken), "two wake-ups at once");
                to.completions.push_back(Completion::Woken);
            }
        }
        // Data is not signalled. That the acknowledgement takes its time makes no difference: nobody knows of it before
        // a poll.
        if message != Message::Data {
            world[from].completions.push_back(Completion::Sent(sequence));
        }
    }

    /// The same world with its numbers counted from the oldest that matters, so that worlds that behave alike are
    /// alike.
    fn canonical(mut world: World) -> World {
        for (me, other) in [(0, 1), (1, 0)] {
            let answered = std::mem::take(&mut world[other].wake.answered);
            world[other].invitation -= answered;
            let node = &mut world[me];
            node.wake.invited -= answered;
            // Sequence numbers from here on: what is known to have completed ends before 1.
            let base = std::mem::replace(&mut node.completed, 1);
            let shifted = |sequence: u64| sequence.max(base) - base + 1;
            let dirty = node.wake.is_dirty();
            node.posted = shifted(node.posted);
            node.wake.fence_end = shifted(node.wake.fence_end);
            node.wake.data_end = shifted(node.wake.data_end);
            node.wake.settled = if dirty { 0 } else { node.wake.data_end };
            for (sequence, message) in &mut node.wire {
                *sequence = shifted(*sequence);
                if let Message::Invitation(number) = message {
                    *number -= answered;
                }
            }
            node.landed -= std::mem::take(&mut node.seen);
            for completion in &mut node.completions {
                if let Completion::Sent(sequence) = completion {
                    *sequence = shifted(*sequence);
                }
            }
        }
        world
    }

    /// In every interleaving: whenever nothing can happen any more, everything that landed was seen, and no more than
    /// one wake-up was ever under way.
    fn explore(first: u8, second: u8) -> usize {
        let start = canonical([Node::new(first), Node::new(second)]);
        let mut known = HashSet::from([start.clone()]);
        let mut open = vec![start];
        while let Some(world) = open.pop() {
            let next = steps(&world);
            if next.is_empty() {
                for node in &world {
                    assert_eq!((node.seen, node.to_send), (node.landed, 0), "asleep for ever: {world:#?}");
                }
            }
            open.extend(next.into_iter().map(canonical).filter(|after| known.insert(after.clone())));
        }
        known.len()
    }

    #[test]
    fn no_wake_up_is_lost_in_any_interleaving() {
        assert!(explore(0, 1) > 1000);
        assert!(explore(0, 2) > 1000);
        assert!(explore(1, 1) > 1000);
    }
}
