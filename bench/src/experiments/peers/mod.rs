//! `peers`, the parent's side: other programs beside ours, a trial of ours, a trial of theirs, and so on.
//!
//! ```text
//!   ours    raw writes between two nodes        a multicast of one sender
//!   theirs  iperf3, ucx_perftest, perftest      MPI_Bcast; corosync's closed process groups; our own writes to each
//!                                               member in turn
//! ```

mod alone;
pub mod node;
mod program;

use std::time::{Duration, Instant};

use super::group::Members;
use super::write::Pair;
use super::write::perftest::{Perftest, compared};
use crate::ask::point::PlannedPoint;
use crate::ask::setting::{Setting, Variant};
use crate::jobs::group::Load;
use crate::jobs::job::Work;
use crate::jobs::kinds::{FabricKind, Schedule};
use crate::jobs::peer::{Peer, PeerJob, PeerOrder, PeerSaid};
use crate::run::fault::Fault;
use crate::run::stage::Stage;
use crate::run::workers::Workers;
use node::IPERF3_BYTES_MAX;
use program::SECONDS_MAX;
use squall_report::Row;

const PATIENCE: Duration = Duration::from_secs(SECONDS_MAX + 10);
/// Fewest messages that a program is asked for, and most of those that cost a turn of somebody else: a round trip, the
/// token of a ring. Processes that share a core may take a time slice for each.
const MESSAGES_MIN: u64 = 5;
const TURNS_MAX: u64 = 20_000;

/// The parent's side.
///
/// # Errors
/// Why there are no (further) rows.
pub(super) fn measure(point: &PlannedPoint, stage: &mut Stage<'_>) -> Result<(), Fault> {
    let Variant::Peer(peer) = point.setting.variant else { return Err(Fault::Failed("no peer to measure".into())) };
    for trial in stage.next_trial(&point.setting)..=point.trials {
        // One after the other, each alone: nodes that wait would be in the other program's way.
        let (ours, messages) = if peer.is_pair() { raw(point, trial, stage)? } else { multicast(&point.setting, point, trial, stage)? };
        stage.emit(point, ours.clone())?;
        stage.progress.doing(&format!("{peer}: trial {trial} of {}", point.trials));
        stage.begin_trial();
        match theirs(peer, point, trial, messages, stage)? {
            Ok(row) => stage.emit(point, compared(row, &ours))?,
            Err(why) => return Err(Fault::Failed(why)),
        }
    }
    Ok(())
}

/// Our raw writes; how many there were.
fn raw(point: &PlannedPoint, trial: u32, stage: &mut Stage<'_>) -> Result<(Row, u64), Fault> {
    let mut pair = Pair::start(point, stage)?;
    let count = pair.warm_up(point, stage)?;
    stage.begin_trial();
    let (row, _) = pair.trial(&point.setting, trial, count, stage)?;
    pair.finish();
    Ok((row, count))
}

/// A group as `setting` says; messages of its sender.
fn multicast(setting: &Setting, point: &PlannedPoint, trial: u32, stage: &mut Stage<'_>) -> Result<(Row, u64), Fault> {
    let point = PlannedPoint { setting: setting.clone(), ..point.clone() };
    let mut members = Members::start(&point, stage)?;
    let messages = members.warm_up(Load::Full, point.trial_seconds, stage.request.axes.messages)?;
    stage.begin_trial();
    let outcome = members.run(messages, Load::Full, false)?;
    let row = Row { trial, note: members.noted(String::new()), ..outcome.row(stage, setting, None) };
    members.finish();
    // How it was relayed is the group's choice, and the point's name all the same.
    Ok((Row { schedule: setting.row(None).schedule, block_bytes: setting.block_bytes, ..row }, messages))
}

/// What the other one reaches, as a row; or why it reaches nothing.
fn theirs(peer: Peer, point: &PlannedPoint, trial: u32, messages: u64, stage: &mut Stage<'_>) -> Result<Result<Row, String>, Fault> {
    let setting = &point.setting;
    let named = |row: Row| Row { fabric: fabric_name(peer, setting.fabric), ..row };
    match peer {
        Peer::Unicast => {
            let sequential = Setting { schedule: Some(Schedule::Sequential), ..setting.clone() };
            let (row, _) = multicast(&sequential, point, trial, stage)?;
            Ok(Ok(Row { schedule: setting.row(None).schedule, ..named(row) }))
        }
        Peer::Perftest | Peer::PerftestLatency => {
            let mut perftest = Perftest::start(setting, stage)?;
            let row = perftest.run(setting, trial, messages)?;
            perftest.finish();
            Ok(row.map(named))
        }
        Peer::Iperf3 | Peer::Ucx | Peer::UcxLatency | Peer::Openmpi | Peer::Corosync => {
            let job = PeerJob {
                peer,
                fabric: setting.fabric.unwrap_or(FabricKind::Shm),
                message_bytes: setting.message_bytes,
                members: setting.nodes,
            };
            let works = vec![Work::Peer(job); if peer.is_pair() { 2 } else { 1 }];
            let mut workers = program(works, stage)?;
            let most = if peer.is_latency() || peer == Peer::Corosync { TURNS_MAX } else { u64::MAX };
            let messages = messages.max(MESSAGES_MIN).min(most);
            let said: Vec<PeerSaid> = workers.run(&PeerOrder::Run(messages), Instant::now() + PATIENCE)?;
            workers.dismiss(&PeerOrder::Finish);
            let row = Row { trial, verified: "none".into(), ..setting.row(None) };
            Ok(filled(named(row), setting, said.into_iter().next()))
        }
    }
}

/// Nodes that run a program: unpinned, as it would run by itself.
fn program<'a>(works: Vec<Work>, stage: &Stage<'a>) -> Result<Workers<'a>, Fault> {
    stage.workers_anywhere(works, Instant::now() + PATIENCE)
}

/// How the other one is called in the column `fabric`: by its name, and by what it goes over where that may differ.
fn fabric_name(peer: Peer, fabric: Option<FabricKind>) -> String {
    let over = fabric.map(|fabric| fabric.to_string()).unwrap_or_default();
    match peer {
        Peer::Iperf3 => "iperf3".into(),
        Peer::Perftest | Peer::PerftestLatency => "perftest".into(),
        Peer::Corosync => "corosync".into(),
        Peer::Ucx | Peer::UcxLatency => format!("ucx-{over}"),
        Peer::Openmpi => format!("openmpi-{over}"),
        Peer::Unicast => format!("unicast-{over}"),
    }
}

fn filled(row: Row, setting: &Setting, said: Option<PeerSaid>) -> Result<Row, String> {
    let bytes = setting.message_bytes as f64;
    match said {
        Some(PeerSaid::Moved { messages, seconds }) => Ok(Row {
            messages_per_sender: Some(messages as u64),
            seconds: Some(seconds),
            messages_per_second: Some(messages / seconds),
            algbw_gigabytes_per_second: Some(messages * bytes / seconds / 1e9),
            note: match setting.message_bytes {
                larger if row.fabric == "iperf3" && larger > IPERF3_BYTES_MAX => "iperf3 writes at most 1 MB at once".into(),
                _ => String::new(),
            },
            ..row
        }),
        Some(PeerSaid::Turns { p50, mean }) => Ok(Row { latency_us_p50: Some(p50), note: format!("mean {mean:.2} us"), ..row }),
        Some(PeerSaid::Failed(why)) => Err(why),
        Some(PeerSaid::Nothing) | None => Err("the client said nothing".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask::experiment::Experiment;

    fn setting(message_bytes: u64, peer: Peer) -> Setting {
        Setting {
            experiment: Experiment::Peers,
            fabric: Some(FabricKind::Tcp),
            ordering: None,
            nodes: 2,
            pattern: None,
            senders: 1,
            message_bytes,
            window: Some(1),
            shape: None,
            block_bytes: None,
            schedule: None,
            variant: Variant::Peer(peer),
        }
    }

    #[test]
    fn what_a_program_said_becomes_a_row_of_its_own_fabric() {
        let large = setting(2 << 20, Peer::Iperf3);
        let row = Row { fabric: fabric_name(Peer::Iperf3, large.fabric), ..large.row(None) };
        let row = filled(row, &large, Some(PeerSaid::Moved { messages: 100.0, seconds: 0.1 })).unwrap();
        assert_eq!((row.fabric.as_str(), row.algbw_gigabytes_per_second), ("iperf3", Some(2.097_152)));
        assert!(row.note.contains("1 MB at once"), "{}", row.note);
        let row = filled(Row::default(), &large, Some(PeerSaid::Turns { p50: 3.0, mean: 4.0 })).unwrap();
        assert_eq!((row.latency_us_p50, row.note.as_str()), (Some(3.0), "mean 4.00 us"));
        let why = filled(Row::default(), &large, Some(PeerSaid::Failed("no route".into()))).unwrap_err();
        assert_eq!(why, "no route");
        assert_eq!(fabric_name(Peer::Ucx, Some(FabricKind::Shm)), "ucx-shm");
    }
}
