//! What every request passes on its way in and out: the path is tidied, a name is given, strangers'
//! pages, callers without credentials and headers that nobody listens to are refused, a place is found, every failure
//! leaves as a problem document, and what leaves is counted. [`crate::porch`] puts them in order.

mod admit;
mod authenticate;
mod callers;
mod cors;
mod count;
mod observe;
mod path;
mod witness;
mod wording;

pub(crate) use admit::{Gate, admit, panicked};
pub use authenticate::Wanted;
pub(crate) use authenticate::{Admission, LocalDoor, admit_caller, authenticate, is_open};
pub use callers::Hosts;
pub(crate) use callers::{Callers, callers};
pub use cors::Cors;
pub(crate) use count::Replies;
pub use observe::RequestId;
pub(crate) use observe::{Observer, new_id, observe, refused_document};
pub(crate) use path::Tidy;
pub use witness::{Giving, Passage, Passing, Subject, Witness, Witnessed};
pub(crate) use witness::{Watch, witness};
pub(crate) use wording::wording;
