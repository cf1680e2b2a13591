//! What calls of the libraries answer, as errors of this provider.

use std::ffi::c_int;
use std::io;

use crate::endpoint::OpenError;

/// An error of this provider from a system error.
pub(super) fn system(what: impl Into<String>, reason: io::Error) -> OpenError {
    OpenError::System { fabric: "verbs", what: what.into(), reason }
}

/// What a call that returns an error number (or -1 and `errno`) means.
pub(super) fn outcome(code: c_int) -> io::Result<()> {
    match code {
        0 => Ok(()),
        -1 => Err(io::Error::last_os_error()),
        code => Err(io::Error::from_raw_os_error(code.abs())),
    }
}

/// Why there is nothing to use.
pub(super) fn unavailable(why: impl Into<String>) -> OpenError {
    OpenError::Unavailable { fabric: "verbs", why: why.into() }
}
