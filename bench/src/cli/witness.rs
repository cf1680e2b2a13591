//! `squall witness`: the third opinion of groups of two.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use squall_group::WitnessService;
use squall_transport::exchange::random_node;
use squall_transport::mesh::{Mesh, MeshOptions};

use super::launch::key::cluster_key;
use super::output::say;
use super::status::{EXIT_DONE, EXIT_INTERRUPTED};
use crate::run::interrupt::Interrupt;

pub(super) const EXAMPLES: &str = "\
When two members lose each other, neither is a majority. With a witness, the member that asks first
continues, and the other stops. The witness never sides with both members of a view. It keeps its
decisions in --file, so it may be restarted.

Examples:
  squall witness --listen 192.0.2.9:7410 --key-file ~/squall.key --file /var/lib/squall/witness

Exit status: 0 after Ctrl-C or SIGTERM; 1 if it cannot listen or write, with the reason on standard error.";

/// Between two looks at whether the user has had enough.
const LOOK_EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
pub(super) struct WitnessArgs {
    /// Address to listen at; members are configured with it
    #[arg(long, value_name = "IP:PORT")]
    listen: SocketAddr,
    /// File with the cluster key, the same on all hosts, readable by its owner alone [or the key itself in SQUALL_KEY]
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// File for its decisions; without it, do not restart the witness while groups that asked it live
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Serves until it is told to end.
pub(super) fn serve(args: &WitnessArgs) -> anyhow::Result<u8> {
    let interrupt = Interrupt::catch(EXIT_INTERRUPTED).context("cannot catch Ctrl-C")?;
    let key = cluster_key(args.key_file.as_deref())?;
    let mesh = Mesh::open(args.listen, &key, random_node(), MeshOptions::default())?;
    let address = mesh.address();
    let mut service = WitnessService::new(mesh, args.file.as_deref())?;
    say(&format!("witness at {address}"))?;
    while !interrupt.is_set() {
        let answered = service.serve_until(Instant::now() + LOOK_EVERY)?;
        if answered > 0 {
            say(&format!("{answered} asked"))?;
        }
    }
    Ok(EXIT_DONE)
}
