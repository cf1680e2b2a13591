//! The connection manager, which iWARP cannot do without.

use std::ffi::{c_int, c_void};

use super::{Context, QueuePair, c_constants, c_struct};

c_struct! {
    /// Where the connection manager's events are read.
    CmChannel = "struct rdma_event_channel" exactly 4 {
        fd @ 0: c_int,
    }
}

c_struct! {
    /// One connection, or a listener.
    CmId = "struct rdma_cm_id" at_least 32 {
        verbs @ 0: *mut Context,
        channel @ 8: *mut CmChannel,
        context @ 16: *mut c_void,
        qp @ 24: *mut QueuePair,
    }
}

c_struct! {
    /// What one side tells the other when they connect.
    CmParameters = "struct rdma_conn_param" exactly 24 {
        private_data @ 0: *const c_void,
        private_data_len @ 8: u8,
        responder_resources @ 9: u8,
        initiator_depth @ 10: u8,
        flow_control @ 11: u8,
        retry_count @ 12: u8,
        rnr_retry_count @ 13: u8,
        srq @ 14: u8,
        qp_num @ 16: u32,
    }
}

c_struct! {
    /// News of a connection.
    CmEvent = "struct rdma_cm_event" at_least 48 {
        id @ 0: *mut CmId,
        listen_id @ 8: *mut CmId,
        event @ 16: c_int,
        status @ 20: c_int,
        conn [ "param.conn" ] @ 24: CmParameters,
    }
}

c_constants! {
    CM_ADDRESS_RESOLVED: c_int = "RDMA_CM_EVENT_ADDR_RESOLVED" 0,
    CM_ROUTE_RESOLVED: c_int = "RDMA_CM_EVENT_ROUTE_RESOLVED" 2,
    CM_CONNECT_REQUEST: c_int = "RDMA_CM_EVENT_CONNECT_REQUEST" 4,
    CM_UNREACHABLE: c_int = "RDMA_CM_EVENT_UNREACHABLE" 7,
    CM_REJECTED: c_int = "RDMA_CM_EVENT_REJECTED" 8,
    CM_ESTABLISHED: c_int = "RDMA_CM_EVENT_ESTABLISHED" 9,
    CM_DISCONNECTED: c_int = "RDMA_CM_EVENT_DISCONNECTED" 10,
    CM_DEVICE_REMOVAL: c_int = "RDMA_CM_EVENT_DEVICE_REMOVAL" 11,
    CM_PORT_SPACE_TCP: c_int = "RDMA_PS_TCP" 0x0106,
}
