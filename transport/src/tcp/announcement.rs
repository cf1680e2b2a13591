//! What members tell each other before sockets are made.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::absent::Absent;
use crate::endpoint::{OpenError, check_regions};
use crate::exchange::Exchange;
use crate::link_name::Tag;
use crate::rank::Rank;
use crate::region::Region;

/// What a member tells the others before the sockets are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Announcement {
    pub(super) listens_at: SocketAddr,
    pub(super) region_bytes: Vec<u64>,
    /// Of the sockets it kept: the rank of the peer, and the tag of their last epoch.
    pub(super) kept: Vec<(Rank, Tag)>,
}

/// What all members announce; of an absent member it means nothing.
pub(super) fn announce(
    exchange: &mut dyn Exchange,
    absent: &mut Absent,
    regions: &[Region],
    mine: Announcement,
) -> Result<Vec<Announcement>, OpenError> {
    let encoded = postcard::to_stdvec(&mine).expect("an announcement always encodes");
    let parts = exchange.all_gather("tcp address and regions", &encoded)?;
    absent.look(&parts);
    let mut announced = vec![mine; absent.members()];
    for peer in absent.peers().collect::<Vec<_>>() {
        match read_announcement(&parts[peer.index()], regions) {
            Ok(theirs) => announced[peer.index()] = theirs,
            Err(what) => absent.exclude(exchange, peer, OpenError::Peer { fabric: "tcp", peer, what })?,
        }
    }
    Ok(announced)
}

fn read_announcement(part: &[u8], regions: &[Region]) -> Result<Announcement, String> {
    let theirs: Announcement = postcard::from_bytes(part).map_err(|error| format!("its announcement is unreadable ({error})"))?;
    check_regions(regions, theirs.region_bytes.iter().copied())?;
    Ok(theirs)
}
