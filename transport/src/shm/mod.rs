//! Provider `shm`.
