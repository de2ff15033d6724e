//! Asking a folder for documents: those of its store, and of the chain beside it what was not taken in yet.

use lucid_block_manager::opened as manager;
use lucid_block_manager::ops::read_run::{Half, read_run};
use lucid_core::record::{Head, RecordFault, decode_body};
use lucid_core::transaction::{Transaction, id_digest};
use lucid_data_chain::chain::{Chain, ChainError};
use lucid_data_chain::document::{DocumentKind, Facets, Source};
use lucid_data_chain::ops::OpError;
use lucid_data_chain::ops::documents::get_document::FoundDocument;
use lucid_data_chain::ops::documents::query_chain::{ChainQuery, QueryChainError, query_chain};
use lucid_data_chain::ops::documents::query_documents::{
    DocumentQuery, LIMIT_MAX, PAGE_BYTES_MAX, query_documents,
};
use lucid_data_chain::ops::sight::Sight;
use lucid_data_chain::row::synchronised::SynchronisedRow;
use lucid_store::contract::chain::Body;
use lucid_store::files::folder::is_store;

use super::{Local, chain_folder};
use crate::place::QueryDocuments;
use crate::place::query::{AskedDocuments, ChainBeside};

/// The chain of a folder as one that documents are taken from.
struct FolderChain {
    opened: manager::Opened,
}

fn unread(error: impl std::fmt::Display) -> ChainError {
    ChainError::Unread(error.to_string())
}

impl FolderChain {
    fn run<T>(
        &self,
        half: Half,
        from: u64,
        limit: u32,
        decode: impl Fn(&[u8]) -> Result<T, RecordFault>,
    ) -> Result<Vec<T>, ChainError> {
        let run = read_run(self.opened.chain.as_ref(), half, from, limit as usize);
        match run.map_err(unread)? {
            Body::Pruned => Err(ChainError::Pruned(from)),
            Body::Here(run) => run
                .iter()
                .map(|bytes| decode(bytes))
                .collect::<Result<_, _>>()
                .map_err(|fault| ChainError::Unreadable(fault.to_string())),
        }
    }
}

impl Chain for FolderChain {
    fn name(&self) -> &str {
        "the chain in the folder"
    }

    fn height(&self) -> Result<Option<u64>, ChainError> {
        let tip = self.opened.chain.tip().map_err(unread)?;
        Ok(tip.map(|tip| tip.height))
    }

    fn heads(&self, from: u64, limit: u32) -> Result<Vec<Head>, ChainError> {
        self.run(Half::Heads, from, limit, Head::decode)
    }

    fn bodies(&self, from: u64, limit: u32) -> Result<Vec<Vec<Transaction>>, ChainError> {
        self.run(Half::Bodies, from, limit, decode_body)
    }
}

impl ChainBeside for FolderChain {
    fn has(&self, found: &FoundDocument) -> anyhow::Result<bool> {
        let chain = self.opened.chain.as_ref();
        Ok(match &found.facets {
            Facets::Block { hash, .. } => chain.height_of(hash)?.is_some(),
            // One whose block is pruned is not to be had there.
            Facets::Transaction { .. } => chain
                .find(&id_digest(&found.id))?
                .is_some_and(|place| place.height >= chain.pruned_below()),
            Facets::Session { .. } => false,
        })
    }

    fn close(self: Box<Self>) -> anyhow::Result<()> {
        Ok(self.opened.close()?)
    }
}

/// Documents on their way to who asked for them.
struct Given<'a> {
    left: usize,
    visit: &'a mut dyn FnMut(FoundDocument) -> anyhow::Result<()>,
    failed: Option<anyhow::Error>,
}

impl Given<'_> {
    /// Breaks off once there are enough, or nobody takes any more.
    fn give(&mut self, found: FoundDocument) -> Result<(), OpError> {
        self.left -= 1;
        (self.visit)(found).map_err(|error| {
            self.failed = Some(error);
            OpError::Abandoned
        })?;
        if self.left == 0 { Err(OpError::Abandoned) } else { Ok(()) }
    }
}

impl QueryDocuments for Local {
    fn chain(&self) -> anyhow::Result<Option<Box<dyn ChainBeside>>> {
        Ok(match is_store(&chain_folder(&self.home))? {
            true => Some(Box::new(FolderChain { opened: Local::chain(self, false)? })),
            false => None,
        })
    }

    fn documents(
        &self,
        asked: &AskedDocuments,
        chain: Option<&dyn ChainBeside>,
        visit: &mut dyn FnMut(FoundDocument) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let left = asked.most.unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(());
        }
        let mut given = Given { left, visit, failed: None };
        let chain = chain.filter(|_| asked.kind != DocumentKind::Session);
        let result = match asked.descending {
            true => self
                .not_taken(asked, chain, &mut given)
                .and_then(|()| self.stored(asked, chain, &mut given)),
            false => self
                .stored(asked, chain, &mut given)
                .and_then(|()| self.not_taken(asked, chain, &mut given)),
        };
        let is_enough = |error: &anyhow::Error| {
            matches!(error.downcast_ref(), Some(QueryChainError::Op(OpError::Abandoned)))
                || matches!(error.downcast_ref(), Some(OpError::Abandoned))
        };
        match (given.failed, result) {
            (Some(error), _) => Err(error),
            (None, Err(error)) if is_enough(&error) => Ok(()),
            (None, result) => result,
        }
    }
}

impl Local {
    /// Documents of the chain that no service has taken in.
    fn not_taken(
        &self,
        asked: &AskedDocuments,
        chain: Option<&dyn ChainBeside>,
        given: &mut Given<'_>,
    ) -> anyhow::Result<()> {
        let Some(chain) = chain else { return Ok(()) };
        let Some(height) = chain.height()? else { return Ok(()) };
        // Where blocks of another chain were taken, none of this one were.
        let taken = SynchronisedRow::find(self.data.vault.index())?;
        let genesis = chain.heads(0, 1)?.first().map(|head| head.entry.hash);
        let taken = taken.filter(|row| Some(row.genesis) == genesis);
        let heights = taken.map_or(0, |row| row.last.index + 1)..height.saturating_add(1);
        let (kind, filter, descending) = (asked.kind, asked.filter.clone(), asked.descending);
        let wanted = ChainQuery { kind, filter, heights, descending };
        Ok(query_chain(chain, &wanted, &mut |found| given.give(found))?)
    }

    /// Documents of the store. What a client submitted and the chain has comes with the chain.
    fn stored(
        &self,
        asked: &AskedDocuments,
        chain: Option<&dyn ChainBeside>,
        given: &mut Given<'_>,
    ) -> anyhow::Result<()> {
        let mut query = DocumentQuery {
            kind: asked.kind,
            filter: asked.filter.clone(),
            limit: LIMIT_MAX.min(given.left),
            offset: 0,
            bytes_max: PAGE_BYTES_MAX,
            cursor: None,
            descending: asked.descending,
            total: false,
            quiet_since: self.quiet_since(),
            sight: Sight::everything(),
        };
        loop {
            let page = query_documents(&self.data.vault, &query)?;
            for found in page.documents {
                let is_in_chain = match chain {
                    Some(chain) if found.source == Source::Submitted => chain.has(&found)?,
                    _ => false,
                };
                if !is_in_chain {
                    given.give(found)?;
                }
            }
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => return Ok(()),
            }
        }
    }
}
