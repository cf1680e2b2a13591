//! Which fabrics this machine and this build offer.

use super::axes::FabricKind;

/// Why there are no verbs.
pub const VERBS_UNAVAILABLE: &str = "verbs unavailable: not in this build yet";

/// Why a fabric cannot be measured here, if it cannot.
pub fn unavailable(fabric: FabricKind) -> Option<&'static str> {
    match fabric {
        FabricKind::Shm | FabricKind::Tcp => None,
        FabricKind::Verbs => Some(VERBS_UNAVAILABLE),
    }
}
