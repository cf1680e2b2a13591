//! Sizes as they are written on the command line: `1`, `10KB`, `1.5MB`, `64KiB`, and lists of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of bytes, at least 1 and at most [`ByteSize::MAX`].
///
/// Units are powers of 1,024 with or without the `i`, as this field writes its message sizes: `10KB` is 10,240 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ByteSize(pub u64);

/// 1,024 bytes.
pub const KB: u64 = 1 << 10;
/// 1,024 of them.
pub const MB: u64 = 1 << 20;

/// Why a text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// No digits at the beginning.
    #[error("a size is a number with a unit, such as 1, 10KB, 1.5MB or 64KiB")]
    NotANumber,
    /// A fraction of a byte.
    #[error("{0} is no whole number of bytes")]
    NotWhole(String),
    /// A comma that may separate decimals or sizes.
    #[error("{list}: is it one size or two? Write {whole}.{rest} for the one, or {whole}B,{rest} for the two")]
    Comma {
        /// The list.
        list: String,
        /// What stands before the comma.
        whole: String,
        /// And behind it.
        rest: String,
    },
    /// Letters that are no unit.
    #[error("unknown unit {0:?}; use B, KB, MB or GB (KiB, MiB, GiB mean the same), or none for bytes")]
    Unit(String),
    /// Nothing to send.
    #[error("a size of 0 bytes carries nothing; the smallest is 1")]
    Zero,
    /// More than any machine here moves in one message.
    #[error("more than the largest size, 64GB")]
    TooLarge,
}

const UNITS: [(&str, u64); 4] = [("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10), ("", 1)];

impl ByteSize {
    /// The largest size.
    pub const MAX: ByteSize = ByteSize(64 << 30);
}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        if whole.is_empty() || decimals.is_empty() || decimals.contains('.') {
            return Err(SizeError::NotANumber);
        }
        let unit = unit.trim_start();
        let mut letters = unit.to_ascii_uppercase();
        if letters.ends_with('B') {
            letters.pop();
        }
        if letters.len() == 2 && letters.ends_with('I') {
            letters.pop();
        }
        let known = UNITS.iter().find(|(letter, _)| *letter == letters);
        let (_, factor) = known.ok_or_else(|| SizeError::Unit(unit.to_owned()))?;
        // Only digits: what does not parse is too long for 64 bits.
        let count: u64 = whole.parse().map_err(|_| SizeError::TooLarge)?;
        let fraction = fraction_of(decimals, *factor).ok_or_else(|| SizeError::NotWhole(text.to_owned()))?;
        match count.checked_mul(*factor).and_then(|bytes| bytes.checked_add(fraction)) {
            Some(0) => Err(SizeError::Zero),
            Some(bytes) if bytes <= Self::MAX.0 => Ok(ByteSize(bytes)),
            _ => Err(SizeError::TooLarge),
        }
    }
}

/// `0.decimals` of `factor`, if that is a whole number.
fn fraction_of(decimals: &str, factor: u64) -> Option<u64> {
    let decimals = decimals.trim_end_matches('0');
    // With more decimals than 2^30 has factors of two nothing comes out whole.
    const DECIMALS_MAX: usize = 30;
    if decimals.is_empty() {
        return Some(0);
    }
    if decimals.len() > DECIMALS_MAX {
        return None;
    }
    let (parts, of) = (decimals.parse::<u128>().ok()?, 10u128.pow(decimals.len() as u32));
    let bytes = parts.checked_mul(u128::from(factor))?;
    (bytes % of == 0).then_some((bytes / of) as u64)
}

/// Sizes between commas. `1,5MB` is refused: it may be meant as 1.5 MB.
///
/// # Errors
/// What is wrong with the first that is no size.
pub fn sizes(text: &str) -> Result<Vec<ByteSize>, SizeError> {
    if let Some((whole, rest)) = text.split_once(',')
        && whole.bytes().all(|byte| byte.is_ascii_digit())
        && let [b'0'..=b'9', b'A'..=b'Z' | b'a'..=b'z', ..] = rest.as_bytes()
        && !rest.contains(',')
    {
        return Err(SizeError::Comma { list: text.to_owned(), whole: whole.to_owned(), rest: rest.to_owned() });
    }
    text.split(',').map(str::parse).collect()
}

impl fmt::Display for ByteSize {
    /// The shortest text that means the same size exactly: `10KB`, `1000B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (letter, factor) = UNITS.iter().find(|(_, factor)| self.0.is_multiple_of(*factor)).unwrap_or(&UNITS[3]);
        write!(f, "{}{letter}B", self.0 / factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_powers_of_1024_with_or_without_the_i() {
        let expected = [("1", 1), ("10KB", 10_240), ("1MB", 1 << 20), ("100MB", 104_857_600), ("64KiB", 65_536), ("2 MiB", 2 << 20)];
        for (text, bytes) in expected.into_iter().chain([("7B", 7), ("1gb", 1 << 30), ("4k", 4096)]) {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_says_why() {
        assert_eq!("".parse::<ByteSize>(), Err(SizeError::NotANumber));
        assert_eq!("-1".parse::<ByteSize>(), Err(SizeError::NotANumber));
        assert_eq!("1.3KB".parse::<ByteSize>(), Err(SizeError::NotWhole("1.3KB".into())));
        assert_eq!("1.5".parse::<ByteSize>(), Err(SizeError::NotWhole("1.5".into())));
        for wrong in [".5MB", "1.MB", "1.2.3MB"] {
            assert_eq!(wrong.parse::<ByteSize>(), Err(SizeError::NotANumber), "{wrong}");
        }
        assert_eq!("1TB".parse::<ByteSize>(), Err(SizeError::Unit("TB".into())));
        assert_eq!("1IB".parse::<ByteSize>(), Err(SizeError::Unit("IB".into())));
        assert_eq!("0KB".parse::<ByteSize>(), Err(SizeError::Zero));
        assert_eq!("99999999999999999999".parse::<ByteSize>(), Err(SizeError::TooLarge));
        assert_eq!("65GB".parse::<ByteSize>(), Err(SizeError::TooLarge));
    }

    #[test]
    fn fractions_of_a_unit_are_whole_bytes() {
        for (text, bytes) in [("1.5MB", 1_572_864), ("0.5KB", 512), ("2.0B", 2), ("1.25GB", 5 << 28), ("0.0009765625KB", 1)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn a_decimal_comma_is_refused_and_lists_are_not() {
        let error = sizes("1,5MB").unwrap_err().to_string();
        assert!(error.contains("1.5MB for the one, or 1B,5MB for the two"), "{error}");
        for (text, bytes) in
            [("1,10KB,1MB", vec![1, 10_240, 1 << 20]), ("2B,8KB", vec![2, 8192]), ("1,10KB", vec![1, 10_240]), ("1,5", vec![1, 5])]
        {
            assert_eq!(sizes(text).unwrap(), bytes.into_iter().map(ByteSize).collect::<Vec<_>>(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_size_or_an_error(text in ".{0,24}|[0-9.,KMB]{0,50}") {
            let _ = sizes(&text);
            if let Ok(size) = text.parse::<ByteSize>() {
                prop_assert!((1..=ByteSize::MAX.0).contains(&size.0));
            }
        }

        #[test]
        fn what_is_shown_parses_to_the_same_size(bytes in 1..=ByteSize::MAX.0, shift in 0u32..30) {
            let size = ByteSize((bytes >> shift << shift).max(1));
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }
    }
}
