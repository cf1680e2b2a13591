//! How numbers are written for people: bytes, rates, times.

/// Bytes with the suffix that the command line takes: `1 B`, `10 KB` (10,240), `1 MB` (1,048,576), `100 MB`.
/// A count that is not a whole number of such units keeps one decimal.
pub fn bytes(count: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)];
    for (name, size) in UNITS {
        if count >= size {
            return if count.is_multiple_of(size) {
                format!("{} {name}", count / size)
            } else {
                format!("{:.1} {name}", count as f64 / size as f64)
            };
        }
    }
    format!("{count} B")
}

/// About three significant digits, without an exponent between 0.001 and a thousand million, with `k`, `M` above.
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude >= 1e9 {
        format!("{:.2} G", value / 1e9)
    } else if magnitude >= 1e6 {
        format!("{:.2} M", value / 1e6)
    } else if magnitude >= 1e4 {
        format!("{:.1} k", value / 1e3)
    } else if magnitude >= 100.0 {
        format!("{value:.0}")
    } else if magnitude >= 10.0 {
        format!("{value:.1}")
    } else if magnitude >= 0.1 || magnitude == 0.0 {
        format!("{value:.2}")
    } else if magnitude >= 1e-3 {
        format!("{value:.4}")
    } else {
        format!("{value:.1e}")
    }
}

/// A share as a percentage with one decimal.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// `count noun`, with an `s` unless there is exactly one.
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_the_command_line_takes_them() {
        assert_eq!(bytes(1), "1 B");
        assert_eq!(bytes(1000), "1000 B");
        assert_eq!(bytes(10_240), "10 KB");
        assert_eq!(bytes(1_048_576), "1 MB");
        assert_eq!(bytes(104_857_600), "100 MB");
        assert_eq!(bytes(1_500_000), "1.4 MB");
    }

    #[test]
    fn numbers_keep_about_three_digits() {
        assert_eq!(number(0.0), "0.00");
        assert_eq!(number(7.126), "7.13");
        assert_eq!(number(71.26), "71.3");
        assert_eq!(number(712.6), "713");
        assert_eq!(number(20_000_000.0), "20.00 M");
        assert_eq!(number(0.0123), "0.0123");
    }
}
