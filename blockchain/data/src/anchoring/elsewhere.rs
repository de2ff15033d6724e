//! An engine that keeps no chain of ours, behind HTTP: it takes roots at `/api/v1/anchoring/session`.
//!
//! Such engines differ in what they answer, so replies are read with patience: names may be missing, and others are
//! passed over. What they say is kept as they say it, and believed for nothing. What decides whether a root is
//! handed over is whether the engine knows the session already, so nothing that was done is done twice, wherever it
//! was broken off.

use std::collections::BTreeSet;
use std::sync::Arc;

use lucid_api::client::{BlockManagerClient, ClientError};
use lucid_api::paths;
use lucid_core::anchor::Anchor;
use lucid_core::elsewhere::{Elsewhere, WORD_BYTES_MAX, session_uuid};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{EngineError, ForeignEngine};
use crate::integrations::RemoteManager;

/// Sessions that are handed over once more although their anchoring failed, as long as this service runs.
const TRIED_AGAIN_MAX: usize = 10_000;

/// An engine at an address.
#[derive(Debug)]
pub struct HttpForeignEngine {
    manager: Arc<RemoteManager>,
    /// Those whose anchoring failed and that were handed over once more since.
    tried_again: Mutex<BTreeSet<String>>,
}

/// How far an engine says that an anchoring is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    Confirmed,
    Failed,
}

/// An engine's answer about one session.
#[derive(Debug)]
struct Answer {
    stage: Stage,
    words: Elsewhere,
}

impl HttpForeignEngine {
    /// Hands roots over to what is there.
    pub fn new(manager: Arc<RemoteManager>) -> Self {
        Self { manager, tried_again: Mutex::default() }
    }

    fn client(&self) -> Result<&BlockManagerClient, EngineError> {
        self.manager.client().map_err(|why| self.away(&why))
    }

    fn away(&self, why: &dyn std::fmt::Display) -> EngineError {
        EngineError::Elsewhere(format!(
            "the engine at {} cannot be used: {why}",
            self.manager.url()
        ))
    }

    fn refused(&self, why: &dyn std::fmt::Display) -> EngineError {
        let url = self.manager.url();
        EngineError::RefusedElsewhere(format!(
            "the engine at {url} does not anchor the session: {why}"
        ))
    }

    /// Refusals of the root itself are about one session; anything else is about the engine.
    fn explain(&self, error: &ClientError) -> EngineError {
        match error.refused() {
            Some(refused) if matches!(refused.status, 400 | 409 | 410 | 413 | 422) => {
                self.refused(refused)
            }
            _ => self.away(error),
        }
    }

    /// What the engine has of a session; nothing, if it does not know it.
    fn look(&self, session: &str, anchor: &Anchor) -> Result<Option<Answer>, EngineError> {
        let path = paths::fill(paths::ANCHORING_STATUS, &[session.as_bytes()]);
        match self.client()?.json_at(&path) {
            Ok(reply) => self.read(&reply, session, anchor, None).map(Some),
            Err(error) if error.refused().is_some_and(|refused| refused.status == 404) => Ok(None),
            Err(error) => Err(self.explain(&error)),
        }
    }

    fn hand_over(
        &self,
        session: &str,
        anchor: &Anchor,
        transaction: &str,
    ) -> Result<Answer, EngineError> {
        // The recorder's signature goes along: the engine, or its reader, can check who says so.
        let signed: Value = serde_json::from_str(transaction)
            .map_err(|fault| EngineError::Damaged(fault.to_string()))?;
        let body = json!({
            "session_id": session,
            "merkle_root": anchor.merkle_root,
            "chunk_count": anchor.chunk_count,
            "timestamp": anchor.timestamp.to_string(),
            "metadata": { "anchor": signed },
        });
        match self.client()?.post_json_at(paths::ANCHORING_SESSION, &body) {
            Ok(reply) => self.read(&reply, session, anchor, Some(Stage::Waiting)),
            // It was faster than its answer, or has another root of that name.
            Err(error) if error.refused().is_some_and(|refused| refused.status == 409) => {
                self.look(session, anchor)?.ok_or_else(|| self.explain(&error))
            }
            Err(error) => Err(self.explain(&error)),
        }
    }

    /// Reads an answer. `unsaid` is how far it is where that is not said.
    fn read(
        &self,
        reply: &Value,
        session: &str,
        anchor: &Anchor,
        unsaid: Option<Stage>,
    ) -> Result<Answer, EngineError> {
        let unreadable = |what: &str| self.away(&format!("its answer about {session} {what}"));
        if !reply.is_object() {
            return Err(unreadable("is no object"));
        }
        let named = text(reply, "session_id").unwrap_or_else(|| session.to_owned());
        if !named.eq_ignore_ascii_case(session) {
            return Err(unreadable("is about another session"));
        }
        let root = text(reply, "merkle_root").map(|root| root.to_ascii_lowercase());
        let root = root.as_deref().map(|root| root.strip_prefix("0x").unwrap_or(root));
        if root.is_some_and(|root| root != anchor.merkle_root.to_string()) {
            return Err(self.refused(&format!("it has another root for {session}")));
        }
        let status = text(reply, "status");
        let stage = match status.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("pending" | "processing") => Stage::Waiting,
            Some("confirmed") => Stage::Confirmed,
            Some("failed") => Stage::Failed,
            Some(_) => return Err(unreadable("has a status that is none")),
            None => unsaid.ok_or_else(|| unreadable("says no status"))?,
        };
        let transaction = text(reply, "transaction_id").or_else(|| text(reply, "anchoring_id"));
        let height =
            ["block_number", "block_height"].into_iter().find_map(|name| number(reply, name));
        let words = Elsewhere {
            engine: self.manager.url().to_string(),
            session: session.to_owned(),
            status: status.unwrap_or_else(|| "pending".to_owned()),
            transaction,
            height,
            confirmed_at: text(reply, "confirmed_at"),
        };
        match words.is_sound() {
            true => Ok(Answer { stage, words }),
            false => Err(unreadable(&format!("has words of over {WORD_BYTES_MAX} bytes"))),
        }
    }

    /// Whether an anchoring that failed is to be handed over once more: once, while this service runs.
    fn tries_again(&self, session: &str) -> bool {
        let mut tried = self.tried_again.lock();
        tried.len() < TRIED_AGAIN_MAX && tried.insert(session.to_owned())
    }
}

impl ForeignEngine for HttpForeignEngine {
    fn anchor(&self, anchor: &Anchor, transaction: &str) -> Result<Option<Elsewhere>, EngineError> {
        let session = session_uuid(&anchor.session_id);
        let answer = match self.look(&session, anchor)? {
            Some(answer) if answer.stage != Stage::Failed || !self.tries_again(&session) => answer,
            _ => self.hand_over(&session, anchor, transaction)?,
        };
        match answer.stage {
            Stage::Waiting => Ok(None),
            Stage::Confirmed => Ok(Some(answer.words)),
            Stage::Failed => Err(self.refused(
                &"it says that the anchoring failed; it is handed over again when this service starts anew",
            )),
        }
    }
}

/// A word of an answer; an empty one says nothing.
fn text(reply: &Value, name: &str) -> Option<String> {
    reply.get(name)?.as_str().filter(|word| !word.is_empty()).map(str::to_owned)
}

/// A number of an answer, which may be spelled as a text.
fn number(reply: &Value, name: &str) -> Option<u64> {
    let value = reply.get(name)?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}
