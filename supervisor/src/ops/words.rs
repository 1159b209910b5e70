//! Numbers as an operator reads them.

/// `850 ms`, `12 s`, `4 min`, `3 h`, `2 d`.
pub(super) fn duration(ms: i64) -> String {
    let ms = ms.max(0);
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        10_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

/// `512 B`, `12.5 MiB`.
pub(super) fn bytes(n: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if n < 1024 {
        return format!("{n} B");
    }
    let power = (n.ilog2() / 10).clamp(1, UNITS.len() as u32);
    format!("{:.1} {}", n as f64 / 1024f64.powi(power as i32), UNITS[power as usize - 1])
}

/// `1 shard`, `2 shards`.
pub(super) fn count(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_like_this() {
        let durations = [-5, 999, 1_250, 59_000, 150_000, 7_200_000, 200_000_000].map(duration);
        assert_eq!(durations, ["0 ms", "999 ms", "1.2 s", "59 s", "2 min", "2 h", "2 d"]);
        assert_eq!([512, 1024, 13_107_200, 1 << 40].map(bytes), ["512 B", "1.0 KiB", "12.5 MiB", "1.0 TiB"]);
        assert_eq!((count(1, "shard"), count(0, "shard")), ("1 shard".into(), "0 shards".into()));
    }
}
