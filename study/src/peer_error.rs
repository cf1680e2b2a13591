//! How far the peer in the model is from its published points.

use crate::error::RunError;
use crate::parallel::on_all_cores;
use crate::peer::Peer;
use crate::profile::Profile;
use crate::published::{Bandwidth, Latency};
use crate::run::{Outcome, Run, Senders};

/// Members of the groups that the free parameters were fitted on; all others are held out.
pub const FITTED_NODES: [usize; 3] = [2, 4, 16];

/// Windows that a stream lasts whose latency is compared.
const LATENCY_WINDOWS: u64 = 4;

/// A published point at which the peer can be run in the model.
pub trait Published: Copy + Send + Sync {
    /// Members.
    fn nodes(&self) -> usize;

    /// What was published.
    fn value(&self) -> f64;

    /// The peer there.
    fn run(&self, profile: &Profile, peer: &Peer) -> Run;

    /// The same value of what came out.
    fn drawn(&self, outcome: &Outcome) -> f64;
}

impl Published for Bandwidth {
    fn nodes(&self) -> usize {
        self.nodes
    }

    fn value(&self) -> f64 {
        self.gigabytes_per_second
    }

    fn run(&self, profile: &Profile, peer: &Peer) -> Run {
        Run { peer: Some(peer.clone()), ..Run::stream(profile, self.nodes, self.senders, self.message_bytes) }
    }

    fn drawn(&self, outcome: &Outcome) -> f64 {
        outcome.bytes_per_s / 1e9
    }
}

impl Published for Latency {
    fn nodes(&self) -> usize {
        self.nodes
    }

    fn value(&self) -> f64 {
        self.latency_us
    }

    /// Its authors measured latency in a stream, waiting in the window included ([`Peer::latency_window`]). The window
    /// is full from its second filling on: some are run.
    fn run(&self, profile: &Profile, peer: &Peer) -> Run {
        let window = peer.latency_window(self.message_bytes);
        let stream = Run::stream(profile, self.nodes, Senders::All, self.message_bytes);
        let run = Run { peer: Some(peer.clone()), window: Some(window), ..stream };
        Run { messages: Some(run.messages().max(LATENCY_WINDOWS * window)), ..run }
    }

    fn drawn(&self, outcome: &Outcome) -> f64 {
        outcome.latency.mean_us()
    }
}

/// A published point, and what the model draws there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PointError<P> {
    /// The published one.
    pub point: P,
    /// The model's, in its unit.
    pub drawn: f64,
}

impl<P: Published> PointError<P> {
    /// By how much the model is off, as a part of the published value; negative: too little.
    pub fn part(&self) -> f64 {
        self.drawn / self.point.value() - 1.0
    }

    /// Whether the free parameters were fitted on it.
    pub fn is_fitted(&self) -> bool {
        FITTED_NODES.contains(&self.point.nodes())
    }
}

/// Many points.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerError<P> {
    /// As published, each with the model's value.
    pub points: Vec<PointError<P>>,
}

impl<P: Published> PeerError<P> {
    /// Runs the peer at `points`, each as `shortened` leaves it.
    ///
    /// # Errors
    /// As [`Run::run`].
    pub fn of(profile: &Profile, peer: &Peer, points: &[P], shortened: impl Fn(Run) -> Run + Sync) -> Result<PeerError<P>, RunError> {
        let mut drawn = Vec::with_capacity(points.len());
        let each = |point: &P, outcome: Result<Outcome, RunError>| -> Result<(), RunError> {
            drawn.push(PointError { point: *point, drawn: point.drawn(&outcome?) });
            Ok(())
        };
        on_all_cores(points, |point| shortened(point.run(profile, peer)).run(), each)?;
        Ok(PeerError { points: drawn })
    }

    /// Median of the errors' sizes, over all points that were held out.
    pub fn median_held_out(&self) -> f64 {
        median(self.points.iter().filter(|point| !point.is_fitted()).map(|point| point.part().abs()).collect())
    }

    /// Median of the errors' sizes, over the points that the parameters were fitted on.
    pub fn median_fitted(&self) -> f64 {
        median(self.points.iter().filter(|point| point.is_fitted()).map(|point| point.part().abs()).collect())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
