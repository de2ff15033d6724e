//! `lucid up`: data-chain and block-manager in one process, over the folders of `--data`.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use lucid_api::access::{Token, TokenSource};
use lucid_api::tls::ServerKey;
use lucid_block_manager::config::Config as ChainConfig;
use lucid_http::config::{ConfigError, Effective, process_environment};
use lucid_http::program::until_told;
use lucid_http::telemetry::{self, LogFormat, LogLevel};
use lucid_http::tls::TlsConfig;
use lucid_store::crypt::random;
use lucid_store::files::disk::real::keep_to_owner;
use lucid_store::files::folder::is_store;

use super::{DONE, Home, clock};
use crate::interrupt;
use crate::output::Output;
use crate::place::Place as _;
use crate::place::local::{Local, chain_folder, data_folder};

/// All mistakes in one line.
fn sound<T>(loaded: Result<T, ConfigError>) -> anyhow::Result<T> {
    loaded.map_err(|ConfigError { mistakes }| {
        let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(mistakes.join("; "))
    })
}

/// Arguments of `lucid up`. Ports, hosts and everything else come from the environment.
#[derive(Debug, clap::Args)]
pub struct Up {}

/// The folder is the one of `--data`, regardless of what the settings of a service say.
fn note_folder(effective: &mut [Effective], folder: &Path) {
    for setting in effective.iter_mut().filter(|setting| setting.name == "LUCID_DATA_DIR") {
        setting.value = folder.display().to_string();
        setting.source = "--data".to_owned();
    }
}

/// What a user who has started it by hand wants to know.
fn welcome(scheme: &str, data: &SocketAddr, chain: &SocketAddr, home: &Home) -> Vec<String> {
    let folder = home.data.canonicalize().unwrap_or_else(|_| home.data.clone());
    vec![
        format!("data-chain     {scheme}://{data}"),
        format!("block-manager  {scheme}://{chain}"),
        format!("folder         {}", folder.display()),
        "Ctrl-C ends both; LOG_LEVEL=INFO shows what they do".to_owned(),
    ]
}

impl Up {
    /// Runs both until it is told to end.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        keep_to_owner();
        let environment = process_environment();
        // Each has its folder below the one of `--data`, regardless of what the environment says.
        let within = |folder: &Path| {
            let mut environment = environment.clone();
            environment.insert("LUCID_DATA_DIR".to_owned(), folder.display().to_string());
            environment
        };
        let mut chain = sound(ChainConfig::load(&within(&chain_folder(home)), None))?;
        let data = lucid_data_chain::config::load(&within(&data_folder(home)), None);
        let mut data = sound(data)?;
        // Both have said the same of what neither of them heeds.
        data.warnings.retain(|warning| !chain.warnings.contains(warning));
        let to_people = std::io::stdout().is_terminal() && !output.mode().json;
        let set = |name| environment.get(name).is_some_and(|value: &String| !value.is_empty());
        let log = &mut data.config.common.log;
        if output.mode().json {
            log.format = LogFormat::Json;
        } else if to_people && !set("LOG_FORMAT") {
            log.format = LogFormat::Text;
        }
        let is_less = output.mode().quiet || (to_people && !set("LOG_LEVEL"));
        if is_less && !matches!(log.level, LogLevel::Error) {
            log.level = LogLevel::Warning;
        }
        telemetry::init(*log);
        chain.config.common.data_dir = chain_folder(home);
        data.config.common.data_dir = data_folder(home);
        note_folder(&mut chain.effective, &chain.config.common.data_dir);
        note_folder(&mut data.effective, &data.config.common.data_dir);
        chain.log();
        data.log();
        data.config.owner = "`lucid up`".into();
        // The one calls the other, whatever credentials others have to show; those that it has for others are for them.
        if data.config.engine.is_none() {
            let own = Token::new(&random()?);
            chain.config.common.access.own = Some(own.clone());
            data.config.common.outbound.token = Some(TokenSource::Text(own));
        }
        if let Some(blocks) = &home.blocks {
            chain.config.blocks = Some(blocks.clone());
        }
        // The settings of the two services name the same key for both; each is given its own.
        if home.key_file.is_some() || home.passphrase().is_some() {
            let (key, passphrase) = home.given_to(&chain_folder(home));
            (chain.config.root_key_file, chain.config.passphrase) = (key, passphrase);
            let (key, passphrase) = home.given_to(&data_folder(home));
            (data.config.root_key_file, data.config.passphrase) = (key, passphrase);
        }
        // Two services that start side by side would not notice that the chain's folder is not mounted.
        let is_alone = data.config.engine.is_none() && is_store(&data_folder(home))?;
        if is_alone && !is_store(&chain_folder(home))? {
            let local = Local::open(home, "up", &clock())?;
            local.chain_is_at_hand()?;
            Box::new(local).close()?;
        }
        let tls = chain.config.common.tls.clone();
        let ended = until_told(2, async |shutdown| {
            interrupt::leave();
            let chain = match lucid_block_manager::service::start(chain.config, &shutdown).await {
                // That is what was asked for.
                Err(lucid_block_manager::service::StartError::Stopped) => return Ok(()),
                started => started?,
            };
            let scheme = if tls.is_some() { "https" } else { "http" };
            if data.config.engine.is_none() {
                // Its name is not in the certificate, perhaps, and its key is the file's.
                data.config.engine = Some(format!("{scheme}://{}", chain.address()).into());
                data.config.common.outbound.pin =
                    tls.map(|TlsConfig { certificate, .. }| ServerKey::OfFile(certificate));
            }
            let started = lucid_data_chain::service::serve(data.config, None, &shutdown).await;
            let ended = match started {
                Ok(data) if to_people => {
                    let lines = welcome(scheme, &data.address(), &chain.address(), home);
                    output.lines(&lines.into())?;
                    data.ended().await.map(|_| ()).map_err(anyhow::Error::from)
                }
                Ok(data) => data.ended().await.map(|_| ()).map_err(anyhow::Error::from),
                Err(lucid_data_chain::service::StartError::Stopped) => Ok(()),
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
        ended.context("starting the runtime")?.map(|()| DONE)
    }
}
