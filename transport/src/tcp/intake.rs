//! The receiving half of one link: bytes of the stream become writes into my regions.

use super::frame::{BadFrame, Frame, HEADER_BYTES};
use super::kept::Rest;
use super::limits::{SMALL_SPAN_BYTES_MAX, STAGING_BEHIND_SPAN_BYTES, STAGING_BYTES};
use crate::atomic::Ordering;
use crate::link_name::Tag;
use crate::region::{Region, land, land_words};

/// Bytes of a frame that is kept until the rest of it arrives.
const CARRY_BYTES: usize = HEADER_BYTES + SMALL_SPAN_BYTES_MAX;

/// Where the stream of one link stands. No I/O in it: [`Intake::target`] and [`Intake::staging`] say where the next
/// bytes are to be read to, [`Intake::absorb`] is told how many came.
#[derive(Debug)]
pub(super) struct Intake {
    /// The start of a frame that is not complete; moves to the front of staging before the next read.
    carry: Box<[u8; CARRY_BYTES]>,
    carried: usize,
    /// The rest of a large Span: its bytes are read straight into the region.
    landing: Option<Landing>,
    /// What the peer ended its stream with; nothing may follow.
    ended: Option<Tag>,
}

#[derive(Clone, Copy, Debug)]
struct Landing {
    region: usize,
    offset: u64,
    left: u64,
}

impl Intake {
    pub(super) fn new() -> Intake {
        Intake { carry: Box::new([0; CARRY_BYTES]), carried: 0, landing: None, ended: None }
    }

    /// What the peer ended its stream with, if it has.
    pub(super) fn ended(&self) -> Option<Tag> {
        self.ended
    }

    /// What is left of the stream when nothing of it may land any more.
    pub(super) fn into_rest(self, regions: &[Region]) -> Rest {
        let (mut header, count) = ([0; HEADER_BYTES], self.carried.min(HEADER_BYTES));
        header[..count].copy_from_slice(&self.carry[..count]);
        let region_bytes: Vec<u64> = regions.iter().map(|region| region.bytes() as u64).collect();
        let payload = self.landing.map_or(0, |landing| landing.left);
        let mut rest = Rest { region_bytes, payload, header, count, ended: self.ended.is_some() };
        if count == HEADER_BYTES {
            // Only a short Span is carried with a part of its payload; its header was decoded before.
            let field = std::array::from_fn(|byte| header[16 + byte]);
            rest.payload = u64::from_le_bytes(field) - (self.carried - HEADER_BYTES) as u64;
            rest.count = 0;
        }
        rest
    }

    /// The part of a region that the next bytes go to, if a large Span is under way.
    #[inline]
    pub(super) fn target<'a>(&self, regions: &'a [Region]) -> Option<(&'a Region, u64, u64)> {
        self.landing.map(|landing| (&regions[landing.region], landing.offset, landing.left))
    }

    /// The part of `staging` that the bytes behind the target go to; puts what was carried before it.
    #[inline]
    pub(super) fn staging<'a>(&self, staging: &'a mut [u8; STAGING_BYTES]) -> &'a mut [u8] {
        if self.landing.is_some() {
            return &mut staging[..STAGING_BEHIND_SPAN_BYTES];
        }
        staging[..self.carried].copy_from_slice(&self.carry[..self.carried]);
        &mut staging[self.carried..]
    }

    /// Takes in `got` bytes that were read into the target and, behind it, the staging area.
    pub(super) fn absorb(&mut self, got: usize, staging: &[u8; STAGING_BYTES], regions: &[Region]) -> Result<(), BadFrame> {
        let staged = match self.landing {
            None => self.carried + got,
            Some(ref mut landing) => {
                let direct = landing.left.min(got as u64);
                landing.offset += direct;
                landing.left -= direct;
                if landing.left > 0 {
                    return Ok(());
                }
                self.landing = None;
                got - direct as usize
            }
        };
        if self.ended.is_some() {
            return Err(BadFrame::End);
        }
        self.carried = 0;
        self.land_frames(&staging[..staged], regions)
    }

    fn land_frames(&mut self, mut bytes: &[u8], regions: &[Region]) -> Result<(), BadFrame> {
        let region_bytes = |region: u16| regions.get(usize::from(region)).map(|region| region.bytes() as u64);
        while let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() {
            match Frame::decode(header, region_bytes)? {
                Frame::Word { region, offset, value } => {
                    // Publishes the Spans before it: pairs with the acquire load of the reader of this counter.
                    regions[usize::from(region.0)].link_word(offset).store(value, Ordering::Release);
                    bytes = rest;
                }
                Frame::Span { region, offset, len } if len <= SMALL_SPAN_BYTES_MAX as u64 => {
                    let Some((payload, rest)) = rest.split_at_checked(len as usize) else {
                        break;
                    };
                    land_words(&regions[usize::from(region.0)], offset, payload);
                    bytes = rest;
                }
                Frame::Span { region, offset, len } => {
                    let region = usize::from(region.0);
                    let here = rest.len().min(usize::try_from(len).unwrap_or(usize::MAX));
                    land(&regions[region], offset, &rest[..here]);
                    bytes = &rest[here..];
                    let left = len - here as u64;
                    if left > 0 {
                        self.landing = Some(Landing { region, offset: offset + here as u64, left });
                    }
                }
                Frame::End { tag } if self.ended.is_none() && rest.is_empty() => {
                    self.ended = Some(tag);
                    bytes = rest;
                }
                Frame::End { .. } => return Err(BadFrame::End),
            }
        }
        self.carry[..bytes.len()].copy_from_slice(bytes);
        self.carried = bytes.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::{RegionOptions, lift_words};
    use crate::write::{POOL, RegionId, TABLE};
    use proptest::prelude::*;

    const BYTES: usize = 16 << 10;

    fn regions() -> Vec<Region> {
        (0..2).map(|_| Region::allocate(BYTES, &RegionOptions::default()).unwrap()).collect()
    }

    /// Feeds `stream` as a socket would that gives at most `chunk` bytes at a time.
    fn feed(stream: &[u8], chunk: usize, regions: &[Region]) -> Result<(), BadFrame> {
        let (mut intake, mut staging) = (Intake::new(), Box::new([0; STAGING_BYTES]));
        let mut rest = stream;
        while !rest.is_empty() {
            let limit = chunk.min(rest.len());
            let direct = intake.target(regions).map_or(0, |(region, offset, len)| {
                let direct = limit.min(len as usize);
                land(region, offset, &rest[..direct]);
                direct
            });
            let room = intake.staging(&mut staging);
            let staged = (limit - direct).min(room.len());
            room[..staged].copy_from_slice(&rest[direct..direct + staged]);
            intake.absorb(direct + staged, &staging, regions)?;
            rest = &rest[direct + staged..];
        }
        Ok(())
    }

    fn any_frame() -> impl Strategy<Value = (Frame, u8)> {
        let region = || prop_oneof![Just(TABLE), Just(POOL)];
        let word =
            (region(), 0..BYTES as u64 / 8, any::<u64>()).prop_map(|(region, word, value)| Frame::Word { region, offset: word * 8, value });
        let span = |len: std::ops::Range<u64>| {
            (region(), len, 0..BYTES as u64).prop_map(|(region, len, offset)| Frame::Span {
                region,
                offset: offset.min(BYTES as u64 - len),
                len,
            })
        };
        (prop_oneof![word, span(1..1100), span(1000..BYTES as u64)], any::<u8>())
    }

    fn contents(regions: &[Region]) -> Vec<Vec<u8>> {
        regions
            .iter()
            .map(|region| {
                let mut bytes = vec![0; BYTES];
                lift_words(region, 0, &mut bytes);
                bytes
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_stream_lands_the_same_however_it_is_cut(frames in proptest::collection::vec(any_frame(), 1..60), chunk in 1usize..40_000) {
            let regions = regions();
            let mut expected = vec![vec![0u8; BYTES]; 2];
            let mut stream = Vec::new();
            for (frame, fill) in frames {
                stream.extend(frame.encode());
                let (region, offset, bytes) = match frame {
                    Frame::Word { region, offset, value } => (region, offset, value.to_ne_bytes().to_vec()),
                    Frame::Span { region, offset, len } => {
                        let payload: Vec<u8> = (0..len).map(|i| fill.wrapping_add(i as u8)).collect();
                        stream.extend(&payload);
                        (region, offset, payload)
                    }
                    Frame::End { .. } => unreachable!("none is made"),
                };
                expected[usize::from(region.0)][offset as usize..offset as usize + bytes.len()].copy_from_slice(&bytes);
            }
            prop_assert_eq!(feed(&stream, chunk, &regions), Ok(()));
            prop_assert!(contents(&regions) == expected);
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            stream in proptest::collection::vec(any::<u8>(), 0..4000),
            chunk in 1usize..500,
            start in any_frame(),
        ) {
            let mut hostile = start.0.encode().to_vec();
            hostile.extend(stream);
            let _ = feed(&hostile, chunk, &regions());
        }
    }

    #[test]
    fn nothing_behind_a_bad_frame_lands() {
        let regions = regions();
        let mut stream = Frame::Word { region: TABLE, offset: 8, value: 1 }.encode().to_vec();
        stream.extend(Frame::Word { region: RegionId(7), offset: 8, value: 2 }.encode());
        stream.extend(Frame::Word { region: TABLE, offset: 16, value: 3 }.encode());
        assert_eq!(feed(&stream, 1000, &regions), Err(BadFrame::Region(7)));
        assert_eq!(regions[0].word(8).load(Ordering::Relaxed), 1);
        assert_eq!(regions[0].word(16).load(Ordering::Relaxed), 0);
    }
}
