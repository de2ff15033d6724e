//! The two Merkle roots over a block's transactions, both of SHA-256.
//!
//! The one that the block's hash covers goes pairwise over lower-case hex texts. Its rule is the
//! documented one and frozen: an odd last node is paired with itself, nothing at all has the root of
//! 64 zeros. Pairing a node with itself lets two lists share a root (CVE-2012-2459), so [`mutated`]
//! tells the lists that no honest producer makes. The other, [`log_root`], is that of RFC 9162, of a
//! [`crate::tree`] over SHA-256; it has no such gap, and the block's log entry carries it.
//!
//! [`crate::block`] builds with this, [`crate::validate`] checks with it, [`crate::record`] keeps
//! the results. The functions are total and know no limits; those are [`crate::validate`]'s.

use sha2::{Digest as _, Sha256};

use crate::digest::{LogHash, MerkleRoot, TransactionHash, digits};
use crate::tree::{Frontier, Sha256Tree, TreeHash as _};

/// SHA-256 of the parts, one after the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

/// SHA-256 of a transaction's canonical text: its leaf in the tree.
pub fn transaction_hash(text: &str) -> TransactionHash {
    TransactionHash::new(sha256(&[text.as_bytes()]))
}

/// The root over a block's transactions, in order.
pub fn merkle_root(leaves: &[TransactionHash]) -> MerkleRoot {
    root_and_mutation(leaves).0
}

/// Whether two equal *existing* neighbours meet on some level: then another, shorter list has the
/// same root, and this one is refused.
pub fn mutated(leaves: &[TransactionHash]) -> bool {
    root_and_mutation(leaves).1
}

/// [`merkle_root`] and [`mutated`] in one climb.
pub fn root_and_mutation(leaves: &[TransactionHash]) -> (MerkleRoot, bool) {
    let mut mutated = has_twins(leaves);
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = parents(&level);
        mutated |= has_twins(&level);
    }
    let root = level.first().map_or(MerkleRoot::ZERO, |node| MerkleRoot::new(*node.as_bytes()));
    (root, mutated)
}

/// The siblings from a leaf up to the root, one for each level. A node without a neighbour is its
/// own sibling, so a checker that knows the count only has to fold. `None` where there is no such
/// leaf.
pub fn path(leaves: &[TransactionHash], position: usize) -> Option<Vec<TransactionHash>> {
    leaves.get(position)?;
    let (mut siblings, mut level, mut at) = (Vec::new(), leaves.to_vec(), position);
    while level.len() > 1 {
        siblings.push(*level.get(at ^ 1).or_else(|| level.get(at))?);
        level = parents(&level);
        at /= 2;
    }
    Some(siblings)
}

/// The root that a leaf and its path lead to, or `None` where no list of `count` leaves has such a
/// path at `position`: its length is determined, and so is a node that is its own sibling.
pub fn verify_path(
    leaf: TransactionHash,
    position: usize,
    count: usize,
    path: &[TransactionHash],
) -> Option<MerkleRoot> {
    if position >= count {
        return None;
    }
    let (mut node, mut at, mut width, mut siblings) = (leaf, position, count, path.iter());
    while width > 1 {
        let sibling = siblings.next()?;
        node = match (at % 2 == 0, at + 1 == width) {
            (true, true) if *sibling != node => return None,
            (true, _) => parent(&node, sibling),
            (false, _) => parent(sibling, &node),
        };
        at /= 2;
        width = width.div_ceil(2);
    }
    siblings.next().is_none().then(|| MerkleRoot::new(*node.as_bytes()))
}

/// The RFC 9162 leaf of a text: SHA-256 of a zero byte and the text.
pub fn log_leaf(text: &str) -> LogHash {
    LogHash::new(Sha256Tree::leaf(text.as_bytes()))
}

/// The RFC 9162 root over leaves.
pub fn log_root(leaves: &[LogHash]) -> LogHash {
    let mut log = Frontier::<Sha256Tree>::new();
    leaves.iter().for_each(|leaf| log.append(*leaf.as_bytes()));
    LogHash::new(log.root())
}

fn has_twins(level: &[TransactionHash]) -> bool {
    level.as_chunks::<2>().0.iter().any(|[left, right]| left == right)
}

fn parents(level: &[TransactionHash]) -> Vec<TransactionHash> {
    let (pairs, odd) = level.as_chunks::<2>();
    let pairs = pairs.iter().map(|[left, right]| parent(left, right));
    pairs.chain(odd.iter().map(|last| parent(last, last))).collect()
}

fn parent(left: &TransactionHash, right: &TransactionHash) -> TransactionHash {
    let mut text = [0; 128];
    let (first, second) = text.split_at_mut(64);
    first.copy_from_slice(&digits(left.as_bytes()));
    second.copy_from_slice(&digits(right.as_bytes()));
    TransactionHash::new(Sha256::digest(text).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: usize) -> Vec<TransactionHash> {
        (0..count).map(|n| transaction_hash(&n.to_string())).collect()
    }

    #[test]
    fn nothing_is_zeros_and_one_leaf_is_its_own_root() {
        assert_eq!(merkle_root(&[]), MerkleRoot::ZERO);
        let one = leaves(1);
        assert_eq!(merkle_root(&one).as_bytes(), one[0].as_bytes());
    }

    #[test]
    fn every_path_leads_to_the_root_and_to_nothing_else() {
        for count in 1..40 {
            let list = leaves(count);
            let root = merkle_root(&list);
            for position in 0..count {
                let siblings = path(&list, position).unwrap();
                assert_eq!(verify_path(list[position], position, count, &siblings), Some(root));
                for changed in 0..siblings.len() {
                    let mut wrong = siblings.clone();
                    wrong[changed] = transaction_hash("other");
                    assert_ne!(verify_path(list[position], position, count, &wrong), Some(root));
                }
                let mut longer = siblings.clone();
                longer.push(list[0]);
                assert_eq!(verify_path(list[position], position, count, &longer), None);
                if let Some((_, shorter)) = siblings.split_last() {
                    assert_eq!(verify_path(list[position], position, count, shorter), None);
                }
            }
            assert_eq!(path(&list, count), None);
            assert_eq!(verify_path(list[0], count, count, &[]), None);
        }
    }

    #[test]
    fn a_last_node_without_a_neighbour_has_no_other_sibling() {
        for (count, position, level) in [(3, 2, 0), (5, 4, 0), (5, 4, 1), (6, 5, 1), (7, 6, 0)] {
            let list = leaves(count);
            let mut siblings = path(&list, position).unwrap();
            siblings[level] = transaction_hash("other");
            let found = verify_path(list[position], position, count, &siblings);
            assert_eq!(found, None, "{position} of {count}, level {level}");
        }
    }

    /// RFC 9162 over 0, 1 and the first entries of the known-answer log of the C2SP formats.
    #[test]
    fn the_log_root_is_that_of_rfc_9162() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(log_root(&[]).to_string(), empty);
        let leaf = "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56";
        assert_eq!(log_leaf("L123456").to_string(), leaf);
        let leaves: Vec<_> = (0..7).map(|n| log_leaf(&format!("block {n}\n"))).collect();
        let of_five = "c78db167ec49b58a0e031016ef3434916ee0b1822a7bc3034883b16338f36dc6";
        let of_seven = "b27524e45c2664cae82f8aa490bd86c73cbcbc7a98426740ec8f9b9e6e87bc7a";
        assert_eq!(log_root(&leaves[..5]).to_string(), of_five);
        assert_eq!(log_root(&leaves).to_string(), of_seven);
    }

    /// CVE-2012-2459: [a, b, c] and [a, b, c, c] share a root, and so do six leaves and eight.
    #[test]
    fn a_list_padded_by_hand_shares_the_root_and_is_told() {
        for count in [3, 5, 6, 7, 12] {
            let honest = leaves(count);
            assert!(!mutated(&honest), "{count}");
            let mut padded = honest.clone();
            let width = 1 << count.trailing_zeros();
            padded.extend_from_slice(&honest[count - width..]);
            assert_eq!(merkle_root(&padded), merkle_root(&honest), "{count}");
            assert!(mutated(&padded), "{count}");
        }
    }
}
