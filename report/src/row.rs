//! One trial of one point: a line of `results.csv`.

use serde::{Deserialize, Serialize};

/// Version of the column list below. A reader refuses every other version, because a column that moved or changed its
/// unit would otherwise be compared as if it had not.
pub const SCHEMA: u32 = 1;

/// What a column holds, so that a reader can say what it expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// Any text, possibly empty.
    Text,
    /// Text that must not be empty.
    Name,
    /// A whole number of 0 or more.
    Integer,
    /// A whole number of 0 or more, or empty.
    OptionalInteger,
    /// A finite number of 0 or more, or empty.
    OptionalNumber,
}

impl ColumnKind {
    /// What a value of this kind looks like, for an error message.
    pub fn expected(self) -> &'static str {
        match self {
            ColumnKind::Text => "text",
            ColumnKind::Name => "a name, not empty",
            ColumnKind::Integer => "a whole number of 0 or more",
            ColumnKind::OptionalInteger => "a whole number of 0 or more, or nothing",
            ColumnKind::OptionalNumber => "a finite number of 0 or more, or nothing",
        }
    }

    /// Whether `field` is a value of this kind.
    pub fn accepts(self, field: &str) -> bool {
        match self {
            ColumnKind::Text => true,
            ColumnKind::Name => !field.trim().is_empty(),
            ColumnKind::Integer => field.parse::<u64>().is_ok(),
            ColumnKind::OptionalInteger => field.is_empty() || field.parse::<u64>().is_ok(),
            ColumnKind::OptionalNumber => {
                field.is_empty() || field.parse::<f64>().is_ok_and(|value| value.is_finite() && value.is_sign_positive())
            }
        }
    }
}

use ColumnKind::{Integer, Name, OptionalInteger, OptionalNumber, Text};

/// The columns of `results.csv`, in order. `results/README.md` explains each one.
pub const COLUMNS: [(&str, ColumnKind); 35] = [
    ("schema", Integer),
    ("run_id", Text),
    ("experiment", Name),
    ("fabric", Name),
    ("ordering", Text),
    ("nodes", Integer),
    ("senders", Integer),
    ("sender_pattern", Text),
    ("message_bytes", Integer),
    ("messages_per_sender", OptionalInteger),
    ("window", OptionalInteger),
    ("block_bytes", OptionalInteger),
    ("schedule", Text),
    ("trial", Integer),
    ("seconds", OptionalNumber),
    ("algbw_gigabytes_per_second", OptionalNumber),
    ("busbw_gigabytes_per_second", OptionalNumber),
    ("bound_gigabytes_per_second", OptionalNumber),
    ("bound_kind", Text),
    ("bound_fraction", OptionalNumber),
    ("messages_per_second", OptionalNumber),
    ("latency_us_min", OptionalNumber),
    ("latency_us_p50", OptionalNumber),
    ("latency_us_p90", OptionalNumber),
    ("latency_us_p99", OptionalNumber),
    ("latency_us_p999", OptionalNumber),
    ("latency_us_max", OptionalNumber),
    ("cpu_seconds", OptionalNumber),
    ("nulls", OptionalInteger),
    ("send_batch_mean", OptionalNumber),
    ("receive_batch_mean", OptionalNumber),
    ("delivery_batch_mean", OptionalNumber),
    ("verified", Text),
    ("emulated", Text),
    ("note", Text),
];

/// One trial. Field names are the column names; the order is the order of the file.
///
/// Start from [`Row::default`], which fills in the schema and leaves every measured value empty:
/// `Row { experiment: "write".into(), nodes: 2, ..Row::default() }`.
///
/// A point that was skipped or failed is a row too: `trial` 0, no measured values, the reason in `note`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The run this row belongs to.
    pub run_id: String,
    /// Experiment id, as in `squall run EXPERIMENT`.
    pub experiment: String,
    /// `shm`, `tcp`, `verbs`, `sim`, or the name of a peer system.
    pub fabric: String,
    /// `unordered` or `ordered`; empty where order does not apply.
    pub ordering: String,
    /// Nodes in the group.
    pub nodes: u32,
    /// Nodes that send.
    pub senders: u32,
    /// `all`, `half` or `one`.
    pub sender_pattern: String,
    /// Payload bytes of one message.
    pub message_bytes: u64,
    /// Messages that each sender sent in the timed part.
    pub messages_per_sender: Option<u64>,
    /// Messages that a sender may have outstanding.
    pub window: Option<u64>,
    /// Bytes of a relay block.
    pub block_bytes: Option<u64>,
    /// Relay schedule, or the variant of an experiment that relays nothing.
    pub schedule: String,
    /// 1, 2, ... ; 0 marks a point that was skipped or failed.
    pub trial: u32,
    /// First send to the last delivery at the last node, seconds.
    pub seconds: Option<f64>,
    /// Payload bytes sent by all senders per second, in 10^9 bytes.
    pub algbw_gigabytes_per_second: Option<f64>,
    /// The same over the bound factor.
    pub busbw_gigabytes_per_second: Option<f64>,
    /// What `busbw` could be at most on this machine, as measured in this run.
    pub bound_gigabytes_per_second: Option<f64>,
    /// What the bound was measured with.
    pub bound_kind: String,
    /// `busbw / bound`; above 1 is a bug in the bound.
    pub bound_fraction: Option<f64>,
    /// Messages of all senders per second.
    pub messages_per_second: Option<f64>,
    /// Least latency, microseconds.
    pub latency_us_min: Option<f64>,
    /// Median latency, microseconds.
    pub latency_us_p50: Option<f64>,
    /// 90th percentile, microseconds.
    pub latency_us_p90: Option<f64>,
    /// 99th percentile, microseconds.
    pub latency_us_p99: Option<f64>,
    /// 99.9th percentile, microseconds.
    pub latency_us_p999: Option<f64>,
    /// Greatest latency, microseconds.
    pub latency_us_max: Option<f64>,
    /// User and system time of all nodes over the timed part, seconds.
    pub cpu_seconds: Option<f64>,
    /// Null messages sent by all nodes.
    pub nulls: Option<u64>,
    /// Messages shipped per turn of the loop that shipped any.
    pub send_batch_mean: Option<f64>,
    /// Messages taken per turn that took any.
    pub receive_batch_mean: Option<f64>,
    /// Messages delivered per turn that delivered any.
    pub delivery_batch_mean: Option<f64>,
    /// `none`, `sampled` or `full`.
    pub verified: String,
    /// `no`, or what stands in for the hardware or held it back, joined with `+`.
    pub emulated: String,
    /// Anything else worth knowing; the reason of a row with `trial` 0.
    pub note: String,
}

impl Default for Row {
    fn default() -> Self {
        Row {
            schema: SCHEMA,
            run_id: String::new(),
            experiment: String::new(),
            fabric: String::new(),
            ordering: String::new(),
            nodes: 0,
            senders: 0,
            sender_pattern: String::new(),
            message_bytes: 0,
            messages_per_sender: None,
            window: None,
            block_bytes: None,
            schedule: String::new(),
            trial: 0,
            seconds: None,
            algbw_gigabytes_per_second: None,
            busbw_gigabytes_per_second: None,
            bound_gigabytes_per_second: None,
            bound_kind: String::new(),
            bound_fraction: None,
            messages_per_second: None,
            latency_us_min: None,
            latency_us_p50: None,
            latency_us_p90: None,
            latency_us_p99: None,
            latency_us_p999: None,
            latency_us_max: None,
            cpu_seconds: None,
            nulls: None,
            send_batch_mean: None,
            receive_batch_mean: None,
            delivery_batch_mean: None,
            verified: String::new(),
            emulated: "no".to_owned(),
            note: String::new(),
        }
    }
}

impl Row {
    /// The point that this trial is a trial of.
    pub fn point(&self) -> Point {
        Point {
            experiment: self.experiment.clone(),
            fabric: self.fabric.clone(),
            ordering: self.ordering.clone(),
            nodes: self.nodes,
            sender_pattern: self.sender_pattern.clone(),
            message_bytes: self.message_bytes,
            window: self.window,
            block_bytes: self.block_bytes,
            schedule: self.schedule.clone(),
        }
    }

    /// Whether this row holds a measurement, as against the reason why there is none.
    pub fn is_measured(&self) -> bool {
        self.trial > 0
    }

    /// Whether it came out above its bound by more than rounding: then the bound is wrong, not the machine fast.
    pub fn passes_bound(&self) -> bool {
        const ROUNDING: f64 = 1e-6;
        self.bound_fraction.is_some_and(|fraction| fraction > 1.0 + ROUNDING)
    }

    /// What stands in for the hardware, if anything does.
    pub fn emulation(&self) -> Option<&str> {
        match self.emulated.trim() {
            "" | "no" | "false" => None,
            label => Some(label),
        }
    }

    /// The row with every text on one line, so that a file that was cut in the middle of a row can be mended by
    /// dropping what follows the last line break.
    pub(super) fn on_one_line(&self) -> Row {
        let mut row = self.clone();
        for text in [
            &mut row.run_id,
            &mut row.experiment,
            &mut row.fabric,
            &mut row.ordering,
            &mut row.sender_pattern,
            &mut row.schedule,
            &mut row.bound_kind,
            &mut row.verified,
            &mut row.emulated,
            &mut row.note,
        ] {
            if text.contains(char::is_control) {
                *text = text.replace(char::is_control, " ");
            }
        }
        row
    }

    /// The first value that a file may not hold (a number that is not finite or is negative), if there is one.
    pub(super) fn unwritable_value(&self) -> Option<(&'static str, f64)> {
        [
            ("seconds", self.seconds),
            ("algbw_gigabytes_per_second", self.algbw_gigabytes_per_second),
            ("busbw_gigabytes_per_second", self.busbw_gigabytes_per_second),
            ("bound_gigabytes_per_second", self.bound_gigabytes_per_second),
            ("bound_fraction", self.bound_fraction),
            ("messages_per_second", self.messages_per_second),
            ("latency_us_min", self.latency_us_min),
            ("latency_us_p50", self.latency_us_p50),
            ("latency_us_p90", self.latency_us_p90),
            ("latency_us_p99", self.latency_us_p99),
            ("latency_us_p999", self.latency_us_p999),
            ("latency_us_max", self.latency_us_max),
            ("cpu_seconds", self.cpu_seconds),
            ("send_batch_mean", self.send_batch_mean),
            ("receive_batch_mean", self.receive_batch_mean),
            ("delivery_batch_mean", self.delivery_batch_mean),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .find(|(_, value)| !value.is_finite() || value.is_sign_negative())
    }
}

/// What is held fixed across the trials that are summarised and compared with each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Point {
    /// Experiment id.
    pub experiment: String,
    /// Fabric or peer.
    pub fabric: String,
    /// `unordered`, `ordered` or empty.
    pub ordering: String,
    /// Nodes in the group.
    pub nodes: u32,
    /// `all`, `half` or `one`.
    pub sender_pattern: String,
    /// Payload bytes of one message.
    pub message_bytes: u64,
    /// Messages that a sender may have outstanding.
    pub window: Option<u64>,
    /// Bytes of a relay block.
    pub block_bytes: Option<u64>,
    /// Relay schedule or variant.
    pub schedule: String,
}

/// What the column `emulated` says of what a model computed.
pub const SIMULATED: &str = "simulated";

/// What the column `schedule` of a point begins with that is yet to run and whose group chooses how to relay.
pub const CHOSEN: &str = "chosen";

impl Point {
    /// The columns that make a point, in their order in a file.
    pub const COLUMNS: [&str; 9] =
        ["experiment", "fabric", "ordering", "nodes", "sender_pattern", "message_bytes", "window", "block_bytes", "schedule"];

    /// What stands in [these columns](Self::COLUMNS).
    pub fn cells(&self) -> [String; 9] {
        let optional = |value: Option<u64>| value.map(|value| value.to_string()).unwrap_or_default();
        [
            self.experiment.clone(),
            self.fabric.clone(),
            self.ordering.clone(),
            self.nodes.to_string(),
            self.sender_pattern.clone(),
            self.message_bytes.to_string(),
            optional(self.window),
            optional(self.block_bytes),
            self.schedule.clone(),
        ]
    }

    /// Whether `ran` is what became of this point, which may leave to the group how it relays: in which blocks (it
    /// names none), by which schedule ([`CHOSEN`]).
    pub fn covers(&self, ran: &Point) -> bool {
        let block_bytes = self.block_bytes.or(ran.block_bytes);
        let schedule = match self.schedule.strip_prefix(CHOSEN) {
            Some(rest) if ran.schedule.ends_with(rest) => ran.schedule.clone(),
            _ => self.schedule.clone(),
        };
        Point { block_bytes, schedule, ..self.clone() } == *ran
    }
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.experiment, self.fabric)?;
        if !self.ordering.is_empty() {
            write!(f, " {}", self.ordering)?;
        }
        write!(f, " n={}", self.nodes)?;
        if !self.sender_pattern.is_empty() {
            write!(f, " {}", self.sender_pattern)?;
        }
        write!(f, " {}", crate::units::bytes(self.message_bytes))?;
        if let Some(window) = self.window {
            write!(f, " window {window}")?;
        }
        if let Some(block) = self.block_bytes {
            write!(f, " block {}", crate::units::bytes(block))?;
        }
        if !self.schedule.is_empty() {
            write!(f, " {}", self.schedule)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_the_fields_in_their_order() {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.serialize(Row::default()).unwrap();
        let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        let names: Vec<&str> = COLUMNS.iter().map(|column| column.0).collect();
        assert_eq!(text.lines().next().unwrap(), names.join(","));
    }

    #[test]
    fn the_columns_of_a_point_are_those_of_its_row() {
        let (window, block_bytes) = (Some(7), None);
        let row = Row { experiment: "latency".into(), nodes: 3, window, block_bytes, schedule: "chain".into(), ..Row::default() };
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.serialize(&row).unwrap();
        let text = writer.into_inner().unwrap();
        let mut reader = csv::Reader::from_reader(&text[..]);
        let names = reader.headers().unwrap().clone();
        let record = reader.records().next().unwrap().unwrap();
        let cell = |name: &str| names.iter().position(|other| other == name).map(|at| record[at].to_owned());
        assert_eq!(Point::COLUMNS.map(|name| cell(name).expect("a column of rows")), row.point().cells());
    }

    #[test]
    fn a_point_that_was_asked_for_covers_what_was_chosen_for_it() {
        let asked = Row { experiment: "latency".into(), schedule: "chosen-closed-last".into(), ..Row::default() }.point();
        let ran = |schedule: &str, block_bytes| Point { schedule: schedule.into(), block_bytes, ..asked.clone() };
        assert!(asked.covers(&ran("two-trees-closed-last", Some(65536))) && asked.covers(&asked));
        assert!(!asked.covers(&ran("two-trees-light-last", Some(65536))));
        let given = ran("chain-closed-last", Some(4096));
        assert!(given.covers(&given) && !given.covers(&ran("chain-closed-last", Some(8192))) && !given.covers(&asked));
    }

    #[test]
    fn text_is_put_on_one_line() {
        let row = Row { note: "a\nb\r\u{0}c".into(), ..Row::default() };
        assert_eq!(row.on_one_line().note, "a b  c");
    }

    #[test]
    fn values_that_no_file_may_hold_are_named() {
        let row = Row { latency_us_p50: Some(f64::NAN), ..Row::default() };
        assert_eq!(row.unwritable_value().unwrap().0, "latency_us_p50");
        assert!(Row::default().unwritable_value().is_none());
    }

    #[test]
    fn emulation_is_nothing_or_a_label() {
        for (text, expected) in [("no", None), ("", None), ("soft-RoCE", Some("soft-RoCE"))] {
            let row = Row { emulated: text.into(), ..Row::default() };
            assert_eq!(row.emulation(), expected);
        }
    }
}
