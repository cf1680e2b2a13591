//! Provider `tcp`.
