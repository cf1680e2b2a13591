//! Provider `sim`.
