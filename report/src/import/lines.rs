//! What the readers of foreign files share: where something is wrong, numbers, JSON.

use serde_json::Value;

/// What is wrong with a foreign file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    /// The line, from 1.
    pub(super) line: u64,
    /// What is there.
    pub(super) what: String,
    /// What should be there.
    pub(super) expected: String,
    /// What to do about it.
    pub(super) mend: String,
}

impl Flaw {
    pub(super) fn new(line: usize, what: impl Into<String>, expected: impl Into<String>, mend: impl Into<String>) -> Flaw {
        Flaw { line: line as u64, what: what.into(), expected: expected.into(), mend: mend.into() }
    }
}

/// A megabyte of the tools of RDMA and MPI, unless they say otherwise: 2^20 bytes.
pub(super) const MEBIBYTE: f64 = 1_048_576.0;

/// Lines with their numbers from 1, without what a terminal would take for colours.
pub(super) fn numbered(text: &str) -> impl Iterator<Item = (usize, String)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, without_colours(line)))
}

fn without_colours(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    plain
}

/// A number of 0 or more that a row may hold.
pub(super) fn number(line: usize, field: &str, name: &str) -> Result<f64, Flaw> {
    match field.trim().parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err(Flaw::new(
            line,
            format!("{name} is {field:?}"),
            "a finite number of 0 or more",
            "The measurement failed there, or the line was cut: remove it, or measure again",
        )),
    }
}

/// A whole number.
pub(super) fn whole(line: usize, field: &str, name: &str) -> Result<u64, Flaw> {
    field.trim().parse().map_err(|_| {
        Flaw::new(line, format!("{name} is {field:?}"), "a whole number", "The line was cut or edited: remove it, or measure again")
    })
}

/// A JSON object that may follow warnings, as tools print them in front.
pub(super) fn json(text: &str, tool: &str, flag: &str) -> Result<Value, Flaw> {
    let mend = format!("Write it with `{tool} {flag} > FILE`");
    let begin = text.lines().scan(0, |at, line| {
        let begin = *at;
        *at += line.len() + 1;
        Some((begin, line))
    });
    let Some((at, _)) = begin.into_iter().find(|(_, line)| line.starts_with('{')) else {
        return Err(Flaw::new(1, "no JSON", format!("what {tool} prints with {flag}"), mend));
    };
    let before = text[..at].lines().count();
    let mut values = serde_json::Deserializer::from_str(&text[at..]).into_iter::<Value>();
    match values.next() {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(Flaw::new(before + error.line(), error.to_string(), "JSON", format!("The file was cut. {mend}"))),
        None => Err(Flaw::new(before + 1, "no JSON", "an object", mend)),
    }
}

/// A number in a JSON object, by its path.
pub(super) fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

/// A number of 0 or more, by its path.
pub(super) fn number_at(value: &Value, path: &[&str]) -> Option<f64> {
    at(value, path)?.as_f64().filter(|number| number.is_finite() && *number >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_no_text() {
        assert_eq!(without_colours("a\u{1b}[2;35mb\u{1b}[0mc"), "abc");
        assert_eq!(without_colours("a\u{1b}[2"), "a");
    }

    #[test]
    fn json_may_follow_warnings_and_errors_count_lines_from_the_top() {
        assert_eq!(json("warning\n{\"a\": 1}\ntail", "x", "-J").unwrap()["a"], 1);
        let flaw = json("warning\n{\"a\":\n oops}", "x", "-J").unwrap_err();
        assert_eq!(flaw.line, 3);
        assert!(json("plain", "x", "-J").unwrap_err().mend.contains("x -J"));
    }
}
