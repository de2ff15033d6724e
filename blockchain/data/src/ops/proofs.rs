//! What others can check: trees, proofs, verifications, and the anchors in the chain that they lead to.

pub mod build_tree;
pub mod deliver_anchors;
pub mod deliver_elsewhere;
pub mod prove_chunk;
pub mod prove_session;
pub mod recognise_chain;
pub mod verify_chunk;
pub mod verify_session;
