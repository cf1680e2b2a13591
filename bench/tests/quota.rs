//! A run in a control group with a quota of processor time, where this user may make one.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use squall_report::read_rows;

/// A group with a quota. Dropping it removes it.
struct Group(PathBuf);

impl Group {
    /// A group with half a core; nothing where none can be made, which is usual for users who are not root. It has that
    /// in such small portions that one turn on a core uses a portion up, so that it is held back however many others
    /// want the cores too.
    fn of_half_a_core() -> Option<Group> {
        let name = format!("squall-test-{}", std::process::id());
        let unified = PathBuf::from("/sys/fs/cgroup").join(&name);
        let separate = PathBuf::from("/sys/fs/cgroup/cpu").join(&name);
        let made = |path: &PathBuf, settings: &[(&str, &str)]| {
            let group = fs::create_dir(path).is_ok().then(|| Group(path.clone()))?;
            settings.iter().all(|(file, setting)| fs::write(path.join(file), setting).is_ok()).then_some(group)
        };
        made(&separate, &[("cpu.cfs_period_us", "2000"), ("cpu.cfs_quota_us", "1000")])
            .or_else(|| made(&unified, &[("cpu.max", "1000 2000")]))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_run_under_a_quota_is_marked_throttled_wherever_it_is_shown() {
    let Some(group) = Group::of_half_a_core() else {
        eprintln!("skipped: no control group with a quota can be made here");
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let out = root.path().join("out");
    let run = format!(
        "echo $$ > {}/cgroup.procs && exec {} run memcpy --quick --trials 1 --size 1MB --seconds 0.2 --out {}",
        group.0.display(),
        env!("CARGO_BIN_EXE_squall"),
        out.display()
    );
    let output = Command::new("sh").arg("-c").arg(run).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    let rows = read_rows(&out).unwrap().rows;
    assert!(!rows.is_empty());
    for row in &rows {
        assert_eq!(row.emulated, "throttled");
        assert!(row.note.contains("a CPU quota held it back in"), "{}", row.note);
    }
    assert!(stdout.contains("throttled") && stderr.contains("(throttled)"), "{stdout}{stderr}");
    let environment = fs::read_to_string(out.join("environment.json")).unwrap();
    assert!(environment.contains("\"quota_cores\": 0.5"), "{environment}");
}
