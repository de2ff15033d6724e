//! The service over a disk that can be told to fail.

use std::sync::Arc;
use std::time::Duration;

use lucid_block_manager::app::App;
use lucid_block_manager::config::{Config, SERVICE};
use lucid_block_manager::opened::{ManagerKind, UnopenedManager, over};
use lucid_block_manager::routes::routes;
use lucid_core::sign::SigningKey;
use lucid_http::budget::FREE_BYTES;
use lucid_http::credentials::Credentials;
use lucid_http::porch::Porch;
use lucid_http::serve::{Listening, Shutdown};
use lucid_store::clock::Clock;
use lucid_store::crypt::Cipher;
use lucid_store::files::disk::Disk;
use lucid_store::files::disk::faulty::FaultyDisk;
use lucid_store::files::disk::simulated::SimulatedDisk;
use lucid_store::memory::index::MemoryIndex;
use serde_json::{Value, json};

use crate::service::{ask, transaction};

/// A block-manager over a disk, with a new index: it is derived.
pub fn unopened<D: Disk + Clone + 'static>(disk: &D) -> UnopenedManager {
    UnopenedManager {
        disk: Arc::new(disk.clone()),
        blocks: Arc::new(disk.clone()),
        store: [7; 16],
        cipher: Arc::new(Cipher::new(None)),
        index: Arc::new(MemoryIndex::new()),
        key: SigningKey::from_seed([3; 32]),
        accept_loss: false,
        block_file_bytes: 1 << 20,
        kind: ManagerKind::default(),
    }
}

/// The routes over a disk that fails.
pub struct OverDisk {
    pub app: App,
    pub disk: FaultyDisk,
    pub base: String,
}

impl OverDisk {
    pub async fn start() -> Self {
        let disk = FaultyDisk::over(Arc::new(SimulatedDisk::new()));
        let parts = unopened(&disk);
        let shutdown = Shutdown::new();
        let app = App::new(&shutdown, Clock::system(), Duration::from_secs(3_600), 0);
        app.set_opened(over(parts, Clock::system().now()).unwrap());
        let config = Config::load(&Default::default(), None).unwrap().config;
        let probed = app.clone();
        let porch = Porch::new(SERVICE, &config.common, &Credentials::nobody_asks(), move || {
            probed.report()
        });
        let router = porch.around(routes(app.clone()));
        let listening = Listening::bind(SERVICE, "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let base = format!("http://{}", listening.address());
        // It ends with the runtime of its test.
        tokio::spawn(async move { listening.serve(router, &shutdown).await });
        Self { app, disk, base }
    }

    /// Proposes a block that is made and cannot be answered with. The hash that is said of it.
    pub async fn propose_unanswered(&self) -> Value {
        let mut large = transaction("large");
        large["data"] = json!({ "filler": "x".repeat(4 * FREE_BYTES) });
        let wish = json!({ "transactions": [large] }).to_string();
        let (status, refused) =
            ask(&self.base, "POST", "/api/v1/blocks/propose", Some(&wish)).await;
        assert_eq!((status, &refused["code"]), (500, &"internal".into()), "{refused}");
        let details = &refused["error"]["details"];
        assert_eq!(details["index"], 0, "{refused}");
        assert!(refused["detail"].as_str().unwrap().starts_with("block 0 was made"), "{refused}");
        details["hash"].clone()
    }

    pub async fn has_block(&self, hash: &Value) {
        let (status, block) = ask(&self.base, "GET", "/api/v1/blocks/0", None).await;
        assert_eq!((status, &block["hash"]), (200, hash));
        assert_eq!(block["transactions"][0]["id"], "large");
    }
}
