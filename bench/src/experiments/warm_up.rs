//! How a warm-up grows until it is known how much fits into a trial.

use crate::ask::policy;

/// Share of a trial that tells its rate.
const CLOSE_ENOUGH: f64 = 0.2;
/// A rate that is so many times the one of the step before was held down by what a step costs however short it is:
/// where many nodes share cores, a whole window takes no longer than one message.
const RISING: f64 = 1.5;
/// A short step says little about a long one: approach it.
const GROWTH_MAX: u64 = 16;
/// Steps that lead from the fewest messages to the most.
const STEPS_MAX: u32 = 10;

/// Steps of a warm-up, each of more messages than the one before.
#[derive(Clone, Debug)]
pub(super) struct WarmUp {
    messages: u64,
    /// So many touch every buffer.
    enough: u64,
    seconds: f64,
    asked: Option<u64>,
    step: u32,
    /// Messages a second in the step before.
    rate: f64,
}

impl WarmUp {
    /// Towards a trial of `seconds`, or of the messages that were asked for; `enough` messages leave page faults
    /// behind.
    pub(super) fn new(enough: u64, seconds: f64, asked: Option<u64>) -> WarmUp {
        let most = asked.unwrap_or(u64::MAX);
        WarmUp { messages: 1, enough: enough.min(most), seconds, asked, step: 0, rate: 0.0 }
    }

    /// Messages of each sender in this step.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// After this step took so many seconds: the messages of a trial, if they are known.
    pub(super) fn next(&mut self, took: f64) -> Option<u64> {
        self.step += 1;
        let wanted = policy::messages_for(self.messages, took, self.seconds);
        let most = self.asked.unwrap_or(u64::MAX);
        let fewest = policy::WARM_UP_MESSAGES_MIN.min(most);
        let is_slow = took * fewest as f64 > policy::TOUCHING_SECONDS_MAX * self.messages as f64;
        let is_touched = self.messages >= fewest || is_slow;
        let rate = self.messages as f64 / took.max(f64::MIN_POSITIVE);
        let is_rising = rate > self.rate * RISING && took < self.seconds;
        self.rate = rate;
        let is_last = (took >= self.seconds * CLOSE_ENOUGH && !is_rising) || self.step >= STEPS_MAX;
        match self.asked {
            Some(asked) if is_touched && (is_last || self.messages >= self.enough) => return Some(asked),
            None if is_touched && (is_last || wanted <= self.messages) => return Some(wanted),
            _ => {}
        }
        self.messages = wanted.clamp(self.messages + 1, self.messages.saturating_mul(GROWTH_MAX)).clamp(fewest, most);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Steps until the messages of a trial are known, on a fabric that moves so many a second.
    fn steps(rate: f64, asked: Option<u64>) -> (Vec<u64>, u64) {
        steps_that_take(|messages| messages as f64 / rate, asked)
    }

    fn steps_that_take(seconds: impl Fn(u64) -> f64, asked: Option<u64>) -> (Vec<u64>, u64) {
        let mut warm_up = WarmUp::new(20_000, 0.5, asked);
        let mut taken = Vec::new();
        loop {
            taken.push(warm_up.messages());
            if let Some(messages) = warm_up.next(seconds(warm_up.messages())) {
                return (taken, messages);
            }
        }
    }

    #[test]
    fn a_slow_fabric_is_never_given_more_than_a_trial_takes() {
        let (taken, messages) = steps(100.0, None);
        assert_eq!(messages, 50);
        assert!(taken.iter().sum::<u64>() <= 100, "{taken:?}");
        let (taken, messages) = steps(2.0, None);
        assert_eq!((taken, messages), (vec![1, 6], 2), "three seconds for every buffer");
        let (taken, messages) = steps(1.0, None);
        assert_eq!((taken, messages), (vec![1], 2), "six would be too many");
    }

    #[test]
    fn a_fast_one_is_known_in_a_few_steps() {
        let (taken, messages) = steps(4e7, None);
        assert!(taken.len() <= 8 && (1.9e7..2.1e7).contains(&(messages as f64)), "{taken:?} {messages}");
    }

    #[test]
    fn what_every_step_costs_is_not_taken_for_the_rate() {
        let rate = 40_000.0;
        let (taken, messages) = steps_that_take(|messages| 0.12 + messages as f64 / rate, None);
        let trial = 0.12 + messages as f64 / rate;
        assert!((0.35..0.75).contains(&trial), "{taken:?} {messages}: {trial} s");
        assert!(taken.len() <= 8, "{taken:?}");
    }

    #[test]
    fn what_was_asked_for_is_never_exceeded() {
        assert_eq!(steps(4e7, Some(5)), (vec![1, 5], 5));
        assert_eq!(steps(4e7, Some(1)), (vec![1], 1));
        let (taken, messages) = steps(4e7, Some(1000));
        assert!(taken.iter().all(|&step| step <= 1000) && messages == 1000, "{taken:?}");
        assert_eq!(steps(10.0, Some(100_000)).1, 100_000);
    }
}
