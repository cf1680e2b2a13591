//! One authenticated connection of the control plane, without its socket.

use serde::Serialize;
use serde::de::DeserializeOwned;
use snow::{HandshakeState, TransportState};

use super::crowd::Standing;
use super::frame::{FrameDecoder, FrameError, encode};

/// Ephemeral keys on both sides, and the cluster key as a pre-shared secret that already guards the first message:
/// whoever completes it has shown that he holds the key, and has shown nothing about it to one who does not.
const NOISE_PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
const PROLOGUE: &[u8] = b"squall rendezvous";

/// Each Noise message is preceded by its length.
const LENGTH_BYTES: usize = 2;
/// A public key of 32 bytes and a tag of 16.
const HANDSHAKE_BYTES: usize = 48;
const TAG_BYTES: usize = 16;
const SEALED_BYTES_MAX: usize = u16::MAX as usize;

/// A responder's answer to a first message that the key does not open.
const KEY_REFUSED: [u8; LENGTH_BYTES] = [0; LENGTH_BYTES];
/// What one is told that has to go before its handshake is over because others take its place. Like all that is not
/// encrypted it is a hint: who gets it tries again, and gives it as the reason if that never helps.
pub(crate) const CROWDED: [u8; LENGTH_BYTES] = [0, 1];
/// As [`CROWDED`], where the process that was called has no file descriptor left.
pub(crate) const NO_DESCRIPTOR: [u8; LENGTH_BYTES] = [0, 2];

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("its cluster key is not ours")]
    WrongKey,
    #[error("too many connections wait there: is it flooded by strangers?")]
    Crowded,
    #[error("its process has no file descriptor left: raise its limit (ulimit -n)")]
    NoDescriptor,
    #[error("its bytes are not a Noise handshake")]
    NotNoise,
    #[error("its bytes were changed on the way")]
    Tampered,
    #[error("it sent {0}")]
    Frame(FrameError),
}

impl From<FrameError> for LinkError {
    fn from(error: FrameError) -> LinkError {
        LinkError::Frame(error)
    }
}

/// Turns bytes from a socket into frames, and frames into bytes for a socket.
pub(crate) struct Link {
    noise: Noise,
    version: u8,
    /// From the socket; no whole Noise message yet.
    sealed: Vec<u8>,
    plain: Vec<u8>,
    frames: FrameDecoder,
    /// For the socket; what lies before `sent` has gone.
    out: Vec<u8>,
    sent: usize,
}

enum Noise {
    /// This side began and waits for the answer.
    Began(Box<HandshakeState>),
    /// This side waits for the other to begin.
    Expecting(Box<HandshakeState>),
    Open(Box<TransportState>),
    Failed,
}

impl LinkError {
    /// Whether another attempt may lead to more.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, LinkError::Crowded | LinkError::NoDescriptor)
    }
}

impl Link {
    /// The side that connects. Its first message is ready to be sent.
    pub(crate) fn initiator(psk: &[u8; 32], version: u8, frame_bytes_max: usize) -> Self {
        let mut handshake = handshake(psk, true);
        let first = say(&mut handshake);
        let mut link = Self::new(Noise::Began(Box::new(handshake)), version, frame_bytes_max);
        link.put(&first);
        link
    }

    /// The side that was connected to.
    pub(crate) fn responder(psk: &[u8; 32], version: u8, frame_bytes_max: usize) -> Self {
        Self::new(Noise::Expecting(Box::new(handshake(psk, false))), version, frame_bytes_max)
    }

    fn new(noise: Noise, version: u8, frame_bytes_max: usize) -> Self {
        Self {
            noise,
            version,
            sealed: Vec::new(),
            plain: vec![0; SEALED_BYTES_MAX],
            frames: FrameDecoder::new(version, frame_bytes_max),
            out: Vec::new(),
            sent: 0,
        }
    }

    /// Whether both sides have shown that they hold the key.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.noise, Noise::Open(_))
    }

    /// How far the other side has come.
    pub(crate) fn standing(&self) -> Standing {
        match self.noise {
            Noise::Open(_) => Standing::Proven,
            _ if self.sealed.is_empty() => Standing::Silent,
            _ => Standing::Speaking,
        }
    }

    pub(crate) fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.frames.set_frame_bytes_max(frame_bytes_max);
    }

    /// Takes bytes that the socket gave. Frames in front of an error can still be taken.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        self.sealed.extend_from_slice(bytes);
        let sealed = std::mem::take(&mut self.sealed);
        let mut rest = &sealed[..];
        while let Some((length, behind)) = rest.split_first_chunk::<LENGTH_BYTES>() {
            let length = usize::from(u16::from_be_bytes(*length));
            self.check_length(length)?;
            let Some((message, behind)) = behind.split_at_checked(length) else {
                break;
            };
            self.open(message)?;
            rest = behind;
        }
        self.sealed = rest.to_vec();
        Ok(())
    }

    /// Seals a frame for the other side.
    ///
    /// # Panics
    /// Before the link is open.
    pub(crate) fn send(&mut self, header: &impl Serialize, payload: &[&[u8]]) {
        let Noise::Open(transport) = &mut self.noise else {
            panic!("a frame is sent once the handshake is over");
        };
        let frame = encode(self.version, header, payload);
        let mut sealed = vec![0; SEALED_BYTES_MAX.min(frame.len() + TAG_BYTES)];
        let mut out = std::mem::take(&mut self.out);
        for plain in frame.chunks(SEALED_BYTES_MAX - TAG_BYTES) {
            let length = transport.write_message(plain, &mut sealed).expect("the buffer has room");
            out.extend_from_slice(&length_prefix(length));
            out.extend_from_slice(&sealed[..length]);
        }
        self.out = out;
    }

    /// The next whole frame's header and payload; `None` if more bytes are needed.
    pub(crate) fn next<H: DeserializeOwned>(&mut self) -> Result<Option<(H, Vec<u8>)>, LinkError> {
        Ok(self.frames.next()?)
    }

    /// Bytes that the socket should take.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.out[self.sent..]
    }

    /// The socket took this many of [`unsent`](Self::unsent).
    pub(crate) fn mark_sent(&mut self, bytes: usize) {
        const COMPACT_BYTES: usize = 1 << 20;
        self.sent += bytes;
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        } else if self.sent >= COMPACT_BYTES {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
    }

    fn check_length(&mut self, length: usize) -> Result<(), LinkError> {
        let error = match &self.noise {
            Noise::Began(_) if length == 0 => LinkError::WrongKey,
            Noise::Began(_) if length == 1 => LinkError::Crowded,
            Noise::Began(_) if length == 2 => LinkError::NoDescriptor,
            Noise::Began(_) | Noise::Expecting(_) if length != HANDSHAKE_BYTES => LinkError::NotNoise,
            Noise::Open(_) if length < TAG_BYTES => LinkError::Tampered,
            Noise::Failed => LinkError::NotNoise,
            _ => return Ok(()),
        };
        self.noise = Noise::Failed;
        Err(error)
    }

    fn open(&mut self, message: &[u8]) -> Result<(), LinkError> {
        let noise = std::mem::replace(&mut self.noise, Noise::Failed);
        self.noise = match noise {
            Noise::Began(mut handshake) => {
                handshake.read_message(message, &mut self.plain).map_err(|_| LinkError::WrongKey)?;
                opened(*handshake)
            }
            Noise::Expecting(mut handshake) => {
                if handshake.read_message(message, &mut self.plain).is_err() {
                    self.out.extend_from_slice(&KEY_REFUSED);
                    return Err(LinkError::WrongKey);
                }
                let answer = say(&mut handshake);
                self.put(&answer);
                opened(*handshake)
            }
            Noise::Open(mut transport) => {
                let length = transport.read_message(message, &mut self.plain).map_err(|_| LinkError::Tampered)?;
                self.frames.push(&self.plain[..length]);
                Noise::Open(transport)
            }
            Noise::Failed => return Err(LinkError::NotNoise),
        };
        Ok(())
    }

    fn put(&mut self, message: &[u8]) {
        self.out.extend_from_slice(&length_prefix(message.len()));
        self.out.extend_from_slice(message);
    }
}

fn handshake(psk: &[u8; 32], initiator: bool) -> HandshakeState {
    let build = || {
        let pattern = NOISE_PATTERN.parse()?;
        let builder = snow::Builder::new(pattern).prologue(PROLOGUE)?.psk(0, psk)?;
        if initiator { builder.build_initiator() } else { builder.build_responder() }
    };
    build().unwrap_or_else(|error: snow::Error| panic!("snow is built with {NOISE_PATTERN}: {error:?}"))
}

/// This side's only handshake message.
fn say(handshake: &mut HandshakeState) -> Vec<u8> {
    let mut message = vec![0; HANDSHAKE_BYTES];
    let length = handshake.write_message(&[], &mut message).expect("it is this side's turn");
    assert_eq!(length, HANDSHAKE_BYTES, "NNpsk0 messages have one size");
    message
}

fn opened(handshake: HandshakeState) -> Noise {
    Noise::Open(Box::new(handshake.into_transport_mode().expect("both messages are through")))
}

fn length_prefix(length: usize) -> [u8; LENGTH_BYTES] {
    u16::try_from(length).expect("Noise messages have 16-bit lengths").to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME_BYTES_MAX: usize = 1 << 20;

    fn carry(from: &mut Link, to: &mut Link) -> Result<(), LinkError> {
        let bytes = from.unsent().to_vec();
        from.mark_sent(bytes.len());
        to.receive(&bytes)
    }

    fn pair() -> (Link, Link) {
        let mut caller = Link::initiator(&[1; 32], 1, FRAME_BYTES_MAX);
        let mut called = Link::responder(&[1; 32], 1, FRAME_BYTES_MAX);
        carry(&mut caller, &mut called).expect("first message");
        carry(&mut called, &mut caller).expect("answer");
        (caller, called)
    }

    #[test]
    fn frames_larger_than_a_noise_message_arrive_whole() {
        let (mut caller, mut called) = pair();
        assert!(caller.is_open() && called.is_open());
        let payload: Vec<u8> = (0..300_000u32).map(|i| i as u8).collect();
        called.send(&7u16, &[&payload[..100_000], &payload[100_000..]]);
        called.send(&8u16, &[]);
        carry(&mut called, &mut caller).expect("untouched");
        assert_eq!(caller.next::<u16>(), Ok(Some((7, payload))));
        assert_eq!(caller.next::<u16>(), Ok(Some((8, vec![]))));
        assert_eq!(caller.next::<u16>(), Ok(None));
    }

    #[test]
    fn both_sides_learn_of_a_wrong_key() {
        let mut caller = Link::initiator(&[1; 32], 1, FRAME_BYTES_MAX);
        let mut called = Link::responder(&[2; 32], 1, FRAME_BYTES_MAX);
        assert_eq!(carry(&mut caller, &mut called), Err(LinkError::WrongKey));
        assert_eq!(carry(&mut called, &mut caller), Err(LinkError::WrongKey));
    }

    #[test]
    fn a_replayed_first_message_opens_nothing() {
        let mut caller = Link::initiator(&[1; 32], 1, FRAME_BYTES_MAX);
        let first = caller.unsent().to_vec();
        let mut called = Link::responder(&[1; 32], 1, FRAME_BYTES_MAX);
        carry(&mut caller, &mut called).expect("first message");
        carry(&mut called, &mut caller).expect("answer");
        caller.send(&1u16, &[b"hello"]);
        let hello = caller.unsent().to_vec();
        let mut replayed = Link::responder(&[1; 32], 1, FRAME_BYTES_MAX);
        assert_eq!(replayed.receive(&first), Ok(()));
        assert_eq!(replayed.receive(&hello), Err(LinkError::Tampered));
        assert_eq!(replayed.next::<u16>(), Ok(None));
    }

    #[test]
    fn who_has_to_go_learns_why() {
        for (notice, expected) in
            [(CROWDED, LinkError::Crowded), (NO_DESCRIPTOR, LinkError::NoDescriptor), (KEY_REFUSED, LinkError::WrongKey)]
        {
            let mut caller = Link::initiator(&[1; 32], 1, FRAME_BYTES_MAX);
            assert_eq!(caller.receive(&notice), Err(expected.clone()));
            assert_eq!(expected.is_passing(), notice != KEY_REFUSED);
            // To one who listens it says nothing.
            assert_eq!(Link::responder(&[1; 32], 1, FRAME_BYTES_MAX).receive(&notice), Err(LinkError::NotNoise));
        }
    }

    #[test]
    fn standing_grows_with_what_is_said() {
        let mut caller = Link::initiator(&[1; 32], 1, FRAME_BYTES_MAX);
        let mut called = Link::responder(&[1; 32], 1, FRAME_BYTES_MAX);
        assert_eq!(called.standing(), Standing::Silent);
        let first = caller.unsent().to_vec();
        caller.mark_sent(first.len());
        assert_eq!(called.receive(&first[..7]), Ok(()));
        assert_eq!(called.standing(), Standing::Speaking);
        assert_eq!(called.receive(&first[7..]), Ok(()));
        assert_eq!(called.standing(), Standing::Proven);
    }

    proptest! {
        #[test]
        fn a_flipped_bit_never_yields_a_frame(position in any::<prop::sample::Index>(), bit in 0u8..8) {
            let (mut caller, mut called) = pair();
            caller.send(&1u16, &[b"payload"]);
            let mut bytes = caller.unsent().to_vec();
            bytes[position.index(caller.unsent().len())] ^= 1 << bit;
            let _ = called.receive(&bytes);
            prop_assert_eq!(called.next::<u16>(), Ok(None));
        }

        #[test]
        fn any_bytes_leave_a_responder_closed(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut called = Link::responder(&[1; 32], 1, FRAME_BYTES_MAX);
            let _ = called.receive(&bytes);
            prop_assert!(!called.is_open());
            prop_assert_eq!(called.next::<u16>(), Ok(None));
        }
    }
}
