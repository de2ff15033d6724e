//! What every request passes on its way in and out: the path is tidied, a name is given, a place
//! is found, and whatever goes wrong leaves as a problem document. [`crate::porch`] puts them in
//! order.

mod admit;
mod cors;
mod observe;
mod path;

pub(crate) use admit::{Gate, admit, panicked};
pub use cors::Cors;
pub use observe::RequestId;
pub(crate) use observe::observe;
pub(crate) use path::Tidy;
