//! A thousand views leave nothing behind: no descriptor, thread, mapping or memory.

mod cluster;
mod held;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread::{JoinHandle, spawn};

use cluster::{Cluster, Log, Member, config};
use held::held;
use squall_group::{CONTACT_SENDS, Ended, Newcomer, View};
use squall_transport::Rank;
use squall_transport::shm::ShmFabric;

/// Newcomers that come and go one after the other: two views each.
const NEWCOMERS: u64 = 500;
/// Looks at what this process holds, at the beginning and at the end.
const LOOKS: u64 = 20;
/// Kilobytes that the allocator may keep for itself.
const SLACK_KB: usize = 4096;

#[test]
fn a_thousand_views_under_load_leave_nothing_behind() {
    let (cluster, config, over) = (Cluster::default(), config(2), Arc::new(AtomicBool::new(false)));
    let (ask, asked) = channel::<Newcomer>();
    let mut asked = Some(asked);
    let threads: Vec<JoinHandle<Log>> = (0..2)
        .map(|rank| {
            let (cluster, config, over, asked) = (cluster.clone(), config.clone(), Arc::clone(&over), asked.take());
            spawn(move || {
                let view = View::first(Rank::new(rank), 2, &[Rank(0), Rank(1)], &[0; 32]);
                let member = Member::enter(&config, view, ShmFabric::new(), &cluster);
                let mut wants = None;
                let member = member.live(u64::MAX, |member| {
                    member.log.deliveries.clear();
                    member.log.views.clear();
                    wants = wants.take().or_else(|| asked.as_ref().and_then(|asked| asked.try_recv().ok()));
                    // A view that is over takes nobody: it is asked for in the next one.
                    wants = wants.filter(|newcomer| member.group.request(*newcomer).is_err());
                    over.load(Ordering::Relaxed)
                });
                member.ok().expect("nobody is lost").close(|_| true)
            })
        })
        .collect();
    let (mut early, mut late) = ([0; 4], [usize::MAX; 4]);
    for number in 0..NEWCOMERS {
        let newcomer = Newcomer { node: 1000 + number, contact: [0, 0, CONTACT_SENDS] };
        let waits = cluster.wait(&newcomer);
        ask.send(newcomer).expect("it listens");
        let member = Member::enter(&config, waits.recv().expect("it is told"), ShmFabric::new(), &cluster);
        let voted = |member: &Member<ShmFabric>| member.group.view().votes(member.group.view().me);
        let member = member.live(12, |member| member.sent == 12 && member.log.deliveries.len() > 20 && voted(member));
        let mut member = member.map_err(|ended| ended.1).expect("nobody is lost");
        member.group.leave();
        let (_, ended) = *member.live(0, |_| false).err().expect("it leaves");
        assert_eq!(ended, Ended::Closed);
        let held = held();
        if number < LOOKS {
            early.iter_mut().zip(held).for_each(|(most, now)| *most = now.max(*most));
        } else if number >= NEWCOMERS - LOOKS {
            late.iter_mut().zip(held).for_each(|(least, now)| *least = now.min(*least));
        }
    }
    over.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|thread| drop(thread.join().expect("no member panics")));
    println!("descriptors, threads, mappings, resident kB: at most {early:?} early, at least {late:?} late");
    assert!(late.iter().zip(early).zip([0, 0, 0, SLACK_KB]).all(|((late, early), slack)| *late <= early + slack), "{early:?} {late:?}");
}
