//! Runs on modelled clusters: rows like those of any fabric, and clear refusals of what a model does not have.

use std::process::Command;

use squall_report::read_rows;

fn squall(arguments: &str) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_squall")).args(arguments.split_whitespace()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[test]
fn a_sweep_gives_rows_and_figures_that_say_simulated() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let sweep = "run multicast --fabric sim-rdma-100g,sim-tcp-10g --nodes 2..4 --size 10KB,1MB --senders all,one --ordering ordered";
    let (status, shown, errors) = squall(&format!("{sweep} --messages 40 --trials 2 --out {}", out.display()));
    assert_eq!(status, 0, "{errors}");
    assert!(shown.contains("sim-rdma-100g") && shown.contains("report: "), "{shown}");
    let rows = read_rows(&out).unwrap().rows;
    assert_eq!(rows.len(), 2 * 3 * 2 * 2 * 2);
    for row in &rows {
        assert!(row.emulated == "simulated" && row.fabric.starts_with("sim-") && row.trial > 0, "{row:?}");
        assert!(row.bound_fraction.is_some_and(|part| part > 0.05 && part <= 1.0), "{row:?}");
    }
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("emulated"));
}

#[test]
fn latencies_come_with_percentiles() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let (status, _, errors) =
        squall(&format!("run latency --fabric sim-rdma-100g --nodes 2 --size 1 --messages 50 --trials 1 --out {}", out.display()));
    assert_eq!(status, 0, "{errors}");
    let rows = read_rows(&out).unwrap().rows;
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.latency_us_p50 > Some(0.5) && row.latency_us_max >= row.latency_us_p50), "{rows:?}");
}

#[test]
fn what_a_model_does_not_have_is_refused_with_the_mend() {
    for (more, named) in [
        ("--pin 0", "--pin"),
        ("--perftest", "--perftest"),
        ("--verify full", "--verify"),
        ("--spin", "cpu.spin_us"),
        ("--deadline 5", "--deadline"),
        ("--mtu 1024", "--mtu"),
        ("--seconds 1", "--messages"),
        ("--hosts node[1-2]", "leave --hosts out"),
        ("--launcher slurm", "--launcher none"),
        ("--nodes 2000", "1024 on modelled clusters"),
        ("--fabric shm", "squall compare"),
        ("--fabric sim-token-ring", "sim-rdma-400g"),
        ("--profile /nowhere/mine.toml", "/nowhere/mine.toml"),
    ] {
        let (status, _, errors) = squall(&format!("run multicast --fabric sim-rdma-100g {more}"));
        assert!(status != 0 && errors.contains(named), "{more}: {status} {errors}");
    }
    let (status, _, errors) = squall("run write --fabric sim-rdma-100g");
    assert!(status != 0 && errors.contains("multicast"), "{errors}");
    let (status, _, errors) = squall("run smc-rate --fabric sim-rdma-100g --schedule tree");
    assert!(status == 2 && errors.contains("does not sweep --schedule"), "{errors}");
    let (status, _, errors) = squall("run tcp-gap --fabric sim-rdma-100g");
    assert!(status == 2 && errors.contains("sim-rdma-100g,sim-tcp-100g"), "{errors}");
    let (status, _, errors) = squall("run multicast --fabric shm --nodes 128");
    assert!(status != 0 && errors.contains("sim-rdma-100g"), "{errors}");
}

#[test]
fn a_profile_of_ones_own_is_another_fabric_and_its_mistakes_are_named() {
    let root = tempfile::tempdir().unwrap();
    let (status, text, _) = squall("study --show sim-rdma-100g");
    assert_eq!(status, 0);
    let file = root.path().join("mine.toml");
    std::fs::write(&file, text.replace("sim-rdma-100g", "sim-mine")).unwrap();
    let out = root.path().join("out");
    let run = |out: &std::path::Path| {
        squall(&format!(
            "run multicast --profile {} --nodes 2 --size 1MB --senders one --ordering ordered --messages 20 --trials 1 --out {}",
            file.display(),
            out.display()
        ))
    };
    let (status, _, errors) = run(&out);
    assert_eq!(status, 0, "{errors}");
    assert_eq!(read_rows(&out).unwrap().rows[0].fabric, "sim-mine");
    std::fs::write(&file, text.replace("sim-rdma-100g", "sim-mine").replace("turn_ns = 60.0", "turn_ns = -60.0")).unwrap();
    let (status, _, errors) = run(&root.path().join("other"));
    assert!(status != 0 && errors.contains("cpu.turn_ns") && errors.contains("-60"), "{errors}");
    std::fs::write(&file, text.replace("turn_ns = 60.0", "turn_ns = 61.0")).unwrap();
    let (status, _, errors) = run(&root.path().join("other"));
    assert!(status == 2 && errors.contains("`sim-rdma-100g`") && errors.contains("another name"), "{errors}");
}

#[test]
fn what_needs_more_memory_or_another_topology_says_so() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let point = "--size 10KB --senders all --ordering ordered --messages 5 --trials 2";
    let (status, shown, errors) = squall(&format!("run multicast --fabric sim-rdma-100g --nodes 2,512 {point} --out {}", out.display()));
    assert_eq!(status, 3, "{errors}");
    assert!(shown.contains("512 nodes") && shown.contains("MiB") && shown.contains("use fewer nodes"), "{shown}");
    assert_eq!(read_rows(&out).unwrap().rows.iter().filter(|row| row.is_measured()).count(), 2, "the other point ran");
    let (_, text, _) = squall("study --show sim-rdma-100g");
    let file = root.path().join("leaves.toml");
    let leaves = text.replace("sim-rdma-100g", "sim-leaves").replace("[cpu]", "hosts_a_leaf = 4\noversubscription = 2.0\n\n[cpu]");
    std::fs::write(&file, leaves).unwrap();
    let (status, _, errors) =
        squall(&format!("run multicast --profile {} --nodes 4,6 {point} --out {}", file.display(), root.path().join("other").display()));
    assert!(status == 2 && errors.contains("6 nodes") && errors.contains("multiple of 4"), "{errors}");
    assert!(!root.path().join("other").exists(), "nothing runs before it is known to fit");
}

#[test]
fn a_gap_a_delay_and_a_load_run_on_modelled_clusters_with_their_figures() {
    let root = tempfile::tempdir().unwrap();
    let run = |name: &str, sweep: &str| {
        let out = root.path().join(name);
        let (status, _, errors) = squall(&format!("run {name} {sweep} --trials 1 --out {}", out.display()));
        assert_eq!(status, 0, "{errors}");
        let rows = read_rows(&out).unwrap().rows;
        assert!(rows.iter().all(|row| row.emulated == "simulated" && row.is_measured()), "{rows:?}");
        (rows, out.join("plots"))
    };
    let (_, plots) = run("tcp-gap", "--fabric sim-rdma-100g,sim-tcp-100g --nodes 2 --size 10KB --messages 200");
    assert!(plots.join("tcp-gap-gap.svg").exists() && plots.join("tcp-gap-gap-10240.svg").exists());
    let (rows, plots) = run("delay", "--quick --fabric sim-rdma-100g --messages 300");
    assert!(plots.join("delay-slow-sim-rdma-100g.svg").exists());
    let rate = |kind: &str| rows.iter().find(|row| row.schedule == kind).and_then(|row| row.algbw_gigabytes_per_second).unwrap();
    assert!(rate("direct-even") >= rate("direct-1-slow-900") && rate("direct-2-idle") > 0.0);
    let (rows, plots) = run("latency-load", "--quick --fabric sim-rdma-100g --size 10KB");
    assert!(plots.join("latency-load-10240-sim-rdma-100g.svg").exists());
    let p99 = |kind: &str| rows.iter().find(|row| row.schedule == kind).and_then(|row| row.latency_us_p99).unwrap();
    assert!(p99("direct-load-120-due") > 2.0 * p99("direct-load-120-call"), "past the knee the call hides what waits");
    assert!(p99("direct-load-30-due") < 2.0 * p99("direct-load-30-call"));
}

#[test]
fn orders_run_on_a_modelled_cluster_with_their_figures() {
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let (status, shown, errors) =
        squall(&format!("run orders --quick --fabric sim-rdma-100g --messages 60 --trials 1 --out {}", out.display()));
    assert_eq!(status, 0, "{errors}");
    assert!(shown.contains("copies at the busiest port"), "{shown}");
    let rows = read_rows(&out).unwrap().rows;
    assert!(rows.iter().all(|row| row.is_measured() && row.note.contains("writes and") && row.note.contains("by rule: ")), "{rows:?}");
    for figure in ["knee-1024-n4", "rate-10240-one", "latency-1", "slow-10240-n4", "slow-latency-1024-n4"] {
        assert!(out.join(format!("plots/orders-{figure}-sim-rdma-100g.svg")).exists(), "{figure}");
    }
}
