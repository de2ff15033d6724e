//! Having a server verify its sessions.

use lucid_api::client::ClientError;
use lucid_api::problem::ErrorCode;
use lucid_core::session::SessionId;
use lucid_data_chain::ops::sessions::list_sessions::SessionFilter;

use super::Remote;
use super::{is_away, watched};
use crate::place::{Findings, ReadSessions, VerifySessions};

/// Whether a failure says that the session was removed.
fn is_gone(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<ClientError>();
    error.is_some_and(|error| error.code() == Some(ErrorCode::Gone))
}

impl VerifySessions for Remote {
    fn verify_session(
        &self,
        id: &SessionId,
        progress: &(dyn Fn(u64) + Sync),
    ) -> anyhow::Result<Findings> {
        let verified = watched(
            || Ok(self.client.verify_session(id.as_str(), None)?),
            || self.client.verify_progress(id.as_str()),
            &|_, done, _| progress(done),
        )?;
        let session = self.client.session(id.as_str())?;
        progress(session.total_bytes);
        let details = verified.details;
        let mut faults: Vec<String> = details
            .chunk_results
            .iter()
            .filter(|chunk| !chunk.verified)
            .map(|chunk| {
                let why = chunk.error.as_deref().unwrap_or("it does not match");
                format!("session {id}, chunk {}: {why}", chunk.index)
            })
            .collect();
        let mut not_checked = vec!["the server's own files: run `lucid verify --all` there".into()];
        let reason = details.reason.map(|reason| format!("session {id}: {reason}"));
        // Of a sound session it says what was left out.
        match verified.verified {
            true => not_checked.extend(reason),
            false => faults.extend(reason),
        }
        if !verified.verified && faults.is_empty() {
            faults.push(format!("session {id} does not verify"));
        }
        Ok(Findings {
            sessions: 1,
            records: details.chunks_verified,
            bytes: session.total_bytes,
            faults,
            not_checked,
            ..Findings::default()
        })
    }

    fn verify_all(&self, progress: &(dyn Fn(u64, u64) + Sync)) -> anyhow::Result<Findings> {
        let mut sessions = Vec::new();
        self.sessions(&SessionFilter::default(), &mut |session| {
            sessions.push((session.session_id.parse::<SessionId>()?, session.total_bytes));
            Ok(())
        })?;
        let total = sessions.iter().map(|(_, bytes)| bytes).sum();
        let mut all = Findings::default();
        for (id, _) in &sessions {
            let before = all.bytes;
            let found = match self.verify_session(id, &|done| progress(before + done, total)) {
                Ok(found) => found,
                Err(error) if is_away(&error) => return Err(error),
                // It was there when they were listed, and is no fault of what is there now.
                Err(error) if is_gone(&error) => continue,
                // The others can still be looked at.
                Err(error) => Findings {
                    sessions: 1,
                    faults: vec![format!("session {id} could not be checked: {error:#}")],
                    ..Findings::default()
                },
            };
            all.sessions += 1;
            all.records += found.records;
            all.bytes += found.bytes;
            all.faults.extend(found.faults);
            all.not_checked.extend(found.not_checked);
            all.not_checked.sort_unstable();
            all.not_checked.dedup();
        }
        Ok(all)
    }
}
