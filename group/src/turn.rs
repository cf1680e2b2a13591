//! What a turn of the loop came to.

/// What a turn of the loop came to. Only failures are errors: a loop of `turn(..)?` passes none over.
///
/// ```text
/// while member.turn(&mut application, &mut pace)? != Turn::Left {}
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    /// Something happened: turn on.
    Busy,
    /// Nothing happened.
    Idle,
    /// This member has left, as it wanted to: there are no more turns. Told once; a turn after that is answered by
    /// [`Ended::Closed`](crate::Ended::Closed), so that no loop goes on for ever.
    Left,
}

impl Turn {
    /// Whether anything happened. Where not, a caller that owns its loop may sleep.
    #[inline]
    pub fn is_busy(self) -> bool {
        self != Turn::Idle
    }
}

impl From<bool> for Turn {
    /// Of whether anything happened.
    #[inline]
    fn from(progress: bool) -> Turn {
        if progress { Turn::Busy } else { Turn::Idle }
    }
}
