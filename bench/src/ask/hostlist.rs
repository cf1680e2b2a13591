//! Lists of hosts as schedulers and people write them: `a,b[3-7]`, `rack[1-2]n[01-04,9]-ib`.

use std::path::Path;

use super::axes::NODES_MAX;

/// Why a text lists no hosts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}; write hosts as node1,node[3-7] or rack[1-2]n[01-04,9]")]
pub struct HostListError {
    /// Where it stands.
    place: String,
    /// What is wrong.
    what: String,
}

/// The hosts of a list, in its order. Digits keep their leading zeros: `n[08-10]` is `n08,n09,n10`.
///
/// # Errors
/// If it is none, a host stands there twice, or there are too many.
pub fn hosts(list: &str) -> Result<Vec<String>, HostListError> {
    collect(&format!("`{list}`"), [list])
}

/// The hosts of a file: a host, or a list of them, a line. What follows a host on its line (`slots=2`), and what
/// follows a `#`, is for others.
///
/// # Errors
/// If it cannot be read; and as [`hosts`].
pub fn hosts_of_file(path: &Path) -> Result<Vec<String>, HostListError> {
    let place = path.display().to_string();
    let wrong = |what: String| HostListError { place: place.clone(), what };
    let bytes = squall_report::read_file(path).map_err(|error| wrong(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    collect(&place, lines.filter_map(|line| line.split_whitespace().next()))
}

fn collect<'a>(place: &str, lists: impl IntoIterator<Item = &'a str>) -> Result<Vec<String>, HostListError> {
    let wrong = |what: String| HostListError { place: place.to_owned(), what };
    let mut hosts: Vec<String> = Vec::new();
    for list in lists {
        for item in items(list).map_err(wrong)? {
            hosts.extend(expand(item).map_err(wrong)?);
            if hosts.len() > NODES_MAX as usize {
                return Err(wrong(format!("it has more hosts than a run spans, {NODES_MAX}")));
            }
        }
    }
    if let Some(host) = hosts.iter().enumerate().find_map(|(at, host)| hosts[..at].contains(host).then_some(host)) {
        return Err(wrong(format!("{host} stands there twice, and each host runs one node")));
    }
    if hosts.is_empty() { Err(wrong("no host stands there".into())) } else { Ok(hosts) }
}

/// The items between commas, of which those in brackets part nothing.
fn items(list: &str) -> Result<Vec<&str>, String> {
    let (mut items, mut start, mut open) = (Vec::new(), 0, false);
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'[' if open => return Err("a bracket stands in another".into()),
            b'[' => open = true,
            b']' if !open => return Err("a bracket is closed that was not opened".into()),
            b']' => open = false,
            b',' if !open => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    if open {
        return Err("a bracket is not closed".into());
    }
    items.push(&list[start..]);
    let items = items.into_iter().map(str::trim);
    items.map(|item| if item.is_empty() { Err("a host is missing between commas".into()) } else { Ok(item) }).collect()
}

/// The hosts that one item means.
fn expand(item: &str) -> Result<Vec<String>, String> {
    // A name with a dash in front would be an option of ssh.
    if item.starts_with('-') { Err(format!("`{item}` is no name of a host")) } else { write_out(item) }
}

/// The names, or ends of names, that this means: its first bracket varies slowest.
fn write_out(item: &str) -> Result<Vec<String>, String> {
    let is_part = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:%@".contains(&byte));
    let wrong = || format!("`{item}` is no name of a host");
    let Some((before, rest)) = item.split_once('[') else {
        return if is_part(item) { Ok(vec![item.to_owned()]) } else { Err(wrong()) };
    };
    if !is_part(before) {
        return Err(wrong());
    }
    let (inside, after) = rest.split_once(']').ok_or("a bracket is not closed")?;
    let tails = write_out(after)?;
    let mut hosts = Vec::new();
    for part in inside.split(',') {
        for number in numbers(part.trim())? {
            hosts.extend(tails.iter().map(|tail| format!("{before}{number}{tail}")));
        }
    }
    Ok(hosts)
}

/// `7`, or `3-7`; the first one's digits are how many all have at the least.
fn numbers(part: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("`{part}` is no number and no range of numbers");
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u32>().ok()).flatten();
    let (Some(from), Some(to)) = (number(first), number(last)) else { return Err(wrong()) };
    if to < from || to - from >= NODES_MAX {
        return Err(format!("`{part}` is no range of 1 to {NODES_MAX} numbers"));
    }
    Ok((from..=to).map(|number| format!("{number:0width$}", width = first.len())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(list: &str) -> String {
        hosts(list).map_or_else(|error| error.to_string(), |hosts| hosts.join(" "))
    }

    #[test]
    fn lists_are_written_out() {
        assert_eq!(of("a,b[3-5]"), "a b3 b4 b5");
        assert_eq!(of("n[08-10,2],login"), "n08 n09 n10 n2 login");
        assert_eq!(of("rack[1-2]n[1-2]-ib"), "rack1n1-ib rack1n2-ib rack2n1-ib rack2n2-ib");
        assert_eq!(of("me@10.0.0.1, fd00::1,fe80::1%eth0"), "me@10.0.0.1 fd00::1 fe80::1%eth0");
    }

    #[test]
    fn what_lists_no_hosts_says_why() {
        for (list, why) in [
            ("a[3-", "not closed"),
            ("a]", "was not opened"),
            ("a[1[2]]", "stands in another"),
            ("a,,b", "missing between commas"),
            ("", "missing between commas"),
            ("a[x]", "`x` is no number"),
            ("a[7-3]", "no range of 1 to 64"),
            ("a[1-1000000]", "no range of 1 to 64"),
            ("a[1-40],b[1-40]", "more hosts than a run spans, 64"),
            ("a,b,a", "a stands there twice"),
            ("-oProxyCommand=x", "no name of a host"),
            ("-o[1-2]", "no name of a host"),
            ("a;b", "no name of a host"),
        ] {
            assert!(of(list).contains(why), "{list}: {}", of(list));
        }
    }

    #[test]
    fn a_file_has_a_host_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        std::fs::write(&path, "# a cluster\nnode1 slots=2\n\nnode[2-3]  # with cards\n").unwrap();
        assert_eq!(hosts_of_file(&path).unwrap(), ["node1", "node2", "node3"]);
        std::fs::write(&path, "# nothing\n").unwrap();
        assert!(hosts_of_file(&path).unwrap_err().to_string().contains("no host stands there"));
        assert!(hosts_of_file(&folder.path().join("none")).unwrap_err().to_string().contains("No such file"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_list_or_an_error(text in ".{0,40}") {
            let _ = hosts(&text);
        }

        #[test]
        fn a_range_is_what_it_means(first in 0u32..500, count in 1u32..60) {
            let expected: Vec<String> = (first..first + count).map(|number| format!("n{number}")).collect();
            prop_assert_eq!(hosts(&format!("n[{first}-{}]", first + count - 1)).unwrap(), expected);
        }
    }
}
