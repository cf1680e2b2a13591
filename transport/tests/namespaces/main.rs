//! Networks that fail or lack something, in network namespaces of their own: cables that are pulled, hosts without
//! loopback.
//!
//! Each test starts this program again in a namespace that `unshare` makes, as root or in a user namespace, so nothing
//! is left behind however it ends. Skipped, with the reason printed, where the machine allows neither or has no `ip`;
//! in CI that fails.

mod addresses;
mod cable;
mod stage;
