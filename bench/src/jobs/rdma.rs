//! Which RDMA device a node uses, and how.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use squall_transport::verbs::{Detection, VerbsOptions};

/// Which RDMA device, port and address, and how. What is not given is chosen by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[command(next_help_heading = "RDMA (for --fabric verbs; chosen automatically where not given)")]
#[serde(default)]
pub struct Rdma {
    /// The device, as `ibv_devices` names it; of hosts with several networks (rails) it chooses one [example: mlx5_0]
    #[arg(long, value_name = "NAME", env = "SQUALL_IB_DEV")]
    pub ib_dev: Option<String>,
    /// The port of the device
    #[arg(long, value_name = "N", env = "SQUALL_IB_PORT", value_parser = clap::value_parser!(u8).range(1..))]
    pub ib_port: Option<u8>,
    /// The entry of the port's GID table (RoCE); it differs between hosts
    #[arg(long, value_name = "N", env = "SQUALL_GID_INDEX")]
    pub gid_index: Option<u8>,
    /// The largest path MTU in bytes: 256, 512, 1024, 2048 or 4096
    #[arg(long, value_name = "BYTES", env = "SQUALL_MTU")]
    pub mtu: Option<u32>,
    /// The traffic class of RoCE packets; the DSCP is in its upper six bits
    #[arg(long, value_name = "N")]
    pub tclass: Option<u8>,
    /// The service level
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..16))]
    pub sl: Option<u8>,
    /// The partition, by its key [default: the port's first] [example: 0x8001]
    #[arg(long, value_name = "KEY", env = "SQUALL_PKEY", value_parser = partition)]
    pub pkey: Option<u16>,
    /// Give up a silent peer after milliseconds, not half a second; only for a network without congestion
    #[arg(long)]
    pub prompt_detection: bool,
    /// Count writes instead of trusting their order: for fabrics that do not keep it (EFA, adaptive routing out of
    /// order)
    #[arg(long)]
    pub count_writes: bool,
    /// An address of this host that the peers reach, to choose the device by; set by the run.
    #[arg(skip)]
    pub address: Option<IpAddr>,
}

/// A key as tools print it: `0x8001`, or `32769`. Its upper bit, full membership, is the port's to say.
fn partition(text: &str) -> Result<u16, String> {
    let key = match text.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16),
        None => text.parse(),
    };
    key.ok()
        .filter(|&key| key & 0x7fff != 0)
        .ok_or_else(|| "give a partition's key such as 0x8001 (`ls /sys/class/infiniband/*/ports/*/pkeys`)".into())
}

impl Rdma {
    /// The same for the transport, for a data path on `core`.
    pub fn options(&self, core: Option<usize>) -> VerbsOptions {
        let usual = VerbsOptions::default();
        VerbsOptions {
            device: self.ib_dev.clone(),
            port: self.ib_port,
            gid_index: self.gid_index,
            address: self.address,
            partition: self.pkey,
            core,
            mtu_bytes: self.mtu,
            traffic_class: self.tclass.unwrap_or(usual.traffic_class),
            service_level: self.sl.unwrap_or(usual.service_level),
            detection: if self.prompt_detection { Detection::PROMPT } else { usual.detection },
            counted: self.count_writes,
            ..usual
        }
    }
}
