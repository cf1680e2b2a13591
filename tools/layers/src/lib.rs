//! Which crate and which file of this workspace needs which others. The tests beside it keep the shape: arrows point
//! down, no two files need each other, `unsafe` stays in its folders, files stay short.
//!
//! ```text
//!   manifests   -->  Workspace: crates, their sources, and which crate names which
//!   sources     -->  Graph: a file is a module; it needs those that its paths name, and those that it declares
//! ```
//!
//! It reads text, not Rust: a path counts if it begins with `crate::`, `super::`, `self::` or, in a `use`, with a
//! module that the file declares. Comments do not count, nor does what comes behind the tests of a file.

#![forbid(unsafe_code)]

mod graph;
mod paths;
mod workspace;

pub use graph::{Graph, Module};
pub use workspace::{Workspace, is_unsafe, named_in};
