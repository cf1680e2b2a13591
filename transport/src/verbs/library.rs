//! The libraries, opened when they are first needed: one binary serves machines with and without RDMA.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::OnceLock;

use libloading::os::unix::{Library as Shared, RTLD_LOCAL, RTLD_NOW};

use super::abi::{
    AsyncEvent, CmChannel, CmEvent, CmId, CmParameters, CompletionChannel, CompletionQueue, Context, Device, DeviceAttributes,
    MemoryRegion, PortAttributes, ProtectionDomain, QueuePair, QueuePairAttributes, QueuePairInit,
};

/// Declares a table of functions that are looked up by name.
macro_rules! functions {
    ($(#[$meta:meta])* $table:ident { $($(#[$field_meta:meta])* $field:ident: $symbol:literal fn($($argument:ty),*) $(-> $result:ty)?,)* }) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(super) struct $table {
            $($(#[$field_meta])* pub(super) $field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
        }

        impl $table {
            fn load(name: &str) -> Result<$table, String> {
                // SAFETY: the initialisers of rdma-core's libraries only set up their own state.
                let library = unsafe { Shared::open(Some(name), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| error.to_string())?;
                let table = $table {
                    // SAFETY: the types are those of the header (`abi-check` compares what they are made of).
                    $($field: *unsafe { library.get::<unsafe extern "C" fn($($argument),*) $(-> $result)?>($symbol) }
                        .map_err(|_| format!("{name} has no {}: it is too old; rdma-core 17 or later is needed", $symbol))?,)*
                };
                // Never closed: providers it loaded keep threads and exit handlers.
                std::mem::forget(library);
                Ok(table)
            }
        }
    };
}

functions! {
    /// `libibverbs`, but for what its header has inline.
    Verbs {
        get_device_list: "ibv_get_device_list" fn(*mut c_int) -> *mut *mut Device,
        free_device_list: "ibv_free_device_list" fn(*mut *mut Device),
        fork_init: "ibv_fork_init" fn() -> c_int,
        open_device: "ibv_open_device" fn(*mut Device) -> *mut Context,
        close_device: "ibv_close_device" fn(*mut Context) -> c_int,
        query_device: "ibv_query_device" fn(*mut Context, *mut DeviceAttributes) -> c_int,
        query_port: "ibv_query_port" fn(*mut Context, u8, *mut PortAttributes) -> c_int,
        query_gid: "ibv_query_gid" fn(*mut Context, u8, c_int, *mut [u8; 16]) -> c_int,
        alloc_pd: "ibv_alloc_pd" fn(*mut Context) -> *mut ProtectionDomain,
        dealloc_pd: "ibv_dealloc_pd" fn(*mut ProtectionDomain) -> c_int,
        reg_mr: "ibv_reg_mr" fn(*mut ProtectionDomain, *mut c_void, usize, c_int) -> *mut MemoryRegion,
        dereg_mr: "ibv_dereg_mr" fn(*mut MemoryRegion) -> c_int,
        create_channel: "ibv_create_comp_channel" fn(*mut Context) -> *mut CompletionChannel,
        destroy_channel: "ibv_destroy_comp_channel" fn(*mut CompletionChannel) -> c_int,
        create_cq: "ibv_create_cq" fn(*mut Context, c_int, *mut c_void, *mut CompletionChannel, c_int) -> *mut CompletionQueue,
        destroy_cq: "ibv_destroy_cq" fn(*mut CompletionQueue) -> c_int,
        get_cq_event: "ibv_get_cq_event" fn(*mut CompletionChannel, *mut *mut CompletionQueue, *mut *mut c_void) -> c_int,
        ack_cq_events: "ibv_ack_cq_events" fn(*mut CompletionQueue, c_uint),
        create_qp: "ibv_create_qp" fn(*mut ProtectionDomain, *mut QueuePairInit) -> *mut QueuePair,
        modify_qp: "ibv_modify_qp" fn(*mut QueuePair, *mut QueuePairAttributes, c_int) -> c_int,
        destroy_qp: "ibv_destroy_qp" fn(*mut QueuePair) -> c_int,
        get_async_event: "ibv_get_async_event" fn(*mut Context, *mut AsyncEvent) -> c_int,
        ack_async_event: "ibv_ack_async_event" fn(*mut AsyncEvent),
        status_text: "ibv_wc_status_str" fn(c_int) -> *const c_char,
    }
}

functions! {
    /// `librdmacm`.
    Cm {
        create_channel: "rdma_create_event_channel" fn() -> *mut CmChannel,
        destroy_channel: "rdma_destroy_event_channel" fn(*mut CmChannel),
        create_id: "rdma_create_id" fn(*mut CmChannel, *mut *mut CmId, *mut c_void, c_int) -> c_int,
        destroy_id: "rdma_destroy_id" fn(*mut CmId) -> c_int,
        bind_addr: "rdma_bind_addr" fn(*mut CmId, *mut libc::sockaddr) -> c_int,
        listen: "rdma_listen" fn(*mut CmId, c_int) -> c_int,
        source_port: "rdma_get_src_port" fn(*mut CmId) -> u16,
        resolve_addr: "rdma_resolve_addr" fn(*mut CmId, *mut libc::sockaddr, *mut libc::sockaddr, c_int) -> c_int,
        resolve_route: "rdma_resolve_route" fn(*mut CmId, c_int) -> c_int,
        create_qp: "rdma_create_qp" fn(*mut CmId, *mut ProtectionDomain, *mut QueuePairInit) -> c_int,
        destroy_qp: "rdma_destroy_qp" fn(*mut CmId),
        connect: "rdma_connect" fn(*mut CmId, *mut CmParameters) -> c_int,
        accept: "rdma_accept" fn(*mut CmId, *mut CmParameters) -> c_int,
        reject: "rdma_reject" fn(*mut CmId, *const c_void, u8) -> c_int,
        get_event: "rdma_get_cm_event" fn(*mut CmChannel, *mut *mut CmEvent) -> c_int,
        ack_event: "rdma_ack_cm_event" fn(*mut CmEvent) -> c_int,
    }
}

/// `libibverbs`, or why there is none.
pub(super) fn verbs() -> Result<&'static Verbs, String> {
    static VERBS: OnceLock<Result<Verbs, String>> = OnceLock::new();
    let mend = "install libibverbs1 and ibverbs-providers (Debian) or libibverbs (Fedora, SUSE)";
    let load = || {
        let verbs = Verbs::load("libibverbs.so.1")?;
        // Before any memory is registered, which only what came through here does; it does nothing where the kernel
        // copies pinned pages at a fork by itself. SAFETY: takes nothing and may be called at any time. If it refuses,
        // forks are as they were.
        let _ = unsafe { (verbs.fork_init)() };
        Ok(verbs)
    };
    VERBS.get_or_init(load).as_ref().map_err(|error| format!("{error}; {mend}"))
}

/// Asks whether a queue pair's writes are in order; none where the library is older than the question (rdma-core 44).
pub(super) fn query_order() -> Option<QueryOrder> {
    static QUERY: OnceLock<Option<QueryOrder>> = OnceLock::new();
    *QUERY.get_or_init(|| {
        // SAFETY: as in `load`; it is open already.
        let library = unsafe { Shared::open(Some("libibverbs.so.1"), RTLD_NOW | RTLD_LOCAL) }.ok()?;
        // SAFETY: the type is that of the header.
        let query = unsafe { library.get::<QueryOrder>("ibv_query_qp_data_in_order") }.ok().map(|query| *query);
        std::mem::forget(library);
        query
    })
}

/// Of `infiniband/verbs.h`: the queue pair, the operation, flags.
pub(super) type QueryOrder = unsafe extern "C" fn(*mut QueuePair, c_int, u32) -> c_int;

/// `librdmacm`, or why there is none.
pub(super) fn cm() -> Result<&'static Cm, String> {
    static CM: OnceLock<Result<Cm, String>> = OnceLock::new();
    let mend = "iWARP needs it: install librdmacm1 (Debian) or librdmacm (Fedora, SUSE)";
    CM.get_or_init(|| Cm::load("librdmacm.so.1")).as_ref().map_err(|error| format!("{error}; {mend}"))
}
