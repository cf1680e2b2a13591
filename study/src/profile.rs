//! What costs how much, as a file.

use serde::Deserialize;
use squall_smc::read_bytes;
use squall_transport::model::{HostSpec, KernelSpec, ModelSpec, NicSpec, PS_PER_S, RecordsSpec, SwitchSpec};

/// Those that are built in, by name.
const BUILT_IN: [(&str, &str); 4] = [
    ("sim-rdma-100g", include_str!("../../bench/profiles/sim-rdma-100g.toml")),
    ("sim-rdma-400g", include_str!("../../bench/profiles/sim-rdma-400g.toml")),
    ("sim-tcp-100g", include_str!("../../bench/profiles/sim-tcp-100g.toml")),
    ("sim-tcp-10g", include_str!("../../bench/profiles/sim-tcp-10g.toml")),
];

/// What every profile's name begins with, so that none is taken for a real fabric.
const PREFIX: &str = "sim-";

/// What is wrong with a profile, and what to do about it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// No profile has this name.
    #[error("there is no profile `{name}`; built in are {known}, and `--profile FILE` reads your own")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// The file is no profile: a field is missing, unknown or of the wrong type.
    #[error("profile {file}: {what}; compare with a built-in profile (`squall study --show sim-rdma-100g`)")]
    Format {
        /// Which file.
        file: String,
        /// What the reader says, with line and field.
        what: String,
    },
    /// A value that no machine has.
    #[error("profile {file}: `{field}` is {value}; expected {expected}")]
    Value {
        /// Which file.
        file: String,
        /// The field, with its table.
        field: String,
        /// What it is.
        value: String,
        /// What it should be.
        expected: String,
    },
    /// The topology has no place for so many.
    #[error(
        "profile {name}: {nodes} nodes do not fill leaf switches of {leaf_hosts} hosts evenly; use a multiple of {leaf_hosts}, or at \
         most {leaf_hosts}"
    )]
    Topology {
        /// The profile.
        name: String,
        /// What was asked for.
        nodes: usize,
        /// `switch.hosts_a_leaf`.
        leaf_hosts: usize,
    },
}

/// What costs how much on one kind of cluster.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What rows call the fabric.
    pub name: String,
    /// The line.
    pub link: LinkTable,
    /// The card.
    pub nic: NicTable,
    /// Between the cards.
    pub switch: SwitchTable,
    /// The one core of a node.
    pub cpu: CpuTable,
    /// Given: the core moves the bytes. Links are TCP, or, where calls cost nothing, shared memory.
    pub kernel: Option<KernelTable>,
}

/// `[link]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkTable {
    /// Line rate in each direction.
    pub gigabits_per_second: f64,
    /// Payload of a packet.
    pub packet_bytes: f64,
    /// Its headers and the gap behind it.
    pub header_bytes: f64,
}

/// `[nic]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NicTable {
    /// Rate of writes in each direction.
    pub million_writes_per_second: f64,
    /// PCIe in each direction.
    pub pcie_gigabytes_per_second: f64,
    /// What a link sends before it is another's turn.
    pub burst_bytes: f64,
    /// From the doorbell to the first byte on the line.
    pub doorbell_to_line_ns: f64,
    /// Added where the bytes are not in the request.
    pub fetch_ns: f64,
    /// Longest Span in the request itself.
    pub inline_bytes: f64,
    /// From the last byte in to readable memory.
    pub land_ns: f64,
    /// Writes to one peer that have not landed, at most.
    pub queue_writes_max: f64,
}

/// `[switch]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchTable {
    /// Through one switch and its cables.
    pub hop_ns: f64,
    /// Hosts on one leaf switch; without it all are on one switch that never blocks.
    pub hosts_a_leaf: Option<f64>,
    /// How many times more a leaf's hosts can send than its way up carries.
    pub oversubscription: Option<f64>,
}

/// `[cpu]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuTable {
    /// A turn of the loop in which nothing happens.
    pub turn_ns: f64,
    /// More for each row of the table.
    pub row_ns: f64,
    /// More for each sender's ring.
    pub sender_ns: f64,
    /// A message sent.
    pub send_ns: f64,
    /// A record walked.
    pub record_ns: f64,
    /// A message delivered.
    pub delivery_ns: f64,
    /// A block of a large message, in or out.
    pub block_ns: f64,
    /// More for each turn and large message that is not delivered everywhere here.
    pub transfer_ns: f64,
    /// What the application does with each kilobyte that it sends or is handed.
    pub touch_ns_per_kilobyte: f64,
    /// A request written.
    pub post_ns: f64,
    /// A doorbell.
    pub doorbell_ns: f64,
    /// By how much hosts differ, as a part of one.
    pub skew: f64,
    /// How long an idle loop spins before it sleeps; without it, for ever.
    pub spin_us: Option<f64>,
    /// How late a sleeper is woken.
    pub wake_us: Option<f64>,
}

/// `[kernel]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelTable {
    /// A system call that moves bytes.
    pub call_ns: f64,
    /// Asking what is ready, each turn.
    pub look_ns: f64,
    /// The core's share of a kilobyte sent.
    pub send_ns_per_kilobyte: f64,
    /// And received.
    pub receive_ns_per_kilobyte: f64,
    /// From the last byte in to a socket that is ready.
    pub interrupt_us: f64,
    /// Bytes of a connection between the two calls.
    pub buffer_bytes: f64,
    /// Bytes a call takes in.
    pub intake_bytes: f64,
}

/// A field with the values that make sense.
struct Field {
    name: &'static str,
    value: f64,
    least: f64,
    most: f64,
    unit: &'static str,
}

impl Profile {
    /// Names of those that are built in.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// The text of one that is built in: a start for one's own.
    pub fn text(name: &str) -> Option<&'static str> {
        BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    /// One that is built in.
    ///
    /// # Errors
    /// If none has this name.
    pub fn built_in(name: &str) -> Result<Profile, ProfileError> {
        let text = Profile::text(name).ok_or_else(|| {
            let known: Vec<_> = Profile::names().collect();
            ProfileError::Unknown { name: name.into(), known: known.join(", ") }
        })?;
        Profile::parse(text, name)
    }

    /// Reads one; `file` names it in errors.
    ///
    /// # Errors
    /// A field that is missing, unknown, negative or absurd.
    pub fn parse(text: &str, file: &str) -> Result<Profile, ProfileError> {
        let profile: Profile = toml::from_str(text)
            .map_err(|error| ProfileError::Format { file: file.into(), what: error.to_string().trim_end().to_owned() })?;
        if !profile.name.starts_with(PREFIX) || profile.name.len() == PREFIX.len() {
            let expected = format!("a name that begins with `{PREFIX}`, so that no row is taken for a measurement");
            return Err(ProfileError::Value { file: file.into(), field: "name".into(), value: format!("`{}`", profile.name), expected });
        }
        match profile.fields().into_iter().find(|field| !(field.least..=field.most).contains(&field.value)) {
            None => profile.fits_together(file),
            Some(Field { name, value, least, most, unit }) => {
                let expected = format!("{least} to {most} {unit}").trim_end().to_owned();
                Err(ProfileError::Value { file: file.into(), field: name.into(), value: value.to_string(), expected })
            }
        }
    }

    /// Fields that make sense one by one, and not together.
    fn fits_together(self, file: &str) -> Result<Profile, ProfileError> {
        let wrong = |field: &str, value: f64, expected: &str| {
            Err(ProfileError::Value { file: file.into(), field: field.into(), value: value.to_string(), expected: expected.into() })
        };
        let SwitchTable { hosts_a_leaf, oversubscription, .. } = self.switch;
        if let Some(hosts) = hosts_a_leaf.filter(|hosts| hosts.fract() != 0.0) {
            return wrong("switch.hosts_a_leaf", hosts, "a whole number of hosts");
        }
        match (oversubscription, hosts_a_leaf, self.cpu.wake_us, self.cpu.spin_us) {
            (Some(times), None, ..) => {
                wrong("switch.oversubscription", times, "`switch.hosts_a_leaf` beside it: one switch alone never blocks")
            }
            (_, _, Some(wake_us), None) => {
                wrong("cpu.wake_us", wake_us, "`cpu.spin_us` beside it: a loop that spins for ever is never woken")
            }
            _ => Ok(self),
        }
    }

    fn fields(&self) -> Vec<Field> {
        let field = |name, value, least, most, unit| Field { name, value, least, most, unit };
        let Profile { link, nic, switch, cpu, kernel, .. } = self;
        let mut fields = vec![
            field("link.gigabits_per_second", link.gigabits_per_second, 0.001, 10_000.0, "Gb/s"),
            field("link.packet_bytes", link.packet_bytes, 64.0, 65_536.0, "bytes"),
            field("link.header_bytes", link.header_bytes, 0.0, 1024.0, "bytes"),
            field("nic.million_writes_per_second", nic.million_writes_per_second, 0.001, 10_000.0, "million a second"),
            field("nic.pcie_gigabytes_per_second", nic.pcie_gigabytes_per_second, 0.001, 10_000.0, "GB/s"),
            field("nic.burst_bytes", nic.burst_bytes, 64.0, 1e9, "bytes"),
            field("nic.doorbell_to_line_ns", nic.doorbell_to_line_ns, 0.0, 1e9, "ns"),
            field("nic.fetch_ns", nic.fetch_ns, 0.0, 1e9, "ns"),
            field("nic.inline_bytes", nic.inline_bytes, 0.0, 4096.0, "bytes"),
            field("nic.land_ns", nic.land_ns, 0.0, 1e9, "ns"),
            field("nic.queue_writes_max", nic.queue_writes_max, 4.0, 1e6, "writes"),
            field("switch.hop_ns", switch.hop_ns, 1.0, 1e9, "ns"),
            field("switch.hosts_a_leaf", switch.hosts_a_leaf.unwrap_or(1.0), 1.0, 65_536.0, "hosts"),
            field("switch.oversubscription", switch.oversubscription.unwrap_or(1.0), 1.0, 1000.0, "times"),
            field("cpu.turn_ns", cpu.turn_ns, 1.0, 1e9, "ns"),
            field("cpu.row_ns", cpu.row_ns, 0.0, 1e6, "ns"),
            field("cpu.sender_ns", cpu.sender_ns, 0.0, 1e6, "ns"),
            field("cpu.send_ns", cpu.send_ns, 0.0, 1e9, "ns"),
            field("cpu.record_ns", cpu.record_ns, 0.0, 1e9, "ns"),
            field("cpu.delivery_ns", cpu.delivery_ns, 0.0, 1e9, "ns"),
            field("cpu.block_ns", cpu.block_ns, 0.0, 1e9, "ns"),
            field("cpu.transfer_ns", cpu.transfer_ns, 0.0, 1e9, "ns"),
            field("cpu.touch_ns_per_kilobyte", cpu.touch_ns_per_kilobyte, 0.0, 1e6, "ns"),
            field("cpu.post_ns", cpu.post_ns, 0.0, 1e9, "ns"),
            field("cpu.doorbell_ns", cpu.doorbell_ns, 0.0, 1e9, "ns"),
            field("cpu.skew", cpu.skew, 0.0, 10.0, ""),
            field("cpu.spin_us", cpu.spin_us.unwrap_or(0.0), 0.0, 1e6, "us"),
            field("cpu.wake_us", cpu.wake_us.unwrap_or(0.0), 0.0, 1e6, "us"),
        ];
        if let Some(kernel) = kernel {
            fields.extend([
                field("kernel.call_ns", kernel.call_ns, 0.0, 1e9, "ns"),
                field("kernel.look_ns", kernel.look_ns, 0.0, 1e9, "ns"),
                field("kernel.send_ns_per_kilobyte", kernel.send_ns_per_kilobyte, 0.0, 1e6, "ns"),
                field("kernel.receive_ns_per_kilobyte", kernel.receive_ns_per_kilobyte, 0.0, 1e6, "ns"),
                field("kernel.interrupt_us", kernel.interrupt_us, 0.0, 1e6, "us"),
                field("kernel.buffer_bytes", kernel.buffer_bytes, 4096.0, 1e12, "bytes"),
                field("kernel.intake_bytes", kernel.intake_bytes, 64.0, 1e12, "bytes"),
            ]);
        }
        fields
    }

    /// Whether so many nodes have a place.
    ///
    /// # Errors
    /// If they do not fill the leaf switches.
    pub fn check_nodes(&self, nodes: usize) -> Result<(), ProfileError> {
        match self.switch.hosts_a_leaf.map(|hosts| hosts as usize) {
            Some(leaf_hosts) if nodes > leaf_hosts && !nodes.is_multiple_of(leaf_hosts) => {
                Err(ProfileError::Topology { name: self.name.clone(), nodes, leaf_hosts })
            }
            _ => Ok(()),
        }
    }

    /// Line rate of one direction in bytes a second, headers among them.
    pub fn line_bytes_per_s(&self) -> f64 {
        self.link.gigabits_per_second * 1e9 / 8.0
    }

    /// Payload that one direction of a card can carry in large writes, in bytes a second.
    pub fn payload_bytes_per_s(&self) -> f64 {
        let port = self.line_bytes_per_s().min(self.nic.pcie_gigabytes_per_second * 1e9);
        port * self.link.packet_bytes / (self.link.packet_bytes + self.link.header_bytes)
    }

    /// What the network model takes of it.
    pub fn model(&self) -> ModelSpec {
        let ps = |ns: f64| (ns * 1e3) as u64;
        ModelSpec {
            nic: NicSpec {
                bytes_per_s: self.line_bytes_per_s(),
                pcie_bytes_per_s: self.nic.pcie_gigabytes_per_second * 1e9,
                write_ps: (PS_PER_S as f64 / (self.nic.million_writes_per_second * 1e6)) as u64,
                packet_bytes: self.link.packet_bytes as u64,
                header_bytes: self.link.header_bytes as u64,
                burst_bytes: self.nic.burst_bytes as u64,
                start_ps: ps(self.nic.doorbell_to_line_ns),
                fetch_ps: ps(self.nic.fetch_ns),
                inline_bytes: self.nic.inline_bytes as u64,
                land_ps: ps(self.nic.land_ns),
                queue_max: self.nic.queue_writes_max as usize,
            },
            switch: SwitchSpec {
                hop_ps: ps(self.switch.hop_ns),
                leaf_hosts: self.switch.hosts_a_leaf.map(|hosts| hosts as usize),
                oversubscription: self.switch.oversubscription.unwrap_or(1.0),
            },
            host: HostSpec { post_ps: ps(self.cpu.post_ns), doorbell_ps: ps(self.cpu.doorbell_ns) },
            kernel: self.kernel.as_ref().map(|kernel| KernelSpec {
                call_ps: ps(kernel.call_ns),
                look_ps: ps(kernel.look_ns),
                send_byte_ps: kernel.send_ns_per_kilobyte,
                receive_byte_ps: kernel.receive_ns_per_kilobyte,
                interrupt_ps: ps(kernel.interrupt_us * 1e3),
                buffer_bytes: kernel.buffer_bytes as u64,
                intake_bytes: kernel.intake_bytes as u64,
            }),
            lanes: None,
            hollow_pools: true,
            records: Some(RecordsSpec { moved: read_bytes }),
        }
    }
}
