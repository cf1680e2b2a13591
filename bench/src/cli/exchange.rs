//! `squall import` and `squall export`: rows from other benchmarks, and for tools that watch benchmarks.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::output::{notice, say};
use super::status::EXIT_DONE;
use squall_report::{RunFolder, Source, Summary, bencher, criterion, import, read_rows};

pub(super) const IMPORT_EXAMPLES: &str = "\
Examples:
  squall import perftest bw-1.txt bw-2.txt              outputs of ib_write_bw, ib_write_lat and their kin
  squall import osu --nodes 16 bcast.txt                OSU does not print how many processes took part
  squall import iperf3 stream.json --out results/iperf3
  squall import fio disk.json && squall plot results/...-import-fio

Sources: perftest, osu, nccl-tests, iperf3 (--json), fio (--output-format=json), sockperf. The same point again, in one
file or in several, is another trial. Rows have the source as their fabric and are compared and drawn like ours.";

pub(super) const EXPORT_EXAMPLES: &str = "\
Examples:
  squall export bencher results/now > metrics.json      for `bencher run --adapter json --file metrics.json`
  squall export criterion results/now                   a line a point, as `cargo criterion --message-format=json` prints";

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// What printed the files: perftest, osu, nccl-tests, iperf3, fio, sockperf
    source: Source,
    /// What it printed
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Processes that took part, for a source that does not print it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    nodes: Option<u32>,
    /// Folder for the rows; it must be new [default: results/<date-time>-import-<source>]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The format
    #[arg(value_enum)]
    format: Format,
    /// A run's folder or a results.csv
    run: PathBuf,
}

/// Formats of tools that watch benchmarks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Bencher's metric format
    Bencher,
    /// The messages of cargo criterion, a line each
    Criterion,
}

/// Reads what another benchmark printed into a run of its own, and draws it.
pub(super) fn import_files(args: &ImportArgs) -> anyhow::Result<u8> {
    let rows = import(args.source, &args.files, args.nodes)?;
    let name = format!("import-{}", args.source);
    let asked = json!({ "source": args.source.name(), "files": args.files, "nodes": args.nodes });
    let mut folder = RunFolder::create(args.out.as_deref(), &name, std::env::args().collect(), asked, json!({}))?;
    for row in &rows {
        folder.append(row)?;
    }
    let rendered = folder.render()?;
    say(&super::table::text(&rendered.summary))?;
    say(&format!("report: {}", rendered.report.display()))?;
    Ok(EXIT_DONE)
}

/// Prints a run in the format of another tool.
pub(super) fn export(args: &ExportArgs) -> anyhow::Result<u8> {
    let found = read_rows(&args.run)?;
    notice(&found.notices);
    let summary = Summary::of(&found.rows);
    say(&match args.format {
        Format::Bencher => format!("{:#}", bencher(&summary)),
        Format::Criterion => criterion(&summary).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    })?;
    Ok(EXIT_DONE)
}
