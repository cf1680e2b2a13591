//! `squall chaos`: processes of this host under faults.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;

use super::output::say;
use super::status::{EXIT_DONE, EXIT_INTERRUPTED, EXIT_POINTS_FAILED};
use crate::ask::axes;
use crate::ask::effect;
use crate::ask::request::UsageError;
use crate::ask::size::{self, ByteSize, SizeError};
use crate::ask::verbs::Verbs;
use crate::chaos::{BREAKUPS_EVERY, BYTES_MIN, Kind, Options, Round, Strike, Tally, run};
use crate::jobs::kinds::{FabricKind, GroupOrdering};
use crate::jobs::rdma::Rdma;
use crate::run::interrupt::Interrupt;
use crate::run::steps::Steps;
use squall_report::{Moment, new_folder, units};

pub(super) const EXAMPLES: &str = "\
Examples:
  squall chaos                                   five processes, twenty rounds of faults, about a quarter of a minute
  squall chaos --nodes 7 --rounds 500 --fabric tcp
  squall chaos --faults kill,join --size 16B..1MB --rate 2000
  squall chaos --seed 4711 --rounds 3            the faults of one group again
  squall chaos --nodes 2 --witness               two members, and a witness that decides between them
  squall chaos --nodes 1 --state 200MB           one founder, and newcomers that get a large state
  squall chaos --fabric verbs                    RDMA, or soft-RoCE by scripts/soft-roce run -- squall chaos ...

In each round faults happen at random moments under load. Fewer than half of the members get SIGKILL,
or one of two that have a witness. Members get SIGSTOP, and SIGCONT before or after the others have
noticed. Connections are shut down (over shm and verbs only those by which members meet). Processes
join, leave, or die during a state transfer. Then the load stops and the group must come to rest. The
traces of all processes are checked: one chain of views, one order, no message lost, delivered twice or
delivered at some members only, equal states.

A seed fixes the faults, not the moments at which they meet the protocol. A line that replays a failure
may have to be run several times.

A group breaks up if the machine keeps live members waiting for so long that they suspect each other.
That is reported, and is a failure in more than one round in twenty.

Exit status: 0 if every property held, 3 if one was broken (its traces are kept), 130 if ended by Ctrl-C.";

#[derive(Debug, clap::Args)]
pub(super) struct ChaosArgs {
    /// Members of a group, 1 to 64
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=i64::from(axes::NODES_MAX)))]
    nodes: u32,
    /// Give groups of two a witness, so that one goes on when it loses the other
    #[arg(long)]
    witness: bool,
    /// Rounds of faults; each group lives ten
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    rounds: u64,
    /// Seed of the first group; each further group adds one [default: from the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// What carries the messages: shm, tcp or verbs
    #[arg(long, value_name = "FABRIC", default_value = "shm", value_parser = fabric_of_one_host)]
    fabric: FabricKind,
    /// Order of delivery: any total order, since others agree on no history that could be checked
    #[arg(long, value_name = "ORDERING", default_value = "ordered", value_parser = total)]
    ordering: GroupOrdering,
    /// Faults to inject
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST", default_values_t = Kind::ALL)]
    faults: Vec<Kind>,
    /// Message sizes, from..to; every power of two is equally likely
    #[arg(long, value_name = "SIZE..SIZE", default_value = "16B..32KB", value_parser = sizes)]
    size: (u64, u64),
    /// Messages a second of each member
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: u64,
    /// Sizes of the application's state that newcomers are given; each group has one of the list
    #[arg(long, value_name = "LIST", default_value = "8B,64KB,1MB,4MB", value_parser = sizes_of_state)]
    state: std::vec::Vec<ByteSize>,
    /// Silence after which a member is suspected [default: 500ms, or 3s over a device in software]
    #[arg(long, value_name = "TIME", value_parser = time)]
    suspect_after: Option<Duration>,
    /// How long a group may take to come to rest
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    patience: Duration,
    /// Folder for the traces; it must be new or empty [default: results/<date-time>-chaos]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keep the traces of all groups, not only of failed ones
    #[arg(long)]
    keep: bool,
    /// How to use RDMA devices.
    #[command(flatten)]
    rdma: Rdma,
}

/// Members that share a core with a device in software are silent for as long as it works.
const SUSPECT_AFTER: Duration = Duration::from_millis(500);
const SUSPECT_AFTER_IN_SOFTWARE: Duration = Duration::from_secs(3);

/// What carries messages between processes of one host.
fn fabric_of_one_host(text: &str) -> Result<FabricKind, String> {
    match text {
        "shm" => Ok(FabricKind::Shm),
        "tcp" => Ok(FabricKind::Tcp),
        "verbs" => Ok(FabricKind::Verbs),
        _ => Err("chaos runs the processes of one host: give shm, tcp or verbs".into()),
    }
}

/// An order in which all members deliver the same.
fn total(text: &str) -> Result<GroupOrdering, String> {
    let known = || GroupOrdering::total().iter().map(GroupOrdering::to_string).collect::<Vec<_>>().join(", ");
    let found = GroupOrdering::total().into_iter().find(|ordering| ordering.0.name() == text);
    found.ok_or_else(|| format!("chaos checks one order of all members: give one of {}", known()))
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

/// By the full path of its type: an argument that clap splits by itself would have lost the comma of `1,5MB`.
fn sizes_of_state(text: &str) -> Result<std::vec::Vec<ByteSize>, SizeError> {
    size::sizes(text)
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
    let suspect_after = check(&args)?;
    let now = Moment::now();
    let seed = args.seed.unwrap_or(now.unix_seconds);
    let options = Options {
        nodes: args.nodes as usize,
        rounds: args.rounds,
        seed,
        fabric: args.fabric,
        ordering: args.ordering,
        kinds: args.faults.clone(),
        bytes: args.size,
        rate: args.rate,
        state_bytes: args.state.iter().map(|size| size.0).collect(),
        has_witness: args.witness,
        rdma: args.rdma.clone(),
        suspect_after,
        patience: args.patience,
        folder: new_folder(args.out.as_deref(), "chaos", &now)?,
        keep: args.keep,
    };
    let interrupt = Interrupt::catch(EXIT_INTERRUPTED)?;
    let steps = Steps::new(args.rounds, "founding the first group", false);
    let tally = run(&options, &interrupt, |round| steps.done(said(round)))?;
    drop(steps);
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
        say(&format!("  {}", replay_line(&args, suspect_after, failure.seed, failure.round)))?;
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

/// What cannot be meant, or not here; else the silence after which a member is suspected.
fn check(args: &ChaosArgs) -> anyhow::Result<Duration> {
    if args.nodes == 1 && args.witness {
        return Err(UsageError("--witness decides between two members: use --nodes 2 or more, or leave it out".into()).into());
    }
    if args.fabric != FabricKind::Verbs {
        return match effect::given_rdma(&args.rdma).next() {
            Some(flag) => Err(UsageError(format!("--{flag} has an effect over --fabric verbs only; add it, or leave --{flag} out")).into()),
            None => Ok(args.suspect_after.unwrap_or(SUSPECT_AFTER)),
        };
    }
    let verbs = Verbs::of(&args.rdma);
    if let Some(why) = verbs.unavailable {
        bail!("{why}; `scripts/soft-roce run -- squall chaos --fabric verbs` makes devices in software");
    }
    let usual = if verbs.emulated.is_empty() { SUSPECT_AFTER } else { SUSPECT_AFTER_IN_SOFTWARE };
    Ok(args.suspect_after.unwrap_or(usual))
}

/// A round, for people who wait.
fn said(round: &Round<'_>) -> String {
    format!("seed {} round {}: {}; {} members", round.seed, round.round, list(round.strikes), round.members)
}

fn list(strikes: &[Strike]) -> String {
    let said: Vec<String> = strikes.iter().map(|strike| format!("{} at {} ms", strike.fault, strike.at.as_millis())).collect();
    if said.is_empty() { "no fault".into() } else { said.join(", ") }
}

/// The line that runs the faults of a group again.
fn replay_line(args: &ChaosArgs, suspect_after: Duration, seed: u64, round: u64) -> String {
    let faults = args.faults.iter().map(Kind::to_string).collect::<Vec<_>>().join(",");
    let states = args.state.iter().map(|size| format!("{}B", size.0)).collect::<Vec<_>>().join(",");
    let (from, to) = args.size;
    format!(
        "squall chaos --seed {seed} --rounds {} --nodes {}{} --fabric {} --ordering {} --faults {faults} --size {from}B..{to}B --rate \
         {} --state {states} --suspect-after {}ms",
        round + 1,
        args.nodes,
        if args.witness { " --witness" } else { "" },
        args.fabric,
        args.ordering,
        args.rate,
        suspect_after.as_millis()
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
