//! When a host that says nothing is given up.
//!
//! A process that ends closes its sockets, and the other ends see that at once. A host that loses its power, its cable
//! or its route closes nothing: TCP itself would go on for a quarter of an hour while it sends, and for ever while it
//! does not. So every socket of this crate asks the kernel to look: probes where nothing is on its way
//! (`SO_KEEPALIVE`), a limit for what is not acknowledged (`TCP_USER_TIMEOUT`).

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt;

/// How long a host may be silent before the connections with it are given up, where nothing else is said.
pub const LOST_AFTER: Duration = Duration::from_secs(10);

/// The least: the kernel counts its probes in seconds.
pub const LOST_AFTER_MIN: Duration = Duration::from_secs(2);

/// Has the kernel break the connection of `socket` at the latest `lost_after` after the other host was last heard of.
/// What was sent and is not acknowledged breaks it, and so does a peer that takes nothing for that long while something
/// waits to be sent to it.
pub(crate) fn give_up_after(socket: impl AsFd, lost_after: Duration) -> io::Result<()> {
    let Plan { probe_every, user_timeout, probes } = Plan::within(lost_after);
    sockopt::set_tcp_keepidle(&socket, probe_every)?;
    sockopt::set_tcp_keepintvl(&socket, probe_every)?;
    sockopt::set_tcp_keepcnt(&socket, probes)?;
    sockopt::set_tcp_user_timeout(&socket, u32::try_from(user_timeout.as_millis()).unwrap_or(u32::MAX))?;
    sockopt::set_socket_keepalive(&socket, true)?;
    Ok(())
}

/// What the kernel is asked for.
///
/// ```text
///   heard last          probe        probe        probe: older than user_timeout, so it is over
///   0                   1p           2p           3p                        lost_after
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    /// Whole seconds.
    probe_every: Duration,
    user_timeout: Duration,
    probes: u32,
}

impl Plan {
    fn within(lost_after: Duration) -> Plan {
        // More than a day is as good as never, and fits every field.
        let lost_after = lost_after.clamp(LOST_AFTER_MIN, Duration::from_secs(1 << 16));
        let probe_every = Duration::from_secs((lost_after.as_secs() / 4).max(1));
        // The kernel looks when a probe is due: the last time before `lost_after` must find the limit passed.
        let user_timeout = lost_after - probe_every;
        let probes = (user_timeout.as_secs() / probe_every.as_secs()) as u32;
        Plan { probe_every, user_timeout, probes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_probe_finds_the_limit_passed_and_is_in_time() {
        for tenths in 20..2_000 {
            let lost_after = Duration::from_millis(100 * tenths);
            let plan = Plan::within(lost_after);
            let looks = (1..100).map(|probe| probe * plan.probe_every);
            let over = looks.into_iter().find(|&at| at >= plan.user_timeout).expect("probes go on");
            assert!(over <= lost_after, "{plan:?} notices after {over:?}, not within {lost_after:?}");
            assert!(plan.user_timeout >= lost_after / 2, "{plan:?} is hasty for {lost_after:?}");
        }
        assert_eq!(Plan::within(Duration::ZERO), Plan::within(LOST_AFTER_MIN));
        assert!(Plan::within(Duration::MAX).user_timeout > Duration::from_secs(40_000));
    }

    #[test]
    fn the_kernel_takes_the_plan() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
        let socket = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        for lost_after in [Duration::ZERO, LOST_AFTER, Duration::MAX] {
            give_up_after(&socket, lost_after).expect("a TCP socket");
            let plan = Plan::within(lost_after);
            assert!(sockopt::socket_keepalive(&socket).expect("a socket"));
            assert_eq!(sockopt::tcp_keepidle(&socket).expect("a socket"), plan.probe_every);
            assert_eq!(sockopt::tcp_keepintvl(&socket).expect("a socket"), plan.probe_every);
            assert_eq!(u128::from(sockopt::tcp_user_timeout(&socket).expect("a socket")), plan.user_timeout.as_millis());
        }
    }
}
