//! What this process takes of its machine, and what there is: memory, CPU, files, threads, load, and room on disks.
//!
//! `/metrics` shows it as [`show`] and [`Folders::show`] word it, `/status` as [`Folders::status`] does. All of it is
//! read from `/proc` and the control groups at the moment it is asked for, so nothing is spent while nobody asks. What
//! the system does not tell is left out: a container may hide any of it, and another system has no `/proc`.
//!
//! The bounds of a container are those of its control groups (`process/groups.rs`).
//!
//! Everything is read below a folder, so that tests hand in trees of their own.

mod groups;

use std::fs;
use std::path::{Path, PathBuf};

use lucid_api::v1::service::{DiskRoom, ProcessStatus};

use self::groups::Groups;
use crate::telemetry::Page;

/// Ticks in a second, as `/proc` counts time. It is part of the kernel's interface, not of its configuration.
const TICKS: f64 = 100.0;
/// What the folder of a service is called, where its disk is told.
const DATA: &str = "data";

/// What is known of the process and its machine.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Figures {
    /// Bytes that lie in memory.
    pub resident_bytes: Option<u64>,
    /// Bytes of addresses that are taken.
    pub virtual_bytes: Option<u64>,
    /// Seconds that it computed, on all cores together.
    pub cpu_seconds: Option<f64>,
    /// When it started, in seconds of the Unix epoch.
    pub start_seconds: Option<f64>,
    /// Its threads.
    pub threads: Option<u64>,
    /// Files and connections that it has open.
    pub open_files: Option<u64>,
    /// How many it may have open.
    pub open_files_max: Option<u64>,
    /// How much memory it may take: the tightest bound of its control groups, or all there is.
    pub memory_limit_bytes: Option<u64>,
    /// How many cores it may use: the tightest bound of its control groups, or those it may run on.
    pub cpu_limit: Option<f64>,
    /// Memory of the machine.
    pub host_memory_bytes: Option<u64>,
    /// What of it is there to be taken.
    pub host_memory_available_bytes: Option<u64>,
    /// Tasks that ran or waited to run on the machine, on average over 1, 5 and 15 minutes.
    pub load: Option<[f64; 3]>,
}

impl Figures {
    /// Reads them below a folder: `/`, but in tests.
    pub fn read(root: &Path) -> Self {
        let own = root.join("proc/self");
        let status = Table::read(&own.join("status"));
        let memory = Table::read(&root.join("proc/meminfo"));
        let stat = fs::read_to_string(own.join("stat")).unwrap_or_default();
        let host_memory_bytes = memory.kibibytes("MemTotal");
        let groups = Groups::read(root);
        Self {
            resident_bytes: status.kibibytes("VmRSS"),
            virtual_bytes: status.kibibytes("VmSize"),
            cpu_seconds: cpu_ticks(&stat).map(|ticks| ticks as f64 / TICKS),
            start_seconds: start(root, &stat),
            threads: status.number("Threads"),
            open_files: fs::read_dir(own.join("fd")).ok().map(|files| files.count() as u64),
            open_files_max: open_files_max(&own),
            memory_limit_bytes: least(groups.memory(), host_memory_bytes, u64::min),
            cpu_limit: least(groups.cores(), cores(&status), f64::min),
            host_memory_bytes,
            host_memory_available_bytes: memory.kibibytes("MemAvailable"),
            load: load(root),
        }
    }
}

/// The folders of a service, whose disks may be full: its own, and those in it that may be on other disks.
#[derive(Debug, Clone, Default)]
pub struct Folders {
    root: PathBuf,
    parts: &'static [&'static str],
}

impl Folders {
    /// A service's folder, and what in it may be a link to another disk.
    pub fn new(root: &Path, parts: &'static [&'static str]) -> Self {
        Self { root: root.to_owned(), parts }
    }

    /// The room on each disk. A part that is on the disk of the folder itself is not told twice. It asks file
    /// systems, which may be those of a server that is away, so it may block.
    pub fn rooms(&self) -> Vec<DiskRoom> {
        let device = |path: &Path| rustix::fs::stat(path).ok().map(|found| found.st_dev);
        let home = device(&self.root);
        let elsewhere = self.parts.iter().map(|part| (*part, self.root.join(part)));
        let elsewhere = elsewhere.filter(|(_, path)| {
            let there = device(path);
            there.is_some() && there != home
        });
        let all = [(DATA, self.root.clone())].into_iter().chain(elsewhere);
        all.filter_map(|(folder, path)| room(folder, &path)).collect()
    }

    /// Writes the room on each disk onto a page of `/metrics`.
    pub fn show(&self, page: &mut Page, service: &str) {
        for room in self.rooms() {
            let of = [("service", service), ("folder", room.folder.as_str())];
            let free = "Bytes that may still be written to the disk of a service's folder.";
            page.gauge("lucid_disk_free_bytes", free, &of, room.free_bytes as f64);
            let size = "Bytes of the disk of a service's folder.";
            page.gauge("lucid_disk_size_bytes", size, &of, room.total_bytes as f64);
        }
    }

    /// What the status of a service says of its process.
    pub fn status(&self) -> ProcessStatus {
        let figures = Figures::read(Path::new("/"));
        ProcessStatus {
            resident_bytes: figures.resident_bytes,
            memory_limit_bytes: figures.memory_limit_bytes,
            cpu_seconds: figures.cpu_seconds,
            cpu_limit: figures.cpu_limit,
            open_files: figures.open_files,
            open_files_max: figures.open_files_max,
            threads: figures.threads,
            load: figures.load,
            disks: self.rooms(),
        }
    }
}

fn room(folder: &str, path: &Path) -> Option<DiskRoom> {
    let found = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    let (free_bytes, total_bytes) = (bytes(found.f_bavail), bytes(found.f_blocks));
    Some(DiskRoom { folder: folder.to_owned(), free_bytes, total_bytes })
}

/// Writes the figures onto a page of `/metrics`, by the names that Prometheus' own libraries use where they have one.
pub fn show(page: &mut Page, figures: &Figures) {
    let whole = |number: Option<u64>| number.map(|number| number as f64);
    let gauges = [
        (
            "process_resident_memory_bytes",
            "Bytes of the process that lie in memory.",
            whole(figures.resident_bytes),
        ),
        (
            "process_virtual_memory_bytes",
            "Bytes of addresses that the process has taken.",
            whole(figures.virtual_bytes),
        ),
        (
            "process_start_time_seconds",
            "When the process started, in seconds of the Unix epoch.",
            figures.start_seconds,
        ),
        ("process_threads", "Threads of the process.", whole(figures.threads)),
        (
            "process_open_fds",
            "Files and connections that the process has open.",
            whole(figures.open_files),
        ),
        (
            "process_max_fds",
            "How many files and connections the process may have open.",
            whole(figures.open_files_max),
        ),
        (
            "lucid_process_memory_limit_bytes",
            "How much memory the process may take: the bound of its control groups, or all there is.",
            whole(figures.memory_limit_bytes),
        ),
        (
            "lucid_process_cpu_limit_cores",
            "How many cores the process may use: the bound of its control groups, or all it may run on.",
            figures.cpu_limit,
        ),
        ("lucid_host_memory_bytes", "Memory of the machine.", whole(figures.host_memory_bytes)),
        (
            "lucid_host_memory_available_bytes",
            "Memory of the machine that is there to be taken.",
            whole(figures.host_memory_available_bytes),
        ),
    ];
    for (name, help, value) in gauges {
        if let Some(value) = value {
            page.gauge(name, help, &[], value);
        }
    }
    if let Some(seconds) = figures.cpu_seconds {
        let help = "Seconds that the process computed, on all cores together.";
        page.counter("process_cpu_seconds_total", help, &[], seconds);
    }
    for (minutes, load) in ["1", "5", "15"].iter().zip(figures.load.into_iter().flatten()) {
        let help =
            "Tasks that ran or waited to run on the machine, on average over so many minutes.";
        page.gauge("lucid_host_load", help, &[("minutes", minutes)], load);
    }
}

/// A file of lines `Name: value`.
struct Table(String);

impl Table {
    fn read(path: &Path) -> Self {
        Self(fs::read_to_string(path).unwrap_or_default())
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.value(name)?.parse().ok()
    }

    fn kibibytes(&self, name: &str) -> Option<u64> {
        let number: u64 = self.value(name)?.strip_suffix("kB")?.trim().parse().ok()?;
        number.checked_mul(1_024)
    }
}

/// A field of `/proc/self/stat`, as its manual counts them. The second is the program's name, which may hold anything.
fn field(stat: &str, number: usize) -> Option<u64> {
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_ticks(stat: &str) -> Option<u64> {
    field(stat, 14)?.checked_add(field(stat, 15)?)
}

fn start(root: &Path, stat: &str) -> Option<f64> {
    let machine = fs::read_to_string(root.join("proc/stat")).ok()?;
    let boot: u64 =
        machine.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot as f64 + field(stat, 22)? as f64 / TICKS)
}

fn open_files_max(own: &Path) -> Option<u64> {
    let limits = fs::read_to_string(own.join("limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// The cores that it may run on, which are told as `0-3,8`.
fn cores(status: &Table) -> Option<f64> {
    let mut count = 0_u32;
    for range in status.value("Cpus_allowed_list")?.split(',') {
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (from, to): (u32, u32) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
        count = count.checked_add(to.checked_sub(from)?.checked_add(1)?)?;
    }
    Some(count.into())
}

fn load(root: &Path) -> Option<[f64; 3]> {
    let text = fs::read_to_string(root.join("proc/loadavg")).ok()?;
    let mut numbers = text.split_ascii_whitespace().map_while(|number| number.parse().ok());
    Some([numbers.next()?, numbers.next()?, numbers.next()?])
}

fn least<T>(one: Option<T>, other: Option<T>, least: impl Fn(T, T) -> T) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(least(one, other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with files in it.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    /// A program whose name is meant to mislead, on a machine of four cores and 8 GiB.
    const MACHINE: [(&str, &str); 8] = [
        (
            "proc/self/stat",
            "7 (a) R 9 (b) S 1 7 7 0 -1 0 1 0 0 0 250 50 0 0 20 0 12 0 4000 99 25 18446744073709551615 1 1",
        ),
        (
            "proc/self/status",
            "Name:\tlucid\nVmSize:\t  4096 kB\nVmRSS:\t   100 kB\nThreads:\t12\nCpus_allowed_list:\t0-2,7\n",
        ),
        (
            "proc/self/limits",
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024  65536  files\n",
        ),
        ("proc/self/fd/0", ""),
        ("proc/self/fd/1", ""),
        ("proc/meminfo", "MemTotal:        8388608 kB\nMemAvailable:    1048576 kB\n"),
        ("proc/stat", "cpu  1 2 3\nbtime 1000000\n"),
        ("proc/loadavg", "0.50 1.25 2.00 3/400 4711\n"),
    ];

    fn bounds(files: &[(&str, &str)]) -> (Option<u64>, Option<f64>) {
        let all: Vec<_> = MACHINE.iter().chain(files).copied().collect();
        let figures = Figures::read(tree(&all).path());
        (figures.memory_limit_bytes, figures.cpu_limit)
    }

    const UNBOUNDED: (Option<u64>, Option<f64>) = (Some(8 << 30), Some(4.0));

    #[test]
    fn the_process_and_its_machine_are_read_as_the_kernel_writes_them() {
        let figures = Figures::read(tree(&MACHINE).path());
        let wanted = Figures {
            resident_bytes: Some(100 << 10),
            virtual_bytes: Some(4 << 20),
            cpu_seconds: Some(3.0),
            start_seconds: Some(1_000_040.0),
            threads: Some(12),
            open_files: Some(2),
            open_files_max: Some(1_024),
            memory_limit_bytes: Some(8 << 30),
            cpu_limit: Some(4.0),
            host_memory_bytes: Some(8 << 30),
            host_memory_available_bytes: Some(1 << 30),
            load: Some([0.5, 1.25, 2.0]),
        };
        assert_eq!(figures, wanted);
    }

    #[test]
    fn what_the_system_does_not_tell_is_left_out() {
        let nothing = tree(&[]);
        assert_eq!(Figures::read(nothing.path()), Figures::default());
        let odd = [
            ("proc/self/stat", "7 (a"),
            ("proc/self/status", "VmRSS: many\nCpus_allowed_list: 3-1"),
            ("proc/self/limits", "Max open files   unlimited  unlimited  files"),
            ("proc/self/cgroup", "0\n::\n0::/../..\n1:memory"),
            ("proc/meminfo", "MemTotal: 99999999999999999999 kB"),
            ("proc/stat", "btime soon"),
            ("proc/loadavg", "0.1 high"),
        ];
        assert_eq!(Figures::read(tree(&odd).path()), Figures::default());
        let mut page = Page::default();
        show(&mut page, &Figures::default());
        assert_eq!(page.to_string(), "");
    }

    #[test]
    fn control_groups_of_version_2_bound_by_the_tightest_on_the_way_up() {
        let own = ("proc/self/cgroup", "0::/lucid.slice/data.service\n");
        let at = |path: &str| format!("sys/fs/cgroup/{path}");
        assert_eq!(bounds(&[own]), UNBOUNDED, "nothing is mounted");
        let (slice, service) = ("lucid.slice", "lucid.slice/data.service");
        let files = |memory: [&'static str; 2], cpu: [&'static str; 2]| {
            bounds(&[
                own,
                (&at(&format!("{slice}/memory.max")), memory[0]),
                (&at(&format!("{service}/memory.max")), memory[1]),
                (&at(&format!("{slice}/cpu.max")), cpu[0]),
                (&at(&format!("{service}/cpu.max")), cpu[1]),
            ])
        };
        assert_eq!(files(["max\n", "max\n"], ["max 100000\n", "max 100000\n"]), UNBOUNDED);
        let bounded = (Some(1 << 30), Some(1.5));
        assert_eq!(files(["1073741824\n", "max\n"], ["max 100000\n", "150000 100000\n"]), bounded);
        assert_eq!(
            files(["2147483648\n", "1073741824\n"], ["150000 100000\n", "200000 100000\n"]),
            bounded
        );
        // In a container the own group is the top one, by another way than the process is told.
        let inside = [
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "1073741824"),
            ("sys/fs/cgroup/cpu.max", "150000 100000"),
        ];
        assert_eq!(bounds(&inside), bounded);
    }

    #[test]
    fn control_groups_of_version_1_bound_too() {
        let told = "12:cpu,cpuacct:/docker/4711\n9:name=systemd:/\n4:memory:/docker/4711\n0::/\n";
        let none = [
            ("proc/self/cgroup", told),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ];
        assert_eq!(bounds(&none), UNBOUNDED);
        // Seen from outside the group has its own folder, from inside the container it is the top one.
        for group in ["docker/4711/", ""] {
            for mount in ["cpu,cpuacct", "cpu"] {
                let memory = format!("sys/fs/cgroup/memory/{group}memory.limit_in_bytes");
                let quota = format!("sys/fs/cgroup/{mount}/{group}cpu.cfs_quota_us");
                let period = format!("sys/fs/cgroup/{mount}/{group}cpu.cfs_period_us");
                let files = [
                    ("proc/self/cgroup", told),
                    (memory.as_str(), "1073741824\n"),
                    (quota.as_str(), "50000\n"),
                    (period.as_str(), "100000\n"),
                ];
                assert_eq!(bounds(&files), (Some(1 << 30), Some(0.5)), "{group}{mount}");
            }
        }
    }

    #[test]
    fn this_very_process_has_figures() {
        let figures = Figures::read(Path::new("/"));
        assert!(figures.resident_bytes.unwrap() > 0 && figures.open_files.unwrap() > 2);
        assert!(figures.memory_limit_bytes.unwrap() <= figures.host_memory_bytes.unwrap());
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("part")).unwrap();
        // What is on the same disk is told once, and what is not there not at all.
        let folders = Folders::new(folder.path(), &["part", "away"]);
        let status = folders.status();
        assert_eq!(status.disks.len(), 1);
        assert_eq!(status.disks[0].folder, "data");
        assert!(status.disks[0].free_bytes <= status.disks[0].total_bytes);
        assert!(status.disks[0].total_bytes > 0);
        // What is linked to another disk is told by its own name.
        std::os::unix::fs::symlink("/proc", folder.path().join("away")).unwrap();
        let rooms = folders.rooms();
        let named: Vec<&str> = rooms.iter().map(|room| room.folder.as_str()).collect();
        assert_eq!(named, ["data", "away"]);
        let mut page = Page::default();
        folders.show(&mut page, "lucid-test");
        let away = "lucid_disk_size_bytes{service=\"lucid-test\",folder=\"away\"} ";
        assert!(page.to_string().contains(away), "{page}");
        let gone = Folders::new(&folder.path().join("gone"), &[]);
        assert_eq!(gone.rooms(), []);
    }
}
