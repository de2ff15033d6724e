//! Where a service keeps what it keeps: in files of its folder, or with its log in MongoDB and its chunks in a bucket.
//!
//! Both services heed the variables of the database, because one file of settings is often given to both; each has
//! collections of its own there. Only a data-chain has chunks. The command line reads the same variables.

use std::time::Duration;

use super::secret::Secret;
use super::{ConfigError, Environment, Key, Settings, Values};
use crate::Service;

/// What is not in the service's folder; by default nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BackEnds {
    /// The database of the log.
    pub mongo: Option<MongoSettings>,
    /// The bucket of the chunks.
    pub bucket: Option<BucketSettings>,
}

/// A database, and how it is reached.
#[derive(Debug, Clone, PartialEq)]
pub struct MongoSettings {
    /// The variable that names it.
    pub said_by: String,
    /// Where it is, with user and password.
    pub url: Secret,
    /// The database, where the URL names none.
    pub database: String,
    /// How long a server is looked for.
    pub selection: Duration,
    /// How long connecting may take.
    pub connect: Duration,
    /// How long a call may take.
    pub call: Duration,
    /// How many connections there are, at least and at most.
    pub pool: (u32, u32),
    /// A connection that was not used for so long is closed.
    pub idle: Duration,
}

/// A bucket, and who asks for it.
#[derive(Debug, Clone, PartialEq)]
pub struct BucketSettings {
    /// The server's address.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// The region, which signatures name.
    pub region: String,
    /// What the names of all objects begin with.
    pub prefix: String,
    /// Who asks.
    pub access_key: Secret,
    /// What requests are signed with.
    pub secret_key: Secret,
    /// Whether the bucket is named in the path.
    pub path_style: bool,
}

/// What is put into the URL in its place.
const PASSWORD: &str = "{MONGODB_PASSWORD}";
/// The longest time that a setting in milliseconds may give: a day.
const MILLISECONDS_MAX: u64 = 86_400_000;

/// Reads the variables for who has no other settings: the command line. No file is read for it.
pub fn back_ends(service: &Service, environment: &Environment) -> Result<BackEnds, ConfigError> {
    let mut settings = Settings::new(service, environment, Values::new(), Vec::new());
    let found = read(&mut settings);
    settings.finish()?;
    Ok(found)
}

/// Reads where things are kept, and refuses what is said by halves: nothing may seem to be kept where it is not.
pub(super) fn read(settings: &mut Settings<'_>) -> BackEnds {
    let backend = Key::new(
        "storage_backend",
        "DATA_CHAIN_STORAGE_BACKEND",
        "where data is kept: `embedded` in files of the data folder, whatever else is set; `mongodb` in the database \
         that `MONGO_URL` names, which has to be set then. Where this is not set, `MONGO_URL` and `LUCID_S3_ENDPOINT` \
         decide",
    )
    .otherwise("what is named")
    .or("DATA_CHAIN_CHUNK_STORAGE_BACKEND");
    let said = settings.set_by(&backend);
    let is_mongo = settings.choice(&backend, ("embedded", false), &[("mongodb", true)]);
    let is_embedded = said.is_some() && !is_mongo;
    let mongo = mongo(settings, is_embedded);
    if is_mongo && mongo.is_none() {
        settings.refuse("MONGO_URL, MONGODB_URL, or MONGODB_URI environment variable not set");
    }
    let bucket = match settings.service.prefix {
        "DATA_CHAIN" => bucket(settings, is_embedded),
        _ => None,
    };
    BackEnds { mongo, bucket }
}

fn ignored(settings: &mut Settings<'_>, name: &str) {
    settings
        .warn(format!("{name} is set and ignored: everything is kept in files of the data folder"));
}

fn milliseconds(
    settings: &mut Settings<'_>,
    file: &'static str,
    variable: &str,
    default: u64,
    about: &'static str,
) -> Duration {
    let key = Key::new(file, variable, about);
    Duration::from_millis(settings.within(&key, default, 1..=MILLISECONDS_MAX))
}

fn mongo(settings: &mut Settings<'_>, is_embedded: bool) -> Option<MongoSettings> {
    let url = Key::new(
        "mongo.url",
        "MONGO_URL",
        "the [MongoDB database](OPERATING.md#outgrowing-one-machine) of the log and of the blocks: \
         `mongodb://USER:PASSWORD@HOST,HOST/DATABASE?replicaSet=NAME`; also for `lucid`. \
         `{MONGODB_PASSWORD}` in it stands for `MONGODB_PASSWORD`",
    )
    .or("MONGODB_URL")
    .or("MONGODB_URI");
    let password = Key::new(
        "mongo.password",
        "MONGODB_PASSWORD",
        "what `{MONGODB_PASSWORD}` in the URL stands for, as it is: it is encoded for the URL",
    );
    let database = Key::new(
        "mongo.database",
        "DATA_CHAIN_DB_NAME",
        "the database, where the URL names none. Both services may have the same: their collections have different \
         names",
    )
    .or("MONGO_DB")
    .or("DATABASE_NAME");
    let given = settings.secret_address(&url);
    let password = settings.secret(&password).and_then(|source| source.read().ok());
    let database = settings.text(&database, "lucid");
    let selection = milliseconds(
        settings,
        "mongo.server_selection_timeout_ms",
        "MONGODB_SERVER_SELECTION_TIMEOUT_MS",
        5_000,
        "how long a server that can be written to is looked for, in milliseconds",
    );
    let connect = milliseconds(
        settings,
        "mongo.connect_timeout_ms",
        "MONGODB_CONNECT_TIMEOUT_MS",
        10_000,
        "how long connecting may take, in milliseconds",
    );
    let call = milliseconds(
        settings,
        "mongo.socket_timeout_ms",
        "MONGODB_SOCKET_TIMEOUT_MS",
        20_000,
        "how long an answer is waited for, in milliseconds. What a server does not finish in half of that, it is asked \
         to give up",
    );
    let most = Key::new(
        "mongo.max_pool_size",
        "MONGODB_MAX_POOL_SIZE",
        "how many connections to a server there are at most, unless the URL says so",
    );
    let least = Key::new(
        "mongo.min_pool_size",
        "MONGODB_MIN_POOL_SIZE",
        "how many connections to a server are kept at least, unless the URL says so",
    );
    let most = settings.within(&most, 50, 1..=10_000);
    let least = settings.within(&least, 5, 0..=10_000);
    if least > most {
        settings.refuse(format!(
            "MONGODB_MIN_POOL_SIZE is {least} and MONGODB_MAX_POOL_SIZE is {most}: set the first to less"
        ));
    }
    let idle = milliseconds(
        settings,
        "mongo.max_idle_time_ms",
        "MONGODB_MAX_IDLE_TIME_MS",
        30_000,
        "a connection that was not used for so long, in milliseconds, is closed, unless the URL says so",
    );
    for (file, variable) in [
        ("mongo.retry_writes", "MONGODB_RETRY_WRITES"),
        ("mongo.retry_reads", "MONGODB_RETRY_READS"),
    ] {
        let about = "changes nothing: the driver repeats nothing, because what became of a call is found out by \
                     reading, and what is safe to repeat is repeated";
        let _noted = settings.flag(&Key::new(file, variable, about), true);
    }
    let (address, said_by) = given?;
    let is_url = ["mongodb://", "mongodb+srv://"]
        .iter()
        .any(|scheme| address.expose().strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
    if !is_url {
        let reason = "mongodb://USER:PASSWORD@HOST/DATABASE is wanted".to_owned();
        settings.invalid(&url, address.to_string(), Some(reason));
        return None;
    }
    if is_embedded {
        ignored(settings, &said_by);
        return None;
    }
    let url = match (address.expose().contains(PASSWORD), password) {
        (false, _) => address.expose().to_owned(),
        (true, Some(password)) => {
            address.expose().replace(PASSWORD, &percent_encoded(password.expose()))
        }
        (true, None) => {
            settings.refuse(format!(
                "{said_by} has {PASSWORD} in it, and neither MONGODB_PASSWORD nor MONGODB_PASSWORD_FILE is set: set \
                 one of them"
            ));
            return None;
        }
    };
    let pool = (least, most);
    let url = Secret::new(url);
    Some(MongoSettings { said_by, url, database, selection, connect, call, pool, idle })
}

/// A text as it stands in an URL, where some characters mean something else.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

fn bucket(settings: &mut Settings<'_>, is_embedded: bool) -> Option<BucketSettings> {
    let endpoint = Key::new(
        "s3.endpoint",
        "LUCID_S3_ENDPOINT",
        "the server of the [bucket](OPERATING.md#outgrowing-one-machine) of chunks, any that speaks S3: `https://` or \
         `http://`, a name and perhaps a port; also for `lucid`",
    );
    let bucket = Key::new("s3.bucket", "LUCID_S3_BUCKET", "the bucket, which has to be there");
    let region = Key::new("s3.region", "LUCID_S3_REGION", "the region, which signatures name");
    let prefix = Key::new(
        "s3.prefix",
        "LUCID_S3_PREFIX",
        "what the names of all objects begin with, so that a bucket can have several stores: each has its own",
    );
    let access = Key::new(
        "s3.access_key_id",
        "LUCID_S3_ACCESS_KEY_ID",
        "who asks: it has to be allowed to list, get, put and delete objects",
    );
    let secret = Key::new(
        "s3.secret_access_key",
        "LUCID_S3_SECRET_ACCESS_KEY",
        "what requests are signed with",
    );
    let style = Key::new(
        "s3.path_style",
        "LUCID_S3_PATH_STYLE",
        "whether the bucket is named in the path, as most servers but AWS expect, or before the server's name",
    );
    let named_by = settings.set_by(&endpoint);
    let address = settings.address(&endpoint);
    let parts = [settings.set_by(&bucket), settings.set_by(&access), settings.set_by(&secret)];
    let bucket = settings.optional(&bucket);
    let region = settings.text(&region.otherwise("us-east-1"), "us-east-1");
    let prefix = settings.text(&prefix, "");
    let access = settings.secret(&access).and_then(|source| source.read().ok());
    let secret = settings.secret(&secret).and_then(|source| source.read().ok());
    let path_style = settings.flag(&style, true);
    let Some((address, named_by)) = address.zip(named_by) else {
        if let Some(part) = parts.into_iter().flatten().next().filter(|_| !is_embedded) {
            settings.refuse(format!(
                "{part} is set and LUCID_S3_ENDPOINT is not: set it too, or unset {part}"
            ));
        }
        return None;
    };
    let is_server = ["https://", "http://"]
        .iter()
        .any(|scheme| address.expose().strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
    if !is_server {
        let reason = "https:// or http:// and a name, perhaps with a port, is wanted".to_owned();
        settings.invalid(&endpoint, address.to_string(), Some(reason));
        return None;
    }
    if is_embedded {
        ignored(settings, &named_by);
        return None;
    }
    let endpoint = address.expose().to_owned();
    let mut missing = Vec::new();
    for (name, is_there) in [
        ("LUCID_S3_BUCKET", bucket.is_some()),
        ("LUCID_S3_ACCESS_KEY_ID", access.is_some()),
        ("LUCID_S3_SECRET_ACCESS_KEY", secret.is_some()),
    ] {
        if !is_there {
            missing.push(name);
        }
    }
    let (Some(bucket), Some(access_key), Some(secret_key)) = (bucket, access, secret) else {
        let missing = missing.join(", ");
        settings.refuse(format!("{named_by} is set and {missing} is not: set that too"));
        return None;
    };
    Some(BucketSettings { endpoint, bucket, region, prefix, access_key, secret_key, path_style })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVICE: &Service = &Service {
        name: "lucid-data-chain",
        title: "Lucid Data Chain Service",
        prefix: "DATA_CHAIN",
        port: 8087,
        version: "0",
        about: "",
        endpoints: &[],
    };

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn found(variables: &[(&str, &str)]) -> BackEnds {
        back_ends(SERVICE, &environment(variables)).unwrap()
    }

    fn refusal(variables: &[(&str, &str)]) -> String {
        back_ends(SERVICE, &environment(variables)).unwrap_err().to_string()
    }

    const BUCKET: [(&str, &str); 4] = [
        ("LUCID_S3_ENDPOINT", "http://s3:9000"),
        ("LUCID_S3_BUCKET", "vault"),
        ("LUCID_S3_ACCESS_KEY_ID", "KEY"),
        ("LUCID_S3_SECRET_ACCESS_KEY", "hunter2"),
    ];

    #[test]
    fn the_first_url_that_is_not_empty_counts() {
        let named = |variables: &[(&str, &str)]| {
            let mongo = found(variables).mongo.unwrap();
            (mongo.said_by, mongo.url.expose().to_owned())
        };
        let one = ("MONGO_URL", "mongodb://one");
        let two = ("MONGODB_URL", "mongodb://two");
        let three = ("MONGODB_URI", "mongodb://three");
        assert_eq!(named(&[one, two, three]), ("MONGO_URL".into(), "mongodb://one".into()));
        assert_eq!(
            named(&[("MONGO_URL", ""), two, three]),
            ("MONGODB_URL".into(), "mongodb://two".into())
        );
        assert_eq!(named(&[three]), ("MONGODB_URI".into(), "mongodb://three".into()));
        assert_eq!(found(&[]), BackEnds::default());
        let database = |name: &str| found(&[one, (name, "mine")]).mongo.unwrap().database;
        for name in ["DATA_CHAIN_DB_NAME", "MONGO_DB", "DATABASE_NAME"] {
            assert_eq!(database(name), "mine");
        }
    }

    #[test]
    fn a_password_is_put_into_the_url_as_it_is_and_shown_nowhere() {
        let url = ("MONGODB_URI", "mongodb://u:{MONGODB_PASSWORD}@h/db");
        let mongo = found(&[url, ("MONGODB_PASSWORD", "p@ss/1%")]).mongo.unwrap();
        assert_eq!(mongo.url.expose(), "mongodb://u:p%40ss%2F1%25@h/db");
        assert!(!format!("{mongo:?}").contains("ss%2F1"));
        let why = refusal(&[url]);
        assert!(why.contains("MONGODB_URI has {MONGODB_PASSWORD} in it"), "{why}");
        let folder = tempfile::tempdir().unwrap();
        let (file, all) = (folder.path().join("password"), folder.path().join("url"));
        std::fs::write(&file, "secret\n").unwrap();
        std::fs::write(&all, "mongodb://u:other@h/db\n").unwrap();
        let mongo = found(&[url, ("MONGODB_PASSWORD_FILE", file.to_str().unwrap())]).mongo;
        assert_eq!(mongo.unwrap().url.expose(), "mongodb://u:secret@h/db");
        let mongo = found(&[("MONGO_URL_FILE", all.to_str().unwrap())]).mongo.unwrap();
        assert_eq!(
            (mongo.said_by.as_str(), mongo.url.expose()),
            ("MONGO_URL_FILE", "mongodb://u:other@h/db")
        );
    }

    #[test]
    fn a_backend_that_is_said_decides() {
        let url = ("MONGO_URL", "mongodb://h");
        let backend = |value| ("DATA_CHAIN_STORAGE_BACKEND", value);
        assert_eq!(
            refusal(&[backend("mongodb")]),
            "ERROR: MONGO_URL, MONGODB_URL, or MONGODB_URI environment variable not set"
        );
        assert!(found(&[backend("mongodb"), url]).mongo.is_some());
        assert_eq!(found(&[backend("embedded"), url]), BackEnds::default());
        let all = [&[backend("embedded")][..], &BUCKET].concat();
        assert_eq!(found(&all), BackEnds::default());
    }

    #[test]
    fn a_bucket_is_named_with_all_that_is_needed_or_not_at_all() {
        let bucket = found(&BUCKET).bucket.unwrap();
        assert_eq!((bucket.region.as_str(), bucket.path_style), ("us-east-1", true));
        assert!(!format!("{bucket:?}").contains("hunter2"));
        for left_out in 1..BUCKET.len() {
            let mut some = BUCKET.to_vec();
            let (name, _) = some.remove(left_out);
            let why = refusal(&some);
            assert!(why.contains(&format!("{name} is not: set that too")), "{why}");
        }
        let why = refusal(&BUCKET[1..]);
        assert!(why.contains("LUCID_S3_BUCKET is set and LUCID_S3_ENDPOINT is not"), "{why}");
        // A service without chunks is given the same environment.
        let manager = Service { prefix: "BLOCK_MANAGER", ..*SERVICE };
        assert_eq!(back_ends(&manager, &environment(&BUCKET)).unwrap(), BackEnds::default());
    }
}
