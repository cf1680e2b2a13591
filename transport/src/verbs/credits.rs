//! Room in a send queue, by counting: requests are numbered for ever, and the completion of a signalled one returns it
//! and all before it.
//!
//! The same count is why a completion queue cannot be overrun. Whatever a queue pair still has to put there, or has put
//! there and nobody has taken, belongs to a request of `posted - completed`, each of which completes at most once (in a
//! queue pair that fails all do, signalled or not), or to one of the [`RECEIVES`](super::limits::RECEIVES) that stand.
//! Both are bounded: the first by `sends`, as [`Credits::room`] and [`Credits::control_room`] are asked before every
//! post, and the second because a receive is posted anew only when its completion was taken. So `sends + RECEIVES`
//! entries a peer are enough, and [`entries`] of them are asked for. Queue pairs live as long as their endpoint and its
//! completion queue, or shorter: none is made later.

use super::limits::RECEIVES;

/// Room in one send queue.
///
/// Of `sends` requests that the queue holds, [`CONTROL_MAX`] are kept for the provider's own (invitations, wake-ups,
/// probes, farewell), so that a full queue never keeps a peer asleep. Each `signal_every`-th request is signalled;
/// there is always one among the outstanding before the queue is full, so a full queue empties by itself.
#[derive(Clone, Debug)]
pub(super) struct Credits {
    data_max: u64,
    signal_every: u64,
    posted: u64,
    completed: u64,
    signalled_end: u64,
}

/// Requests of the provider's own that may be under way to one peer.
pub(super) const CONTROL_MAX: u32 = 8;
/// The shortest useful send queue.
pub(super) const SENDS_MIN: u32 = 2 * CONTROL_MAX;

/// What a device holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holds {
    /// Requests of one queue pair.
    pub(super) requests: u32,
    /// Entries of one completion queue.
    pub(super) entries: u32,
}

/// Requests that each of `peers` queue pairs is made for: as many data requests as `wanted` and those of the provider's
/// own, fewer if the device holds fewer. At least `span_max` data requests, which the longest Span takes, or it would
/// never fit; if the device holds fewer than that, this least number is the error.
pub(super) fn sends(wanted: u32, span_max: u32, peers: usize, holds: Holds) -> Result<u32, u32> {
    let least = span_max.saturating_add(CONTROL_MAX).max(SENDS_MIN);
    let share = (holds.entries / peers.max(1) as u32).saturating_sub(RECEIVES);
    let most = holds.requests.min(share);
    if least > most { Err(least) } else { Ok(wanted.saturating_add(CONTROL_MAX).clamp(least, most)) }
}

/// Completions that `peers` queue pairs with `sends` requests and `receives` receives can have at once.
pub(super) fn entries(peers: usize, sends: u32, receives: u32) -> u32 {
    (peers as u32 * (sends + receives)).max(1)
}

impl Credits {
    /// A queue of `sends` requests.
    ///
    /// # Panics
    /// If that is below [`SENDS_MIN`].
    pub(super) fn new(sends: u32) -> Credits {
        assert!(sends >= SENDS_MIN, "a send queue of {sends}");
        let data_max = u64::from(sends - CONTROL_MAX);
        Credits { data_max, signal_every: (data_max / 4).max(1), posted: 0, completed: 0, signalled_end: 0 }
    }

    /// Data requests that fit, beside `queued` that are not posted yet.
    #[inline]
    pub(super) fn room(&self, queued: usize) -> u64 {
        self.data_max.saturating_sub(self.posted - self.completed + queued as u64)
    }

    /// Whether one more request of the provider's own fits, beside `queued` data requests that are not posted yet.
    #[inline]
    pub(super) fn control_room(&self, queued: usize) -> bool {
        self.posted - self.completed + (queued as u64) < self.data_max + u64::from(CONTROL_MAX)
    }

    /// Numbers the next request and says whether it is signalled; `must` if it has to be.
    #[inline]
    pub(super) fn post(&mut self, must: bool) -> (u64, bool) {
        let sequence = self.posted;
        self.posted += 1;
        let signalled = must || self.posted.is_multiple_of(self.signal_every);
        if signalled {
            self.signalled_end = self.posted;
        }
        (sequence, signalled)
    }

    /// The request of this number has completed, and with it all before.
    #[inline]
    pub(super) fn complete(&mut self, sequence: u64) {
        debug_assert!(sequence < self.posted);
        self.completed = self.completed.max(sequence + 1);
    }

    /// Requests posted so far.
    #[inline]
    pub(super) fn posted(&self) -> u64 {
        self.posted
    }

    /// Requests that are known to have completed.
    #[inline]
    pub(super) fn completed(&self) -> u64 {
        self.completed
    }

    /// Whether a completion, good or bad, is still to come.
    #[inline]
    pub(super) fn is_awaiting(&self) -> bool {
        self.signalled_end > self.completed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Act {
        Queue,
        Flush,
        Control,
        Land,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![4 => Just(Act::Queue), 1 => Just(Act::Flush), 1 => Just(Act::Control), 2 => Just(Act::Land)]
    }

    #[test]
    fn queues_are_as_long_as_wanted_and_the_device_allows() {
        let holds = Holds { requests: 1 << 14, entries: 32_767 };
        assert_eq!(sends(256, 1, 3, holds), Ok(264));
        assert_eq!(sends(0, 1, 3, holds), Ok(SENDS_MIN));
        assert_eq!(sends(u32::MAX, 1, 1, holds), Ok(1 << 14));
        assert_eq!(sends(256, 1, 500, holds), Ok(32_767 / 500 - RECEIVES));
        assert_eq!(sends(256, 1, 2000, holds), Err(SENDS_MIN));
        // A Span that moves in many pieces still fits at once.
        assert_eq!(sends(8, 100, 3, holds), Ok(100 + CONTROL_MAX));
        assert_eq!(sends(8, 20_000, 3, holds), Err(20_000 + CONTROL_MAX));
    }

    proptest! {
        #[test]
        fn no_device_is_asked_for_more_than_it_holds(
            wanted: u32, span_max in 1u32.., peers in 0usize..20_000, requests in 0u32..1 << 20, held in 0u32..1 << 24,
        ) {
            if let Ok(sends) = sends(wanted, span_max, peers, Holds { requests, entries: held }) {
                prop_assert!(sends <= requests && (peers == 0 || entries(peers, sends, RECEIVES) <= held));
                prop_assert!(Credits::new(sends).room(0) >= u64::from(span_max));
            }
        }

        /// A queue pair that is posted to by these numbers never holds more than it can, and never is full for good.
        #[test]
        fn the_queue_is_never_overrun_and_never_stuck(sends in SENDS_MIN..300, acts in proptest::collection::vec(act(), 1..3000)) {
            let mut credits = Credits::new(sends);
            let mut wire: VecDeque<(u64, bool)> = VecDeque::new();
            let mut queued = 0;
            for act in acts {
                match act {
                    Act::Queue if credits.room(queued) > 0 => queued += 1,
                    Act::Flush => wire.extend((0..std::mem::take(&mut queued)).map(|_| credits.post(false))),
                    Act::Control if credits.control_room(queued) => wire.push_back(credits.post(true)),
                    Act::Land => {
                        if let Some((sequence, true)) = wire.pop_front() {
                            credits.complete(sequence);
                        }
                    }
                    _ => {}
                }
                // What the device still holds is at most what is not known to have completed.
                prop_assert!(wire.len() as u64 <= credits.posted() - credits.completed());
                prop_assert!(credits.posted() - credits.completed() + queued as u64 <= u64::from(sends));
                if queued == 0 && credits.room(0) == 0 {
                    prop_assert!(credits.is_awaiting(), "full, and nothing will ever complete");
                }
            }
            wire.extend((0..queued).map(|_| credits.post(false)));
            for (sequence, signalled) in wire {
                if signalled {
                    credits.complete(sequence);
                }
            }
            prop_assert!(!credits.is_awaiting());
            prop_assert!(credits.room(0) > 0);
        }

        /// Several queue pairs share a completion queue that is read late and little by little; each may fail, and then
        /// completes all it holds.
        #[test]
        fn the_completion_queue_is_never_overrun(
            sends in proptest::collection::vec(SENDS_MIN..60, 1..5),
            acts in proptest::collection::vec((any::<proptest::sample::Index>(), shared_act()), 1..4000),
        ) {
            let most = *sends.iter().max().expect("a peer");
            let room = entries(sends.len(), most, RECEIVES);
            let mut peers: Vec<_> = sends.iter().map(|&sends| SharedPeer::new(sends)).collect();
            let mut queue = VecDeque::new();
            for (which, act) in acts {
                let at = which.index(peers.len());
                peers[at].act(at, &act, &mut queue);
                if let SharedAct::Poll(count) = act {
                    for _ in 0..count {
                        let Some((of, completion)) = queue.pop_front() else { break };
                        peers[of].taken(completion);
                    }
                }
                prop_assert!(queue.len() as u32 <= room, "{} completions in a queue of {room}", queue.len());
            }
        }
    }

    #[derive(Clone, Debug)]
    enum SharedAct {
        /// Posts as many data requests, as far as there is room.
        Post(u8),
        Control,
        /// The device finishes its oldest request.
        Land,
        /// A message comes in, if a receive stands.
        Hear,
        /// The queue pair fails: everything it holds completes.
        Fail,
        /// Takes as many completions.
        Poll(u8),
    }

    fn shared_act() -> impl Strategy<Value = SharedAct> {
        prop_oneof![
            8 => (1u8..40).prop_map(SharedAct::Post),
            4 => Just(SharedAct::Control),
            40 => Just(SharedAct::Land),
            4 => Just(SharedAct::Hear),
            1 => Just(SharedAct::Fail),
            4 => (1u8..32).prop_map(SharedAct::Poll),
        ]
    }

    #[derive(Clone, Copy, Debug)]
    enum Completed {
        Sent(u64),
        Heard,
        Failed,
    }

    struct SharedPeer {
        credits: Credits,
        wire: VecDeque<(u64, bool)>,
        receives: u32,
        failed: bool,
    }

    impl SharedPeer {
        fn new(sends: u32) -> SharedPeer {
            SharedPeer { credits: Credits::new(sends), wire: VecDeque::new(), receives: RECEIVES, failed: false }
        }

        fn act(&mut self, me: usize, act: &SharedAct, queue: &mut VecDeque<(usize, Completed)>) {
            match act {
                SharedAct::Poll(_) => {}
                _ if self.failed => {}
                SharedAct::Post(count) => {
                    let count = u64::from(*count).min(self.credits.room(0));
                    self.wire.extend((0..count).map(|_| self.credits.post(false)));
                }
                SharedAct::Control if self.credits.control_room(0) => self.wire.push_back(self.credits.post(true)),
                SharedAct::Control => {}
                SharedAct::Land => {
                    if let Some((sequence, true)) = self.wire.pop_front() {
                        queue.push_back((me, Completed::Sent(sequence)));
                    }
                }
                SharedAct::Hear => {
                    if self.receives > 0 {
                        self.receives -= 1;
                        queue.push_back((me, Completed::Heard));
                    }
                }
                SharedAct::Fail => {
                    self.failed = true;
                    let flushed = self.wire.len() as u32 + self.receives;
                    queue.extend((0..flushed).map(|_| (me, Completed::Failed)));
                }
            }
        }

        fn taken(&mut self, completion: Completed) {
            match completion {
                Completed::Sent(sequence) => self.credits.complete(sequence),
                Completed::Heard if !self.failed => self.receives += 1,
                Completed::Heard | Completed::Failed => {}
            }
        }
    }
}
