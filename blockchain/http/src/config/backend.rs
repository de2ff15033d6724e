//! Where a service keeps its data: in files of its folder, and nowhere else yet.
//!
//! Both services heed these variables, because one file of settings is often given to both.

use super::{Key, Settings};

/// Refuses a back-end that is not there: nothing may seem to be kept where it is not.
pub(super) fn read(settings: &mut Settings<'_>) {
    let backend = Key::new(
        "storage_backend",
        "DATA_CHAIN_STORAGE_BACKEND",
        "where data is kept: in files of the data folder. `mongodb` is refused: this version has no such back-end",
    )
    .or("DATA_CHAIN_CHUNK_STORAGE_BACKEND");
    let mongo = Key::new(
        "mongo_url",
        "MONGO_URL",
        "a MongoDB server: refused, unless `DATA_CHAIN_STORAGE_BACKEND` is `embedded`; then it is ignored",
    )
    .or("MONGODB_URL")
    .or("MONGODB_URI");
    let is_said = settings.set_by(&backend).is_some();
    let url = settings.set_by(&mongo);
    let is_mongo = settings.choice(&backend, ("embedded", false), &[("mongodb", true)]);
    let _shown = settings.address(&mongo);
    match url {
        Some(name) if is_mongo || !is_said => settings.refuse(format!(
            "{name} is set, and this version has no MongoDB back-end: unset {name}"
        )),
        Some(name) => settings.warn(format!(
            "{name} is set and ignored: everything is kept in files of the data folder"
        )),
        None if is_mongo => {
            settings.refuse("MONGO_URL, MONGODB_URL, or MONGODB_URI environment variable not set");
        }
        None => {}
    }
}
