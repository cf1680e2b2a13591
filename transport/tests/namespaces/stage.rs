//! Programs in network namespaces of their own, and a cable between two of them.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Tells a copy of this program what it is to do.
const ROLE: &str = "SQUALL_TEST_NAMESPACE";

/// What this process is to do, if a test started it in a namespace.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// Runs the test called `test` once more, as `role`, in a new network namespace with nothing in it but a loopback
/// interface that is down; fails if it does.
pub(crate) fn enter(test: &str, role: &str) {
    let Some(unshare) = allowed() else {
        return;
    };
    let status = copy(&unshare, test, role).status().expect("unshare starts");
    assert!(status.success(), "{test} in a namespace: {status}");
}

/// How to get a namespace here; none, with the reason printed, if that is not allowed.
fn allowed() -> Option<Vec<&'static str>> {
    let ways = [vec!["--net"], vec!["--user", "--map-root-user", "--net"]];
    let works = |way: &Vec<&str>| {
        let tried = Command::new("unshare").args(way).args(["ip", "link", "set", "lo", "up"]).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    };
    let way = ways.into_iter().find(works);
    if way.is_none() {
        let why = "no network namespaces here: `unshare --net ip link` (util-linux, iproute2) works neither as this user nor with --user";
        assert!(std::env::var_os("CI").is_none(), "{why}");
        println!("skipped: {why}");
    }
    way
}

fn copy(unshare: &[&str], test: &str, role: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(unshare).arg("--").arg(std::env::current_exe().expect("my own name"));
    command.args(["--exact", test, "--nocapture"]).env(ROLE, role);
    command
}

/// Runs `ip` in the namespace of this process.
pub(crate) fn ip(words: &str) {
    let status = Command::new("ip").args(words.split_whitespace()).status().expect("iproute2 is there");
    assert!(status.success(), "ip {words}: {status}");
}

/// A copy of this program in a namespace of its own, joined to this one by a cable: `cable0` here, `cable1` there.
/// Killed when it is dropped.
pub(crate) struct OtherHost {
    child: Child,
    said: BufReader<ChildStdout>,
    stdin: ChildStdin,
}

/// Stands before the other host's own words: whatever else its test harness prints is passed over.
const SAYS: &str = "host: ";

impl OtherHost {
    /// Starts it and lays the cable. It must call [`arrive`] first of all.
    pub(crate) fn start(test: &str, role: &str) -> OtherHost {
        let mut child = copy(&["--net"], test, role).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare starts");
        let said = BufReader::new(child.stdout.take().expect("piped"));
        let stdin = child.stdin.take().expect("piped");
        let mut host = OtherHost { child, said, stdin };
        host.expect("here");
        ip(&format!("link add cable0 type veth peer name cable1 netns {}", host.child.id()));
        ip("link set lo up");
        ip("link set cable0 up");
        ip("addr add 192.0.2.1/24 dev cable0");
        ip("addr add fe80::1/64 dev cable0 nodad");
        host.tell("go");
        host.expect("up");
        host
    }

    pub(crate) fn tell(&mut self, word: &str) {
        writeln!(self.stdin, "{word}").expect("it reads");
    }

    /// Waits until it says `word`.
    pub(crate) fn expect(&mut self, word: &str) {
        let said = self.hear();
        assert_eq!(said, word, "the other host said something else");
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.said.read_line(&mut line).expect("a pipe") > 0, "the other host ended: {:?}", self.child.wait());
            if let Some((_, word)) = line.trim_end().split_once(SAYS) {
                return word.to_owned();
            }
        }
    }
}

impl Drop for OtherHost {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other host sets its end of the cable up.
pub(crate) fn arrive() {
    say("here");
    hear("go");
    ip("link set lo up");
    ip("link set cable1 up");
    ip("addr add 192.0.2.2/24 dev cable1");
    ip("addr add fe80::2/64 dev cable1 nodad");
    say("up");
}

/// From the other host to the test.
pub(crate) fn say(word: &str) {
    println!("{SAYS}{word}");
}

/// From the test to the other host.
pub(crate) fn hear(word: &str) {
    assert_eq!(listen(), word);
}

pub(crate) fn listen() -> String {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("a pipe");
    line.trim_end().to_owned()
}
