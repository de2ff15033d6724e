//! Asking a server for documents. It is believed as little as a disk: what it gives has to be what was asked for.

use std::collections::BTreeSet;

use anyhow::Context as _;
use lucid_api::paths;
use lucid_api::v1::documents::{DocumentMeta, DocumentSource};
use lucid_api::v1::list::LIMIT_MAX;
use lucid_core::time::Timestamp;
use lucid_data_chain::document::{DocumentKind, Facets, Source};
use lucid_data_chain::ops::documents::get_document::FoundDocument;

use super::Remote;
use crate::place::QueryDocuments;
use crate::place::query::{AskedDocuments, ChainBeside};

/// A document as it was sent. What it can be found by follows from its text.
fn found(kind: DocumentKind, text: &str, meta: &DocumentMeta) -> anyhow::Result<FoundDocument> {
    let times = (Timestamp::parse(&meta.at)?, Timestamp::parse(&meta.indexed_at)?);
    let source = match meta.source {
        DocumentSource::Submitted => Source::Submitted,
        DocumentSource::Synchronised => Source::Synchronised,
        DocumentSource::Kept => Source::Kept,
    };
    Ok(FoundDocument::of_text((kind, source), text, times, meta.block_index)?)
}

/// What came so far, to hold the next document against.
#[derive(Default)]
struct Came {
    /// Where the last one stands.
    last: Option<(u64, Timestamp)>,
    /// The ids of those that stand there.
    ids: BTreeSet<String>,
}

impl Came {
    /// Refuses a document that was not asked for, that came before, or that stands in front of one that came.
    fn check(&mut self, asked: &AskedDocuments, found: &FoundDocument) -> anyhow::Result<()> {
        let is_wanted = asked.filter.compares(&found.facets, found.at);
        anyhow::ensure!(is_wanted, "it has {:?}, which was not asked for", found.id);
        // Blocks stand by index, but for a query of times alone; along a chain the two are the same.
        let is_by_index = asked.filter.index_range.is_some()
            || (asked.filter.from.is_none() && asked.filter.to.is_none());
        let at = match found.facets {
            Facets::Block { index, .. } if is_by_index => (index, Timestamp::from_micros(0)),
            _ => (0, found.at),
        };
        if self.last.is_some_and(|last| last != at) {
            self.ids.clear();
        }
        let is_behind = match (self.last.replace(at), asked.descending) {
            (None, _) => true,
            (Some(last), true) => at <= last,
            (Some(last), false) => at >= last,
        };
        anyhow::ensure!(is_behind, "{:?} does not come in the order that was asked for", found.id);
        anyhow::ensure!(self.ids.insert(found.id.clone()), "it has {:?} twice", found.id);
        Ok(())
    }
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
        const WRONG: &str = "the server's answer cannot be used";
        let path = match asked.kind {
            DocumentKind::Block => paths::DATA_BLOCKS,
            DocumentKind::Transaction => paths::DATA_TRANSACTIONS,
            DocumentKind::Session => paths::DATA_SESSIONS,
        };
        let mut left = asked.most.unwrap_or(usize::MAX);
        let (mut cursor, mut came): (Option<String>, _) = (None, Came::default());
        while left > 0 {
            let limit = left.min(LIMIT_MAX as usize);
            let mut parameters = asked.words.clone();
            parameters.push(("limit".into(), limit.to_string()));
            parameters.push(("order".into(), if asked.descending { "desc" } else { "asc" }.into()));
            parameters.extend(cursor.iter().map(|cursor| ("cursor".to_owned(), cursor.clone())));
            let page = self.call(|| self.client.documents(path, &parameters))?;
            let is_whole = page.items.len() == page.meta.len() && page.items.len() <= limit;
            anyhow::ensure!(
                is_whole,
                "{WRONG}: it has more documents than were asked for, or some without meta"
            );
            for (text, meta) in page.items.iter().zip(&page.meta) {
                let found = found(asked.kind, text.get(), meta).context(WRONG)?;
                came.check(asked, &found).context(WRONG)?;
                visit(found)?;
            }
            left -= page.items.len();
            match page.next_cursor {
                None => return Ok(()),
                next if next == cursor => anyhow::bail!("{WRONG}: it does not go on"),
                next => cursor = next,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lucid_data_chain::ops::documents::filter::Filter;

    use super::*;

    fn asked(kind: DocumentKind, words: &[(&str, &str)], descending: bool) -> AskedDocuments {
        let mut filter = Filter::default();
        for (name, value) in words {
            filter.set_parameter(kind, name, value).unwrap();
        }
        AskedDocuments { kind, words: Vec::new(), filter, descending, most: None }
    }

    fn of(id: &str, session: &str, seconds: u32) -> FoundDocument {
        let text = format!(
            r#"{{"id":"{id}","session_id":"{session}","timestamp":"2026-01-01T00:00:{seconds:02}Z"}}"#
        );
        let what = (DocumentKind::Transaction, Source::Synchronised);
        let now = Timestamp::from_micros(0);
        FoundDocument::of_text(what, &text, (now, now), Some(0)).unwrap()
    }

    fn came(asked: &AskedDocuments, documents: &[FoundDocument]) -> Result<(), String> {
        let mut came = Came::default();
        documents.iter().try_for_each(|found| came.check(asked, found)).map_err(|e| e.to_string())
    }

    #[test]
    fn a_server_that_gives_what_was_not_asked_for_is_not_believed() {
        let newest = asked(DocumentKind::Transaction, &[("session_id", "s")], true);
        let oldest = asked(DocumentKind::Transaction, &[("session_id", "s")], false);
        let row = [of("c", "s", 9), of("b", "s", 5), of("a", "s", 5)];
        assert_eq!(came(&newest, &row), Ok(()));
        assert!(came(&oldest, &row).unwrap_err().contains("order"));
        assert!(came(&newest, &[of("c", "other", 9)]).unwrap_err().contains("not asked for"));
        let twice = [of("a", "s", 5), of("b", "s", 5), of("a", "s", 5)];
        assert!(came(&newest, &twice).unwrap_err().contains("twice"));
    }
}
