//! How much an input may cost: memory by its length, and processor time.
//!
//! Memory is counted by the allocator of this crate, for the whole process: so only one measurement runs at a
//! time.

use std::time::Duration;

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// An unoptimised build takes so much longer.
const UNOPTIMISED: u32 = 20;

/// Does some work that `bytes` of input ask for, which may not hold more than `factor` bytes for each of
/// them and `base` besides, at any moment.
pub fn within<T>(
    what: &str,
    bytes: usize,
    (factor, base): (usize, usize),
    work: impl FnOnce() -> T,
) -> T {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let done = work();
    let peak = HEAP.peak_usage().saturating_sub(before);
    let most = base.saturating_add(factor.saturating_mul(bytes));
    assert!(peak <= most, "{what}: {bytes} bytes took {peak} bytes of memory, more than {most}");
    done
}

/// Does some work that may take so much of the processors' time in an optimised build.
pub fn in_time(what: &str, most: Duration, work: impl FnOnce()) {
    let most = if cfg!(feature = "libfuzzer") { most } else { most.saturating_mul(UNOPTIMISED) };
    let before = spent();
    work();
    let spent = spent().saturating_sub(before);
    assert!(spent <= most, "{what}: took {spent:?} of processor time, more than {most:?}");
}

/// The time that processors spent on this process, to a hundredth of a second.
fn spent() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which may hold anything, come the state and ten numbers; then user and system time.
    let (_, numbers) = stat.rsplit_once(')').unwrap_or_default();
    let ticks =
        numbers.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
    Duration::from_millis(10 * ticks.sum::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_too_much_is_noticed() {
        let hold = |count: usize| drop(std::hint::black_box(vec![1_u8; count]));
        within("a buffer", 1 << 20, (1, 64 << 20), || hold(1 << 20));
        let over =
            std::panic::catch_unwind(|| within("a buffer", 10, (2, 64 << 20), || hold(256 << 20)));
        assert!(over.is_err());
        let endless = || {
            let before = spent();
            while spent() - before < Duration::from_millis(50) {}
        };
        assert!(
            std::panic::catch_unwind(|| in_time("it", Duration::from_millis(1), endless)).is_err()
        );
    }
}
