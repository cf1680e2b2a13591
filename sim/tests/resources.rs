//! Runs leave nothing behind.

use squall_sim::{Scenario, simulate};

/// Regions are memory behind a descriptor each: one that is not released shows here.
#[test]
fn every_region_is_released() {
    let open = || std::fs::read_dir("/proc/self/fd").expect("Linux lists descriptors").count();
    simulate(&Scenario::new(0, None), None);
    let before = open();
    (0..60).for_each(|seed| drop(simulate(&Scenario::new(seed, None), None)));
    assert_eq!(open(), before);
}
