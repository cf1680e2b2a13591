//! A node that starts all members of another system's group itself, by a program that is compiled where it runs.
//!
//! ```text
//!   openmpi    mpirun -n N bcast ...          a process a member
//!   corosync   cpg.sh .../cpg N ...           a daemon and a process a member, each in a network namespace of its own
//! ```

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::program::{failed, limited, run, words};
use crate::jobs::control::Control;
use crate::jobs::kinds::FabricKind;
use crate::jobs::peer::{Peer, PeerJob, PeerOrder, PeerSaid};

/// Compiled where it runs: MPI libraries have no common binary form.
const BROADCAST: &str = include_str!("bcast.c");
/// Compiled where it runs: ours links no library of a peer.
const CLOSED_GROUP: &str = include_str!("cpg.c");
/// Sets daemons up, and runs the program beside each.
const CLOSED_GROUP_SCRIPT: &str = include_str!("cpg.sh");
/// Messages that warm a group up.
const WARM_UP: u64 = 3;

/// The node's side.
///
/// # Errors
/// If the parent is gone, or the program cannot be compiled. That it fails is an answer.
pub(super) fn node(peer: &PeerJob, control: &mut Control) -> anyhow::Result<()> {
    let folder = Folder::new()?;
    let program = folder.0.join("member");
    match peer.peer {
        Peer::Corosync => compile("cc", CLOSED_GROUP, &program, &["-lcpg"])?,
        _ => compile("mpicc", BROADCAST, &program, &[])?,
    }
    control.ready(Vec::new())?;
    loop {
        match control.next()? {
            PeerOrder::Run(messages) => {
                let mut command = match peer.peer {
                    Peer::Corosync => closed_group(&program, peer.members),
                    _ => broadcast(&program, peer),
                };
                command.args([peer.message_bytes, messages, WARM_UP].map(|number| number.to_string()));
                let output = run(&mut command)?;
                let seconds = String::from_utf8_lossy(&output.stdout).trim().parse::<f64>();
                control.done(&match seconds {
                    Ok(seconds) if output.status.success() => PeerSaid::Moved { messages: messages as f64, seconds },
                    _ => failed(peer.peer.programs().map_or("", |(programs, _)| programs[0]), &output),
                })?;
            }
            PeerOrder::Finish => return Ok(()),
        }
    }
}

fn compile(compiler: &str, source: &str, program: &Path, libraries: &[&str]) -> anyhow::Result<()> {
    let mut compile = Command::new(compiler);
    compile.args(["-O2", "-x", "c", "-", "-o"]).arg(program).args(libraries);
    compile.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut compiling = compile.spawn().with_context(|| format!("starting {compiler}"))?;
    compiling.stdin.take().context("a pipe is missing")?.write_all(source.as_bytes())?;
    let compiled = compiling.wait_with_output()?;
    if !compiled.status.success() {
        bail!("{compiler} failed: {}", words(&compiled));
    }
    Ok(())
}

fn broadcast(program: &Path, peer: &PeerJob) -> Command {
    let mut command = limited("mpirun");
    // What refuses to run as root protects nobody here; what is not told of cores spreads over all.
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.args(broadcasting(peer)).arg(program);
    command
}

/// Options of `mpirun` for a group of this host over a fabric.
fn broadcasting(peer: &PeerJob) -> Vec<String> {
    let transports = match peer.fabric {
        FabricKind::Tcp => "self,tcp",
        FabricKind::Shm | FabricKind::Verbs => "self,vader",
    };
    // Without `plm isolated` it looks for ssh, which it does not need on one host.
    const ALWAYS: [&str; 10] = ["--oversubscribe", "--bind-to", "none", "--mca", "plm", "isolated", "--mca", "pml", "ob1", "--mca"];
    let mut options: Vec<String> = ALWAYS.iter().chain(&["btl"]).map(|&word| word.to_owned()).collect();
    options.push(transports.into());
    if peer.fabric == FabricKind::Tcp {
        options.extend(["--mca", "btl_tcp_if_include", "lo"].map(str::to_owned));
    }
    options.extend(["-n".to_owned(), peer.members.to_string()]);
    options
}

/// In namespaces that end with it: addresses, daemons and their locks are not this host's.
fn closed_group(program: &Path, members: u32) -> Command {
    let mut command = limited("unshare");
    command.args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.args(["sh", "-e", "-c", CLOSED_GROUP_SCRIPT, "cpg.sh"]).arg(program).arg(members.to_string());
    command
}

/// A folder of its own, removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Folder> {
        let folder = std::env::temp_dir().join(format!("squall-peer-{}", std::process::id()));
        std::fs::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Folder(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in a folder for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broadcast_takes_the_fabric_it_is_compared_on() {
        let of = |fabric| broadcasting(&PeerJob { peer: Peer::Openmpi, fabric, message_bytes: 1, members: 4 }).join(" ");
        assert!(of(FabricKind::Tcp).contains("btl self,tcp --mca btl_tcp_if_include lo -n 4"));
        assert!(of(FabricKind::Shm).ends_with("btl self,vader -n 4"));
    }
}
