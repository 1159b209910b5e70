//! How much memory this process may use, and how much it uses.
//!
//! **Owns** the sizes that configuration is checked with: measured, and rounded up.
//! **Fails** by knowing nothing: only Linux has `/proc`.
//! **Not here**: what is done about it (`config/relations.rs`, `ops/diagnosis.rs`).

use std::fs;
use std::path::Path;

/// The process without any sensor or record: code, runtime, connections.
pub const BASE_BYTES: u64 = 96 << 20;
/// A sensor with an actor.
pub const LIVE_SENSOR_BYTES: u64 = 16 << 10;
/// A known sensor without one, with its open windows.
pub const KNOWN_SENSOR_BYTES: u64 = 1 << 10;

/// What the process may use: the least of the limits of its control groups and the machine's memory, and which of them
/// it is.
pub fn limit() -> Option<(u64, &'static str)> {
    limit_below(Path::new("/"))
}

fn limit_below(root: &Path) -> Option<(u64, &'static str)> {
    let group = of_groups(root).map(|bytes| (bytes, "the control group's limit"));
    let machine = machine(root).map(|bytes| (bytes, "the machine's memory"));
    group.into_iter().chain(machine).min_by_key(|(bytes, _)| *bytes)
}

/// Bytes of memory that this process has now.
pub fn used() -> Option<u64> {
    kib(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

fn machine(root: &Path) -> Option<u64> {
    kib(&fs::read_to_string(root.join("proc/meminfo")).ok()?, "MemTotal:")
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// The least limit of the process's groups and of those around them. In a container the group is mounted as the root.
fn of_groups(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let limits = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (mount, file) = match controllers {
            "" => ("sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return Vec::new(),
        };
        let around = Path::new(path.trim_start_matches('/')).ancestors();
        around.filter_map(|group| number(&root.join(mount).join(group).join(file))).collect()
    });
    limits.min()
}

/// None for `max`, and for what is not there.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(root: &Path, file: &str, text: &str) {
        let file = root.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    #[test]
    fn the_least_limit_counts_whoever_has_set_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert_eq!(limit_below(root), None);
        put(root, "proc/meminfo", "MemTotal:        2048 kB\nMemFree: 5 kB\n");
        put(root, "proc/self/cgroup", "0::/pods/a\n");
        put(root, "sys/fs/cgroup/pods/a/memory.max", "max\n");
        assert_eq!(limit_below(root), Some((2 << 20, "the machine's memory")));
        put(root, "sys/fs/cgroup/pods/memory.max", "1048576\n");
        assert_eq!(limit_below(root), Some((1 << 20, "the control group's limit")));
        // Version 1, mounted as the root of the container.
        put(root, "proc/self/cgroup", "5:devices:/x\n4:cpu,memory:/docker/123\n");
        put(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "4096\n");
        assert_eq!(limit_below(root), Some((4096, "the control group's limit")));
        put(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(limit_below(root), Some((2 << 20, "the machine's memory")));
    }

    #[test]
    fn this_process_uses_some() {
        assert!(used().is_some_and(|bytes| bytes > 1 << 20));
    }
}
