//! What is made from rows: summary, figures, report.

mod synthetic;

use std::fs;
use std::path::Path;

use squall_report::{
    CompareOptions, Environment, ResultsError, Row, RowWriter, RunFolder, Style, StyleName, compare, gallery, plot_folder, plot_folder_as,
    read_rows, write_page,
};

fn small_run(path: &Path) -> RunFolder {
    let mut run = synthetic::new_run(path);
    run.write_environment(&Environment::collect()).unwrap();
    synthetic::fill(&mut run, &[2, 4]);
    run
}

/// Every start tag of an element that must be closed has its end tag.
/// Whether all ends that HTML asks for are there; rows of a table need none.
fn is_balanced(html: &str) -> bool {
    ["section", "figure", "table", "tbody", "details", "svg", "main", "body", "html", "p"].iter().all(|name| {
        let opened = html.matches(&format!("<{name}>")).count() + html.matches(&format!("<{name} ")).count();
        opened == html.matches(&format!("</{name}>")).count()
    })
}

#[test]
fn a_run_becomes_a_summary_figures_and_a_page_and_equals_itself() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    let run = small_run(&path);
    let rendered = run.render().unwrap();
    assert_eq!(rendered.summary.unmeasured.len(), 1);
    assert!(rendered.notices.is_empty());

    let points = fs::read_to_string(path.join("summary.csv")).unwrap().lines().count() - 1;
    assert_eq!(points, rendered.summary.points.len());
    assert_eq!(read_rows(&path).unwrap().rows.len(), 3 * points + 1);

    for figure in &rendered.figures {
        for ending in ["svg", "png"] {
            let file = path.join(format!("plots/{}.{ending}", figure.name));
            assert!(fs::metadata(&file).unwrap().len() > 1000, "{}", file.display());
        }
    }
    let names: Vec<&str> = rendered.figures.iter().map(|figure| figure.name.as_str()).collect();
    for expected in [
        "multicast-104857600",
        "multicast-10240-tcp-bound",
        "multicast-gap",
        "latency-1-shm-nodes",
        "latency-1-shm-growth",
        "latency-10240-tcp-distribution",
        "write-size-bandwidth",
        "write-size-latency",
        "smc-rate-shm-all-size-rate",
        "smc-rate-tcp-one-nodes-rate",
        "memcpy-size-bandwidth",
        "rdmc-schedules-104857600-sim-nodes-bandwidth",
    ] {
        assert!(names.contains(&expected), "{expected} is not among {names:?}");
    }

    let found = compare(&path, &path, &CompareOptions { fail_below: Some(1.0), ..CompareOptions::default() }).unwrap();
    assert!(found.passed && found.only_a.is_empty() && found.differences.is_empty());
    assert!(found.lines.iter().all(|line| line.ratio == 1.0));
}

#[test]
fn the_page_stands_alone_and_says_what_is_wrong() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    small_run(&path).render().unwrap();
    let page = fs::read_to_string(path.join("report.html")).unwrap();
    assert!(is_balanced(&page));
    assert!(page.starts_with("<!doctype html>"));
    for outside in ["<link", "src=", "@import", "href=\"http", "url(", "fetch(", "XMLHttpRequest"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("needs 410 GB of memory, has 24 GB"));
    assert!(page.contains("emulated (") && page.contains("they show the protocol at work"));
    assert!(page.contains(" Limited by "), "figures say what limits");
    assert!(page.contains("debug build"));
    assert!(page.contains("prefers-color-scheme: dark"));
    let mut names: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "two elements have one name");
}

#[test]
fn a_file_from_elsewhere_is_drawn_without_its_folder() {
    let root = tempfile::tempdir().unwrap();
    let row = |nodes, trial| Row {
        experiment: "a \"new\" <experiment> $x$".into(),
        fabric: "peer/../<b>".into(),
        nodes,
        message_bytes: 0,
        trial,
        algbw_gigabytes_per_second: Some(f64::from(nodes)),
        bound_fraction: Some(1.25),
        note: "<script>alert(1)</script>".into(),
        ..Row::default()
    };
    let mut writer = RowWriter::create(&root.path().join("results.csv")).unwrap();
    for row in [row(2, 1), row(3, 1), row(3, 2), row(9, 0)] {
        writer.append(&row).unwrap();
    }
    let rendered = plot_folder(root.path()).unwrap();
    assert_eq!(rendered.figures.len(), 1);
    let page = fs::read_to_string(rendered.report).unwrap();
    assert!(is_balanced(&page));
    assert!(!page.contains("<script>alert"));
    assert!(page.contains("2 points above the bound"));
}

#[test]
fn rendering_again_leaves_no_figure_of_before() {
    let root = tempfile::tempdir().unwrap();
    let writer = RowWriter::create(&root.path().join("results.csv")).unwrap();
    drop(writer);
    fs::create_dir(root.path().join("plots")).unwrap();
    fs::write(root.path().join("plots/old.svg"), "x").unwrap();
    fs::write(root.path().join("plots/notes.txt"), "x").unwrap();
    let rendered = plot_folder(root.path()).unwrap();
    assert!(rendered.figures.is_empty());
    assert!(!root.path().join("plots/old.svg").exists());
    assert!(root.path().join("plots/notes.txt").exists());
}

#[test]
fn a_folder_without_rows_is_no_run() {
    let root = tempfile::tempdir().unwrap();
    let error = plot_folder(root.path()).unwrap_err();
    assert!(matches!(error, ResultsError::NotARun { .. }), "{error}");
}

#[test]
fn a_gallery_is_an_index_over_runs_and_names_what_it_cannot_read() {
    let root = tempfile::tempdir().unwrap();
    assert!(matches!(gallery(root.path()).unwrap_err(), ResultsError::NotARun { .. }));
    small_run(&root.path().join("one")).render().unwrap();
    fs::create_dir(root.path().join("two")).unwrap();
    fs::write(root.path().join("two/results.csv"), "nonsense\n").unwrap();
    let found = gallery(root.path()).unwrap();
    assert_eq!((found.runs, found.notices.len()), (2, 1));
    let page = fs::read_to_string(found.index).unwrap();
    assert!(is_balanced(&page));
    for part in ["href=\"one/report.html\"", "src=\"one/plots/multicast-", "two/results.csv, line 1", "multicast ", "oversubscribed host: "]
    {
        assert!(page.contains(part), "{part}");
    }
}

#[test]
fn a_page_of_two_runs_has_the_curves_of_both() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    drop(small_run(&path));
    let found = compare(&path, &path, &CompareOptions::default()).unwrap();
    let file = root.path().join("page.html");
    write_page(&[found], &file).unwrap();
    let page = fs::read_to_string(file).unwrap();
    assert!(is_balanced(&page));
    assert!(page.contains("\"A: all send") && page.contains("\"B: all send") && page.contains("every line"));
    assert!(!page.contains("href=\"plots/"));
}

#[test]
fn figures_for_a_paper_have_its_size_and_say_what_is_emulated() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    drop(small_run(&path));
    plot_folder_as(&path, Style::new(StyleName::Paper, None, None)).unwrap();
    let svg = fs::read_to_string(path.join("plots/multicast-10240.svg")).unwrap();
    assert!(svg.contains("width=\"321\""), "{}", &svg[..300]);
    assert!(svg.contains("EMULATED") && !svg.contains("Multicast bandwidth"));
}

/// Width of the first page, in points.
fn page_width(pdf: &[u8]) -> f64 {
    let text = String::from_utf8_lossy(pdf);
    let numbers = text.split_once("/MediaBox").expect("a page").1.trim_start_matches([' ', '[']);
    numbers.split(']').next().unwrap().split_whitespace().nth(2).unwrap().parse().unwrap()
}

#[test]
fn figures_are_pages_of_their_size_where_they_are_wanted_and_gone_where_they_are_not() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("run");
    small_run(&path);
    let paper = Style::new(StyleName::Paper, None, None);
    let page = path.join("plots/multicast-gap.pdf");
    match plot_folder_as(&path, paper.with_pdf(true)) {
        Ok(_) => {
            let pdf = fs::read(&page).unwrap();
            assert!(pdf.starts_with(b"%PDF-"));
            let centimetres = page_width(&pdf) / 72.0 * 2.54;
            assert!((centimetres - 8.5).abs() < 0.05, "{centimetres} cm");
        }
        // Neither the feature nor the program is there: that is said with the mend.
        Err(error) => assert!(error.to_string().contains("librsvg2-bin"), "{error}"),
    }
    plot_folder_as(&path, paper).unwrap();
    assert!(!page.exists());
}
