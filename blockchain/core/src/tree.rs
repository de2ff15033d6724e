//! Merkle trees of the RFC 9162 shape, over whichever hash the caller names.
//!
//! Session trees use [`Blake3Tree`], the log over the chain uses [`Sha256Tree`]; both are built
//! here, proved here, and checked by [`crate::check`]. Leaves come in as finished hashes, so that
//! what a leaf binds is decided where the leaf's noun lives ([`crate::session`], for one).
//!
//! The tree splits at the largest power of two below its size, an odd node is never paired with
//! itself, and the root of nothing is the hash of nothing. The length of every proof follows from
//! its sizes, and any other length is refused: one statement has one proof.

use std::marker::PhantomData;
use std::ops::Range;

use crate::block_merkle::sha256;
use crate::wire::{Reader, WireFault, Writer};

/// A leaf's or an inner node's hash.
pub type NodeHash = [u8; 32];

/// More leaves than any tree will see; sizes below it never overflow when a leaf is added.
const LEAVES_MAX: u64 = 1 << 62;

/// The hash a tree is made with.
pub trait TreeHash {
    /// The root of a tree without leaves: the hash of nothing.
    fn empty() -> NodeHash;
    /// A leaf: the hash of `0x00` and the entry.
    fn leaf(entry: &[u8]) -> NodeHash;
    /// An inner node: the hash of `0x01` and both children.
    fn node(left: &NodeHash, right: &NodeHash) -> NodeHash;
}

/// Trees over BLAKE3: sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blake3Tree;

/// Trees over SHA-256, as certificate transparency has them: the log and its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sha256Tree;

impl TreeHash for Blake3Tree {
    fn empty() -> NodeHash {
        *blake3::hash(b"").as_bytes()
    }

    fn leaf(entry: &[u8]) -> NodeHash {
        *blake3::Hasher::new().update(&[0]).update(entry).finalize().as_bytes()
    }

    fn node(left: &NodeHash, right: &NodeHash) -> NodeHash {
        *blake3::Hasher::new().update(&[1]).update(left).update(right).finalize().as_bytes()
    }
}

impl TreeHash for Sha256Tree {
    fn empty() -> NodeHash {
        sha256(&[])
    }

    fn leaf(entry: &[u8]) -> NodeHash {
        sha256(&[&[0], entry])
    }

    fn node(left: &NodeHash, right: &NodeHash) -> NodeHash {
        sha256(&[&[1], left, right])
    }
}

/// The root over all leaves.
pub fn root<H: TreeHash>(leaves: &[NodeHash]) -> NodeHash {
    let mut frontier = Frontier::<H>::new();
    for leaf in leaves {
        frontier.append(*leaf);
    }
    frontier.root()
}

/// Where a tree of `size` leaves (two or more) splits: the largest power of two below its size.
fn split(size: u64) -> u64 {
    size.saturating_sub(1).checked_ilog2().map_or(1, |bits| 1 << bits)
}

/// Both halves of two or more leaves.
fn halves(leaves: &[NodeHash]) -> (&[NodeHash], &[NodeHash]) {
    let middle = split(leaves.len() as u64) as usize;
    leaves.split_at_checked(middle).unwrap_or((leaves, &[]))
}

/// The hashes that lead from leaf `index` to the root, leaf first; `None` if there is no such leaf.
pub fn inclusion_proof<H: TreeHash>(leaves: &[NodeHash], index: u64) -> Option<Vec<NodeHash>> {
    let mut at = usize::try_from(index).ok().filter(|at| *at < leaves.len())?;
    let mut rest = leaves;
    let mut proof = Vec::new();
    while rest.len() > 1 {
        let (left, right) = halves(rest);
        if at < left.len() {
            proof.push(root::<H>(right));
            rest = left;
        } else {
            proof.push(root::<H>(left));
            at -= left.len();
            rest = right;
        }
    }
    proof.reverse();
    Some(proof)
}

/// The root that a tree of `size` leaves has if `leaf` is its leaf number `index`; `None` if the
/// proof has the wrong length.
pub fn root_from_inclusion<H: TreeHash>(
    leaf: &NodeHash,
    index: u64,
    size: u64,
    proof: &[NodeHash],
) -> Option<NodeHash> {
    if index >= size {
        return None;
    }
    let (mut at, mut last) = (index, size - 1);
    let mut node = *leaf;
    for sibling in proof {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            node = H::node(sibling, &node);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            node = H::node(&node, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(node)
}

/// Whether `leaf` is leaf number `index` of the tree of `size` leaves with this root.
pub fn verify_inclusion<H: TreeHash>(
    leaf: &NodeHash,
    index: u64,
    size: u64,
    proof: &[NodeHash],
    root: &NodeHash,
) -> bool {
    root_from_inclusion::<H>(leaf, index, size, proof).as_ref() == Some(root)
}

/// The hashes that show the first `old_size` leaves to be a tree that all leaves continue; `None`
/// unless `old_size` lies between one and the number of leaves.
pub fn consistency_proof<H: TreeHash>(leaves: &[NodeHash], old_size: u64) -> Option<Vec<NodeHash>> {
    let mut old = usize::try_from(old_size).ok().filter(|old| (1..=leaves.len()).contains(old))?;
    let mut rest = leaves;
    let mut proof = Vec::new();
    // As long as only right halves were left behind, the old root itself is still to be reached,
    // and the checker of the proof has it already.
    let mut old_root_is_known = true;
    while old < rest.len() {
        let (left, right) = halves(rest);
        if old <= left.len() {
            proof.push(root::<H>(right));
            rest = left;
        } else {
            proof.push(root::<H>(left));
            old -= left.len();
            rest = right;
            old_root_is_known = false;
        }
    }
    if !old_root_is_known {
        proof.push(root::<H>(rest));
    }
    proof.reverse();
    Some(proof)
}

/// Whether the tree with `new_root` continues the one with `old_root`. Nothing is continued by
/// everything, so an old size of zero proves nothing and is refused.
pub fn verify_consistency<H: TreeHash>(
    old_size: u64,
    new_size: u64,
    proof: &[NodeHash],
    old_root: &NodeHash,
    new_root: &NodeHash,
) -> bool {
    if old_size == 0 || old_size > new_size {
        return false;
    }
    if old_size == new_size {
        return proof.is_empty() && old_root == new_root;
    }
    let (mut at, mut last) = (old_size - 1, new_size - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    // An old tree that is a full subtree is its own first step, and is not repeated in the proof.
    let (seed, steps) = if old_size.is_power_of_two() {
        if proof.is_empty() {
            return false;
        }
        (old_root, proof)
    } else {
        match proof.split_first() {
            Some(found) => found,
            None => return false,
        }
    };
    let (mut old, mut new) = (*seed, *seed);
    for sibling in steps {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            old = H::node(sibling, &old);
            new = H::node(sibling, &new);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            new = H::node(&new, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && old == *old_root && new == *new_root
}

/// The roots of everything outside `range`, left to right: with the leaves of `range` they give the
/// root. `None` for a range that is empty or reaches beyond the leaves.
pub fn range_proof<H: TreeHash>(leaves: &[NodeHash], range: Range<u64>) -> Option<Vec<NodeHash>> {
    let size = leaves.len() as u64;
    if range.start >= range.end || range.end > size {
        return None;
    }
    let mut proof = Vec::new();
    outside::<H>(leaves, 0, &range, &mut proof);
    Some(proof)
}

/// Collects the roots of the subtrees of `leaves`, the first of which has number `start`, that do
/// not touch `range`.
fn outside<H: TreeHash>(
    leaves: &[NodeHash],
    start: u64,
    range: &Range<u64>,
    proof: &mut Vec<NodeHash>,
) {
    let end = start + leaves.len() as u64;
    if range.start <= start && end <= range.end {
        return;
    }
    if end <= range.start || range.end <= start {
        proof.push(root::<H>(leaves));
        return;
    }
    let (left, right) = halves(leaves);
    outside::<H>(left, start, range, proof);
    outside::<H>(right, start + left.len() as u64, range, proof);
}

/// The root of a tree of `size` leaves in which `leaves` stand in a row from number `start` on;
/// `None` if they do not fit in there, if there are none, or if the proof has the wrong length.
pub fn root_from_range<H: TreeHash>(
    size: u64,
    start: u64,
    leaves: &[NodeHash],
    proof: &[NodeHash],
) -> Option<NodeHash> {
    let end = start.checked_add(leaves.len() as u64)?;
    if leaves.is_empty() || end > size {
        return None;
    }
    let mut join = Join::<H> { range: start..end, leaves, proof, hash: PhantomData };
    let root = join.subtree(0, size)?;
    join.proof.is_empty().then_some(root)
}

/// What [`root_from_range`] has not used yet, both taken from the front.
struct Join<'a, H> {
    range: Range<u64>,
    leaves: &'a [NodeHash],
    proof: &'a [NodeHash],
    hash: PhantomData<H>,
}

impl<H: TreeHash> Join<'_, H> {
    /// The root of the subtree of `size` leaves that begins at `start`. It halves until it is inside
    /// or outside the range, so it nests at most 64 deep and takes as long as its input is.
    fn subtree(&mut self, start: u64, size: u64) -> Option<NodeHash> {
        let end = start.checked_add(size)?;
        if end <= self.range.start || self.range.end <= start {
            let (node, rest) = self.proof.split_first()?;
            self.proof = rest;
            return Some(*node);
        }
        if self.range.start <= start && end <= self.range.end {
            let (inside, rest) = self.leaves.split_at_checked(usize::try_from(size).ok()?)?;
            self.leaves = rest;
            return Some(root::<H>(inside));
        }
        let middle = split(size);
        let left = self.subtree(start, middle)?;
        let right = self.subtree(start + middle, size - middle)?;
        Some(H::node(&left, &right))
    }
}

/// A growing tree, of which only the roots of its full subtrees are kept: one hash for every bit
/// that is set in its size.
#[derive(Debug)]
pub struct Frontier<H> {
    size: u64,
    peaks: Vec<NodeHash>,
    hash: PhantomData<H>,
}

// Written out because a derived one would ask the same of `H`, which is only a name.
impl<H> Clone for Frontier<H> {
    fn clone(&self) -> Self {
        Self { size: self.size, peaks: self.peaks.clone(), hash: PhantomData }
    }
}

impl<H> PartialEq for Frontier<H> {
    fn eq(&self, other: &Self) -> bool {
        self.size == other.size && self.peaks == other.peaks
    }
}

impl<H> Eq for Frontier<H> {}

impl<H: TreeHash> Default for Frontier<H> {
    fn default() -> Self {
        Self::new()
    }
}

impl<H: TreeHash> Frontier<H> {
    /// A tree without leaves.
    pub fn new() -> Self {
        Self { size: 0, peaks: Vec::new(), hash: PhantomData }
    }

    /// How many leaves there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds the next leaf.
    pub fn append(&mut self, leaf: NodeHash) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = H::node(&left, &node);
            }
        }
        self.peaks.push(node);
        self.size = self.size.saturating_add(1);
    }

    /// The root over the leaves so far.
    pub fn root(&self) -> NodeHash {
        let mut peaks = self.peaks.iter().rev();
        let Some(last) = peaks.next() else {
            return H::empty();
        };
        peaks.fold(*last, |right, left| H::node(left, &right))
    }

    /// The size, then the kept hashes, largest subtree first.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u64(self.size);
        for peak in &self.peaks {
            w.raw(peak);
        }
        w.finish()
    }

    /// Reads what [`Frontier::encode`] wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireFault> {
        let mut r = Reader::new(bytes);
        let size = r.u64("a tree's size")?;
        if size >= LEAVES_MAX {
            return Err(WireFault::Invalid { what: "a tree's size" });
        }
        let peaks =
            (0..size.count_ones()).map(|_| r.array("a tree's peak")).collect::<Result<_, _>>()?;
        r.finish()?;
        Ok(Self { size, peaks, hash: PhantomData })
    }
}

#[cfg(test)]
mod tests;
