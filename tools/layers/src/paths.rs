//! The paths that a file names.

/// The code of a file: no comments, and nothing from its tests on.
pub(crate) fn code_of(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).flat_map(|line| [line, "\n"]).collect()
}

/// The paths that a text names and that begin with a keyword of paths, or, in a `use`, with one of `children`.
pub(crate) fn paths_in(code: &str, children: &[String]) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let keywords = ["crate::", "super::", "self::"].map(str::to_owned);
    let uses = children.iter().map(|child| format!("use {child}"));
    for start in keywords.into_iter().chain(uses) {
        let mut from = 0;
        while let Some(found) = code[from..].find(&start) {
            let at = from + found;
            from = at + start.len();
            let before = code[..at].chars().next_back();
            let is_inside_a_path = before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
            if is_inside_a_path || code[..at].ends_with("pub(in ") {
                continue;
            }
            paths.extend(paths_of_tree(code[at..].strip_prefix("use ").unwrap_or(&code[at..])).0);
        }
    }
    paths
}

/// All paths of a tree such as `a::{b, c::{d, e as f}}`, and how many bytes it takes.
fn paths_of_tree(tree: &str) -> (Vec<Vec<String>>, usize) {
    let word = |text: &str| text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (mut at, mut names) = (0, Vec::new());
    loop {
        let length = word(&tree[at..]);
        if length > 0 {
            names.push(tree[at..at + length].to_owned());
            at += length;
        } else if tree[at..].starts_with('{') {
            let mut paths = Vec::new();
            at += 1;
            loop {
                at += tree[at..].len() - tree[at..].trim_start_matches(|c: char| c.is_whitespace() || c == ',').len();
                if tree[at..].starts_with('}') || at >= tree.len() {
                    return (paths, (at + 1).min(tree.len()));
                }
                let (inner, length) = paths_of_tree(&tree[at..]);
                paths.extend(inner.into_iter().map(|path| [names.clone(), path].concat()));
                let rest = &tree[at + length..];
                // Behind the path: `as name`, or `*`.
                at += length + rest.find([',', '}', '{']).unwrap_or(rest.len());
            }
        }
        match tree[at..].strip_prefix("::") {
            Some(_) if length > 0 => at += 2,
            _ => return (vec![names], at),
        }
    }
}
