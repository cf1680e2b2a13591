//! Reading `results.csv`, with errors that say which line is wrong and how to mend it.

use std::path::Path;

use crate::error::ResultsError;
use crate::files::{self, RESULTS_FILE};
use crate::row::{COLUMNS, Row, SCHEMA};

/// What a result file held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The rows, in file order.
    pub rows: Vec<Row>,
    /// Things that were put right while reading, one sentence each.
    pub notices: Vec<String>,
    /// Length in bytes of the part that holds whole rows; what follows it is a row that was cut in the middle.
    pub(super) whole_bytes: usize,
    /// Whether the last row lacks nothing but its line break.
    pub(super) lacks_line_break: bool,
}

/// Reads a result file: a `results.csv`, or the folder of a run that has one.
///
/// Lines that begin with `#` are passed over: a baseline begins with one.
///
/// A last row that was cut in the middle is left out with a notice, since a killed run leaves one.
///
/// # Errors
/// [`ResultsError::Io`] if the file cannot be read, [`ResultsError::NotARun`] for a folder without `results.csv`,
/// [`ResultsError::Malformed`] for another schema, other columns, or a value that its column may not hold.
pub fn read_rows(path: &Path) -> Result<Rows, ResultsError> {
    let file = if path.is_dir() {
        let file = path.join(RESULTS_FILE);
        if !file.exists() {
            return Err(ResultsError::NotARun { path: path.to_path_buf(), missing: RESULTS_FILE });
        }
        file
    } else {
        path.to_path_buf()
    };
    let bytes = files::read_file(&file)?;
    parse_rows(&bytes, &file)
}

/// Reads rows from memory; `path` is only named in errors.
///
/// # Errors
/// As [`read_rows`].
pub fn parse_rows(bytes: &[u8], path: &Path) -> Result<Rows, ResultsError> {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (body, tail) = bytes.split_at(whole);
    let text = utf8(body, path)?;
    let mut records = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let mut records = records.records();
    match records.next() {
        Some(header) => {
            if let Err(strange) = check_header(&record(header, path)?, path) {
                // Rows of another schema have other columns, too: that is what there is to say.
                return Err(records.next().and_then(Result::ok).and_then(|first| other_schema(&first, path)).unwrap_or(strange));
            }
        }
        None => return Err(no_header(path)),
    }
    let mut result = Rows { whole_bytes: whole, ..Rows::default() };
    for found in records {
        result.rows.push(parse_row(&record(found, path)?, path, None)?);
    }
    if !tail.is_empty() {
        let line = 1 + body.iter().filter(|byte| **byte == b'\n').count() as u64;
        match parse_tail(tail, path, line) {
            Some(row) => {
                result.rows.push(row);
                result.whole_bytes = bytes.len();
                result.lacks_line_break = true;
            }
            None => result.notices.push(format!(
                "{}, line {line}: the last row was cut in the middle and is left out; that trial counts as not run",
                path.display()
            )),
        }
    }
    Ok(result)
}

/// The row of a last line without a line break, if only that is lacking: an editor may leave one so. An odd count of
/// quotation marks means that the note was cut. Zeros are what a file system leaves where a machine lost its power.
fn parse_tail(tail: &[u8], path: &Path, line: u64) -> Option<Row> {
    let quotation_marks = tail.iter().filter(|byte| **byte == b'"').count();
    if quotation_marks % 2 == 1 || tail.contains(&0) {
        return None;
    }
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(tail);
    let record = reader.records().next()?.ok()?;
    parse_row(&record, path, Some(line)).ok()
}

fn utf8<'a>(bytes: &'a [u8], path: &Path) -> Result<&'a str, ResultsError> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        ResultsError::Malformed {
            path: path.to_path_buf(),
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count() as u64,
            what: "bytes that are not UTF-8 text".into(),
            expected: "a results.csv".into(),
            mend: "Check that this is the right file and that nothing but squall wrote to it.",
        }
    })
}

fn record(found: Result<csv::StringRecord, csv::Error>, path: &Path) -> Result<csv::StringRecord, ResultsError> {
    found.map_err(|error| ResultsError::Malformed {
        path: path.to_path_buf(),
        line: error.position().map_or(0, csv::Position::line),
        what: error.to_string(),
        expected: "comma-separated values".into(),
        mend: "Remove that line, or take the file from where it was measured again.",
    })
}

fn no_header(path: &Path) -> ResultsError {
    ResultsError::Malformed {
        path: path.to_path_buf(),
        line: 1,
        what: "no header line".into(),
        expected: format!("a line that begins with {}", COLUMNS[0].0),
        mend: "The file is empty or was cut before anything was measured: run the experiment again.",
    }
}

fn check_header(header: &csv::StringRecord, path: &Path) -> Result<(), ResultsError> {
    let malformed = |what: String, expected: String, mend: &'static str| ResultsError::Malformed {
        path: path.to_path_buf(),
        line: 1,
        what,
        expected,
        mend,
    };
    for (at, (name, _)) in COLUMNS.iter().enumerate() {
        match header.get(at).map(str::trim) {
            Some(found) if found == *name => {}
            Some(found) if header.iter().any(|field| field.trim() == *name) => {
                return Err(malformed(
                    format!("column {} is {found:?}", at + 1),
                    format!("{name} there: the columns of schema {SCHEMA} have one order"),
                    "Put the columns back into the order of results/README.md.",
                ));
            }
            _ => {
                return Err(malformed(
                    format!("there is no column {name}"),
                    format!("the {} columns of schema {SCHEMA}", COLUMNS.len()),
                    "Give a results.csv (not a summary.csv), written by a squall with this schema.",
                ));
            }
        }
    }
    match header.get(COLUMNS.len()) {
        None => Ok(()),
        Some(extra) => Err(malformed(
            format!("there is an extra column {extra:?}"),
            format!("the {} columns of schema {SCHEMA} and no others", COLUMNS.len()),
            "Remove the column, or read the file with the squall that wrote it.",
        )),
    }
}

const OTHER_SCHEMA_MEND: &str = "Read the file with the squall that wrote it, or measure again with this one.";

/// What is wrong with a file whose first row says that it is of another schema; nothing if it says no such thing.
fn other_schema(first: &csv::StringRecord, path: &Path) -> Option<ResultsError> {
    let schema = first.get(0)?.trim().parse::<u32>().ok().filter(|&schema| schema != SCHEMA)?;
    Some(ResultsError::Malformed {
        path: path.to_path_buf(),
        line: first.position().map_or(0, csv::Position::line),
        what: format!("schema is {schema}, with columns of its own"),
        expected: SCHEMA.to_string(),
        mend: OTHER_SCHEMA_MEND,
    })
}

fn parse_row(record: &csv::StringRecord, path: &Path, line: Option<u64>) -> Result<Row, ResultsError> {
    let line = line.unwrap_or_else(|| record.position().map_or(0, csv::Position::line));
    let malformed = |what: String, expected: String, mend: &'static str| ResultsError::Malformed {
        path: path.to_path_buf(),
        line,
        what,
        expected,
        mend,
    };
    let schema = record.get(0).unwrap_or_default();
    if schema.parse() != Ok(SCHEMA) {
        return Err(malformed(format!("schema is {schema:?}"), SCHEMA.to_string(), OTHER_SCHEMA_MEND));
    }
    if record.len() != COLUMNS.len() {
        return Err(malformed(
            format!("{} values", record.len()),
            COLUMNS.len().to_string(),
            "The line was cut or holds stray commas: remove it and continue with --resume.",
        ));
    }
    const MEND: &str = "Correct the value, or remove the line and continue with --resume.";
    for ((name, kind), field) in COLUMNS.iter().zip(record) {
        if !kind.accepts(field) {
            return Err(malformed(format!("{name} is {:?}", shortened(field)), kind.expected().to_owned(), MEND));
        }
    }
    record.deserialize(None).map_err(|error| {
        let field = match error.kind() {
            csv::ErrorKind::Deserialize { err, .. } => err.field(),
            _ => None,
        };
        let name = field.and_then(|at| COLUMNS.get(at as usize)).map_or("a value", |column| column.0);
        malformed(format!("{name} is out of range"), "a number that fits".into(), MEND)
    })
}

fn shortened(field: &str) -> String {
    const SHOWN_MAX: usize = 40;
    if field.chars().count() <= SHOWN_MAX { field.to_owned() } else { field.chars().take(SHOWN_MAX).chain("...".chars()).collect() }
}
