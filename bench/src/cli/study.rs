//! `squall study`: the published figures on a model of a cluster.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use squall_report::{Environment, Point, RunFolder};
use squall_study::{FITTED_NODES, Peer, PeerError, PointError, Profile, Published, goals, raw};

use super::output::say;
use super::status::{EXIT_DONE, EXIT_POINTS_FAILED};
use crate::ask::request::UsageError;
use crate::experiments::here;
use crate::experiments::modelled::compare_orders;
use crate::experiments::study::{self, Network, Task};
use crate::run::steps::Steps;

pub(super) const EXAMPLES: &str = "\
Examples:
  squall study                        everything, in some minutes
  squall study --quick                fewer group sizes, in less than one
  squall study --show sim-rdma-100g   a built-in profile: a start for one's own
  squall study --calibrate > here.toml   what this code costs here, as a profile of this machine's shared memory
  squall run multicast --fabric sim-shm-here --profile here.toml --nodes 2 --size 1MB   what the model makes of it

Nothing here is a measurement: rows say `simulated`.";

/// Where orders are put side by side.
const ORDERS_ON: &str = "sim-rdma-100g";
/// Points from one line of progress to the next.
const PROGRESS_TASKS: usize = 50;
/// Largest group of the table of goals with `--quick`.
const QUICK_NODES_MAX: usize = 16;

#[derive(Debug, clap::Args)]
pub(super) struct StudyArgs {
    /// Fewer group sizes and networks
    #[arg(long)]
    quick: bool,
    /// Folder for the rows and figures [default: results/<date-time>-study]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Say nothing until it is over
    #[arg(long)]
    quiet: bool,
    /// Print a built-in profile, and do nothing else
    #[arg(long, value_name = "NAME")]
    show: Option<String>,
    /// Measure what this code, a copy and a cache line cost on two cores of this machine, print it as a profile of
    /// shared memory, whose table [cpu] other profiles can take, and do nothing else
    #[arg(long)]
    calibrate: bool,
}

/// What was drawn: the value, and its share of the bound.
type Drawn = HashMap<Point, (f64, f64)>;

/// Draws all of it; the exit status.
pub(super) fn draw(args: &StudyArgs) -> anyhow::Result<u8> {
    if let Some(name) = &args.show {
        let known = || Profile::names().collect::<Vec<_>>().join(", ");
        let text = Profile::text(name).ok_or_else(|| UsageError(format!("--show {name}: built in are {}", known())))?;
        say(text.trim_end())?;
        return Ok(EXIT_DONE);
    }
    if args.calibrate {
        say(here::profile()?.trim_end())?;
        return Ok(EXIT_DONE);
    }
    let asked = json!({ "study": true, "quick": args.quick });
    let mut folder = RunFolder::create(args.out.as_deref(), "study", std::env::args().collect(), asked, Value::Null)?;
    folder.write_environment(&Environment::collect())?;
    let networks = if args.quick { study::paper() } else { &study::NETWORKS };
    let tasks = study::tasks(networks, args.quick)?;
    let mut drawn = Drawn::new();
    let count = tasks.len();
    let steps = Steps::new(count as u64, "points on a model of a cluster, in virtual time", args.quiet);
    let (first, others) = tasks.split_at(study::of_one_figure(&tasks));
    for part in [first, others] {
        study::draw(part, &mut folder, |task, outcome| {
            drawn.insert(task.key(), (task.value(outcome), outcome.bound_part));
            steps.done_of_many(drawn.len(), PROGRESS_TASKS, format!("{} of {count} points are drawn", drawn.len()));
            Ok(())
        })?;
        if part.len() == drawn.len() {
            steps.say(&format!("the first figure is in {}", folder.render()?.report.display()));
        }
    }
    let mut lines = vec![self_check()?];
    let (text, met) = table_of_goals(args, &steps)?;
    drop(steps);
    lines.push(text);
    for network in networks {
        lines.extend(curves(args, network, &drawn)?);
    }
    let failed = compare_orders(ORDERS_ON, args.quick, &mut folder, args.quiet)?;
    lines.push(format!("\nOrders side by side on {ORDERS_ON}: in the report; `squall run orders` measures them here, with kills"));
    let rendered = folder.render()?;
    if args.json {
        say(&format!("{:#}", super::table::json(&rendered.summary, &folder.path().display().to_string())))?;
    } else {
        lines.iter().try_for_each(|line| say(line))?;
        say(&format!("report: {}", rendered.report.display()))?;
    }
    Ok(if met && failed == 0 { EXIT_DONE } else { EXIT_POINTS_FAILED })
}

/// The raw write in each profile, which must give the profile's own rate and latency.
fn self_check() -> anyhow::Result<String> {
    let mut lines = vec!["A raw write on each modelled cluster".to_owned()];
    for name in Profile::names() {
        let profile = Profile::built_in(name)?;
        let got = raw::bytes_per_s(&profile, 1 << 20, 200) / 1e9;
        let latency_us = raw::latency_ps(&profile) as f64 / 1e6;
        let line = profile.payload_bytes_per_s() / 1e9;
        lines.push(format!("  {name:14} 1 MB {got:.2} GB/s, the line carries {line:.2}; 8 B {latency_us:.2} us"));
    }
    Ok(lines.join("\n"))
}

/// What must come out, and whether it does.
fn table_of_goals(args: &StudyArgs, steps: &Steps) -> anyhow::Result<(String, bool)> {
    let most = if args.quick { QUICK_NODES_MAX } else { usize::MAX };
    let found = goals::measure(most, |goal| steps.say(&format!("{}: {:.3}", goal.what, goal.got)))?;
    let mut lines = vec!["\nWhat must come out of Squall on 100 Gb/s RDMA (published; wanted; the model)".to_owned()];
    for goal in &found {
        let mark = if goal.is_met() { "" } else { "  MISSED" };
        lines.push(format!("  {:75} {:>20}  {:>17}  {:7.3}{mark}  {}", goal.what, goal.published, goal.wanted, goal.got, goal.because));
    }
    Ok((lines.join("\n"), found.iter().all(goals::Goal::is_met)))
}

/// All points of one network: published, the peer in the model with its error, Squall in the model.
fn curves(args: &StudyArgs, network: &Network, drawn: &Drawn) -> anyhow::Result<Vec<String>> {
    let profile = Profile::built_in(network.profile)?;
    let peer = Peer::on(&profile);
    let of = |task: &Task| drawn.get(&task.key()).copied().unwrap_or_default();
    let Network { bandwidth, profile: name, .. } = network;
    let mut lines = vec![format!(
        "\n{bandwidth}: published GB/s, the peer in the model ({name}; * fitted) with its error, and Squall there with its share of \
         the bound"
    )];
    let mut errors = Vec::new();
    for point in study::bandwidths(network, args.quick) {
        let [of_peer, of_squall] = Task::of_bandwidth(&profile, &peer, &point).map(|task| of(&task));
        let error = PointError { point, drawn: of_peer.0 };
        let what = format!("{:>9} B {:4}", point.message_bytes, point.senders.name());
        lines.push(format!("{}  {:7.3}  {:.3}", line(&what, &error), of_squall.0, of_squall.1));
        errors.push(error);
    }
    lines.push(medians(&PeerError { points: errors }));
    let latencies = study::latencies(network, args.quick);
    if let Some(source) = network.latency {
        lines.push(format!(
            "\n{source}: latency at the sender in us, all send: published (a stream), the peer in the model (a stream with as many \
             under way) with its error, and Squall with one message of each at a time"
        ));
        let mut errors = Vec::new();
        for point in latencies {
            let [of_peer, of_squall] = Task::of_latency(&profile, &peer, &point).map(|task| of(&task));
            let error = PointError { point, drawn: of_peer.0 };
            lines.push(format!("{}  {:9.2}", line(&format!("{:>9} B", point.message_bytes), &error), of_squall.0));
            errors.push(error);
        }
        lines.push(medians(&PeerError { points: errors }));
    }
    Ok(lines)
}

fn line<P: Published>(what: &str, error: &PointError<P>) -> String {
    let (nodes, published, off) = (error.point.nodes(), error.point.value(), 100.0 * error.part());
    let mark = if error.is_fitted() { "*" } else { " " };
    format!("  {what} n={nodes:<2} {published:9.3}  {:9.3}{mark} {off:+6.1} %", error.drawn)
}

fn medians<P: Published>(errors: &PeerError<P>) -> String {
    format!(
        "  median error: {:.1} % where it was fitted (n = {}), {:.1} % on all other points",
        100.0 * errors.median_fitted(),
        FITTED_NODES.map(|nodes| nodes.to_string()).join(", "),
        100.0 * errors.median_held_out()
    )
}
