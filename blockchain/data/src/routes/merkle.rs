//! Trees over chunks: build, read, prove, verify.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use lucid_api::paths;
use lucid_api::v1::chunks::{BuildTree, Tree, TreeProof, TreeQuery, VerifyProof};
use lucid_api::v1::verification::ProofVerdict;
use lucid_core::digest::SessionRoot;
use lucid_core::tree::{Blake3Tree, NodeHash, TreeHash as _, root_from_inclusion};
use lucid_http::extract::{JSON, Json, Path, Query};
use lucid_http::reply::Reply;

use super::{AppState, invalid, session_id};
use crate::app::App;
use crate::ops::OpError;
use crate::ops::proofs::build_tree::{
    HEIGHT_MAX, build_tree as build, directions, find_tree, prove_leaf as prove,
};
use crate::ops::proofs::prove_session::Allow;
use crate::ops::sight::Sight;
use crate::reply::chunks::tree as show;

/// A leaf that is shown: 64 digits as a text of their own, and in a text that grows to twice its length.
const SHOWN_LEAF_BYTES: usize = 24 + 64 + 2 * 67;

/// Builds a tree over chunks that are there.
#[utoipa::path(post, path = paths::MERKLE_BUILD, tag = "merkle", request_body = BuildTree,
    responses((status = 200, body = Tree)))]
pub async fn build_tree(
    State(app): AppState,
    sight: Sight,
    Json(wanted): Json<BuildTree>,
) -> Reply<Answer<Tree>> {
    let BuildTree { mut chunk_ids, chunk_hashes, session_id: session } = wanted;
    if !chunk_ids.is_empty() && !chunk_hashes.is_empty() {
        return Err(invalid("chunk_ids and chunk_hashes are two names of one list: send one"));
    }
    chunk_ids.extend(chunk_hashes);
    let session = session.as_deref().map(session_id).transpose()?;
    let place = app.rooms.large.take().await?;
    let tree = app
        .run(move |app| {
            let _place = place;
            let (vault, now) = (&app.opened.vault, app.clock.now());
            build(vault, &sight, now, session.as_ref(), &chunk_ids)
        })
        .await?;
    Ok(Answer(show(&tree, false)))
}

fn root_hash(text: &str) -> Reply<SessionRoot> {
    text.parse().map_err(|fault| invalid(format!("{fault}")))
}

/// A tree that was built earlier.
#[utoipa::path(get, path = paths::MERKLE_TREE, tag = "merkle",
    params(("root_hash" = String, Path), TreeQuery), responses((status = 200, body = Tree)))]
pub async fn get_tree(
    State(app): AppState,
    Path(root): Path<String>,
    Query(query): Query<TreeQuery>,
) -> Reply<Response> {
    let root = root_hash(&root)?;
    let make = move |app: &App, allow: Allow<'_>| {
        let tree = find_tree(&app.opened.vault, &root)?;
        if query.include_leaves {
            allow(tree.leaves.len() * SHOWN_LEAF_BYTES)?;
        }
        serde_json::to_vec(&show(&tree, query.include_leaves))
            .map_err(|error| OpError::Fault(error.to_string()))
    };
    Ok(([(CONTENT_TYPE, JSON)], app.run_asking(make).await?).into_response())
}

/// The way from one leaf to the root.
#[utoipa::path(get, path = paths::MERKLE_PROOF, tag = "merkle",
    params(("root_hash" = String, Path), ("leaf_index" = u64, Path)),
    responses((status = 200, body = TreeProof)))]
pub async fn prove_leaf(
    State(app): AppState,
    Path((root, index)): Path<(String, u64)>,
) -> Reply<Answer<TreeProof>> {
    let root = root_hash(&root)?;
    let place = app.rooms.large.take().await?;
    let (tree, proof) = app
        .run(move |app| {
            let _place = place;
            let tree = find_tree(&app.opened.vault, &root)?;
            let proof = prove(&tree, index)?;
            Ok((tree, proof))
        })
        .await?;
    let leaf = tree.leaves.get(usize::try_from(index).unwrap_or(usize::MAX));
    let (hashes, directions): (Vec<_>, Vec<_>) = proof.into_iter().unzip();
    Ok(Answer(TreeProof {
        leaf_hash: leaf.map(hex::encode).unwrap_or_default(),
        leaf_index: index,
        leaf_count: tree.leaves.len() as u64,
        proof_hashes: hashes.iter().map(hex::encode).collect(),
        proof_directions: directions,
        root_hash: root,
    }))
}

/// Whether a way leads from a leaf to a root. That it does not is an answer.
#[utoipa::path(post, path = paths::MERKLE_VERIFY, tag = "merkle", request_body = VerifyProof,
    responses((status = 200, body = ProofVerdict)))]
pub async fn verify_proof(
    State(app): AppState,
    Json(given): Json<VerifyProof>,
) -> Reply<Answer<ProofVerdict>> {
    let hash = |name: &str, text: &str| -> Reply<NodeHash> {
        let read: Result<SessionRoot, _> = text.parse();
        read.map(|hash| *hash.as_bytes()).map_err(|_| {
            invalid(format!("{name} is {text:?}; 64 lower-case hex digits are wanted"))
        })
    };
    let (root, leaf) = (hash("root_hash", &given.root_hash)?, hash("leaf_hash", &given.leaf_hash)?);
    let path = given.proof_path.iter().map(|text| hash("proof_path", text));
    let path: Vec<NodeHash> = path.collect::<Result<_, _>>()?;
    if path.len() > HEIGHT_MAX as usize {
        return Err(invalid(format!("proof_path has {} hashes; at most {HEIGHT_MAX}", path.len())));
    }
    let error = match (&given.proof_directions, given.leaf_count) {
        (Some(given), _) if given.len() != path.len() => {
            Some("proof_directions and proof_path differ in length".to_owned())
        }
        (Some(right), None) => {
            let climb = |below: NodeHash, (beside, right): (&NodeHash, &bool)| match right {
                true => Blake3Tree::node(&below, beside),
                false => Blake3Tree::node(beside, &below),
            };
            let found = path.iter().zip(right).fold(leaf, climb);
            (found != root).then(|| "the path leads to another root".to_owned())
        }
        (right, count) => {
            // Without a count the tree is taken to be full.
            let count = count.unwrap_or(1 << path.len());
            let contradicts =
                right.as_ref().is_some_and(|right| *right != directions(given.leaf_index, count));
            match root_from_inclusion::<Blake3Tree>(&leaf, given.leaf_index, count, &path) {
                _ if contradicts => {
                    Some("proof_directions are not those of leaf_index and leaf_count".to_owned())
                }
                None => Some(format!(
                    "a path of {} hashes is none of leaf {} in a tree of {count}",
                    path.len(),
                    given.leaf_index
                )),
                Some(found) if found != root => Some("the path leads to another root".to_owned()),
                Some(_) => None,
            }
        }
    };
    Ok(Answer(ProofVerdict {
        verified: error.is_none(),
        timestamp: app.clock.now().to_string(),
        error,
    }))
}
