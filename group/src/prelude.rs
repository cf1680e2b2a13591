//! Everything that a first program names: `use squall_group::prelude::*;` and no other crate.

pub use crate::{
    Config, Deliveries, Delivery, Driver, Ended, Group, Handle, Member, MemberError, MemberOptions, Mode, Outgoing, Pace, Payload, Role,
    SendError, StatePiece, Ticket, Timeouts, Told, Turn, Upcalls, View,
};
pub use squall_transport::exchange::{
    ClusterKey, ConnectOptions, Exchange, LocalExchange, Place, RendezvousServer, ServerEvent, ServerOptions, Session, random_node,
};
pub use squall_transport::mesh::{Mesh, MeshOptions};
pub use squall_transport::shm::ShmFabric;
pub use squall_transport::tcp::TcpFabric;
pub use squall_transport::verbs::{VerbsFabric, VerbsOptions};
pub use squall_transport::{Fabric, NodeId, Rank};
