//! A session behind a server, to be read. It is believed as little as a disk.

use std::borrow::Cow;
use std::io::{self, Read as _};
use std::ops::Range;

use lucid_api::client::{ClientError, DataChainClient};
use lucid_api::problem::ErrorCode;
use lucid_api::v1::chunks::ChunkIds;
use lucid_api::v1::manifest::ManifestQuery;
use lucid_api::v1::sessions::{Layout as WireLayout, SessionStatus};
use lucid_core::digest::ChunkId;
use lucid_core::session::{Layout, SessionId};
use lucid_data_chain::ops::OpError;
use lucid_data_chain::row::Reference;
use lucid_data_chain::source::{ChunkRun, SessionSource, Shape};
use lucid_store::codec::Packer;
use lucid_store::{Damage, StoreError};

use super::MANIFEST_PAGE;

/// A session on a server. One that is not sealed yet has no manifest that tells its chunks, so all of it
/// is tail.
pub(super) struct RemoteSession<'a> {
    client: &'a DataChainClient,
    shape: Shape,
    tail_bytes: u64,
}

impl<'a> RemoteSession<'a> {
    pub(super) fn open(client: &'a DataChainClient, id: &SessionId) -> anyhow::Result<Self> {
        let session = client.session(id.as_str())?;
        let ended = session.ended_at.as_deref().or(session.appended_at.as_deref());
        let (chunk_count, total_bytes, tail_bytes) = match session.status {
            SessionStatus::Sealed | SessionStatus::Anchored => {
                (session.chunk_count, session.total_bytes, 0)
            }
            SessionStatus::Active | SessionStatus::Unterminated => (0, 0, session.content_bytes),
        };
        let shape = Shape {
            id: id.clone(),
            layout: match session.layout {
                WireLayout::Raw => Layout::Raw,
                WireLayout::Tree => Layout::Tree,
            },
            chunk_count,
            content_bytes: session.content_bytes,
            total_bytes,
            ended_at: ended.map(|time| time.parse()).transpose()?,
        };
        Ok(Self { client, shape, tail_bytes })
    }
}

/// Bytes of a session's content.
pub(super) fn part_of(
    client: &DataChainClient,
    id: &SessionId,
    part: Range<u64>,
) -> Result<Vec<u8>, ClientError> {
    let mut bytes = Vec::new();
    let mut data = client.data(id.as_str(), Some(part))?;
    data.read_to_end(&mut bytes).map_err(ClientError::broken_off)?;
    Ok(bytes)
}

/// Damage is damage behind a server, too: the reader goes around it. Such a refusal names the file and the
/// place in it; by the id of the request it is found in the server's log.
fn failed(error: ClientError) -> OpError {
    let of = |code| error.refused().filter(|refused| refused.code == Some(code));
    if let Some(missing) = of(ErrorCode::Missing).and_then(|refused| missing(&refused.details)) {
        return OpError::Missing(missing);
    }
    let refused = of(ErrorCode::Damaged);
    if let Some(refused) = refused
        && refused.details.get("unsound").is_some_and(|unsound| unsound == true)
    {
        return OpError::Unsound(refused.detail.clone());
    }
    let damage = refused.and_then(|refused| {
        let file = refused.details.get("file")?.as_str()?;
        let offset = refused.details.get("offset")?.as_u64()?;
        let why = format!("so the server says, request {}", refused.request_id);
        Some(Damage::new(file, offset, why))
    });
    match damage {
        Some(damage) => OpError::Store(StoreError::Damaged(damage)),
        None if error.is_passing() => OpError::Away(error.to_string()),
        None => OpError::Broken(error.to_string()),
    }
}

/// The chunks that a refusal lists as missing.
fn missing(details: &serde_json::Map<String, serde_json::Value>) -> Option<Vec<ChunkId>> {
    let listed = details.get("missing")?.as_array()?;
    let ids: Option<Vec<_>> = listed.iter().map(|id| id.as_str()?.parse().ok()).collect();
    ids.filter(|ids| !ids.is_empty())
}

/// A chunk as it came. A server is believed as little as a disk.
fn checked(came: Option<io::Result<Vec<u8>>>, wanted: &Reference) -> Result<Vec<u8>, OpError> {
    let bytes = came
        .ok_or_else(|| OpError::Missing(vec![wanted.chunk]))?
        .map_err(|fault| OpError::Broken(fault.to_string()))?;
    let is_it = bytes.len() == wanted.length as usize
        && ChunkId::from(blake3::hash(&bytes)) == wanted.chunk;
    match is_it {
        true => Ok(bytes),
        false => Err(OpError::Unsound(format!(
            "the server sent other bytes than chunk {}",
            wanted.chunk
        ))),
    }
}

impl SessionSource for RemoteSession<'_> {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn tail_bytes(&self) -> u64 {
        self.tail_bytes
    }

    fn tail(&self, range: Range<u64>) -> Result<Cow<'_, [u8]>, OpError> {
        let bytes = part_of(self.client, &self.shape.id, range.clone()).map_err(failed)?;
        if bytes.len() as u64 == range.end - range.start {
            Ok(Cow::Owned(bytes))
        } else {
            Err(OpError::Broken(format!("the server did not send bytes {range:?} of its session")))
        }
    }

    fn references(&self, start: u64, limit: usize) -> Result<Vec<Reference>, OpError> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX).min(MANIFEST_PAGE);
        let query = ManifestQuery { start, limit: Some(limit) };
        let page = self.client.manifest(self.shape.id.as_str(), &query).map_err(failed)?;
        let references = page.chunks.into_iter().map(|chunk| Reference {
            index: chunk.index,
            offset: chunk.offset,
            length: chunk.length,
            chunk: chunk.chunk_id,
            leaf: chunk.leaf_hash,
        });
        let sound = references.map(|reference| match reference.is_sound() {
            true => Ok(reference),
            false => Err(OpError::Unsound(format!(
                "the server says of chunk {} what no chunk can be: {} bytes from {} on",
                reference.index, reference.length, reference.offset
            ))),
        });
        sound.collect()
    }

    fn chunk(&self, _: &mut Packer, reference: &Reference) -> Result<Vec<u8>, OpError> {
        let session_id = Some(self.shape.id.to_string());
        let wanted = ChunkIds { chunks: vec![reference.chunk], session_id };
        let mut frames = self.client.get_chunks(&wanted).map_err(failed)?;
        checked(frames.next(), reference)
    }

    fn chunks(&self, wanted: &[Reference]) -> Option<ChunkRun<'_>> {
        let chunks = wanted.iter().map(|reference| reference.chunk).collect();
        let asked = ChunkIds { chunks, session_id: Some(self.shape.id.to_string()) };
        let mut frames = self.client.get_chunks(&asked).ok()?;
        let wanted: Vec<Reference> = wanted.to_vec();
        let chunks = wanted.into_iter().map(move |wanted| checked(frames.next(), &wanted));
        Some(Box::new(chunks))
    }
}
