//! Errors: whoever prints an error with its causes reads each of them once.

use squall_layers::Workspace;

/// Where the bracket that `text` begins with is closed, strings aside.
fn closed(text: &str) -> usize {
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if in_string => escaped = true,
            '"' => in_string = !in_string,
            '(' | '{' | '[' if !in_string => depth += 1,
            ')' | '}' | ']' if !in_string => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    panic!("a bracket that is not closed: {text:.80}");
}

/// What an error says, and its fields, of each `#[error(..)]` of a file. What has no fields is left out.
fn errors(text: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for (start, _) in text.match_indices("#[error(") {
        let says = &text[start + "#[error".len()..];
        let end = closed(says);
        // Other attributes and its name follow.
        let mut rest = says[end + 2..].trim_start();
        while rest.starts_with("#[") {
            rest = rest[closed(&rest[1..]) + 2..].trim_start();
        }
        let fields = rest.find(['{', '(', ',', ';', '}']).filter(|&at| matches!(&rest[at..=at], "{" | "("));
        if let Some(at) = fields {
            found.push((&says[..end], &rest[at..at + closed(&rest[at..])]));
        }
    }
    found
}

/// Whether an error has a cause of its own and tells it in its own text too: whoever prints both reads it twice.
fn says_twice(says: &str, fields: &str) -> bool {
    let has_source = fields.contains("#[from]") || fields.contains("#[source]") || fields.contains("source:");
    let words = ["{0}", "{0:", "{source", " source,", " source)", ".source", "{error}", "{reason}"];
    has_source && !says.starts_with("(transparent") && words.iter().any(|word| says.contains(word))
}

#[test]
fn no_error_tells_the_cause_that_it_also_has() {
    let mut seen = 0;
    for name in Workspace::here().crates() {
        for (file, text) in Workspace::here().sources(&format!("{name}/src")) {
            let code = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
            for (says, fields) in errors(code) {
                seen += 1;
                assert!(!says_twice(says, fields), "{name}/src/{}: {says}\nis said again by its source", file.display());
            }
        }
    }
    assert!(seen > 100, "{seen} errors with fields were read");
}

#[test]
fn an_error_that_does_is_found() {
    let text = r#"
        #[error("cannot open {path}: {source}")]
        File { path: String, source: io::Error },
        #[error("it said {0} (and \"more)\")")]
        #[non_exhaustive]
        Said(#[from] Other),
        #[error(transparent)]
        Through(#[from] Other),
        #[error("no {0}")]
        Plain(u32),
        #[error("nothing")]
        Unit,
    "#;
    let found: Vec<bool> = errors(text).into_iter().map(|(says, fields)| says_twice(says, fields)).collect();
    assert_eq!(found, [true, true, false, false]);
}
