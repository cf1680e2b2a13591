//! The test of Mann and Whitney: by the ranks of values, whatever their distribution.

use super::normal;

/// Pairs up to which chances are counted out; beyond, ranks are as good as normal.
const COUNTED_MAX: usize = 40 * 40;

/// How likely samples of one distribution, `a` scaled by `scale`, would have `b` so low among them: the one-sided
/// chance of the rank sum of Mann and Whitney, exact for up to about 40 values a side. Values that are equal count
/// against it.
pub fn rank_chance(a: &[f64], b: &[f64], scale: f64) -> f64 {
    let reached: usize = a.iter().map(|a| b.iter().filter(|b| **b >= a * scale).count()).sum();
    let pairs = a.len() * b.len();
    if pairs > COUNTED_MAX {
        let deviation = (pairs as f64 * (a.len() + b.len() + 1) as f64 / 12.0).sqrt();
        return normal::below((reached as f64 + 0.5 - pairs as f64 / 2.0) / deviation);
    }
    if 2 * reached > pairs {
        // The same seen from the other end, which is shorter: reaching one pair less has the rest of the chance.
        let fewer = (pairs - reached).checked_sub(1);
        return 1.0 - fewer.map_or(0.0, |fewer| counted_chance(a.len(), b.len(), fewer));
    }
    counted_chance(a.len(), b.len(), reached)
}

/// The share of all ways to deal out the values in which `b` reaches `a` in at most so many pairs.
fn counted_chance(a: usize, b: usize, reached: usize) -> f64 {
    // Ways to deal out the values so that `b` reaches `a` in so many pairs are the coefficients of a Gaussian binomial,
    // the product of (1 - q^(b + i)) / (1 - q^i).
    let mut ways = vec![0.0; reached + 1];
    ways[0] = 1.0;
    for i in 1..=a {
        for at in (b + i..=reached).rev() {
            ways[at] -= ways[at - b - i];
        }
        for at in i..=reached {
            ways[at] += ways[at - i];
        }
    }
    (ways.iter().sum::<f64>() / combinations(a + b, a)).clamp(0.0, 1.0)
}

/// Trials a side that can show a difference with so little chance: a complete separation of so many is one of
/// `C(2n, n)`.
pub fn trials_that_tell(chance: f64) -> u32 {
    (1..).find(|&trials| 1.0 / combinations(2 * trials as usize, trials as usize) <= chance).unwrap_or(u32::MAX)
}

/// Trials a side with which [`rank_chance`] finds values that were scaled by `scale`, in 95 of 100 cases, by a chance
/// of at most `chance`; `scatter` is the standard deviation of the logarithms of the values. None if no number does.
///
/// If a share `p` of pairs is the right way round, the mean of that share over `n` trials a side lies around `p` with a
/// variance of at most `p (1 - p) / n` (van Dantzig), and around a half with `1 / 6n` if nothing differs.
pub fn trials_to_find(scale: f64, scatter: f64, chance: f64) -> Option<u32> {
    const MISSED: f64 = 0.05;
    // The fewest that tell have to lie apart one and all; real trials have some that do not.
    const SPARE: u32 = 2;
    let apart = scale.ln().abs();
    let ordered = if scatter > 0.0 { normal::below(apart / (scatter * std::f64::consts::SQRT_2)) } else { 1.0 };
    let variance = (ordered * (1.0 - ordered)).min(1.0 / 6.0);
    let reach = normal::above(chance) * (1.0f64 / 6.0).sqrt() + normal::above(MISSED) * variance.sqrt();
    let trials = (reach / (ordered - 0.5)).powi(2).ceil();
    (trials < f64::from(u32::MAX)).then(|| (trials as u32).max(SPARE * trials_that_tell(chance)))
}

/// Ways to choose `k` of `n`.
pub(super) fn combinations(n: usize, k: usize) -> f64 {
    (0..k.min(n - k)).fold(1.0, |ways, i| ways * (n - i) as f64 / (i + 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::random::SplitMix;
    use proptest::prelude::*;

    #[test]
    fn ranks_are_dealt_out_as_often_as_counted_by_hand() {
        // Of the 20 ways to deal out six values, one has every `b` below every `a`, and one more has one pair the other
        // way round.
        assert_eq!(rank_chance(&[4.0, 5.0, 6.0], &[1.0, 2.0, 3.0], 1.0), 0.05);
        assert_eq!(rank_chance(&[3.0, 5.0, 6.0], &[1.0, 2.0, 4.0], 1.0), 0.1);
        assert_eq!(rank_chance(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0], 1.0), 1.0);
        assert_eq!(rank_chance(&[4.0, 5.0, 6.0], &[1.0, 2.0, 3.0], 0.1), 1.0);
        assert_eq!(rank_chance(&[1.0; 3], &[1.0; 3], 1.0), 1.0);
        assert_eq!(rank_chance(&[], &[1.0], 1.0), 1.0);
    }

    #[test]
    fn a_hundredth_takes_five_trials_a_side() {
        assert_eq!((trials_that_tell(0.05), trials_that_tell(0.01), trials_that_tell(1e-4)), (3, 5, 8));
    }

    #[test]
    fn many_trials_have_the_chance_that_counting_gives() {
        let a: Vec<f64> = (0..40).map(|at| f64::from(at) + 8.0).collect();
        let b: Vec<f64> = (0..40).map(|at| f64::from(at) + 0.5).collect();
        let counted = rank_chance(&a, &b, 1.0);
        let more: Vec<f64> = b.iter().copied().chain([20.5]).collect();
        let normal = rank_chance(&a, &more, 1.0);
        assert!((normal / counted - 1.0).abs() < 0.3, "{counted} {normal}");
        let low: Vec<f64> = (0..50).map(f64::from).collect();
        let high: Vec<f64> = (0..50).map(|at| f64::from(at) + 50.0).collect();
        assert!(rank_chance(&high, &low, 1.0) < 1e-12 && rank_chance(&low, &high, 1.0) > 0.999);
    }

    /// With so many trials a loss is found about as often as it says, by lognormal values.
    #[test]
    fn a_loss_is_found_with_the_trials_that_find_it() {
        let mut random = SplitMix(11);
        let mut normal = || -> f64 { (0..12).map(|_| random.below(1 << 30) as f64 / f64::from(1 << 30)).sum::<f64>() - 6.0 };
        for (scatter, chance) in [(0.02, 1e-4), (0.1, 1e-4), (0.1, 1e-2), (0.2, 1e-3)] {
            let trials = trials_to_find(0.9, scatter, chance).unwrap();
            let mut sample = |scale: f64| -> Vec<f64> { (0..trials).map(|_| scale * (scatter * normal()).exp()).collect() };
            let found = (0..200).filter(|_| rank_chance(&sample(1.0), &sample(0.9), 1.0) <= chance).count();
            assert!(found >= 186, "{scatter} {chance}: {trials} trials found {found} of 200");
        }
        assert_eq!(trials_to_find(1.0, 0.1, 1e-4), None);
    }

    #[test]
    fn combinations_are_pascals_triangle() {
        for n in 0..20usize {
            for k in 0..=n {
                let expected = statrs::function::factorial::binomial(n as u64, k as u64);
                assert!((combinations(n, k) - expected).abs() < 1e-6 * expected);
            }
        }
    }

    proptest! {
        #[test]
        fn a_chance_is_the_same_from_either_end(a in prop::collection::vec(0u32..40, 1..9), b in prop::collection::vec(0u32..40, 1..9)) {
            // No ties: `b` has halves.
            let a: Vec<f64> = a.into_iter().map(f64::from).collect();
            let b: Vec<f64> = b.into_iter().map(|b| f64::from(b) + 0.5).collect();
            let reached = a.iter().map(|a| b.iter().filter(|b| *b >= a).count()).sum::<usize>();
            let whole = counted_chance(a.len(), b.len(), reached);
            prop_assert!((rank_chance(&a, &b, 1.0) - whole).abs() < 1e-9);
        }
    }
}
