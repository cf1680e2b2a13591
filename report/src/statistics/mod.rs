//! Medians, how sure one may be of them and of a ratio of two, and what is odd about samples.

mod middle;
mod noise;
mod normal;
mod random;
mod ranks;
mod ratio;

pub use middle::median;
pub use noise::{Drift, MedianInterval, drift, median_interval, outliers, scatter};
pub use ranks::{rank_chance, trials_that_tell, trials_to_find};
pub use ratio::{MedianRatio, Significance, median_ratio};
