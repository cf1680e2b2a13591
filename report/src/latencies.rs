//! `latencies.csv`: of each trial that kept a histogram, how many samples it has, and the percentiles that they carry.

use std::fs;
use std::path::Path;

use crate::error::ResultsError;
use crate::files::{HISTOGRAMS_FOLDER, LATENCIES_FILE, replace};
use crate::histogram::{read_percentile_text, samples, stem};
use crate::row::{Point, Row};

/// The percentiles, by the ends of their columns' names.
const QUANTILES: [(&str, f64); 6] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("p9999", 0.9999), ("p99999", 0.99999)];

/// Whether so many samples carry a quantile: at least one of them has to lie beyond it.
pub fn carries(samples: u64, quantile: f64) -> bool {
    // A millionth for what binary fractions lack.
    samples as f64 * (1.0 - quantile) >= 1.0 - 1e-6
}

/// Writes `latencies.csv` beside the histograms of a run, if it has any.
pub(crate) fn write(rows: &[Row], run: &Path) -> Result<(), ResultsError> {
    let folder = run.join(HISTOGRAMS_FOLDER);
    if !folder.is_dir() {
        return Ok(());
    }
    let file = run.join(LATENCIES_FILE);
    let failed = |error: csv::Error| ResultsError::io(&file, "write")(std::io::Error::other(error));
    let mut writer = csv::Writer::from_writer(Vec::new());
    let names = QUANTILES.iter().map(|(name, _)| format!("latency_us_{name}"));
    let keys = Point::COLUMNS.into_iter().chain(["trial", "samples"]).map(str::to_owned);
    writer.write_record(keys.chain(names)).map_err(failed)?;
    for row in rows.iter().filter(|row| row.is_measured()) {
        let text = fs::read_to_string(folder.join(format!("{}.hgrm", stem(&row.point(), row.trial))));
        if let Some(record) = text.ok().and_then(|text| record(row, &text)) {
            writer.write_record(record).map_err(failed)?;
        }
    }
    let bytes = writer.into_inner().map_err(|error| failed(error.into_error().into()))?;
    replace(&file, &bytes)
}

/// The line of one trial; nothing if the text is no histogram.
fn record(row: &Row, text: &str) -> Option<Vec<String>> {
    let count = samples(text)?;
    let found = read_percentile_text(text);
    let at = |quantile: f64| found.iter().find(|step| step.quantile >= quantile - 1e-12).map(|step| step.latency_us.to_string());
    let keys = row.point().cells().into_iter().chain([row.trial.to_string(), count.to_string()]);
    let percentiles = QUANTILES.iter().map(|(_, quantile)| at(*quantile).filter(|_| carries(count, *quantile)).unwrap_or_default());
    Some(keys.chain(percentiles).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_carry_what_one_of_them_lies_beyond() {
        assert!(!carries(40, 0.999) && carries(1000, 0.999) && !carries(999, 0.999));
        assert!(carries(100_000, 0.99999) && !carries(99_999, 0.99999));
    }

    #[test]
    fn percentiles_beyond_the_samples_are_blank() {
        let text = "  1.000 0.500000000000 500 2.00\n 2.000 0.900000000000 900 10.00\n 3.000 0.990625000000 991 1.0\n \
                    9.000 0.999023437500 999 1.0\n#[Max     =       10.000, Total count    =         1000]\n";
        let found = record(&Row { trial: 2, ..Row::default() }, text).unwrap();
        assert_eq!(found[9..], ["2", "1000", "1", "2", "3", "9", "", ""]);
        assert_eq!(record(&Row::default(), "nonsense"), None);
    }
}
