//! `lucid up`: data-chain and block-manager in one process, over the folders of `--data`.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use lucid_api::access::{Token, TokenSource};
use lucid_api::tls::ServerKey;
use lucid_block_manager::config::Config as ChainConfig;
use lucid_http::config::Effective;
use lucid_http::daily::{LOOK, say_daily};
use lucid_http::program::until_told;
use lucid_http::serve::Shutdown;
use lucid_http::telemetry::{self, LogFormat, LogLevel};
use lucid_http::tls::TlsConfig;
use lucid_store::crypt::random;
use lucid_store::files::disk::real::keep_to_owner;
use lucid_store::files::folder::is_store;
use lucid_store::files::folder::keys::{KeyExport, export_warning, key_export};

use super::config::{EnvFiles, both_sound};
use super::{DONE, Home, clock};
use crate::interrupt;
use crate::output::Output;
use crate::place::Place as _;
use crate::place::local::{Local, chain_folder, data_folder};

/// Arguments of `lucid up`. Ports, hosts and everything else come from the environment.
#[derive(Debug, clap::Args)]
pub struct Up {
    #[command(flatten)]
    files: EnvFiles,
}

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

/// Tells the log every day of which of the two folders no export of the root key was verified, in one line.
async fn tell_of_exports(folders: &[PathBuf], shutdown: &Shutdown) {
    let known = folders.iter().map(|folder| {
        let export =
            key_export(folder).unwrap_or_else(|error| KeyExport::Unknown(error.to_string()));
        (folder.clone(), export)
    });
    if let Some(warning) = export_warning(&known.collect::<Vec<_>>()) {
        let clock = clock();
        let seconds = || clock.moment().steady / 1_000_000;
        say_daily(seconds, LOOK, shutdown, || tracing::warn!("{warning}")).await;
    }
}

impl Up {
    /// This home, with what the files of variables say of it where options and the process say nothing.
    pub fn complete(&self, home: &Home) -> anyhow::Result<Home> {
        let (environment, _) = self.files.environment()?;
        let said = |name| environment.get(name).filter(|value| !value.is_empty());
        let path = |name| said(name).map(PathBuf::from);
        let reserve = said("LUCID_RESERVE_BYTES").and_then(|bytes| bytes.parse().ok());
        Ok(Home {
            key_file: home.key_file.clone().or_else(|| path("LUCID_MASTER_KEY_FILE")),
            passphrase_file: home.passphrase_file.clone().or_else(|| path("LUCID_PASSPHRASE_FILE")),
            blocks: home.blocks.clone().or_else(|| path("BLOCK_STORAGE_PATH")),
            // What is no number is told by the services, with everything else that is wrong.
            reserve: home.reserve.or(reserve),
            ..home.clone()
        })
    }

    /// Runs both until it is told to end.
    pub fn run(&self, home: &Home, output: &Output) -> anyhow::Result<u8> {
        keep_to_owner();
        let (environment, origins) = self.files.environment()?;
        // Each has its folder below the one of `--data`, regardless of what the environment says.
        let within = |folder: &Path| {
            let mut environment = environment.clone();
            environment.insert("LUCID_DATA_DIR".to_owned(), folder.display().to_string());
            environment
        };
        let chain = ChainConfig::load(&within(&chain_folder(home)), None);
        let mut of_data = within(&data_folder(home));
        if let Some(expected) = &home.expected {
            of_data.insert("DATA_CHAIN_STORE_ID".to_owned(), expected.id.to_string());
        }
        let data = lucid_data_chain::config::load(&of_data, None);
        let (chain, data) = both_sound(chain, data)?;
        let (mut chain, mut data) = (chain.name_files(&origins), data.name_files(&origins));
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
        log.colours &= !output.mode().plain;
        telemetry::init(*log);
        chain.config.common.data_dir = chain_folder(home);
        data.config.common.data_dir = data_folder(home);
        note_folder(&mut chain.effective, &chain.config.common.data_dir);
        note_folder(&mut data.effective, &data.config.common.data_dir);
        chain.log();
        data.log();
        data.config.owner = "`lucid up`".into();
        // It is told once for both.
        (chain.config.tells_of_export, data.config.tells_of_export) = (None, None);
        // The one calls the other, whatever credentials others have to show; those that it has for others are for them.
        if data.config.engine.is_none() {
            let own = Token::new(&random()?);
            chain.config.common.access.own = Some(own.clone());
            data.config.common.outbound.token = Some(TokenSource::Text(own));
        }
        if home.reserve.is_some() {
            chain.config.common.reserve_bytes = home.reserve;
            data.config.common.reserve_bytes = home.reserve;
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
            let data = match started {
                Ok(data) => Some(data),
                Err(lucid_data_chain::service::StartError::Stopped) => None,
                Err(error) => {
                    // One without the other is not what was asked for.
                    shutdown.ask();
                    chain.finished().await?;
                    return Err(error.into());
                }
            };
            let telling = data.is_some().then(|| {
                let (folders, until) = ([data_folder(home), chain_folder(home)], shutdown.clone());
                tokio::spawn(async move { tell_of_exports(&folders, &until).await })
            });
            if let Some(data) = data.as_ref().filter(|_| to_people) {
                let lines = welcome(scheme, &data.address(), &chain.address(), home);
                output.lines(&lines.into())?;
            }
            let data = async {
                match data {
                    Some(data) => data.ended().await.map(drop),
                    None => Ok(()),
                }
            };
            // Side by side, so that the two take no longer than one. Anchors go nowhere once the end is asked for.
            let (data, chain) = tokio::join!(data, chain.finished());
            if let Some(telling) = telling {
                telling.await?;
            }
            data?;
            chain?;
            Ok(())
        });
        ended.context("starting the runtime")?.map(|()| DONE)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cmd::{Arguments, Verb};

    #[test]
    fn what_a_file_of_variables_says_counts_where_no_option_does() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("env");
        let text =
            "LUCID_PASSPHRASE_FILE=/secret\nLUCID_RESERVE_BYTES=7\nBLOCK_STORAGE_PATH=/blocks\n";
        std::fs::write(&file, text).unwrap();
        let read = |more: &[&str]| {
            let named = [&["lucid", "up", "--env-file", file.to_str().unwrap()], more].concat();
            let arguments = Arguments::try_parse_from(named).unwrap();
            let Verb::Up(up) = &arguments.verb else { panic!("{arguments:?}") };
            up.complete(&arguments.home).unwrap()
        };
        let home = read(&[]);
        assert_eq!(home.passphrase_file.as_deref(), Some(Path::new("/secret")));
        assert_eq!(home.blocks.as_deref(), Some(Path::new("/blocks")));
        assert_eq!((home.reserve, home.key_file), (Some(7), None));
        assert_eq!(read(&["--reserve", "0"]).reserve, Some(0));
    }
}
