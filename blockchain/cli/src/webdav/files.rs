//! How the protocol's crate asks for files and folders.
//!
//! Invariants: what may block is done on a thread that may; a folder is listed piece by piece, and a list that cannot
//! be completed is noted, so that the reply does not look whole.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use dav_server::davpath::DavPath;
use dav_server::fs::{
    DavDirEntry, DavFile, DavMetaData, FsError, FsFuture, FsResult, FsStream, GuardedFileSystem,
    OpenOptions, ReadDirMeta,
};
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::channel;
use tokio::task::spawn_blocking;

use super::reading::Reading;
use super::sessions::{Fault, Node, Sessions};

/// Names of a folder that wait to be written.
const NAMES_AHEAD: usize = 256;

/// What a request asks for that its path does not say.
#[derive(Clone, Default)]
pub(super) struct Asked {
    /// The last byte that is wanted, if the file is not read to its end.
    pub(super) last: Option<u64>,
    /// The place that it takes while bytes are read for it.
    pub(super) place: Option<Arc<OwnedSemaphorePermit>>,
    /// Whether a folder could not be listed whole.
    pub(super) is_lacking: Arc<AtomicBool>,
}

#[derive(Clone)]
pub(super) struct Files(pub(super) Arc<Sessions>);

/// What is known of a file or folder.
#[derive(Debug, Clone)]
pub(super) struct Metadata(pub(super) Node);

struct Named {
    name: Vec<u8>,
    node: Node,
}

pub(super) fn fs_error(fault: Fault) -> FsError {
    match fault {
        Fault::Absent => FsError::NotFound,
        Fault::Away => FsError::IsRemote,
        Fault::Unreadable | Fault::Unwanted => FsError::GeneralFailure,
    }
}

impl Files {
    async fn node(&self, path: &DavPath) -> FsResult<Node> {
        let (sessions, path) = (self.0.clone(), path.as_bytes().to_vec());
        match spawn_blocking(move || sessions.node(&path)).await {
            Ok(node) => node.map_err(fs_error),
            Err(_) => Err(FsError::GeneralFailure),
        }
    }
}

impl GuardedFileSystem<Asked> for Files {
    fn open<'a>(
        &'a self,
        path: &'a DavPath,
        options: OpenOptions,
        asked: &'a Asked,
    ) -> FsFuture<'a, Box<dyn DavFile>> {
        Box::pin(async move {
            if options.write || options.create || options.append || options.truncate {
                return Err(FsError::Forbidden);
            }
            let node = self.node(path).await?;
            if node.is_folder {
                return Err(FsError::Forbidden);
            }
            let file: Box<dyn DavFile> =
                Box::new(Reading::new(self.0.clone(), node, asked.clone()));
            Ok(file)
        })
    }

    fn read_dir<'a>(
        &'a self,
        path: &'a DavPath,
        _: ReadDirMeta,
        asked: &'a Asked,
    ) -> FsFuture<'a, FsStream<Box<dyn DavDirEntry>>> {
        let (sessions, path) = (self.0.clone(), path.as_bytes().to_vec());
        let is_lacking = asked.is_lacking.clone();
        let (hand, coming) = channel(NAMES_AHEAD);
        spawn_blocking(move || {
            let listed = sessions.list(&path, &mut |name, node| {
                let entry: Box<dyn DavDirEntry> = Box::new(Named { name, node });
                match hand.blocking_send(Ok(entry)) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            });
            // Before the channel closes, so that it is known at the end of the list.
            is_lacking.fetch_or(listed.is_err(), Ordering::AcqRel);
        });
        let names = stream::unfold(coming, |mut coming| async move {
            coming.recv().await.map(|entry| (entry, coming))
        });
        let names: FsStream<Box<dyn DavDirEntry>> = Box::pin(names);
        Box::pin(std::future::ready(Ok(names)))
    }

    fn metadata<'a>(
        &'a self,
        path: &'a DavPath,
        _: &'a Asked,
    ) -> FsFuture<'a, Box<dyn DavMetaData>> {
        Box::pin(async move {
            let metadata: Box<dyn DavMetaData> = Box::new(Metadata(self.node(path).await?));
            Ok(metadata)
        })
    }
}

impl DavDirEntry for Named {
    fn name(&self) -> Vec<u8> {
        self.name.clone()
    }

    fn metadata(&self) -> FsFuture<'_, Box<dyn DavMetaData>> {
        let metadata: Box<dyn DavMetaData> = Box::new(Metadata(self.node.clone()));
        Box::pin(std::future::ready(Ok(metadata)))
    }
}

impl DavMetaData for Metadata {
    fn len(&self) -> u64 {
        self.0.bytes.end - self.0.bytes.start
    }

    fn modified(&self) -> FsResult<SystemTime> {
        Ok(self.0.modified)
    }

    fn is_dir(&self) -> bool {
        self.0.is_folder
    }

    /// Bytes of a session never change; of a live stream there are more later.
    fn etag(&self) -> Option<String> {
        let session = self.0.session.as_ref().filter(|_| !self.0.is_folder)?;
        Some(format!("{session}-{:x}-{:x}", self.0.bytes.start, self.0.bytes.end))
    }
}
