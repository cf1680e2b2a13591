//! Queue pairs, completion queues and how they are brought up.

use std::ffi::{c_int, c_void};

use super::{Context, ProtectionDomain, c_constants, c_struct};

c_struct! {
    /// Where completion events are read.
    CompletionChannel = "struct ibv_comp_channel" at_least 16 {
        context @ 0: *mut Context,
        fd @ 8: c_int,
        refcnt @ 12: c_int,
    }
}

c_struct! {
    /// Where completions are read.
    CompletionQueue = "struct ibv_cq" at_least 32 {
        context @ 0: *mut Context,
        channel @ 8: *mut CompletionChannel,
        cq_context @ 16: *mut c_void,
        handle @ 24: u32,
        cqe @ 28: c_int,
    }
}

c_struct! {
    /// One end of a connection.
    QueuePair = "struct ibv_qp" at_least 56 {
        context @ 0: *mut Context,
        qp_context @ 8: *mut c_void,
        pd @ 16: *mut ProtectionDomain,
        send_cq @ 24: *mut CompletionQueue,
        recv_cq @ 32: *mut CompletionQueue,
        srq @ 40: *mut c_void,
        handle @ 48: u32,
        qp_num @ 52: u32,
    }
}

c_struct! {
    /// How much a queue pair holds.
    Capacity = "struct ibv_qp_cap" exactly 20 {
        max_send_wr @ 0: u32,
        max_recv_wr @ 4: u32,
        max_send_sge @ 8: u32,
        max_recv_sge @ 12: u32,
        max_inline_data @ 16: u32,
    }
}

c_struct! {
    /// What a new queue pair is to be.
    QueuePairInit = "struct ibv_qp_init_attr" exactly 64 {
        qp_context @ 0: *mut c_void,
        send_cq @ 8: *mut CompletionQueue,
        recv_cq @ 16: *mut CompletionQueue,
        srq @ 24: *mut c_void,
        cap @ 32: Capacity,
        qp_type @ 52: c_int,
        sq_sig_all @ 56: c_int,
    }
}

c_struct! {
    /// The way to a peer by GIDs.
    GlobalRoute = "struct ibv_global_route" exactly 24 {
        /// Network byte order, as two words that keep the alignment of the C union.
        dgid @ 0: [u64; 2],
        flow_label @ 16: u32,
        sgid_index @ 20: u8,
        hop_limit @ 21: u8,
        traffic_class @ 22: u8,
    }
}

c_struct! {
    /// The way to a peer.
    AddressHandle = "struct ibv_ah_attr" exactly 32 {
        grh @ 0: GlobalRoute,
        dlid @ 24: u16,
        sl @ 26: u8,
        src_path_bits @ 27: u8,
        static_rate @ 28: u8,
        is_global @ 29: u8,
        port_num @ 30: u8,
    }
}

c_struct! {
    /// What a transition sets; a mask says which fields count.
    QueuePairAttributes = "struct ibv_qp_attr" exactly 144 {
        qp_state @ 0: c_int,
        cur_qp_state @ 4: c_int,
        path_mtu @ 8: c_int,
        path_mig_state @ 12: c_int,
        qkey @ 16: u32,
        rq_psn @ 20: u32,
        sq_psn @ 24: u32,
        dest_qp_num @ 28: u32,
        qp_access_flags @ 32: u32,
        cap @ 36: Capacity,
        ah_attr @ 56: AddressHandle,
        alt_ah_attr @ 88: AddressHandle,
        pkey_index @ 120: u16,
        alt_pkey_index @ 122: u16,
        en_sqd_async_notify @ 124: u8,
        sq_draining @ 125: u8,
        max_rd_atomic @ 126: u8,
        max_dest_rd_atomic @ 127: u8,
        min_rnr_timer @ 128: u8,
        port_num @ 129: u8,
        timeout @ 130: u8,
        retry_cnt @ 131: u8,
        rnr_retry @ 132: u8,
        alt_port_num @ 133: u8,
        alt_timeout @ 134: u8,
        rate_limit @ 136: u32,
    }
}

c_constants! {
    QP_TYPE_RC: c_int = "IBV_QPT_RC" 2,
    STATE_INIT: c_int = "IBV_QPS_INIT" 1,
    STATE_RTR: c_int = "IBV_QPS_RTR" 2,
    STATE_RTS: c_int = "IBV_QPS_RTS" 3,
    SET_STATE: c_int = "IBV_QP_STATE" 1,
    SET_ACCESS_FLAGS: c_int = "IBV_QP_ACCESS_FLAGS" 1 << 3,
    SET_PKEY_INDEX: c_int = "IBV_QP_PKEY_INDEX" 1 << 4,
    SET_PORT: c_int = "IBV_QP_PORT" 1 << 5,
    SET_PATH: c_int = "IBV_QP_AV" 1 << 7,
    SET_PATH_MTU: c_int = "IBV_QP_PATH_MTU" 1 << 8,
    SET_TIMEOUT: c_int = "IBV_QP_TIMEOUT" 1 << 9,
    SET_RETRY_COUNT: c_int = "IBV_QP_RETRY_CNT" 1 << 10,
    SET_RNR_RETRY: c_int = "IBV_QP_RNR_RETRY" 1 << 11,
    SET_RECEIVE_PSN: c_int = "IBV_QP_RQ_PSN" 1 << 12,
    SET_MAX_READS: c_int = "IBV_QP_MAX_QP_RD_ATOMIC" 1 << 13,
    SET_MIN_RNR_TIMER: c_int = "IBV_QP_MIN_RNR_TIMER" 1 << 15,
    SET_SEND_PSN: c_int = "IBV_QP_SQ_PSN" 1 << 16,
    SET_MAX_PEER_READS: c_int = "IBV_QP_MAX_DEST_RD_ATOMIC" 1 << 17,
    SET_PEER_NUMBER: c_int = "IBV_QP_DEST_QPN" 1 << 20,
}
