//! Result files: what is written is read back, what is broken is named, and nothing is overwritten.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use serde_json::{Value, json};
use squall_report::{COLUMNS, HistogramLog, ResultsError, Row, RowWriter, RunFolder, SCHEMA, parse_rows, read_rows};

fn row(trial: u32) -> Row {
    Row {
        run_id: "test".into(),
        experiment: "multicast".into(),
        fabric: "shm".into(),
        ordering: "ordered".into(),
        nodes: 4,
        senders: 2,
        sender_pattern: "half".into(),
        message_bytes: 10_240,
        messages_per_sender: Some(1000),
        window: Some(16),
        schedule: "pipeline".into(),
        trial,
        seconds: Some(1.5),
        algbw_gigabytes_per_second: Some(3.25),
        verified: "sampled".into(),
        note: "probe 70 ns, \"quiet\"".into(),
        ..Row::default()
    }
}

fn text_of(rows: &[Row]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.csv");
    let mut writer = RowWriter::create(&path).unwrap();
    for row in rows {
        writer.append(row).unwrap();
    }
    fs::read_to_string(path).unwrap()
}

fn new_run(path: &Path) -> Result<RunFolder, ResultsError> {
    let command = vec!["squall".into(), "run".into()];
    RunFolder::create(Some(path), "test", command, json!({"nodes": [2]}), Value::Null)
}

#[test]
fn rows_read_back_as_they_were_written() {
    let rows = vec![row(1), row(2)];
    let found = parse_rows(text_of(&rows).as_bytes(), Path::new("x.csv")).unwrap();
    assert_eq!(found.rows, rows);
    assert!(found.notices.is_empty());
}

#[test]
fn an_existing_file_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.csv");
    drop(RowWriter::create(&path).unwrap());
    let error = RowWriter::create(&path).unwrap_err().to_string();
    assert!(error.contains("exists"), "{error}");
}

#[test]
fn a_file_cut_anywhere_keeps_its_whole_rows_and_goes_on() {
    let whole = text_of(&[row(1), row(2)]);
    let after_first = whole.match_indices('\n').nth(1).unwrap().0 + 1;
    let folder = tempfile::tempdir().unwrap();
    for cut in 0..whole.len() {
        let path = folder.path().join(format!("{cut}.csv"));
        fs::write(&path, &whole.as_bytes()[..cut]).unwrap();
        let mut writer = RowWriter::resume(&path).unwrap();
        let kept = writer.trials(&row(1).point());
        assert!(kept <= 2 && (cut < after_first || kept >= 1), "cut at {cut}: {kept} kept");
        writer.append(&row(kept + 1)).unwrap();
        drop(writer);
        let found = read_rows(&path).unwrap();
        assert_eq!(found.rows.len() as u32, kept + 1, "cut at {cut}");
        assert!(found.notices.is_empty());
        let trials: Vec<u32> = found.rows.iter().map(|row| row.trial).collect();
        assert_eq!(trials, (1..=kept + 1).collect::<Vec<_>>());
    }
}

#[test]
fn a_cut_row_is_left_out_with_a_notice() {
    let whole = text_of(&[row(1), row(2)]);
    let cut = &whole[..whole.len() - 60];
    let found = parse_rows(cut.as_bytes(), Path::new("x.csv")).unwrap();
    assert_eq!(found.rows.len(), 1);
    assert!(found.notices[0].contains("x.csv, line 3"), "{:?}", found.notices);
}

#[test]
fn a_point_knows_its_trials_and_its_failure() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.csv");
    let mut writer = RowWriter::create(&path).unwrap();
    writer.append(&row(1)).unwrap();
    writer.append(&row(2)).unwrap();
    let failed = Row { nodes: 16, trial: 0, note: "needs 9 GB, has 4".into(), ..row(0) };
    writer.append(&failed).unwrap();
    drop(writer);
    let mut writer = RowWriter::resume(&path).unwrap();
    assert_eq!(writer.trials(&row(1).point()), 2);
    assert_eq!(writer.trials(&failed.point()), 0);
    assert_eq!(writer.failure(&failed.point()), Some("needs 9 GB, has 4"));
    writer.append(&Row { trial: 1, ..failed.clone() }).unwrap();
    assert_eq!(writer.failure(&failed.point()), None);
}

#[test]
fn two_writers_cannot_mix_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.csv");
    let _first = RowWriter::create(&path).unwrap();
    let error = RowWriter::resume(&path).unwrap_err();
    assert!(matches!(error, ResultsError::Locked { .. }), "{error}");
}

#[test]
fn numbers_that_mean_nothing_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = RowWriter::create(&folder.path().join("results.csv")).unwrap();
    for value in [f64::NAN, f64::INFINITY, -1.0] {
        let bad = Row { latency_us_p99: Some(value), ..row(1) };
        let error = writer.append(&bad).unwrap_err().to_string();
        assert!(error.contains("latency_us_p99"), "{error}");
    }
}

#[test]
fn errors_name_file_line_column_and_the_way_out() {
    let good = text_of(&[row(1), row(2)]);
    let cases = [
        (good.replace("\n1,test", "\n2,test"), "line 2: schema is \"2\"; expected 1"),
        (good.replacen(",3.25,", ",fast,", 1), "line 2: algbw_gigabytes_per_second is \"fast\""),
        (good.replace(",3.25,", ",NaN,"), "algbw_gigabytes_per_second is \"NaN\""),
        (good.replace(",3.25,", ",inf,"), "expected a finite number of 0 or more"),
        (good.replace(",3.25,", ",-3.25,"), "algbw_gigabytes_per_second is \"-3.25\""),
        (good.replace(",10240,", ",10 KB,"), "message_bytes is \"10 KB\""),
        (good.replace("ordered,4,", "ordered,99999999999,"), "nodes is out of range"),
        (good.replacen("\n1,test,multicast", "\n1,multicast", 1), "line 2: 34 values; expected 35"),
        (good.replacen("ordering,nodes", "nodes,ordering", 1), "line 1: column 5 is \"nodes\""),
        (good.replacen(",bound_kind", "", 1), "line 1: there is no column bound_kind"),
        (good.replacen(",note\n", ",note,extra\n", 1), "an extra column \"extra\""),
        (
            good.replacen(",note\n", ",note,extra\n", 1).replace("\n1,test", "\n2,test"),
            "line 2: schema is 2, with columns of its own; expected 1. Read the file with the squall that wrote it",
        ),
        (String::new(), "no header line"),
    ];
    for (text, expected) in cases {
        let error = parse_rows(text.as_bytes(), Path::new("dir/x.csv")).unwrap_err().to_string();
        assert!(error.starts_with("dir/x.csv, line "), "{error}");
        assert!(error.contains(expected), "{error}\nlacks: {expected}");
        assert!(error.ends_with('.'), "no way out: {error}");
    }
}

#[test]
fn text_that_is_not_utf8_is_named_by_its_line() {
    let mut bytes = text_of(&[row(1)]).into_bytes();
    let at = bytes.len() - 3;
    bytes[at] = 0xff;
    let error = parse_rows(&bytes, Path::new("x.csv")).unwrap_err().to_string();
    assert!(error.contains("line 2: bytes that are not UTF-8"), "{error}");
}

#[test]
fn a_folder_is_used_as_given_once_and_then_only_resumed() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a/b");
    let mut run = new_run(&path).unwrap();
    run.append(&row(1)).unwrap();
    let id = run.record().run_id.clone();
    drop(run);
    assert!(matches!(new_run(&path), Err(ResultsError::AlreadyARun { .. })));
    let resumed = RunFolder::resume(&path).unwrap();
    assert_eq!(resumed.rows().trials(&row(1).point()), 1);
    assert_eq!(resumed.record().run_id, id);
    assert_eq!(resumed.record().asked, json!({"nodes": [2]}));
    assert!(resumed.record().resumed.is_some());
    assert_eq!(read_rows(&path).unwrap().rows[0].run_id, id);
}

#[test]
fn an_empty_folder_is_new_and_a_foreign_one_is_left_alone() {
    let root = tempfile::tempdir().unwrap();
    drop(new_run(root.path()).unwrap());
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("thesis.tex"), "x").unwrap();
    assert!(matches!(new_run(other.path()), Err(ResultsError::NotEmpty { .. })));
    assert!(matches!(RunFolder::resume(other.path()), Err(ResultsError::NotARun { .. })));
    assert!(matches!(read_rows(other.path()), Err(ResultsError::NotARun { .. })));
}

#[test]
fn a_folder_that_cannot_be_written_says_which() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "x").unwrap();
    let link = root.path().join("link");
    std::os::unix::fs::symlink(root.path().join("nothing"), &link).unwrap();
    for (folder, name) in [(file.join("run"), "file/run"), (file, "file"), (link, "link")] {
        let error = new_run(&folder).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("is where a folder would be"), "{error}");
    }
}

#[test]
fn histograms_are_written_beside_the_rows() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    let run = new_run(&path).unwrap();
    let mut latency_ns = hdrhistogram::Histogram::new(3).unwrap();
    latency_ns.record(1234).unwrap();
    let log = HistogramLog { latency_ns: &latency_ns, began: SystemTime::now(), took: Duration::from_secs(1) };
    run.write_histogram(&row(1).point(), 1, &log).unwrap();
    let stem = path.join("histograms/multicast-shm-ordered-n4-half-10240B-w16-pipeline-t1.hlog");
    assert!(fs::read_to_string(&stem).unwrap().contains("HISTFAAA"));
    assert!(fs::read_to_string(stem.with_extension("hgrm")).unwrap().contains("1.234"));
}

fn mutilated() -> impl Strategy<Value = Vec<u8>> {
    let good = text_of(&[row(1), row(2), row(3)]).into_bytes();
    let length = good.len();
    prop::collection::vec((0..length, any::<u8>()), 0..20).prop_flat_map(move |edits| {
        let mut bytes = good.clone();
        for (at, value) in edits {
            bytes[at] = value;
        }
        (0..=length).prop_map(move |cut| bytes[..cut].to_vec())
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = parse_rows(&bytes, Path::new("x.csv"));
    }

    #[test]
    fn bytes_after_a_good_header_are_read_or_refused(tail in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut bytes = COLUMNS.map(|column| column.0).join(",").into_bytes();
        bytes.push(b'\n');
        bytes.extend(tail);
        let _ = parse_rows(&bytes, Path::new("x.csv"));
    }

    #[test]
    fn mutilated_files_are_read_or_refused(bytes in mutilated()) {
        if let Ok(found) = parse_rows(&bytes, Path::new("x.csv")) {
            for row in found.rows {
                prop_assert_eq!(row.schema, SCHEMA);
                prop_assert!(row.algbw_gigabytes_per_second.is_none_or(|v| v.is_finite() && v >= 0.0));
            }
        }
    }

    #[test]
    fn any_text_and_number_survives(
        note in any::<String>(),
        fabric in "[a-zA-Z,\"' ]*[a-z]",
        seconds in prop::option::of(0.0f64..1e12),
        nulls in prop::option::of(any::<u64>()),
        trial in any::<u32>(),
    ) {
        let written = Row { note, fabric, seconds, nulls, trial, ..row(1) };
        let found = parse_rows(text_of(std::slice::from_ref(&written)).as_bytes(), Path::new("x.csv")).unwrap();
        let expected = Row { note: written.note.replace(char::is_control, " "), ..written };
        prop_assert_eq!(&found.rows[0], &expected);
    }
}
