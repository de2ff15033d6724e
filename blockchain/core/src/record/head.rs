//! The first part of a block's record: the nine lines and who signed them, without the digests.
//!
//! Synchronisation asks for heads before it asks for bodies: a few hundred bytes a block say whether
//! a chain hangs together and who vouches for it.

use super::{BlockEntry, BlockRecord, RecordFault, VERSION, version};
use crate::block::{Block, Parent};
use crate::sign::{PublicKey, Signature};
use crate::time::TimeFault;
use crate::transaction::Transaction;
use crate::wire::{Reader, Writer};

/// What is known of a block before its transactions are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The nine lines.
    pub entry: BlockEntry,
    /// The key that vouches for the block, if any.
    pub producer: Option<PublicKey>,
    /// That key's signature over the entry.
    pub signature: Option<Signature>,
}

impl Head {
    /// The head of a recorded block.
    pub fn of(record: &BlockRecord) -> Self {
        let BlockRecord { producer, signature, .. } = *record;
        Self { entry: record.entry.clone(), producer, signature }
    }

    /// The bytes: those that a block record begins with.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        write(&mut writer, &self.entry, self.producer, self.signature);
        writer.finish()
    }

    /// Reads [`Head::encode`]. That the hash is that of the fields is not asked here.
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordFault> {
        let mut reader = Reader::new(bytes);
        let head = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(head)
    }

    /// Reads the head of a record, and nothing that follows it.
    pub fn of_bytes(record: &[u8]) -> Result<Self, RecordFault> {
        Self::read(&mut Reader::new(record))
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, RecordFault> {
        version(reader, "the block record's version")?;
        let entry = BlockEntry::parse(reader.text("the entry")?)?;
        let producer = reader.option("the producer", |reader| reader.array("the producer"))?;
        let signature = reader.option("the signature", |reader| reader.array("the signature"))?;
        let producer = producer.map(PublicKey::new);
        let signature = signature.map(Signature::new);
        Ok(Self { entry, producer, signature })
    }

    /// Whether this key signed the block.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        match (&self.producer, &self.signature) {
            (Some(producer), Some(signature)) => {
                producer == key && self.entry.verify(producer, signature)
            }
            _ => false,
        }
    }

    /// What the next block needs to know of this one.
    pub fn as_parent(&self) -> Result<Parent, TimeFault> {
        let BlockEntry { index, hash, .. } = self.entry;
        Ok(Parent { index, hash, time: self.entry.time()? })
    }

    /// The block, if these are its transactions: whether they are is for [`crate::validate`] to say.
    pub fn with_body(self, transactions: Vec<Transaction>) -> Block {
        let Self { entry, producer, signature } = self;
        let BlockEntry { index, timestamp, previous_hash, merkle_root, nonce, hash, .. } = entry;
        Block {
            index,
            timestamp,
            transactions,
            previous_hash,
            merkle_root,
            nonce,
            hash,
            producer,
            signature,
        }
    }
}

/// Writes [`Head::encode`].
pub(super) fn write(
    writer: &mut Writer,
    entry: &BlockEntry,
    producer: Option<PublicKey>,
    signature: Option<Signature>,
) {
    writer.u8(VERSION).text(&entry.text());
    writer.option(producer, |writer, key| {
        writer.raw(key.as_bytes());
    });
    writer.option(signature, |writer, signature| {
        writer.raw(signature.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::SigningKey;
    use crate::time::Timestamp;

    #[test]
    fn a_head_is_what_a_record_begins_with() {
        let key = SigningKey::from_seed([7; 32]);
        let transaction = Transaction::parse(br#"{"id": "a"}"#).unwrap();
        let block = Block::build(None, vec![transaction], Timestamp::from_micros(0), &key);
        let record = BlockRecord::of(&block);
        let head = Head::of(&record);
        let bytes = head.encode();
        assert!(record.encode().starts_with(&bytes));
        assert_eq!(Head::decode(&bytes).unwrap(), head);
        assert_eq!(Head::of_bytes(&record.encode()).unwrap(), head);
        assert!(Head::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
        assert!(head.is_signed_by(&key.public()));
        assert!(!head.is_signed_by(&SigningKey::from_seed([8; 32]).public()));
        assert_eq!(head.as_parent(), block.as_parent());
        assert_eq!(head.with_body(block.transactions.clone()), block);
    }
}
