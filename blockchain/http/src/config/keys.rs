//! Settings of both services that each of them reads by itself.

use super::{Key, Settings};

/// The file with the root key.
pub fn root_key() -> Key {
    Key::new(
        "master_key_file",
        "LUCID_MASTER_KEY_FILE",
        "a file with the root key; also for `lucid`. A new store is made under it, and it is made if it is not there",
    )
    .otherwise("in the folder")
}

/// How much room stays free.
pub fn reserve() -> Key {
    Key::new(
        "reserve_bytes",
        "LUCID_RESERVE_BYTES",
        "bytes of a disk that [stay free](OPERATING.md#a-disk-that-fills-up): below them nothing is taken in, so that \
         something can still be removed; also for `lucid`. 0 takes in until the disk is full",
    )
    .otherwise("1 GiB, and no more than a sixteenth of the disk")
}

/// The file with the passphrase.
pub fn passphrase() -> Key {
    Key::new(
        "passphrase_file",
        "LUCID_PASSPHRASE_FILE",
        "a file with the passphrase, for a store whose keys are wrapped under one; also for `lucid`. A new store is \
         made under it; a store that does not open with it is refused",
    )
}

/// Which store the folder has to hold. Services that share an environment each have a variable of their own.
pub fn store_id(settings: &Settings<'_>) -> Key {
    settings
        .own(
            "store_id",
            "STORE_ID",
            "the store that the folder has to hold: with it, a folder without that store, as that of a disk which is \
             not mounted, is [refused](OPERATING.md#first-start). `lucid init` writes it",
        )
        .or("LUCID_STORE_ID")
        .otherwise("any; a folder without a store becomes one")
}
