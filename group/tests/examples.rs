//! The examples run as they are documented.

use std::path::PathBuf;
use std::process::{Command, Output};

/// Runs an example; cargo builds all examples of a package with its tests.
fn run(example: &str, arguments: &[&str]) -> Output {
    let test = std::env::current_exe().expect("a test knows where it is");
    // target/<profile>/deps/examples-<hash>, beside target/<profile>/examples/<example>.
    let profile: PathBuf = test.ancestors().nth(2).expect("tests lie in target/<profile>/deps").to_owned();
    let path = profile.join("examples").join(example);
    let run = Command::new(&path).args(arguments).output();
    run.unwrap_or_else(|error| panic!("{}: {error}; build it with: cargo build -p squall-group --examples", path.display()))
}

fn stdout(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// What follows `member N: `, of all members.
fn member_lines(stdout: &str) -> Vec<&str> {
    stdout.lines().filter_map(|line| line.strip_prefix("member ")?.split_once(": ")).map(|(_, said)| said).collect()
}

#[test]
fn all_members_of_the_counter_end_with_one_value_and_one_order() {
    let printed = stdout(&run("counter", &["--members", "4", "--increments", "500"]));
    let lines = member_lines(&printed);
    assert_eq!(lines.len(), 4, "{printed}");
    assert!(lines[0].starts_with("value 5000, order "), "{printed}");
    assert!(lines.iter().all(|line| line == &lines[0]), "{printed}");
}

#[test]
fn the_counter_survives_a_member_that_is_killed() {
    let printed = stdout(&run("counter", &["--members", "4", "--kill"]));
    let lines = member_lines(&printed);
    assert_eq!(lines.len(), 3, "{printed}");
    assert!(lines.iter().all(|line| line == &lines[0] && line.ends_with(" 3 members at the end")), "{printed}");
}

#[test]
fn the_map_serves_while_members_are_killed_and_join() {
    let printed = stdout(&run("kv", &["--members", "3", "--rounds", "3"]));
    assert_eq!(printed.lines().filter(|line| line.starts_with("killed ")).count(), 3, "{printed}");
    assert!(printed.contains("all 3 members end with one map"), "{printed}");
}

#[test]
fn small_and_large_messages_mix_in_one_order() {
    let printed = stdout(&run("mixed", &["--members", "3", "--messages", "60"]));
    let lines = member_lines(&printed);
    assert_eq!(lines.len(), 3, "{printed}");
    assert!(lines[0].starts_with("180 messages, ") && !lines[0].contains(" 0 of them large"), "{printed}");
    assert!(lines.iter().all(|line| line == &lines[0]), "{printed}");
}

#[test]
fn every_example_runs_on_every_order() {
    for order in ["lamport", "paxos", "chain"] {
        let counted = stdout(&run("counter", &["--members", "3", "--increments", "300", "--kill", "--order", order]));
        let lines = member_lines(&counted);
        assert!(lines.len() == 2 && lines[0] == lines[1], "{order}: {counted}");
        let mixed = stdout(&run("mixed", &["--members", "3", "--messages", "40", "--order", order]));
        let lines = member_lines(&mixed);
        assert!(lines.len() == 3 && lines.iter().all(|line| line == &lines[0]), "{order}: {mixed}");
        let map = stdout(&run("kv", &["--members", "3", "--rounds", "1", "--order", order]));
        assert!(map.contains("all 3 members end with one map"), "{order}: {map}");
    }
}

#[test]
fn help_is_help_and_a_wrong_flag_is_named() {
    for example in ["counter", "mixed", "kv"] {
        assert!(stdout(&run(example, &["--help"])).contains(&format!("usage: {example} [")));
        for wrong in
            [&["--colour"][..], &["--members"], &["--members", "few"], &["--members", "0"], &["--order"], &["--order", "unordered"]]
        {
            let output = run(example, wrong);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains(wrong[0]), "{said}");
        }
    }
}
