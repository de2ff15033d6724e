//! Looks again when what was looked at has changed.
//!
//! An op that changes something looks at the rows that it rests on ([`Vault::look`]), decides by them, and
//! commits on the condition that they are still the same. A faster op, in this process or another, makes
//! it look again: so locks only spare looking twice.
//!
//! [`Vault::look`]: lucid_store::vault::Vault::look

use lucid_store::CommitError;

use super::{Clash, OpError};

/// An op looks so often at most: one that is overtaken every time tells its caller so.
const LOOKS_MAX: usize = 100;

/// Does something that looks, decides and commits, until nobody was faster.
pub(super) fn look_again<T>(mut attempt: impl FnMut() -> Result<T, OpError>) -> Result<T, OpError> {
    for _ in 0..LOOKS_MAX {
        match attempt() {
            Err(OpError::Overtaken) => {}
            outcome => return outcome,
        }
    }
    Err(OpError::Conflict(
        Clash::Running,
        "others keep changing what this rests on, and nothing was changed by it: ask again".into(),
    ))
}

/// For an op that has a chunk's bytes at hand: a chunk that was there when it was looked for and is not any
/// more, since nobody referred to it or it was found damaged, is sent with the next look.
pub(super) fn at_hand(error: CommitError) -> OpError {
    match error {
        CommitError::Missing(_) => OpError::Overtaken,
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_overtaken_looks_again_and_not_for_ever() {
        let mut looks = 0;
        let done = look_again(|| {
            looks += 1;
            if looks < 3 { Err(OpError::Overtaken) } else { Ok(looks) }
        });
        assert!(matches!(done, Ok(3)));
        let failed = look_again(|| Err::<(), _>(OpError::Busy("busy".into())));
        assert!(matches!(failed, Err(OpError::Busy(_))));
        let mut looks = 0;
        let never = look_again(|| {
            looks += 1;
            Err::<(), _>(OpError::Overtaken)
        });
        assert!(matches!(never, Err(OpError::Conflict(Clash::Running, _))));
        assert_eq!(looks, LOOKS_MAX);
    }
}
