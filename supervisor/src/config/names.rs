//! Names of resources as their services take them, refused here and not at the first call.
//!
//! **Not here**: whether what is named exists (`worker`).

/// A Kinesis stream.
pub(super) fn stream(name: &str) -> Result<(), String> {
    let ok = (1..=128).contains(&name.len()) && name.chars().all(plain);
    ok.then_some(()).ok_or_else(|| format!("must be 1 to 128 letters, digits, _ . or -, not {name:?}"))
}

/// A DynamoDB table.
pub(super) fn table(name: &str) -> Result<(), String> {
    let ok = (3..=255).contains(&name.len()) && name.chars().all(plain);
    ok.then_some(()).ok_or_else(|| format!("must be 3 to 255 letters, digits, _ . or -, not {name:?}"))
}

/// An S3 bucket.
pub(super) fn bucket(name: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let edges = edge(name.chars().next()) && edge(name.chars().next_back());
    let ok = (3..=63).contains(&name.len()) && name.chars().all(allowed) && edges && !name.contains("..");
    let what = "must be 3 to 63 lower-case letters, digits, . or -, with a letter or a digit at both ends";
    ok.then_some(()).ok_or_else(|| format!("{what}, not {name:?}"))
}

/// An AWS region.
pub(super) fn region(name: &str) -> Result<(), String> {
    let ok = name.len() <= 32 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    ok.then_some(()).ok_or_else(|| format!("must be a region, such as \"eu-central-1\", not {name:?}"))
}

/// A worker. It stands in lease rows and log lines.
pub(super) fn worker(name: &str) -> Result<(), String> {
    let ok = (1..=128).contains(&name.len()) && name.chars().all(|c| plain(c) || matches!(c, ':' | '@'));
    ok.then_some(()).ok_or_else(|| format!("must be 1 to 128 letters, digits, _ . : @ or -, not {name:?}"))
}

/// A log level, or several by module. `EnvFilter` itself takes any word for a module's name, so that a wrong level
/// would silence the log.
pub(super) fn log_level(text: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let is_level = |level: &str| LEVELS.contains(&level);
    let is_module =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    let is_directive = |directive: &str| match directive.split_once('=') {
        Some((module, level)) => is_module(module) && is_level(level),
        None => is_level(directive),
    };
    match text.split(',').find(|directive| !is_directive(directive)) {
        None => Ok(()),
        Some(wrong) => {
            let levels = LEVELS.join(", ");
            Err(format!("must be one of {levels}, or module=level several times, not {wrong:?}"))
        }
    }
}

fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_the_services_take() {
        assert!(stream("Climate_events.v2-eu").is_ok() && stream("").is_err() && stream("a/b").is_err());
        assert!(table("ab").is_err() && table("mangrove-events").is_ok());
        for good in ["abc", "my.bucket-1", "123"] {
            assert!(bucket(good).is_ok(), "{good}");
        }
        for bad in ["ab", "Upper", "-edge", "edge-", "a..b", "under_score", &"a".repeat(64)] {
            assert!(bucket(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn log_levels() {
        assert!(log_level("info").is_ok() && log_level("warn,actors::reader=debug").is_ok());
        for bad in ["inof", "", "INFO", "info,,debug", "mangrove_actors", "a b=info"] {
            assert!(log_level(bad).is_err(), "{bad}");
        }
    }
}
