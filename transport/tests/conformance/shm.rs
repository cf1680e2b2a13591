//! Provider `shm` between threads.

use squall_transport::shm::ShmFabric;

conformance!(ShmFabric::new());
