//! Devices, ports, memory and what happens to them.

use std::ffi::{c_char, c_int, c_void};

use super::{CompletionQueue, QueuePair, ReceiveRequest, SendRequest, WorkCompletion, c_constants, c_struct};

c_struct! {
    /// A device of this host.
    Device = "struct ibv_device" at_least 88 {
        unused [ "_ops" ] @ 0: [usize; 2],
        node_type @ 16: c_int,
        transport_type @ 20: c_int,
        name @ 24: [c_char; 64],
    }
}

pub(in crate::verbs) type PollQueue = unsafe extern "C" fn(*mut CompletionQueue, c_int, *mut WorkCompletion) -> c_int;
pub(in crate::verbs) type RequestNotify = unsafe extern "C" fn(*mut CompletionQueue, c_int) -> c_int;
pub(in crate::verbs) type PostSend = unsafe extern "C" fn(*mut QueuePair, *mut SendRequest, *mut *mut SendRequest) -> c_int;
pub(in crate::verbs) type PostReceive = unsafe extern "C" fn(*mut QueuePair, *mut ReceiveRequest, *mut *mut ReceiveRequest) -> c_int;

c_struct! {
    /// An open device. The calls of the data path are reached through it: the header has them as inline functions.
    Context = "struct ibv_context" at_least 328 {
        device @ 0: *mut Device,
        before_poll [ "ops" ] @ 8: [usize; 11],
        poll_cq [ "ops.poll_cq" ] @ 96: Option<PollQueue>,
        req_notify_cq [ "ops.req_notify_cq" ] @ 104: Option<RequestNotify>,
        before_send [ "ops._compat_cq_event" ] @ 112: [usize; 12],
        post_send [ "ops.post_send" ] @ 208: Option<PostSend>,
        post_recv [ "ops.post_recv" ] @ 216: Option<PostReceive>,
        behind_receive [ "ops._compat_create_ah" ] @ 224: [usize; 5],
        cmd_fd @ 264: c_int,
        async_fd @ 268: c_int,
        num_comp_vectors @ 272: c_int,
        mutex @ 280: [u64; 5],
        abi_compat @ 320: *mut c_void,
    }
}

/// The function of an extended context that fills all of [`PortAttributes`], as much of it as the caller has.
pub(in crate::verbs) type QueryPort = unsafe extern "C" fn(*mut Context, u8, *mut PortAttributes, usize) -> c_int;

/// What `abi_compat` of an extended context is: `struct verbs_context` lies around it then, with what it grew by in
/// front.
pub(in crate::verbs) const EXTENDED: usize = usize::MAX;

c_struct! {
    /// What a device can do.
    DeviceAttributes = "struct ibv_device_attr" exactly 232 {
        fw_ver @ 0: [c_char; 64],
        node_guid @ 64: u64,
        sys_image_guid @ 72: u64,
        max_mr_size @ 80: u64,
        page_size_cap @ 88: u64,
        vendor_id @ 96: u32,
        vendor_part_id @ 100: u32,
        hw_ver @ 104: u32,
        max_qp @ 108: c_int,
        max_qp_wr @ 112: c_int,
        device_cap_flags @ 116: u32,
        max_sge @ 120: c_int,
        max_sge_rd @ 124: c_int,
        max_cq @ 128: c_int,
        max_cqe @ 132: c_int,
        more [ "max_mr" ] @ 136: [c_int; 22],
        max_pkeys @ 224: u16,
        local_ca_ack_delay @ 226: u8,
        phys_port_cnt @ 227: u8,
    }
}

c_struct! {
    /// A port. The exported `ibv_query_port` fills an older struct that ends behind `link_layer`; the function of an
    /// extended context fills all of it.
    PortAttributes = "struct ibv_port_attr" exactly 52 {
        state @ 0: c_int,
        max_mtu @ 4: c_int,
        active_mtu @ 8: c_int,
        gid_tbl_len @ 12: c_int,
        port_cap_flags @ 16: u32,
        max_msg_sz @ 20: u32,
        bad_pkey_cntr @ 24: u32,
        qkey_viol_cntr @ 28: u32,
        pkey_tbl_len @ 32: u16,
        lid @ 34: u16,
        sm_lid @ 36: u16,
        lmc @ 38: u8,
        max_vl_num @ 39: u8,
        sm_sl @ 40: u8,
        subnet_timeout @ 41: u8,
        init_type_reply @ 42: u8,
        active_width @ 43: u8,
        active_speed @ 44: u8,
        phys_state @ 45: u8,
        link_layer @ 46: u8,
        flags @ 47: u8,
        port_cap_flags2 @ 48: u16,
    }
}

c_struct! {
    /// Something that happened to a device, a port or a queue.
    AsyncEvent = "struct ibv_async_event" exactly 16 {
        element @ 0: usize,
        event_type @ 8: c_int,
    }
}

c_struct! {
    /// What memory and queues of one owner belong to.
    ProtectionDomain = "struct ibv_pd" at_least 16 {
        context @ 0: *mut Context,
        handle @ 8: u32,
    }
}

c_struct! {
    /// Memory that the device knows.
    MemoryRegion = "struct ibv_mr" at_least 48 {
        context @ 0: *mut Context,
        pd @ 8: *mut ProtectionDomain,
        addr @ 16: *mut c_void,
        length @ 24: usize,
        handle @ 32: u32,
        lkey @ 36: u32,
        rkey @ 40: u32,
    }
}

c_constants! {
    SIZE_BEFORE_CONTEXT: usize = "(offsetof(struct verbs_context, context) - offsetof(struct verbs_context, sz))" 8,
    QUERY_PORT_BEFORE_CONTEXT: usize = "(offsetof(struct verbs_context, context) - offsetof(struct verbs_context, query_port))" 320,
    QUERY_PORT_SIZE: usize = "(sizeof(struct verbs_context) - offsetof(struct verbs_context, query_port))" 648,
    PORT_NEEDS_GLOBAL_ROUTE: u8 = "IBV_QPF_GRH_REQUIRED" 1,
    PORT_ACTIVE: c_int = "IBV_PORT_ACTIVE" 4,
    ACCESS_LOCAL_WRITE: c_int = "IBV_ACCESS_LOCAL_WRITE" 1,
    ACCESS_REMOTE_WRITE: c_int = "IBV_ACCESS_REMOTE_WRITE" 2,
    ACCESS_ON_DEMAND: c_int = "IBV_ACCESS_ON_DEMAND" 1 << 6,
    EVENT_CQ_ERR: c_int = "IBV_EVENT_CQ_ERR" 0,
    EVENT_QP_FATAL: c_int = "IBV_EVENT_QP_FATAL" 1,
    EVENT_QP_REQ_ERR: c_int = "IBV_EVENT_QP_REQ_ERR" 2,
    EVENT_QP_ACCESS_ERR: c_int = "IBV_EVENT_QP_ACCESS_ERR" 3,
    EVENT_DEVICE_FATAL: c_int = "IBV_EVENT_DEVICE_FATAL" 8,
    EVENT_PORT_ACTIVE: c_int = "IBV_EVENT_PORT_ACTIVE" 9,
    EVENT_PORT_ERR: c_int = "IBV_EVENT_PORT_ERR" 10,
    EVENT_LID_CHANGE: c_int = "IBV_EVENT_LID_CHANGE" 11,
    EVENT_GID_CHANGE: c_int = "IBV_EVENT_GID_CHANGE" 18,
}
