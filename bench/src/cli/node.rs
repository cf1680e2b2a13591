//! `squall node`: one host of a run that spans hosts.

use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use squall_transport::exchange::{BindError, ClusterKey};

use super::doctor::DoctorArgs;
use super::launcher::Launched;
use super::measure::{Measurement, REPRODUCE_EXAMPLES, RUN_EXAMPLES, ReproduceArgs, RunArgs};
use super::output::say;
use super::status::{EXIT_DONE, EXIT_INTERRUPTED};
use crate::ask::axes::NODES_MAX;
use crate::ask::request::UsageError;
use crate::jobs::job::KEY_VARIABLE;
use crate::jobs::rdma::Rdma;
use crate::run::hosts::Listening;
use crate::run::hosts::agent::{self, AgentError, AgentOptions};
use crate::run::hosts::local::Local;
use crate::run::interrupt::Interrupt;

pub(super) const EXAMPLES: &str = "\
Every host may run the same command. Rank 0 is the process at the address of the rendezvous that has
a command behind `--`: it runs that and keeps the results. The others take their orders from it and
ignore what stands there. A point of n nodes takes the first n hosts, one node each.

Examples:
  squall node --new-key ~/squall.key              once; then copy it to every host, readable by you alone

  node1$ squall node --rendezvous node1:7400 --nodes 2 --key-file ~/squall.key -- run multicast --size 1MB
  node2$ squall node --rendezvous node1:7400 --nodes 2 --key-file ~/squall.key

  srun --ntasks-per-node=1 squall node --rendezvous node1:7400 --key-file ~/squall.key -- reproduce --quick
  mpirun --map-by ppr:1:node squall node --rendezvous node1:7400 --key-file ~/squall.key -- run write --fabric verbs

Rank and number of hosts come from --rank and --nodes, else from SQUALL_NODE_RANK/SQUALL_NODES,
OMPI_COMM_WORLD_RANK/OMPI_COMM_WORLD_SIZE, PMI_RANK/PMI_SIZE or SLURM_PROCID/SLURM_NTASKS. Without a rank
anywhere, the rendezvous gives ranks in the order of arrival.

Exit status: rank 0 as for the command behind `--`; the others 0 after the run, 1 if anything else ended them,
with the reason on standard error.";

const EXAMPLE: &str = "squall node --rendezvous node1:7400 --nodes 2 --key-file ~/squall.key -- run multicast --size 1MB";

#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    /// Where the hosts meet: an address of rank 0, and a port that is free there
    #[arg(long, value_name = "HOST:PORT", env = "SQUALL_RENDEZVOUS")]
    rendezvous: Option<String>,
    /// Number of hosts [default: from the launcher]
    #[arg(long, value_name = "N", value_parser = crate::ask::axes::nodes)]
    nodes: Option<u32>,
    /// Rank of this host, from 0 [default: from the launcher, else from the rendezvous]
    #[arg(long, value_name = "R")]
    rank: Option<u32>,
    /// File with the cluster key, the same on all hosts, readable by its owner alone [or the key itself in SQUALL_KEY]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Write a new cluster key to FILE and exit
    #[arg(long, value_name = "FILE", exclusive = true)]
    new_key: Option<PathBuf>,
    /// Seconds to wait for the other hosts
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    wait: u64,
    /// Address of this host for data [default: the address of its connection to the rendezvous]
    #[arg(long, value_name = "IP", env = "SQUALL_NODE_ADDRESS")]
    address: Option<IpAddr>,
    /// This host's RDMA, before what rank 0 asks for.
    #[command(flatten)]
    rdma: Rdma,
    /// What rank 0 runs [example: -- run multicast --size 1MB]
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What may stand behind `--`.
#[derive(Debug, Parser)]
#[command(name = "squall node ... --", no_binary_name = true, arg_required_else_help = true)]
struct Orders {
    #[command(subcommand)]
    order: Order,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Run every experiment, then draw figures and a report
    #[command(after_help = REPRODUCE_EXAMPLES)]
    Reproduce(Box<ReproduceArgs>),
    /// Run one experiment: one point, or any sweep of the axes
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<RunArgs>),
    /// All hosts side by side: what differs between them, and who reaches whom
    Doctor(Box<DoctorArgs>),
}

/// Does what `squall node` was told; the exit status.
pub(super) fn join(args: NodeArgs) -> anyhow::Result<u8> {
    if let Some(path) = &args.new_key {
        return new_key(path);
    }
    let launched = Launched::of(|name| std::env::var(name).ok())?;
    let rendezvous = args.rendezvous.clone().ok_or_else(|| usage(format!("give --rendezvous HOST:PORT; for example: {EXAMPLE}")))?;
    let nodes = check_nodes(args.nodes.or(launched.nodes))?;
    let rank = args.rank.or(launched.rank);
    if let Some(rank) = rank.filter(|&rank| rank >= nodes) {
        return Err(usage(format!("rank {rank} does not exist: with {nodes} hosts ranks are 0 to {}", nodes - 1)).into());
    }
    let key = cluster_key(args.key_file.as_deref())?;
    let addresses = resolve(&rendezvous)?;
    let wait = Duration::from_secs(args.wait);
    let listening = match rank {
        Some(1..) => None,
        // Rank 0 is who has something to run; whoever has nothing waits for it, however early it came.
        None if args.command.is_empty() => None,
        _ => listen(&addresses, &key, nodes, wait, rank)?,
    };
    match listening {
        Some(listening) => lead(args, &rendezvous, listening),
        None => follow(args, addresses, key, nodes, rank),
    }
}

fn usage(text: String) -> UsageError {
    UsageError(text)
}

fn new_key(path: &Path) -> anyhow::Result<u8> {
    if path.exists() {
        let name = path.display();
        bail!("{name} exists, and a key that may be in use is never overwritten; go on with it (--key-file {name}), or name another file");
    }
    ClusterKey::random().write_new(path)?;
    say(&format!("{}: copy it to every host, readable by its owner alone (mode 600), and give it as --key-file", path.display()))?;
    Ok(EXIT_DONE)
}

fn check_nodes(nodes: Option<u32>) -> Result<u32, UsageError> {
    match nodes {
        Some(nodes) if (2..=NODES_MAX).contains(&nodes) => Ok(nodes),
        Some(nodes) => Err(usage(format!("{nodes} hosts: a run spans 2 to {NODES_MAX}; on one host use `squall run` without `node`"))),
        None => Err(usage(format!(
            "the number of hosts is unknown: give --nodes N, or start this by srun or mpirun, which set {}; for example: {EXAMPLE}",
            Launched::variables()
        ))),
    }
}

/// The cluster's key: out of the file, or of the environment.
pub(super) fn cluster_key(file: Option<&Path>) -> anyhow::Result<ClusterKey> {
    if let Some(path) = file {
        return Ok(ClusterKey::from_file(path)?);
    }
    match std::env::var(KEY_VARIABLE) {
        Ok(text) => ClusterKey::from_hex(&text).with_context(|| format!("the environment variable {KEY_VARIABLE}")),
        Err(_) => {
            let mend = "make one with `squall node --new-key FILE`, copy it to every host, and give it as --key-file FILE (or its text in SQUALL_KEY)";
            Err(usage(format!("no cluster key, with which the hosts authenticate each other; {mend}")).into())
        }
    }
}

/// The addresses of HOST:PORT: those that other hosts reach first, IPv4 first.
fn resolve(rendezvous: &str) -> anyhow::Result<Vec<SocketAddr>> {
    let form = || usage(format!("--rendezvous {rendezvous}: give HOST:PORT, such as node1:7400, or [fd00::1]:7400"));
    let (host, port) = rendezvous.rsplit_once(':').ok_or_else(form)?;
    let port: u16 = port.parse().ok().filter(|&port| port > 0).ok_or_else(form)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = (host, port).to_socket_addrs().with_context(|| format!("--rendezvous {rendezvous}: cannot find the address of {host}"))?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.sort_by_key(|address| (address.ip().is_loopback(), address.is_ipv6()));
    addresses.dedup();
    if addresses.iter().any(|address| address.ip().is_unspecified()) {
        return Err(
            usage(format!("--rendezvous {rendezvous} means all interfaces; name the one address of rank 0 that the others reach")).into()
        );
    }
    let is_meant = host.parse::<IpAddr>().is_ok() || host == "localhost";
    if addresses.iter().all(|address| address.ip().is_loopback()) && !is_meant {
        let address = addresses.first().map(|address| address.ip().to_string()).unwrap_or_default();
        let mend = "name the address itself that the others reach (`hostname -I` lists them), or take the name out of /etc/hosts";
        return Err(usage(format!("--rendezvous {rendezvous}: {host} is {address} on this host, which others cannot reach; {mend}")).into());
    }
    Ok(addresses)
}

/// Listens as rank 0; none if the rendezvous is not for this process to serve.
fn listen(addresses: &[SocketAddr], key: &ClusterKey, nodes: u32, wait: Duration, rank: Option<u32>) -> anyhow::Result<Option<Listening>> {
    let mut refused = None;
    for &address in addresses {
        match Listening::at(address, key, nodes, wait) {
            Ok(listening) => return Ok(Some(listening)),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        // Without a rank: another host's address, or another process of this host was first.
        Some(BindError::Listen { reason, .. }) if rank.is_none() && is_someone_elses(reason.kind()) => Ok(None),
        Some(error) => Err(error).context("rank 0 serves the rendezvous"),
        None => bail!("the rendezvous has no address"),
    }
}

fn is_someone_elses(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::AddrNotAvailable | ErrorKind::AddrInUse)
}

/// Rank 0: gathers the hosts and runs.
fn lead(args: NodeArgs, rendezvous: &str, listening: Listening) -> anyhow::Result<u8> {
    let mut measurement = orders(&args.command)?;
    measurement.subcommand = format!("node --rendezvous {rendezvous} ... -- {}", measurement.subcommand);
    let address = args.address.unwrap_or(listening.address().ip());
    let local = Local::new(address, args.rdma).map_err(usage)?;
    let interrupt = Interrupt::catch(EXIT_INTERRUPTED)?;
    match listening.gather(local, interrupt.clone()) {
        Ok(hosts) => measurement.measure(Some(hosts)),
        Err(_) if interrupt.is_set() => Ok(EXIT_INTERRUPTED),
        Err(error) => Err(error),
    }
}

/// What stands behind `--`.
fn orders(command: &[String]) -> Result<Measurement, UsageError> {
    if command.is_empty() {
        return Err(usage(format!("rank 0 runs the command behind `--`, and there is none; for example: {EXAMPLE}")));
    }
    let matches = Orders::command().try_get_matches_from(command).unwrap_or_else(|error| error.exit());
    let orders = Orders::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let is_of_environment = |name: &str| {
        let order = matches.subcommand().map(|(_, order)| order);
        order.is_some_and(|order| order.value_source(name) == Some(ValueSource::EnvVariable))
    };
    let mut measurement = match orders.order {
        Order::Reproduce(args) => args.measured(),
        Order::Run(args) => args.measured(),
        Order::Doctor(args) => (*args).into(),
    };
    // The environment speaks of this host alone, which has read it as its own options.
    let asked = &mut measurement.request.axes.rdma;
    asked.ib_dev = asked.ib_dev.take().filter(|_| !is_of_environment("ib_dev"));
    asked.ib_port = asked.ib_port.filter(|_| !is_of_environment("ib_port"));
    asked.gid_index = asked.gid_index.filter(|_| !is_of_environment("gid_index"));
    asked.mtu = asked.mtu.filter(|_| !is_of_environment("mtu"));
    asked.pkey = asked.pkey.filter(|_| !is_of_environment("pkey"));
    Ok(measurement)
}

/// Any other rank: serves rank 0.
fn follow(args: NodeArgs, rendezvous: Vec<SocketAddr>, key: ClusterKey, nodes: u32, rank: Option<u32>) -> anyhow::Result<u8> {
    let interrupt = Interrupt::catch(EXIT_INTERRUPTED)?;
    let options = AgentOptions {
        rendezvous,
        key,
        rank: rank.map(|rank| rank as u16),
        nodes,
        wait: Duration::from_secs(args.wait),
        address: args.address,
        rdma: args.rdma,
    };
    match agent::serve(&options, &interrupt) {
        Ok(()) => Ok(EXIT_DONE),
        Err(AgentError::Interrupted) => {
            let _ = writeln!(io::stderr(), "interrupted");
            Ok(EXIT_INTERRUPTED)
        }
        Err(AgentError::Failed(why)) => bail!("{why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_others_reach() {
        assert_eq!(resolve("127.0.0.1:7400").unwrap(), ["127.0.0.1:7400".parse::<SocketAddr>().unwrap()]);
        assert_eq!(resolve("[::1]:7400").unwrap(), ["[::1]:7400".parse::<SocketAddr>().unwrap()]);
        for (wrong, expected) in
            [("node1", "HOST:PORT"), ("127.0.0.1:0", "HOST:PORT"), ("127.0.0.1:many", "HOST:PORT"), ("0.0.0.0:7400", "all interfaces")]
        {
            let error = resolve(wrong).unwrap_err().to_string();
            assert!(error.contains(expected), "{wrong}: {error}");
        }
    }

    #[test]
    fn what_stands_behind_the_dashes_is_a_run() {
        let words: Vec<String> = "run multicast --size 1MB --ib-dev mlx5_0".split(' ').map(str::to_owned).collect();
        let measurement = orders(&words).unwrap();
        assert_eq!(measurement.subcommand, "run multicast");
        assert_eq!(measurement.request.axes.rdma.ib_dev.as_deref(), Some("mlx5_0"));
        assert!(orders(&[]).err().is_some_and(|error| error.0.contains("-- run multicast")));
    }
}
