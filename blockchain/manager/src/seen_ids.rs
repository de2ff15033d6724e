//! The ids of a whole chain, in bounded memory: for judging blocks that no store has.
//!
//! The newest ids are in a table; when that is full they are sorted and written to a file of their own
//! in the system's temporary folder, and a filter stays in memory that knows nearly every id which is
//! not there. So memory is a table of 36 MiB and about two bytes an id, whichever ids come: 60 MB for ten
//! million ids. The files are unlinked as soon as they are open, so nothing is left behind.
//!
//! Called by [`crate::ops::validate_texts`], and by [`crate::ops::validate_chain`] for chains that are read
//! without their index.

use std::collections::HashSet;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use lucid_core::transaction::IdDigest;

/// Ids in the table: as many as 2^21 buckets hold.
const TABLE_IDS: usize = 1_800_000;
/// Bits of a filter for each id. With six of them set, one in a few hundred strangers is looked up.
const FILTER_BITS: usize = 16;
/// Ids of a file that are read at once: a page.
const PAGE_IDS: usize = 256;
const ID_BYTES: usize = size_of::<IdDigest>();

/// The ids that were seen.
pub struct SeenIds {
    table: HashSet<u128, ByDigest>,
    runs: Vec<SortedIds>,
    table_ids: usize,
    folder: PathBuf,
}

/// Ids that were written out.
struct SortedIds {
    file: File,
    ids: usize,
    /// The first id of each page.
    fences: Vec<u128>,
    filter: Vec<[u64; 8]>,
}

impl SeenIds {
    /// None yet. Files are made in `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self::with_table_of(folder, TABLE_IDS)
    }

    fn with_table_of(folder: PathBuf, table_ids: usize) -> Self {
        let key = RandomState::new().hash_one("ids");
        let table = HashSet::with_hasher(ByDigest { key });
        Self { table, runs: Vec::new(), table_ids, folder }
    }

    /// Whether this id was seen.
    pub fn contains(&self, id: &IdDigest) -> io::Result<bool> {
        let id = u128::from_be_bytes(*id);
        if self.table.contains(&id) {
            return Ok(true);
        }
        for run in &self.runs {
            if run.may_contain(id) && run.contains(id)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Remembers ids.
    pub fn extend<'a>(&mut self, ids: impl IntoIterator<Item = &'a IdDigest>) -> io::Result<()> {
        for id in ids {
            if self.table.len() >= self.table_ids {
                self.spill()?;
            }
            self.table.insert(u128::from_be_bytes(*id));
        }
        Ok(())
    }

    /// Remembers an id. Whether it is new.
    pub fn insert(&mut self, id: &IdDigest) -> io::Result<bool> {
        if self.table.len() >= self.table_ids {
            self.spill()?;
        }
        let number = u128::from_be_bytes(*id);
        if !self.table.insert(number) {
            return Ok(false);
        }
        for run in &self.runs {
            if run.may_contain(number) && run.contains(number)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn spill(&mut self) -> io::Result<()> {
        let mut ids: Vec<u128> = self.table.drain().collect();
        ids.sort_unstable();
        let mut filter = vec![[0; 8]; (ids.len() * FILTER_BITS).div_ceil(512)];
        let mut to = BufWriter::with_capacity(1 << 20, unnamed_file(&self.folder)?);
        for id in &ids {
            to.write_all(&id.to_be_bytes())?;
            let (line, bits) = lines_and_bits(*id, filter.len());
            if let Some(line) = filter.get_mut(line) {
                line.iter_mut().zip(bits).for_each(|(word, bits)| *word |= bits);
            }
        }
        let file = to.into_inner().map_err(io::IntoInnerError::into_error)?;
        let fences = ids.iter().step_by(PAGE_IDS).copied().collect();
        self.runs.push(SortedIds { file, ids: ids.len(), fences, filter });
        Ok(())
    }
}

impl SortedIds {
    fn may_contain(&self, id: u128) -> bool {
        let (line, bits) = lines_and_bits(id, self.filter.len());
        let line = self.filter.get(line).copied().unwrap_or_default();
        line.iter().zip(bits).all(|(word, bits)| word & bits == bits)
    }

    fn contains(&self, id: u128) -> io::Result<bool> {
        // The last page that begins with this id or a lower one.
        let Some(page) = self.fences.partition_point(|fence| *fence <= id).checked_sub(1) else {
            return Ok(false);
        };
        let first = page * PAGE_IDS;
        let mut bytes = vec![0; (self.ids - first).min(PAGE_IDS) * ID_BYTES];
        self.file.read_exact_at(&mut bytes, (first * ID_BYTES) as u64)?;
        let ids = bytes.as_chunks::<ID_BYTES>().0;
        Ok(ids.binary_search_by(|there| u128::from_be_bytes(*there).cmp(&id)).is_ok())
    }
}

/// Where an id is in a filter of so many lines: which line, and which six of its bits.
fn lines_and_bits(id: u128, lines: usize) -> (usize, [u64; 8]) {
    let (high, mut low) = ((id >> 64) as u64, id as u64);
    let line = (u128::from(high) * lines as u128) >> 64;
    let mut bits = [0; 8];
    for _ in 0..6 {
        if let Some(word) = bits.get_mut((low & 7) as usize) {
            *word |= 1 << ((low >> 3) & 63);
        }
        low >>= 9;
    }
    (line as usize, bits)
}

/// A file that has no name and goes when it is closed.
fn unnamed_file(folder: &std::path::Path) -> io::Result<File> {
    let mark = RandomState::new().hash_one("name");
    let path = folder.join(format!("lucid-ids-{}-{mark:016x}", std::process::id()));
    let context = |error: io::Error| {
        let what = format!("a temporary file in {}: {error}", folder.display());
        io::Error::new(error.kind(), what)
    };
    let file = File::options().read(true).write(true).create_new(true).open(&path);
    let file = file.map_err(context)?;
    std::fs::remove_file(&path).map_err(context)?;
    Ok(file)
}

/// Digests are hashes already; a key that differs from run to run keeps an attacker from choosing ids that
/// all fall into one bucket.
#[derive(Clone)]
struct ByDigest {
    key: u64,
}

impl BuildHasher for ByDigest {
    type Hasher = Folded;

    fn build_hasher(&self) -> Folded {
        Folded(self.key)
    }
}

struct Folded(u64);

impl Hasher for Folded {
    fn write_u128(&mut self, id: u128) {
        let wide = u128::from(id as u64 ^ self.0) * 0x9e37_79b9_7f4a_7c15;
        self.0 = (wide >> 64) as u64 ^ wide as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only digests are hashed here, and they come as one number.
        bytes.iter().for_each(|byte| self.write_u128(u128::from(*byte)));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use lucid_core::transaction::id_digest;

    use super::*;

    #[test]
    fn what_was_seen_is_known_wherever_it_went_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = SeenIds::with_table_of(folder.path().to_owned(), 1_000);
        let ids: Vec<IdDigest> = (0..6_500).map(|n| id_digest(&format!("t-{n}"))).collect();
        for (at, id) in ids.iter().enumerate() {
            assert!(!seen.contains(id).unwrap(), "{at}");
            seen.extend([id]).unwrap();
        }
        assert_eq!(seen.runs.len(), 6);
        for id in &ids {
            assert!(seen.contains(id).unwrap());
        }
        let strangers = (0..20_000).map(|n| id_digest(&format!("u-{n}")));
        let mut asked = 0;
        for id in strangers {
            assert!(!seen.contains(&id).unwrap());
            let id = u128::from_be_bytes(id);
            asked += seen.runs.iter().filter(|run| run.may_contain(id)).count();
        }
        assert!(asked < 6 * 20_000 / 200, "the filters let {asked} of 120,000 through");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing has a name");
    }

    #[test]
    fn an_id_is_new_once_however_long_ago_that_was() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = SeenIds::with_table_of(folder.path().to_owned(), 100);
        let ids: Vec<IdDigest> = (0..350).map(|n| id_digest(&format!("t-{n}"))).collect();
        for id in &ids {
            assert!(seen.insert(id).unwrap());
        }
        for id in &ids {
            assert!(!seen.insert(id).unwrap());
        }
    }

    #[test]
    fn a_folder_that_takes_no_file_is_named() {
        let mut seen = SeenIds::with_table_of("/nowhere/at/all".into(), 1);
        let error = seen.extend(&[[1; 16], [2; 16]]).unwrap_err();
        assert!(error.to_string().contains("a temporary file in /nowhere/at/all"), "{error}");
    }
}
