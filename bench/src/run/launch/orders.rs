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

/// How many programs stay on a host, this one among them: other builds, and other users' of the same home.
const PROGRAMS_KEPT: usize = 4;

/// The command for a shell of another host: takes the program if it is not there, removes those that were not used for
/// the longest time, and becomes it. It has no quotes of its own kind in it, so that any shell hands it on.
pub(super) fn script(hash: &str, bytes: usize) -> String {
    let file = format!("f=\"{}/bin/{hash}/squall\"", cache());
    let take = format!(
        "umask 077; mkdir -p \"${{f%/*}}\" && head -c {bytes} >\"$f.$$\" && \
         [ $(wc -c <\"$f.$$\") -eq {bytes} ] && chmod 700 \"$f.$$\" && mv \"$f.$$\" \"$f\" || \
         {{ rm -f \"$f.$$\"; exit {EXIT_NOT_TAKEN}; }}"
    );
    let have = format!("echo \"{MARK}have\"");
    // What was used last stands first.
    let clean = format!(
        "(cd \"${{f%/*}}/..\" && touch {hash} && ls -t | tail -n +{} | while read -r o; do rm -rf \"$o\"; done) 2>/dev/null",
        PROGRAMS_KEPT + 1
    );
    let need = format!("echo \"{MARK}need $(uname -sm)\"");
    format!("exec sh -c '{file}; if [ -x \"$f\" ]; then :; else {need}; {take}; fi; {have}; {clean}; exec \"$f\" node --conducted'")
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
    use std::collections::BTreeSet;
    use std::fs::{File, create_dir_all, read_dir, write};
    use std::io::Write;
    use std::process::{Command, Stdio};
    use std::time::{Duration, SystemTime};

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

    #[test]
    fn a_host_keeps_the_programs_that_were_used_last() {
        let cache = tempfile::tempdir().unwrap();
        let programs = cache.path().join("squall/bin");
        for (age, name) in (1..).zip(["aa", "bb", "cc", "dd", "ee", "ff"]) {
            create_dir_all(programs.join(name)).unwrap();
            write(programs.join(name).join("squall"), "").unwrap();
            File::open(programs.join(name)).unwrap().set_modified(SystemTime::now() - Duration::from_secs(1000 * age)).unwrap();
        }
        // It comes once, and is there the second time.
        for said in ["squall-host: need ", "squall-host: have"] {
            let program = "#!/bin/sh\necho ran $*\n";
            let mut command = Command::new("sh");
            command.arg("-c").arg(script("77", program.len())).env("XDG_CACHE_HOME", cache.path());
            let mut shell = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            shell.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
            let output = shell.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(text.starts_with(said) && text.ends_with("squall-host: have\nran node --conducted\n"), "{text}");
            assert!(output.stderr.is_empty(), "{output:?}");
            let kept: BTreeSet<String> =
                read_dir(&programs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            assert_eq!(kept, ["77", "aa", "bb", "cc"].map(str::to_owned).into());
        }
    }
}
