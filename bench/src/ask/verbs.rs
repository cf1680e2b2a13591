//! What RDMA this machine offers.

use std::path::Path;

use serde::{Deserialize, Serialize};
use squall_transport::verbs::{LinkKind, VerbsFabric};

use crate::jobs::rdma::Rdma;

/// What a run over verbs would use on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verbs {
    /// Device, port and address, for people; empty if there are none.
    pub chosen: String,
    /// Why there are none, in one line.
    pub unavailable: Option<String>,
    /// What the column `emulated` says of it: nothing of hardware.
    pub emulated: String,
}

impl Verbs {
    /// What would be chosen as `rdma` asks.
    pub fn of(rdma: &Rdma) -> Verbs {
        match VerbsFabric::new(rdma.options(None)).chosen() {
            Ok(choice) => {
                let emulated = emulation_of(&choice.device, choice.link, Path::new("/sys/class/infiniband")).to_owned();
                Verbs { chosen: choice.to_string(), unavailable: None, emulated }
            }
            Err(error) => Verbs { unavailable: Some(error.to_string()), ..Verbs::default() },
        }
    }
}

/// What the column `emulated` says of the device `name` below the folder `class`.
fn emulation_of(name: &str, link: LinkKind, class: &Path) -> &'static str {
    // soft-RoCE has the attribute `parent`; without hardware below them neither kind has a `device`.
    let device = class.join(name);
    let in_software =
        device.join("parent").exists() || !device.join("device").exists() || name.starts_with("rxe") || name.starts_with("siw");
    match (in_software, link) {
        (false, _) => "",
        (true, LinkKind::Iwarp) => "soft-iwarp",
        (true, _) => "soft-roce",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_devices_are_told_from_hardware() {
        let class = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(class.path().join("mlx5_0/device")).unwrap();
        std::fs::create_dir_all(class.path().join("renamed/device")).unwrap();
        std::fs::write(class.path().join("renamed/parent"), "eth0").unwrap();
        assert_eq!(emulation_of("mlx5_0", LinkKind::Roce, class.path()), "");
        assert_eq!(emulation_of("renamed", LinkKind::Roce, class.path()), "soft-roce");
        assert_eq!(emulation_of("rxe0", LinkKind::Roce, class.path()), "soft-roce");
        assert_eq!(emulation_of("siw0", LinkKind::Iwarp, class.path()), "soft-iwarp");
    }
}
