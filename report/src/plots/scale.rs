//! Axes of figures: how values are spread on them, which they can show, and what stands at their ticks.

use std::sync::Arc;

use kuva::render::layout::TickFormat;

use crate::units;

/// An axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    /// What it shows, with the unit.
    pub(crate) label: String,
    /// How values are spread on it.
    pub(crate) scale: Scale,
}

impl Axis {
    /// Group sizes.
    pub(crate) fn nodes() -> Axis {
        Axis { label: "nodes in the group".into(), scale: Scale::Count }
    }

    /// Group sizes up to this one: a few evenly, many by how often they double.
    pub(crate) fn nodes_up_to(most: f64) -> Axis {
        const EVENLY_MAX: f64 = 16.0;
        if most > EVENLY_MAX { Axis { scale: Scale::Doubling, ..Axis::nodes() } } else { Axis::nodes() }
    }

    /// Message sizes.
    pub(crate) fn sizes() -> Axis {
        Axis { label: "message size".into(), scale: Scale::Bytes }
    }
}

/// How values are spread on an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    /// Evenly, from 0.
    Linear,
    /// Evenly, as far as this on both sides of 0.
    Around(f64),
    /// Whole numbers, evenly.
    Count,
    /// Whole numbers from 1 on, by their logarithm.
    Doubling,
    /// By their logarithm.
    Log,
    /// Sizes in bytes, by their logarithm.
    Bytes,
    /// Shares below 1, by the logarithm of `1 / (1 - share)`: 90 %, 99 %, 99.9 % are evenly apart.
    Nines,
}

impl Scale {
    /// Whether an axis can show this value.
    pub(super) fn shows(self, value: f64) -> bool {
        const GREATEST: f64 = 1e15;
        const LEAST: f64 = 1e-9;
        match self {
            Scale::Linear | Scale::Count => (0.0..GREATEST).contains(&value),
            Scale::Around(reach) => value.abs() <= reach,
            Scale::Log | Scale::Bytes | Scale::Doubling => (LEAST..GREATEST).contains(&value),
            Scale::Nines => (0.0..1.0 - LEAST).contains(&value),
        }
    }

    /// Where the drawing library is told that a value lies.
    pub(super) fn place(self, value: f64) -> f64 {
        match self {
            Scale::Bytes | Scale::Doubling => value.log2(),
            Scale::Nines => 1.0 / (1.0 - value),
            _ => value,
        }
    }

    /// What stands at ticks.
    pub(super) fn ticks(self) -> TickFormat {
        match self {
            Scale::Linear | Scale::Around(_) => TickFormat::Auto,
            Scale::Count => TickFormat::Integer,
            Scale::Doubling => TickFormat::Custom(Arc::new(doubling_tick)),
            Scale::Log => TickFormat::Custom(Arc::new(log_tick)),
            Scale::Bytes => TickFormat::Custom(Arc::new(bytes_tick)),
            Scale::Nines => TickFormat::Custom(Arc::new(nines_tick)),
        }
    }
}

fn log_tick(value: f64) -> String {
    if value >= 1e9 {
        format!("{} G", value / 1e9)
    } else if value >= 1e6 {
        format!("{} M", value / 1e6)
    } else if value >= 1e3 {
        format!("{} k", value / 1e3)
    } else if value >= 1e-3 {
        // Ticks are 1, 2 or 5 times a power of ten; rounding takes away what binary fractions add.
        format!("{}", (value * 1e3).round() / 1e3)
    } else {
        format!("{value:.0e}")
    }
}

/// Sizes begin at one byte; half a byte left of it is only there to make room.
fn bytes_tick(place: f64) -> String {
    if place < 0.0 { String::new() } else { units::bytes(place.exp2().round() as u64) }
}

/// Nothing is below 1: what is left of it only makes room.
fn doubling_tick(place: f64) -> String {
    if place < 0.0 { String::new() } else { format!("{}", place.exp2().round()) }
}

fn nines_tick(place: f64) -> String {
    let percent = 100.0 * (1.0 - 1.0 / place);
    let decimals = (place.log10() - 2.0).ceil().clamp(0.0, 6.0) as usize;
    format!("{percent:.decimals$} %")
}

/// The least of 1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10 times a power of ten that is above `value` with room to spare.
pub(super) fn nice_above(value: f64) -> f64 {
    const STEPS: [f64; 11] = [1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
    if value <= 0.0 {
        return 1.0;
    }
    let wanted = value * 1.03;
    let power = 10f64.powf(wanted.log10().floor());
    let step = STEPS.into_iter().find(|step| step * power >= wanted);
    step.unwrap_or(10.0) * power
}

/// The greatest of 1, 2, 5 times a power of ten that is below `value` with room to spare.
pub(super) fn log_step_below(value: f64) -> f64 {
    let wanted = value / 1.05;
    let power = 10f64.powf(wanted.log10().floor());
    let step = [5.0, 2.0].into_iter().find(|step| step * power <= wanted);
    step.unwrap_or(1.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_written_short() {
        assert_eq!(log_tick(2e6), "2 M");
        assert_eq!(log_tick(0.02), "0.02");
        assert_eq!([-1.0, 0.0, 6.0].map(doubling_tick), ["", "1", "64"]);
        assert_eq!(nines_tick(10.0), "90 %");
        assert_eq!(nines_tick(1000.0), "99.9 %");
        assert_eq!(nines_tick(100_000.0), "99.999 %");
    }

    #[test]
    fn a_logarithmic_axis_ends_at_a_step_around_its_values() {
        for (value, below) in [(3.0, 2.0), (7.0, 5.0), (1.5, 1.0), (1.0, 0.5), (0.012, 0.01)] {
            let found = log_step_below(value);
            assert!((found / below - 1.0).abs() < 1e-9, "{value}: {found}");
        }
    }

    #[test]
    fn an_axis_ends_a_little_above_its_greatest_value() {
        for (value, end) in [(0.0, 1.0), (0.9, 1.0), (1.0, 1.2), (7.0, 8.0), (9.9, 12.0), (0.031, 0.04)] {
            assert!((nice_above(value) - end).abs() < 1e-9, "{value}: {}", nice_above(value));
        }
    }
}
