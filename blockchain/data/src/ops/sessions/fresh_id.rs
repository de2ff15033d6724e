//! The id of a session for which nobody chose one: short, and sorted by when it began.
//!
//! Seven characters are the second, eight are random: of a thousand machines that begin one in the same second, two
//! have the same id once in two million times.

use lucid_core::session::SessionId;
use lucid_core::time::Timestamp;
use lucid_store::crypt::random;
use lucid_store::vault::Vault;

use crate::ops::OpError;
use crate::ops::sessions::get_session::find_session;

/// Digits of base 32 in the order of their bytes, so that ids sort as what they count; without letters that are taken
/// for digits.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters that tell the second: up to the year 3058.
const TIME_CHARACTERS: u32 = 7;
/// Characters that tell sessions of one second apart.
const RANDOM_CHARACTERS: u32 = 8;
/// Ids that are tried: that even two are taken is no chance any more.
const TRIES: usize = 4;

/// An id for a session that begins now.
pub fn fresh_id(now: Timestamp) -> Result<SessionId, OpError> {
    let random = u64::from_le_bytes(random::<8>()?);
    let id = spelled(now, random);
    id.parse().map_err(|fault| OpError::Invalid(format!("the session id that was made: {fault}")))
}

/// Such an id that no session has, nor had.
pub fn unused_id(vault: &Vault, now: Timestamp) -> Result<SessionId, OpError> {
    for _ in 0..TRIES {
        let id = fresh_id(now)?;
        if matches!(find_session(vault.index(), vault.cipher(), &id), Err(OpError::NoSession(_))) {
            return Ok(id);
        }
    }
    Err(OpError::Busy("no id was found that is not taken: try again".into()))
}

fn spelled(now: Timestamp, random: u64) -> String {
    let last = (1 << (5 * TIME_CHARACTERS)) - 1;
    let seconds = now.as_micros().div_euclid(1_000_000).clamp(0, last).cast_unsigned();
    let digits = |number: u64, count: u32| {
        let digit = move |place| DIGITS.get((number >> (5 * place) & 31) as usize);
        (0..count).rev().filter_map(digit).map(|digit| char::from(*digit))
    };
    digits(seconds, TIME_CHARACTERS).chain(digits(random, RANDOM_CHARACTERS)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_documented_id_is_this() {
        let began = Timestamp::parse("2026-03-01T12:00:00Z").unwrap();
        assert_eq!(spelled(began, 0), "1mt8aj000000000");
        assert_eq!(spelled(began, u64::MAX), "1mt8aj0zzzzzzzz");
        assert_eq!(spelled(Timestamp::from_micros(-1), 0), "000000000000000");
    }

    proptest! {
        #[test]
        fn ids_are_ids_and_sort_by_the_second(
            one in 0_i64..30_000_000_000,
            other in 0_i64..30_000_000_000,
            random: [u64; 2],
        ) {
            let id = |seconds: i64, random| {
                spelled(Timestamp::from_micros(seconds * 1_000_000 + 999_999), random)
            };
            let ids = [id(one, random[0]), id(other, random[1])];
            for id in &ids {
                prop_assert!(id.parse::<SessionId>().is_ok() && id.len() == 15, "{}", id);
            }
            if one != other {
                prop_assert_eq!(one < other, ids[0] < ids[1]);
            }
        }
    }
}
