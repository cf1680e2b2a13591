//! A reliable connection, in the states it is brought up through.
//!
//! ```text
//!   QueuePair<Init>            may take receives; nothing can be sent
//!     | ready_to_receive(peer, path)
//!   QueuePair<ReadyToReceive>  the peer's writes land
//!     | ready_to_send(detection)
//!   QueuePair<ReadyToSend>     post
//! ```
//! Each step takes the queue pair and gives it back in its new state, so a request before its time is a compile error.
//! In any state, once it is dropped nothing of the peer lands any more (T5).

use std::ffi::c_int;
use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use super::abi::{self, CStruct};
use super::completion::CompletionQueue;
use super::device::Device;
use super::errors::{outcome, system};
use super::library::query_order;
use super::limits::{IWARP_INLINE_BYTES, WORD_BYTES};
use super::manager::{Connection, Held};
use super::options::Detection;
use super::words::Words;
use crate::endpoint::OpenError;

/// Receives can be posted, nothing else.
#[derive(Debug)]
pub(super) struct Init;
/// The peer's writes land.
#[derive(Debug)]
pub(super) struct ReadyToReceive;
/// Writes can be posted.
#[derive(Debug)]
pub(super) struct ReadyToSend;

/// What one queue pair holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) sends: u32,
    pub(super) receives: u32,
    pub(super) inline_bytes: u32,
}

/// The way to a peer's queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    /// My port.
    pub(super) port: u8,
    /// My GID's place in its table.
    pub(super) gid_index: u8,
    /// The peer's GID, if packets carry a global header.
    pub(super) gid: Option<[u8; 16]>,
    /// The peer's local identifier (InfiniBand).
    pub(super) lid: u16,
    pub(super) traffic_class: u8,
    pub(super) service_level: u8,
    /// As the C enumeration counts: 1 is 256 bytes, 5 is 4096.
    pub(super) mtu: u8,
    pub(super) peer_number: u32,
    /// First packet numbers, mine and the peer's.
    pub(super) send_psn: u32,
    pub(super) receive_psn: u32,
}

/// Who made a queue pair and so destroys it.
#[derive(Debug)]
enum Maker {
    Verbs,
    Manager {
        /// Ends with its queue pair.
        connection: Option<Connection>,
        /// What a connection needs.
        _held: Arc<Held>,
    },
}

/// One end of a connection, in state `S`.
#[derive(Debug)]
pub(super) struct QueuePair<S> {
    handle: Handle,
    state: PhantomData<S>,
}

#[derive(Debug)]
struct Handle {
    raw: NonNull<abi::QueuePair>,
    post_send: abi::PostSend,
    maker: Maker,
    device: Arc<Device>,
    /// Outlives the queue pair.
    _completions: Arc<CompletionQueue>,
}

// SAFETY: libibverbs is thread-safe; the queue pair is destroyed once.
unsafe impl Send for Handle {}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: live until here.
        let number = unsafe { (*self.raw.as_ptr()).qp_num };
        // From here on the device drops whatever the peer sends (T5).
        match &mut self.maker {
            // SAFETY: made by create_qp, destroyed once.
            Maker::Verbs => drop(unsafe { (self.device.verbs.destroy_qp)(self.raw.as_ptr()) }),
            Maker::Manager { connection, .. } => drop(connection.take()),
        }
        self.device.forget(number);
    }
}

/// What a request for a queue pair of these limits looks like.
fn request(completions: &CompletionQueue, limits: &Limits) -> abi::QueuePairInit {
    let mut init = abi::QueuePairInit::zeroed();
    init.send_cq = completions.raw();
    init.recv_cq = completions.raw();
    init.cap.max_send_wr = limits.sends;
    init.cap.max_recv_wr = limits.receives;
    init.cap.max_send_sge = 1;
    init.cap.max_recv_sge = 1;
    init.cap.max_inline_data = limits.inline_bytes;
    init.qp_type = abi::QP_TYPE_RC;
    init
}

impl QueuePair<Init> {
    /// A new queue pair that peers may write through, and the bytes it can take inline.
    pub(super) fn new(
        device: &Arc<Device>,
        completions: &Arc<CompletionQueue>,
        limits: &Limits,
        port: u8,
        partition_index: u16,
    ) -> Result<(QueuePair<Init>, u32), OpenError> {
        let mut init = request(completions, limits);
        // SAFETY: domain and queues are live; the library writes back what it gives.
        let raw = NonNull::new(unsafe { (device.verbs.create_qp)(device.domain.as_ptr(), &mut init) })
            .ok_or_else(|| system(format!("making a queue pair on {} for {limits:?}", device.name), io::Error::last_os_error()))?;
        let pair = QueuePair::<Init>::of(raw, Maker::Verbs, device, completions)?;
        let mut attributes = abi::QueuePairAttributes::zeroed();
        attributes.qp_state = abi::STATE_INIT;
        attributes.port_num = port;
        attributes.pkey_index = partition_index;
        attributes.qp_access_flags = abi::ACCESS_REMOTE_WRITE as u32;
        let mask = abi::SET_STATE | abi::SET_PKEY_INDEX | abi::SET_PORT | abi::SET_ACCESS_FLAGS;
        pair.modify(&mut attributes, mask).map_err(|error| {
            system(format!("a queue pair to INIT on {} port {port}, entry {partition_index} of its partitions", device.name), error)
        })?;
        Ok((pair, init.cap.max_inline_data))
    }

    /// Becomes able to receive from the peer that `path` leads to.
    pub(super) fn ready_to_receive(self, path: &Path) -> Result<QueuePair<ReadyToReceive>, io::Error> {
        let mut attributes = abi::QueuePairAttributes::zeroed();
        attributes.qp_state = abi::STATE_RTR;
        attributes.path_mtu = c_int::from(path.mtu);
        attributes.dest_qp_num = path.peer_number;
        attributes.rq_psn = path.receive_psn;
        attributes.min_rnr_timer = MIN_RNR_TIMER;
        attributes.ah_attr.port_num = path.port;
        attributes.ah_attr.dlid = path.lid;
        attributes.ah_attr.sl = path.service_level;
        if let Some(gid) = path.gid {
            attributes.ah_attr.is_global = 1;
            attributes.ah_attr.grh.dgid = words(gid);
            attributes.ah_attr.grh.sgid_index = path.gid_index;
            attributes.ah_attr.grh.hop_limit = HOP_LIMIT;
            attributes.ah_attr.grh.traffic_class = path.traffic_class;
        }
        let mask = abi::SET_STATE
            | abi::SET_PATH
            | abi::SET_PATH_MTU
            | abi::SET_PEER_NUMBER
            | abi::SET_RECEIVE_PSN
            | abi::SET_MAX_PEER_READS
            | abi::SET_MIN_RNR_TIMER;
        for _ in 1..ADDRESS_TRIES {
            match self.modify(&mut attributes, mask) {
                Err(error) if error.raw_os_error() == Some(libc::ETIMEDOUT) => {}
                other => return other.map(|()| self.into_state()),
            }
        }
        self.modify(&mut attributes, mask).map(|()| self.into_state())
    }
}

/// How often the kernel is asked for the way to a peer. On Ethernet it asks the network for the peer's address, for a
/// second: one frame that is lost takes all of it.
const ADDRESS_TRIES: u32 = 4;
/// The wait before a peer sends again that found no receive posted: 0.64 ms. It never does (see `limits`), so this only
/// bounds the harm of a bug.
const MIN_RNR_TIMER: u8 = 12;
/// Tries after that, a finite number, so that such a bug ends in an error.
const RNR_RETRIES: u8 = 6;
/// Routers on the way.
const HOP_LIMIT: u8 = 64;

/// 16 bytes as the two words in which the C union holds them.
fn words(gid: [u8; 16]) -> [u64; 2] {
    let (high, low) = gid.split_at(8);
    [high, low].map(|half| u64::from_ne_bytes(half.try_into().expect("8 bytes")))
}

impl QueuePair<ReadyToReceive> {
    /// Becomes able to send.
    pub(super) fn ready_to_send(self, path: &Path, detection: &Detection) -> Result<QueuePair<ReadyToSend>, io::Error> {
        let mut attributes = abi::QueuePairAttributes::zeroed();
        attributes.qp_state = abi::STATE_RTS;
        attributes.timeout = detection.timeout_exponent;
        attributes.retry_cnt = detection.retry_count;
        attributes.rnr_retry = RNR_RETRIES;
        attributes.sq_psn = path.send_psn;
        let mask = abi::SET_STATE | abi::SET_TIMEOUT | abi::SET_RETRY_COUNT | abi::SET_RNR_RETRY | abi::SET_SEND_PSN | abi::SET_MAX_READS;
        self.modify(&mut attributes, mask)?;
        Ok(self.into_state())
    }
}

impl<S> QueuePair<S> {
    /// Takes a queue pair that is in state `S`.
    fn of(
        raw: NonNull<abi::QueuePair>,
        maker: Maker,
        device: &Arc<Device>,
        completions: &Arc<CompletionQueue>,
    ) -> Result<QueuePair<S>, OpenError> {
        // SAFETY: an open context; its table of functions is set when it is opened.
        let Some(post_send) = (unsafe { (*device.context.as_ptr()).post_send }) else {
            return Err(system(format!("{} cannot post", device.name), io::ErrorKind::Unsupported.into()));
        };
        let (device, completions) = (Arc::clone(device), Arc::clone(completions));
        let handle = Handle { raw, post_send, maker, device, _completions: completions };
        Ok(QueuePair { handle, state: PhantomData })
    }

    /// The same queue pair, which is in state `T` now.
    fn into_state<T>(self) -> QueuePair<T> {
        QueuePair { handle: self.handle, state: PhantomData }
    }

    /// What the peer's packets name it by.
    pub(super) fn number(&self) -> u32 {
        // SAFETY: live until drop.
        unsafe { (*self.handle.raw.as_ptr()).qp_num }
    }

    fn modify(&self, attributes: &mut abi::QueuePairAttributes, mask: c_int) -> io::Result<()> {
        // SAFETY: live until drop; the library reads what the mask names.
        outcome(unsafe { (self.handle.device.verbs.modify_qp)(self.handle.raw.as_ptr(), attributes, mask) })
    }

    /// Posts `receive`.
    ///
    /// # Safety
    /// As [`post_receive`].
    pub(super) unsafe fn post_receive(&self, receive: &Receive) -> io::Result<()> {
        // SAFETY: live until drop; the rest is the caller's duty.
        unsafe { post_receive(&self.handle.device, self.handle.raw, receive) }
    }
}

/// A place for one word of a peer's message. The immediate of a write takes one too, and leaves the word alone. (The
/// driver of soft-iWARP takes no receive without memory.)
#[derive(Clone, Copy, Debug)]
pub(super) struct Receive {
    /// Names it in its completion.
    pub(super) id: u64,
    /// Where the word is.
    pub(super) address: u64,
    /// What this host's requests call the memory there.
    pub(super) key: u32,
}

/// Posts a receive to a queue pair that is live.
///
/// # Safety
/// The word lies in memory that is registered under `key` with the queue pair's domain, and stays so as long as the
/// queue pair lives; it is touched as an atomic only (R1).
unsafe fn post_receive(device: &Device, pair: NonNull<abi::QueuePair>, receive: &Receive) -> io::Result<()> {
    let mut entry = abi::ScatterEntry { addr: receive.address, length: WORD_BYTES, lkey: receive.key };
    let mut request = abi::ReceiveRequest::zeroed();
    (request.wr_id, request.sg_list, request.num_sge) = (receive.id, &mut entry, 1);
    let mut bad = std::ptr::null_mut();
    // SAFETY: an open context; its table of functions is set when it is opened.
    let post = unsafe { (*device.context.as_ptr()).post_recv }.ok_or(io::ErrorKind::Unsupported)?;
    // SAFETY: a live queue pair; the request and its entry are read during the call; the word is the caller's duty.
    outcome(unsafe { post(pair.as_ptr(), &mut request, &mut bad) })
}

/// Gives a connection of the manager its queue pair, with `receives` posted; the bytes it takes inline.
///
/// # Safety
/// As [`post_receive`], for each of them.
pub(super) unsafe fn prepare(
    connection: &Connection,
    device: &Device,
    completions: &CompletionQueue,
    limits: &Limits,
    receives: &[Receive],
) -> Result<u32, OpenError> {
    let with = |inline_bytes| {
        let mut init = request(completions, &Limits { inline_bytes, ..*limits });
        connection.make_queue_pair(device.domain, &mut init).map(|()| init)
    };
    let made = with(limits.inline_bytes).or_else(|_| with(IWARP_INLINE_BYTES)).or_else(|_| with(0));
    let init = made.map_err(|error| system(format!("making a queue pair on {} for {limits:?}", device.name), error))?;
    let pair = connection.queue_pair().ok_or_else(|| system("a connection without queue pair", io::ErrorKind::Other.into()))?;
    for receive in receives {
        // SAFETY: the queue pair was made just now; the rest is the caller's duty.
        unsafe { post_receive(device, pair, receive) }.map_err(|error| system("posting a receive", error))?;
    }
    Ok(init.cap.max_inline_data)
}

impl QueuePair<ReadyToSend> {
    /// Takes a connection that is established.
    pub(super) fn established(
        connection: Connection,
        held: &Arc<Held>,
        device: &Arc<Device>,
        completions: &Arc<CompletionQueue>,
    ) -> Result<QueuePair<ReadyToSend>, OpenError> {
        let raw = connection.queue_pair().ok_or_else(|| system("a connection without queue pair", io::ErrorKind::Other.into()))?;
        let maker = Maker::Manager { connection: Some(connection), _held: Arc::clone(held) };
        QueuePair::of(raw, maker, device, completions)
    }

    /// Whether the device promises that what it writes for the peer lands in order; none if the library cannot be
    /// asked. Most devices keep that order and promise nothing.
    pub(super) fn promises_order(&self) -> Option<bool> {
        // SAFETY: live until drop; the question changes nothing.
        query_order().map(|query| unsafe { query(self.handle.raw.as_ptr(), abi::RDMA_WRITE, 0) } == 1)
    }

    /// Posts a linked list of requests with one doorbell.
    ///
    /// # Safety
    /// `first` heads a list of valid requests; what they name inline is readable during the call, what they name by key
    /// is registered with this queue pair's domain as long as the request is under way.
    #[inline]
    pub(super) unsafe fn post_send(&self, first: *mut abi::SendRequest) -> io::Result<()> {
        let mut bad = std::ptr::null_mut();
        // SAFETY: live until drop; the list is the caller's duty.
        outcome(unsafe { (self.handle.post_send)(self.handle.raw.as_ptr(), first, &mut bad) })
    }

    /// Posts a signalled message of one word.
    pub(super) fn post_message(&self, id: u64, value: u64, words: Option<&Words>) -> io::Result<()> {
        self.post_value(id, value, words, |request| request.opcode = abi::SEND)
    }

    /// Posts a signalled write of one word.
    pub(super) fn post_word(&self, id: u64, value: u64, to: (u64, u32), immediate: Option<u32>, words: Option<&Words>) -> io::Result<()> {
        self.post_value(id, value, words, |request| {
            (request.opcode, request.remote_addr, request.rkey) = (abi::RDMA_WRITE, to.0, to.1);
            if let Some(immediate) = immediate {
                request.opcode = abi::RDMA_WRITE_WITH_IMMEDIATE;
                // In network byte order.
                request.imm_data = immediate.to_be();
            }
        })
    }

    /// Posts a signalled request that carries `value`, inside itself or from its place in `words`; `shape` says what it
    /// does.
    fn post_value(&self, id: u64, value: u64, words: Option<&Words>, shape: impl FnOnce(&mut abi::SendRequest)) -> io::Result<()> {
        let mut request = abi::SendRequest::zeroed();
        let mut entry = match words {
            Some(words) => words.put(id, value),
            None => {
                request.send_flags = abi::INLINE;
                abi::ScatterEntry { addr: (&raw const value) as u64, length: WORD_BYTES, lkey: 0 }
            }
        };
        request.wr_id = id;
        request.sg_list = &mut entry;
        request.num_sge = 1;
        request.send_flags |= abi::SIGNALED;
        shape(&mut request);
        // SAFETY: one request; its source lives on this stack during the call if it is inline, else in registered
        // memory that the link keeps.
        unsafe { self.post_send(&mut request) }
    }
}
