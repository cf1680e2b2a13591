//! Two runs point by point, and gates on what was measured.

mod comparison;
mod floor;
mod join;
mod text;
mod verdict;

pub use comparison::{CompareOptions, ComparedMetric, Comparison, Difference};
pub use floor::{AtLeast, BelowFloor, Rate, at_least};
pub use join::compare;
pub use verdict::Verdict;
