//! Comparison of two runs.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use squall_report::{
    CompareOptions, Comparison, Environment, Gate, ResultsError, Row, RowWriter, RunFolder, Saved, Verdict, at_least, compare, gallery,
    lines_csv, read_rows, save_baseline, side_by_side, side_by_side_markdown, write_page,
};

fn trials(nodes: u32, values: &[f64]) -> Vec<Row> {
    let row = |(at, value): (usize, &f64)| Row {
        run_id: "test".into(),
        experiment: "multicast".into(),
        fabric: "shm".into(),
        ordering: "ordered".into(),
        nodes,
        senders: nodes,
        sender_pattern: "all".into(),
        message_bytes: 1 << 20,
        trial: at as u32 + 1,
        algbw_gigabytes_per_second: Some(*value),
        latency_us_p50: Some(100.0 / value),
        latency_us_p99: Some(300.0 / value),
        verified: "sampled".into(),
        ..Row::default()
    };
    values.iter().enumerate().map(row).collect()
}

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Files {
        Files { folder: tempfile::tempdir().unwrap() }
    }

    fn write(&self, name: &str, rows: &[Row]) -> PathBuf {
        let path = self.folder.path().join(name);
        let mut writer = RowWriter::create(&path).unwrap();
        for row in rows {
            writer.append(row).unwrap();
        }
        path
    }
}

fn compared(a: &[Row], b: &[Row], fail_below: Option<f64>) -> Result<Comparison, ResultsError> {
    let files = Files::new();
    let (a, b) = (files.write("a.csv", a), files.write("b.csv", b));
    compare(&a, &b, &CompareOptions { fail_below, ..CompareOptions::default() })
}

const FAST: [f64; 5] = [10.0, 10.1, 10.2, 9.9, 9.8];
const SLOW: [f64; 5] = [8.0, 8.1, 8.2, 7.9, 7.8];

#[test]
fn a_run_equals_itself() {
    let found = compared(&trials(4, &FAST), &trials(4, &FAST), Some(0.999)).unwrap();
    assert!(found.passed);
    assert_eq!(found.lines.len(), 3);
    assert!(found.lines.iter().all(|line| line.ratio == 1.0 && line.mark.is_empty()));
    assert!(found.only_a.is_empty() && found.only_b.is_empty() && found.differences.is_empty());
}

#[test]
fn a_ratio_above_one_is_better_for_rates_and_for_latencies() {
    let found = compared(&trials(4, &SLOW), &trials(4, &FAST), None).unwrap();
    for line in &found.lines {
        assert!((line.ratio - 1.25).abs() < 1e-9, "{line:?}");
        assert!(line.ratio_low <= line.ratio && line.ratio <= line.ratio_high);
        assert_eq!(line.mark, "*");
    }
    assert!(found.text(false).contains("A/B for latencies"), "{}", found.text(false));
}

#[test]
fn the_threshold_fails_what_is_below_it_and_nothing_else() {
    let slower = |threshold| compared(&trials(4, &FAST), &trials(4, &SLOW), Some(threshold)).unwrap();
    let strict = slower(0.9);
    assert!(!strict.passed);
    assert!(strict.text(false).contains("FAILED: 2 of 2 gated lines below 0.9"), "{}", strict.text(false));
    assert!(strict.lines.iter().all(|line| (line.gate == Some(Gate::Fail)) == line.gated));
    assert!(slower(0.75).passed);
}

#[test]
fn what_scatter_may_explain_is_undecided_and_passes() {
    let found = compared(&trials(4, &FAST[..3]), &trials(4, &SLOW[..3]), Some(0.9)).unwrap();
    assert!(found.passed);
    assert_eq!(found.lines[0].gate, Some(Gate::Undecided(Some(5))));
    assert!(found.text(false).contains("2 undecided (--trials 5 on both sides"), "{}", found.text(false));
}

#[test]
fn a_point_that_only_the_baseline_has_fails_the_gate_unless_it_may() {
    let files = Files::new();
    let a = files.write("a.csv", &[trials(2, &FAST), trials(4, &FAST)].concat());
    let b = files.write("b.csv", &trials(4, &FAST));
    let gate =
        |allow_missing| compare(&a, &b, &CompareOptions { fail_below: Some(0.5), allow_missing, ..CompareOptions::default() }).unwrap();
    assert!(!gate(false).passed && gate(true).passed);
    assert!(gate(false).text(false).contains("1 point of A missing in B, which fails"), "{}", gate(false).text(false));
    assert!(compare(&a, &b, &CompareOptions::default()).unwrap().passed, "without a gate nothing fails");
    assert!(
        compare(&b, &a, &CompareOptions { fail_below: Some(0.5), ..CompareOptions::default() }).unwrap().passed,
        "more points are no loss"
    );
}

#[test]
fn a_row_cut_in_the_middle_is_named_by_whatever_reads_the_run() {
    let files = Files::new();
    let whole = files.write("whole.csv", &trials(4, &FAST));
    let bytes = fs::read(&whole).unwrap();
    let run = files.folder.path().join("run");
    fs::create_dir(&run).unwrap();
    let cut = run.join("results.csv");
    // Killed while it wrote, and the same where the machine lost its power: the file is as long, but nothing was
    // written.
    for zeros in [0, 60] {
        fs::write(&cut, [&bytes[..bytes.len() - 60], &vec![0; zeros]].concat()).unwrap();
        let named = format!("{}, line 6: the last row was cut", cut.display());
        let found = compare(&whole, &cut, &CompareOptions::default()).unwrap();
        assert_eq!((found.lines[0].a_trials, found.lines[0].b_trials), (5, 4));
        assert!(found.text(false).contains(&named) && found.markdown(false).contains(&named), "{}", found.text(false));
        assert!(at_least(&cut, "1GB/s".parse().unwrap(), false).unwrap().text().contains(&named));
        let saved = save_baseline(&cut, &files.folder.path().join("baseline.csv")).unwrap();
        assert!(saved.trials == 4 && saved.notices[0].starts_with(&named), "{saved:?}");
        let index = gallery(files.folder.path()).unwrap();
        assert!(index.notices[0].starts_with(&named) && fs::read_to_string(index.index).unwrap().contains(&named));
    }
}

/// Trials drawn with replacement from those of real points: the same binary, measured again.
fn drawn(points: &[Vec<Row>], count: u32, slower: f64, random: &mut impl FnMut() -> usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for point in points {
        for trial in 1..=count {
            let row = &point[random() % point.len()];
            let by = |value: Option<f64>, factor: f64| value.map(|value| value * factor);
            rows.push(Row {
                trial,
                algbw_gigabytes_per_second: by(row.algbw_gigabytes_per_second, 1.0 / slower),
                messages_per_second: by(row.messages_per_second, 1.0 / slower),
                latency_us_p50: by(row.latency_us_p50, slower),
                ..row.clone()
            });
        }
    }
    rows
}

/// Real rows of a small machine whose memory and cache lines change their speed by times within seconds.
fn real_points() -> Vec<Vec<Row>> {
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/2-core-vm");
    let rows = read_rows(&run).unwrap().rows;
    let mut points: std::collections::BTreeMap<_, Vec<Row>> = Default::default();
    for row in rows.into_iter().filter(Row::is_measured) {
        points.entry(row.point()).or_default().push(row);
    }
    points.into_values().step_by(12).take(24).collect()
}

#[test]
fn a_binary_against_itself_practically_never_fails_and_a_slower_one_does() {
    let points = real_points();
    assert!(points.len() >= 10 && points.iter().any(|point| point.len() > 2));
    let mut state = 0x5eed_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for count in [3, 5, 10] {
        for round in 0..12 {
            let (a, b) = (drawn(&points, count, 1.0, &mut random), drawn(&points, count, 1.0, &mut random));
            let found = compared(&a, &b, Some(0.9)).unwrap();
            assert!(found.passed, "{count} trials, round {round}: {}", found.text(false));
        }
    }
    let (a, b) = (drawn(&points, 12, 1.0, &mut random), drawn(&points, 12, 3.0, &mut random));
    assert!(!compared(&a, &b, Some(0.9)).unwrap().passed);
}

#[test]
fn a_gate_without_a_baseline_fails_where_no_trial_reaches_it() {
    let files = Files::new();
    let skipped = Row { nodes: 64, note: "no memory".into(), trial: 0, ..trials(4, &FAST)[0].clone() };
    let run = files.write("run.csv", &[trials(2, &FAST), trials(4, &SLOW)].concat());
    let gate = |rate: &str| at_least(&run, rate.parse().unwrap(), false).unwrap();
    assert!(gate("5GB/s").passed);
    let between = gate("8.05GB/s");
    assert!(between.passed && between.below.len() == 1 && !between.below[0].failed, "{between:?}");
    let above = gate("9GB/s");
    assert!(!above.passed && above.text().contains("FAILED: 1 of 2 points"), "{}", above.text());
    let part = files.write("part.csv", &[trials(2, &FAST), vec![skipped]].concat());
    assert!(!at_least(&part, "5GB/s".parse().unwrap(), false).unwrap().passed);
    assert!(at_least(&part, "5GB/s".parse().unwrap(), true).unwrap().passed);
}

#[test]
fn three_trials_are_marked_as_too_few() {
    let found = compared(&trials(4, &FAST[..3]), &trials(4, &SLOW[..3]), None).unwrap();
    assert_eq!(found.lines[0].mark, "(*)");
}

#[test]
fn points_on_one_side_are_listed() {
    let a = [trials(2, &FAST), trials(4, &FAST)].concat();
    let b = [trials(4, &FAST), trials(8, &FAST)].concat();
    let found = compared(&a, &b, None).unwrap();
    assert_eq!((found.only_a[0].nodes, found.only_b[0].nodes), (2, 8));
    assert!(found.text(false).contains("only in A: 1 point"), "{}", found.text(false));
}

#[test]
fn different_verification_is_refused_by_name() {
    let unverified: Vec<Row> = trials(4, &FAST).into_iter().map(|row| Row { verified: "none".into(), ..row }).collect();
    let error = compared(&trials(4, &FAST), &unverified, None).unwrap_err().to_string();
    assert!(error.contains("verified \"sampled\" on the first and \"none\""), "{error}");
}

#[test]
fn another_schema_is_refused_by_file() {
    let files = Files::new();
    let a = files.write("a.csv", &trials(4, &FAST));
    let b = files.folder.path().join("b.csv");
    fs::write(&b, fs::read_to_string(&a).unwrap().replace("\n1,", "\n7,")).unwrap();
    let error = compare(&a, &b, &CompareOptions::default()).unwrap_err().to_string();
    assert!(error.contains("b.csv, line 2: schema is \"7\""), "{error}");
}

#[test]
fn runs_without_a_common_point_are_refused() {
    let error = compared(&trials(2, &FAST), &trials(4, &FAST), None).unwrap_err();
    assert!(matches!(error, ResultsError::Incomparable { .. }), "{error}");
    let error = compared(&trials(2, &FAST), &[], None).unwrap_err().to_string();
    assert!(error.contains("the second measured nothing"), "{error}");
}

#[test]
fn differing_settings_and_machines_are_listed() {
    let root = tempfile::tempdir().unwrap();
    let run = |name: &str, effective: Value, model: &str| -> PathBuf {
        let path = root.path().join(name);
        let mut run = RunFolder::create(Some(&path), name, vec![], Value::Null, effective).unwrap();
        let mut environment = Environment::default();
        environment.cpu.model = model.into();
        environment.memory.available_bytes = name.len() as u64;
        run.write_environment(&environment).unwrap();
        for row in trials(4, &FAST) {
            run.append(&row).unwrap();
        }
        path
    };
    let a = run("a", json!({"spin": true, "window": 16}), "Example 1");
    let b = run("bb", json!({"spin": false, "window": 16}), "Example 2");
    let found = compare(&a, &b, &CompareOptions::default()).unwrap();
    let names: Vec<&str> = found.differences.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["run.json spin", "environment.json cpu.model"]);
    assert!(found.text(false).contains("run.json spin: A true, B false"), "{}", found.text(false));
}

#[test]
fn the_comparison_is_written_as_json() {
    let found = compared(&trials(4, &SLOW), &trials(4, &FAST), Some(0.9)).unwrap();
    let value = serde_json::to_value(&found).unwrap();
    assert_eq!(value["passed"], json!(true));
    assert_eq!(value["lines"][0]["metric"], json!("algbw_gigabytes_per_second"));
    assert_eq!(value["lines"][0]["point"]["nodes"], json!(4));
}

#[test]
fn a_missing_file_is_named() {
    let error = compare(Path::new("no-such-run"), Path::new("x"), &CompareOptions::default());
    assert!(error.unwrap_err().to_string().contains("cannot read no-such-run"));
}

const EIGHT: [f64; 10] = [10.0, 10.1, 10.2, 9.9, 9.8, 10.05, 10.15, 9.95, 9.85, 10.02];

fn slower(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| 0.8 * value).collect()
}

#[test]
fn lines_have_verdicts_and_a_summary_comes_first() {
    let files = Files::new();
    let many = |values: &[f64]| (2..30).flat_map(|nodes| trials(nodes, values)).collect::<Vec<_>>();
    let trials: Vec<f64> = EIGHT.iter().chain(&EIGHT).copied().collect();
    let (a, b) = (files.write("a.csv", &many(&trials)), files.write("b.csv", &many(&slower(&trials))));
    let found = compare(&a, &b, &CompareOptions::default()).unwrap();
    assert!(found.passed, "a verdict fails only where that is asked for");
    assert!(found.lines.iter().filter(|line| line.gated).all(|line| line.verdict == Some(Verdict::Worse)));
    let text = found.text(false);
    assert!(text.lines().nth(2).is_some_and(|line| line.contains("better in 0, worse in 56")), "{text}");
    assert!(text.lines().count() < 60 && text.contains("24 of 84 lines shown; --all"), "{text}");
    assert!(found.text(true).lines().count() > 84);
    let same = compare(&a, &a, &CompareOptions::default()).unwrap();
    assert!(same.lines.iter().filter(|line| line.gated).all(|line| line.verdict == Some(Verdict::Same)));
    let few = compared(&many(&FAST[..3]), &many(&SLOW[..3]), None).unwrap();
    assert!(few.text(false).contains("would find a loss of 10.0 %"), "{}", few.text(false));
}

#[test]
fn a_baseline_is_one_file_that_tells_its_machine_and_fails_what_is_worse() {
    let root = tempfile::tempdir().unwrap();
    let run = |name: &str, model: &str, values: &[f64]| -> PathBuf {
        let path = root.path().join(name);
        let mut run = RunFolder::create(Some(&path), name, vec![], Value::Null, Value::Null).unwrap();
        let mut environment = Environment::default();
        environment.cpu.model = model.into();
        run.write_environment(&environment).unwrap();
        for row in trials(4, values) {
            run.append(&row).unwrap();
        }
        run.append(&Row { trial: 0, note: "no memory".into(), ..trials(8, &FAST)[0].clone() }).unwrap();
        path
    };
    let twenty: Vec<f64> = EIGHT.iter().chain(&EIGHT).copied().collect();
    let file = root.path().join("baseline.csv");
    assert_eq!(save_baseline(&run("a", "Example 1", &twenty), &file).unwrap(), Saved { trials: 20, notices: Vec::new() });
    assert_eq!(read_rows(&file).unwrap().rows.len(), 20, "a baseline is a result file");
    let options = CompareOptions { fail_if_worse: true, ..CompareOptions::default() };
    let same = compare(&file, &run("b", "Example 1", &twenty), &options).unwrap();
    assert!(same.passed && same.notices.is_empty(), "{}", same.text(false));
    let worse = compare(&file, &run("c", "Example 2", &slower(&twenty)), &options).unwrap();
    assert!(!worse.passed && worse.text(false).contains("FAILED: 2 of 2 worse than the baseline"), "{}", worse.text(false));
    let notice = worse.notices.join(" ");
    assert!(notice.contains("baseline.csv, line 1") && notice.contains("cpu.model: Example 1, here Example 2"), "{notice}");
    assert!(notice.contains("--save-baseline"), "{notice}");
    fs::write(&file, fs::read_to_string(&file).unwrap().replacen("{", "[", 1)).unwrap();
    let error = compare(&file, &file, &options).unwrap_err().to_string();
    assert!(error.contains("baseline.csv, line 1") && error.contains("make it anew"), "{error}");
}

#[test]
fn several_runs_stand_side_by_side() {
    let files = Files::new();
    let a = files.write("a.csv", &trials(4, &EIGHT));
    let comparisons: Vec<Comparison> = [("b.csv", &slower(&EIGHT)[..]), ("c.csv", &EIGHT[..])]
        .into_iter()
        .map(|(name, values)| compare(&a, &files.write(name, &trials(4, values)), &CompareOptions::default()).unwrap())
        .collect();
    let text = side_by_side(&comparisons, false);
    assert!(text.contains("C is better in 0, worse in 0, the same within 5.0 % in 2"), "{text}");
    let [part, line] = text.lines().filter(|line| line.contains("GB/s")).collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert!(part.contains("x0.800, 0 better, 1 worse") && part.contains("x1.000, 0 better, 0 worse"), "{part}");
    assert!(line.contains("x0.800") && line.contains("x1.000 same"), "{line}");
    let markdown = side_by_side_markdown(&comparisons, false);
    assert!(markdown.contains("- 2 lines on both sides: B is") && markdown.contains("- 2 lines on both sides: C is"), "{markdown}");
    let page = files.folder.path().join("page.html");
    write_page(&comparisons, &page).unwrap();
    assert!(fs::read_to_string(page).unwrap().contains("2 lines on both sides: C is better in 0"));
    let csv = lines_csv(&comparisons);
    let headers = csv.lines().filter(|line| line.starts_with("run,")).count();
    let of_c = csv.lines().filter(|line| line.contains("c.csv,")).count();
    assert_eq!((headers, csv.lines().count(), of_c), (1, 7, 3), "{csv}");
}

#[test]
fn where_nothing_differs_no_line_is_shown_but_every_part() {
    let files = Files::new();
    let rows: Vec<Row> = (2..30).flat_map(|nodes| trials(nodes, &EIGHT)).collect();
    let (a, b, c) = (files.write("a.csv", &rows), files.write("b.csv", &rows), files.write("c.csv", &rows));
    let comparisons = [b, c].map(|run| compare(&a, &run, &CompareOptions::default()).unwrap());
    let text = side_by_side(&comparisons, false);
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).collect();
    assert_eq!(rows.len(), 3, "a header and two parts: {text}");
    assert!(rows[1].contains("28") && text.contains("0 of 84 lines shown"), "{text}");
}

#[test]
fn a_comparison_is_csv_and_markdown_and_a_figure() {
    let found = compared(&trials(4, &EIGHT), &trials(4, &slower(&EIGHT)), None).unwrap();
    let csv = lines_csv(std::slice::from_ref(&found));
    assert_eq!(csv.lines().count(), 4);
    let fields = |line: usize| csv.lines().nth(line).unwrap().split(',').count();
    assert_eq!(fields(0), fields(1));
    let markdown = found.markdown(false);
    assert!(markdown.contains("- 2 lines on both sides") && markdown.lines().any(|line| line.starts_with("|--")), "{markdown}");
    let root = tempfile::tempdir().unwrap();
    found.draw(root.path(), "ratios").unwrap();
    assert!(fs::read_to_string(root.path().join("ratios.svg")).unwrap().contains("worse"));
    assert!(root.path().join("ratios.png").exists());
}

#[test]
fn a_page_of_two_whole_runs_is_below_a_megabyte() {
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/2-core-vm");
    let comparison = compare(&run, &run, &CompareOptions::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page.html");
    write_page(&[comparison], &file).unwrap();
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.len() < 1_000_000, "{} bytes", page.len());
    assert!(page.contains("<summary>every line</summary>") && page.contains("1.000 .. 1.000"));
}
