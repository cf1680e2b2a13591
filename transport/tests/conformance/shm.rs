//! Provider `shm` between threads.

use squall_transport::shm::ShmFabric;

conformance!(ShmFabric::new());
conformance!(@holes ShmFabric::new(), true);
