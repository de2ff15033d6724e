//! `lucid up`: data-chain and block-manager in one process, over the folders of `--data`.

use anyhow::Context as _;
use lucid_block_manager::config::Config as ChainConfig;
use lucid_http::config::process_environment;
use lucid_http::serve::Shutdown;
use lucid_http::telemetry;

use super::{DONE, Home};
use crate::output::Output;
use crate::place::local::{chain_folder, data_folder};

/// Arguments of `lucid up`. Ports, hosts and everything else come from the environment.
#[derive(Debug, clap::Args)]
pub struct Up {}

impl Up {
    /// Runs both until it is told to end.
    pub fn run(&self, home: &Home, _: &Output) -> anyhow::Result<u8> {
        let environment = process_environment();
        let mut chain = ChainConfig::load(&environment, None)?;
        let mut data = lucid_data_chain::config::load(&environment, None)?;
        telemetry::init(data.config.common.log);
        chain.log();
        data.log();
        chain.config.common.data_dir = chain_folder(home);
        data.config.common.data_dir = data_folder(home);
        data.config.owner = "`lucid up`".into();
        if let Some(key) = &home.key_file {
            chain.config.root_key_file = Some(key.clone());
            data.config.root_key_file = Some(key.clone());
        }
        if let Some(passphrase) = home.passphrase() {
            chain.config.passphrase = Some(passphrase.clone());
            data.config.passphrase = Some(passphrase);
        }
        let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
        let ended = runtime.block_on(async {
            let shutdown = Shutdown::new();
            shutdown.on_signals().context("listening for signals")?;
            let chain = lucid_block_manager::service::start(chain.config, &shutdown).await?;
            let engine = format!("http://{}", chain.address());
            data.config.engine.get_or_insert(engine);
            let started = lucid_data_chain::service::serve(data.config, None, &shutdown).await;
            let ended = match started {
                Ok(data) => data.ended().await.map(|_| ()).map_err(anyhow::Error::from),
                Err(error) => {
                    // One without the other is not what was asked for.
                    shutdown.ask();
                    Err(error.into())
                }
            };
            // The chain ends last: it is where the last anchors go.
            chain.finished().await?;
            ended
        });
        // What still waits for a peer's answer has nobody to give it to.
        runtime.shutdown_background();
        ended.map(|()| DONE)
    }
}
