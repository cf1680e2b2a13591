//! The machine under the tests.

use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use squall_transport::verbs::{LinkKind, VerbsFabric, availability};

/// Far longer than anything here takes; ends what would never end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Tells a copy of this program what to be.
const ROLE: &str = "SQUALL_TEST_ROLE";
/// The network interface that guests have their RDMA device on.
pub(crate) const INTERFACE: &str = "dummy0";

/// One test at a time has the devices.
static DEVICES: Mutex<()> = Mutex::new(());

/// An RDMA device, for one test.
pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) is_iwarp: bool,
}

/// Runs the test `name` with a device that it may take away, or prints why not.
pub(crate) fn with_own_device(name: &str, test: impl FnOnce(Device)) {
    match std::env::var_os("SQUALL_SOFT_ROCE").is_some_and(|value| value == "uml") {
        true => with_device(name, test),
        false => println!("skipped: it takes network devices away, so it runs only in a guest of scripts/soft-roce"),
    }
}

/// Runs the test `name` with a device, or prints why not. It runs in a process of its own: `librdmacm` never closes a
/// device that it has opened, and the kernel does not let go of one that is open, which another test may take away.
pub(crate) fn with_device(name: &str, test: impl FnOnce(Device)) {
    let _turn = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
    if is_copy(name) {
        let found = availability().expect("there is a device").remove(0);
        let is_iwarp = found.ports.iter().all(|port| port.link == LinkKind::Iwarp);
        return test(Device { name: found.name, is_iwarp });
    }
    match VerbsFabric::default().chosen() {
        Ok(_) => {}
        Err(error) if std::env::var_os("SQUALL_REQUIRE_VERBS").is_some_and(|value| value == "1") => panic!("{error}"),
        Err(error) => return println!("skipped: {error}"),
    }
    let output = start_copy(name, &[]).wait_with_output().expect("ended");
    println!("{}", String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "in a process of its own, {}", output.status);
}

impl Device {
    /// Waits until it can be chosen again.
    pub(crate) fn until_usable(&self) {
        until("the device is usable", || VerbsFabric::default().chosen().is_ok());
    }

    /// Makes it anew on the guest's interface.
    pub(crate) fn plug_in(&self) {
        self.plug_in_on(&self.name, INTERFACE);
        self.until_usable();
    }

    /// Makes another device like it, on another interface.
    pub(crate) fn plug_in_on(&self, name: &str, interface: &str) {
        run("rdma", &["link", "add", name, "type", if self.is_iwarp { "siw" } else { "rxe" }, "netdev", interface]);
    }

    /// Begins to delete it; the kernel may wait for those who use it.
    pub(crate) fn unplug(&self) -> Child {
        Command::new("rdma").args(["link", "del", &self.name]).spawn().expect("rdma (iproute2) runs")
    }
}

/// Runs a command that must succeed.
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status();
    assert!(status.as_ref().is_ok_and(|status| status.success()), "{program} {arguments:?}: {status:?}");
}

/// A copy of this program that is to be `role`, by way of `through` (a program and its arguments), with pipes to talk
/// through.
pub(crate) fn start_copy(role: &str, through: &[&str]) -> Child {
    let program = std::env::current_exe().expect("my own name").to_string_lossy().into_owned();
    let words: Vec<&str> = through.iter().copied().chain([program.as_str(), "--exact", role, "--nocapture", "--test-threads=1"]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env(ROLE, role).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().expect("a copy of myself")
}

/// Whether this program is a copy that is to be `role`.
pub(crate) fn is_copy(role: &str) -> bool {
    std::env::var(ROLE).is_ok_and(|told| told == role)
}

/// Waits for something that the kernel does by and by.
pub(crate) fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !reached() {
        assert!(Instant::now() < deadline, "never reached: {what}");
        std::thread::yield_now();
    }
}
