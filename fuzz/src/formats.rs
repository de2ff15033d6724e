//! Every parser that no other target reaches by itself; the first byte chooses one.
//!
//! What was sound and is altered is either refused or what it was; what is read is written as it was.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lucid::watch::spool::Spool;
use lucid_api::access::{Narrowing, Roles, Token, TokenEntry, TokenList};
use lucid_api::address::Address;
use lucid_api::percent;
use lucid_api::tls::Pin;
use lucid_core::bundle::AnchorInclusion;
use lucid_core::claim::Signed;
use lucid_core::cut::ChunkProfile;
use lucid_core::digest::{ChunkId, ChunkName, SessionRoot};
use lucid_core::manifest::{Source, Terminal};
use lucid_core::session::{Layout, SessionId, SessionSecret};
use lucid_core::sign::{PublicKey, Signature};
use lucid_core::slice;
use lucid_core::time::{Timestamp, parse_block_time};
use lucid_core::tombstone::Tombstone;
use lucid_core::transaction::Transaction;
use lucid_core::tree::{Blake3Tree, Frontier, Sha256Tree, TreeHash};
use lucid_data_chain::row::{self, SessionRow};
use lucid_http::Service;
use lucid_http::config::{CommonConfig, Environment, load};
use lucid_http::credentials::{AccessConfig, Credentials, SecretSource};
use lucid_store::codec::{Compression, Packer};
use lucid_store::crypt::{self, Cipher, Owner, Secret};
use lucid_store::files::folder::{
    DATA_KEYS_TITLE, DataFolder, KEY_TITLE, Options, STORE_TITLE, holds_store, is_store,
    parse_label,
};
use lucid_store::frame::{Record, RecordKind};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::bounds::within;
use crate::draw::{Draw, alter};
use crate::worlds::{OURS, T0};

/// A parser of this target, and how much memory it may take: for each byte, and besides.
type Parser = (&'static str, fn(&mut Draw<'_>), (usize, usize));

const PARSERS: [Parser; 14] = [
    ("a slice", slices, (12, 256 << 10)),
    ("a frontier", frontiers, (8, 64 << 10)),
    ("a wrapped key", wrapped_keys, (8, 64 << 10)),
    ("a label", labels, (16, 64 << 10)),
    ("a store's keys", folders, (64, 4 << 20)),
    ("an index row", rows, (16, 64 << 10)),
    ("a time", times, (8, 64 << 10)),
    ("a spool", spools, (64, 256 << 10)),
    ("YAML", yaml, (400, 1 << 20)),
    ("names", names, (16, 64 << 10)),
    ("a packed payload", packed, (16, 4 << 20)),
    ("what is in a block", anchored, (16, 256 << 10)),
    ("a tentative block", staged, (64, 1 << 20)),
    ("a chunk profile", profiles, (8, 64 << 10)),
];

/// Gives the bytes behind the first one to the parser that it chooses.
pub fn formats(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let Some((name, parse, most)) = PARSERS.get(usize::from(*first) % PARSERS.len()) else {
        return;
    };
    // What is made once is not counted to the input that asks for it first.
    LazyLock::force(&OURS);
    LazyLock::force(&SCRATCH);
    LazyLock::force(&STORE);
    LazyLock::force(&KNOWN);
    within(name, rest.len(), *most, || parse(&mut Draw::new(rest)));
}

/// A slice, altered: what it still proves are the bytes of the chunk.
fn slices(draw: &mut Draw<'_>) {
    let chunk = OURS.get(2).and_then(|world| draw.of(&world.chunks));
    let Some(chunk) = chunk else { return };
    let length = u32::try_from(chunk.len()).unwrap_or_default();
    let [a, b] = [0; 2].map(|_| draw.short() % length.saturating_add(1));
    let range = a.min(b)..a.max(b);
    let id: ChunkId = blake3::hash(chunk).into();
    let Ok(sound) = slice::extract(chunk, range.clone()) else {
        assert!(range.is_empty());
        return;
    };
    let part = chunk.get(range.start as usize..range.end as usize).unwrap_or_default();
    assert_eq!(slice::verify(&id, length, range.clone(), &sound).as_deref(), Ok(part));
    let mut altered = sound.clone();
    for _ in 0..draw.below(3) {
        altered.push(0);
        altered.pop();
        if !altered.is_empty() {
            alter(draw, &mut altered);
        }
    }
    let other = match draw.below(4) {
        0 => draw.short()..draw.short(),
        _ => range,
    };
    let told = if draw.once_in(4) { draw.short() } else { length };
    if let Ok(bytes) = slice::verify(&id, told, other.clone(), &altered)
        && told == length
    {
        let part = chunk.get(other.start as usize..other.end as usize);
        assert_eq!(part, Some(bytes.as_slice()), "a slice proves what the chunk has not");
    }
    // Bytes of nobody's.
    let _refused =
        slice::verify(&ChunkId::new(draw.array()), told, 0..told.min(9), &draw.bytes(400));
}

fn frontiers(draw: &mut Draw<'_>) {
    frontier::<Blake3Tree>(draw);
    frontier::<Sha256Tree>(draw);
}

/// What is kept of a tree that grows: its encoding, and that appending to it is what it always was.
fn frontier<H: TreeHash>(draw: &mut Draw<'_>) {
    let mut built = Frontier::<H>::new();
    let mut leaves = Vec::new();
    for _ in 0..draw.below(40) {
        leaves.push(draw.array());
        built.append(leaves.last().copied().unwrap_or_default());
    }
    assert_eq!(built.root(), lucid_core::tree::root::<H>(&leaves));
    let mut bytes = built.encode();
    assert!(Frontier::<H>::decode(&bytes).as_ref() == Ok(&built));
    alter(draw, &mut bytes);
    if let Ok(mut read) = Frontier::<H>::decode(&bytes) {
        assert_eq!(read.encode(), bytes);
        read.append(draw.array());
        let _root = (read.root(), read.size());
    }
}

/// A key under another, altered: it does not open, or is the same.
fn wrapped_keys(draw: &mut Draw<'_>) {
    static WRAPPED: LazyLock<Option<Vec<u8>>> =
        LazyLock::new(|| crypt::wrap(&secret(1), "epoch 1", &[9; 32]).ok());
    let Some(wrapped) = WRAPPED.as_ref() else { return };
    let mut altered = wrapped.clone();
    for _ in 0..draw.below(3) {
        altered.push(0);
        altered.pop();
        if !altered.is_empty() {
            alter(draw, &mut altered);
        }
    }
    let (root, label) =
        (1 + draw.byte() / 200, if draw.once_in(4) { "epoch 2" } else { "epoch 1" });
    let opened = crypt::unwrap(&secret(root), label, &altered);
    let is_sound = &altered == wrapped && root == 1 && label == "epoch 1";
    assert_eq!(opened.as_deref(), Some(&[9; 32]).filter(|_| is_sound));
}

fn secret(byte: u8) -> Secret {
    Zeroizing::new([byte; 32])
}

/// The text of a label file with its checksum put right.
fn label(text: &str) -> String {
    let sum: String = blake3::hash(text.as_bytes()).to_hex().chars().take(32).collect();
    format!("{text}checksum: {sum}\n")
}

fn labels(draw: &mut Draw<'_>) {
    let titles = [STORE_TITLE, KEY_TITLE, DATA_KEYS_TITLE];
    let title = draw.of(&titles).copied().unwrap_or(KEY_TITLE);
    let text = match draw.flag() {
        true => draw.text(400),
        false => format!("{title}\n{}", draw.text(400)),
    };
    let record = label(&text);
    if let Ok(lines) = parse_label(&record, title) {
        assert!(text.starts_with(title));
        assert!(lines.len() <= text.lines().count());
    }
    let mut altered = record.clone().into_bytes();
    alter(draw, &mut altered);
    if let Ok(altered) = String::from_utf8(altered)
        && parse_label(&altered, title).is_ok()
    {
        assert_eq!(altered, record, "a label is believed that was altered");
    }
}

/// A folder of this process, where files of the system are needed.
pub(crate) static SCRATCH: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let made = tempfile::Builder::new().prefix("lucid-fuzz").tempdir();
    let Ok(made) = made else { panic!("no folder can be made: {made:?}") };
    made
});

fn options() -> Options {
    Options {
        service: "data-chain",
        signing_key: "recorder",
        expected: None,
        create: true,
        encrypt: true,
        root_key_file: None,
        passphrase: None,
        owner: "a fuzzer".into(),
        reserve: Default::default(),
        given: Default::default(),
        now: "2026-01-01T00:00:00Z".into(),
    }
}

/// The label files of a store that was made just now, with the lines in front of their checksums.
static STORE: LazyLock<Vec<(std::path::PathBuf, String)>> = LazyLock::new(|| {
    let root = SCRATCH.path().join("store");
    let made = DataFolder::open(&root, &options());
    assert!(made.is_ok(), "a store can be made");
    drop(made);
    let mut files = Vec::new();
    for folder in [root.clone(), root.join("keys")] {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if let Ok(text) = std::fs::read_to_string(entry.path())
                && let Some((covered, _)) = text.split_once("checksum: ")
            {
                files.push((entry.path(), covered.to_owned()));
            }
        }
    }
    files.sort();
    files
});

/// The key files of a store say something else, with right checksums: it opens, or says why not.
fn folders(draw: &mut Draw<'_>) {
    let root = SCRATCH.path().join("store");
    for (path, covered) in STORE.iter() {
        let mut text = covered.clone();
        if draw.once_in(3) {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let at = draw.below(lines.len());
            match draw.below(5) {
                0 => drop(lines.remove(at)),
                1 => {
                    let drawn = draw.text(60);
                    lines.push(drawn);
                }
                2 => {
                    if let Some(line) = lines.get_mut(at) {
                        let name = line.split(": ").next().unwrap_or_default().to_owned();
                        *line = format!("{name}: {}", draw.text(60));
                    }
                }
                3 => lines.push(format!("epoch {}: {}", draw.short(), draw.text(80))),
                // It costs what it says, so only little is said.
                _ => {
                    lines.push(format!("kdf: argon2id m={} t=1 p={}", draw.byte(), draw.byte() % 4))
                }
            }
            text = lines.join("\n") + "\n";
        }
        let text = label(&text);
        if std::fs::read_to_string(path).ok().as_ref() != Some(&text) {
            write(path, text.as_bytes());
        }
    }
    let _answers = (is_store(&root), holds_store(&root));
    let opened = DataFolder::open(&root, &Options { create: false, ..options() });
    if let Ok(folder) = opened {
        let index = lucid_store::memory::index::MemoryIndex::new();
        let _name = folder.cipher.index_name(b"a name");
        let record = folder.cipher.encrypt_value(b"row", b"value");
        drop(index);
        if let Ok(value) = record {
            let opened = folder.cipher.decrypt_value(b"row", value);
            assert!(opened.is_ok_and(|value| value == b"value"));
        }
    }
}

fn write(path: &Path, bytes: &[u8]) {
    let written = std::fs::write(path, bytes);
    assert!(written.is_ok(), "{}: {written:?}", path.display());
}

/// Rows of an index: what is read is written as it was.
fn rows(draw: &mut Draw<'_>) {
    let cipher = Cipher::new(None);
    let mut value = match (draw.below(3), OURS.first()) {
        (0, Some(world)) => session_row(draw, &world.manifest.session_id).encode(),
        _ => draw.bytes(300),
    };
    for _ in 0..draw.below(3) {
        value.push(0);
        alter(draw, &mut value);
    }
    let key = [&[draw.byte()], draw.array::<40>().as_slice()].concat();
    if let Ok(read) = row::open_session(&cipher, &key, value.clone()) {
        assert_eq!(read.encode(), value, "a session's row has two spellings");
        let _root = (read.root(), read.offset(), read.status(Timestamp::from_micros(T0)));
    }
    if let Ok(read) = row::open_reference(&cipher, &key, value.clone()) {
        assert_eq!(read.encode(), value, "a reference's row has two spellings");
    }
    if let Ok(read) = row::Counts::decode(&value) {
        assert_eq!(read.encode(), value, "the counts' row has two spellings");
    }
    if let Ok(read) = row::UploadedRow::open(&cipher, &key, value.clone()) {
        assert_eq!(read.encode(), value, "an upload's row has two spellings");
    }
    if let Ok(read) = row::PlacedRow::open(&cipher, &key, value.clone()) {
        assert_eq!(read.encode(), value, "a placed chunk's row has two spellings");
    }
    if let Ok(read) = row::TreeRow::open(&cipher, &key, value.clone()) {
        assert_eq!(read.encode(), value, "a tree's row has two spellings");
    }
    if let Ok(read) = row::TombstoneRow::open(&cipher, &key, value.clone()) {
        assert_eq!(read.encode(), value, "a tombstone's row has two spellings");
    }
    if let Ok(read) = row::NoteBounds::decode(&value) {
        assert_eq!(read.encode(), value, "the notes' row has two spellings");
    }
    let _ignored = (row::name_in(&key), row::is_time_row(&key), row::session_of_reference(&key));
    let _name = ChunkName::new(draw.array());
}

fn session_row(draw: &mut Draw<'_>, id: &SessionId) -> SessionRow {
    let time = |draw: &mut Draw<'_>| Timestamp::from_micros(draw.number().cast_signed());
    SessionRow {
        id: id.clone(),
        user: draw.text(9),
        layout: if draw.flag() { Layout::Raw } else { Layout::Tree },
        secret: draw.flag().then(|| SessionSecret::new(draw.array())),
        profile: ChunkProfile::default(),
        started_at: time(draw),
        metadata: (0..draw.below(3)).map(|_| (draw.text(5), draw.text(5))).collect(),
        one_shot: draw.flag(),
        owner: Owner::default(),
        frontier: Frontier::new(),
        cut_bytes: draw.number(),
        tail_bytes: draw.number(),
        tail_row_at: draw.number(),
        appended_at: draw.flag().then(|| time(draw)),
        marks: draw.number(),
        last_mark: None,
        source: draw.flag().then(|| Source {
            host: draw.text(9),
            paths: (0..draw.below(3)).map(|_| draw.text(9).into_bytes()).collect(),
            tags: (0..draw.below(3)).map(|_| draw.text(5)).collect(),
        }),
        terminal: draw.flag().then(|| Terminal {
            columns: u16::from_le_bytes(draw.array()),
            rows: u16::from_le_bytes(draw.array()),
        }),
        pending: draw.number(),
        has_gap: draw.flag(),
        tail_gap: draw.flag(),
        sealed: None,
        anchored: None,
        begun_by: draw.flag().then(|| draw.text(9)).filter(|name| !name.is_empty()),
    }
}

/// Texts that may be times: what may stand in a block may stand everywhere, and means the same.
fn times(draw: &mut Draw<'_>) {
    let text = match draw.below(3) {
        0 => draw.text(40),
        _ => {
            let time = Timestamp::from_micros(draw.number().cast_signed());
            let text = time.to_string();
            assert_eq!(Timestamp::parse(&text), Ok(time));
            let mut bytes = text.into_bytes();
            for _ in 0..draw.below(3) {
                alter(draw, &mut bytes);
                bytes.push(b'Z');
            }
            String::from_utf8_lossy(&bytes).into_owned()
        }
    };
    let (any, block) = (Timestamp::parse(&text), parse_block_time(&text));
    if let Ok(block) = &block {
        assert_eq!(any.as_ref(), Ok(block), "{text:?} is another time in a block");
    }
    if let Ok(any) = any {
        assert_eq!(Timestamp::parse(&any.to_string()), Ok(any));
        if let Some(expected) = spelled_out(&text) {
            assert_eq!(any.as_micros(), expected, "{text:?}");
        }
    }
}

/// The microseconds of `YYYY-MM-DDTHH:MM:SS` and a rest that changes nothing, counted day by day.
fn spelled_out(text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let parts: Vec<&str> = text.split(['-', 'T', ':']).collect();
    let [year, month, day, hour, minute, second] = parts.as_slice() else { return None };
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    let is_spelled_so = marks.iter().all(|(at, mark)| text.as_bytes().get(*at) == Some(mark));
    if lengths != [4, 2, 2, 2, 2, 2] || !is_spelled_so {
        return None;
    }
    let [year, month, day, hour, minute, second] =
        [year, month, day, hour, minute, second].map(|part| part.parse::<i64>().ok());
    let is_leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let (year, month) = (year?, usize::try_from(month?).ok()?);
    let mut days: i64 = (1..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let months = [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    days += months.iter().take(month.checked_sub(1)?).sum::<i64>() + day? - 1;
    // From 0001-01-01 to 1970-01-01.
    let seconds = (days - 719_162) * 86_400 + hour? * 3_600 + minute? * 60 + second?;
    Some(seconds * 1_000_000)
}

/// What stands in a watcher's spool.
fn spools(draw: &mut Draw<'_>) {
    let folder = SCRATCH.path().join("spool");
    let Ok(spool) = Spool::open(&folder) else { panic!("a spool can be made") };
    let sound = r#"{"session":"s","path":"p","identity":{"device":1,"number":2,"made":3},"user":"u",
        "metadata":{"a":"b"},"started_at":"2026-01-01T00:00:00Z","base":5,"part":1,"sealed_at":7,
        "changed":9,"replaced":false}"#;
    let mut bytes = if draw.once_in(3) { draw.bytes(400) } else { sound.as_bytes().to_vec() };
    for _ in 0..draw.below(4) {
        bytes.push(b'}');
        bytes.pop();
        if !bytes.is_empty() {
            alter(draw, &mut bytes);
        }
    }
    let name = format!("{}.json", "0".repeat(24));
    write(&folder.join(&name), &bytes);
    if let Ok(Some(recording)) = spool.read(&name) {
        assert!(spool.keep(&recording).is_ok());
        let read = spool.recordings();
        let Ok((found, _)) = read else { panic!("what was kept cannot be listed: {read:?}") };
        let kept = (&recording.session, &recording.path);
        let is_read = found.iter().any(|found| (&found.session, &found.path) == kept);
        assert!(is_read, "what was kept is not read");
        assert!(spool.forget(&recording).is_ok());
    }
    let _listed = spool.recordings();
}

const SERVICE: &Service = &Service {
    name: "lucid-fuzz",
    title: "Lucid Fuzz",
    prefix: "FUZZ",
    port: 8099,
    version: "0",
    about: "Is asked everything.",
    endpoints: &[],
};

/// A configuration file.
fn yaml(draw: &mut Draw<'_>) {
    let path = SCRATCH.path().join("settings.yaml");
    write(&path, &draw.bytes(2_000));
    let environment = Environment::from([("A".into(), "1".into())]);
    let loaded = load(SERVICE, &environment, Some(&path), CommonConfig::read);
    if let Err(error) = loaded {
        assert!(!error.mistakes.is_empty(), "refused for no reason");
    }
}

/// Names, keys and addresses in texts: what is read is written as something that reads the same.
fn names(draw: &mut Draw<'_>) {
    let text = draw.text(300);
    macro_rules! same {
        ($($kind:ty),+) => {$(
            if let Ok(read) = text.parse::<$kind>() {
                let again = read.to_string().parse::<$kind>();
                assert!(again.is_ok_and(|again| again == read), "{text:?}");
            }
        )+};
    }
    same!(SessionId, ChunkId, SessionRoot, PublicKey, Signature);
    same!(Narrowing, Roles, Pin, TokenEntry);
    // What is before the last @ is not shown, regardless of what else stands in the address.
    let [before, behind] = [0; 2].map(|_| draw.text(12));
    let address = Address::from(format!("http://u:{before}p4ssw0rd{behind}@host{text}"));
    let shown = format!("{address} {address:?}");
    assert!(!shown.contains("p4ssw0rd"), "{before:?} and {behind:?}: {shown:?}");
    let mut encoded = String::new();
    percent::encode(text.as_bytes(), &mut encoded);
    assert_eq!(percent::decode(&encoded).as_deref(), Some(text.as_bytes()));
    let _answer = percent::decode(&text);
    credentials(draw, &text);
}

/// A list of tokens, and a token that is altered: it is nobody's, or it is what it was.
fn credentials(draw: &mut Draw<'_>, text: &str) {
    let sound = format!("a read {} prefix:a", Token::given("lucid_a").hash());
    let list = format!("{sound}\n{text}\n");
    if let Ok(read) = list.parse::<TokenList>() {
        let entries = read.entries().iter().map(ToString::to_string);
        let again = entries.collect::<Vec<_>>().join("\n").parse();
        assert_eq!(again, Ok(read), "{list:?}");
    }
    let mut shown = JWT.as_bytes().to_vec();
    for _ in 0..draw.below(3) {
        alter(draw, &mut shown);
    }
    let shown = if draw.once_in(4) { text.as_bytes().to_vec() } else { shown };
    let Ok(value) = HeaderValue::from_bytes(&[b"Bearer ".as_slice(), &shown].concat()) else {
        return;
    };
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    if KNOWN.caller(&headers).is_ok() {
        assert_eq!(shown.trim_ascii(), JWT.as_bytes(), "a token that nobody signed");
    }
}

/// What JWTs are signed with here.
const JWT_SECRET: &str = "a secret of thirty-two bytes or more";

/// `{"alg":"HS256"}`, `{"sub":"a","role":"read","exp":4102444800}`, and what the secret makes of them.
static JWT: LazyLock<String> = LazyLock::new(|| {
    let parts = [r#"{"alg":"HS256"}"#, r#"{"sub":"a","role":"read","exp":4102444800}"#];
    let text = parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let mac = hmac_sha256(JWT_SECRET.as_bytes(), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac))
});

/// HMAC as RFC 2104 has it, for a key of one block at most.
fn hmac_sha256(key: &[u8], text: &[u8]) -> [u8; 32] {
    let padded = |with: u8| -> Vec<u8> {
        (0..64).map(|at| key.get(at).copied().unwrap_or_default() ^ with).collect()
    };
    let inner = Sha256::digest([padded(0x36).as_slice(), text].concat());
    Sha256::digest([padded(0x5c).as_slice(), &inner].concat()).into()
}

/// Knows its key.
static KNOWN: LazyLock<Credentials> = LazyLock::new(|| {
    let secret = SecretSource::Text(lucid_http::config::Secret::new(JWT_SECRET.to_owned()));
    let config = AccessConfig { jwt_secret: Some(secret), ..AccessConfig::default() };
    let known = Credentials::open(&config, Arc::new(|| T0));
    let known = known.unwrap_or_else(|_| Credentials::nobody_asks());
    assert!(known.are_asked_for(), "without a key everybody is let in");
    let value = HeaderValue::from_str(&format!("Bearer {}", *JWT));
    let sound = value.map(|value| HeaderMap::from_iter([(AUTHORIZATION, value)]));
    assert!(sound.is_ok_and(|sound| known.caller(&sound).is_ok()), "the sound one counts");
    known
});

/// A payload that says how it was packed and how long it is.
fn packed(draw: &mut Draw<'_>) {
    let plain = draw.filled(4_000);
    let cipher = Cipher::new(None);
    let name = *blake3::hash(&plain).as_bytes();
    let how = [Compression::None, Compression::Zstd(3), Compression::Lz4, Compression::Gzip];
    let how = draw.of(&how).copied().unwrap_or_default();
    let (codec, payload) = Packer::new().pack(how, &plain);
    let Ok(mut record) = Record::plain(RecordKind::Chunk, name, payload) else { return };
    record.header.codec = codec;
    record.header.plain_length = u32::try_from(plain.len()).unwrap_or_default();
    let is_altered = draw.flag();
    if is_altered {
        record.payload.push(0);
        alter(draw, &mut record.payload);
        if draw.flag() {
            // No more than a few times what is there: a claim is believed for what it costs.
            record.header.plain_length = draw.short() % (1 << 20);
        }
        if draw.flag() {
            record.payload = draw.bytes(300);
        }
    }
    let opened = cipher.open(&mut Packer::new(), &record.header, record.payload.clone());
    match opened {
        Ok(bytes) => assert_eq!(bytes.len(), record.header.plain_length as usize),
        Err(_) => assert!(is_altered, "a sound payload does not open"),
    }
}

/// What leads into a block, and what says that a session is gone.
fn anchored(draw: &mut Draw<'_>) {
    let Some(world) = draw.of(&OURS) else { return };
    let mut bytes = world.anchored.encode();
    for _ in 0..draw.below(4) {
        alter(draw, &mut bytes);
        bytes.push(0);
        bytes.pop();
        if bytes.is_empty() {
            return;
        }
    }
    if let Ok(read) = AnchorInclusion::decode(&bytes) {
        assert_eq!(read.encode(), bytes);
    }
    if let Ok(transaction) = Transaction::parse(&bytes) {
        let _answer = Signed::<Tombstone>::parse(&transaction);
    }
}

/// A follower's block that is not final.
fn staged(draw: &mut Draw<'_>) {
    use lucid_block_manager::staging::{FOLDER, Staging};
    use lucid_store::files::disk::Disk;
    let disk = Arc::new(lucid_store::files::disk::simulated::SimulatedDisk::new());
    let made = disk.create_folder(FOLDER);
    assert!(made.is_ok());
    for height in 0..2 {
        let Some(world) = OURS.get(height) else { return };
        let mut block = world.block.to_json_text().into_bytes();
        if draw.flag() {
            alter(draw, &mut block);
        }
        let block = String::from_utf8_lossy(&block).into_owned();
        let rest = format!("{}\n{block}\n", Timestamp::from_micros(T0));
        let sum = lucid_core::block_merkle::transaction_hash(&rest);
        let text = format!("{sum}\n{rest}");
        let name = if draw.once_in(4) {
            draw.text(30).replace('/', "")
        } else {
            format!("{height:020}.block")
        };
        crate::recovery::put(&disk, &format!("{FOLDER}/{name}"), text.as_bytes());
    }
    let staging = Staging::open(disk.clone(), None);
    let Ok(staging) = staging else { panic!("staging is opened, whatever it holds") };
    for held in staging.list() {
        let read = staging.read(held.height);
        assert!(read.is_ok_and(|read| read.is_some()), "a block is held that does not read");
    }
}

fn profiles(draw: &mut Draw<'_>) {
    let text = match draw.flag() {
        true => draw.text(40),
        false => format!("{}", draw.short()),
    };
    if let Ok(profile) = text.parse::<ChunkProfile>() {
        assert_eq!(profile.to_string().parse(), Ok(profile));
    }
    let profiles = [ChunkProfile::fixed(draw.short()), ChunkProfile::content_defined(draw.short())];
    for profile in profiles.into_iter().flatten() {
        let window = draw.filled(3_000);
        let cut = profile.next_cut(&window, draw.flag());
        assert!(cut.is_none_or(|cut| cut <= window.len() && (cut > 0 || window.is_empty())));
        assert_eq!(profile.to_string().parse(), Ok(profile));
    }
}
