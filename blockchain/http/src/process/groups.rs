//! What the control groups of a process bound.
//!
//! They are read of version 2 (`memory.max`, `cpu.max`) as well as of
//! version 1 (`memory.limit_in_bytes`, `cpu.cfs_quota_us`). A group is bounded by every group above it, too, so the
//! tightest bound on the way up counts. Inside a container the way that the process is told may not exist, since
//! its own group is mounted as the top one; what does not exist bounds nothing.

use std::fs;
use std::path::{Path, PathBuf};

/// From here on, a bound of control groups of version 1 is none: what it shows then is the largest count of pages.
const NO_BOUND: u64 = 1 << 60;

/// The control groups that the process is in: folders, from its own group up to the top one, for each hierarchy.
#[derive(Default)]
pub(super) struct Groups {
    /// Of version 2, which has one hierarchy.
    unified: Vec<PathBuf>,
    /// Of version 1: those that bound memory.
    memory: Vec<PathBuf>,
    /// Of version 1: those that bound computing.
    cpu: Vec<PathBuf>,
}

impl Groups {
    pub(super) fn read(root: &Path) -> Self {
        let top = root.join("sys/fs/cgroup");
        let told = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let mut groups = Self::default();
        for line in told.lines() {
            // `number:controllers:path`; the one hierarchy of version 2 names no controllers.
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let has = |name| controllers.split(',').any(|controller| controller == name);
            if controllers.is_empty() {
                groups.unified = upwards(&top, path);
            }
            if has("memory") {
                groups.memory = upwards(&mounted(&top, controllers, "memory"), path);
            }
            if has("cpu") {
                groups.cpu = upwards(&mounted(&top, controllers, "cpu"), path);
            }
        }
        groups
    }

    /// The tightest bound of memory, in bytes.
    pub(super) fn memory(&self) -> Option<u64> {
        let number = |path: PathBuf| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        // Without a bound, `memory.max` says `max`, which is no number.
        let unified = self.unified.iter().filter_map(|group| number(group.join("memory.max")));
        let first =
            self.memory.iter().filter_map(|group| number(group.join("memory.limit_in_bytes")));
        unified.chain(first.filter(|bound| *bound < NO_BOUND)).min()
    }

    /// The tightest bound of computing, in cores.
    pub(super) fn cores(&self) -> Option<f64> {
        let share = |quota: &str, period: &str| {
            // Without a bound the quota is `max`, or -1.
            let (quota, period): (u64, u64) =
                (quota.trim().parse().ok()?, period.trim().parse().ok()?);
            (period > 0).then(|| quota as f64 / period as f64)
        };
        let unified = self.unified.iter().filter_map(|group| {
            let text = fs::read_to_string(group.join("cpu.max")).ok()?;
            let (quota, period) = text.trim().split_once(' ')?;
            share(quota, period)
        });
        let first = self.cpu.iter().filter_map(|group| {
            let quota = fs::read_to_string(group.join("cpu.cfs_quota_us")).ok()?;
            let period = fs::read_to_string(group.join("cpu.cfs_period_us")).ok()?;
            share(&quota, &period)
        });
        unified.chain(first).reduce(f64::min)
    }
}

/// Where a hierarchy of version 1 is mounted: under the names of all its controllers, or of one.
fn mounted(top: &Path, controllers: &str, name: &str) -> PathBuf {
    let all = top.join(controllers);
    if all.is_dir() { all } else { top.join(name) }
}

/// A group's folder and those above it, up to the top one.
fn upwards(top: &Path, group: &str) -> Vec<PathBuf> {
    let own = Path::new(group.trim_start_matches('/'));
    own.ancestors().map(|ancestor| top.join(ancestor)).collect()
}
