//! Verifying a folder: its files, its sessions, the chain beside it, and that all of them are of one time.
//!
//! In one file because each of these looks at what the others leave open.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lucid_api::v1::removal::Tombstone;
use lucid_block_manager::given::RefusedBlock;
use lucid_block_manager::opened as manager;
use lucid_block_manager::ops::validate_chain::validate_chain;
use lucid_block_manager::ops::validate_texts::ValidationRequest;
use lucid_core::anchor::Anchor;
use lucid_core::claim::Signed;
use lucid_core::digest::BlockHash;
use lucid_core::json::Json;
use lucid_core::session::SessionId;
use lucid_core::sign::PublicKey;
use lucid_core::time::Timestamp;
use lucid_core::tombstone;
use lucid_core::transaction::Transaction;
use lucid_core::words::many_do;
use lucid_data_chain::Opened;
use lucid_data_chain::opened::FOLDER_OWNER;
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::proofs::deliver_anchors::anchor_text;
use lucid_data_chain::ops::proofs::recognise_chain::recognise_chain;
use lucid_data_chain::ops::proofs::verify_session::{
    SessionVerified, verify_session, verify_structure,
};
use lucid_data_chain::ops::sessions::get_session::get_session;
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;
use lucid_data_chain::row::SessionName;
use lucid_store::StoreError;
use lucid_store::backend::{Given, Kept, opening};
use lucid_store::contract::chain::{ChainStore, Stretch};
use lucid_store::files::chain;
use lucid_store::files::disk::Disk;
use lucid_store::files::folder::is_store;
use lucid_store::vault::Vault;

use super::anchoring::Embedded;
use super::{CHAIN_FOLDER, Local, chain_folder, manager_options};
use crate::place::reading;
use crate::place::{Findings, ReadSessions, RemoveSessions, VerifySessions};
use std::collections::HashSet;

/// What the audit of a folder has to know from the caller that opened it.
struct FolderFacts<'a> {
    store: [u8; 16],
    vault: &'a Vault,
    damage: &'a [lucid_store::Damage],
    kept: Kept,
}

fn findings(id: &SessionId, verified: SessionVerified) -> Findings {
    Findings {
        sessions: 1,
        records: verified.chunks_verified,
        bytes: verified.bytes_verified,
        faults: verified.faults.iter().map(|why| format!("session {id}, {why}")).collect(),
        not_checked: verified
            .not_checked
            .iter()
            .map(|what| format!("session {id}: {what}"))
            .collect(),
        ..Findings::default()
    }
}

impl VerifySessions for Local {
    fn verify_session(
        &self,
        id: &SessionId,
        progress: &(dyn Fn(u64) + Sync),
    ) -> anyhow::Result<Findings> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let verified = verify_session(&self.data.vault, id, threads, &|done| {
            progress(done);
            true
        })?;
        let mut findings = findings(id, verified);
        if self.is_from_elsewhere(id)? {
            findings.not_checked.push(in_another_chain(id));
        } else if let Some(chain) = self.chain_to_verify(false, &mut findings)? {
            let earlier = self.earlier_chains(&mut findings)?;
            let chains = Chains { newest: Some(&chain), earlier };
            self.verify_anchor(&chains, id, &mut findings)?;
            chains.close_earlier()?;
            chain.close()?;
        }
        Ok(findings)
    }

    fn verify_all(&self, progress: &(dyn Fn(u64, u64) + Sync)) -> anyhow::Result<Findings> {
        let mut all = Findings::default();
        let disk: Arc<dyn Disk> = self.data.folder.disk.clone();
        let facts = FolderFacts {
            store: self.data.folder.store,
            vault: &self.data.vault,
            damage: &self.data.damage(),
            kept: self.data.folder.kept,
        };
        let suspects = self.verify_folder(&disk, FOLDER_OWNER, &mut all, &facts, progress)?;
        let mut ids = Vec::new();
        let mut recorded_here = 0;
        // One list or session that cannot be read does not keep the rest from being looked at.
        let listed = self.sessions(&SessionFilter::default(), &mut |session| {
            let id = session.session_id.parse::<SessionId>()?;
            recorded_here += usize::from(!self.is_from_elsewhere(&id).unwrap_or(false));
            ids.push(id);
            Ok(())
        });
        if let Err(error) = listed {
            all.faults.push(format!("not every session could be found: {error:#}"));
        }
        let chain = self.chain_to_verify(recorded_here < ids.len(), &mut all)?;
        if let Some(chain) = &chain {
            self.verify_chain(CHAIN_FOLDER, chain, self.clock.now(), &mut all)?;
        }
        let chains = Chains { earlier: self.earlier_chains(&mut all)?, newest: chain.as_ref() };
        for (folder, earlier) in &chains.earlier {
            self.verify_earlier(folder, earlier, &mut all)?;
        }
        for id in &ids {
            all.sessions += 1;
            let mut checked = || {
                let found = findings(id, verify_structure(&self.data.vault, id, &suspects)?);
                all.faults.extend(found.faults);
                all.not_checked.extend(found.not_checked);
                self.verify_anchor(&chains, id, &mut all)
            };
            if let Err(error) = checked() {
                all.faults.push(format!("session {id} could not be checked: {error:#}"));
            }
        }
        let listed = self.tombstones(&mut |tombstone| {
            all.faults.extend(tombstone_fault(&tombstone, &chains));
            Ok(())
        });
        if let Err(error) = listed {
            all.faults.push(format!("not every tombstone could be found: {error:#}"));
        }
        chains.close_earlier()?;
        if let Some(chain) = chain {
            self.verify_copies(&chain, &mut all)?;
            chain.close()?;
        }
        Ok(all)
    }
}

impl Local {
    fn verify_folder(
        &self,
        disk: &Arc<dyn Disk>,
        name: &str,
        findings: &mut Findings,
        opened: &FolderFacts<'_>,
        progress: &dyn Fn(u64, u64),
    ) -> anyhow::Result<HashSet<(u32, u64)>> {
        let found = opening::audit(disk, opened.kept, opened.vault, opened.store, progress)?;
        findings.records += found.records;
        findings.bytes += found.plain_bytes;
        let suspects =
            found.damage.iter().filter_map(|damage| opened.vault.place_of(damage)).collect();
        let mut damage: Vec<String> =
            found.damage.iter().map(|damage| format!("{name}/{damage}")).collect();
        for known in opened.damage {
            let known = format!("{name}/{known}");
            if !damage.contains(&known) {
                damage.push(known);
            }
        }
        findings.damage.extend(damage);
        findings.faults.extend(found.unopened.iter().map(|record| format!("{name}/{record}")));
        findings.unknown_files.extend(found.unknown.iter().map(|file| format!("{name}/{file}")));
        findings.not_checked.extend(found.not_checked.iter().map(|what| format!("{name}: {what}")));
        Ok(suspects)
    }

    /// The chain, where there is one. That there is none is a fault only if something here is in one.
    fn chain_to_verify(
        &self,
        has_mirrored: bool,
        all: &mut Findings,
    ) -> anyhow::Result<Option<manager::Opened>> {
        let folder = chain_folder(&self.home);
        // An empty folder is where a disk is to be mounted.
        let is_empty = std::fs::read_dir(&folder).map_or(true, |mut found| found.next().is_none());
        if is_empty && !is_store(&folder)? {
            match self.chain_is_at_hand() {
                Err(error) => all.faults.push(format!("{error:#}")),
                Ok(()) if has_mirrored => {
                    all.not_checked
                        .push("the chain: it is where the sessions were recorded".into());
                }
                Ok(()) => all.not_checked.push("the chain: nothing here was anchored yet".into()),
            }
            return Ok(None);
        }
        match self.chain(false) {
            Ok(chain) => Ok(Some(chain)),
            Err(error) => {
                all.faults.push(format!("the chain cannot be opened: {error:#}"));
                Ok(None)
            }
        }
    }

    /// The chains that the one in place took the place of, by their folders.
    fn earlier_chains(
        &self,
        all: &mut Findings,
    ) -> anyhow::Result<Vec<(PathBuf, manager::Opened)>> {
        let mut earlier = Vec::new();
        for folder in lucid_block_manager::anew::earlier(&chain_folder(&self.home))? {
            let options = manager::Options {
                create: false,
                blocks: None,
                // Only a chain in files is ever succeeded.
                given: Given::default(),
                ..manager_options(&self.home, &self.owner, &folder)
            };
            let opened = reading::open(
                self.home.reading,
                || manager::open(&folder, &options, self.clock.now()),
                |to_read| manager::read(&folder, &options, self.clock.now(), to_read),
                manager::OpenError::store,
            );
            match opened {
                Ok(opened) => earlier.push((folder, opened)),
                Err(error) => all
                    .faults
                    .push(format!("the chain in {} cannot be opened: {error:#}", folder.display())),
            }
        }
        Ok(earlier)
    }

    /// Verifies a chain that ended like the one in place. It ended where its clock was ahead, so it is judged
    /// by that.
    fn verify_earlier(
        &self,
        folder: &Path,
        opened: &manager::Opened,
        all: &mut Findings,
    ) -> anyhow::Result<()> {
        let ended = match opened.chain.tip()? {
            Some(tip) => opened.chain.record(tip.height).ok().flatten(),
            None => None,
        };
        let ended = ended.and_then(|stored| stored.record.entry.time().ok());
        let now = ended.map_or(self.clock.now(), |ended| ended.max(self.clock.now()));
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        self.verify_chain(&name, opened, now, all)
    }

    /// Whether the two folders are of one time. A copy of either that was put back beside the newer other
    /// one is sound in itself; what the other one knows of it tells.
    fn verify_copies(&self, opened: &manager::Opened, all: &mut Findings) -> anyhow::Result<()> {
        let Opened { vault, key, .. } = &*self.data;
        let own = key.public();
        if let Err(error) =
            recognise_chain(vault, &own, &Embedded { chain: opened, clock: &self.clock })?
        {
            all.faults.push(error.to_string());
        }
        let mut older = OlderCopy::default();
        every_kept(opened.chain.as_ref(), &mut |height, transaction| {
            if !is_signed_by(transaction, &own) {
                return Ok(());
            }
            if let Ok(signed) = Signed::<Anchor>::parse(transaction) {
                let (id, root) = (&signed.claim.session_id, signed.claim.merkle_root);
                older.note(match get_session(vault, id) {
                    Ok(session) => match session.sealed {
                        Some(sealed) if sealed.root == root => None,
                        Some(sealed) => Some(format!(
                            "session {id} has two roots: block {height} anchors it with {root}, and \
                             data-chain/ has it with {}",
                            sealed.root
                        )),
                        None => Some(format!(
                            "block {height} anchors session {id} with the root {root}, and in \
                             data-chain/ it is not sealed"
                        )),
                    },
                    Err(OpError::Removed(tombstone)) if tombstone.root == root => None,
                    Err(OpError::Removed(tombstone)) => Some(format!(
                        "session {id} has two roots: block {height} anchors it with {root}, and \
                         data-chain/ removed it with {}",
                        tombstone.root
                    )),
                    Err(OpError::NoSession(_)) => Some(format!(
                        "block {height} anchors session {id} with the root {root}, and data-chain/ does \
                         not have it"
                    )),
                    Err(error) => return Err(error.into()),
                });
            } else if let Ok(signed) = Signed::<tombstone::Tombstone>::parse(transaction) {
                let id = &signed.claim.session_id;
                older.note(match get_session(vault, id) {
                    Ok(_) | Err(OpError::NoSession(_)) => Some(format!(
                        "block {height} says that session {id} was removed, and data-chain/ does not \
                         know of it"
                    )),
                    Err(OpError::Removed(_)) => None,
                    Err(error) => return Err(error.into()),
                });
            }
            Ok(())
        })?;
        older.report(all);
        Ok(())
    }

    /// Reads every byte of the chain's folder, and validates every block by the six rules.
    fn verify_chain(
        &self,
        folder: &str,
        opened: &manager::Opened,
        now: Timestamp,
        all: &mut Findings,
    ) -> anyhow::Result<()> {
        let facts = FolderFacts {
            store: opened.store,
            vault: &opened.vault,
            damage: &opened.damage(),
            kept: opened.kept(),
        };
        self.verify_folder(&opened.disk, folder, all, &facts, &|_, _| {})?;
        // The files of blocks, where there are any. Elsewhere a block is read whole when it is validated.
        let damaged = match opened.kept().is_here() {
            true => chain::audit::audit(opened.disk.as_ref(), opened.store)?,
            false => Vec::new(),
        };
        for damage in damaged {
            let damage = format!("{folder}/{damage}");
            if !all.damage.contains(&damage) {
                all.damage.push(damage);
            }
        }
        // The chain's own report says more of what it leaves open than a store's owner asks here.
        let asked = ValidationRequest::default();
        let report = validate_chain(opened.chain.as_ref(), now, &asked, false, |_| {
            ControlFlow::Continue(())
        })?;
        all.blocks += report.blocks;
        all.faults.extend(report.missing.iter().map(|height| format!("block {height} is missing")));
        all.faults.extend(report.refused.iter().map(RefusedBlock::sentence));
        if let Some(more) = report.refused_count.checked_sub(report.refused.len() as u64)
            && more > 0
        {
            all.faults.push(many_do(more, "more block", "breaks rules", "break rules"));
        }
        Ok(())
    }

    /// Whether another recorder sealed a session, so that it came here by mirroring.
    fn is_from_elsewhere(&self, id: &SessionId) -> anyhow::Result<bool> {
        let text = anchor_text(&self.data.vault, &SessionName::of(self.data.vault.cipher(), id))?;
        let signed = Transaction::parse(text.as_bytes())
            .ok()
            .and_then(|transaction| Signed::<Anchor>::parse(&transaction).ok());
        Ok(signed.is_some_and(|signed| signed.key != self.data.key.public()))
    }

    /// Whether the block that a session says it is anchored in is in the chain.
    fn verify_anchor(
        &self,
        chains: &Chains<'_>,
        id: &SessionId,
        findings: &mut Findings,
    ) -> anyhow::Result<()> {
        if chains.newest.is_none() {
            return Ok(());
        }
        let session = get_session(&self.data.vault, id)?;
        let Some((index, hash)) = session.anchored else { return Ok(()) };
        if self.is_from_elsewhere(id)? {
            findings.not_checked.push(in_another_chain(id));
            return Ok(());
        }
        let fault = chains.block_fault(index, hash);
        let said = |fault| format!("session {id} is anchored in block {index}: {fault}");
        findings.faults.extend(fault.map(said));
        Ok(())
    }
}

fn in_another_chain(id: &SessionId) -> String {
    format!("session {id}: its block is in the chain where it was recorded")
}

/// What the chain knows of sessions that data-chain does not.
#[derive(Default)]
struct OlderCopy {
    found: Vec<String>,
    more: u64,
}

impl OlderCopy {
    /// So many are told one by one.
    const TOLD: usize = 100;

    fn note(&mut self, found: Option<String>) {
        match found {
            Some(found) if self.found.len() < Self::TOLD => self.found.push(found),
            Some(_) => self.more += 1,
            None => {}
        }
    }

    fn report(self, all: &mut Findings) {
        if !self.found.is_empty() {
            all.faults.push(
                "data-chain/ is an older copy than the chain beside it, which this store itself wrote: \
                 put the newer one back"
                    .into(),
            );
        }
        all.faults.extend(self.found);
        if self.more > 0 {
            all.faults.push(format!("{} more of these", self.more));
        }
    }
}

/// Every transaction that is kept for ever, anchors and tombstones, with its height. What cannot be read
/// was named when the blocks were judged.
fn every_kept(
    chain: &dyn ChainStore,
    visit: &mut dyn FnMut(u64, &Transaction) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    const STRETCH: (usize, usize) = (1_024, 8 << 20);
    let Some(tip) = chain.tip()? else { return Ok(()) };
    let mut from = 0;
    while from <= tip.height {
        let stretch = Stretch { from, blocks: STRETCH.0, bytes: STRETCH.1 };
        let records = match chain.records(stretch) {
            Ok(records) => records,
            Err(StoreError::Damaged(_)) => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        for stored in &records {
            for kept in &stored.record.anchors {
                visit(stored.record.entry.index, &kept.transaction)?;
            }
        }
        from += (records.len() as u64).max(1);
    }
    Ok(())
}

/// Whether a transaction names this key; its signature was looked at with its block.
fn is_signed_by(transaction: &Transaction, key: &PublicKey) -> bool {
    let named = transaction.to_json();
    named.get("public_key").and_then(Json::as_text) == Some(key.to_string().as_str())
}

/// The chain of a store, and those whose place it took.
struct Chains<'a> {
    newest: Option<&'a manager::Opened>,
    earlier: Vec<(PathBuf, manager::Opened)>,
}

impl Chains<'_> {
    /// Why a block that something is said to be in is in none of them.
    fn block_fault(&self, index: u64, hash: BlockHash) -> Option<String> {
        let fault = block_fault(self.newest?, index, hash)?;
        let is_in = |chain| block_fault(chain, index, hash).is_none();
        (!self.earlier.iter().any(|(_, chain)| is_in(chain))).then_some(fault)
    }

    fn close_earlier(self) -> Result<(), StoreError> {
        self.earlier.into_iter().try_for_each(|(_, chain)| chain.close())
    }
}

/// Why a block that something is said to be in is not in the chain.
fn block_fault(opened: &manager::Opened, index: u64, hash: BlockHash) -> Option<String> {
    match opened.chain.record(index) {
        Ok(Some(stored)) if stored.record.entry.hash == hash => None,
        Ok(Some(_)) => Some("the chain has another block in its place".to_owned()),
        Ok(None) => Some("the chain does not have it".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// What is wrong with what is left of a removed session.
fn tombstone_fault(tombstone: &Tombstone, chains: &Chains<'_>) -> Option<String> {
    let id = &tombstone.session_id;
    let signed = Transaction::parse(tombstone.transaction.as_bytes())
        .map_err(|fault| fault.to_string())
        .and_then(|tx| {
            Signed::<tombstone::Tombstone>::parse(&tx).map_err(|fault| fault.to_string())
        });
    match signed {
        Err(fault) => return Some(format!("the tombstone of session {id}: {fault}")),
        Ok(signed) if signed.claim.session_id.as_str() != id => {
            return Some(format!("the tombstone of session {id} is another session's"));
        }
        Ok(_) => {}
    }
    let (index, hash) = tombstone.block_index.zip(tombstone.block_hash)?;
    let fault = chains.block_fault(index, hash)?;
    Some(format!("the tombstone of session {id} is in block {index}: {fault}"))
}
