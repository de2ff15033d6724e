//! Small values in memory, each created once.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::StoreError;
use crate::contract::lock::{CreateError, Created, Lock};
use crate::memory::fact_log::Ending;

/// Values behind a lock.
#[derive(Default)]
pub struct MemoryLock {
    values: Mutex<BTreeMap<String, Zeroizing<Vec<u8>>>>,
    /// How the next creations end.
    endings: Mutex<VecDeque<Ending>>,
}

impl MemoryLock {
    /// No values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Has the next creation end so.
    pub fn end_next(&self, ending: Ending) {
        self.endings.lock().push_back(ending);
    }
}

impl Lock for MemoryLock {
    fn create(&self, name: &str, value: &[u8]) -> Result<Created, CreateError> {
        let ending = self.endings.lock().pop_front();
        let ended = |why: &str| StoreError::Folder(format!("{name} {why}"));
        match ending {
            Some(Ending::Refused) => return Err(CreateError::Not(ended("was refused"))),
            Some(Ending::Lost) => return Err(CreateError::Maybe(ended("was lost"))),
            Some(Ending::Unheard) | None => {}
        }
        let mut values = self.values.lock();
        let created = match values.get(name) {
            Some(there) => Created::There(there.clone()),
            None => {
                values.insert(name.to_owned(), Zeroizing::new(value.to_vec()));
                Created::Here
            }
        };
        match ending {
            Some(_) => Err(CreateError::Maybe(ended("was created, and nobody heard of it"))),
            None => Ok(created),
        }
    }

    fn read(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        Ok(self.values.lock().get(name).cloned())
    }
}
