//! Settings of back-ends as the store takes them.

use std::time::Duration;

use lucid_http::config::{BackEnds, BucketSettings, MongoSettings};
use lucid_store::backend::{BucketAt, Given, MongoAt};
use lucid_store::clock::Clock;

/// How long a call to a bucket may take, with all of its tries; one that moves much has longer. Callers whose bytes are
/// not taken meanwhile give up after 30 s, as most clients do, and would hear nothing.
const BUCKET_DEADLINE: Duration = Duration::from_secs(20);

/// What of a store is not in its folder. No keys are made for it.
pub fn given(back_ends: &BackEnds, clock: &Clock) -> Given {
    let BackEnds { mongo, bucket } = back_ends.clone();
    Given {
        mongo: mongo.map(mongo_at),
        bucket: bucket.map(bucket_at),
        makes_keys: false,
        clock: clock.clone(),
    }
}

fn mongo_at(settings: MongoSettings) -> MongoAt {
    let MongoSettings { said_by, url, database, selection, connect, call, pool, idle } = settings;
    let at = MongoAt::new(said_by, url.expose());
    MongoAt { database, selection, connect, call, pool, idle, ..at }
}

fn bucket_at(settings: BucketSettings) -> BucketAt {
    let BucketSettings { endpoint, bucket, region, prefix, access_key, secret_key, path_style } =
        settings;
    BucketAt {
        endpoint,
        bucket,
        region,
        prefix,
        access_key: access_key.expose().to_owned(),
        secret_key: secret_key.expose().to_owned().into(),
        path_style,
        deadline: BUCKET_DEADLINE,
    }
}
