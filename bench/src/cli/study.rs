//! `squall study`: the published figures on a model of a cluster.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::{Value, json};
use squall_report::{Environment, Row, RunFolder};
use squall_study::published::{self, Bandwidth};
use squall_study::{FITTED_NODES, Outcome, Peer, PeerError, PointError, Profile, Run, Senders, goals, raw};

use super::output::say;
use super::status::{EXIT_DONE, EXIT_POINTS_FAILED};
use crate::ask::experiment::Experiment;
use crate::ask::request::UsageError;
use crate::experiments::modelled;

pub(super) const EXAMPLES: &str = "\
Examples:
  squall study                        everything, in some minutes
  squall study --quick                fewer group sizes, in less than one
  squall study --show sim-rdma-100g   a built-in profile: a start for one's own

Nothing here is a measurement: rows say `simulated`.";

/// Published networks, and the profile that stands for each.
const NETWORKS: [(&str, &str); 5] = [
    ("ib100g-libfabric", "sim-rdma-100g"),
    ("tcp-eth100g", "sim-tcp-100g"),
    ("ib100g-verbs", "sim-rdma-100g"),
    ("roce100g-libfabric", "sim-rdma-100g"),
    ("tcp-eth10g", "sim-tcp-10g"),
];
/// Those whose points `--quick` draws.
const QUICK_NETWORKS: usize = 2;
const QUICK_NODES: [usize; 4] = [2, 4, 8, 16];
/// Largest group of the table of goals with `--quick`.
const QUICK_NODES_MAX: usize = 16;
/// The peer's rows are told apart from Squall's by this.
const PEER_PREFIX: &str = "derecho-in-";

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
    /// Print a built-in profile, and do nothing else
    #[arg(long, value_name = "NAME")]
    show: Option<String>,
}

/// A point of a figure: what was published, what the peer in the model does, what Squall does there.
struct Drawn {
    error: PointError,
    squall: Outcome,
}

/// What was drawn already, by profile and point: networks share profiles.
type Known = HashMap<(String, u64, &'static str, usize), (f64, Outcome)>;

/// Draws all of it; the exit status.
pub(super) fn draw(args: &StudyArgs) -> anyhow::Result<u8> {
    if let Some(name) = &args.show {
        let known = || Profile::names().collect::<Vec<_>>().join(", ");
        let text = Profile::text(name).ok_or_else(|| UsageError(format!("--show {name}: built in are {}", known())))?;
        say(text.trim_end())?;
        return Ok(EXIT_DONE);
    }
    let asked = json!({ "study": true, "quick": args.quick });
    let mut folder = RunFolder::create(args.out.as_deref(), "study", std::env::args().collect(), asked, Value::Null)?;
    folder.write_environment(&Environment::collect())?;
    let mut lines = vec![self_check()?];
    let (text, met) = table_of_goals(args)?;
    lines.push(text);
    let mut known = Known::new();
    let networks = if args.quick { &NETWORKS[..QUICK_NETWORKS] } else { &NETWORKS[..] };
    for (network, profile) in networks {
        let _ = writeln!(io::stderr(), "{network}, beside {profile}");
        let drawn = figure(args, network, &Profile::built_in(profile)?, &mut known, &mut folder)?;
        lines.push(curves(network, profile, &drawn));
    }
    lines.push(latencies(args)?);
    let rendered = folder.render()?;
    if args.json {
        say(&format!("{:#}", super::table::json(&rendered.summary, &folder.path().display().to_string())))?;
    } else {
        lines.iter().try_for_each(|line| say(line))?;
        say(&format!("report: {}", rendered.report.display()))?;
    }
    Ok(if met { EXIT_DONE } else { EXIT_POINTS_FAILED })
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
fn table_of_goals(args: &StudyArgs) -> anyhow::Result<(String, bool)> {
    let most = if args.quick { QUICK_NODES_MAX } else { usize::MAX };
    let found = goals::measure(most, |goal| drop(writeln!(io::stderr(), "{}: {:.3}", goal.what, goal.got)))?;
    let mut lines = vec!["\nWhat must come out of Squall on 100 Gb/s RDMA (published; wanted; the model)".to_owned()];
    for goal in &found {
        let mark = if goal.is_met() { "" } else { "  MISSED" };
        lines.push(format!("  {:75} {:>20}  {:>17}  {:7.3}{mark}  {}", goal.what, goal.published, goal.wanted, goal.got, goal.because));
    }
    Ok((lines.join("\n"), found.iter().all(goals::Goal::is_met)))
}

fn figure(args: &StudyArgs, network: &str, profile: &Profile, known: &mut Known, folder: &mut RunFolder) -> anyhow::Result<Vec<Drawn>> {
    let wanted = |point: &Bandwidth| point.network == network && (!args.quick || QUICK_NODES.contains(&point.nodes));
    let mut drawn = Vec::new();
    for point in published::bandwidth().into_iter().filter(wanted) {
        let key = (profile.name.clone(), point.message_bytes, point.senders.name(), point.nodes);
        let (of_peer, squall) = match known.get(&key) {
            Some(found) => found.clone(),
            None => {
                let found = both(profile, &point, folder)?;
                known.insert(key, found.clone());
                found
            }
        };
        drawn.push(Drawn { error: PointError { point, gigabytes_per_second: of_peer }, squall });
    }
    Ok(drawn)
}

/// The peer and Squall at one point, and their rows.
fn both(profile: &Profile, point: &Bandwidth, folder: &mut RunFolder) -> anyhow::Result<(f64, Outcome)> {
    let squall = Run::stream(profile, point.nodes, point.senders, point.message_bytes);
    let peer = Run { peer: Some(Peer::on(profile)), ..squall.clone() };
    let (of_squall, of_peer) = (squall.run()?, peer.run()?);
    let row = |run: &Run, outcome: &Outcome| modelled::row(Experiment::Multicast, run, point.senders.name(), None, outcome);
    folder.append(&Row { trial: 1, ..row(&squall, &of_squall) })?;
    let fabric = format!("{PEER_PREFIX}{}", profile.name);
    folder.append(&Row { trial: 1, fabric, ..row(&peer, &of_peer) })?;
    Ok((of_peer.bytes_per_s / 1e9, of_squall))
}

/// All points of one network: published, the peer in the model with its error, Squall in the model.
fn curves(network: &str, profile: &str, drawn: &[Drawn]) -> String {
    let mut lines = vec![format!(
        "\n{network}: published GB/s, the peer in the model ({profile}; * fitted) with its error, and Squall there with its share of the bound"
    )];
    for Drawn { error, squall } in drawn {
        let point = error.point;
        lines.push(format!(
            "  {:>9} B {:4} n={:<2} {:7.3}  {:7.3}{} {:+6.1} %  {:7.3}  {:.3}",
            point.message_bytes,
            point.senders.name(),
            point.nodes,
            point.gigabytes_per_second,
            error.gigabytes_per_second,
            if error.is_fitted() { "*" } else { " " },
            100.0 * error.part(),
            squall.bytes_per_s / 1e9,
            squall.bound_part
        ));
    }
    let errors = PeerError { points: drawn.iter().map(|drawn| drawn.error).collect() };
    lines.push(format!(
        "  median error: {:.1} % where it was fitted (n = {}), {:.1} % on all other points",
        100.0 * errors.median_fitted(),
        FITTED_NODES.map(|nodes| nodes.to_string()).join(", "),
        100.0 * errors.median_held_out()
    ));
    lines.join("\n")
}

/// Latency of one byte with all members sending, one message of each at a time.
fn latencies(args: &StudyArgs) -> anyhow::Result<String> {
    let mut lines = vec!["\n1 B, all send, ordered, latency at the sender in us: published, the peer in the model, Squall".to_owned()];
    for (source, profile) in [("rdma_TOCS_fig12b", "sim-rdma-100g"), ("tcp_TOCS_fig13b", "sim-tcp-100g")] {
        let profile = Profile::built_in(profile)?;
        let wanted = |point: &published::Latency| {
            point.source == source && point.message_bytes == 1 && (!args.quick || QUICK_NODES.contains(&point.nodes))
        };
        for point in published::latency().into_iter().filter(wanted) {
            let run = goals::light(&profile, point.nodes, Senders::All, 1);
            let peer = Run { peer: Some(Peer::on(&profile)), ..run.clone() };
            let p50 = |run: Run| run.run().map(|outcome| outcome.latency.us(0.5));
            let (peer, squall) = (p50(peer)?, p50(run)?);
            lines.push(format!("  {source:17} n={:<2} {:8.1}  {peer:8.1}  {squall:8.2}", point.nodes, point.latency_us));
        }
    }
    Ok(lines.join("\n"))
}
