//! Checking a proof bundle offline: what it proves, step by step, and what it does not.
//!
//! `lucid check-proof` prints the [`CheckReport`], and `lucid archive` asks for one before it calls a
//! session anchored. Everything comes
//! from the bundle but two things: the content, if it is at hand, and the keys or block hashes that
//! the caller trusts.
//!
//! A bundle without a trusted block key or hash may come from a chain that was forged last night,
//! and one without a trusted recorder's key from anyone who may post a transaction. Such a bundle
//! is consistent and never "proved". No field is believed because of the bundle's checksum.

use std::io::{self, Read};

use serde::Serialize;

use crate::anchor::Anchor;
use crate::block_merkle::verify_path;
use crate::bundle::{AnchorInclusion, Bundle, Demand, DemandFault, Subject, leads_to_root};
use crate::claim::Signed;
use crate::digest::BlockHash;
use crate::elsewhere::NOT_PROVED;
use crate::manifest::{End, Manifest, hash_of};
use crate::record::BlockEntry;
use crate::sign::PublicKey;
use crate::time::Timestamp;
use crate::transaction::Transaction;
use crate::words::{many, many_do};

mod content;

/// What the caller believes without a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// A recorder's or a block producer's key: it is trusted for what it has itself signed.
    Key(PublicKey),
    /// The hash of a block.
    BlockHash(BlockHash),
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepOutcome {
    /// It holds.
    Proved,
    /// It holds only if a party is believed that the caller does not trust.
    NotProved,
    /// There was nothing to check.
    Skipped,
    /// It does not hold.
    Refused,
}

/// One step of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckStep {
    /// Its name.
    pub name: &'static str,
    /// How it ended.
    pub outcome: StepOutcome,
    /// What that means.
    pub sentence: String,
}

/// What a check comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum CheckVerdict {
    /// Every step holds, and recorder and origin are trusted.
    Proved,
    /// A step does not hold.
    Refused {
        /// Why not.
        reason: String,
    },
    /// Every step holds, but recorder or origin are not known to the caller, the time is not known, or there is only
    /// the word of another engine for an anchor.
    OriginOrRecorderNotProved,
}

impl CheckVerdict {
    /// The exit code of `check-proof`: 0 proved, 1 refused, 2 consistent but not proved.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Proved => 0,
            Self::Refused { .. } => 1,
            Self::OriginOrRecorderNotProved => 2,
        }
    }
}

/// Everything that a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The steps, in order; after a refusal no more follow.
    pub steps: Vec<CheckStep>,
    /// What was not proved, or cannot be by a bundle.
    pub not_proved: Vec<String>,
    /// What it comes to.
    #[serde(flatten)]
    pub verdict: CheckVerdict,
}

/// Checks a bundle, and the content it is about if that is at hand: for a session its content, with
/// or without the appendix; for chunks, bytes and a path exactly those. An error means that the
/// content could not be read; everything else is an answer.
pub fn check(
    bundle: &[u8],
    content: Option<&mut dyn Read>,
    trust: &[Trust],
) -> io::Result<CheckReport> {
    let mut checker = Checker { trust, steps: Vec::new(), not_proved: Vec::new() };
    let verdict = match checker.run(bundle, content) {
        Ok(()) => checker.verdict(),
        Err(Stop::Refused { name, reason }) => {
            checker.step(name, StepOutcome::Refused, reason.clone());
            CheckVerdict::Refused { reason }
        }
        Err(Stop::Unreadable(error)) => return Err(error),
    };
    Ok(CheckReport { steps: checker.steps, not_proved: checker.not_proved, verdict })
}

/// Why a check ends before its last step.
#[derive(Debug)]
enum Stop {
    Refused { name: &'static str, reason: String },
    Unreadable(io::Error),
}

/// Turns a fault into the refusal of a step.
fn refuse<F: ToString>(name: &'static str) -> impl Fn(F) -> Stop {
    move |fault| Stop::Refused { name, reason: fault.to_string() }
}

fn need(name: &'static str, kept: bool, reason: &str) -> Result<(), Stop> {
    if kept { Ok(()) } else { Err(refuse(name)(reason)) }
}

struct Checker<'a> {
    trust: &'a [Trust],
    steps: Vec<CheckStep>,
    not_proved: Vec<String>,
}

impl Checker<'_> {
    fn step(&mut self, name: &'static str, outcome: StepOutcome, sentence: String) {
        self.steps.push(CheckStep { name, outcome, sentence });
    }

    fn proved(&mut self, name: &'static str, sentence: String) {
        self.step(name, StepOutcome::Proved, sentence);
    }

    fn not_proved(&mut self, name: &'static str, sentence: String) {
        self.not_proved.push(sentence.clone());
        self.step(name, StepOutcome::NotProved, sentence);
    }

    fn verdict(&self) -> CheckVerdict {
        if self.steps.iter().any(|step| step.outcome == StepOutcome::NotProved) {
            CheckVerdict::OriginOrRecorderNotProved
        } else {
            CheckVerdict::Proved
        }
    }

    fn run(&mut self, bytes: &[u8], content: Option<&mut dyn Read>) -> Result<(), Stop> {
        let bundle = Bundle::decode(bytes).map_err(refuse("bundle"))?;
        self.proved("bundle", format!("the bundle is whole: {}", many(bytes.len(), "byte")));
        let manifest = Manifest::parse(bundle.manifest.as_bytes()).map_err(refuse("manifest"))?;
        let claim = Demand::of(&bundle, &manifest)
            .map_err(|fault| refuse(step_of(&bundle, &fault))(fault))?;
        self.content(&bundle, &manifest, &claim, content)?;
        leads_to_root(&bundle, &manifest).map_err(refuse("leaves"))?;
        self.proved("leaves", leaves_sentence(&bundle, &manifest));
        self.path(&bundle, &claim);
        self.time(&bundle, &claim);
        self.manifest(&manifest);
        self.anchored(&bundle, &manifest)?;
        self.reservations(&bundle, &manifest);
        Ok(())
    }

    fn content(
        &mut self,
        bundle: &Bundle,
        manifest: &Manifest,
        claim: &Demand,
        given: Option<&mut dyn Read>,
    ) -> Result<(), Stop> {
        let parts = content::verify_slices(bundle, claim).map_err(refuse("content"))?;
        let Some(given) = given else {
            let sentence = "no content was given, so none was compared".to_owned();
            self.not_proved.push(sentence.clone());
            self.step("content", StepOutcome::Skipped, sentence);
            return Ok(());
        };
        let optional_from = match bundle.subject {
            Subject::Session => Some(manifest.content_bytes),
            _ => None,
        };
        let compared = content::compare(bundle, claim, parts, optional_from, given)?;
        let wanted = claim.bytes.end - claim.bytes.start;
        if compared < wanted {
            let missing = wanted - compared;
            self.not_proved.push(format!(
                "the appendix was not given with the content: its {} not compared",
                many_do(missing, "byte", "was", "were")
            ));
        }
        self.proved(
            "content",
            match compared {
                1 => "1 byte is that of the named chunk".to_owned(),
                _ => format!("{compared} bytes are those of the named chunks"),
            },
        );
        Ok(())
    }

    fn path(&mut self, bundle: &Bundle, claim: &Demand) {
        if let (Subject::Path(path), Some(entry)) = (&bundle.subject, &claim.entry) {
            let sentence = format!(
                "the catalogue has {:?} as a {} of {}",
                String::from_utf8_lossy(path),
                entry.kind,
                many(entry.length, "byte")
            );
            self.proved("path", sentence);
            if entry.changed {
                self.not_proved.push(
                    "the file changed while it was read: the bytes are those that were read"
                        .to_owned(),
                );
            }
        }
    }

    fn time(&mut self, bundle: &Bundle, claim: &Demand) {
        if let Subject::Span(span) = &bundle.subject {
            let (from, to) = (Timestamp::from_micros(span.from), Timestamp::from_micros(span.to));
            let (start, end) = (claim.bytes.start, claim.bytes.end);
            if let Some(within) = claim.within.as_ref().filter(|within| within.is_doubtful()) {
                let seconds = within.doubt_seconds();
                self.not_proved(
                    "time",
                    format!(
                        "time not known: the clock went back while this was recorded, so its times may \
                         be wrong by {seconds} s; whatever came from {from} to {to} is among bytes \
                         {start} to {end} (not included)"
                    ),
                );
                return;
            }
            let sentence = if start == end {
                format!("the timeline has nothing from {from} to {to}")
            } else {
                format!(
                    "the timeline has bytes {start} to {end} (not included) from {from} to {to}"
                )
            };
            self.proved("time", sentence);
        }
    }

    fn manifest(&mut self, manifest: &Manifest) {
        let sentence = format!(
            "session {} has {} and {} with root {} and ended {}",
            manifest.session_id,
            many(manifest.chunk_count, "chunk"),
            many(manifest.total_bytes, "byte"),
            manifest.merkle_root,
            manifest.end
        );
        self.proved("manifest", sentence);
        if manifest.end == End::Unterminated {
            self.not_proved.push(
                "the recorder never ended this session: more may have been recorded".to_owned(),
            );
        }
    }

    /// The anchor, and how it is known to be anywhere: by the way into a block, by the word of another engine, or not.
    fn anchored(&mut self, bundle: &Bundle, manifest: &Manifest) -> Result<(), Stop> {
        match (&bundle.anchored, &bundle.elsewhere) {
            (Some(anchored), elsewhere) => {
                let text = &anchored.transaction;
                let same =
                    elsewhere.as_ref().is_none_or(|elsewhere| elsewhere.transaction == *text);
                need("anchor", same, "another anchor is said to be elsewhere")?;
                let transaction = self.anchor(text, manifest, &bundle.manifest)?;
                self.block(anchored, &transaction)
            }
            (None, Some(elsewhere)) => {
                self.anchor(&elsewhere.transaction, manifest, &bundle.manifest)?;
                let said = elsewhere.words.said();
                self.not_proved("elsewhere", format!("NOT proved: {said}; {NOT_PROVED}"));
                Ok(())
            }
            (None, None) => {
                self.not_proved(
                    "anchor",
                    "the session is not anchored: nothing shows when this existed".to_owned(),
                );
                Ok(())
            }
        }
    }

    fn anchor(
        &mut self,
        text: &str,
        manifest: &Manifest,
        manifest_text: &str,
    ) -> Result<Transaction, Stop> {
        let name = "anchor";
        let transaction = Transaction::parse(text.as_bytes()).map_err(refuse(name))?;
        need(name, transaction.text() == text, "the anchor is not in its canonical spelling")?;
        let Signed { claim: anchor, key } =
            Signed::<Anchor>::parse(&transaction).map_err(refuse(name))?;
        let same = anchor.session_id == manifest.session_id
            && anchor.merkle_root == manifest.merkle_root
            && anchor.manifest_hash == hash_of(manifest_text)
            && anchor.chunk_count == manifest.chunk_count
            && anchor.total_bytes == manifest.total_bytes;
        need(name, same, "the anchor is that of another session or manifest")?;
        self.proved(name, format!("transaction {} names this root and manifest", transaction.id()));
        if self.trust.contains(&Trust::Key(key)) {
            self.proved("recorder", format!("the trusted key {key} signed the anchor"));
        } else {
            let sentence =
                format!("recorder NOT proved: key {key} signed the anchor, and it is not trusted");
            self.not_proved("recorder", sentence);
        }
        Ok(transaction)
    }

    fn block(&mut self, anchored: &AnchorInclusion, transaction: &Transaction) -> Result<(), Stop> {
        let entry = BlockEntry::parse(&anchored.entry).map_err(refuse("block"))?;
        let (position, count) = (anchored.position as usize, anchored.count as usize);
        let root = verify_path(transaction.hash(), position, count, &anchored.path);
        let counted = entry.transaction_count == u64::from(anchored.count);
        need("transaction", counted, "the block has another number of transactions")?;
        let included = root == Some(entry.merkle_root);
        need("transaction", included, "the anchor does not lead to the block's Merkle root")?;
        let sentence = format!("the anchor is transaction {position} of {count} in its block");
        self.proved("transaction", sentence);
        let hashed = entry.computed_hash() == entry.hash;
        need("block", hashed, "the block's hash is not that of its fields")?;
        let sentence =
            format!("block {} of {} has hash {}", entry.index, entry.timestamp, entry.hash);
        self.proved("block", sentence);
        self.origin(anchored, &entry)
    }

    fn origin(&mut self, anchored: &AnchorInclusion, entry: &BlockEntry) -> Result<(), Stop> {
        let name = "origin";
        if let Some(producer) = &anchored.producer {
            let signed = entry.verify(&producer.key, &producer.signature);
            need(name, signed, "the signature of the block's producer does not verify")?;
        }
        let key = anchored.producer.map(|producer| producer.key);
        if let Some(key) = key.filter(|key| self.trust.contains(&Trust::Key(*key))) {
            self.proved(name, format!("the trusted key {key} signed the block"));
        } else if self.trust.contains(&Trust::BlockHash(entry.hash)) {
            self.proved(name, format!("block hash {} is trusted", entry.hash));
            // Only the producer's signature covers these two lines of the entry.
            self.not_proved.push(
                "the block's hash covers neither its number of transactions nor their RFC 9162 root"
                    .to_owned(),
            );
        } else {
            let who = match key {
                Some(key) => format!("key {key} signed the block, and it is not trusted"),
                None => "nobody signed the block, and its hash is not trusted".to_owned(),
            };
            self.not_proved(name, format!("consistent, origin NOT proved: {who}"));
        }
        Ok(())
    }

    /// What no bundle of this kind can prove.
    fn reservations(&mut self, bundle: &Bundle, manifest: &Manifest) {
        let mut add = |sentence: &str| self.not_proved.push(sentence.to_owned());
        if bundle.anchored.is_some() {
            add("the time of the block is its producer's word");
            add("that others were shown the same chain is not part of this bundle");
        }
        if let Some(elsewhere) = bundle.elsewhere.as_ref().filter(|_| bundle.anchored.is_some()) {
            add(&format!(
                "{}: that is its word, and nothing here checks it",
                elsewhere.words.said()
            ));
        }
        add("user, times and metadata of the session are its recorder's word");
        if bundle.subject != Subject::Session {
            add("the rest of the session was not looked at");
        }
        if !bundle.slices.is_empty() {
            add(
                "a range is disclosed in groups of 16 KiB, and the hashes beside them inside a chunk \
                 are not salted: content that can be guessed can be recognised by them",
            );
        }
        if matches!(bundle.subject, Subject::Span(_)) {
            add(
                "a timeline is exact to a second, and the other marks on the pages shown are disclosed",
            );
        }
        if matches!(bundle.subject, Subject::Path(_)) {
            add(
                "mode, owner and times of the path are its recorder's word, and the other names on its \
                 catalogue page are disclosed",
            );
        }
        if manifest.public {
            add("the session is public: its leaves hide nothing");
        }
    }
}

/// The step in which a claim's fault is a refusal.
const fn step_of(bundle: &Bundle, fault: &DemandFault) -> &'static str {
    match (fault, &bundle.subject) {
        (DemandFault::Range { .. } | DemandFault::Leaves { .. } | DemandFault::Root, _) => "leaves",
        (_, Subject::Span(_)) => "time",
        _ => "path",
    }
}

fn leaves_sentence(bundle: &Bundle, manifest: &Manifest) -> String {
    let (count, root) = (bundle.leaves.len(), manifest.merkle_root);
    match bundle.leaves.first() {
        Some(first) => {
            let (from, belong) = (first.index, if count == 1 { "belongs" } else { "belong" });
            format!("{}, from number {from} on, {belong} to root {root}", many(count, "chunk"))
        }
        None => format!("no chunks are needed below root {root}"),
    }
}

#[cfg(test)]
mod tests;
