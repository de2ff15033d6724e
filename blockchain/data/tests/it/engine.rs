//! A block-manager of few routes: what it is given, it puts into a block of its own at once, or fails.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use lucid_api::paths;
use lucid_api::v1::chain::{ChainInfo, ChainState};
use lucid_api::v1::transactions::{
    TransactionAccepted, TransactionProof, TransactionState, TransactionStatus,
};
use lucid_core::block::Block;
use lucid_core::bundle::AnchorInclusion;
use lucid_core::record::{BlockEntry, BlockRecord};
use lucid_core::sign::SigningKey;
use lucid_core::time::Timestamp;
use lucid_core::transaction::Transaction;
use parking_lot::Mutex;
use tokio::runtime::Runtime;

pub struct Engine {
    pub address: SocketAddr,
    pub key: SigningKey,
    shared: Arc<Shared>,
    _runtime: Runtime,
}

struct Shared {
    key: SigningKey,
    blocks: Mutex<Vec<Block>>,
    is_down: AtomicBool,
    lies: AtomicBool,
    /// Whether its blocks spell their time without a zone.
    is_naive: AtomicBool,
    /// Why transactions fail when their block is made, if they do.
    fails: Mutex<Option<&'static str>>,
}

impl Engine {
    pub fn start() -> Self {
        let key = SigningKey::from_seed([9; 32]);
        let shared = Arc::new(Shared {
            key: key.clone(),
            blocks: Mutex::default(),
            is_down: AtomicBool::new(false),
            lies: AtomicBool::new(false),
            is_naive: AtomicBool::new(false),
            fails: Mutex::default(),
        });
        let app = Router::new()
            .route(paths::TRANSACTIONS, post(submit))
            .route(paths::TRANSACTION_PROOF, get(proof))
            .route(paths::TRANSACTION, get(state))
            .route(paths::CHAIN_INFO, get(info))
            .with_state(shared.clone());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { address, key, shared, _runtime: runtime }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn set_down(&self, is_down: bool) {
        self.shared.is_down.store(is_down, Ordering::SeqCst);
    }

    /// From now on its proofs name another block.
    pub fn lie(&self) {
        self.shared.lies.store(true, Ordering::SeqCst);
    }

    /// From now on its blocks spell their time without a zone.
    pub fn spell_no_zone(&self) {
        self.shared.is_naive.store(true, Ordering::SeqCst);
    }

    /// From now on transactions are let in, and left out of their block.
    pub fn fail(&self, why: &'static str) {
        *self.shared.fails.lock() = Some(why);
    }

    pub fn blocks(&self) -> Vec<Block> {
        self.shared.blocks.lock().clone()
    }
}

async fn info(State(engine): State<Arc<Shared>>) -> Json<ChainInfo> {
    let blocks = engine.blocks.lock();
    let hash = |block: Option<&Block>| block.map(|block| block.hash);
    Json(ChainInfo {
        height: blocks.len().saturating_sub(1) as u64,
        tentative_height: None,
        state: ChainState::Idle,
        last_updated: String::new(),
        block_count: blocks.len() as u64,
        latest_block_hash: hash(blocks.last()),
        genesis_hash: hash(blocks.first()),
        pruned_below: 0,
        max_blocks_to_keep: 0,
        last_maintenance: None,
        last_report: None,
        producer: None,
        statistics: Default::default(),
    })
}

async fn submit(
    State(engine): State<Arc<Shared>>,
    text: String,
) -> Result<(StatusCode, Json<TransactionAccepted>), StatusCode> {
    if engine.is_down.load(Ordering::SeqCst) {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let transaction = Transaction::parse(text.as_bytes()).unwrap();
    let mut blocks = engine.blocks.lock();
    let fails = engine.fails.lock().is_some();
    if !fails && find(&blocks, transaction.id()).is_none() {
        let parent = blocks.last().map(|block| block.as_parent().unwrap());
        let now = Timestamp::from_micros(1_800_000_000_000_000);
        let held = vec![transaction.clone()];
        let mut block = Block::build(parent.as_ref(), held, now, &engine.key);
        if engine.is_naive.load(Ordering::SeqCst) {
            block.timestamp = block.timestamp.trim_end_matches('Z').to_owned();
            block.hash = block.computed_hash();
            block.signature = Some(engine.key.sign(&BlockEntry::of(&block).signing_message()));
        }
        blocks.push(block);
    }
    let accepted = TransactionAccepted {
        tx_id: transaction.id().to_owned(),
        status: if fails { TransactionStatus::Failed } else { TransactionStatus::Pending },
        submitted_at: "2027-01-15T08:00:00.000000Z".to_owned(),
        confirmation_time: None,
        block_height: None,
    };
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}

async fn state(
    State(engine): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Json<TransactionState> {
    Json(TransactionState {
        tx_id: id,
        kind: None,
        data: None,
        status: TransactionStatus::Failed,
        submitted_at: None,
        confirmed_at: None,
        block_height: None,
        block_hash: None,
        transaction_index: None,
        reason: engine.fails.lock().map(str::to_owned),
    })
}

fn find<'a>(blocks: &'a [Block], id: &str) -> Option<&'a Block> {
    blocks.iter().find(|block| block.transactions.iter().any(|held| held.id() == id))
}

async fn proof(
    State(engine): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Json<TransactionProof>, (StatusCode, String)> {
    if engine.is_down.load(Ordering::SeqCst) {
        return Err((StatusCode::SERVICE_UNAVAILABLE, String::new()));
    }
    let blocks = engine.blocks.lock();
    let absent = || (StatusCode::NOT_FOUND, r#"{"code":"not_found"}"#.to_owned());
    let block = find(&blocks, &id).ok_or_else(absent)?;
    let record = BlockRecord::of(block);
    let anchored = AnchorInclusion::of(&record, &id).unwrap();
    let lies = engine.lies.load(Ordering::SeqCst);
    Ok(Json(TransactionProof {
        transaction: anchored.transaction,
        position: anchored.position,
        count: anchored.count,
        path: anchored.path,
        merkle_root: block.merkle_root,
        entry: anchored.entry,
        producer: anchored.producer.map(|producer| producer.key),
        signature: anchored.producer.map(|producer| producer.signature),
        block_index: block.index + u64::from(lies),
        block_hash: block.hash,
    }))
}
