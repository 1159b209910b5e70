//! The names of objects, as the bucket's layout is documented.
//!
//! **Owns** what a key says: zone, shard, epoch, and the hour where there is one.
//! **Promises** nothing of the product's code is used: a consumer has the keys only.
//! **Fails** with none on any other name.
//! **Not here**: whether the key says the truth.

use chrono::NaiveDate;
use messages::Zone;

const ZONES: [Zone; 11] = [
    Zone::Raw,
    Zone::RawEscaped,
    Zone::Cleansed,
    Zone::Quarantine,
    Zone::Duplicates,
    Zone::Dimensions,
    Zone::AggregatesHourly,
    Zone::AggregatesDaily,
    Zone::Alerts,
    Zone::State,
    Zone::Manifest,
];

/// A key taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Key<'a> {
    /// What names stream and shard.
    pub(super) stem: &'a str,
    /// The epoch.
    pub(super) epoch: u64,
    /// Hours since 1970, of an hourly partition.
    pub(super) hour: Option<i64>,
}

/// The ending of claims, which say before all else of an epoch what its manifest says in the end.
const CLAIM: &str = "claim";

pub(crate) fn is_claim(key: &str) -> bool {
    let inside = key.strip_prefix(Zone::Manifest.folder()).is_some_and(|rest| rest.starts_with('/'));
    inside && key.strip_suffix(CLAIM).is_some_and(|rest| rest.ends_with('.'))
}

/// The zone by folder and ending.
pub(super) fn zone_of(key: &str) -> Option<Zone> {
    ZONES.into_iter().find(|zone| {
        let inside = key.strip_prefix(zone.folder()).is_some_and(|rest| rest.starts_with('/'));
        inside && key.strip_suffix(zone.extension()).is_some_and(|rest| rest.ends_with('.'))
    })
}

impl<'a> Key<'a> {
    pub(super) fn parse(key: &'a str) -> Option<Self> {
        let zone = if is_claim(key) { Zone::Manifest } else { zone_of(key)? };
        let (folder, file) = key.rsplit_once('/')?;
        let ending = if is_claim(key) { CLAIM } else { zone.extension() };
        let name = file.strip_suffix(ending)?.strip_suffix('.')?;
        if matches!(zone, Zone::State | Zone::Manifest) {
            // folder/stream/shard/epoch, and in old lakes -to: nothing but the path names the shard.
            let epoch = name.split('-').next()?;
            let stem = folder.strip_prefix(zone.folder())?.strip_prefix('/')?;
            return Some(Self { stem, epoch: epoch.parse().ok()?, hour: None });
        }
        // Readers of whole folders pass over what is no file of lines like those beside it.
        let (name, _n) = name.strip_prefix('_').unwrap_or(name).rsplit_once('-')?;
        let (stem, last) = name.rsplit_once('-')?;
        // Old lakes have the epoch's end behind its number. A shard is twelve digits, or a name and eight of its hash.
        let is_number = |text: &str| text.len() >= 8 && text.bytes().all(|b| b.is_ascii_digit());
        let is_stem = |text: &str| text.rsplit('-').next().is_some_and(|end| matches!(end.len(), 8 | 12));
        let old = stem.rsplit_once('-').filter(|(stem, epoch)| is_number(epoch) && epoch.len() != 12 && is_stem(stem));
        let (stem, epoch) = old.unwrap_or((stem, last));
        Some(Self { stem, epoch: epoch.parse().ok()?, hour: hour_of(folder) })
    }

    /// The shard, if it has a name as Kinesis gives them.
    pub(super) fn usual_shard(&self) -> Option<String> {
        let digits = self.stem.rsplit(['-', '/']).next()?;
        let usual = digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_digit());
        usual.then(|| format!("shardId-{digits}"))
    }
}

fn hour_of(folder: &str) -> Option<i64> {
    let part =
        |name: &str| folder.split('/').find_map(|part| part.strip_prefix(name)?.strip_prefix('=')?.parse::<u32>().ok());
    let day = NaiveDate::from_ymd_opt(part("year")? as i32, part("month")?, part("day")?)?;
    Some(day.and_hms_opt(part("hour")?, 0, 0)?.and_utc().timestamp() / 3600)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_whose_it_is() {
        let dated = "raw/year=1970/month=01/day=02/hour=03/my-events-000000000007-00000012-0.jsonl.gz";
        let old = "raw/year=1970/month=01/day=02/hour=03/my-events-000000000007-00000012-49590-0.jsonl.gz";
        assert_eq!(Key::parse(old), Key::parse(dated));
        let key = Key::parse(dated).unwrap();
        assert_eq!(key, Key { stem: "my-events-000000000007", epoch: 12, hour: Some(27) });
        assert_eq!(key.usual_shard().as_deref(), Some("shardId-000000000007"));
        for other in [
            "my-events-000000000007-00000012-49590-0.crlf.jsonl.gz",
            "_my-events-000000000007-00000012-49590-0.ndjson.gz",
        ] {
            let other = dated.rsplit_once('/').unwrap().0.to_owned() + "/" + other;
            assert_eq!(Key::parse(&other).as_ref(), Some(&key), "{other}");
        }
        let hashed = Key::parse("raw/x/events-odd-12345678-00000012-0.jsonl.gz").unwrap();
        assert_eq!((hashed.stem, hashed.epoch), ("events-odd-12345678", 12));
        assert_eq!(Key::parse("raw/x/events-odd-12345678-00000012-end-0.jsonl.gz").unwrap(), hashed);
        assert_eq!(Key::parse("manifests/my-events/000000000007/00000012.claim").unwrap().epoch, 12);
        assert_eq!(Key::parse("state/my-events/000000000007/00000012.state").unwrap().epoch, 12);
        let chained = "state/my-events/000000000007/00000012-end.state";
        let key = Key::parse(chained).unwrap();
        assert_eq!((key.epoch, key.usual_shard().as_deref()), (12, Some("shardId-000000000007")));
        let daily = "aggregates/daily/year=2026/month=11/events-000000000000-00000001-start-0.parquet";
        assert_eq!(Key::parse(daily).unwrap().hour, None);
        for other in ["raw/x.txt", "rawer/a-b-1-2-0.jsonl.gz", "cleansed/a.parquet", "manifests/a/b/x-1.json"] {
            assert_eq!(Key::parse(other), None, "{other}");
        }
    }
}
