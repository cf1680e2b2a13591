//! SMC over real memory.

mod garbage;
mod small_rings;
mod stream;
mod world;
