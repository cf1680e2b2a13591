//! Members that come and go by the hundred leave nothing behind: no descriptor, thread, mapping or memory.

mod held;
mod processes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::{JoinHandle, spawn};

use held::held;
use processes::{App, Life, mesh, options};
use squall_group::Member;
use squall_transport::exchange::LocalExchange;
use squall_transport::tcp::TcpFabric;

/// Newcomers that come, get the state, and go, one after the other: two views each.
const NEWCOMERS: u64 = 500;
/// Looks at what this process holds, at the beginning and at the end.
const LOOKS: u64 = 20;
/// Kilobytes that the allocator may keep for itself: a state and some.
const SLACK_KB: usize = 16 << 10;

#[test]
fn a_thousand_views_of_members_leave_nothing_behind() {
    let over = Arc::new(AtomicBool::new(false));
    let (tell, book) = channel();
    let threads: Vec<JoinHandle<App>> = LocalExchange::mesh(2)
        .into_iter()
        .enumerate()
        .map(|(rank, mut exchange)| {
            let (over, tell) = (Arc::clone(&over), tell.clone());
            spawn(move || {
                let member = Member::found(options(2), TcpFabric::default(), mesh(rank as u64), &mut exchange).expect("both come");
                tell.send(member.address()).expect("it listens");
                let mut life = Life::new(member);
                // Under load; what was delivered is forgotten, so that only the ballast is state.
                while !over.load(Ordering::Relaxed) {
                    let turns = life.sent + 50;
                    life.live(turns, |life| life.sent >= turns || over.load(Ordering::Relaxed)).expect("nobody is lost");
                    life.app.delivered.clear();
                    life.app.views.clear();
                    life.app.before.clear();
                }
                life.member.leave();
                life.live(0, |_| false).expect_err("it leaves");
                life.app
            })
        })
        .collect();
    let contacts = [book.recv().unwrap(), book.recv().unwrap()];
    let (mut early, mut late) = ([0; 4], [usize::MAX; 4]);
    for number in 0..NEWCOMERS {
        let mut newcomer = Life::join(TcpFabric::default(), 1000 + number, &contacts).expect("there is room");
        newcomer.live(1, |life| life.app.restores > 0 && life.sent == 1).expect("nobody is lost");
        newcomer.member.leave();
        newcomer.live(0, |_| false).expect_err("it leaves");
        drop(newcomer);
        let held = held();
        if number < LOOKS {
            early = std::array::from_fn(|what| early[what].max(held[what]));
        } else if number >= NEWCOMERS - LOOKS {
            late = std::array::from_fn(|what| late[what].min(held[what]));
        }
    }
    over.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
    for (at, (what, slack)) in
        [("descriptors", 0), ("threads", 0), ("mappings", 0), ("resident kilobytes", SLACK_KB)].into_iter().enumerate()
    {
        assert!(late[at] <= early[at] + slack, "{what}: {} at the beginning, {} at the end", early[at], late[at]);
    }
}
