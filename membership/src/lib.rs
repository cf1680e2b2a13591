//! Who is in the group: views that all members agree on, and where the messages of each view end.
//!
//! A view is a list of members; it holds for one epoch, which has one table. This crate notices that a member is lost,
//! wants to leave or wants to join, and brings all that stay to the same decision: the next list of members, and of
//! each sender the index at which its messages of this view end (the *ragged trim*). What is below the trim everyone
//! delivers in this view; what is above, nobody does.
//!
//! ```text
//!             silence, broken link,                 all that are          more than half
//!             leave, join                           trusted are wedged    have accepted it       all that stay did
//!   Steady ------------------------> Wedging ----> Wedged ----------------------------> Decided ----------> Installed --> (settled)
//!      \                             freeze()      leader proposes, cuts;              deliver to          epoch closed
//!       \                                          all accept and echo                 the trim, install()
//!        +--> Split (two members) --> witness          |
//!        +--> Stopped(NoQuorum | Excluded) <-----------+      from any of these
//! ```
//!
//! [`Protocol`] is the protocol: rows in, my row out; no table, no time. [`Membership`] puts it on a table and adds
//! time. Neither knows smc, rdmc or the order: `group` tells what was received and does what [`Phase`] asks for.
//!
//! Some members *vote*, the first ones by rank; the others *learn*: they have a row, links and a place in the list, and
//! count in nothing (V).
//!
//! What it does not do: move messages, open or close links, transfer state, or remember anything beyond one view.
//!
//! # The columns
//!
//! Row r is written by member r, for all members alike, and read by all that do not suspect r. All words but the
//! heartbeat travel as one *row*: whole, in order, though some may be skipped (`begin`, `end`). So each sentence below
//! is about rows as they were at one moment of their writer.
//!
//! | column | the row's owner says | read for | invariant |
//! | --- | --- | --- | --- |
//! | `heartbeat` | I live; raised when nothing else was pushed for `Timeouts::heartbeat` | silence | grows |
//! | `begin`, `end` | this batch of words begins, has ended | whole rows | `begin = end` and nothing torn, or look again |
//! | `suspected[n]`, a bit each | these I do not read any more | spreading, waiting of leaders, `Excluded` | bits are set, never cleared; less than half of the voters (see Q); a learner's is empty |
//! | `leaving` | I want to leave: 1 if others vote then, 2 in any case | the leader's list | never falls |
//! | `whole` | I learn, have the state, and can vote | the leader's list | set once, by learners |
//! | `wedged`, `received[senders]` | a voter: I have stopped; so much of each sender I have. A learner: so much I have at least | the trim; of learners, when to cut | a voter's is written once, together, and never changes afterwards |
//! | `requests` | these asked me to join | the leader's list | grows |
//! | `leader` | from this leader is what I have accepted (0: nothing, else rank + 1) | take-over, deciding | never falls |
//! | `acknowledged`, `changes` | so many changes I have accepted, and these; in the leader's own row that is what it proposes | next view | under one leader the list only grows, and not after the trim |
//! | `trimmed`, `trim[senders]` | I have accepted this cut, and the list is complete | deciding, take-over | under one leader written once; never below what anybody has delivered |
//! | `installed` | I have acted; this view may go | settling, deciding | set once, after the decision |
//!
//! The counts of Derecho are all here: *proposed* is `acknowledged` in the leader's row; *committed* is no column,
//! since each member counts the rows itself; `trim_leader` is `leader` of a row that is `trimmed`. List and trim lie in
//! one record, so that a row cannot tell of the one without the other.
//!
//! # The rules
//!
//! - **V, votes.** All members of the first view vote. A newcomer learns, until the leader lists its vote (L); from the
//!   next view on it counts. In what follows *member* means a voter wherever something is counted, waited for, led or
//!   proposed. A learner follows as a voter does, to know what is decided, but nobody reads what it accepts or
//!   suspects. Whom it will not meet in the next view it hears from voters, from those first that agree to what was
//!   decided, and from nobody whom these suspect. It stops when it trusts no voter any more (`NoVoters`), or has for
//!   long suspected one voter, or more than half of the learners, that no voter does (`AtOdds`): that costs nobody
//!   anything. As long as it does it does not ask for its vote, since by that they would be lost to all: it is one
//!   against many. Of two learners that lack each other one goes when both vote.
//! - **S, suspicion.** A member suspects whom its link has lost, whose words it cannot read, who was silent for
//!   `Timeouts::suspect_after` of the member's own *running* time, and whom a member suspects that it does not suspect
//!   itself. A process that was stopped counts a gap for a quarter of the time-out at the most, so it hears the others
//!   before it judges them. Suspicion is never withdrawn, and nothing of a suspect is read again.
//! - **Q, quorum.** Before a member tells whom it suspects it counts: if half or more of the voters are suspects it
//!   stops (`NoQuorum`), and tells nobody. So one member that has lost its links does not take others with it. Who
//!   reads that it is suspected itself stops (`Excluded`).
//! - **W, wedge.** Who suspects anyone, or has accepted or made a proposal, stops sending, receiving and delivering,
//!   and says what it had received.
//! - **F, follow.** A member follows the lowest rank that it does not suspect, accepts what that one proposes, and
//!   nothing of anyone else.
//! - **L, lead.** A member that follows itself leads, once every member that it trusts says that it suspects all lower
//!   ranks. If any of them has accepted anything, the leader makes the newest of that its own proposal *as it is*:
//!   list, order and trim, adding nothing. Otherwise it lists all losses, then votes of learners that are whole, then
//!   leaves, then joins, and adds to the list what comes, until the cut. It never lists more newcomers that are to send
//!   than there are buffers for ([`Senders`]), nor the last voter's leave while others learn or ask, unless it insists;
//!   if those that were to stay are lost meanwhile, one that was to leave stays.
//! - **R, rest.** While its view rests ([`Membership::rest_for`]) a leader begins no change for votes and joins alone:
//!   a group to which many come would else go from view to view and deliver nothing in between. Losses and leaves do
//!   not wait, and the change that they begin takes votes and joins along. Members need not agree on it: a leader that
//!   does not rest only begins earlier. It ends by itself, within [`Timeouts::suspect_after`] of running time.
//! - **T, trim.** The leader cuts once every voter that it trusts has wedged, and every learner that is to vote has
//!   received what that cut will keep: the least that voters have received, a sender at a time. A learner that is late
//!   is suspected, once the list has not grown for as long as silence may last.
//! - **G, give.** Where messages are delivered that not all have ([`Protocol::fill_up`]), the cut is at the most that
//!   any voter whom the leader trusts has received, or before what costs too much to give and nobody can have delivered
//!   ([`Ends::chosen`]). Nobody accepts a cut, no leader makes one or takes one over, and nobody acts on one, before it
//!   has all below it ([`Protocol::hold`]). How members give each other what they lack is the caller's part.
//! - **D, decide.** A cut stands once more than half of the view have accepted it from the same leader, as far as the
//!   member can see, or once a member that it trusts has acted on it: those that have may have lost each other, so that
//!   no leader is left whom all of them follow. Only then does it deliver up to the cut and install.
//! - **K, keep.** Who has installed keeps its part in this view until all that it trusts have installed too, and the
//!   fabric has taken all that it has to say to them, and sent it; for learners alone, and to have its own last words
//!   heard, not for long. For a voter that knows the decision losing others is no suspicion: they may have taken it for
//!   lost, and gone on; were it to tell the next view so, those would be lost there.
//!
//! # Why it holds
//!
//! Ranks of leaders are the ballots of Paxos, and a suspicion is a promise: who suspects rank k accepts nothing of k
//! any more, and says so in the same row that holds what it had accepted of k. A leader of rank c hears that promise
//! from all that it trusts, more than half of the view (Q, L). Had an earlier cut been accepted by more than half, one
//! of these has it, and it is the newest there is, or a copy of it. So it is proposed again, unchanged.
//!
//! Learners are in none of these majorities, so a view of v voters decides as if it had no other members: however many
//! learn, die, stall or lie about whom they suspect, no voter stops, and no decision changes. A vote is a change like
//! any other: it is in the decided list, and counts from the next view on. So two views that follow each other never
//! disagree about whose majority it was. Whoever votes has the state: it was whole when its vote was listed, and before
//! the cut it said that it has received all that the cut keeps; should the list be adopted from a dead leader (L) and
//! the learner be lost too, it is one more dead row of the next view. So, while a voter is alive and reaches a majority
//! of voters, or leaves by the book, the next view has a voter, and that one has the state.
//!
//! That a cut keeps whatever anyone delivered needs no vote: what was delivered by stability every member had received
//! and said so, before it wedged (W).
//!
//! Where a majority is enough (G), more than half of the voters had received it before they wedged, and the leader
//! trusts more than half: of those that have it, all that are not lost say so. They are as many as a majority is more
//! than those that are lost, one at the least, and what so many say to have is below the cut. What a voter is given
//! once it has wedged it does not say to have, so that lets nobody deliver. Whoever has accepted a cut has all below
//! it, so it can give it to others, and a cut that more than half have accepted is held by one of any majority: the
//! next leader is given what that keeps, and takes it over. If all are lost that had accepted it, it was not decided,
//! and the next leader cuts anew. Nobody waits without end for what it lacks: who is known to have it gives it, or is
//! suspected.
//!
//! | property | by |
//! | --- | --- |
//! | 1, 2, 4 one chain of views | D with Q: two majorities of a view share a member, which accepts in order (F, L) |
//! | 3 self-inclusion, 5 derivation | a next view comes from the decided list only; a member not in it does not install |
//! | 6 adoption, own view first | L: taken over as it is, nothing added; who was lost meanwhile is a dead row of the next view, which removes it |
//! | 14, 15 uniformity, virtual synchrony | D and T: one cut for all, which keeps what anyone delivered |
//! | 16 equal trims, not above any survivor | T, G, and S: whoever is not counted is suspected by all that accept, so it cannot decide |
//! | 17 wedge before trim, majority before action | W, T, D |
//! | 18 one leader at a time | S (never withdrawn), F, L |
//! | 19 suspicion monotone, spreads, cuts | S |
//! | 20 cut notice | D: the trim tells each sender where its messages end |
//! | 25, 28 progress | S ends all waiting: whoever is waited for is alive, or suspected; and K: who is done waits for room in a queue no longer than for words |
//! | 29 a minority stops | Q |
//! | 31 state continuity | V with Q, T and D; L for leaves |
//!
//! Properties of messages (7 to 13, 21, 22), of state (23) and of what is sent again (8, 20) are the part of `group`.
//!
//! # A dead leader's view
//!
//! View 0 1 2 3 4: 4 dies, 0 proposes *remove 4*, 2 accepts it, 0 dies. 1 leads once 2 and 3 suspect 0, sees what 2
//! accepted, proposes just that: the next view is 0 1 2 3. In it 0 never answers; 1, 2 and 3 suspect it from the start
//! ([`Membership::new`]'s `lost`) and remove it. It takes two views; in exchange nobody needs to know whether 0 had
//! already acted.
//!
//! # Two members
//!
//! Neither of two voters is a majority. If one suspects the other it is `Split`: it may go on only if a witness (the
//! rendezvous, or a node that was configured) says [`Witness::Sides`]. What is said in any other state is not heeded: a
//! larger view has its majority. The witness sides with one member of a view at most, ever, and must remember that as
//! long as the view may live. Without a witness, or if it cannot be asked, the member stops. A decision that both
//! accepted stands in either's row, so whoever goes on adopts it.
//!
//! # Sources
//!
//! Derecho (TOCS 2019), section 4 and appendix B. Different here: the list and the cut are one record under one ballot,
//! members decide by counting rows rather than by a leader's flag, the majority rule has no switch, and a leader takes
//! over what *any* trusted member has accepted, not only what a majority has: it cannot tell the difference.

#![forbid(unsafe_code)]

mod limits;
mod membership;
mod mutation;
mod outcome;
mod plausible;
mod protocol;
mod publication;
mod pulse;
mod ranks;
mod row;
mod timeouts;
mod trim;

pub use limits::{CHANGES_MAX, LEARNER, LEAVE, MEMBERS_MAX, REQUESTS_MAX, SUSPECT_AFTER_MIN};
pub use membership::Membership;
#[doc(hidden)]
pub use mutation::Mutation;
pub use outcome::{Decision, Phase, RequestError, Stop, Witness};
pub use protocol::{Ends, Protocol, Senders};
pub use ranks::Ranks;
pub use row::{Accepted, Change, Columns, Leaving, Newcomer, Row, What};
pub use timeouts::{Timeouts, TimeoutsError};
pub use trim::{members_after, quorum, ragged_trim, reaches};
