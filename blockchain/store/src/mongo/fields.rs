//! Documents are read strictly: every field is there, has the type that it is written with, and there is no other. So
//! what is read is written as the same document again.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document};

use crate::frame::NUMBER_MAX;

/// The version of every document. A higher one is of a later version of Lucid.
pub(super) const VERSION: i32 = 1;
/// The field with it.
pub(super) const V: &str = "v";

/// Why a document is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A later version wrote it.
    Newer,
    /// Something is wrong with it: as a sentence without a full stop.
    Wrong(String),
}

impl Fault {
    pub(super) fn wrong(why: impl Into<String>) -> Self {
        Self::Wrong(why.into())
    }
}

/// What is left of a document.
pub(super) struct Fields(Document);

impl Fields {
    /// All of it, if this version of Lucid knows such documents.
    pub(super) fn of(document: Document) -> Result<Self, Fault> {
        let mut fields = Self(document);
        match fields.take(V)? {
            Bson::Int32(VERSION) => Ok(fields),
            Bson::Int32(newer) if newer > VERSION => Err(Fault::Newer),
            _ => Err(wrong(V)),
        }
    }

    pub(super) fn take(&mut self, name: &str) -> Result<Bson, Fault> {
        self.0.remove(name).ok_or_else(|| Fault::Wrong(format!("its field {name} is missing")))
    }

    /// A number from zero on.
    pub(super) fn number(&mut self, name: &str) -> Result<u64, Fault> {
        let number = match self.take(name)? {
            Bson::Int64(number) => u64::try_from(number).ok(),
            _ => None,
        };
        number.filter(|number| *number < NUMBER_MAX).ok_or_else(|| wrong(name))
    }

    pub(super) fn bytes(&mut self, name: &str) -> Result<Vec<u8>, Fault> {
        match self.take(name)? {
            Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes }) => Ok(bytes),
            _ => Err(wrong(name)),
        }
    }

    pub(super) fn array<const N: usize>(&mut self, name: &str) -> Result<[u8; N], Fault> {
        self.bytes(name)?.try_into().map_err(|_| wrong(name))
    }

    pub(super) fn document(&mut self, name: &str) -> Result<Option<Document>, Fault> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Bson::Document(document)) => Ok(Some(document)),
            Some(_) => Err(wrong(name)),
        }
    }

    /// A document inside another, which has the version of that.
    pub(super) fn inner(document: Document) -> Self {
        Self(document)
    }

    /// Nothing is left.
    pub(super) fn finish(self) -> Result<(), Fault> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => Err(Fault::Wrong(format!("its field {name} is not known"))),
        }
    }
}

fn wrong(name: &str) -> Fault {
    Fault::Wrong(format!("its field {name} is not what it has to be"))
}

/// A number as a field. Numbers of a store are below 2^62.
pub(super) fn number(number: u64) -> Bson {
    Bson::Int64(i64::try_from(number).unwrap_or(i64::MAX))
}
