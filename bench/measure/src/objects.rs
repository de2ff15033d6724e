//! A load of objects into a bucket and out of it again, by the driver that a store uses and without a store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures_util::TryStreamExt as _;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt as _};
use serde_json::{Value, json};

use crate::http::{Load, noise};

/// A bucket.
#[derive(Debug, clap::Args)]
pub struct Bucket {
    #[arg(long, env = "LUCID_S3_ENDPOINT")]
    endpoint: String,
    #[arg(long, env = "LUCID_S3_BUCKET")]
    bucket: String,
    #[arg(long, env = "LUCID_S3_REGION", default_value = "us-east-1")]
    region: String,
    /// What the names of objects begin with.
    #[arg(long, env = "LUCID_S3_PREFIX", default_value = "measured")]
    prefix: String,
    #[arg(long, env = "LUCID_S3_ACCESS_KEY_ID", hide_env_values = true)]
    access_key_id: String,
    #[arg(long, env = "LUCID_S3_SECRET_ACCESS_KEY", hide_env_values = true)]
    secret_access_key: String,
}

impl Bucket {
    fn open(&self) -> anyhow::Result<Arc<dyn ObjectStore>> {
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        let is_plain = self.endpoint.starts_with("http://");
        let store = AmazonS3Builder::new()
            .with_endpoint(self.endpoint.trim_end_matches('/'))
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_access_key_id(&self.access_key_id)
            .with_secret_access_key(&self.secret_access_key)
            .with_virtual_hosted_style_request(false)
            .with_conditional_put(S3ConditionalPut::Disabled)
            .with_client_options(ClientOptions::new().with_allow_http(is_plain))
            .build()?;
        Ok(Arc::new(store))
    }
}

/// Puts and gets objects of a size, from so many clients at once.
pub fn measure(
    bucket: &Bucket,
    clients: usize,
    bytes: usize,
    seconds: u64,
) -> anyhow::Result<Value> {
    let (store, prefix) = (bucket.open()?, Path::parse(&bucket.prefix)?);
    tokio::runtime::Runtime::new()?.block_on(async {
        let (to, below) = (store.clone(), prefix.clone());
        let put = load(clients, seconds, move |client, turn| {
            let (to, at) = (to.clone(), object(&below, client, turn));
            async move {
                to.put(&at, noise(client as u64, turn, bytes).into()).await?;
                Ok(())
            }
        })
        .await?;
        // Each client has put about as many, and asks only for those that all have surely put.
        let turns = (put.count() / clients / 2).max(1) as u64;
        let get = load(clients, seconds.min(5), move |client, turn| {
            let (from, at) = (store.clone(), object(&prefix, client, turn % turns));
            async move {
                let got = from.get(&at).await?.bytes().await?;
                anyhow::ensure!(got.len() == bytes, "{at} has {} bytes", got.len());
                Ok(())
            }
        })
        .await?;
        Ok(json!({
            "clients": clients, "bytes": bytes,
            "put": put.told(bytes), "get": get.told(bytes),
        }))
    })
}

/// How many objects there are below the prefix, and how many bytes they have.
pub fn count(bucket: &Bucket) -> anyhow::Result<Value> {
    let (store, prefix) = (bucket.open()?, Path::parse(&bucket.prefix)?);
    let all: Vec<_> = tokio::runtime::Runtime::new()?
        .block_on(async { store.list(Some(&prefix)).map_ok(|it| it.size).try_collect().await })?;
    Ok(json!({ "objects": all.len(), "bytes": all.iter().sum::<u64>() }))
}

fn object(prefix: &Path, client: usize, turn: u64) -> Path {
    prefix.clone().join(format!("{client}-{turn}"))
}

async fn load<F>(
    clients: usize,
    seconds: u64,
    ask: impl Fn(usize, u64) -> F + Clone + Send + Sync + 'static,
) -> anyhow::Result<Load>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let started = Instant::now();
    let until = started + Duration::from_secs(seconds);
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let ask = ask.clone();
            tokio::spawn(async move {
                let (mut took, mut turn) = (Vec::new(), 0);
                while Instant::now() < until {
                    let asked = Instant::now();
                    ask(client, turn).await?;
                    took.push(asked.elapsed());
                    turn += 1;
                }
                anyhow::Ok(took)
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.context("a client panicked")??);
    }
    Ok(Load::of(started.elapsed(), took))
}
