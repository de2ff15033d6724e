//! Answers of queries that are at hand until something is stored.
//!
//! An answer is kept under its query and under how often something had changed that a query can answer
//! ([`changes`](crate::row::documents::changes)). That number goes up in the commit of every such change, so an
//! answer of before is never found again, regardless of which process wrote. How many are kept is bounded, and so are
//! their bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::ops::documents::query_documents::DocumentPage;

/// Bytes of all answers that are kept.
const ANSWERS_BYTES_MAX: u64 = 32 << 20;
/// What an answer takes besides its texts, and each of its documents.
const OVERHEAD_BYTES: u64 = 512;

/// A query, and how many changes the index had.
type Question = (String, u64);

/// Answers, and how queries went.
pub struct Answers {
    kept: Cache<Question, Arc<DocumentPage>, Weight>,
    queries: AtomicU64,
    micros: AtomicU64,
    hits: AtomicU64,
}

/// How queries went since the service started.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueryFigures {
    /// Answers that are kept.
    pub kept: u64,
    /// Queries that were answered.
    pub queries: u64,
    /// Seconds that one took on average.
    pub average_seconds: f64,
    /// How many were answered by what was kept.
    pub hits: u64,
}

/// An answer counts its bytes, and at least its share of all, so that no more are kept than there may be.
#[derive(Clone)]
struct Weight {
    least: u64,
}

impl Weighter<Question, Arc<DocumentPage>> for Weight {
    fn weight(&self, (query, _): &Question, page: &Arc<DocumentPage>) -> u64 {
        let texts = page.documents.iter().map(|found| found.text.len() as u64 + OVERHEAD_BYTES);
        (texts.sum::<u64>() + query.len() as u64 + OVERHEAD_BYTES).max(self.least)
    }
}

impl Answers {
    /// Keeps up to so many answers.
    pub fn new(most: u64) -> Self {
        let weight = Weight { least: ANSWERS_BYTES_MAX / most.max(1) };
        let items = usize::try_from(most).unwrap_or(usize::MAX).min(1 << 16);
        Self {
            kept: Cache::with_weighter(items, if most > 0 { ANSWERS_BYTES_MAX } else { 0 }, weight),
            queries: AtomicU64::new(0),
            micros: AtomicU64::new(0),
            hits: AtomicU64::new(0),
        }
    }

    /// The answer to a query, if it is at hand.
    pub fn get(&self, query: &str, changes: u64) -> Option<Arc<DocumentPage>> {
        self.kept.get(&(query.to_owned(), changes))
    }

    /// Keeps an answer.
    pub fn keep(&self, query: String, changes: u64, page: &Arc<DocumentPage>) {
        self.kept.insert((query, changes), page.clone());
    }

    /// Counts a query that was answered.
    pub fn count(&self, took: Duration, was_kept: bool) {
        self.queries.fetch_add(1, Ordering::Relaxed);
        self.hits.fetch_add(u64::from(was_kept), Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// How queries went.
    pub fn figures(&self) -> QueryFigures {
        let queries = self.queries.load(Ordering::Relaxed);
        let micros = self.micros.load(Ordering::Relaxed);
        QueryFigures {
            kept: self.kept.len() as u64,
            queries,
            average_seconds: micros as f64 / 1e6 / queries.max(1) as f64,
            hits: self.hits.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use lucid_core::time::Timestamp;

    use super::*;
    use crate::document::{DocumentKind, Facets, Source};
    use crate::ops::documents::get_document::FoundDocument;

    fn page(bytes: usize) -> Arc<DocumentPage> {
        let found = FoundDocument {
            kind: DocumentKind::Session,
            id: "a".into(),
            text: "x".repeat(bytes),
            source: Source::Submitted,
            indexed_at: Timestamp::from_micros(0),
            block_index: None,
            at: Timestamp::from_micros(0),
            facets: Facets::Transaction { tx_type: None, session_id: None },
        };
        Arc::new(DocumentPage {
            documents: vec![found],
            next: None,
            complete: true,
            total: None,
            lasting: true,
        })
    }

    #[test]
    fn an_answer_is_found_until_something_changes() {
        let answers = Answers::new(10);
        answers.keep("a".into(), 1, &page(10));
        assert!(answers.get("a", 1).is_some());
        assert!(answers.get("a", 2).is_none());
        assert!(answers.get("b", 1).is_none());
    }

    #[test]
    fn answers_are_bounded_in_number_and_in_bytes() {
        let few = Answers::new(10);
        (0..1_000).for_each(|n| few.keep(n.to_string(), 1, &page(10)));
        assert!((1..=10).contains(&few.figures().kept), "{:?}", few.figures());
        let large = Answers::new(10_000);
        (0..100).for_each(|n| large.keep(n.to_string(), 1, &page(1 << 20)));
        assert!((1..=32).contains(&large.figures().kept), "{:?}", large.figures());
        let none = Answers::new(0);
        none.keep("a".into(), 1, &page(10));
        assert!(none.get("a", 1).is_none());
    }
}
