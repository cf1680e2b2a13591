//! What all saw in one trial, and what that comes to.

use std::fmt::Write;

use crate::ask::upset::{ACTIVE, CALM, GAP, INSTALLED, MET, NEWCOMER, TRIMMED, VOTER, WEDGED};
use crate::jobs::change::{BIN_NS, Bin, Change, Seen};
use squall_report::Row;
use squall_report::units;

/// Share of the time before the fault that is no part of it: the group warms up.
const WARM_UP: f64 = 0.25;

/// What all saw in one trial.
pub(super) struct Outcome {
    pub(super) origin_ns: u64,
    pub(super) fault_ns: u64,
    /// When the last newcomer had its vote, if any came.
    pub(super) over_ns: Option<u64>,
    /// Those that were there before and after.
    pub(super) members: Vec<Seen>,
    pub(super) newcomers: Vec<Seen>,
    /// Processor time of members and of newcomers from the fault until it was over, as far as they are on this host.
    pub(super) cpu_seconds: (f64, f64),
    pub(super) note: Option<String>,
}

/// What a part of the outcome comes to.
pub(super) struct Part {
    pub(super) name: &'static str,
    /// Of each member that it is about.
    pub(super) times_ns: Vec<u64>,
    /// Deliveries a second at the median member, where it is about those.
    pub(super) deliveries_per_second: Option<f64>,
    pub(super) note: String,
}

impl Part {
    fn times(name: &'static str, times_ns: Vec<u64>) -> Part {
        Part { name, times_ns, deliveries_per_second: None, note: String::new() }
    }

    /// In a row: least, median and greatest of the members' times.
    pub(super) fn in_row(mut self, row: Row) -> Row {
        self.times_ns.sort_unstable();
        let us = |ns: Option<&u64>| ns.map(|ns| *ns as f64 / 1e3);
        Row {
            latency_us_min: us(self.times_ns.first()),
            latency_us_p50: us(self.times_ns.get(self.times_ns.len() / 2)),
            latency_us_max: us(self.times_ns.last()),
            messages_per_second: self.deliveries_per_second,
            note: self.note,
            ..row
        }
    }
}

/// Deliveries of a member in a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stretch {
    per_second: f64,
    gap_ns: u64,
}

impl Stretch {
    /// In bins `from..to`.
    fn of(bins: &[Bin], from: usize, to: usize) -> Stretch {
        let (from, to) = (from.min(bins.len()), to.min(bins.len()));
        let bins = bins.get(from..to).unwrap_or_default();
        let deliveries: u64 = bins.iter().map(|bin| bin.deliveries).sum();
        let seconds = (bins.len() as u64 * BIN_NS) as f64 / 1e9;
        Stretch {
            per_second: if seconds > 0.0 { deliveries as f64 / seconds } else { 0.0 },
            gap_ns: bins.iter().map(|bin| bin.gap_ns).max().unwrap_or(0),
        }
    }
}

impl Outcome {
    /// All parts; `None` if the view did not change, or nothing was delivered afterwards.
    pub(super) fn parts(&self) -> Option<Vec<Part>> {
        let changes: Vec<&Change> = self.members.iter().map(|seen| seen.changes.first()).collect::<Option<_>>()?;
        // A view that ends at once may deliver nothing.
        let first = |seen: &Seen| seen.firsts_ns.range(1..).next().map(|(_, &ns)| ns);
        let firsts: Vec<u64> = self.members.iter().map(first).collect::<Option<_>>()?;
        let noticed_ns = changes.iter().map(|change| change.wedged_ns).min()?;
        let since = |from_ns: u64, times: Vec<u64>| times.into_iter().map(|ns| ns.saturating_sub(from_ns)).collect::<Vec<u64>>();
        let of = |time: fn(&Change) -> u64| changes.iter().map(|change| time(change)).collect::<Vec<u64>>();
        let mut parts = vec![
            Part::times(WEDGED, since(self.fault_ns, of(|change| change.wedged_ns))),
            Part::times(TRIMMED, since(noticed_ns, of(|change| change.trimmed_ns))),
            Part::times(MET, since(noticed_ns, of(|change| change.met_ns))),
            Part::times(INSTALLED, since(noticed_ns, of(|change| change.installed_ns))),
            Part::times(ACTIVE, since(noticed_ns, firsts)),
        ];
        parts.extend(self.gaps());
        if !self.newcomers.is_empty() {
            let firsts: Option<Vec<u64>> = self.newcomers.iter().map(|seen| seen.firsts_ns.values().next().copied()).collect();
            let votes: Option<Vec<u64>> = self.newcomers.iter().map(|seen| seen.votes_ns).collect();
            parts.push(Part::times(NEWCOMER, since(self.fault_ns, firsts?)));
            parts.push(Part::times(VOTER, since(self.fault_ns, votes?)));
        }
        Some(parts)
    }

    /// The longest gaps before and after the fault, and the deliveries that there were beside them.
    fn gaps(&self) -> [Part; 2] {
        let bin = |ns: u64| (ns.saturating_sub(self.origin_ns) / BIN_NS) as usize;
        let fault = bin(self.fault_ns);
        let over = self.over_ns.map_or(usize::MAX, |over_ns| bin(over_ns) + 1);
        let before: Vec<Stretch> =
            self.members.iter().map(|seen| Stretch::of(&seen.bins, (fault as f64 * WARM_UP) as usize, fault)).collect();
        let after: Vec<Stretch> = self.members.iter().map(|seen| Stretch::of(&seen.bins, fault, over)).collect();
        let (calm, upset) = (rate(&before), rate(&after));
        let gaps = |stretches: &[Stretch]| stretches.iter().map(|stretch| stretch.gap_ns).collect::<Vec<u64>>();
        let note = format!("{} of the deliveries before{}", units::number(upset / calm.max(1e-9)), self.note_of_cpu());
        [
            Part { deliveries_per_second: Some(calm), ..Part::times(CALM, gaps(&before)) },
            Part { deliveries_per_second: Some(upset), note, ..Part::times(GAP, gaps(&after)) },
        ]
    }

    fn note_of_cpu(&self) -> String {
        let Some(over_ns) = self.over_ns else { return String::new() };
        let seconds = over_ns.saturating_sub(self.fault_ns) as f64 / 1e9;
        let ((members, newcomers), number) = (self.cpu_seconds, units::number);
        format!("; in {} s members took {} s and newcomers {} s of processor time", number(seconds), number(members), number(newcomers))
    }

    /// Bandwidth over time: least, median and most of the members that were there before and after.
    pub(super) fn timeline(&self) -> String {
        let mut text = String::from("ms_since_fault,gigabytes_per_second_min,gigabytes_per_second_median,gigabytes_per_second_max\n");
        let bins = self.members.iter().map(|seen| seen.bins.len()).max().unwrap_or(0);
        for bin in 0..bins {
            let mut rates: Vec<f64> =
                self.members.iter().map(|seen| seen.bins.get(bin).map_or(0, |bin| bin.bytes) as f64 / BIN_NS as f64).collect();
            rates.sort_by(f64::total_cmp);
            let at_ms = (self.origin_ns + bin as u64 * BIN_NS) as f64 / 1e6 - self.fault_ns as f64 / 1e6;
            let (least, most) = (rates.first().copied().unwrap_or(0.0), rates.last().copied().unwrap_or(0.0));
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{at_ms:.3},{least:.6},{:.6},{most:.6}", rates.get(rates.len() / 2).copied().unwrap_or(0.0));
        }
        text
    }
}

/// At the median member.
fn rate(stretches: &[Stretch]) -> f64 {
    let mut rates: Vec<f64> = stretches.iter().map(|stretch| stretch.per_second).collect();
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bin(deliveries: u64, gap_ns: u64) -> Bin {
        Bin { bytes: 100 * deliveries, deliveries, gap_ns }
    }

    #[test]
    fn gaps_and_deliveries_are_told_apart_by_the_fault() {
        // A silence of two bins, which ends in the fourth; the warm-up's longer one does not count.
        let mut bins = vec![bin(10, 1_000_000); 12];
        (bins[0].gap_ns, bins[6], bins[7], bins[8]) = (90_000_000, bin(0, 0), bin(0, 0), bin(10, 12_000_000));
        let member = Seen { bins, ..Seen::default() };
        let outcome = Outcome {
            origin_ns: 1000,
            fault_ns: 1000 + 6 * BIN_NS,
            over_ns: Some(1000 + 10 * BIN_NS),
            members: vec![member.clone(), member],
            newcomers: Vec::new(),
            cpu_seconds: (0.01, 0.0),
            note: None,
        };
        let [calm, gap] = outcome.gaps();
        assert_eq!((calm.times_ns, calm.deliveries_per_second), (vec![1_000_000; 2], Some(2000.0)));
        assert_eq!((gap.times_ns, gap.deliveries_per_second), (vec![12_000_000; 2], Some(2000.0 * 3.0 / 5.0)));
        assert!(gap.note.starts_with("0.60 of the deliveries before; in 0.0200 s"), "{}", gap.note);
        assert_eq!(outcome.parts().map(|parts| parts.len()), None, "no view followed");
        assert_eq!(outcome.timeline().lines().nth(1), Some("-30.000,0.000200,0.000200,0.000200"));
    }
}
