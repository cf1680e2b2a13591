//! Outputs of other benchmarks as rows.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use squall_report::{ResultsError, Row, RowWriter, Source, import, plot_folder, read_rows};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(name)
}

fn rows(source: Source, name: &str, nodes: Option<u32>) -> Vec<Row> {
    import(source, &[fixture(name)], nodes).unwrap_or_else(|error| panic!("{error}"))
}

fn source_of(name: &str) -> Source {
    Source::ALL.into_iter().find(|source| name.starts_with(source.name())).unwrap()
}

fn fixtures() -> Vec<String> {
    let entries = fs::read_dir(fixture("")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != "README.md");
    names.sort();
    names
}

#[test]
fn perftest_of_both_units_and_both_tests_is_read() {
    let bandwidth = rows(Source::Perftest, "perftest-4.5-write-bw.txt", None);
    assert_eq!(bandwidth.len(), 2);
    assert_eq!((bandwidth[0].message_bytes, bandwidth[0].messages_per_second), (2, Some(142_120.0)));
    let large = &bandwidth[1];
    assert!((large.algbw_gigabytes_per_second.unwrap() - 455.40 * 1_048_576.0 / 1e9).abs() < 1e-9);
    assert_eq!((large.experiment.as_str(), large.fabric.as_str(), large.window), ("write", "perftest", Some(128)));
    let gigabits = rows(Source::Perftest, "perftest-6.20-write-bw-gbits.txt", None);
    assert!((gigabits[0].algbw_gigabytes_per_second.unwrap() - 97.96 / 8.0).abs() < 1e-9);
    let latency = rows(Source::Perftest, "perftest-4.5-write-lat.txt", None);
    assert_eq!((latency[0].latency_us_p50, latency[0].latency_us_p999), (Some(33.65), Some(6603.42)));
    assert_eq!(latency[1].latency_us_p999, None, "five samples have no 99.9th percentile");
    let mean = rows(Source::Perftest, "perftest-4.5-send-lat-duration.txt", None);
    assert_eq!((mean[0].experiment.as_str(), mean[0].latency_us_p50), ("send", Some(0.92)));
    assert!(mean[0].note.contains("mean stands in"), "{}", mean[0].note);
}

#[test]
fn osu_needs_the_number_of_processes_of_a_collective() {
    let bcast = rows(Source::Osu, "osu-5.9-bcast-full.txt", Some(3));
    assert_eq!(bcast.len(), 11);
    let first = &bcast[0];
    assert_eq!((first.nodes, first.senders, first.sender_pattern.as_str(), first.messages_per_sender), (3, 1, "one", Some(1000)));
    assert_eq!((first.latency_us_p50, first.latency_us_min, first.latency_us_max), (Some(257.54), Some(0.36), Some(405.88)));
    assert_eq!(rows(Source::Osu, "osu-7.3-bcast.txt", Some(4))[1].latency_us_p50, Some(1.5));
    let error = import(Source::Osu, &[fixture("osu-7.3-bcast.txt")], None).unwrap_err().to_string();
    assert!(error.contains("osu-7.3-bcast.txt, line 5") && error.contains("--nodes N"), "{error}");
    assert_eq!(rows(Source::Osu, "osu-7.3-latency.txt", None)[2].latency_us_p50, Some(0.44));
    let bandwidth = rows(Source::Osu, "osu-3.6-bw.txt", None);
    assert_eq!(rows(Source::Osu, "osu-3.6-bw.txt", Some(16))[0].nodes, 2, "between two, whatever others take");
    assert_eq!((bandwidth[2].algbw_gigabytes_per_second, bandwidth[2].nodes), (Some(6.32108), 2));
}

#[test]
fn nccl_tests_give_a_row_for_each_place() {
    let old = rows(Source::NcclTests, "nccl-tests-2.0-all-reduce.txt", None);
    assert_eq!((old.len(), old[3].nodes, old[3].busbw_gigabytes_per_second), (4, 2, Some(45.63)));
    let found = rows(Source::NcclTests, "nccl-tests-2.17-broadcast.txt", None);
    assert_eq!((found.len(), found[0].nodes, found[0].schedule.as_str()), (4, 4, "broadcast-out-of-place"));
    assert_eq!((found[3].schedule.as_str(), found[3].algbw_gigabytes_per_second), ("broadcast-in-place", Some(183.74)));
    assert!(found[2].note.contains("3 WRONG ELEMENTS") && !found[3].note.contains("checked"), "{}", found[2].note);
}

#[test]
fn iperf3_counts_what_arrived() {
    let tcp = &rows(Source::Iperf3, "iperf3-3.12-tcp.json", None)[0];
    assert!((tcp.algbw_gigabytes_per_second.unwrap() - 2.188).abs() < 0.001, "{tcp:?}");
    assert_eq!((tcp.message_bytes, tcp.schedule.as_str()), (131_072, "tcp-1-stream"));
    assert!(tcp.note.contains("iperf 3.12; 3 segments sent again"), "{}", tcp.note);
    let reverse = &rows(Source::Iperf3, "iperf3-3.12-two-streams-reverse.json", None)[0];
    assert_eq!((reverse.message_bytes, reverse.schedule.as_str()), (10_240, "tcp-2-streams-reverse"));
    let udp = &rows(Source::Iperf3, "iperf3-3.1-udp.json", None)[0];
    assert!(udp.note.contains("1.25 % lost") && udp.schedule == "udp-1-stream", "{udp:?}");
}

#[test]
fn fio_and_sockperf_give_only_percentiles_that_samples_carry() {
    let write = &rows(Source::Fio, "fio-3.33-write.json", None)[0];
    assert_eq!((write.fabric.as_str(), write.schedule.as_str(), write.message_bytes), ("fio-psync", "write", 1 << 20));
    assert!((write.algbw_gigabytes_per_second.unwrap() - 12.550).abs() < 0.001);
    assert_eq!((write.latency_us_p50, write.latency_us_p999), (Some(33.024), Some(4145.152)));
    assert_eq!(rows(Source::Fio, "fio-3.33-read.json", None)[0].schedule, "randread");
    let ping_pong = &rows(Source::Sockperf, "sockperf-3.7-ping-pong.txt", None)[0];
    assert_eq!((ping_pong.latency_us_p50, ping_pong.latency_us_p999), (Some(4.917), Some(1037.032)));
    let few = &rows(Source::Sockperf, "sockperf-3.7-under-load.txt", None)[0];
    assert_eq!((few.latency_us_p90, few.latency_us_p99, few.schedule.as_str()), (Some(60.780), None, "under-load"));
    assert!(few.note.contains("15 samples"), "{}", few.note);
    let stream = &rows(Source::Sockperf, "sockperf-3.7-throughput.txt", None)[0];
    assert_eq!((stream.message_bytes, stream.messages_per_second), (1024, Some(137_515.0)));
    let per_message = stream.algbw_gigabytes_per_second.unwrap() * 1e9 / stream.messages_per_second.unwrap();
    assert!((per_message - 1024.0).abs() < 0.1, "{per_message}");
}

#[test]
fn the_same_point_again_is_another_trial_and_everything_reads_the_rows() {
    let file = fixture("iperf3-3.12-tcp.json");
    let found = import(Source::Iperf3, &[file.clone(), file], None).unwrap();
    assert_eq!(found.iter().map(|row| row.trial).collect::<Vec<_>>(), [1, 2]);
    let root = tempfile::tempdir().unwrap();
    let mut writer = RowWriter::create(&root.path().join("results.csv")).unwrap();
    for name in fixtures() {
        for row in rows(source_of(&name), &name, Some(3)) {
            writer.append(&row).unwrap();
        }
    }
    drop(writer);
    assert!(read_rows(root.path()).unwrap().rows.len() > 30);
    assert!(plot_folder(root.path()).unwrap().figures.len() > 2);
}

#[test]
fn a_file_that_only_looks_like_one_is_named_with_line_and_mend() {
    for name in fixtures() {
        let own = source_of(&name);
        for source in Source::ALL.into_iter().filter(|source| *source != own) {
            let error = import(source, &[fixture(&name)], Some(2)).expect_err(&format!("{source} took {name}"));
            assert!(matches!(error, ResultsError::Foreign { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains(&name) && text.contains(", line ") && text.contains(source.name()), "{text}");
        }
    }
    let root = tempfile::tempdir().unwrap();
    let wrong = |source: Source, text: &str| {
        let file = root.path().join("file");
        fs::write(&file, text).unwrap();
        import(source, &[file], None).unwrap_err().to_string()
    };
    let text = fs::read_to_string(fixture("perftest-4.5-write-lat.txt")).unwrap();
    let failed = wrong(Source::Perftest, &text.replace("33.65", "-nan"));
    assert!(failed.contains("line 10: ") && failed.contains("t_typical[usec] is \"-nan\""), "{failed}");
    let text = fs::read_to_string(fixture("iperf3-3.12-tcp.json")).unwrap();
    assert!(wrong(Source::Iperf3, &text[..text.len() / 2]).contains("The file was cut"));
    assert!(wrong(Source::Iperf3, "{\"start\":{},\"error\":\"unable to connect\"}").contains("iperf3 failed: unable to connect"));
    assert!(wrong(Source::NcclTests, "8 2 float sum 1 2 3 0 1 2 3 0\n").contains("line 1: "));
    assert!("perf".parse::<Source>().unwrap_err().contains("nccl-tests"));
}

proptest! {
    #[test]
    fn mutilated_files_are_read_or_refused(at in 0usize..20_000, byte in any::<u8>(), cut in any::<bool>(), which in 0usize..100) {
        let names = fixtures();
        let name = &names[which % names.len()];
        let mut bytes = fs::read(fixture(name)).unwrap();
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, bytes).unwrap();
        if let Ok(rows) = import(source_of(name), &[file], Some(3)) {
            let mut writer = RowWriter::create(&root.path().join("results.csv")).unwrap();
            for row in &rows {
                writer.append(row).unwrap();
            }
        }
    }
}
