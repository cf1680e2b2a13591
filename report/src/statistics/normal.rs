//! The normal distribution.

/// The chance of a standard normal value below `z`.
pub(super) fn below(z: f64) -> f64 {
    let half = 0.5 * erfc(z.abs() / std::f64::consts::SQRT_2);
    if z < 0.0 { half } else { 1.0 - half }
}

/// The value above which a standard normal lies with this chance, between 0 and a half.
pub(super) fn above(chance: f64) -> f64 {
    let (mut low, mut high) = (0.0, 40.0);
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if below(-middle) > chance {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// The complementary error function of 0 or more, to seven digits even in the tail (Press et al., Numerical Recipes,
/// 6.2: a rational Chebyshev fit).
fn erfc(x: f64) -> f64 {
    const FIT: [f64; 10] = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_87,
        -1.135_203_98,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_68,
        -1.265_512_23,
    ];
    let t = 1.0 / (1.0 + 0.5 * x);
    let fitted = FIT.iter().fold(0.0, |sum, factor| sum * t + factor);
    t * (fitted - x * x).exp()
}

#[cfg(test)]
mod tests {
    use super::*;
    use statrs::distribution::{ContinuousCDF, Normal};

    #[test]
    fn chances_are_those_of_statrs() {
        let normal = Normal::standard();
        for step in -60..=60 {
            let z = f64::from(step) / 10.0;
            let expected = normal.cdf(z);
            assert!((below(z) / expected - 1.0).abs() < 1e-6, "{z}: {} {expected}", below(z));
        }
        for chance in [0.5, 0.1, 0.05, 1e-3, 1e-6, 1e-9] {
            assert!((above(chance) + normal.inverse_cdf(chance)).abs() < 1e-5, "{chance}");
        }
    }
}
