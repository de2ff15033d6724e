//! The drawers.
