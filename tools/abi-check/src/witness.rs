//! A second witness: the structs of the crate `rdma-sys`. Those with unions are written out in it by hand; the others
//! `bindgen` reads from the headers.

use std::mem::{offset_of, size_of};

/// What `rdma-sys` says of a struct.
pub struct Witness {
    /// Its C name.
    pub name: &'static str,
    /// Its size in bytes.
    pub bytes: usize,
    /// C field, offset.
    pub fields: &'static [(&'static str, usize)],
}

/// Asks for the offsets of fields; where `rdma-sys` has another name for one than C, it stands behind the colon.
macro_rules! witnesses {
    ($($name:ident { $($field:literal: $($path:ident).+,)* })*) => {
        &[$(Witness {
            name: concat!("struct ", stringify!($name)),
            bytes: size_of::<rdma_sys::$name>(),
            fields: &[$(($field, offset_of!(rdma_sys::$name, $($path).+)),)*],
        },)*]
    };
}

/// All structs that Squall declares.
pub const WITNESSES: &[Witness] = witnesses! {
    ibv_device {
        "_ops": _ops,
        "node_type": node_type,
        "transport_type": transport_type,
        "name": name,
    }
    ibv_context {
        "device": device,
        "ops": ops,
        "ops.poll_cq": ops.poll_cq,
        "ops.req_notify_cq": ops.req_notify_cq,
        "ops._compat_cq_event": ops._compat_cq_event,
        "ops.post_send": ops.post_send,
        "ops.post_recv": ops.post_recv,
        "ops._compat_create_ah": ops._compat_create_ah,
        "cmd_fd": cmd_fd,
        "async_fd": async_fd,
        "num_comp_vectors": num_comp_vectors,
        "mutex": mutex,
        "abi_compat": abi_compat,
    }
    ibv_device_attr {
        "fw_ver": fw_ver,
        "node_guid": node_guid,
        "sys_image_guid": sys_image_guid,
        "max_mr_size": max_mr_size,
        "page_size_cap": page_size_cap,
        "vendor_id": vendor_id,
        "vendor_part_id": vendor_part_id,
        "hw_ver": hw_ver,
        "max_qp": max_qp,
        "max_qp_wr": max_qp_wr,
        "device_cap_flags": device_cap_flags,
        "max_sge": max_sge,
        "max_sge_rd": max_sge_rd,
        "max_cq": max_cq,
        "max_cqe": max_cqe,
        "max_mr": max_mr,
        "max_pkeys": max_pkeys,
        "local_ca_ack_delay": local_ca_ack_delay,
        "phys_port_cnt": phys_port_cnt,
    }
    ibv_port_attr {
        "state": state,
        "max_mtu": max_mtu,
        "active_mtu": active_mtu,
        "gid_tbl_len": gid_tbl_len,
        "port_cap_flags": port_cap_flags,
        "max_msg_sz": max_msg_sz,
        "bad_pkey_cntr": bad_pkey_cntr,
        "qkey_viol_cntr": qkey_viol_cntr,
        "pkey_tbl_len": pkey_tbl_len,
        "lid": lid,
        "sm_lid": sm_lid,
        "lmc": lmc,
        "max_vl_num": max_vl_num,
        "sm_sl": sm_sl,
        "subnet_timeout": subnet_timeout,
        "init_type_reply": init_type_reply,
        "active_width": active_width,
        "active_speed": active_speed,
        "phys_state": phys_state,
        "link_layer": link_layer,
        "flags": flags,
        "port_cap_flags2": port_cap_flags2,
    }
    ibv_async_event {
        "element": element,
        "event_type": event_type,
    }
    ibv_pd {
        "context": context,
        "handle": handle,
    }
    ibv_mr {
        "context": context,
        "pd": pd,
        "addr": addr,
        "length": length,
        "handle": handle,
        "lkey": lkey,
        "rkey": rkey,
    }
    ibv_comp_channel {
        "context": context,
        "fd": fd,
        "refcnt": refcnt,
    }
    ibv_cq {
        "context": context,
        "channel": channel,
        "cq_context": cq_context,
        "handle": handle,
        "cqe": cqe,
    }
    ibv_qp {
        "context": context,
        "qp_context": qp_context,
        "pd": pd,
        "send_cq": send_cq,
        "recv_cq": recv_cq,
        "srq": srq,
        "handle": handle,
        "qp_num": qp_num,
    }
    ibv_qp_cap {
        "max_send_wr": max_send_wr,
        "max_recv_wr": max_recv_wr,
        "max_send_sge": max_send_sge,
        "max_recv_sge": max_recv_sge,
        "max_inline_data": max_inline_data,
    }
    ibv_qp_init_attr {
        "qp_context": qp_context,
        "send_cq": send_cq,
        "recv_cq": recv_cq,
        "srq": srq,
        "cap": cap,
        "qp_type": qp_type,
        "sq_sig_all": sq_sig_all,
    }
    ibv_global_route {
        "dgid": dgid,
        "flow_label": flow_label,
        "sgid_index": sgid_index,
        "hop_limit": hop_limit,
        "traffic_class": traffic_class,
    }
    ibv_ah_attr {
        "grh": grh,
        "dlid": dlid,
        "sl": sl,
        "src_path_bits": src_path_bits,
        "static_rate": static_rate,
        "is_global": is_global,
        "port_num": port_num,
    }
    ibv_qp_attr {
        "qp_state": qp_state,
        "cur_qp_state": cur_qp_state,
        "path_mtu": path_mtu,
        "path_mig_state": path_mig_state,
        "qkey": qkey,
        "rq_psn": rq_psn,
        "sq_psn": sq_psn,
        "dest_qp_num": dest_qp_num,
        "qp_access_flags": qp_access_flags,
        "cap": cap,
        "ah_attr": ah_attr,
        "alt_ah_attr": alt_ah_attr,
        "pkey_index": pkey_index,
        "alt_pkey_index": alt_pkey_index,
        "en_sqd_async_notify": en_sqd_async_notify,
        "sq_draining": sq_draining,
        "max_rd_atomic": max_rd_atomic,
        "max_dest_rd_atomic": max_dest_rd_atomic,
        "min_rnr_timer": min_rnr_timer,
        "port_num": port_num,
        "timeout": timeout,
        "retry_cnt": retry_cnt,
        "rnr_retry": rnr_retry,
        "alt_port_num": alt_port_num,
        "alt_timeout": alt_timeout,
        "rate_limit": rate_limit,
    }
    ibv_sge {
        "addr": addr,
        "length": length,
        "lkey": lkey,
    }
    ibv_send_wr {
        "wr_id": wr_id,
        "next": next,
        "sg_list": sg_list,
        "num_sge": num_sge,
        "opcode": opcode,
        "send_flags": send_flags,
        "imm_data": imm_data_invalidated_rkey_union,
        "wr.rdma.remote_addr": wr.rdma.remote_addr,
        "wr.rdma.rkey": wr.rdma.rkey,
    }
    ibv_recv_wr {
        "wr_id": wr_id,
        "next": next,
        "sg_list": sg_list,
        "num_sge": num_sge,
    }
    ibv_wc {
        "wr_id": wr_id,
        "status": status,
        "opcode": opcode,
        "vendor_err": vendor_err,
        "byte_len": byte_len,
        "imm_data": imm_data_invalidated_rkey_union,
        "qp_num": qp_num,
        "src_qp": src_qp,
        "wc_flags": wc_flags,
        "pkey_index": pkey_index,
        "slid": slid,
        "sl": sl,
        "dlid_path_bits": dlid_path_bits,
    }
    rdma_event_channel {
        "fd": fd,
    }
    rdma_cm_id {
        "verbs": verbs,
        "channel": channel,
        "context": context,
        "qp": qp,
    }
    rdma_conn_param {
        "private_data": private_data,
        "private_data_len": private_data_len,
        "responder_resources": responder_resources,
        "initiator_depth": initiator_depth,
        "flow_control": flow_control,
        "retry_count": retry_count,
        "rnr_retry_count": rnr_retry_count,
        "srq": srq,
        "qp_num": qp_num,
    }
    rdma_cm_event {
        "id": id,
        "listen_id": listen_id,
        "event": event,
        "status": status,
        "param.conn": param.conn,
    }
};
