//! Where a rendezvous is: an address that other hosts reach, or a name that this host alone knows.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::token::random_bytes;

/// Where members meet, or where one came from.
///
/// As text an address as ever (`192.0.2.1:7400`, `[fe80::1%2]:7400`), or `unix:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Place {
    /// A TCP port.
    Ip(SocketAddr),
    /// A Unix socket by its abstract name, which needs no file, no address and no network interface: all on one host,
    /// in one network namespace.
    Local(String),
}

/// What names a place on this host alone.
const LOCAL: &str = "unix:";
/// As much as the address of a Unix socket holds.
const NAME_BYTES_MAX: usize = 107;

impl Place {
    /// A name on this host that nobody else has.
    pub fn local() -> Place {
        Place::Local(local_name("rendezvous"))
    }

    /// The address of the host, if it is named by one.
    pub fn ip(&self) -> Option<IpAddr> {
        if let Place::Ip(address) = self { Some(address.ip()) } else { None }
    }
}

/// An abstract name that nobody else has, for sockets of this `kind`.
pub(crate) fn local_name(kind: &str) -> String {
    let digits: String = random_bytes()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("squall-{kind}-{digits}")
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Ip(address) => address.fmt(f),
            Place::Local(name) => write!(f, "{LOCAL}{name}"),
        }
    }
}

/// Why a text names no place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not the place of a rendezvous: give ADDRESS:PORT, or {LOCAL}NAME with a name of 1 to {NAME_BYTES_MAX} bytes")]
pub struct PlaceError {
    text: String,
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Place, PlaceError> {
        match text.strip_prefix(LOCAL) {
            Some(name) if (1..=NAME_BYTES_MAX).contains(&name.len()) => Ok(Place::Local(name.to_owned())),
            Some(_) => Err(PlaceError { text: text.to_owned() }),
            None => text.parse().map(Place::Ip).map_err(|_| PlaceError { text: text.to_owned() }),
        }
    }
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Place {
        Place::Ip(address)
    }
}

impl From<Place> for String {
    fn from(place: Place) -> String {
        place.to_string()
    }
}

impl TryFrom<String> for Place {
    type Error = PlaceError;

    fn try_from(text: String) -> Result<Place, PlaceError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_written() {
        let local = Place::local();
        assert_ne!(local, Place::local());
        for text in ["192.0.2.1:7400", "[2001:db8::7]:80", "[fe80::1%2]:7400", "unix:here", &local.to_string()] {
            let place: Place = text.parse().expect("a place");
            assert_eq!(place.to_string(), text);
            let bytes = postcard::to_stdvec(&place).expect("a place always encodes");
            assert_eq!(postcard::from_bytes::<Place>(&bytes).expect("as encoded"), place);
        }
        for text in ["", "unix:", "192.0.2.1", "node1:7400", &format!("unix:{}", "x".repeat(108))] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
