//! What a place promises to who asks for documents: those of blocks, transactions and sessions that a filter takes.

use lucid_data_chain::chain::Chain;
use lucid_data_chain::document::DocumentKind;
use lucid_data_chain::ops::documents::filter::Filter;
use lucid_data_chain::ops::documents::get_document::FoundDocument;

/// Which documents are asked for.
#[derive(Debug, Clone)]
pub struct AskedDocuments {
    /// About what.
    pub kind: DocumentKind,
    /// The filter as it was given: names and values that the API has, too.
    pub words: Vec<(String, String)>,
    /// The filter that the words are.
    pub filter: Filter,
    /// The newest first.
    pub descending: bool,
    /// So many at most, if that is said.
    pub most: Option<usize>,
}

/// A chain that stands beside sessions.
pub trait ChainBeside: Chain {
    /// Whether it has what a document is about.
    fn has(&self, found: &FoundDocument) -> anyhow::Result<bool>;

    /// Ends in order.
    fn close(self: Box<Self>) -> anyhow::Result<()>;
}

/// Asks for documents.
pub trait QueryDocuments: Sync {
    /// The chain beside the sessions, where it is at hand.
    fn chain(&self) -> anyhow::Result<Option<Box<dyn ChainBeside>>>;

    /// Gives documents to `visit`. Of blocks and transactions that were not taken in from `chain` yet, those of the
    /// chain itself come as well, in its order: in front, or with the oldest first behind.
    fn documents(
        &self,
        asked: &AskedDocuments,
        chain: Option<&dyn ChainBeside>,
        visit: &mut dyn FnMut(FoundDocument) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>;
}
