//! What every service can be told, and the rule who may reach it.
//!
//! Invariant: where no credentials are asked for, a service is reached from its own machine only, unless
//! `LUCID_AUTH=off` says otherwise in as many words.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use lucid_api::access::{Token, TokenSource};
use lucid_api::client::{Breaking, ClientOptions, GivenUp, Pace, Retry, Trust};
use lucid_api::tls::{Pin, ServerKey};

use super::{BackEnds, Key, Settings};
use crate::credentials::{AccessConfig, SecretSource};
use crate::layers::{Cors, Hosts};
use crate::rates::RatesConfig;
use crate::telemetry::{LogConfig, LogFormat, LogLevel};
use crate::tls::TlsConfig;

/// What is asked of callers for whom there are no credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Nothing is set: only this machine can call.
    Local,
    /// Switched off: no credentials are asked of any caller.
    Off,
}

/// How calls to other services are made.
#[derive(Debug, Clone, PartialEq)]
pub struct Outbound {
    /// `SERVICE_TIMEOUT_SECONDS`: for each attempt.
    pub timeout: Duration,
    /// `SERVICE_RETRY_COUNT`: attempts after the first.
    pub retry_count: u32,
    /// `SERVICE_RETRY_DELAY_SECONDS`: before the first of them; doubled each time.
    pub retry_delay: Duration,
    /// `LUCID_PEER_TOKEN` or `LUCID_PEER_TOKEN_FILE`: what is shown to them.
    pub token: Option<TokenSource>,
    /// `LUCID_CA_FILE`: authorities that are believed besides those of the system.
    pub authorities: Option<PathBuf>,
    /// `LUCID_PEER_PIN`: the key that they have.
    pub pin: Option<ServerKey>,
    /// When one that fails is left alone for a while; no setting.
    pub breaking: Breaking,
}

impl Outbound {
    /// How a service is called for as long as this one runs. `is_ending` says when it does not any more.
    pub fn options(&self, is_ending: GivenUp) -> ClientOptions {
        let Self { timeout, retry_count, retry_delay, token, authorities, pin, breaking } =
            self.clone();
        ClientOptions {
            timeout,
            retry: Retry { count: retry_count, delay: retry_delay },
            token,
            trust: Trust { authorities, pin },
            breaking: Some(breaking),
            pace: Pace::FREE,
            given_up: is_ending,
            ..ClientOptions::default()
        }
    }
}

/// The settings that every service has.
#[derive(Debug, Clone, PartialEq)]
pub struct CommonConfig {
    /// `<SERVICE>_HOST` and `<SERVICE>_PORT`: where it listens.
    pub bind: SocketAddr,
    /// `LUCID_DATA_DIR`: the service's own folder, with everything it keeps.
    pub data_dir: PathBuf,
    /// `LUCID_RESERVE_BYTES`: how much room stays free on its disks, if that is said.
    pub reserve_bytes: Option<u64>,
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
    /// Which credentials count.
    pub access: AccessConfig,
    /// How many requests a caller may make.
    pub rates: RatesConfig,
    /// By what connections are encrypted, if they are.
    pub tls: Option<TlsConfig>,
    /// What of the store is not in its folder.
    pub back_ends: BackEnds,
}

/// The list of tokens in a data folder, which `lucid token` keeps.
pub const TOKENS: &str = "tokens";

impl CommonConfig {
    /// Reads them.
    pub fn read(settings: &mut Settings<'_>) -> Self {
        let auth = settings.choice(
            &Key::new(
                "auth",
                "LUCID_AUTH",
                "`off`: [everyone may call](OPERATING.md#who-may-call)",
            ),
            ("local", Auth::Local),
            &[("off", Auth::Off)],
        );
        let data_dir = data_dir(settings);
        let access = access(settings, &data_dir, auth);
        let back_ends = super::backend::read(settings);
        Self {
            bind: bind(settings, auth, &access),
            data_dir,
            reserve_bytes: settings.optional_value(&super::keys::reserve()),
            log: log(settings),
            cors: cors(settings, auth),
            hosts: hosts(settings),
            outbound: outbound(settings),
            auth,
            access,
            rates: rates(settings),
            tls: tls(settings),
            back_ends,
        }
    }
}

fn rates(settings: &mut Settings<'_>) -> RatesConfig {
    let limit = Key::new(
        "rate_limit",
        "LUCID_RATE_LIMIT",
        "requests a second of one [caller](ACCESS.md#how-often); 0 sets no limit",
    );
    let per_second = settings.within(&limit, 0, 0..=1_000_000);
    let key = Key::new(
        "trusted_proxies",
        "LUCID_TRUSTED_PROXIES",
        "addresses and networks of proxies, whose `X-Forwarded-For` is [believed](ACCESS.md#how-often)",
    );
    let mut proxies = Vec::new();
    for text in settings.list(&key).unwrap_or_default() {
        let alone = text.parse::<IpAddr>().map(IpNet::from);
        match alone.or_else(|_| text.parse()) {
            Ok(net) => proxies.push(net),
            Err(_) => {
                let reason = "an address or a network, like 10.0.0.1 or 10.0.0.0/8".to_owned();
                settings.invalid(&key, text, Some(reason));
            }
        }
    }
    RatesConfig { per_second: NonZeroU32::new(per_second), proxies }
}

fn tls(settings: &mut Settings<'_>) -> Option<TlsConfig> {
    let certificate = settings.optional(&Key::new(
        "tls.cert_file",
        "LUCID_TLS_CERT_FILE",
        "the certificate by which connections are [encrypted](ACCESS.md#tls), in PEM, with those that lead to an \
         authority",
    ));
    let key = settings.optional(&Key::new(
        "tls.key_file",
        "LUCID_TLS_KEY_FILE",
        "the certificate's private key, in PEM",
    ));
    let config = match (certificate, key) {
        (None, None) => return None,
        (Some(certificate), Some(key)) => {
            TlsConfig { certificate: certificate.into(), key: key.into() }
        }
        (certificate, _) => {
            let (one, other) = match certificate {
                Some(_) => ("LUCID_TLS_CERT_FILE", "LUCID_TLS_KEY_FILE"),
                None => ("LUCID_TLS_KEY_FILE", "LUCID_TLS_CERT_FILE"),
            };
            settings.refuse(format!("{one} is set and {other} is not: set both, or neither"));
            return None;
        }
    };
    config.fault().into_iter().for_each(|why| settings.refuse(why));
    Some(config)
}

fn access(settings: &mut Settings<'_>, data_dir: &Path, auth: Auth) -> AccessConfig {
    let tokens = Key::new(
        "tokens_file",
        "LUCID_TOKENS_FILE",
        "a [list of tokens](ACCESS.md#tokens), read again whenever it changes",
    );
    let tokens = settings.optional(&tokens.otherwise("`tokens` in the folder"));
    let jwt_secret = settings.secret(&Key::new(
        "jwt.secret",
        "LUCID_JWT_SECRET",
        "the key of [JWTs](ACCESS.md#jwt) that are signed with HS256",
    ));
    let jwt_key = Key::new(
        "jwt.public_key_file",
        "LUCID_JWT_PUBLIC_KEY_FILE",
        "the public key of [JWTs](ACCESS.md#jwt) that are signed with EdDSA, as PEM or in hex",
    );
    let mut kept = vec![data_dir.join(TOKENS)];
    // The folders of both services stand in the one that the command line is given.
    if data_dir.file_name().is_some_and(|name| name == own_folder(settings)) {
        kept.extend(data_dir.parent().map(|data| data.join(TOKENS)));
    }
    let access = AccessConfig {
        tokens: tokens.map(PathBuf::from),
        kept,
        jwt_secret,
        jwt_public_key: settings.optional(&jwt_key).map(PathBuf::from),
        own: None,
    };
    access.faults().into_iter().for_each(|why| settings.refuse(why));
    if auth == Auth::Off && access.asks() {
        settings.refuse(
            "LUCID_AUTH=off serves everyone, and there are credentials (LUCID_TOKENS_FILE, LUCID_JWT_*, or the \
             file `tokens` of the data folder): unset one of them",
        );
    }
    access
}

fn bind(settings: &mut Settings<'_>, auth: Auth, access: &AccessConfig) -> SocketAddr {
    let port = settings.own("port", "PORT", "the port that the service listens on");
    let default = settings.service.port;
    let address = SocketAddr::new(host(settings), settings.port(&port, default));
    if auth == Auth::Local && !access.asks() && !address.ip().is_loopback() {
        let name = host_key(settings);
        settings.refuse(format!(
            "{} is {}, and no credentials are configured: only a loopback address (127.0.0.1) may \
             be bound. Make a token (`lucid token create --data {} --role admin`) or name a list of them \
             (LUCID_TOKENS_FILE), or set LUCID_AUTH=off to serve everyone who can reach it",
            name.name(),
            address.ip(),
            access.kept.last().and_then(|list| list.parent()).unwrap_or(Path::new(".")).display(),
        ));
    }
    address
}

/// Where a service listens if nothing else is said.
const DEFAULT_HOST: &str = "127.0.0.1";

fn host_key(settings: &Settings<'_>) -> Key {
    settings.own(
        "host",
        "HOST",
        "the address that the service listens on; any but this machine's needs \
         [credentials](OPERATING.md#who-may-call). A name stands for every address",
    )
}

/// IP addresses are taken as they are. A name would bind any address that it happens to resolve to,
/// so it stands for every address, which is what operators who write a name here mean.
fn host(settings: &mut Settings<'_>) -> IpAddr {
    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let key = host_key(settings);
    let text = settings.text(&key, DEFAULT_HOST);
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
    let default = format!("./lucid-data/{}", own_folder(settings));
    let about = "the service's own folder, with everything that it keeps";
    settings.path(&Key::new("data_dir", "LUCID_DATA_DIR", about), &default)
}

/// What a service's folder is called there.
fn own_folder(settings: &Settings<'_>) -> &'static str {
    let name = settings.service.name;
    name.strip_prefix("lucid-").unwrap_or(name)
}

fn log(settings: &mut Settings<'_>) -> LogConfig {
    LogConfig {
        level: settings.choice(
            &Key::new("log.level", "LOG_LEVEL", "what is worth a line of the log, at least"),
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
            &Key::new("log.format", "LOG_FORMAT", "how a line of the log is written"),
            ("json", LogFormat::Json),
            &[("text", LogFormat::Text)],
        ),
        colours: true,
    }
}

/// A page from anywhere in a browser on this machine could otherwise call a service that listens
/// only for this machine; so any origin is the default only where everyone is served anyway.
fn cors(settings: &mut Settings<'_>, auth: Auth) -> Cors {
    let about = "web pages that may read, and if they are listed by name, change something: \
        [why](API.md#callers-that-are-browsers)";
    let key = settings.own("cors_origins", "CORS_ORIGINS", about).or("CORS_ORIGINS");
    let key = key.otherwise("none; `*` with `LUCID_AUTH=off`");
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
    let key = Key::new(
        "allowed_hosts",
        "LUCID_ALLOWED_HOSTS",
        "names by which the service may be asked for, beside its addresses and `localhost`; `*` for any: \
         [why](API.md#callers-that-are-browsers)",
    );
    let names = settings.list(&key).unwrap_or_default();
    let hosts = Hosts::new(&names).unwrap_or_else(|name| {
        let reason = "a host is a name or an address without scheme, port and path".to_owned();
        settings.invalid(&key, name, Some(reason));
        Hosts::default()
    });
    let bound = host_key(settings);
    hosts.and(&settings.text(&bound, DEFAULT_HOST))
}

/// Authorities that are no use are a mistake in the settings, and not a service that is away.
fn authorities(settings: &mut Settings<'_>) -> Option<PathBuf> {
    let key = Key::new(
        "outbound.ca_file",
        "LUCID_CA_FILE",
        "authorities, in PEM, by which other services are [believed](ACCESS.md#tls) beside those of the system; \
         also for `lucid`",
    );
    let path = PathBuf::from(settings.optional(&key)?);
    let trust = Trust { authorities: Some(path.clone()), pin: None };
    if let Some(why) = trust.fault() {
        settings.invalid(&key, path.display().to_string(), Some(why));
    }
    Some(path)
}

fn outbound(settings: &mut Settings<'_>) -> Outbound {
    let timeout = Key::new(
        "outbound.timeout_seconds",
        "SERVICE_TIMEOUT_SECONDS",
        "how long an answer of another service may take",
    );
    let retry_count = Key::new(
        "outbound.retry_count",
        "SERVICE_RETRY_COUNT",
        "how often a call to another service is tried again that may be",
    );
    let retry_delay = Key::new(
        "outbound.retry_delay_seconds",
        "SERVICE_RETRY_DELAY_SECONDS",
        "how long it waits for that at first; twice as long each time",
    );
    let retry_delay = settings.seconds(&retry_delay, 1.0, 0.0);
    Outbound {
        timeout: settings.seconds(&timeout, 30.0, 0.1),
        retry_count: settings.within(&retry_count, 3, 0..=100),
        retry_delay,
        token: settings
            .secret(&Key::new(
                "peer_token",
                "LUCID_PEER_TOKEN",
                "the token that is shown to other services",
            ))
            .map(|secret| match secret {
                SecretSource::Text(secret) => TokenSource::Text(Token::given(secret.expose())),
                SecretSource::File(path) => TokenSource::File(path),
            }),
        authorities: authorities(settings),
        pin: settings
            .optional_value::<Pin>(&Key::new(
                "outbound.pin",
                "LUCID_PEER_PIN",
                "the key by which alone another service is [believed](ACCESS.md#tls)",
            ))
            .map(Pin::into),
        breaking: Breaking { pause: retry_delay, ..Breaking::default() },
    }
}
