//! Ports that this host's listeners may take, where a firewall lets only some of them through.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Ports for listeners: a range, or any port that the operating system chooses. As text `7400-7499`, `7400`, or `any`.
///
/// What connects from this host to another is not bound by it: a firewall knows the answers to what it let out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Ports(Option<(u16, u16)>);

impl Ports {
    /// Whatever the operating system chooses.
    pub const ANY: Ports = Ports(None);

    /// Listens by `listen` at the first port that is free: `listen` is called with one after the other until it answers
    /// anything but an error that `is_taken`.
    ///
    /// # Errors
    /// That of `listen`; if every port is taken, that of the last.
    pub fn first_free<T, E>(self, mut listen: impl FnMut(u16) -> Result<T, E>, is_taken: impl Fn(&E) -> bool) -> Result<T, E> {
        let Some((first, last)) = self.0 else { return listen(0) };
        for port in first..last {
            match listen(port) {
                Err(error) if is_taken(&error) => {}
                listened => return listened,
            }
        }
        listen(last)
    }

    /// How many there are, if that is limited.
    pub fn count(self) -> Option<usize> {
        self.0.map(|(first, last)| usize::from(last - first) + 1)
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("any"),
            Some((first, last)) if first == last => write!(f, "{first}"),
            Some((first, last)) => write!(f, "{first}-{last}"),
        }
    }
}

/// Why a text names no ports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no range of ports: give FIRST-LAST, such as 7400-7499, from 1 to 65535")]
pub struct PortsError(String);

impl FromStr for Ports {
    type Err = PortsError;

    fn from_str(text: &str) -> Result<Ports, PortsError> {
        if text == "any" {
            return Ok(Ports::ANY);
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(Ports(Some((first, last)))),
            _ => Err(PortsError(text.to_owned())),
        }
    }
}

impl From<Ports> for String {
    fn from(ports: Ports) -> String {
        ports.to_string()
    }
}

impl TryFrom<String> for Ports {
    type Error = PortsError;

    fn try_from(text: String) -> Result<Ports, PortsError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_they_are_written() {
        for text in ["any", "7400", "7400-7499", "1-65535"] {
            assert_eq!(text.parse::<Ports>().expect("a range").to_string(), text);
        }
        assert_eq!("7400-7499".parse::<Ports>().expect("a range").count(), Some(100));
        for text in ["", "0", "7499-7400", "7400-", "7400-70000", "a-b", "0-5"] {
            assert!(text.parse::<Ports>().is_err(), "{text}");
        }
    }

    #[test]
    fn taken_ports_are_passed_over_and_other_errors_are_not() {
        let ports: Ports = "10-12".parse().expect("a range");
        let taken_up_to = |up_to| move |port| if port <= up_to { Err("taken") } else { Ok(port) };
        let is_taken = |error: &&str| *error == "taken";
        assert_eq!(ports.first_free(taken_up_to(10), is_taken), Ok(11));
        assert_eq!(ports.first_free(taken_up_to(12), is_taken), Err("taken"));
        assert_eq!(ports.first_free(|_| Err::<u16, _>("no such address"), is_taken), Err("no such address"));
        assert_eq!(Ports::ANY.first_free(Ok::<u16, &str>, is_taken), Ok(0));
    }
}
