//! What this host's own command line and environment say of it.

use std::net::{IpAddr, SocketAddr, TcpListener};

use crate::ask::host::{Facts, boot};
use crate::ask::machine::Machine;
use crate::ask::verbs::Verbs;
use crate::jobs::rdma::Rdma;
use squall_report::Environment;

/// This host, as its own command line and environment describe it.
#[derive(Clone, Debug)]
pub struct Local {
    /// At which the other hosts reach it for data.
    pub address: IpAddr,
    /// How its RDMA devices are used; goes before what the first host asks for.
    own: Rdma,
}

impl Local {
    /// A host that the others reach at `address`.
    ///
    /// # Errors
    /// If the address is none of this host, or means all of them.
    pub fn new(address: IpAddr, own: Rdma) -> Result<Local, String> {
        if address.is_unspecified() {
            return Err(format!("{address} means all interfaces; name the one address of this host that the other hosts reach"));
        }
        TcpListener::bind(squall_transport::own(SocketAddr::new(address, 0)))
            .map_err(|error| format!("{address} cannot be used on this host: {error}"))?;
        Ok(Local { address, own })
    }

    /// `asked`, with this host's own options first, and its address to choose a device by if that leads to one.
    pub fn rdma(&self, asked: &Rdma) -> Rdma {
        let merged = self.merged(asked);
        if merged.ib_dev.is_some() || merged.gid_index.is_some() {
            return merged;
        }
        let by_address = Rdma { address: Some(self.address), ..merged.clone() };
        // The network of the control connection need not be the one of the devices.
        let misleads = Verbs::of(&by_address).unavailable.is_some() && Verbs::of(&merged).unavailable.is_none();
        if misleads { merged } else { by_address }
    }

    fn merged(&self, asked: &Rdma) -> Rdma {
        let own = &self.own;
        Rdma {
            ib_dev: own.ib_dev.clone().or_else(|| asked.ib_dev.clone()),
            ib_port: own.ib_port.or(asked.ib_port),
            gid_index: own.gid_index.or(asked.gid_index),
            mtu: own.mtu.or(asked.mtu),
            tclass: own.tclass.or(asked.tclass),
            sl: own.sl.or(asked.sl),
            pkey: own.pkey.or(asked.pkey),
            prompt_detection: own.prompt_detection || asked.prompt_detection,
            count_writes: own.count_writes || asked.count_writes,
            ..asked.clone()
        }
    }

    /// What this host offers, with its RDMA devices used as `asked`.
    pub fn facts(&self, asked: &Rdma) -> Facts {
        let environment = Environment::collect();
        let machine = Machine::of(&environment, &self.rdma(asked));
        Facts {
            near_core: machine.near_cores().first().copied(),
            cores: machine.cores,
            memory_bytes: machine.memory_bytes,
            verbs: machine.verbs,
            boot: boot(),
            environment,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_hosts_own_options_go_before_what_is_asked() {
        let own = Rdma { ib_dev: Some("mlx5_1".into()), gid_index: Some(3), ..Rdma::default() };
        let local = Local::new(Ipv4Addr::LOCALHOST.into(), own).unwrap();
        let asked = Rdma { ib_dev: Some("mlx5_0".into()), mtu: Some(1024), prompt_detection: true, ..Rdma::default() };
        let merged = local.rdma(&asked);
        assert_eq!((merged.ib_dev.as_deref(), merged.gid_index, merged.mtu), (Some("mlx5_1"), Some(3), Some(1024)));
        assert!(merged.prompt_detection && merged.address.is_none());
    }

    #[test]
    fn only_an_address_of_this_host_will_do() {
        let error = |address: &str| Local::new(address.parse().unwrap(), Rdma::default()).unwrap_err();
        assert!(error("0.0.0.0").contains("all interfaces"));
        assert!(error("192.0.2.77").contains("cannot be used on this host"));
    }
}
