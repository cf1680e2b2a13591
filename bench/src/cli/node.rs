//! `squall node`: one host of a run that spans hosts. A task of a job is one too.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use squall_transport::exchange::ClusterKey;

use super::doctor::DoctorArgs;
use super::launch::environment::Launched;
use super::launch::key::{cluster_key, key_of_job};
use super::measure::{Measurement, REPRODUCE_EXAMPLES, RUN_EXAMPLES, ReproduceArgs, RunArgs};
use super::output::say;
use super::status::{EXIT_DONE, EXIT_INTERRUPTED};
use crate::ask::axes::NODES_MAX;
use crate::ask::network::{Network, own_addresses};
use crate::ask::request::UsageError;
use crate::jobs::rdma::Rdma;
use crate::run::hosts::Listening;
use crate::run::hosts::agent::{self, Site};
use crate::run::hosts::arrival::{Arrived, HostError, Newcomer};
use crate::run::hosts::local::Local;
use crate::run::interrupt::Interrupt;

pub(super) const EXAMPLES: &str = "\
Every host may run the same command. Who holds the rendezvous, and who is rank 0, is decided there by meeting: rank 0
is the process that was told so, else one with a command behind `--`. It runs that and keeps the results. The others
take their orders from it and ignore what stands there. A point of n nodes takes the first n hosts, one node each.

Examples:
  squall node --new-key ~/squall.key              once; then copy it to every host, readable by you alone

  node1$ squall node --rendezvous node1:7400 --nodes 2 --key-file ~/squall.key -- run multicast --size 1MB
  node2$ squall node --rendezvous node1:7400 --nodes 2 --key-file ~/squall.key

  srun --ntasks-per-node=1 squall node --rendezvous node1:7400 --key-file ~/squall.key -- reproduce --quick
  mpirun --map-by ppr:1:node squall node --rendezvous node1:7400 --key-file ~/squall.key -- run write --fabric verbs

Within a job of Slurm, Open MPI, PMI, PMIx, PALS, Flux, torchrun or Kubernetes no option is needed, and no `node`:
  srun --ntasks-per-node=1 squall run multicast --size 1MB
By ssh neither: squall run multicast --hosts node1,node[3-7]

Rank and number of hosts come from --rank and --nodes, else from what the launcher sets. Without a rank anywhere, the
rendezvous gives ranks in the order of arrival.

Exit status: rank 0 as for the command behind `--`; the others 0 after the run, 1 if anything else ended them,
with the reason on standard error.";

/// Name of the environment variable with this host's address for data.
const ADDRESS_VARIABLE: &str = "SQUALL_NODE_ADDRESS";

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
    /// Take orders from standard input, as `squall run --hosts` gives them
    #[arg(long, hide = true)]
    pub(super) conducted: bool,
    /// Seconds to wait for the other hosts
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    wait: u64,
    /// Address of this host for data [default: the address of its connection to the rendezvous]
    #[arg(long, value_name = "IP", env = "SQUALL_NODE_ADDRESS")]
    address: Option<IpAddr>,
    #[command(flatten)]
    network: Network,
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

/// A process' part in a run across hosts.
pub(super) struct Part {
    /// Where all meet, as it was said, and its addresses.
    rendezvous: (String, Vec<SocketAddr>),
    nodes: u32,
    rank: Option<u32>,
    key: ClusterKey,
    wait: Duration,
    site: Site,
    network: Network,
}

/// Does what `squall node` was told; the exit status.
pub(super) fn join(args: NodeArgs) -> anyhow::Result<u8> {
    if let Some(path) = &args.new_key {
        return new_key(path);
    }
    let launched = Launched::here()?;
    let rendezvous = args.rendezvous.or(launched.rendezvous);
    let rendezvous = rendezvous.ok_or_else(|| usage(format!("give --rendezvous HOST:PORT; for example: {EXAMPLE}")))?;
    let nodes = check_nodes(args.nodes.or(launched.nodes))?;
    let rank = check_rank(args.rank.or(launched.rank), nodes)?;
    let key_file = args.key_file.as_deref();
    let key = if launched.task_of.is_some() { key_of_job(key_file) } else { cluster_key(key_file) }?;
    let site = Site { address: args.address, rdma: args.rdma };
    let part =
        Part { rendezvous: resolved(rendezvous)?, nodes, rank, key, wait: Duration::from_secs(args.wait), site, network: args.network };
    // The others ignore what stands there.
    let leads = rank == Some(0) || rank.is_none() && !args.command.is_empty();
    let order = leads.then(|| orders(&args.command)).transpose()?;
    if let Some(order) = &order {
        order.launch.check_behind_node()?;
    }
    part.take(order)
}

/// Takes part as the task of a job, all of whose tasks run this very command.
pub(super) fn within_job(launched: Launched, measurement: &Measurement) -> anyhow::Result<u8> {
    let launcher = launched.task_of.unwrap_or("this launcher");
    let lacking = || {
        let mend = "set SQUALL_RENDEZVOUS=HOST:PORT for all, with any host of the job; or have squall start the tasks: squall run ... \
                    --launcher mpi";
        usage(format!("{launcher} does not say which hosts the job has, so its tasks do not find each other: {mend}"))
    };
    let nodes = check_nodes(launched.nodes)?;
    let rank = check_rank(launched.rank, nodes)?;
    let words: Vec<String> = measurement.command.iter().skip(1).cloned().collect();
    let order = if rank == Some(0) { Some(orders(&words)?) } else { None };
    let launch = &measurement.launch;
    let part = Part {
        rendezvous: resolved(launched.rendezvous.ok_or_else(lacking)?)?,
        nodes,
        rank,
        key: key_of_job(launch.key_file.as_deref())?,
        wait: Duration::from_secs(launch.wait),
        site: Site { address: own_address()?, rdma: rdma_of_environment() },
        network: launch.network.clone(),
    };
    let line = format!("rank {} of {nodes}, as {launcher} says; alone it would be: --launcher none\n", rank.unwrap_or_default());
    // In one piece: all tasks may share it. Nobody reads it: the run goes on.
    let _ = io::stderr().write_all(line.as_bytes());
    part.take(order)
}

/// What the environment says of this host's address.
pub(super) fn own_address() -> anyhow::Result<Option<IpAddr>> {
    let Ok(text) = std::env::var(ADDRESS_VARIABLE) else { return Ok(None) };
    text.parse().map(Some).with_context(|| format!("the environment variable {ADDRESS_VARIABLE} is {text:?}, and no address"))
}

/// This host's RDMA as far as the environment speaks of it.
pub(super) fn rdma_of_environment() -> Rdma {
    #[derive(Parser)]
    #[command(no_binary_name = true)]
    struct Own {
        #[command(flatten)]
        rdma: Rdma,
    }
    Own::parse_from(std::iter::empty::<&str>()).rdma
}

impl Part {
    /// Comes to the rendezvous and is what is decided there; `order` is what it would run as the first host.
    fn take(self, order: Option<Measurement>) -> anyhow::Result<u8> {
        let interrupt = Interrupt::catch(EXIT_INTERRUPTED)?;
        let newcomer = Newcomer {
            rendezvous: self.rendezvous.1.clone(),
            key: self.key.clone(),
            rank: self.rank.map(|rank| rank as u16),
            leads: order.is_some(),
            nodes: self.nodes,
            wait: self.wait,
        };
        let ended = match newcomer.arrive(&interrupt) {
            Ok(Arrived::First(listening)) => return self.lead(order, *listening, interrupt),
            Ok(Arrived::Leads(leading)) => {
                let listening = Listening::within(leading.address().ip(), self.network.ports, &self.key, self.nodes, self.wait)?;
                let told = leading.tell(listening.address());
                match told {
                    Ok(()) => return self.lead(order, listening, interrupt),
                    Err(error) => Err(error),
                }
            }
            Ok(Arrived::Served(served)) => agent::serve(served, self.nodes, &self.site, &interrupt),
            Err(error) => Err(error),
        };
        status_of(ended)
    }

    /// As rank 0: gathers the hosts and runs.
    fn lead(self, order: Option<Measurement>, listening: Listening, interrupt: Interrupt) -> anyhow::Result<u8> {
        let Some(mut measurement) = order else { bail!("this process was told to lead, and has nothing to run") };
        if measurement.command.get(1).is_some_and(|word| word == "node") {
            measurement.subcommand = format!("node --rendezvous {} ... -- {}", self.rendezvous.0, measurement.subcommand);
        }
        lead(measurement, self.site, self.network, listening, interrupt)
    }
}

/// Gathers the hosts and runs.
pub(super) fn lead(
    measurement: Measurement,
    site: Site,
    network: Network,
    listening: Listening,
    interrupt: Interrupt,
) -> anyhow::Result<u8> {
    let by_rule = || own_addresses(&network.interface).ok()?.into_iter().next().map(|own| own.address);
    let address = site.address.or_else(|| by_rule().filter(|_| !network.interface.is_empty())).unwrap_or(listening.address().ip());
    let local = Local::new(address, site.rdma).map_err(usage)?;
    match listening.gather(local, network, interrupt.clone()) {
        Ok(hosts) => measurement.measure(Some(hosts)),
        Err(_) if interrupt.is_set() => Ok(EXIT_INTERRUPTED),
        Err(error) => Err(error),
    }
}

/// How a process that was not rank 0 ended.
pub(super) fn status_of(ended: Result<(), HostError>) -> anyhow::Result<u8> {
    match ended {
        Ok(()) => Ok(EXIT_DONE),
        Err(HostError::Interrupted) => {
            let _ = writeln!(io::stderr(), "interrupted");
            Ok(EXIT_INTERRUPTED)
        }
        Err(HostError::Failed(why)) => bail!("{why}"),
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

fn check_rank(rank: Option<u32>, nodes: u32) -> Result<Option<u32>, UsageError> {
    match rank {
        Some(rank) if rank >= nodes => Err(usage(format!("rank {rank} does not exist: with {nodes} hosts ranks are 0 to {}", nodes - 1))),
        rank => Ok(rank),
    }
}

/// Where all meet: HOST:PORT, or several of them between commas, and their addresses.
fn resolved(rendezvous: String) -> anyhow::Result<(String, Vec<SocketAddr>)> {
    let mut addresses = Vec::new();
    for place in rendezvous.split(',') {
        addresses.extend(resolve(place.trim())?);
    }
    Ok((rendezvous, addresses))
}

/// The addresses of HOST:PORT: those that other hosts reach first, IPv4 first.
fn resolve(rendezvous: &str) -> anyhow::Result<Vec<SocketAddr>> {
    let form = || usage(format!("--rendezvous {rendezvous}: give HOST:PORT, such as node1:7400, or [fd00::1]:7400"));
    let (host, port) = rendezvous.rsplit_once(':').ok_or_else(form)?;
    let port: u16 = port.parse().ok().filter(|&port| port > 0).ok_or_else(form)?;
    let host = match host.strip_prefix('[') {
        Some(address) => address.strip_suffix(']').filter(|address| address.contains(':')),
        None => Some(host).filter(|host| !host.is_empty() && (!host.contains(':') || host.parse::<IpAddr>().is_ok())),
    };
    let host = host.filter(|host| !host.contains(['[', ']'])).ok_or_else(form)?;
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

/// What stands behind `--`, or is run by all tasks of a job.
pub(super) fn orders(command: &[String]) -> Result<Measurement, UsageError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_others_reach() {
        assert_eq!(resolve("127.0.0.1:7400").unwrap(), ["127.0.0.1:7400".parse::<SocketAddr>().unwrap()]);
        assert_eq!(resolve("[::1]:7400").unwrap(), ["[::1]:7400".parse::<SocketAddr>().unwrap()]);
        assert_eq!(resolve("::1:7400").unwrap(), resolve("[::1]:7400").unwrap());
        for broken in ["node1", "127.0.0.1:0", "127.0.0.1:many", "[::1", "[::1:7400", "::1]:7400", "[[::1]]:7400", "[node1]:7400", ":7400"]
        {
            let error = resolve(broken).unwrap_err().to_string();
            assert!(error.contains("HOST:PORT"), "{broken}: {error}");
        }
        let everywhere = resolve("0.0.0.0:7400").unwrap_err().to_string();
        assert!(everywhere.contains("all interfaces"), "{everywhere}");
    }

    #[test]
    fn what_belongs_before_the_dashes_is_refused_behind_them() {
        let checked = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            orders(&words).unwrap().launch.check_behind_node().map_err(|error| error.0)
        };
        assert_eq!(checked("run multicast --size 1MB"), Ok(()));
        for flag in ["--interface lo", "--ports 7400-7499", "--wait 5", "--key-file key"] {
            let refused = checked(&format!("run multicast {flag}")).unwrap_err();
            let name = flag.split(' ').next().unwrap();
            assert!(refused.starts_with(&format!("{name} behind `--`")) && refused.contains("give it in front"), "{refused}");
        }
        for flag in ["--hosts a,b", "--hostfile list", "--launcher ssh", "--launch-with ssh"] {
            let refused = checked(&format!("reproduce {flag}")).unwrap_err();
            assert!(refused.contains("leave it out"), "{flag}: {refused}");
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
