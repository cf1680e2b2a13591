//! `squall compare`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::output::{notice, say};
use super::status::{EXIT_BELOW, EXIT_DONE};
use crate::ask::request::UsageError;
use squall_report::{
    CompareOptions, Comparison, Rate, at_least, compare, lines_csv, save_baseline, side_by_side, side_by_side_markdown, write_page,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  squall compare results/before results/after
  squall compare results/before results/after results/later     each with the first
  squall compare before/results.csv after/results.csv --fail-below 0.9 --json
  squall compare results/after --at-least 12GB/s
In CI:
  squall compare results/good --save-baseline baseline.csv      once; commit the file
  squall compare results/now --baseline baseline.csv --format markdown

Verdicts: better, worse (both by more than chance allows, over all lines together), same (within --margin), or
undecided, with the number of trials that would find a loss of a tenth.

Exit status: 0; 4 if a point is worse than a --baseline, surely below --fail-below or --at-least, or missing.
What scatter may explain is undecided and passes.";

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// The baseline and what is compared with it: folders of runs, or any results.csv
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Compare every RUN with this committed file (or run), and fail if one is worse
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write RUN and the machine that it was measured on into one file to commit, for --baseline
    #[arg(long, value_name = "FILE", conflicts_with_all = ["baseline", "fail_below", "at_least"])]
    save_baseline: Option<PathBuf>,
    /// Fail if a point is surely below this share of the baseline, or missing [example: 0.9]
    #[arg(long, value_name = "R", value_parser = share)]
    fail_below: Option<f64>,
    /// Fail if no trial of a point reaches this bandwidth [example: 12GB/s]
    #[arg(long, value_name = "RATE")]
    at_least: Option<Rate>,
    /// Let points be missing that were measured before, or were asked for
    #[arg(long)]
    allow_missing: bool,
    /// Ratios this near to 1 count as the same
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = percent)]
    margin: f64,
    /// Print every line, not only those that differ
    #[arg(long)]
    all: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Print JSON, as --format json
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Draw the ratios with their intervals, as FILE.svg and FILE.png
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Write one page with the curves of all runs over each other, and every line
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// How a comparison is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For a terminal
    Table,
    /// Every line, for other programs
    Csv,
    /// For a pull request
    Markdown,
    /// Everything, for other programs
    Json,
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share <= 10.0 => Ok(share),
        _ => Err("give a share above 0, such as 0.9".into()),
    }
}

/// `5%` or `5`, from 0 to 90, as a share.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').trim().parse::<f64>() {
        Ok(percent) if (0.0..=90.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("give a percentage, such as 5%".into()),
    }
}

/// Runs that a comparison has letters for.
const RUNS_MAX: usize = 26;

/// Compares, prints what came of it, and gives the exit status.
pub(super) fn compare_runs(args: &CompareArgs) -> anyhow::Result<u8> {
    if let Some(file) = &args.save_baseline {
        return save(&args.runs, file);
    }
    let (baseline, candidates) = sides(args)?;
    let options = CompareOptions {
        fail_below: args.fail_below,
        fail_if_worse: args.baseline.is_some(),
        allow_missing: args.allow_missing,
        margin: args.margin,
    };
    let comparisons: Vec<Comparison> = candidates.iter().map(|run| compare(baseline, run, &options)).collect::<Result<_, _>>()?;
    let held = candidates.last().unwrap_or(baseline);
    let floor = args.at_least.map(|rate| at_least(held, rate, args.allow_missing)).transpose()?;
    let passed = comparisons.iter().all(|found| found.passed) && floor.as_ref().is_none_or(|found| found.passed);
    if let Some(file) = &args.plot {
        draw(&comparisons, file)?;
    }
    if let Some(file) = &args.html {
        write_page(&comparisons, file)?;
    }
    let text = match if args.json { Format::Json } else { args.format } {
        Format::Json => {
            let found = match (&comparisons[..], &floor) {
                ([comparison], None) => serde_json::to_value(comparison)?,
                ([], Some(floor)) => serde_json::to_value(floor)?,
                ([comparison], floor) => serde_json::json!({ "comparison": comparison, "at_least": floor }),
                (comparisons, floor) => serde_json::json!({ "comparisons": comparisons, "at_least": floor }),
            };
            format!("{found:#}")
        }
        Format::Csv => {
            comparisons.iter().for_each(|comparison| notice(&comparison.notices));
            lines_csv(&comparisons)
        }
        format => {
            let floor = floor.map(|found| found.text());
            let compared = match &comparisons[..] {
                [] => None,
                [comparison] if format == Format::Markdown => Some(comparison.markdown(args.all)),
                [comparison] => Some(comparison.text(args.all)),
                comparisons if format == Format::Markdown => Some(side_by_side_markdown(comparisons, args.all)),
                comparisons => Some(side_by_side(comparisons, args.all)),
            };
            [floor, compared].into_iter().flatten().collect::<Vec<_>>().join("\n")
        }
    };
    say(&text)?;
    Ok(if passed { EXIT_DONE } else { EXIT_BELOW })
}

/// The baseline and what is compared with it, which is nothing if a run is only held to a bandwidth.
fn sides(args: &CompareArgs) -> anyhow::Result<(&PathBuf, &[PathBuf])> {
    match (&args.baseline, &args.runs[..]) {
        (baseline, runs) if runs.len() + usize::from(baseline.is_some()) > RUNS_MAX => Err(usage(&format!(
            "a comparison has a letter for each run, {RUNS_MAX} at the most; compare some of these {} at a time",
            runs.len()
        ))),
        (Some(baseline), runs) => Ok((baseline, runs)),
        (None, [only]) if args.at_least.is_some() && args.fail_below.is_none() => Ok((only, &[])),
        (None, [_]) => Err(usage("give a second RUN to compare with the first, or --baseline FILE, or --at-least RATE")),
        (None, [first, rest @ ..]) => Ok((first, rest)),
        (None, []) => Err(usage("give a RUN")),
    }
}

/// An error of the command line, with the mend.
fn usage(why: &str) -> anyhow::Error {
    UsageError(why.to_owned()).into()
}

fn save(runs: &[PathBuf], file: &Path) -> anyhow::Result<u8> {
    let [run] = runs else { return Err(usage("--save-baseline takes one RUN")) };
    let saved = save_baseline(run, file)?;
    notice(&saved.notices);
    say(&format!("{}: {} trials and their machine; compare with it: squall compare RUN --baseline {0}", file.display(), saved.trials))?;
    Ok(EXIT_DONE)
}

/// Draws each comparison, with a number behind the name if there are several.
fn draw(comparisons: &[Comparison], file: &Path) -> anyhow::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = file.file_stem().context("--plot takes the name of a file")?.to_string_lossy();
    for (at, comparison) in comparisons.iter().enumerate() {
        let number = if comparisons.len() == 1 { String::new() } else { format!("-{}", at + 1) };
        comparison.draw(folder, &format!("{name}{number}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_shares() {
        assert_eq!((percent("5%"), percent("2.5"), percent("0 %")), (Ok(0.05), Ok(0.025), Ok(0.0)));
        for wrong in ["", "x", "-1%", "95%"] {
            assert!(percent(wrong).is_err(), "{wrong}");
        }
    }
}
