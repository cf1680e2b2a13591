//! Other programs that move messages, and a node that runs one of them.

use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::kinds::FabricKind;

/// Another program, or another way, that is measured beside ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// A TCP stream of iperf3, beside raw writes over TCP
    Iperf3,
    /// Puts of UCX's ucx_perftest, beside raw writes
    Ucx,
    /// Round trips of ucx_perftest, beside raw writes in turns
    UcxLatency,
    /// perftest's ib_write_bw, beside raw writes over verbs
    Perftest,
    /// perftest's ib_write_lat, beside raw writes in turns
    PerftestLatency,
    /// MPI_Bcast of Open MPI, beside a multicast of one sender
    Openmpi,
    /// Messages in a closed process group of corosync, a daemon and a network namespace a member, beside a multicast of
    /// one sender over TCP
    Corosync,
    /// The sender's own writes to each member in turn (schedule `sequential`), beside a multicast of one sender
    Unicast,
}

impl Peer {
    /// Fabrics over which both can be measured.
    pub fn fabrics(self) -> &'static [FabricKind] {
        match self {
            Peer::Iperf3 | Peer::Corosync => &[FabricKind::Tcp],
            Peer::Openmpi => &[FabricKind::Shm, FabricKind::Tcp],
            Peer::Perftest | Peer::PerftestLatency => &[FabricKind::Verbs],
            Peer::Ucx | Peer::UcxLatency | Peer::Unicast => &[FabricKind::Shm, FabricKind::Tcp, FabricKind::Verbs],
        }
    }

    /// Whether it is measured between two nodes, rather than in a group.
    pub fn is_pair(self) -> bool {
        !matches!(self, Peer::Openmpi | Peer::Corosync | Peer::Unicast)
    }

    /// Whether messages go one at a time.
    pub fn is_latency(self) -> bool {
        matches!(self, Peer::UcxLatency | Peer::PerftestLatency)
    }

    /// The programs that it takes, or other files of the system, and the packages that they come in; none for what is
    /// our own.
    pub fn programs(self) -> Option<(&'static [&'static str], &'static str)> {
        match self {
            Peer::Iperf3 => Some((&["iperf3"], "iperf3")),
            Peer::Ucx | Peer::UcxLatency => Some((&["ucx_perftest"], "ucx-utils")),
            Peer::Perftest => Some((&["ib_write_bw"], "perftest")),
            Peer::PerftestLatency => Some((&["ib_write_lat"], "perftest")),
            Peer::Openmpi => Some((&["mpirun", "mpicc"], "openmpi-bin libopenmpi-dev")),
            Peer::Corosync => {
                Some((&["corosync", "cc", "unshare", "ip", "/usr/include/corosync/cpg.h"], "corosync libcpg-dev gcc iproute2"))
            }
            Peer::Unicast => None,
        }
    }

    /// Why it does not take messages of that size.
    pub fn refuses(self, message_bytes: u64) -> Option<String> {
        const CLOSED_GROUP_MAX: u64 = 1 << 20;
        let is_refused = self == Peer::Corosync && message_bytes > CLOSED_GROUP_MAX;
        is_refused.then(|| "corosync takes messages of at most 1 MB in one piece; give --size 1MB or less".into())
    }

    /// What is missing to run it on this host, with the mend.
    pub fn missing(self) -> Option<String> {
        let (programs, package) = self.programs()?;
        let path = std::env::var_os("PATH").unwrap_or_default();
        // A whole path stays what it is when it is joined to a folder.
        let is_there = |program: &&&str| std::env::split_paths(&path).any(|folder| Path::new(&folder).join(program).is_file());
        if let Some(missing) = programs.iter().find(|program| !is_there(program)) {
            return Some(format!("{missing} is not installed; `sudo apt-get install {package}` brings it"));
        }
        if self == Peer::Openmpi {
            return missing_of_open_mpi(package);
        }
        let is_refused = self == Peer::Corosync && !rustix::process::geteuid().is_root();
        is_refused.then(|| "members of corosync get network namespaces, which only root may make; run it as root".into())
    }
}

/// What `mpicc` lacks to compile a program of Open MPI: it comes in a package of its own without the headers, and other
/// MPIs have one too. Looked for once.
fn missing_of_open_mpi(package: &str) -> Option<String> {
    static MACROS: OnceLock<Option<String>> = OnceLock::new();
    match MACROS.get_or_init(|| macros_of("mpicc", "#include <mpi.h>\n").ok().flatten()) {
        None => Some(format!("mpi.h, which mpicc looks for, is not installed; `sudo apt-get install {package}` brings it")),
        Some(macros) if macros.contains("#define OPEN_MPI ") => None,
        Some(_) => Some(
            "mpicc is another MPI's; `sudo update-alternatives --config mpi` chooses Open MPI's where both are installed, or have its \
             folder first in PATH"
                .into(),
        ),
    }
}

/// The macros that a C compiler knows at the end of this source, if it takes it.
fn macros_of(compiler: &str, source: &str) -> std::io::Result<Option<String>> {
    let mut compile = Command::new(compiler);
    compile.args(["-E", "-dM", "-x", "c", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut compiling = compile.spawn()?;
    if let Some(mut input) = compiling.stdin.take() {
        input.write_all(source.as_bytes())?;
    }
    let compiled = compiling.wait_with_output()?;
    Ok(compiled.status.success().then(|| String::from_utf8_lossy(&compiled.stdout).into_owned()))
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.to_possible_value().as_ref().map_or("", |value| value.get_name()))
    }
}

/// A node that runs one: of two nodes the first is the client, the second the server; what starts its own processes is
/// one node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerJob {
    /// Which.
    pub peer: Peer,
    /// Over what.
    pub fabric: FabricKind,
    /// Bytes of one message.
    pub message_bytes: u64,
    /// Members of the group, for what starts them itself.
    pub members: u32,
}

/// What a node is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum PeerOrder {
    /// Move so many messages.
    Run(u64),
    /// End.
    Finish,
}

/// What a program said that it did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PeerSaid {
    /// Nothing: it was the server.
    Nothing,
    /// It moved these messages in this time.
    Moved {
        /// How many.
        messages: f64,
        /// In which time.
        seconds: f64,
    },
    /// The time of half a round trip, in microseconds.
    Turns {
        /// The middle one.
        p50: f64,
        /// The mean.
        mean: f64,
    },
    /// It failed, with these words.
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_our_own_is_never_missing_and_names_are_those_of_the_command_line() {
        assert_eq!(Peer::Unicast.missing(), None);
        let names: Vec<String> = Peer::value_variants().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["iperf3", "ucx", "ucx-latency", "perftest", "perftest-latency", "openmpi", "corosync", "unicast"]);
    }
}
