//! Bandwidth over time in one trial, as a file.

use std::path::Path;

use super::error::ResultsError;

/// Column names of a timeline's file.
const HEADER: &str = "ms,gigabytes_per_second,event";

/// Bandwidth over time, and what happened meanwhile.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// The beginning of each bin in milliseconds, and what was delivered in it, in 10^9 bytes per second.
    pub rates: Vec<(f64, f64)>,
    /// What happened, and when in milliseconds.
    pub events: Vec<(f64, String)>,
}

impl Timeline {
    /// As CSV: a line a bin, and a line without a rate an event, by time.
    pub(super) fn csv(&self) -> String {
        let mut lines: Vec<(f64, String)> = self.rates.iter().map(|(ms, rate)| (*ms, format!("{ms:.3},{rate:.6},"))).collect();
        lines.extend(self.events.iter().map(|(ms, event)| (*ms, format!("{ms:.3},,{event}"))));
        lines.sort_by(|a, b| a.0.total_cmp(&b.0));
        let lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
        format!("{HEADER}\n{}\n", lines.join("\n"))
    }

    /// Reads what [`csv`](Timeline::csv) wrote; lines that make no sense are left out, for the file is for a picture only.
    fn parse(text: &str) -> Timeline {
        let mut timeline = Timeline::default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.splitn(3, ',').collect();
            let [ms, rate, event] = fields[..] else { continue };
            let Ok(ms) = ms.parse::<f64>() else { continue };
            match rate.parse::<f64>() {
                Ok(rate) => timeline.rates.push((ms, rate)),
                Err(_) if !event.is_empty() => timeline.events.push((ms, event.to_owned())),
                Err(_) => {}
            }
        }
        timeline
    }

    /// The timeline in a file; none if there is no such file.
    ///
    /// # Errors
    /// [`ResultsError::Io`].
    pub(super) fn read(path: &Path) -> Result<Option<Timeline>, ResultsError> {
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Some(Timeline::parse(&text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ResultsError::io(path, "read")(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_in_the_order_of_time() {
        let timeline = Timeline { rates: vec![(0.0, 1.5), (5.0, 0.0), (10.0, 2.25)], events: vec![(7.125, "kill".into())] };
        let text = timeline.csv();
        assert_eq!(text.lines().nth(3), Some("7.125,,kill"));
        assert_eq!(Timeline::parse(&text), timeline);
        assert_eq!(Timeline::parse("nonsense\n1,2\nx,y,z\n,,\n"), Timeline::default());
    }
}
