//! How far the peer in the model is from its published points.

use crate::error::RunError;
use crate::peer::Peer;
use crate::profile::Profile;
use crate::published::{self, Bandwidth};
use crate::run::Run;

/// Members of the groups that the free parameters were fitted on; all others are held out.
pub const FITTED_NODES: [usize; 3] = [2, 4, 16];

/// A published point, and what the model draws there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PointError {
    /// The published one.
    pub point: Bandwidth,
    /// The model's.
    pub gigabytes_per_second: f64,
}

impl PointError {
    /// By how much the model is off, as a part of the published value; negative: too slow.
    pub fn part(&self) -> f64 {
        self.gigabytes_per_second / self.point.gigabytes_per_second - 1.0
    }

    /// Whether the free parameters were fitted on it.
    pub fn is_fitted(&self) -> bool {
        FITTED_NODES.contains(&self.point.nodes)
    }
}

/// All points of one network.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerError {
    /// As published, each with the model's value.
    pub points: Vec<PointError>,
}

impl PeerError {
    /// Runs the peer at every point of `network` that `chosen` takes.
    ///
    /// # Errors
    /// As [`Run::run`].
    pub fn of(profile: &Profile, peer: &Peer, network: &str, chosen: impl Fn(&Bandwidth) -> bool) -> Result<PeerError, RunError> {
        let wanted = published::bandwidth().into_iter().filter(|point| point.network == network && chosen(point));
        let points: Result<_, RunError> = wanted.map(|point| drawn(profile, peer, point)).collect();
        Ok(PeerError { points: points? })
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

/// The peer at one published point.
///
/// # Errors
/// As [`Run::run`].
pub fn drawn(profile: &Profile, peer: &Peer, point: Bandwidth) -> Result<PointError, RunError> {
    let run = Run { peer: Some(peer.clone()), ..Run::stream(profile, point.nodes, point.senders, point.message_bytes) };
    let gigabytes_per_second = run.run()?.bytes_per_s / 1e9;
    Ok(PointError { point, gigabytes_per_second })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
