//! The part of `infiniband/verbs.h` and `rdma/rdma_cma.h` that this provider uses, in Rust.
//!
//! Every struct is declared with its C name, size and offsets; the compiler checks our side, and [`LAYOUTS`] and
//! [`constants`] let `tools/abi-check` check the same numbers against the headers that are installed. Structs that only
//! the library makes are declared as far as they are read (`at_least`).

mod connect;
mod device;
mod queue;
mod work;

pub(super) use connect::*;
pub(super) use device::*;
pub(super) use queue::*;
pub(super) use work::*;

/// One struct as this crate declares it.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Its C name.
    pub name: &'static str,
    /// Its size in bytes.
    pub bytes: usize,
    /// Whether the C struct may be longer.
    pub prefix: bool,
    /// C field (none for padding), offset, size in bytes.
    pub fields: &'static [(&'static str, usize, usize)],
}

/// A struct of the C interface.
///
/// # Safety
/// All bytes zero is a value of it.
pub(super) unsafe trait CStruct: Sized {
    /// How it is declared here.
    const LAYOUT: Layout;

    /// All bytes zero.
    fn zeroed() -> Self {
        // SAFETY: the trait's promise.
        unsafe { std::mem::zeroed() }
    }
}

/// Every struct.
pub const LAYOUTS: &[Layout] = &[
    Device::LAYOUT,
    Context::LAYOUT,
    DeviceAttributes::LAYOUT,
    PortAttributes::LAYOUT,
    AsyncEvent::LAYOUT,
    ProtectionDomain::LAYOUT,
    MemoryRegion::LAYOUT,
    CompletionChannel::LAYOUT,
    CompletionQueue::LAYOUT,
    QueuePair::LAYOUT,
    Capacity::LAYOUT,
    QueuePairInit::LAYOUT,
    GlobalRoute::LAYOUT,
    AddressHandle::LAYOUT,
    QueuePairAttributes::LAYOUT,
    ScatterEntry::LAYOUT,
    SendRequest::LAYOUT,
    ReceiveRequest::LAYOUT,
    WorkCompletion::LAYOUT,
    CmChannel::LAYOUT,
    CmId::LAYOUT,
    CmParameters::LAYOUT,
    CmEvent::LAYOUT,
];

/// Declares a `#[repr(C)]` struct, asserts its size and offsets, and records them.
macro_rules! c_struct {
    ($(#[$meta:meta])* $name:ident = $c:literal $kind:ident $bytes:literal {
        $($(#[$field_meta:meta])* $field:ident $([$path:literal])? @ $offset:literal: $type:ty,)*
    }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        pub(in crate::verbs) struct $name {
            $($(#[$field_meta])* pub(in crate::verbs) $field: $type,)*
        }
        const _: () = {
            assert!(std::mem::size_of::<$name>() == $bytes);
            $(assert!(std::mem::offset_of!($name, $field) == $offset);)*
        };
        // SAFETY: every field is an integer, an array of them, a raw pointer, an optional function pointer, or a struct
        // of such.
        unsafe impl crate::verbs::abi::CStruct for $name {
            const LAYOUT: crate::verbs::abi::Layout = crate::verbs::abi::Layout {
                name: $c,
                bytes: $bytes,
                prefix: c_struct!(@prefix $kind),
                fields: &[$((c_struct!(@path $field $($path)?), $offset, std::mem::size_of::<$type>()),)*],
            };
        }
    };
    (@prefix exactly) => { false };
    (@prefix at_least) => { true };
    (@path $field:ident) => { stringify!($field) };
    (@path $field:ident $path:literal) => { $path };
}

/// Declares integer constants by their C names and records them.
macro_rules! c_constants {
    ($($(#[$meta:meta])* $name:ident: $type:ty = $c:literal $value:expr,)*) => {
        $($(#[$meta])* pub(in crate::verbs) const $name: $type = $value;)*
        pub(in crate::verbs) const LIST: &[(&str, i64)] = &[$(($c, $value as i64),)*];
    };
}

use {c_constants, c_struct};

/// Every constant, by its C name.
pub fn constants() -> impl Iterator<Item = (&'static str, i64)> {
    [device::LIST, queue::LIST, work::LIST, connect::LIST].into_iter().flatten().copied()
}
