//! The OSU micro-benchmarks: latency, bandwidth and collectives of MPI, versions 3 to 7.
//!
//! They do not print how many processes took part, except that point-to-point tests have two.

use super::lines::{Flaw, number, numbered, whole};
use crate::row::Row;

const FABRIC: &str = "osu-mpi";
const MEND: &str = "Give the whole output, from the line `# OSU ... Test v...` on";

/// What the headline says.
struct Test {
    name: String,
    version: String,
    columns: Vec<String>,
}

impl Test {
    fn of(line: &str) -> Option<Test> {
        let line = line.trim_start_matches(['#', ' ']);
        let (name, version) = line.strip_prefix("OSU ")?.rsplit_once(" Test").filter(|(name, _)| name.contains("MPI"))?;
        Some(Test { name: name.trim().to_owned(), version: version.trim().to_owned(), columns: Vec::new() })
    }

    fn is_between_two(&self) -> bool {
        ["MPI Latency", "MPI Bandwidth", "MPI Bi-Directional Bandwidth", "MPI_Put", "MPI_Get"]
            .iter()
            .any(|name| self.name.starts_with(name))
    }

    /// The experiment of ours that it stands beside, and who sends.
    fn experiment(&self) -> (&'static str, &'static str) {
        match self.name.as_str() {
            "MPI Latency" | "MPI Bandwidth" | "MPI Bi-Directional Bandwidth" => ("send", ""),
            name if name.starts_with("MPI_Put") => ("write", ""),
            name if name.starts_with("MPI_Get") => ("read", ""),
            "MPI Broadcast Latency" => ("latency", "one"),
            _ => ("collective", "all"),
        }
    }
}

pub(super) fn rows(text: &str, nodes: Option<u32>) -> Result<Vec<Row>, Flaw> {
    let mut test: Option<Test> = None;
    let mut rows = Vec::new();
    for (at, line) in numbered(text) {
        let trimmed = line.trim();
        if let Some(found) = Test::of(trimmed) {
            test = Some(found);
        } else if let Some(test) = &mut test {
            let plain = trimmed.trim_start_matches(['#', ' ']);
            if plain.starts_with("Size") {
                test.columns = columns(plain);
            } else if !test.columns.is_empty() && trimmed.starts_with(|c: char| c.is_ascii_digit()) {
                rows.push(row(at, trimmed, test, nodes)?);
            }
        } else if trimmed.starts_with("# Size") {
            return Err(Flaw::new(at, "a table without the headline of a test", "a line such as `# OSU MPI Latency Test v7.3`", MEND));
        }
    }
    if rows.is_empty() {
        return Err(Flaw::new(text.lines().count().max(1), "no line of results", "the output of an OSU micro-benchmark", MEND));
    }
    Ok(rows)
}

/// `Size`, `Avg Latency(us)`, ...: a name ends with its unit in brackets, or stands alone.
fn columns(header: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut open = String::new();
    for word in header.split_whitespace() {
        if word == "Size" || word == "Iterations" {
            names.push(word.to_owned());
            continue;
        }
        // `Latency (us)` of older versions.
        if !open.is_empty() && !word.starts_with('(') {
            open.push(' ');
        }
        open.push_str(word);
        if word.ends_with(')') || word.ends_with("/s") {
            names.push(std::mem::take(&mut open));
        }
    }
    names
}

fn row(at: usize, line: &str, test: &Test, nodes: Option<u32>) -> Result<Row, Flaw> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let read = |names: &[&str]| {
        let place = test.columns.iter().position(|name| names.contains(&name.as_str()));
        place.and_then(|place| Some((fields.get(place)?, &test.columns[place]))).map(|(field, name)| number(at, field, name)).transpose()
    };
    let nodes = match nodes {
        // Whatever others took that stand in the same command.
        _ if test.is_between_two() => 2,
        Some(nodes) => nodes,
        None => {
            let mend = "Say how many processes took part: --nodes N";
            return Err(Flaw::new(at, format!("{} does not print its processes", test.name), "their number", mend));
        }
    };
    let bytes = whole(at, fields[0], "Size")?;
    let (experiment, pattern) = test.experiment();
    let latency = read(&["Latency(us)", "Avg Latency(us)"])?;
    // Its megabytes are 10^6 bytes.
    let bandwidth = read(&["Bandwidth(MB/s)", "MB/s"])?.map(|megabytes| megabytes / 1e3);
    if latency.is_none() && bandwidth.is_none() {
        let known = "a column Latency (us), Avg Latency(us) or Bandwidth (MB/s)";
        return Err(Flaw::new(
            at,
            format!("columns {}", test.columns.join(", ")),
            known,
            "This test of OSU is not known: leave the file out",
        ));
    }
    let iterations = read(&["Iterations"])?.map(|count| count as u64);
    let mean = if latency.is_some() { "; p50 is its mean, min and max are of processes" } else { "" };
    let per_message = bandwidth.map(|bandwidth| bandwidth * 1e9 / bytes.max(1) as f64);
    Ok(Row {
        experiment: experiment.into(),
        fabric: FABRIC.into(),
        nodes,
        senders: if pattern == "all" { nodes } else { 1 },
        sender_pattern: pattern.into(),
        message_bytes: bytes,
        messages_per_sender: iterations,
        schedule: test.name.to_lowercase().replace([' ', '_'], "-"),
        algbw_gigabytes_per_second: bandwidth,
        messages_per_second: per_message,
        latency_us_min: read(&["Min Latency(us)"])?,
        latency_us_p50: latency,
        latency_us_max: read(&["Max Latency(us)"])?,
        note: format!("imported from OSU {} {}{mean}", test.name, test.version),
        ..Row::default()
    })
}
