//! What a member keeps from one view to the next.

use std::collections::VecDeque;

use squall_membership::Leaving;
use squall_transport::region::{Pool, RegionError};
use squall_transport::{Fabric, Region};

use crate::config::Config;
use crate::held::Held;
use crate::outgoing::Cut;
use crate::reads::Numbers;

/// What outlives an epoch, or is there before the first one.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) pool: Option<(Pool, Region)>,
    pub(crate) again: VecDeque<Cut>,
    pub(crate) held: Option<Box<Held>>,
    /// Somebody asks a witness for this member.
    pub(crate) hears_witness: bool,
    /// It wants to leave, and has waited so long for that, in nanoseconds.
    pub(crate) leaving: (Leaving, u64),
    /// Reads that were asked for.
    pub(crate) reads: Numbers,
}

impl Kept {
    /// The buffers of a member to be: whoever makes them beforehand keeps nobody waiting when the view opens.
    pub(crate) fn in_advance(config: &Config, fabric: &impl Fabric) -> Result<Kept, RegionError> {
        Ok(Kept { pool: Some(new_pool(config, fabric)?), ..Kept::default() })
    }
}

pub(crate) fn new_pool(config: &Config, fabric: &impl Fabric) -> Result<(Pool, Region), RegionError> {
    let classes = config.pool_classes();
    let region = fabric.region(Pool::bytes_for(&classes).max(1) as usize, &config.region)?;
    Ok((Pool::new(region.clone(), &classes), region))
}
