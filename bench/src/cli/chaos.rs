//! `squall chaos`: processes of this host under faults.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::say;
use super::status::{EXIT_DONE, EXIT_INTERRUPTED, EXIT_POINTS_FAILED};
use crate::ask::axes;
use crate::ask::request::UsageError;
use crate::ask::size::ByteSize;
use crate::chaos::{BREAKUPS_EVERY, BYTES_MIN, Kind, Options, Round, Strike, Tally, run};
use crate::jobs::kinds::FabricKind;
use crate::run::interrupt::Interrupt;
use squall_report::{Moment, units};

pub(super) const EXAMPLES: &str = "\
Examples:
  squall chaos                                   five processes, twenty rounds of faults, about a quarter of a minute
  squall chaos --nodes 7 --rounds 500 --fabric tcp
  squall chaos --faults kill,join --size 16B..1MB --rate 2000
  squall chaos --seed 4711 --rounds 3            the faults of one group again

In each round faults happen at random moments under load. Fewer than half of the members get SIGKILL.
Members get SIGSTOP, and SIGCONT before or after the others have noticed. Connections are shut down.
Processes join, leave, or die during a state transfer. Then the load stops and the group must come to
rest. The traces of all processes are checked: one chain of views, one order, no message lost, delivered
twice or delivered at some members only, equal states.

A seed fixes the faults, not the moments at which they meet the protocol. A line that replays a failure
may have to be run several times.

A group breaks up if the machine keeps live members waiting for so long that they suspect each other.
That is reported, and is a failure in more than one round in twenty.

Exit status: 0 if every property held, 3 if one was broken (its traces are kept), 130 if ended by Ctrl-C.";

#[derive(Debug, clap::Args)]
pub(super) struct ChaosArgs {
    /// Members of a group, 3 to 64
    #[arg(long, value_name = "N", default_value = "5", value_parser = axes::nodes)]
    nodes: u32,
    /// Rounds of faults; each group lives ten
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Seed of the first group; each further group adds one [default: from the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What carries the messages: shm or tcp
    #[arg(long, value_enum, default_value_t = FabricKind::Shm)]
    fabric: FabricKind,
    /// Faults to inject
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST", default_values_t = Kind::ALL)]
    faults: Vec<Kind>,
    /// Message sizes, from..to; every power of two is equally likely
    #[arg(long, value_name = "SIZE..SIZE", default_value = "16B..32KB", value_parser = sizes)]
    size: (u64, u64),
    /// Messages a second of each member
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: u64,
    /// Silence after which a member is suspected
    #[arg(long, value_name = "TIME", default_value = "500ms", value_parser = time)]
    suspect_after: Duration,
    /// How long a group may take to come to rest
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    patience: Duration,
    /// Folder for the traces; it must be new or empty [default: results/<date-time>-chaos]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keep the traces of all groups, not only of failed ones
    #[arg(long)]
    keep: bool,
}

/// `16B..32KB`, or one size.
fn sizes(text: &str) -> Result<(u64, u64), String> {
    let size = |text: &str| text.parse::<ByteSize>().map(|size| size.0).map_err(|error| error.to_string());
    let (from, to) = text.split_once("..").unwrap_or((text, text));
    let (from, to) = (size(from)?, size(to)?);
    if from < BYTES_MIN {
        return Err(format!("a message names its sender and its number: use at least {BYTES_MIN}B"));
    }
    if to < from {
        return Err("the larger size comes last, as in 16B..32KB".into());
    }
    Ok((from, to))
}

/// `200ms`, `30s`.
fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "give a whole number with a unit, such as 200ms or 30s".to_owned();
    let (number, unit): (&str, fn(u64) -> Duration) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, Duration::from_millis),
        (None, Some(number)) => (number, Duration::from_secs),
        (None, None) => return Err(wrong()),
    };
    let time = unit(number.trim().parse().map_err(|_| wrong())?);
    if time < Duration::from_millis(1) || time > Duration::from_secs(24 * 3600) {
        return Err("a time from 1ms to a day".into());
    }
    Ok(time)
}

/// Runs the rounds; whether every property held.
pub(super) fn strike(args: ChaosArgs) -> anyhow::Result<u8> {
    if args.nodes < 3 {
        return Err(UsageError("--nodes 2: neither of two members is a majority when the other is lost; use 3 or more".into()).into());
    }
    if args.fabric == FabricKind::Verbs {
        return Err(UsageError("--fabric verbs: chaos runs the processes of one host; use shm or tcp".into()).into());
    }
    let now = Moment::now();
    let seed = args.seed.unwrap_or(now.unix_seconds);
    let folder = args.out.clone().unwrap_or_else(|| PathBuf::from("results").join(format!("{}-chaos", now.file_name())));
    let options = Options {
        nodes: args.nodes as usize,
        rounds: args.rounds,
        seed,
        fabric: args.fabric,
        kinds: args.faults.clone(),
        bytes: args.size,
        rate: args.rate,
        suspect_after: args.suspect_after,
        patience: args.patience,
        folder,
        keep: args.keep,
    };
    let interrupt = Interrupt::catch(EXIT_INTERRUPTED)?;
    let bar = progress(args.rounds);
    let tally = run(&options, &interrupt, |round| show(&bar, round))?;
    drop(bar);
    for failure in tally.failures.iter().chain(&tally.breakups) {
        let strikes = list(&failure.strikes);
        say(&format!(
            "round {} of the group with seed {} ({strikes}): traces in {}",
            failure.round,
            failure.seed,
            failure.folder.display()
        ))?;
        for line in &failure.broken {
            say(&format!("  {line}"))?;
        }
        say(&format!("  {}", replay_line(&args, failure.seed, failure.round)))?;
    }
    say(&summary(&tally))?;
    // Only if nothing is left in it.
    let _ = fs::remove_dir(&options.folder);
    Ok(match tally {
        Tally { failures, .. } if !failures.is_empty() => EXIT_POINTS_FAILED,
        Tally { breakups, rounds, .. } if breakups.len() as u64 > 1 + rounds / BREAKUPS_EVERY => EXIT_POINTS_FAILED,
        Tally { interrupted: true, .. } => EXIT_INTERRUPTED,
        _ => EXIT_DONE,
    })
}

fn progress(rounds: u64) -> Option<ProgressBar> {
    io::stderr().is_terminal().then(|| {
        let bar = ProgressBar::with_draw_target(Some(rounds), ProgressDrawTarget::stderr_with_hz(5));
        // The template is a constant, so the default style is never what is shown.
        bar.set_style(
            ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed_precise} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar
    })
}

fn show(bar: &Option<ProgressBar>, round: &Round<'_>) {
    let line = format!("seed {} round {}: {}; {} members", round.seed, round.round, list(round.strikes), round.members);
    match bar {
        Some(bar) => {
            bar.inc(1);
            bar.set_message(line);
        }
        // Nobody reads it: the run goes on.
        None => drop(writeln!(io::stderr(), "{line}")),
    }
}

fn list(strikes: &[Strike]) -> String {
    let said: Vec<String> = strikes.iter().map(|strike| format!("{} at {} ms", strike.fault, strike.at.as_millis())).collect();
    if said.is_empty() { "no fault".into() } else { said.join(", ") }
}

/// The line that runs the faults of a group again.
fn replay_line(args: &ChaosArgs, seed: u64, round: u64) -> String {
    let faults = args.faults.iter().map(Kind::to_string).collect::<Vec<_>>().join(",");
    let (from, to) = args.size;
    format!(
        "squall chaos --seed {seed} --rounds {} --nodes {} --fabric {} --faults {faults} --size {from}B..{to}B --rate {} --suspect-after {}ms",
        round + 1,
        args.nodes,
        args.fabric,
        args.rate,
        args.suspect_after.as_millis()
    )
}

fn summary(tally: &Tally) -> String {
    let faults: Vec<String> = tally.faults.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let rate = tally.rounds as f64 / tally.elapsed.as_secs_f64().max(1e-9);
    let mut lines = vec![
        format!(
            "{} in {} ({} rounds a second): {}",
            units::counted(tally.rounds as usize, "round"),
            units::counted(tally.groups as usize, "group"),
            units::number(rate),
            if faults.is_empty() { "no faults".into() } else { faults.join(", ") }
        ),
        format!(
            "{}, {} sent, {} delivered, {} with state, {} came back, {} asked again",
            units::counted(tally.views as usize, "view"),
            tally.sends,
            tally.deliveries,
            units::counted(tally.transfers as usize, "join"),
            tally.returns,
            tally.refusals
        ),
    ];
    lines.extend(tally.skipped.iter().map(|skipped| format!("skipped: {skipped}")));
    if !tally.breakups.is_empty() {
        lines.push(format!(
            "{} broke up: live members suspected each other; the machine was too slow for --suspect-after",
            units::counted(tally.breakups.len(), "group")
        ));
    }
    lines.push(format!("{} failed", units::counted(tally.failures.len(), "round")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_one_or_a_range() {
        assert_eq!(sizes("16B..32KB"), Ok((16, 32 << 10)));
        assert_eq!(sizes("1MB"), Ok((1 << 20, 1 << 20)));
        for wrong in ["1B", "32KB..16B", "..", "16B..", "x"] {
            assert!(sizes(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(time("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(time("3s"), Ok(Duration::from_secs(3)));
        for wrong in ["3", "0ms", "ms", "-1s", "90000s", "1m"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }
}
