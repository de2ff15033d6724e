//! What is said once a day for as long as it is so: in the log, which operators read.

use std::time::Duration;

use crate::serve::Shutdown;

/// How often it is looked whether a day has passed.
pub const LOOK: Duration = Duration::from_secs(60);
/// Seconds of a day.
const DAY: i64 = 86_400;

/// Says something at once, and again whenever a day has passed by `seconds`, a clock that only goes on, until the
/// shutdown is asked for. It is looked at every `look`.
pub async fn say_daily(
    seconds: impl Fn() -> i64,
    look: Duration,
    shutdown: &Shutdown,
    mut say: impl FnMut(),
) {
    let mut said = None;
    loop {
        let now = seconds();
        if said.is_none_or(|said: i64| now.saturating_sub(said) >= DAY) {
            say();
            said = Some(now);
        }
        tokio::select! {
            () = shutdown.asked() => return,
            () = tokio::time::sleep(look) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    #[tokio::test]
    async fn it_is_said_at_once_and_again_when_a_day_has_passed_and_not_before() {
        let shutdown = Shutdown::new();
        let looks = [5, 5, 5 + DAY - 1, 5 + DAY, 6 + DAY, 6 + 4 * DAY, 5 + 5 * DAY, 6 + 5 * DAY];
        let (next, said) = (Cell::new(0), RefCell::new(Vec::new()));
        let seconds = || {
            let at = next.replace(next.get() + 1);
            if at + 1 == looks.len() {
                shutdown.ask();
            }
            looks[at]
        };
        let say = || said.borrow_mut().push(looks[next.get() - 1]);
        say_daily(seconds, Duration::ZERO, &shutdown, say).await;
        assert_eq!(*said.borrow(), [5, 5 + DAY, 6 + 4 * DAY, 6 + 5 * DAY]);
    }
}
