//! The application's state, and what is delivered since, on its way to those who have none.
//!
//! It goes in pieces over the mesh, beside the messages of the view, and goes on from view to view: a snapshot, then
//! every delivery since and every view. Whoever takes it says how far it is, and no more than a window is on its way,
//! so that neither its memory nor a meeting's frames suffer. A newcomer is proposed once what it lacks is little.
//!
//! So much a second is given, to all together, and newcomers in turn: one begins when those before it leave some of
//! that, because they restore more slowly. Until then it hears a word now and then, and nothing is kept for it.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read};

use squall_membership::Newcomer;
use squall_transport::NodeId;
use squall_transport::mesh::{MeshSendError, Net};

use super::allowance::Allowance;
use super::feed::Log;
use super::message::{Control, Course, Outline};
use crate::upcalls::Upcalls;
use crate::view::View;

/// Bytes of state in one message: few enough that restoring them is no long pause for a member.
pub(crate) const PIECE_BYTES: usize = 32 << 10;
/// Pieces that are read or handed to the mesh in one turn of the loop, whoever they are for, beside what was delivered
/// since the last, twice for each.
const PIECES_A_TURN_MAX: usize = 8;
/// Bytes on their way to one process: a share of what the mesh keeps for a peer.
pub(crate) const WINDOW_BYTES: u64 = 1 << 20;
/// Bytes of a snapshot that are read before there is room for them: a state that is no longer is known as such at once.
const AHEAD_BYTES: usize = 1 << 20;
/// Who lacks no more than this, or than one message, is proposed.
const NEAR_BYTES: u64 = 1 << 20;
/// Processes that are given state at a time; the next one is told to ask another member.
const GIVINGS_MAX: usize = 64;
/// Snapshots that one process is given because the group delivers faster than it restores.
const ROUNDS_MAX: u32 = 4;
/// How long a member sleeps at most while it waits for room for the state that it gives.
const ROOM_NS: u64 = 500_000;

const _: () = assert!(PIECE_BYTES as u64 <= WINDOW_BYTES && NEAR_BYTES >= WINDOW_BYTES && WINDOW_BYTES <= 4 << 20);

/// Where a snapshot is taken.
#[derive(Clone, Debug)]
pub(crate) struct Position {
    pub(crate) outline: Outline,
    /// Messages of each sender that were delivered in that view.
    pub(crate) taken: Vec<u64>,
}

/// A process that is given state.
struct Giving {
    to: NodeId,
    /// It wants to become a member, and is not proposed yet.
    newcomer: Option<Newcomer>,
    course: Course,
    at: Position,
    source: Box<dyn Read + Send>,
    /// Read and not said.
    ahead: VecDeque<Vec<u8>>,
    ahead_bytes: usize,
    /// Bytes of the snapshot so far; all of it once `ended`.
    state_bytes: u64,
    ended: bool,
    /// What was said of it: the beginning, so many bytes, the end.
    begun: bool,
    said_bytes: u64,
    closed: bool,
    /// In the log: where the snapshot was taken, and what was said.
    first: u64,
    cursor: u64,
    took_bytes: u64,
    lap: Option<Lap>,
    /// The mesh had no room for it when it was last tried.
    full: bool,
    /// When it last said anything, and when it was last told anything.
    heard_ns: u64,
    told_ns: u64,
}

impl fmt::Debug for Giving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Giving").field("to", &self.to).field("course", &self.course).field("took", &self.took_bytes).finish_non_exhaustive()
    }
}

/// What lay before a process when it began to take it: up to where in the log, and how much.
#[derive(Clone, Copy)]
struct Lap {
    end: u64,
    bytes: u64,
}

/// What came of an attempt to say a piece.
enum Said {
    Piece,
    /// There is nothing to say, or no room for it.
    Nothing,
    Full,
    Lost,
}

impl Giving {
    fn new(to: NodeId, newcomer: Option<Newcomer>, transfer: u64, now_ns: u64) -> Giving {
        Giving {
            to,
            newcomer,
            course: Course { transfer, round: 0 },
            at: Position { outline: Outline::of(&View::nobodys()), taken: Vec::new() },
            source: Box::new(io::empty()),
            ahead: VecDeque::new(),
            ahead_bytes: 0,
            state_bytes: 0,
            ended: false,
            begun: false,
            said_bytes: 0,
            closed: false,
            first: 0,
            cursor: 0,
            took_bytes: 0,
            lap: None,
            full: false,
            heard_ns: now_ns,
            told_ns: now_ns,
        }
    }

    /// Begins, with a new snapshot.
    fn begin(&mut self, at: Position, log_end: u64, upcalls: &mut impl Upcalls) {
        let Giving { to, newcomer, course, heard_ns, told_ns, .. } = self;
        let fresh = Giving::new(*to, *newcomer, course.transfer, *heard_ns);
        let course = Course { round: course.round + 1, ..*course };
        *self = Giving { course, at, source: upcalls.snapshot(), first: log_end, cursor: log_end, told_ns: *told_ns, ..fresh };
    }

    /// Reads one piece, if there is more and room for it.
    fn read(&mut self) -> io::Result<bool> {
        if self.ended || self.ahead_bytes >= AHEAD_BYTES || !self.has_begun() {
            return Ok(false);
        }
        let mut piece = Vec::new();
        self.source.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
        if piece.len() < PIECE_BYTES {
            (self.ended, self.source) = (true, Box::new(io::empty()));
        }
        self.state_bytes += piece.len() as u64;
        self.ahead_bytes += piece.len();
        if !piece.is_empty() {
            self.ahead.push_back(piece);
        }
        Ok(true)
    }

    /// Whether its turn has come.
    fn has_begun(&self) -> bool {
        self.course.round > 0
    }

    /// Bytes that were said.
    fn given_bytes(&self) -> u64 {
        self.said_bytes + (self.cursor - self.first)
    }

    /// Bytes on their way.
    fn untaken_bytes(&self) -> u64 {
        self.given_bytes() - self.took_bytes
    }

    /// Bytes that it lacks of what is known by now.
    fn lacks_bytes(&self, log: &Log) -> u64 {
        self.state_bytes + (log.end() - self.first) - self.took_bytes
    }

    /// Whether it lacks so much that a new snapshot is quicker.
    fn is_stale(&self, log: &Log) -> bool {
        self.ended && self.lacks_bytes(log) > NEAR_BYTES.max(self.state_bytes)
    }

    /// Whether one more piece may be on its way.
    fn has_room(&self) -> bool {
        self.untaken_bytes() + PIECE_BYTES as u64 <= WINDOW_BYTES
    }

    /// Whether what it lacks is little, or will not become less by waiting: once it has the snapshot, each lap is what
    /// came during the one before.
    fn is_near(&mut self, log: &Log, message_bytes_max: u64) -> bool {
        let lacks = self.lacks_bytes(log);
        if !self.ended || lacks <= NEAR_BYTES.max(2 * message_bytes_max) {
            return self.ended;
        }
        let Some(fed_bytes) = self.took_bytes.checked_sub(self.state_bytes) else { return false };
        let lap = Lap { end: log.end(), bytes: lacks };
        match self.lap {
            Some(last) if self.first + fed_bytes < last.end => false,
            Some(last) if 2 * lacks > last.bytes => true,
            None if lacks > self.state_bytes => true,
            _ => {
                self.lap = Some(lap);
                false
            }
        }
    }

    /// Says the next piece.
    fn say(&mut self, log: &Log, net: &impl Net, now_ns: u64, idle_ns: u64) -> Said {
        let (course, to) = (self.course, self.to);
        if !self.has_room() {
            return Said::Nothing;
        }
        let waits = !self.has_begun();
        let said = if waits {
            if now_ns < self.told_ns + idle_ns {
                return Said::Nothing;
            }
            // Of no beginning, so that it knows that it has a giver.
            Control::Feed { course, offset: 0 }.say(net, to)
        } else if !self.begun {
            Control::Begin { course, outline: self.at.outline.clone(), taken: self.at.taken.clone() }.say(net, to)
        } else if let Some(piece) = self.ahead.front() {
            Control::State { course, offset: self.said_bytes }.say_with(net, to, piece)
        } else if !self.ended {
            return Said::Nothing;
        } else if !self.closed {
            Control::End { course, bytes: self.state_bytes }.say(net, to)
        } else if self.cursor < log.end() || now_ns >= self.told_ns + idle_ns {
            // Nothing at all, now and then, so that it knows that it has a giver.
            let piece = log.copy(self.cursor, PIECE_BYTES);
            Control::Feed { course, offset: self.cursor - self.first }.say_with(net, to, &piece)
        } else {
            return Said::Nothing;
        };
        match said {
            Ok(()) if waits => {}
            Ok(()) => self.note_said(log),
            Err(MeshSendError::Full { .. }) => return Said::Full,
            Err(_) => return Said::Lost,
        }
        self.told_ns = now_ns;
        Said::Piece
    }

    fn note_said(&mut self, log: &Log) {
        if !self.begun {
            self.begun = true;
        } else if let Some(piece) = self.ahead.pop_front() {
            self.ahead_bytes -= piece.len();
            self.said_bytes += piece.len() as u64;
        } else if !self.closed {
            self.closed = true;
        } else {
            self.cursor = (self.cursor + PIECE_BYTES as u64).min(log.end());
        }
    }
}

/// What a turn of giving leads to.
#[derive(Debug, Default)]
pub(crate) struct Given {
    /// Newcomers that lack so little that they can be proposed.
    pub(crate) near: Vec<(Newcomer, u64)>,
    pub(crate) progress: bool,
}

/// All that this member gives.
#[derive(Debug, Default)]
pub(crate) struct Givings {
    list: Vec<Giving>,
    log: Log,
    /// The log's end at the last turn.
    seen: u64,
    allowance: Allowance,
    /// When it shows how much those who have begun take; none: one has just begun.
    shows_ns: Option<u64>,
}

impl Givings {
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// What is delivered is to be noted here.
    pub(crate) fn log(&mut self) -> Option<&mut Log> {
        if self.list.is_empty() { None } else { Some(&mut self.log) }
    }

    /// Begins to give, or has a newcomer wait for its turn. What this process was given before is given no more.
    ///
    /// # Errors
    /// Too many are given state already.
    pub(crate) fn add(
        &mut self,
        to: NodeId,
        newcomer: Option<Newcomer>,
        transfer: u64,
        at: Position,
        now_ns: u64,
        upcalls: &mut impl Upcalls,
    ) -> Result<(), String> {
        self.drop_of(to);
        if self.list.len() == GIVINGS_MAX {
            return Err(format!("{GIVINGS_MAX} processes are given state by this member already; ask another member, or later"));
        }
        let mut giving = Giving::new(to, newcomer, transfer, now_ns);
        if newcomer.is_none() || (self.list.iter().all(Giving::has_begun) && self.may_begin(now_ns)) {
            giving.begin(at, self.log.end(), upcalls);
            self.shows_ns = None;
        }
        self.list.push(giving);
        Ok(())
    }

    /// Whether those who are given state leave room for one more.
    fn may_begin(&self, now_ns: u64) -> bool {
        let mut begun = self.list.iter().filter(|giving| giving.has_begun());
        let shows = self.shows_ns.is_some_and(|shows_ns| now_ns >= shows_ns);
        self.list.is_empty() || (self.allowance.is_ample() && (shows || begun.all(|giving| giving.closed)))
    }

    /// It is gone, or has it all.
    pub(crate) fn drop_of(&mut self, node: NodeId) {
        self.list.retain(|giving| giving.to != node);
    }

    /// It wants no more of this transfer.
    pub(crate) fn done(&mut self, node: NodeId, transfer: u64) {
        self.list.retain(|giving| (giving.to, giving.course.transfer) != (node, transfer));
    }

    /// How far it is.
    pub(crate) fn took(&mut self, node: NodeId, course: Course, bytes: u64, now_ns: u64) {
        if let Some(giving) = self.list.iter_mut().find(|giving| giving.to == node && giving.course == course) {
            giving.took_bytes = giving.took_bytes.max(bytes.min(giving.given_bytes()));
            giving.heard_ns = now_ns;
        }
    }

    /// Who is given state.
    pub(crate) fn takers(&self) -> impl Iterator<Item = NodeId> {
        self.list.iter().map(|giving| giving.to)
    }

    /// A view begins, with the application's state at `at`. Those of its members that lack much are given a new
    /// snapshot, and need no more than that.
    pub(crate) fn begin_view(&mut self, at: &Position, upcalls: &mut impl Upcalls) {
        if self.list.is_empty() {
            return;
        }
        self.log.begin_view(&at.outline);
        let Givings { list, log, .. } = self;
        for giving in list.iter_mut().filter(|giving| giving.has_begun() && at.outline.nodes.contains(&giving.to) && giving.is_stale(log)) {
            giving.begin(at.clone(), log.end(), upcalls);
        }
    }

    /// Hands over what there is room for, a little at a time. `at` is where the application's state is.
    pub(crate) fn turn(
        &mut self,
        net: &impl Net,
        limits: &Limits,
        now_ns: u64,
        at: impl Fn() -> Position,
        upcalls: &mut impl Upcalls,
    ) -> Given {
        let mut given = Given::default();
        let begun = self.list.iter().filter(|giving| giving.has_begun()).count() as u64;
        let delivered = self.log.end() - std::mem::replace(&mut self.seen, self.log.end());
        let owed = 2 * delivered * begun;
        self.allowance.pass(now_ns, limits.bytes_per_second, owed);
        self.begin_again(net, limits, &at, upcalls);
        self.shows_ns.get_or_insert(now_ns + limits.idle_ns);
        if self.may_begin(now_ns)
            && let Some(next) = self.list.iter_mut().find(|giving| !giving.has_begun())
        {
            next.begin(at(), self.log.end(), upcalls);
            self.shows_ns = Some(now_ns + limits.idle_ns);
        }
        let most = PIECES_A_TURN_MAX + (owed as usize / PIECE_BYTES).min(4 * (WINDOW_BYTES as usize / PIECE_BYTES));
        // Those that lack little come first, then those that came first.
        self.list.sort_by_key(|giving| !giving.closed);
        let mut turn = Turn { left: most, now_ns, allowance: &mut self.allowance };
        for giving in &mut self.list {
            turn.serve(giving, &self.log, net, limits);
            if giving.is_near(&self.log, limits.message_bytes_max) {
                given.near.extend(giving.newcomer.take().map(|newcomer| (newcomer, giving.course.transfer)));
            }
        }
        given.progress = turn.left < most;
        let silent = |giving: &Giving| giving.untaken_bytes() > 0 && now_ns > giving.heard_ns + limits.silent_ns;
        self.list.retain(|giving| !giving.is_lost() && !silent(giving));
        let start = self.list.iter().filter(|giving| giving.has_begun()).map(|giving| giving.cursor).min().unwrap_or(self.log.end());
        self.log.forget(start);
        given
    }

    /// Whoever is so far behind that the log would grow too long begins again; whoever did so too often is told that it
    /// is in vain.
    fn begin_again(&mut self, net: &impl Net, limits: &Limits, at: impl Fn() -> Position, upcalls: &mut impl Upcalls) {
        let (end, oldest) = (self.log.end(), self.log.end().saturating_sub(limits.log_bytes_max));
        self.list.retain_mut(|giving| {
            if giving.cursor >= oldest || !giving.has_begun() {
                return true;
            }
            if giving.course.round >= ROUNDS_MAX {
                let reason = format!(
                    "the group delivers faster than this process restores: more than {} bytes while it took a snapshot, {ROUNDS_MAX} \
                     times; restore faster, or raise `backlog_bytes_max` at the members",
                    limits.log_bytes_max
                );
                // If it is gone it needs no answer.
                let _ = Control::refusal(giving.course.transfer, reason).say(net, giving.to);
                return false;
            }
            giving.begin(at(), end, upcalls);
            true
        });
    }

    /// When there is something to do even if nobody says anything.
    pub(crate) fn due_ns(&self, now_ns: u64, limits: &Limits) -> Option<u64> {
        let due = |giving: &Giving| match giving.has_room() {
            true if giving.full && !limits.spins => now_ns + ROOM_NS,
            true => giving.told_ns + limits.idle_ns,
            false => giving.heard_ns + limits.silent_ns + 1,
        };
        self.list.iter().map(due).min()
    }
}

impl Giving {
    fn is_lost(&self) -> bool {
        self.course.round == LOST
    }
}

/// The round of a giving that cannot go on.
const LOST: u32 = u32::MAX;

/// Limits of giving that a member's options say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) bytes_per_second: u64,
    pub(crate) log_bytes_max: u64,
    pub(crate) message_bytes_max: u64,
    /// After so long without a word another word is said.
    pub(crate) idle_ns: u64,
    /// Whoever takes nothing for so long is given no more.
    pub(crate) silent_ns: u64,
    /// Looks all the time for room, on purpose.
    pub(crate) spins: bool,
}

/// What may be done in one turn.
struct Turn<'a> {
    /// Pieces.
    left: usize,
    now_ns: u64,
    allowance: &'a mut Allowance,
}

impl Turn<'_> {
    /// Reads and says pieces of one giving while some are left.
    fn serve(&mut self, giving: &mut Giving, log: &Log, net: &impl Net, limits: &Limits) {
        giving.full = false;
        while self.left > 0 {
            // Whoever has to hear a word hears one.
            if self.allowance.is_spent() && self.now_ns < giving.told_ns + limits.idle_ns {
                giving.full = true;
                return;
            }
            match giving.read() {
                Ok(more) => self.left -= usize::from(more),
                Err(error) => {
                    let reason = format!("reading the application's snapshot failed: {error}");
                    // If it is gone it needs no answer.
                    let _ = Control::refusal(giving.course.transfer, reason).say(net, giving.to);
                    giving.course.round = LOST;
                    return;
                }
            }
            let before = giving.given_bytes();
            match giving.say(log, net, self.now_ns, limits.idle_ns) {
                Said::Piece => {
                    self.left = self.left.saturating_sub(1);
                    self.allowance.spend(giving.given_bytes() - before);
                }
                Said::Nothing if giving.ended || giving.ahead_bytes >= AHEAD_BYTES || !giving.has_begun() => return,
                Said::Nothing => {}
                Said::Full => {
                    giving.full = true;
                    return;
                }
                Said::Lost => {
                    giving.course.round = LOST;
                    return;
                }
            }
        }
    }
}
