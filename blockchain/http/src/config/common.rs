//! What every service can be told, and the rule who may reach it.
//!
//! Invariant: without credentials a service is reached from its own machine only, unless
//! `LUCID_AUTH=off` says otherwise in as many words.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::{Key, Settings};
use crate::layers::{Cors, Hosts};
use crate::telemetry::{LogConfig, LogFormat, LogLevel};

/// What is asked of callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Nothing is set: no credentials are asked for, and only this machine can call.
    Local,
    /// Switched off: no credentials are asked of any caller.
    Off,
}

/// How calls to other services are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outbound {
    /// `SERVICE_TIMEOUT_SECONDS`: for each attempt.
    pub timeout: Duration,
    /// `SERVICE_RETRY_COUNT`: attempts after the first.
    pub retry_count: u32,
    /// `SERVICE_RETRY_DELAY_SECONDS`: before the first of them; doubled each time.
    pub retry_delay: Duration,
}

/// The settings that every service has.
#[derive(Debug, Clone, PartialEq)]
pub struct CommonConfig {
    /// `<SERVICE>_HOST` and `<SERVICE>_PORT`: where it listens.
    pub bind: SocketAddr,
    /// `LUCID_DATA_DIR`: the service's own folder, with everything it keeps.
    pub data_dir: PathBuf,
    /// `LOG_LEVEL` and `LOG_FORMAT`.
    pub log: LogConfig,
    /// `<SERVICE>_CORS_ORIGINS` or `CORS_ORIGINS`: which web pages may call it.
    pub cors: Cors,
    /// `LUCID_ALLOWED_HOSTS`: by which names it may be asked for, beside its addresses.
    pub hosts: Hosts,
    /// How it calls other services.
    pub outbound: Outbound,
    /// `LUCID_AUTH`.
    pub auth: Auth,
}

impl CommonConfig {
    /// Reads them.
    pub fn read(settings: &mut Settings<'_>) -> Self {
        let auth = settings.choice(
            &Key::new("auth", "LUCID_AUTH"),
            ("local", Auth::Local),
            &[("off", Auth::Off)],
        );
        Self {
            bind: bind(settings, auth),
            data_dir: data_dir(settings),
            log: log(settings),
            cors: cors(settings, auth),
            hosts: hosts(settings),
            outbound: outbound(settings),
            auth,
        }
    }
}

fn bind(settings: &mut Settings<'_>, auth: Auth) -> SocketAddr {
    let (port, default) = (settings.own("port", "PORT"), settings.service.port);
    let address = SocketAddr::new(host(settings), settings.port(&port, default));
    if auth == Auth::Local && !address.ip().is_loopback() {
        let name = settings.own("host", "HOST");
        settings.refuse(format!(
            "{} is {}, and no credentials are configured: only a loopback address (127.0.0.1) may \
             be bound. Set LUCID_AUTH=off to serve everyone who can reach it",
            name.name(),
            address.ip(),
        ));
    }
    address
}

/// IP addresses are taken as they are. A name would bind any address that it happens to resolve to,
/// so it stands for every address, which is what operators who write a name here mean.
fn host(settings: &mut Settings<'_>) -> IpAddr {
    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let key = settings.own("host", "HOST");
    let text = settings.text(&key, "127.0.0.1");
    match (text.trim().parse(), text.trim()) {
        (Ok(address), _) => address,
        (Err(_), "localhost") => LOOPBACK,
        (Err(_), name) => {
            settings
                .warn(format!("{} is {name:?}, not an IP address: binding 0.0.0.0", key.name()));
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        }
    }
}

/// Without a setting, each service has its own folder below the one that the command line uses.
fn data_dir(settings: &mut Settings<'_>) -> PathBuf {
    let name = settings.service.name;
    let default = format!("./lucid-data/{}", name.strip_prefix("lucid-").unwrap_or(name));
    settings.path(&Key::new("data_dir", "LUCID_DATA_DIR"), &default)
}

fn log(settings: &mut Settings<'_>) -> LogConfig {
    LogConfig {
        level: settings.choice(
            &Key::new("log.level", "LOG_LEVEL"),
            ("INFO", LogLevel::Info),
            &[
                ("TRACE", LogLevel::Trace),
                ("DEBUG", LogLevel::Debug),
                ("WARNING", LogLevel::Warning),
                ("WARN", LogLevel::Warning),
                ("ERROR", LogLevel::Error),
                ("CRITICAL", LogLevel::Error),
            ],
        ),
        format: settings.choice(
            &Key::new("log.format", "LOG_FORMAT"),
            ("json", LogFormat::Json),
            &[("text", LogFormat::Text)],
        ),
    }
}

/// A page from anywhere in a browser on this machine could otherwise call a service that listens
/// only for this machine; so any origin is the default only where everyone is served anyway.
fn cors(settings: &mut Settings<'_>, auth: Auth) -> Cors {
    let key = settings.own("cors_origins", "CORS_ORIGINS").or("CORS_ORIGINS");
    let origins = settings.list(&key).unwrap_or_else(|| match auth {
        Auth::Local => Vec::new(),
        Auth::Off => vec!["*".to_owned()],
    });
    Cors::new(&origins).unwrap_or_else(|origin| {
        settings.invalid(&key, origin, Some("an origin is SCHEME://HOST[:PORT]".to_owned()));
        Cors::default()
    })
}

/// A name that it is bound by counts, too.
fn hosts(settings: &mut Settings<'_>) -> Hosts {
    let key = Key::new("allowed_hosts", "LUCID_ALLOWED_HOSTS");
    let names = settings.list(&key).unwrap_or_default();
    let hosts = Hosts::new(&names).unwrap_or_else(|name| {
        let reason = "a host is a name or an address without scheme, port and path".to_owned();
        settings.invalid(&key, name, Some(reason));
        Hosts::default()
    });
    let bound = settings.own("host", "HOST");
    hosts.and(&settings.text(&bound, "127.0.0.1"))
}

fn outbound(settings: &mut Settings<'_>) -> Outbound {
    let timeout = Key::new("outbound.timeout_seconds", "SERVICE_TIMEOUT_SECONDS");
    let retry_count = Key::new("outbound.retry_count", "SERVICE_RETRY_COUNT");
    let retry_delay = Key::new("outbound.retry_delay_seconds", "SERVICE_RETRY_DELAY_SECONDS");
    Outbound {
        timeout: settings.seconds(&timeout, 30.0, 0.1),
        retry_count: settings.within(&retry_count, 3, 0..=100),
        retry_delay: settings.seconds(&retry_delay, 1.0, 0.0),
    }
}
