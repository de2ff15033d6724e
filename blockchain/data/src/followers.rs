//! Those who follow live sessions, and the news for them: that one has grown, was sealed, or is gone.
//!
//! Routes that change a session tell of it once that is durable. What changes one otherwise, and nobody told of, a
//! follower sees when it looks unasked.

use std::collections::HashMap;
use std::sync::Arc;

use lucid_core::session::SessionId;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The sessions that are followed. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Followers(Arc<Mutex<HashMap<SessionId, Followed>>>);

#[derive(Debug, Default)]
struct Followed {
    /// By how many.
    count: usize,
    news: Arc<Notify>,
}

/// Hears of a session's news for as long as it lives.
#[derive(Debug)]
pub struct Follower {
    of: Followers,
    session: SessionId,
    /// Told with each of them.
    pub news: Arc<Notify>,
}

impl Followers {
    /// Hears of a session from now on.
    pub fn follow(&self, session: &SessionId) -> Follower {
        let mut all = self.0.lock();
        let followed = all.entry(session.clone()).or_default();
        followed.count += 1;
        let news = followed.news.clone();
        Follower { of: self.clone(), session: session.clone(), news }
    }

    /// Tells that there is news of a session.
    pub fn tell(&self, session: &SessionId) {
        if let Some(followed) = self.0.lock().get(session) {
            followed.news.notify_waiters();
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut all = self.of.0.lock();
        if let Some(followed) = all.get_mut(&self.session) {
            followed.count -= 1;
            if followed.count == 0 {
                all.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn news_reaches_those_who_wait_for_it_and_a_session_nobody_follows_is_forgotten() {
        let followers = Followers::default();
        let (one, other) = ("one".parse().unwrap(), "other".parse().unwrap());
        let (first, second) = (followers.follow(&one), followers.follow(&one));
        let mut heard = [Box::pin(first.news.notified()), Box::pin(second.news.notified())];
        for news in &mut heard {
            assert!(!news.as_mut().enable());
        }
        followers.tell(&other);
        followers.tell(&one);
        for news in heard {
            news.await;
        }
        drop(first);
        assert_eq!(followers.0.lock().len(), 1);
        drop(second);
        assert!(followers.0.lock().is_empty());
    }
}
