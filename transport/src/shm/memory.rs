//! Memory that goes over a Unix socket: sizes in the message, memfds beside it.

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg,
    sendmsg,
};

use super::bell::Bell;
use crate::endpoint::{OpenError, check_regions};
use crate::region::{Region, RegionError};

/// Regions an endpoint may be opened with.
pub(super) const REGIONS_MAX: usize = 8;
/// No peer's region is larger: the address space of a process is bounded, too.
const REGION_BYTES_MAX: u64 = 1 << 40;
/// In place of a region's size: it is the one of the last epoch.
const AS_BEFORE: u64 = 0;

/// Sends the sizes of my regions and their memfds but for those that the peer has from the last epoch, `mapped`; then
/// the bell's.
pub(super) fn send_memory(socket: &UnixStream, regions: &[Region], bell: &Bell, mapped: &[Region]) -> std::io::Result<()> {
    let mut sizes = Vec::with_capacity(8 * (REGIONS_MAX + 1));
    sizes.extend_from_slice(&(regions.len() as u64).to_le_bytes());
    let mut fds: Vec<BorrowedFd<'_>> = Vec::with_capacity(REGIONS_MAX + 1);
    for (index, region) in regions.iter().enumerate() {
        let is_mapped = mapped.get(index).is_some_and(|mapped| mapped.is_same(region));
        sizes.extend_from_slice(&if is_mapped { AS_BEFORE } else { region.bytes() as u64 }.to_le_bytes());
        fds.extend((!is_mapped).then(|| region.fd()));
    }
    fds.push(bell.fd());
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(REGIONS_MAX + 1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let sent = sendmsg(socket, &[IoSlice::new(&sizes)], &mut control, SendFlags::NOSIGNAL)?;
    if sent == sizes.len() { Ok(()) } else { Err(ErrorKind::WriteZero.into()) }
}

/// Why a peer's memory could not be taken.
pub(super) enum NoMemory {
    /// I lack what it takes.
    Mine(OpenError),
    /// It sent none, or nonsense.
    Theirs(String),
}

impl From<RegionError> for NoMemory {
    fn from(error: RegionError) -> NoMemory {
        let lacking = |reason: &std::io::Error| {
            let mine = [Errno::NOMEM, Errno::MFILE, Errno::NFILE, Errno::AGAIN].map(Errno::raw_os_error);
            reason.raw_os_error().is_some_and(|errno| mine.contains(&errno))
        };
        match error {
            RegionError::Peer { .. } => NoMemory::Theirs(error.to_string()),
            // What it sent is no memory, or none that can be mapped.
            RegionError::Allocate { call, reason, .. } if !lacking(&reason) => {
                NoMemory::Theirs(format!("what it sent cannot be mapped as its memory ({call}: {reason}); same program?"))
            }
            error => NoMemory::Mine(error.into()),
        }
    }
}

/// The memory of a peer, as many regions as `mine` and its bell, if it has come; `known` are its regions of the last
/// epoch.
pub(super) fn receive_memory(socket: &UnixStream, mine: &[Region], known: &[Region]) -> Result<Option<(Vec<Region>, Bell)>, NoMemory> {
    let mut bytes = [0; 8 * (REGIONS_MAX + 1)];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(REGIONS_MAX + 1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = match recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC) {
        Ok(got) => got,
        Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
        Err(errno) => return Err(NoMemory::Theirs(format!("broke off while linking: {errno}"))),
    };
    if got.flags.contains(ReturnFlags::CTRUNC) {
        let what = "taking a peer's memory; is the limit of open files (`ulimit -n`) too low?";
        return Err(NoMemory::Mine(system(what)(Errno::MFILE.into())));
    }
    let mut fds: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    let words: Vec<u64> =
        bytes[..got.bytes].chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("chunks of 8 bytes"))).collect();
    let no_memory = || NoMemory::Theirs("ended or sent no memory while linking; look at its own error".into());
    let Some((&count, sizes)) = words.split_first() else {
        return Err(no_memory());
    };
    if count != sizes.len() as u64 {
        return Err(no_memory());
    }
    let as_before = |index: usize| known.get(index).map_or(0, Region::bytes) as u64;
    let bytes = sizes.iter().enumerate().map(|(index, &bytes)| if bytes == AS_BEFORE { as_before(index) } else { bytes });
    check_regions(mine, bytes).map_err(NoMemory::Theirs)?;
    let mut fds = fds.into_iter();
    let mut region = |(index, &bytes): (usize, &u64)| match bytes {
        AS_BEFORE => known.get(index).cloned().ok_or_else(no_memory),
        1..=REGION_BYTES_MAX => Ok(Region::map(fds.next().ok_or_else(no_memory)?, bytes as usize)?),
        _ => Err(NoMemory::Theirs(format!("announced a region of {bytes} bytes; {REGION_BYTES_MAX} are the most"))),
    };
    let regions = sizes.iter().enumerate().map(&mut region).collect::<Result<Vec<_>, NoMemory>>()?;
    let bell = Bell::of_peer(fds.next().ok_or_else(no_memory)?)?;
    Ok(Some((regions, bell)))
}

/// What the system said, as the error of opening this fabric.
pub(super) fn system(what: &str) -> impl FnOnce(std::io::Error) -> OpenError {
    let what = what.to_owned();
    move |reason| OpenError::System { fabric: "shm", what, reason }
}
