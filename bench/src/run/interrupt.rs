//! Ctrl-C and SIGTERM as a question that can be asked.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};

/// Status of a program that Ctrl-C or SIGTERM ended.
pub const EXIT_INTERRUPTED: u8 = 130;

/// Whether the user wants the run to end.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches Ctrl-C and SIGTERM from now on. The second one ends this process at once, with `status`; the kernel then
    /// ends its children.
    ///
    /// # Errors
    /// If the handlers cannot be set.
    pub fn catch(status: u8) -> io::Result<Interrupt> {
        let interrupt = Interrupt::default();
        for signal in [SIGINT, SIGTERM] {
            // In this order, so that the first signal only sets the flag.
            signal_hook::flag::register_conditional_shutdown(signal, status.into(), Arc::clone(&interrupt.0))?;
            signal_hook::flag::register(signal, Arc::clone(&interrupt.0))?;
        }
        Ok(interrupt)
    }

    /// As a signal does: whoever started this process wants it to end.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether a signal came.
    pub fn is_set(&self) -> bool {
        // Only a flag: nothing is published by it.
        self.0.load(Ordering::Relaxed)
    }
}
