//! What a process on another host is told by the one that started it there.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::ask::network::Network;

/// The first line on its standard input, as JSON. When that input ends, the process does too.
#[derive(Clone, Serialize, Deserialize)]
pub struct Orders {
    /// The cluster key of this run, as hex digits.
    pub key: String,
    /// Which host it is.
    pub rank: u32,
    /// How many there are.
    pub nodes: u32,
    /// Where the first host listens; none for that one itself.
    pub first: Option<SocketAddr>,
    /// What the first host runs: the whole command line.
    pub words: Vec<String>,
    /// Names the folder for results on the first host.
    pub run: String,
    /// Seconds to wait for the others.
    pub wait: u64,
    /// Interfaces and ports.
    pub network: Network,
}

/// What lines begin with that are not for people.
const MARK: &str = "squall-host: ";

/// What is said by a line on the standard output of another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// The program is there.
    Have,
    /// It is not, on a machine of this kind, as `uname -sm` names it.
    Need(String),
    /// The first host listens here.
    At(SocketAddr),
    /// It is for people.
    Output,
}

impl Line {
    /// What a line says.
    pub fn of(line: &str) -> Line {
        let Some(said) = line.trim_end().strip_prefix(MARK) else { return Line::Output };
        match said.split_once(' ') {
            None if said == "have" => Line::Have,
            Some(("need", machine)) => Line::Need(machine.to_owned()),
            Some(("at", address)) => address.parse().map_or(Line::Output, Line::At),
            _ => Line::Output,
        }
    }

    /// The line by which the first host says where it listens.
    pub fn at(address: SocketAddr) -> String {
        format!("{MARK}at {address}")
    }
}

/// The command for a shell of another host: takes the program if it is not there, and becomes it. It has no quotes of
/// its own kind in it, so that any shell hands it on.
pub(super) fn script(hash: &str, bytes: usize) -> String {
    let file = format!("f=\"{}/bin/{hash}/squall\"", cache());
    let take = format!(
        "umask 077; mkdir -p \"${{f%/*}}\" && head -c {bytes} >\"$f.$$\" && [ $(wc -c <\"$f.$$\") -eq {bytes} ] && chmod 700 \"$f.$$\" && mv \"$f.$$\" \"$f\" || {{ rm -f \"$f.$$\"; exit {EXIT_NOT_TAKEN}; }}"
    );
    let have = format!("echo \"{MARK}have\"");
    let need = format!("echo \"{MARK}need $(uname -sm)\"");
    format!("exec sh -c '{file}; if [ -x \"$f\" ]; then :; else {need}; {take}; fi; {have}; exec \"$f\" node --conducted'")
}

/// Exit status of the script if the program could not be written there.
pub(super) const EXIT_NOT_TAKEN: i32 = 97;

/// Exit status of [`pack`] if there are none.
pub(super) const EXIT_NO_RESULTS: i32 = 98;

/// The folder of a user's own where programs and results are kept, for a shell.
fn cache() -> &'static str {
    "${XDG_CACHE_HOME:-$HOME/.cache}/squall"
}

/// The same for results of a run.
fn folder(run: &str) -> String {
    format!("{}/runs/{run}", cache())
}

/// The command that packs the results of a run.
pub(super) fn pack(run: &str) -> String {
    format!("exec sh -c 'cd \"{}\" 2>/dev/null || exit {EXIT_NO_RESULTS}; exec tar -cf - .'", folder(run))
}

/// The command that unpacks them before a run goes on.
pub(super) fn unpack(run: &str) -> String {
    format!("exec sh -c 'umask 077; mkdir -p \"{0}\" && cd \"{0}\" && exec tar -xf -'", folder(run))
}

/// The command that removes them.
pub(super) fn remove(run: &str) -> String {
    format!("exec sh -c 'exec rm -rf \"{}\"'", folder(run))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_are_said() {
        assert_eq!(Line::of("squall-host: have\n"), Line::Have);
        assert_eq!(Line::of("squall-host: need Linux x86_64\n"), Line::Need("Linux x86_64".into()));
        let address: SocketAddr = "10.0.0.1:7400".parse().unwrap();
        assert_eq!(Line::of(&Line::at(address)), Line::At(address));
        for text in ["Welcome to node1", "squall-host: at nowhere", "squall-host:", ""] {
            assert_eq!(Line::of(text), Line::Output);
        }
    }
}
