//! Asking a server for documents.

use anyhow::Context as _;
use lucid_api::paths;
use lucid_api::v1::documents::{DocumentMeta, DocumentSource};
use lucid_api::v1::list::LIMIT_MAX;
use lucid_core::time::Timestamp;
use lucid_data_chain::document::{DocumentKind, Source};
use lucid_data_chain::ops::documents::get_document::FoundDocument;

use super::Remote;
use crate::place::QueryDocuments;
use crate::place::query::{AskedDocuments, ChainBeside};

/// A document as it was sent. What it can be found by follows from its text.
fn found(kind: DocumentKind, text: &str, meta: &DocumentMeta) -> anyhow::Result<FoundDocument> {
    let indexed_at = Timestamp::parse(&meta.indexed_at)?;
    let source = match meta.source {
        DocumentSource::Submitted => Source::Submitted,
        DocumentSource::Synchronised => Source::Synchronised,
        DocumentSource::Kept => Source::Kept,
    };
    let block_index = meta.block_index;
    Ok(FoundDocument::of_text(kind, source, text, indexed_at, block_index)?)
}

impl QueryDocuments for Remote {
    fn chain(&self) -> anyhow::Result<Option<Box<dyn ChainBeside>>> {
        // A block-manager is asked under an address of its own.
        Ok(None)
    }

    fn documents(
        &self,
        asked: &AskedDocuments,
        _chain: Option<&dyn ChainBeside>,
        visit: &mut dyn FnMut(FoundDocument) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let path = match asked.kind {
            DocumentKind::Block => paths::DATA_BLOCKS,
            DocumentKind::Transaction => paths::DATA_TRANSACTIONS,
            DocumentKind::Session => paths::DATA_SESSIONS,
        };
        let mut left = asked.most.unwrap_or(usize::MAX);
        let mut cursor: Option<String> = None;
        loop {
            let limit = left.min(LIMIT_MAX as usize);
            let mut parameters = asked.words.clone();
            parameters.push(("limit".into(), limit.to_string()));
            parameters.push(("order".into(), if asked.descending { "desc" } else { "asc" }.into()));
            parameters.extend(cursor.take().map(|cursor| ("cursor".to_owned(), cursor)));
            let page = self.call(|| self.client.documents(path, &parameters))?;
            for (text, meta) in page.items.iter().zip(&page.meta) {
                let found = found(asked.kind, text.get(), meta);
                visit(found.context("the server's answer has what is no document")?)?;
            }
            left -= page.items.len().min(left);
            match page.next_cursor {
                Some(next) if left > 0 => cursor = Some(next),
                _ => return Ok(()),
            }
        }
    }
}
