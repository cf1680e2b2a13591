//! Work requests and their completions.

use std::ffi::c_int;

use super::{c_constants, c_struct};

c_struct! {
    /// A piece of my memory.
    ScatterEntry = "struct ibv_sge" exactly 16 {
        addr @ 0: u64,
        length @ 8: u32,
        lkey @ 12: u32,
    }
}

c_struct! {
    /// A request to send. Of its unions the members of RDMA WRITE are declared.
    SendRequest = "struct ibv_send_wr" exactly 128 {
        wr_id @ 0: u64,
        next @ 8: *mut SendRequest,
        sg_list @ 16: *mut ScatterEntry,
        num_sge @ 24: c_int,
        opcode @ 28: c_int,
        send_flags @ 32: u32,
        /// In network byte order.
        imm_data @ 36: u32,
        remote_addr [ "wr.rdma.remote_addr" ] @ 40: u64,
        rkey [ "wr.rdma.rkey" ] @ 48: u32,
        unused [ "" ] @ 52: [u32; 19],
    }
}

c_struct! {
    /// A place for what a peer sends.
    ReceiveRequest = "struct ibv_recv_wr" exactly 32 {
        wr_id @ 0: u64,
        next @ 8: *mut ReceiveRequest,
        sg_list @ 16: *mut ScatterEntry,
        num_sge @ 24: c_int,
    }
}

c_struct! {
    /// The end of a request. Of a failed one only `wr_id`, `status`, `vendor_err` and `qp_num` count.
    WorkCompletion = "struct ibv_wc" exactly 48 {
        wr_id @ 0: u64,
        status @ 8: c_int,
        opcode @ 12: c_int,
        vendor_err @ 16: u32,
        byte_len @ 20: u32,
        /// In network byte order.
        imm_data @ 24: u32,
        qp_num @ 28: u32,
        src_qp @ 32: u32,
        wc_flags @ 36: u32,
        pkey_index @ 40: u16,
        slid @ 42: u16,
        sl @ 44: u8,
        dlid_path_bits @ 45: u8,
    }
}

c_constants! {
    RDMA_WRITE: c_int = "IBV_WR_RDMA_WRITE" 0,
    SEND: c_int = "IBV_WR_SEND" 2,
    RDMA_WRITE_WITH_IMMEDIATE: c_int = "IBV_WR_RDMA_WRITE_WITH_IMM" 1,
    SIGNALED: u32 = "IBV_SEND_SIGNALED" 2,
    INLINE: u32 = "IBV_SEND_INLINE" 8,
    SUCCESS: c_int = "IBV_WC_SUCCESS" 0,
    FLUSHED: c_int = "IBV_WC_WR_FLUSH_ERR" 5,
    REMOTE_ACCESS_ERROR: c_int = "IBV_WC_REM_ACCESS_ERR" 10,
    RETRY_EXCEEDED: c_int = "IBV_WC_RETRY_EXC_ERR" 12,
    RNR_RETRY_EXCEEDED: c_int = "IBV_WC_RNR_RETRY_EXC_ERR" 13,
}
