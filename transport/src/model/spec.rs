//! What costs how much.

/// Picoseconds in a second.
pub const PS_PER_S: u64 = 1_000_000_000_000;

/// A cluster of equal hosts on one switch.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelSpec {
    /// Their network cards.
    pub nic: NicSpec,
    /// What connects them.
    pub switch: SwitchSpec,
    /// What a post costs the core that posts.
    pub host: HostSpec,
    /// None: cards write into memory by themselves. Otherwise bytes pass through kernels.
    pub kernel: Option<KernelSpec>,
    /// None: any number of blocks are on their way at once.
    pub lanes: Option<LaneSpec>,
    /// A Span between pools takes its time and moves no byte, so that pools never become memory.
    pub hollow_pools: bool,
    /// What a Span within the table consists of, if it is not moved as a whole.
    pub records: Option<RecordsSpec>,
}

/// Spans within the table are runs of records: of each only the beginning is moved, so that what nobody reads costs
/// this machine nothing.
#[derive(Clone, Copy, Debug)]
pub struct RecordsSpec {
    /// By a record's first word: bytes of it that are moved, and bytes that it takes. `None`: it is no record; all that
    /// is left of the Span is moved.
    pub moved: fn(u64) -> Option<(u64, u64)>,
}

impl PartialEq for RecordsSpec {
    fn eq(&self, other: &RecordsSpec) -> bool {
        std::ptr::fn_addr_eq(self.moved, other.moved)
    }
}

/// A network card with one port.
#[derive(Clone, Debug, PartialEq)]
pub struct NicSpec {
    /// Line rate in each direction.
    pub bytes_per_s: f64,
    /// What PCIe moves in each direction.
    pub pcie_bytes_per_s: f64,
    /// The least time between two writes in one port: 1 / rate of messages.
    pub write_ps: u64,
    /// Payload of a packet.
    pub packet_bytes: u64,
    /// Headers of a packet, on the line beside its payload.
    pub header_bytes: u64,
    /// What one link sends before it is another's turn.
    pub burst_bytes: u64,
    /// From the doorbell to the first byte on the line.
    pub start_ps: u64,
    /// Added where the card has to fetch the bytes: longer than `inline_bytes`.
    pub fetch_ps: u64,
    /// Longest Span that travels within its request.
    pub inline_bytes: u64,
    /// From the last byte in to readable memory.
    pub land_ps: u64,
    /// Writes to one peer that were posted and have not landed, at most.
    pub queue_max: usize,
}

/// The way from port to port.
#[derive(Clone, Debug, PartialEq)]
pub struct SwitchSpec {
    /// Through cables and one switch.
    pub hop_ps: u64,
    /// Hosts that share a leaf switch; `None`: all on one switch that never blocks.
    pub leaf_hosts: Option<usize>,
    /// How many times more the hosts of a leaf can send than its way up carries.
    pub oversubscription: f64,
}

/// What the core pays.
#[derive(Clone, Debug, PartialEq)]
pub struct HostSpec {
    /// For writing one request.
    pub post_ps: u64,
    /// For telling the card, once a peer that anything was posted for.
    pub doorbell_ps: u64,
}

/// Kernels between core and card: TCP.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelSpec {
    /// One system call that moves bytes.
    pub call_ps: u64,
    /// Asking which sockets are ready, each turn.
    pub look_ps: u64,
    /// Sending a byte: the copy, and the stack's share.
    pub send_byte_ps: f64,
    /// Receiving a byte.
    pub receive_byte_ps: f64,
    /// From the last byte in to a socket that is ready.
    pub interrupt_ps: u64,
    /// Bytes of one connection between the sender's call and the receiver's.
    pub buffer_bytes: u64,
    /// Bytes that one call takes in at the most.
    pub intake_bytes: u64,
}

/// Threads beside the loop. Blocks of large messages go one by one: in each lane the next is posted once the receiver
/// has dealt with the one before. A lane is what one member sends of one sender's messages. Other writes leave when
/// they are posted, not when the turn is over.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneSpec {
    /// What a member's one thread for blocks takes to deal with a block that came, and as long again to post the next.
    pub block_ps: u64,
    /// Of that, how much more or less by chance, in parts of one.
    pub block_spread: f64,
    /// A record of a ring, and what it takes on the line: whole slots. 0: as long as it is.
    pub record_bytes: u64,
    /// See `record_bytes`.
    pub slot_bytes: u64,
    /// Words are fetched from memory like Spans, not part of the request.
    pub words_by_reference: bool,
    /// A host's one thread that moves every write, out and in, as a library over sockets has it; `None`: cards do.
    pub mover: Option<MoverSpec>,
}

/// What a mover takes at either end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MoverSpec {
    /// A write.
    pub write_ps: u64,
    /// A byte of it.
    pub byte_ps: f64,
}

impl NicSpec {
    /// Picoseconds a byte in a port: the slower of line and PCIe.
    pub(super) fn byte_ps(&self) -> f64 {
        PS_PER_S as f64 / self.bytes_per_s.min(self.pcie_bytes_per_s)
    }

    /// What a payload takes on the line.
    pub(super) fn line_bytes(&self, payload: u64) -> u64 {
        payload + payload.div_ceil(self.packet_bytes).max(1) * self.header_bytes
    }
}
