//! Names of resources as their services take them, refused here and not at the first call.
//!
//! **Not here**: whether what is named exists (`worker`).

/// A Kinesis stream: its name, or its ARN if it belongs to another account.
pub(super) fn stream(text: &str) -> Result<(), String> {
    let Some(rest) = text.strip_prefix("arn:") else { return stream_name(text) };
    let parts: Vec<&str> = rest.splitn(5, ':').collect();
    let [partition, "kinesis", region, account, resource] = parts.as_slice() else {
        return Err(format!("must be a name, or an ARN such as {STREAM_ARN:?}, not {text:?}"));
    };
    let sound = partition.starts_with("aws")
        && region_name(region)
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit());
    match resource.strip_prefix("stream/").filter(|_| sound) {
        Some(name) => stream_name(name),
        None => Err(format!("must be a name, or an ARN such as {STREAM_ARN:?}, not {text:?}")),
    }
}

const STREAM_ARN: &str = "arn:aws:kinesis:eu-central-1:123456789012:stream/events";

fn region_name(text: &str) -> bool {
    !text.is_empty() && region(text).is_ok()
}

fn stream_name(name: &str) -> Result<(), String> {
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

/// A Redshift Serverless workgroup.
pub(super) fn workgroup(name: &str) -> Result<(), String> {
    let ok = (3..=64).contains(&name.len()) && name.chars().all(lower_or_dash);
    ok.then_some(()).ok_or_else(|| format!("must be 3 to 64 lower-case letters, digits or -, not {name:?}"))
}

/// A Redshift cluster.
pub(super) fn cluster(name: &str) -> Result<(), String> {
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase());
    let ok = name.len() <= 63 && begins && name.chars().all(lower_or_dash);
    ok.then_some(()).ok_or_else(|| {
        format!("must be 1 to 63 lower-case letters, digits or -, and begin with a letter, not {name:?}")
    })
}

/// A database or a user of Redshift.
pub(super) fn database(name: &str) -> Result<(), String> {
    let ok = (1..=127).contains(&name.len()) && name.chars().all(|c| plain(c) || matches!(c, ':' | '@' | '$'));
    ok.then_some(()).ok_or_else(|| format!("must be 1 to 127 letters, digits, _ . : @ $ or -, not {name:?}"))
}

/// A schema of Redshift: lower-case, because it folds names to that, quoted or not.
pub(super) fn namespace(name: &str) -> Result<(), String> {
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let rest = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let ok = name.len() <= 64 && begins && rest && !name.starts_with("pg_") && name != "information_schema";
    let what = "must be 1 to 64 of a-z, 0-9 and _, begin with no digit, and be no schema of Redshift's own";
    ok.then_some(()).ok_or_else(|| format!("{what}, not {name:?}"))
}

/// An ARN of a service.
pub(super) fn arn(text: &str, service: &str) -> Result<(), String> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ok = matches!(parts.as_slice(), ["arn", partition, found, _, account, name]
        if partition.starts_with("aws") && *found == service && !name.is_empty()
            && account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit()));
    let allowed = text.len() <= 1_024 && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '\'' | '\\' | '"'));
    let example = match service {
        "iam" => "arn:aws:iam::123456789012:role/warehouse",
        _ => "arn:aws:secretsmanager:eu-central-1:123456789012:secret:warehouse",
    };
    (ok && allowed).then_some(()).ok_or_else(|| format!("must be an ARN, such as {example:?}, not {text:?}"))
}

/// Folders of the bucket that are the product's own.
const OWN_FOLDERS: [&str; 12] = [
    "raw",
    "cleansed",
    "quarantine",
    "duplicates",
    "dimensions",
    "aggregates",
    "alerts",
    "manifests",
    "state",
    "warehouse",
    "metadata",
    "recomputed",
];

/// A prefix of keys that belong to somebody else; empty for none.
pub(super) fn prefix(text: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '=');
    if text.len() > 512
        || !text.chars().all(plain)
        || text.starts_with('/')
        || (!text.is_empty() && !text.ends_with('/'))
    {
        return Err(format!("must be a folder of the bucket, such as \"reference/sensors/\", or empty, not {text:?}"));
    }
    match text.split_once('/') {
        Some((first, _)) if OWN_FOLDERS.contains(&first) => {
            Err(format!("{first}/ is written by mangrove itself: choose a folder of its own, such as \"reference/\""))
        }
        _ => Ok(()),
    }
}

/// A key of KMS: an id, an alias, or the ARN of either.
pub(super) fn kms_key(text: &str) -> Result<(), String> {
    let character = |c: char| plain(c) || c == '/' || c == ':';
    let named = match text.strip_prefix("arn:") {
        Some(_) => text.contains(":kms:"),
        None => !text.contains(':'),
    };
    match named && (1..=2_048).contains(&text.len()) && text.chars().all(character) {
        true => Ok(()),
        false => Err(format!(
            "must be a key of KMS, such as \"arn:aws:kms:eu-central-1:123456789012:key/...\", its id or an alias, not \
             {text:?}"
        )),
    }
}

fn lower_or_dash(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
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
    fn names_of_the_warehouse() {
        assert!(workgroup("mangrove-1").is_ok() && workgroup("Upper").is_err());
        assert!(cluster("c1").is_ok() && cluster("1c").is_err());
        assert!(namespace("mangrove").is_ok());
        for bad in ["", "Mangrove", "pg_x", "a-b", "information_schema", "1a", "a\"b"] {
            assert!(namespace(bad).is_err(), "{bad}");
        }
        assert!(arn("arn:aws:iam::123456789012:role/x", "iam").is_ok());
        for bad in ["default", "arn:aws:iam::1:role/x", "arn:aws:iam::123456789012:role/x'", "arn:aws:s3:::b"] {
            assert!(arn(bad, "iam").is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_of_kms() {
        for good in
            ["1234abcd-12ab-34cd-56ef-1234567890ab", "alias/lake", "arn:aws:kms:eu-central-1:123456789012:key/1234"]
        {
            assert!(kms_key(good).is_ok(), "{good}");
        }
        for bad in ["", "a key", "arn:aws:s3:::bucket", "x:y", "alias/\"lake"] {
            assert!(kms_key(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn folders_of_somebody_else() {
        for good in ["", "reference/", "reference/sensors/", "my-raw/"] {
            assert!(prefix(good).is_ok(), "{good}");
        }
        for bad in ["/", "reference", "raw/", "metadata/sensors/", "warehouse/x/", "a b/", "a\"/"] {
            assert!(prefix(bad).is_err(), "{bad}");
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
