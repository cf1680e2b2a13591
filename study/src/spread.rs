//! Percentiles of many times.

/// Percentiles of latencies in picoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    sorted_ps: Vec<u64>,
}

impl Spread {
    /// Of these.
    pub fn of(mut times_ps: Vec<u64>) -> Spread {
        times_ps.sort_unstable();
        Spread { sorted_ps: times_ps }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.sorted_ps.len()
    }

    /// The time that a part `at` (0 to 1) of them does not exceed, in microseconds; 0 of none.
    pub fn us(&self, at: f64) -> f64 {
        let last = self.sorted_ps.len().saturating_sub(1);
        self.sorted_ps.get((last as f64 * at).round() as usize).map_or(0.0, |&ps| ps as f64 / 1e6)
    }

    /// The mean in microseconds.
    pub fn mean_us(&self) -> f64 {
        self.sorted_ps.iter().map(|&ps| ps as f64).sum::<f64>() / self.sorted_ps.len().max(1) as f64 / 1e6
    }

    /// All of them, ascending, in nanoseconds.
    pub fn nanoseconds(&self) -> impl Iterator<Item = u64> {
        self.sorted_ps.iter().map(|&ps| ps / 1000)
    }
}
