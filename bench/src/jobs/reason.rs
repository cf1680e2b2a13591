//! Reasons for people: errors with what caused them, each said once.

/// An error and its causes, outermost first. A cause that the error before it has already told is left out: many errors
/// show their source themselves.
pub fn reason(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open the gate: {source}")]
    struct Gate {
        source: io::Error,
    }

    #[test]
    fn what_the_system_says_is_said_once() {
        let refused = || io::Error::from_raw_os_error(13);
        let error = Err::<(), _>(Gate { source: refused() }).context("at the castle").unwrap_err();
        assert_eq!(reason(&error), "at the castle: cannot open the gate: Permission denied (os error 13)");
        let plain = Err::<(), _>(refused()).context("reading").unwrap_err();
        assert_eq!(reason(&plain), "reading: Permission denied (os error 13)");
    }
}
