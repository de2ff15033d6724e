//! An object store that fails where a test says so.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{self, BoxStream, StreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;

/// A call of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// An object is put.
    Put,
    /// A part is read.
    Get,
    /// An object is deleted.
    Delete,
    /// Objects are listed.
    List,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is done, and the answer is lost.
    LosesReply,
    /// It is not done, and the connection is.
    Fails,
    /// It is done, and no answer ever comes.
    Stalls,
    /// It is turned away for now.
    Throttled,
    /// It is refused for good.
    Refused,
    /// The object is said not to be there.
    NotFound,
    /// Half of the bytes come.
    Short,
    /// A byte in the middle is another one.
    Wrong,
}

type Scripted = VecDeque<(Call, &'static str, Fault)>;

/// The store, with what is to go wrong next; clones are the same.
#[derive(Clone)]
pub struct FaultyStore {
    inner: Arc<dyn ObjectStore>,
    /// The next call of its kind whose path has the text meets this.
    script: Arc<Mutex<Scripted>>,
    /// Where nothing is scripted, calls meet these in turn.
    always: Arc<[Fault]>,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl FaultyStore {
    /// Nothing goes wrong yet.
    pub fn over(inner: Arc<dyn ObjectStore>) -> Self {
        Self::with(inner, &[Fault::None])
    }

    /// Calls meet these faults in turn.
    pub fn with(inner: Arc<dyn ObjectStore>, always: &[Fault]) -> Self {
        let (script, calls) = (Arc::default(), Arc::default());
        Self { inner, script, always: always.into(), calls }
    }

    /// The next calls of a kind, so many, meet this.
    pub fn fail(&self, call: Call, path: &'static str, fault: Fault, times: usize) {
        self.script.lock().extend(std::iter::repeat_n((call, path, fault), times));
    }

    /// Nothing goes wrong any more, of what was scripted.
    pub fn repair(&self) {
        self.script.lock().clear();
    }

    /// How many calls of a kind there were.
    pub fn calls(&self, call: Call) -> usize {
        self.calls.lock().iter().filter(|made| **made == call).count()
    }

    fn fault(&self, call: Call, path: &Path) -> Fault {
        let turn = {
            let mut calls = self.calls.lock();
            calls.push(call);
            calls.len()
        };
        let mut script = self.script.lock();
        let next = script
            .iter()
            .position(|(of, text, _)| *of == call && path.as_ref().contains(text))
            .and_then(|at| script.remove(at));
        next.map_or(self.always[turn % self.always.len()], |(.., fault)| fault)
    }
}

/// What a call that is not done says.
async fn before(fault: Fault, path: &Path) -> Result<()> {
    let said = |text: &str| Err(Error::Generic { store: "S3", source: text.into() });
    match fault {
        Fault::Fails => said("the connection was closed"),
        Fault::Throttled => said(
            "Server returned non-2xx status code: 503 Service Unavailable: \
             <Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>",
        ),
        Fault::Refused => said(
            "Server returned non-2xx status code: 403 Forbidden: \
             <Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>",
        ),
        Fault::NotFound => {
            Err(Error::NotFound { path: path.to_string(), source: "no such key".into() })
        }
        _ => Ok(()),
    }
}

async fn after<T>(fault: Fault, done: Result<T>) -> Result<T> {
    match fault {
        Fault::LosesReply => {
            Err(Error::Generic { store: "S3", source: "the connection was reset".into() })
        }
        Fault::Stalls => std::future::pending().await,
        _ => done,
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "faulty {}", self.inner)
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// The driver's trait, whose asynchronous functions are written out.
impl ObjectStore for FaultyStore {
    fn put_opts<'a, 'b, 'c>(
        &'a self,
        path: &'b Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Answer<'c, PutResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(async move {
            let fault = self.fault(Call::Put, path);
            before(fault, path).await?;
            let done = self.inner.put_opts(path, payload, options).await;
            after(fault, done).await
        })
    }

    fn put_multipart_opts<'a, 'b, 'c>(
        &'a self,
        path: &'b Path,
        options: PutMultipartOptions,
    ) -> Answer<'c, Box<dyn MultipartUpload>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.inner.put_multipart_opts(path, options)
    }

    fn get_opts<'a, 'b, 'c>(&'a self, path: &'b Path, options: GetOptions) -> Answer<'c, GetResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(async move {
            let fault = self.fault(Call::Get, path);
            before(fault, path).await?;
            let found = self.inner.get_opts(path, options).await;
            let mut found = found.map_err(|error| match error.to_string() {
                said if said.contains("Wanted range") => Error::Generic {
                    store: "S3",
                    source: format!("status code: 416 Range Not Satisfiable: {said}").into(),
                },
                _ => error,
            })?;
            if matches!(fault, Fault::Short | Fault::Wrong) {
                let (meta, range, attributes, extensions) = (
                    found.meta.clone(),
                    found.range.clone(),
                    found.attributes.clone(),
                    found.extensions.clone(),
                );
                let mut bytes = found.bytes().await?.to_vec();
                let middle = bytes.len() / 2;
                match fault {
                    Fault::Short => bytes.truncate(middle),
                    _ => bytes[middle] ^= 1,
                }
                let payload = GetResultPayload::Stream(stream::iter([Ok(bytes.into())]).boxed());
                found = GetResult { payload, meta, range, attributes, extensions };
            }
            after(fault, Ok(found)).await
        })
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let delete = move |path: Result<Path>| {
            let this = this.clone();
            async move {
                let path = path?;
                let fault = this.fault(Call::Delete, &path);
                before(fault, &path).await?;
                let one = stream::iter([Ok(path.clone())]).boxed();
                let done: Vec<_> = this.inner.delete_stream(one).collect().await;
                let done = done.into_iter().collect::<Result<Vec<_>>>().map(|_| path);
                after(fault, done).await
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let path = prefix.cloned().unwrap_or_default();
        let (fault, listed) = (self.fault(Call::List, &path), self.inner.list(prefix));
        let begin = async move {
            before(fault, &path).await?;
            after(fault, Ok(())).await
        };
        let begin = stream::once(begin).filter_map(|begun| async move { begun.err().map(Err) });
        // What failed is not followed by what it would have been.
        let mut is_over = false;
        let all = begin.chain(listed);
        all.take_while(move |next| {
            let goes_on = !is_over;
            is_over |= next.is_err();
            std::future::ready(goes_on)
        })
        .boxed()
    }

    fn list_with_delimiter<'a, 'b, 'c>(&'a self, prefix: Option<&'b Path>) -> Answer<'c, ListResult>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.inner.list_with_delimiter(prefix)
    }

    fn copy_opts<'a, 'b, 'd, 'c>(
        &'a self,
        from: &'b Path,
        to: &'d Path,
        options: CopyOptions,
    ) -> Answer<'c, ()>
    where
        'a: 'c,
        'b: 'c,
        'd: 'c,
        Self: 'c,
    {
        self.inner.copy_opts(from, to, options)
    }
}
