//! Writes all documents of a query out: as JSON lines, or as a table.

use std::io::{self, Write as _};

use lucid_store::vault::Vault;

use super::get_document::FoundDocument;
use super::query_documents::{DocumentQuery, query_documents};
use crate::document::{DocumentKind, Facets};
use crate::ops::OpError;

/// How documents are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportForm {
    /// Each document on a line of its own, as it was posted but for its line ends.
    Lines,
    /// RFC 4180: a heading, then a row a document, which is in the last column.
    Table,
}

/// Bytes that are handed over together.
const PIECE_BYTES: usize = 256 << 10;

/// Writes the documents of a query, page by page, so that memory does not depend on how many there are. `most`: so
/// many, if that is said. `give` takes the bytes; behind each page it is given none, so that it can break off where
/// a page had none.
pub fn export_documents(
    vault: &Vault,
    query: &DocumentQuery,
    form: ExportForm,
    most: Option<usize>,
    give: &mut dyn FnMut(&[u8]) -> Result<(), OpError>,
) -> Result<(), OpError> {
    let mut query = DocumentQuery {
        limit: super::query_documents::LIMIT_MAX,
        bytes_max: PIECE_BYTES,
        total: false,
        ..query.clone()
    };
    let mut left = most.unwrap_or(usize::MAX);
    let mut rows = ExportRows::new(form);
    rows.heading(query.kind).map_err(unwritten)?;
    loop {
        query.limit = query.limit.min(left);
        let page = query_documents(vault, &query)?;
        left -= page.documents.len();
        for found in &page.documents {
            rows.row(found).map_err(unwritten)?;
            if rows.gathered() >= PIECE_BYTES {
                give(&rows.take().map_err(unwritten)?)?;
            }
        }
        query.cursor = page.next;
        if query.cursor.is_none() || left == 0 {
            let rest = rows.take().map_err(unwritten)?;
            return if rest.is_empty() { Ok(()) } else { give(&rest) };
        }
        give(&[])?;
    }
}

fn unwritten(error: io::Error) -> OpError {
    OpError::Fault(error.to_string())
}

fn table() -> csv::Writer<Vec<u8>> {
    csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new())
}

/// Documents that are written and not handed over.
pub struct ExportRows(Form);

enum Form {
    Lines(Vec<u8>),
    Table(Box<csv::Writer<Vec<u8>>>),
}

impl ExportRows {
    /// Nothing yet.
    pub fn new(form: ExportForm) -> Self {
        match form {
            ExportForm::Lines => Self(Form::Lines(Vec::new())),
            ExportForm::Table => Self(Form::Table(Box::new(table()))),
        }
    }

    /// Writes what stands above documents of this kind.
    pub fn heading(&mut self, kind: DocumentKind) -> io::Result<()> {
        let Form::Table(table) = &mut self.0 else { return Ok(()) };
        let own: &[&str] = match kind {
            DocumentKind::Block => {
                &["index", "hash", "timestamp", "previous_hash", "merkle_root", "transaction_count"]
            }
            DocumentKind::Transaction => &["id", "type", "timestamp", "block_index", "session_id"],
            DocumentKind::Session => &["id", "timestamp", "status", "user_id", "ended_at"],
        };
        let all = own.iter().chain(&["source", "indexed_at", "document"]);
        Ok(table.write_record(all)?)
    }

    /// Writes a document.
    pub fn row(&mut self, found: &FoundDocument) -> io::Result<()> {
        let table = match &mut self.0 {
            // Within texts a line end is written as an escape, so these stand between values.
            Form::Lines(lines) => {
                let line = found.text.replace(['\n', '\r'], " ");
                return writeln!(lines, "{line}");
            }
            Form::Table(table) => table,
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let at = found.at.to_string();
        let own = match &found.facets {
            Facets::Block { index, hash, previous_hash, merkle_root, transactions } => vec![
                index.to_string(),
                hash.to_string(),
                at,
                previous_hash.to_string(),
                merkle_root.clone(),
                transactions.to_string(),
            ],
            Facets::Transaction { tx_type, session_id } => vec![
                found.id.clone(),
                text(tx_type),
                at,
                found.block_index.map(|index| index.to_string()).unwrap_or_default(),
                text(session_id),
            ],
            Facets::Session { status, user_id, ended_at, .. } => vec![
                found.id.clone(),
                at,
                text(status),
                text(user_id),
                ended_at.map(|at| at.to_string()).unwrap_or_default(),
            ],
        };
        let known = [found.source.as_str().to_owned(), found.indexed_at.to_string()];
        let all = own.into_iter().chain(known).chain([found.text.clone()]);
        Ok(table.write_record(all)?)
    }

    fn gathered(&self) -> usize {
        match &self.0 {
            Form::Lines(lines) => lines.len(),
            Form::Table(table) => table.get_ref().len(),
        }
    }

    /// What is written, to be handed over.
    pub fn take(&mut self) -> io::Result<Vec<u8>> {
        match &mut self.0 {
            Form::Lines(lines) => Ok(std::mem::take(lines)),
            Form::Table(table) => {
                let done = std::mem::replace(table, Box::new(self::table()));
                done.into_inner().map_err(|error| error.into_error())
            }
        }
    }
}
