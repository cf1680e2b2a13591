//! That runs by seed are worth something.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use squall_group::Mode;
use squall_sim::trace::Event;
use squall_sim::{Aim, Options, Outcome, run};

/// What these runs are meant to reach they reach often: decisions, cuts, chains of views, and what `more` says of one.
#[track_caller]
pub(crate) fn often(order: Mode, more: impl Fn(&Outcome) -> Vec<(&'static str, bool)>) {
    let mut reached = BTreeMap::new();
    let options = Options { ordering: Some(order), ..Options::churn(0..200, Aim::Liveness) };
    run(&options, |_, outcome| {
        let any = |wanted: fn(&Event) -> bool| outcome.trace.events.iter().any(wanted);
        let seen = [
            ("decisions", any(|event| matches!(event, Event::Decide { .. }))),
            ("cuts", any(|event| matches!(event, Event::Cut { .. }))),
            ("learners", any(|event| matches!(event, Event::Learn { .. }))),
            ("a chain of views", outcome.verdict.views > 2),
        ];
        let all = seen.into_iter().chain(more(outcome));
        all.for_each(|(what, seen)| *reached.entry(what).or_insert(0) += usize::from(seen));
        assert_eq!(outcome.verdict.nulls, 0, "there are no turns to fill");
        ControlFlow::Continue(())
    })
    .expect("no trace is written");
    assert!(reached.values().all(|&runs| runs > 10), "{reached:?}");
}
