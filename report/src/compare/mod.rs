//! Two runs and more point by point, and gates on what was measured.

mod baseline;
mod comparison;
mod floor;
mod gate;
mod join;
mod many;
mod picture;
mod tables;
mod text;
mod verdict;
mod webpage;

pub use baseline::{Saved, save_baseline};
pub use comparison::{CompareOptions, ComparedMetric, Comparison, Difference};
pub use floor::{AtLeast, BelowFloor, Rate, at_least};
pub use gate::Gate;
pub use join::compare;
pub use many::{side_by_side, side_by_side_markdown};
pub use tables::lines_csv;
pub use verdict::{Verdict, Wanted};
pub use webpage::write_page;
