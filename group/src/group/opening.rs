//! How a member comes into a view: memory, links, and the protocols on them.

use squall_membership::{Leaving, Membership};
use squall_orderer::{Chain, Lamport, Line, Paxos, RoundRobin, Unordered};
use squall_rdmc::{Limit, Rdmc};
use squall_smc::{Fill, Inbound, Outbound, Relay};
use squall_sst::{Counter, Table};
use squall_transport::exchange::{Exchange, agree};
use squall_transport::{Endpoint, Fabric, Outbox, POOL, Rank};

use super::Group;
use crate::config::{Config, ConfigError, Mode};
use crate::epoch::Epoch;
use crate::error::JoinError;
use crate::gathering::Gathering;
use crate::kept::{Kept, new_pool};
use crate::order::Order;
use crate::outgoing::Outgoing;
use crate::probe::{PIECE_BYTES, measure};
use crate::reads::Reads;
use crate::stats::Stats;
use crate::stream::Stream;
use crate::view::View;

/// What members compare before they open an epoch.
pub(crate) const AGREEMENT: &str = "the group's configuration";

/// What this member says of that, in this view.
pub(crate) fn description(config: &Config, view: &View) -> Result<Vec<u8>, ConfigError> {
    let config = Config { senders: view.senders.clone(), ..config.clone() };
    config.check(view.members)?;
    let mut description = config.description(&config.layout(view.members).0);
    if view.id == 0 {
        // All measure, or none.
        description += if config.limit.is_some() { "; limit: given" } else { "; limit: measured" };
    }
    Ok(description.into_bytes())
}

impl<E: Endpoint> Group<E> {
    /// Joins the group that the members of `exchange` make. A collective: every member calls it with the same
    /// configuration.
    ///
    /// # Errors
    /// A configuration that cannot work, members that disagree on it, memory or links that cannot be had.
    pub fn join<F: Fabric<Endpoint = E>>(config: &Config, fabric: &F, exchange: &mut dyn Exchange) -> Result<Group<E>, JoinError> {
        let view = View::first(exchange.rank(), exchange.members(), &config.senders, exchange.token());
        Group::enter(config, view, fabric, exchange)
    }

    /// Enters a view that is not the first one: what a newcomer does with the view that it was told
    /// ([`View::seen_by`]). A collective of all members that come into this view; `exchange` is among them.
    ///
    /// # Errors
    /// As [`Group::join`].
    pub fn enter<F: Fabric<Endpoint = E>>(
        config: &Config,
        view: View,
        fabric: &F,
        exchange: &mut dyn Exchange,
    ) -> Result<Group<E>, JoinError> {
        agree(exchange, AGREEMENT, &description(config, &view)?)?;
        Group::open(config, view, Kept::default(), fabric, exchange)
    }

    /// Goes over to the view that [`Group::next_view`] says: the old epoch's links are closed, its buffers given back,
    /// and a new table is opened. A collective of all members that come into the new view; `exchange` is among them.
    ///
    /// # Errors
    /// As [`Group::join`]. This member has then left the old view and is not in the new one.
    ///
    /// # Panics
    /// If there is no next view yet.
    pub fn install<F: Fabric<Endpoint = E>>(self, fabric: &F, exchange: &mut dyn Exchange) -> Result<Group<E>, JoinError> {
        let view = self.next_view().cloned().expect("the next view is decided");
        let (config, kept) = self.retire(fabric);
        agree(exchange, AGREEMENT, &description(&config, &view)?)?;
        Group::open(&config, view, kept, fabric, exchange)
    }

    /// Ends the epoch, whose next view is known: what is left of it for the next one.
    pub(crate) fn retire<F: Fabric<Endpoint = E>>(self, fabric: &F) -> (Config, Kept) {
        let leaving = self.membership().map(Membership::leaving).unwrap_or_default();
        // Who has no vote writes into nobody's buffers.
        let said = |rank: Rank| self.membership().is_none_or(|membership| membership.protocol().has_installed(rank));
        let is_done = |rank| !self.view.votes(rank) || said(rank) || self.endpoint.is_gone(rank);
        let severed = fabric.severs() || (0..self.view.members).map(Rank::new).all(is_done);
        let gone: Vec<bool> = (0..self.view.members).map(|rank| fabric.severs() || self.endpoint.is_gone(Rank::new(rank))).collect();
        let hears_witness = self.epoch.as_ref().is_some_and(|epoch| epoch.hears_witness);
        let reads = self.reads.as_ref().map(|reads| reads.numbers).unwrap_or_default();
        let Group { endpoint, outgoing, pool_region, held, table, .. } = self;
        // T5: nothing of this epoch lands or is read any more when a buffer goes back. A pool into which a member may
        // still write, because it was lost before it had said its last word here and may live, is given up: its memory
        // stays with that member alone.
        fabric.retire(endpoint);
        let (config, pool, again) = outgoing.dismantle(severed, |rank| gone[rank.index()], &table);
        let kept = Kept { pool: pool.map(|pool| (pool, pool_region)), again, held, hears_witness, leaving, reads };
        (config, kept)
    }

    /// Opens the view's epoch with members that agree on how.
    pub(crate) fn open<F: Fabric<Endpoint = E>>(
        config: &Config,
        view: View,
        kept: Kept,
        fabric: &F,
        exchange: &mut dyn Exchange,
    ) -> Result<Group<E>, JoinError> {
        let (me, members) = (view.me, view.members);
        let mut config = Config { senders: view.senders.clone(), ..config.clone() };
        let (layout, columns) = config.layout(members);
        // Only a first view measures, over links that relays use.
        let measures = view.id == 0 && view.voters > 2 && config.has_large() && fabric.has_links();
        let piece_bytes = if measures { PIECE_BYTES } else { 0 };
        let table_region = fabric.region((layout.bytes() + piece_bytes) as usize, &config.region)?;
        let (pool, pool_region) = match kept.pool {
            Some(pool) => pool,
            None => new_pool(&config, fabric)?,
        };
        let notices = table_region.notices().iter().chain(pool_region.notices()).cloned().collect();
        let mut endpoint = fabric.open(exchange, &[table_region.clone(), pool_region.clone()])?;

        let own = view.place_of(view.me);
        let table = Table::new(table_region, &layout, me);
        let mut lost = Vec::new();
        if measures && config.limit.is_none() {
            config.limit = Some(measure(&mut endpoint, exchange, &table, columns.probe, layout.bytes(), &mut lost)?);
        }
        let line = config.mode.is_relayed().then(|| Line::new(&config.senders, view.voters, me));
        let streams = config.senders.iter().enumerate().map(|(sender, &rank)| {
            let inbound = Inbound::new(table.ring(columns.smc.ring, sender), columns.smc, rank);
            let inbound = inbound.written_by(line.map_or(rank, |line| line.hears_from(rank)));
            let relay = line.and_then(|line| line.passes_to(rank)).map(Relay::new);
            Stream::new(inbound, sender, relay, config.transfers_max)
        });
        let streams = streams.collect();
        let smc = own.map(|sender| Outbound::new(table.ring(columns.smc.ring, sender), columns.smc, config.smc_limits(), members));
        let smc = match line {
            Some(line) => smc.map(|smc| smc.read_by(line.hands_to(members))),
            None => smc,
        };
        let mut rdmc = Rdmc::new(columns.rdmc, members, me, &config.senders, config.rdmc_limits()).relayed_by(view.voters);
        if config.mode == Mode::Ordered && config.limit.unwrap_or_default() == Limit::Cores {
            rdmc = rdmc.in_order();
        }
        if let Some((_, large)) = columns.fill {
            rdmc = rdmc.filled_by(large);
        }
        let pool_bytes = |rank| endpoint.region_bytes(rank, POOL).unwrap_or(pool_region.bytes() as u64);
        rdmc.set_pools((0..members).map(Rank::new).map(pool_bytes).collect());
        let order = match config.mode {
            Mode::Ordered => {
                let order = RoundRobin::new(columns.order, members, config.senders.len(), own);
                Order::RoundRobin(order.acknowledged_by(view.voters).reclaimed_by(&config.senders))
            }
            Mode::Unordered => Order::Unordered(Unordered::new(columns.order, members, &config.senders, own)),
            Mode::Chain => Order::Chain(Box::new(Chain::new(columns.order, members, view.voters, &config.senders, me))),
            Mode::Lamport => Order::Lamport(Box::new(Lamport::new(columns.order, members, view.voters, &config.senders, me))),
            Mode::Paxos => Order::Paxos(Box::new(Paxos::new(columns.order, members, view.voters, &config.senders, me))),
        };
        let smc = if order.has_decisions() { smc.map(Outbound::keep_room) } else { smc };
        let epoch = Epoch::new(&config, &columns, &view).map(|epoch| Epoch { hears_witness: kept.hears_witness, ..epoch });
        let said = (order.said(&columns.order), config.mode.fills());
        let reads = columns.reads.map(|columns| Reads::new(columns, view.voters, said, kept.reads));
        let post_bytes_max = config.post_bytes_max;
        let mut outgoing = Outgoing::new(smc, rdmc, pool, config, &view);
        outgoing.go_on_with(kept.again);
        let mut group = Group {
            outbox: Outbox::new(members),
            streams,
            outgoing,
            epoch: epoch.map(Box::new),
            fill: columns.fill.map(|(small, _)| Box::new(Fill::new(small, members))),
            reads: reads.map(Box::new),
            pool_region,
            mark: Counter::new(columns.mark, members),
            closing: Counter::new(columns.closing, members),
            post_bytes_max,
            stats: Stats::default(),
            ended: None,
            blamed: None,
            gathering: Gathering::default(),
            held: kept.held,
            lost,
            endpoint,
            table,
            columns,
            view,
            own,
            order,
            decision: Vec::new(),
            notices,
        };
        // The last view ended before the others had heard that this member wants to leave, or nobody else had the
        // state.
        match kept.leaving {
            (Leaving::No, _) => {}
            (Leaving::Asks, waited_ns) => group.leave_after(waited_ns),
            (Leaving::Insists, _) => group.insist_on_leaving(),
        }
        Ok(group)
    }
}
