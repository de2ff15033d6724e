//! Our trees against `ct-merkle`, an independent implementation of RFC 6962, and against forgery.

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof, RootHash};
use proptest::prelude::*;

use super::*;

type OracleTree<D> = MemoryBackedTree<D, [u8; 8]>;

fn entries(count: u64) -> Vec<[u8; 8]> {
    (0..count).map(u64::to_le_bytes).collect()
}

fn leaves<H: TreeHash>(count: u64) -> Vec<NodeHash> {
    entries(count).iter().map(|entry| H::leaf(entry)).collect()
}

fn flat(proof: &[NodeHash]) -> Vec<u8> {
    proof.concat()
}

/// Every root, inclusion proof and consistency proof up to a size, ours against the oracle's, and
/// the oracle's verifier on our proofs.
fn agree<H: TreeHash, D: ct_merkle::digest::Digest>(most: u64) {
    let all = leaves::<H>(most);
    let mut oracle = OracleTree::<D>::new();
    let mut frontier = Frontier::<H>::new();
    assert_eq!(frontier.root().as_slice(), D::digest(b"").as_slice());
    let mut roots: Vec<RootHash<D>> = Vec::new();
    for (size, entry) in (1..=most).zip(entries(most)) {
        oracle.push(entry);
        let now = &all[..size as usize];
        frontier.append(now[size as usize - 1]);
        let oracle_root = oracle.root();
        let our_root = frontier.root();
        assert_eq!(our_root.as_slice(), oracle_root.as_bytes().as_slice(), "size {size}");
        assert_eq!(our_root, root::<H>(now));
        for index in 0..size {
            let ours = inclusion_proof::<H>(now, index).unwrap();
            let theirs = oracle.prove_inclusion(index as usize);
            assert_eq!(flat(&ours), theirs.as_bytes(), "leaf {index} of {size}");
            assert!(verify_inclusion::<H>(&now[index as usize], index, size, &ours, &our_root));
            let read = InclusionProof::<D>::try_from_bytes(flat(&ours)).unwrap();
            oracle_root.verify_inclusion(&entries(most)[index as usize], index, &read).unwrap();
        }
        for (old, old_root) in (1..size).zip(&roots) {
            let ours = consistency_proof::<H>(now, old).unwrap();
            let theirs = oracle.prove_consistency((size - old) as usize);
            assert_eq!(flat(&ours), theirs.as_bytes(), "{old} of {size}");
            let bytes: NodeHash = old_root.as_bytes().as_slice().try_into().unwrap();
            assert!(verify_consistency::<H>(old, size, &ours, &bytes, &our_root));
            let read = ConsistencyProof::<D>::try_from_bytes(flat(&ours)).unwrap();
            oracle_root.verify_consistency(old_root, &read).unwrap();
        }
        roots.push(oracle_root);
    }
}

#[test]
fn sha256_trees_agree_with_the_oracle() {
    agree::<Sha256Tree, sha2::Sha256>(70);
}

#[test]
fn blake3_trees_agree_with_the_oracle() {
    agree::<Blake3Tree, blake3::Hasher>(70);
}

#[test]
fn known_answers_of_certificate_transparency() {
    assert_eq!(
        hex::encode(Sha256Tree::empty()),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    assert_eq!(
        hex::encode(Sha256Tree::leaf(b"L123456")),
        "395aa064aa4c29f7010acfe3f25db9485bbd4b91897b6ad7ad547639252b4d56"
    );
    let mut left = b"N123".to_vec();
    left.extend_from_slice(b"N456");
    assert_eq!(
        hex::encode(sha256(&[&[1], &left])),
        "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"
    );
}

#[test]
fn a_tree_continues_itself_by_nothing_and_no_other_of_its_size() {
    let (one, other) = (Blake3Tree::leaf(b"one"), Blake3Tree::leaf(b"other"));
    let same = |proof: &[NodeHash], new: &NodeHash| {
        verify_consistency::<Blake3Tree>(1, 1, proof, &one, new)
    };
    assert!(same(&[], &one));
    assert!(!same(&[], &other));
    assert!(!same(&[other], &one));
}

#[test]
fn frontiers_are_equal_when_they_stand_for_the_same_leaves() {
    let of = |leaves: &[u8]| {
        let mut frontier = Frontier::<Blake3Tree>::new();
        leaves.iter().for_each(|leaf| frontier.append(Blake3Tree::leaf(&[*leaf])));
        frontier
    };
    assert_eq!(of(&[1, 2, 3]), of(&[1, 2, 3]));
    assert_ne!(of(&[1, 2, 3]), of(&[1, 2, 4]));
    assert_ne!(of(&[1, 2]), of(&[1, 2, 3]));
}

#[test]
fn a_range_gives_the_root_for_every_range_of_every_small_tree() {
    for size in 1..=33u64 {
        let all = leaves::<Blake3Tree>(size);
        let root = root::<Blake3Tree>(&all);
        for start in 0..size {
            for end in start + 1..=size {
                let proof = range_proof::<Blake3Tree>(&all, start..end).unwrap();
                let inside = &all[start as usize..end as usize];
                let found = root_from_range::<Blake3Tree>(size, start, inside, &proof);
                assert_eq!(found, Some(root), "{start}..{end} of {size}");
                if end == start + 1 {
                    let single = inclusion_proof::<Blake3Tree>(&all, start).unwrap();
                    assert_eq!(single.len(), proof.len());
                }
            }
        }
    }
}

#[test]
fn proofs_of_another_length_are_refused() {
    let all = leaves::<Blake3Tree>(13);
    let whole = root::<Blake3Tree>(&all);
    for index in 0..13 {
        let proof = inclusion_proof::<Blake3Tree>(&all, index).unwrap();
        let leaf = &all[index as usize];
        let mut longer = proof.clone();
        longer.push([0; 32]);
        assert!(!verify_inclusion::<Blake3Tree>(leaf, index, 13, &longer, &whole));
        assert!(!verify_inclusion::<Blake3Tree>(leaf, index, 13, &proof[1..], &whole));
        assert!(!verify_inclusion::<Blake3Tree>(leaf, 13, 13, &proof, &whole));
    }
    for old in 1..13u64 {
        let proof = consistency_proof::<Blake3Tree>(&all, old).unwrap();
        let before = root::<Blake3Tree>(&all[..old as usize]);
        let mut longer = proof.clone();
        longer.push([0; 32]);
        assert!(!verify_consistency::<Blake3Tree>(old, 13, &longer, &before, &whole));
        assert!(!verify_consistency::<Blake3Tree>(old, 13, &proof[1..], &before, &whole));
        assert!(!verify_consistency::<Blake3Tree>(old, 13, &[], &before, &whole));
    }
    for (start, end) in [(0, 5), (3, 9), (12, 13), (4, 8)] {
        let proof = range_proof::<Blake3Tree>(&all, start..end).unwrap();
        let inside = &all[start as usize..end as usize];
        let mut longer = proof.clone();
        longer.push([0; 32]);
        assert_eq!(root_from_range::<Blake3Tree>(13, start, inside, &longer), None);
        assert_eq!(root_from_range::<Blake3Tree>(13, start, inside, &proof[1..]), None);
    }
}

#[test]
fn nothing_is_proved_about_what_is_not_there() {
    let all = leaves::<Blake3Tree>(4);
    let whole = root::<Blake3Tree>(&all);
    assert_eq!(inclusion_proof::<Blake3Tree>(&all, 4), None);
    assert_eq!(consistency_proof::<Blake3Tree>(&all, 0), None);
    assert_eq!(consistency_proof::<Blake3Tree>(&all, 5), None);
    assert!(!verify_consistency::<Blake3Tree>(0, 4, &[], &Blake3Tree::empty(), &whole));
    assert!(!verify_consistency::<Blake3Tree>(5, 4, &[], &whole, &whole));
    assert!(verify_consistency::<Blake3Tree>(4, 4, &[], &whole, &whole));
    for (start, end) in [(2, 2), (0, 5), (4, 5), (5, 6)] {
        assert_eq!(range_proof::<Blake3Tree>(&all, start..end), None);
    }
    assert_eq!(root_from_range::<Blake3Tree>(4, 2, &[], &[whole]), None);
    assert_eq!(root_from_range::<Blake3Tree>(4, u64::MAX, &all[..1], &[]), None);
}

#[test]
fn a_huge_claimed_size_costs_no_more_than_the_proof_at_hand() {
    let leaf = [7; 32];
    assert_eq!(root_from_range::<Blake3Tree>(u64::MAX, 5, &[leaf], &[leaf; 9]), None);
    assert_eq!(root_from_inclusion::<Blake3Tree>(&leaf, u64::MAX - 1, u64::MAX, &[leaf]), None);
    assert!(!verify_consistency::<Blake3Tree>(u64::MAX - 1, u64::MAX, &[leaf], &leaf, &leaf));
    assert!(root_from_range::<Blake3Tree>(u64::MAX, 5, &[leaf], &[leaf; 64]).is_some());
}

proptest! {
    #[test]
    fn a_frontier_reads_back_and_goes_on(before in 0u64..200, after in 0u64..50) {
        let all = leaves::<Blake3Tree>(before + after);
        let mut frontier = Frontier::<Blake3Tree>::new();
        all[..before as usize].iter().for_each(|leaf| frontier.append(*leaf));
        let mut again = Frontier::<Blake3Tree>::decode(&frontier.encode()).unwrap();
        prop_assert_eq!(&again, &frontier);
        all[before as usize..].iter().for_each(|leaf| again.append(*leaf));
        prop_assert_eq!(again.root(), root::<Blake3Tree>(&all));
        prop_assert_eq!(again.size(), before + after);
    }

    #[test]
    fn a_frontier_is_read_from_nothing_else(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(frontier) = Frontier::<Blake3Tree>::decode(&bytes) {
            prop_assert_eq!(frontier.encode(), bytes);
        }
    }

    #[test]
    fn arbitrary_proofs_never_panic(
        size in any::<u64>(),
        at in any::<u64>(),
        proof in proptest::collection::vec(any::<[u8; 32]>(), 0..70),
        some in proptest::collection::vec(any::<[u8; 32]>(), 0..9),
    ) {
        let leaf = [1; 32];
        let _ = verify_inclusion::<Blake3Tree>(&leaf, at, size, &proof, &leaf);
        let _ = verify_consistency::<Blake3Tree>(at, size, &proof, &leaf, &leaf);
        let _ = root_from_range::<Blake3Tree>(size, at, &some, &proof);
    }
}
