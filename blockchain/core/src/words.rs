//! Numbers with their nouns, in sentences for people.
//!
//! Called by all code that words a finding, an error or a verdict. Digits stand as they are, since programs
//! read such sentences, too.

/// How many there are of something, in words that agree: `1 chunk`, `2 chunks`.
pub fn many(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The same with the verb that follows: `1 chunk is missing`, `2 chunks are missing`.
pub fn many_do(number: impl TryInto<u64>, noun: &str, one: &str, more: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!("{} {}", many(number, noun), if number == 1 { one } else { more })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        assert_eq!(many(0usize, "chunk"), "0 chunks");
        assert_eq!(many(1u64, "byte"), "1 byte");
        assert_eq!(many(18_932u32, "block"), "18932 blocks");
        assert_eq!(many_do(1usize, "chunk", "is", "are"), "1 chunk is");
        assert_eq!(many_do(2usize, "chunk", "is", "are"), "2 chunks are");
    }
}
