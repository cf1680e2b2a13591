//! `squall node --conducted`: a host that `squall run --hosts` reaches by ssh. Its orders come by standard input, and
//! when that ends it does too.

use std::io::{self, BufRead, BufReader};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use squall_transport::exchange::ClusterKey;

use super::node::{lead, orders, own_address, rdma_of_environment, status_of};
use super::output::say;
use super::status::EXIT_INTERRUPTED;
use crate::ask::network::own_addresses;
use crate::jobs::threads;
use crate::run::hosts::Listening;
use crate::run::hosts::agent::{self, Site};
use crate::run::hosts::arrival::{Arrived, Newcomer};
use crate::run::interrupt::Interrupt;
use crate::run::launch::orders::{Line, Orders};

/// The addresses and ports of the connection by which this host was reached, its own third.
const CONNECTION_VARIABLE: &str = "SSH_CONNECTION";

/// Does as it is ordered; the exit status.
pub(super) fn serve() -> anyhow::Result<u8> {
    let mut input = BufReader::new(io::stdin());
    let mut line = String::new();
    input.read_line(&mut line).context("orders on standard input")?;
    let told: Orders = serde_json::from_str(&line).context("orders on standard input; this is for `squall run --hosts`")?;
    let interrupt = Interrupt::catch(EXIT_INTERRUPTED)?;
    let (ends, mut rest) = (interrupt.clone(), input);
    threads::begin("orders", move || {
        // Whatever ends it: who gave the orders is gone, or wants an end.
        let _ = io::copy(&mut rest, &mut io::sink());
        ends.raise();
    })?;
    let key = ClusterKey::from_hex(&told.key)?;
    let site = Site { address: own_address()?, rdma: rdma_of_environment() };
    let wait = Duration::from_secs(told.wait);
    let Some(first) = told.first else {
        let mut measurement = orders(told.words.get(1..).unwrap_or_default())?;
        measurement.output.out = Some(folder(&told.run)?);
        measurement.command = told.words;
        measurement.is_taken_home = true;
        let address = site.address.map_or_else(|| reached_at(&told.network.interface), Ok)?;
        let listening = Listening::within(address, told.network.ports, &key, told.nodes, wait)?;
        say(&Line::at(listening.address()))?;
        return lead(measurement, site, told.network, listening, interrupt);
    };
    let newcomer = Newcomer { rendezvous: vec![first], key, rank: Some(told.rank as u16), leads: false, nodes: told.nodes, wait };
    status_of(match newcomer.arrive(&interrupt) {
        Ok(Arrived::Served(served)) => agent::serve(served, told.nodes, &site, &interrupt),
        Ok(Arrived::First(_) | Arrived::Leads(_)) => bail!("this host was to serve the first one, and nothing else"),
        Err(error) => Err(error),
    })
}

/// Where results are kept until they are fetched.
fn folder(run: &str) -> anyhow::Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
    let cache = folder("XDG_CACHE_HOME").or_else(|| folder("HOME").map(|home| home.join(".cache")));
    let cache = cache.context("no home folder for the results: set HOME")?;
    std::fs::create_dir_all(cache.join("squall/runs")).with_context(|| format!("a folder in {}", cache.display()))?;
    Ok(cache.join("squall/runs").join(run))
}

/// The address at which the other hosts most likely reach this one: the best that the rules take, or the one by which
/// it was reached itself.
fn reached_at(rules: &[crate::ask::network::InterfaceRule]) -> anyhow::Result<IpAddr> {
    if !rules.is_empty() {
        let own = own_addresses(rules).map_err(anyhow::Error::msg)?;
        return own.first().map(|own| own.address).context("no address");
    }
    let connection = std::env::var(CONNECTION_VARIABLE).unwrap_or_default();
    let address = connection.split_whitespace().nth(2).and_then(|text| text.split('%').next()?.parse().ok());
    address.with_context(|| format!("this host does not know how it was reached ({CONNECTION_VARIABLE}): give --interface"))
}
