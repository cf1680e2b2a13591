//! The secret that all nodes of a cluster hold.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::token::{keyed_hash, random_bytes};

const KEY_BYTES: usize = 32;
const HEX_DIGITS: usize = 2 * KEY_BYTES;
/// More than any key file has: the digits and white space around them.
const KEY_FILE_BYTES_MAX: u64 = 4096;

/// The secret of a cluster: 32 bytes, written as 64 hex digits. Who holds it may join.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterKey([u8; KEY_BYTES]);

/// Why there is no cluster key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text has another length.
    #[error("a cluster key is {HEX_DIGITS} hex digits; this one has {digits} characters (make one with: openssl rand -hex 32)")]
    Length {
        /// How many characters it has, without white space around it.
        digits: usize,
    },
    /// The text is not hex.
    #[error("a cluster key is {HEX_DIGITS} hex digits; character {position} is not one")]
    Digit {
        /// The first wrong character, from 1.
        position: usize,
    },
    /// The file cannot be read.
    #[error("cannot read the cluster key file {}: {reason}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// The file cannot be made.
    #[error("cannot make the cluster key file {}: {reason}", .path.display())]
    Unwritten {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// Others than its owner may read or write the file.
    #[error("the cluster key file {} is open to others (mode {mode:03o}): chmod 600 it", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl ClusterKey {
    /// A new key from the operating system's random source.
    pub fn random() -> Self {
        Self(random_bytes())
    }

    /// The key written as 64 hex digits; white space around them is ignored.
    ///
    /// # Errors
    /// [`KeyError::Length`] or [`KeyError::Digit`]; neither repeats the text.
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if let Some(position) = text.chars().position(|digit| !digit.is_ascii_hexdigit()) {
            return Err(KeyError::Digit { position: position + 1 });
        }
        if text.len() != HEX_DIGITS {
            return Err(KeyError::Length { digits: text.len() });
        }
        let mut key = [0; KEY_BYTES];
        for (byte, pair) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = pair.iter().fold(0, |value, &digit| value << 4 | hex_value(digit));
        }
        Ok(Self(key))
    }

    /// The key in a file that only its owner may read and write.
    ///
    /// # Errors
    /// [`KeyError::File`], [`KeyError::Exposed`], or those of [`from_hex`](Self::from_hex).
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let failed = |error: std::io::Error| KeyError::File { path: path.to_owned(), reason: error.to_string() };
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
        Self::from_hex(&text)
    }

    /// Writes the key into a new file that only its owner may read and write.
    ///
    /// # Errors
    /// [`KeyError::Unwritten`], also if the file exists: another key may be in use.
    pub fn write_new(&self, path: &Path) -> Result<(), KeyError> {
        let mut options = File::options();
        options.write(true).create_new(true).mode(0o600);
        let write = |mut file: File| file.write_all(format!("{}\n", self.to_hex()).as_bytes());
        let failed = |error: std::io::Error| KeyError::Unwritten { path: path.to_owned(), reason: error.to_string() };
        options.open(path).and_then(write).map_err(failed)
    }

    /// The key as 64 hex digits, to hand it to a child process (by a pipe or a file, not by its arguments, which all
    /// may read).
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The secret of the rendezvous' handshake.
    pub(super) fn handshake_secret(&self) -> [u8; 32] {
        keyed_hash(&self.0, b"squall rendezvous handshake")
    }

    /// The secret of the handshake of a [`Mesh`](crate::mesh::Mesh).
    pub(crate) fn mesh_secret(&self) -> [u8; 32] {
        keyed_hash(&self.0, b"squall mesh handshake")
    }
}

impl fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterKey(..)")
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => unreachable!("the caller has looked at every digit"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn hex_goes_round() {
        let key = ClusterKey::random();
        assert_eq!(ClusterKey::from_hex(&key.to_hex()), Ok(key.clone()));
        assert_eq!(ClusterKey::from_hex(&format!(" {}\n", key.to_hex().to_uppercase())), Ok(key));
    }

    #[test]
    fn wrong_text_is_refused_without_repeating_it() {
        assert_eq!(ClusterKey::from_hex("abc"), Err(KeyError::Length { digits: 3 }));
        assert_eq!(ClusterKey::from_hex(""), Err(KeyError::Length { digits: 0 }));
        assert_eq!(ClusterKey::from_hex(&"g".repeat(64)), Err(KeyError::Digit { position: 1 }));
        assert_eq!(ClusterKey::from_hex(&"é".repeat(32)), Err(KeyError::Digit { position: 1 }));
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let key = ClusterKey([0xab; 32]);
        assert_eq!(format!("{key:?}"), "ClusterKey(..)");
    }

    #[test]
    fn a_new_key_file_is_its_owners_alone_and_replaces_none() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("key");
        let key = ClusterKey::random();
        key.write_new(&path).expect("a new file");
        assert_eq!(ClusterKey::from_file(&path), Ok(key.clone()));
        let again = ClusterKey::random().write_new(&path).expect_err("the file is there");
        assert!(matches!(again, KeyError::Unwritten { .. }), "{again}");
        assert_eq!(ClusterKey::from_file(&path), Ok(key));
    }

    #[test]
    fn key_file_must_be_its_owners_alone() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("key");
        let key = ClusterKey::random();
        fs::write(&path, key.to_hex()).expect("write");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod");
        assert_eq!(ClusterKey::from_file(&path), Ok(key));
        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("chmod");
        assert_eq!(ClusterKey::from_file(&path), Err(KeyError::Exposed { path: path.clone(), mode: 0o640 }));
        let missing = ClusterKey::from_file(&folder.path().join("none")).expect_err("no such file");
        assert!(matches!(missing, KeyError::File { .. }), "{missing}");
    }
}
