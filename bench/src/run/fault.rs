//! Why a point has no (further) results.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::jobs::os;

/// Why the nodes of a point did not do what they were ordered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The user wants the run to end.
    #[error("interrupted")]
    Interrupted,
    /// The results cannot be written; the run ends.
    #[error("{0}")]
    Results(String),
    /// This point failed; the run goes on.
    #[error("{0}")]
    Failed(String),
}

/// What is known of one node after something went wrong.
#[derive(Clone, Debug)]
pub(super) struct NodeEnd {
    /// Which node, for people.
    pub(super) node: String,
    /// How its process ended, if it did.
    pub(super) status: Option<ExitStatus>,
    /// Its own reason, if it gave one.
    pub(super) said: Option<String>,
    /// Its last lines.
    pub(super) stderr: String,
    /// Why its host is lost, if it is.
    pub(super) lost: Option<String>,
}

/// Reasons that are shown.
const SHOWN_MAX: usize = 2;

impl Fault {
    /// The reason that most likely came first: a node that ended without a word explains the others, which miss it.
    pub(super) fn of(ends: &[NodeEnd]) -> Fault {
        let mut reasons: Vec<String> = ends.iter().filter_map(|node| Some(format!("{}: {}", node.node, node.lost.as_ref()?))).collect();
        if reasons.is_empty() {
            let silent = ends.iter().filter(|node| node.said.is_none()).filter_map(NodeEnd::sudden_end);
            reasons.extend(silent);
        }
        if reasons.is_empty() {
            let said = |node: &NodeEnd| node.said.as_ref().map(|said| format!("{}: {said}", node.node));
            reasons = ends.iter().filter_map(said).collect();
        }
        if reasons.is_empty() {
            return Fault::Failed("a node closed its pipe and gave no reason".into());
        }
        let more = reasons.len().saturating_sub(SHOWN_MAX);
        reasons.truncate(SHOWN_MAX);
        let mut text = reasons.join("; ");
        if more > 0 {
            text.push_str(&format!("; and {more} more"));
        }
        Fault::Failed(text)
    }
}

impl NodeEnd {
    fn sudden_end(&self) -> Option<String> {
        let status = self.status?;
        let how = match (status.signal(), status.code()) {
            (Some(signal), _) => format!("was ended by signal {signal}{}", signal_advice(signal, os::cpu_seconds_max())),
            (_, Some(0)) => return None,
            (_, code) => format!("exited with status {}", code.unwrap_or(-1)),
        };
        let last_words = if self.stderr.is_empty() { String::new() } else { format!(": {}", self.stderr) };
        Some(format!("{} {how}{last_words}", self.node))
    }
}

/// What is behind a signal, with the seconds of processor time that a process may use, if there is a limit.
fn signal_advice(signal: i32, cpu_seconds_max: Option<u64>) -> String {
    let plain = match signal {
        libc::SIGKILL => match cpu_seconds_max {
            None => " (SIGKILL: someone ended it, or the system ran out of memory; see dmesg)",
            Some(seconds) => {
                return format!(
                    " (SIGKILL: either it used more than {seconds} s of processor time, the limit here, so raise `ulimit -t`; or \
                     someone ended it, or the system ran out of memory, see dmesg)"
                );
            }
        },
        libc::SIGXCPU => " (SIGXCPU: it used more processor time than it may; raise `ulimit -t`)",
        libc::SIGBUS => " (SIGBUS: shared memory could not be had; see the size of /dev/shm and the memory limits)",
        libc::SIGSEGV => " (SIGSEGV)",
        libc::SIGABRT => " (SIGABRT)",
        libc::SIGTERM => " (SIGTERM)",
        _ => "",
    };
    plain.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node_end(rank: usize, raw_status: Option<i32>, said: Option<&str>) -> NodeEnd {
        let status = raw_status.map(ExitStatus::from_raw);
        NodeEnd { node: format!("node {rank}"), status, said: said.map(str::to_owned), stderr: String::new(), lost: None }
    }

    #[test]
    fn the_node_that_was_killed_is_the_reason_not_those_who_miss_it() {
        let fault = Fault::of(&[node_end(0, None, Some("member 1 is down")), node_end(1, Some(9), None)]);
        assert!(fault.to_string().starts_with("node 1 was ended by signal 9"), "{fault}");
    }

    #[test]
    fn a_limit_of_processor_time_is_named_where_there_is_one() {
        assert!(!signal_advice(libc::SIGKILL, None).contains("ulimit"));
        let limited = signal_advice(libc::SIGKILL, Some(9));
        assert!(limited.contains("more than 9 s") && limited.contains("`ulimit -t`") && limited.contains("dmesg"), "{limited}");
        assert!(signal_advice(libc::SIGXCPU, None).contains("`ulimit -t`"));
    }

    #[test]
    fn without_a_sudden_end_the_nodes_own_words_count() {
        let said = |rank| node_end(rank, Some(256), Some("no memory"));
        let fault = Fault::of(&[said(0), said(1), said(2)]);
        assert_eq!(fault.to_string(), "node 0: no memory; node 1: no memory; and 1 more");
    }

    #[test]
    fn a_host_that_is_lost_explains_all() {
        let lost = NodeEnd { lost: Some("its agent is gone".into()), ..node_end(2, None, None) };
        let fault = Fault::of(&[node_end(0, None, Some("member 2 is down")), node_end(1, Some(256), None), lost]);
        assert_eq!(fault.to_string(), "node 2: its agent is gone");
    }

    #[test]
    fn last_words_are_kept() {
        let node = NodeEnd { stderr: "panicked at x".into(), ..node_end(3, Some(101 << 8), None) };
        assert_eq!(Fault::of(&[node]).to_string(), "node 3 exited with status 101: panicked at x");
    }
}
