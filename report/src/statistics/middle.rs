//! The middle of samples.

/// The middle value, or the mean of the two in the middle; nothing for no values.
pub fn median(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some(median_of_sorted(&sorted))
}

pub(super) fn median_of_sorted(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { sorted[middle - 1].midpoint(sorted[middle]) }
}

/// The value below which a share `quantile` of the sorted values lies, between neighbours by straight lines.
pub(super) fn quantile_of_sorted(sorted: &[f64], quantile: f64) -> f64 {
    let position = quantile * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use statrs::statistics::{Data, OrderStatistics};

    #[test]
    fn nothing_has_no_median() {
        assert_eq!(median(&[]), None);
    }

    proptest! {
        #[test]
        fn median_is_that_of_statrs(values in prop::collection::vec(-1e9f64..1e9, 1..50)) {
            let expected = Data::new(values.clone()).median();
            prop_assert!((median(&values).unwrap() - expected).abs() <= 1e-6);
        }
    }
}
