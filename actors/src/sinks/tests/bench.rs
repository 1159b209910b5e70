use super::fixture::{NOW_MS, content, context, cut};
use crate::sinks::{cleansed, encode_epoch, epoch::Job, keys::Names, raw, rows::EpochRows};
use bytes::Bytes;
use messages::*;
use std::sync::Arc;
use std::time::Instant;

fn batch(first: u64, n: usize, sensors: u64) -> Assessed {
    let mut x = first.wrapping_mul(0x9E3779B97F4A7C15) | 1;
    let mut rnd = move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    };
    let mut records = vec![];
    let mut rows = Rows::default();
    let mut ids: Vec<u64> = vec![];
    let (mut t, mut h, mut b, mut fw, mut site, mut lat, mut lon) =
        (vec![], vec![], vec![], vec![], vec![], vec![], vec![]);
    for i in 0..n as u64 {
        let s = rnd() % sensors;
        let seq = format!("4959033827149025660855969253836157109592157598913{:07}", first + i);
        let temp = (rnd() % 4000) as f64 / 100.0 - 10.0;
        let hum = (rnd() % 1000) as f64 / 10.0;
        let bat = (rnd() % 100) as f64;
        let us = (NOW_MS - (rnd() % 60_000) as i64) * 1000;
        let eid = format!("{:016x}{:016x}", rnd(), rnd());
        let data = format!(
            "{{\"sensor_id\":\"sensor-{s:06}\",\"ts\":\"2026-11-22T15:04:{:02}.{:03}Z\",\"event_id\":\"{eid}\",\"seq\":{i},\"temperature\":{temp},\"humidity\":{hum},\"battery\":{bat},\"firmware\":\"1.4.{}\",\"location\":{{\"site\":\"site-{}\",\"lat\":{:.4},\"lon\":{:.4}}}}}",
            us / 1_000_000 % 60,
            us / 1000 % 1000,
            s % 3,
            s % 50,
            (s % 90) as f64 + 0.1234,
            (s % 170) as f64 + 0.4321
        );
        let len = data.len();
        records.push(RawRecord {
            sequence: SequenceNumber::parse(&seq).unwrap(),
            arrival_ms: NOW_MS + i as i64 / 100,
            partition_key: format!("sensor-{s:06}").into(),
            data: Bytes::from(data),
        });
        rows.record.push(i as u32);
        rows.sub_sequence.push(0);
        rows.span.push(0..len);
        rows.event_time_us.push(us);
        rows.event_id.push(Some(eid.into()));
        rows.device_sequence.push(Some(i as i64));
        t.push(Some(temp));
        h.push(Some(hum));
        b.push(Some(bat));
        fw.push(Some(format!("1.4.{}", s % 3).into()));
        site.push(Some(format!("site-{}", s % 50).into()));
        lat.push(Some((s % 90) as f64 + 0.1234));
        lon.push(Some((s % 170) as f64 + 0.4321));
        ids.push(s);
    }
    rows.fields = vec![
        Column::Float(t),
        Column::Float(h),
        Column::Float(b),
        Column::Text(fw),
        Column::Text(site),
        Column::Float(lat),
        Column::Float(lon),
    ];
    let mut by: std::collections::BTreeMap<u64, Vec<u32>> = Default::default();
    for (i, s) in ids.iter().enumerate() {
        by.entry(*s).or_default().push(i as u32);
    }
    let (mut order, mut groups) = (vec![], vec![]);
    for (s, r) in by {
        let a = order.len();
        order.extend(r);
        groups.push(Group { sensor: SensorId::new(&format!("sensor-{s:06}")), rows: a..order.len() });
    }
    let inf = InFlight::new(0, Batch { records, rows, rejects: vec![], order, groups, credit: Credit::none() });
    for g in 0..inf.batch.groups.len() {
        let v = inf
            .batch
            .group_rows(g)
            .iter()
            .map(|r| {
                Verdict::Clean(Assessment { score: *r as f32 * 0.001, anomalies: Anomalies(0), sensor_version: 1 })
            })
            .collect();
        inf.settle(g, GroupOutcome { verdicts: v, ..Default::default() });
    }
    Assessed { in_flight: Arc::new(inf), late: vec![false; n] }
}

#[test]
fn bench() {
    for (total, per, sensors) in [(50_000u64, 5_000usize, 5_000u64)] {
        let batches: Vec<Assessed> = (0..total / per as u64).map(|k| batch(k * per as u64, per, sensors)).collect();
        let json: usize = batches.iter().flat_map(|b| &b.in_flight.batch.records).map(|r| r.data.len()).sum();
        for gzip in [1, 3] {
            let mut ctx = context();
            ctx.encoding.gzip_level = gzip;
            let c = content();
            let mut best = [u128::MAX; 4];
            let mut sizes = vec![];
            for _ in 0..5 {
                let t = Instant::now();
                let e = encode_epoch(&ctx, &batches, &c).unwrap();
                best[0] = best[0].min(t.elapsed().as_nanos());
                sizes = e.objects.iter().map(|o| (o.planned.zone, o.bytes.len() / total as usize)).collect();
                let cu = cut(c.cut.to.clone());
                let job = Job { context: &ctx, cut: &cu, names: Names::new("x", &ctx.shard, &cu) };
                let t = Instant::now();
                let r = EpochRows::sort_out(&batches, ctx.schema.partition_by);
                best[1] = best[1].min(t.elapsed().as_nanos());
                let t = Instant::now();
                raw::encode(&job, &r).unwrap();
                best[2] = best[2].min(t.elapsed().as_nanos());
                let t = Instant::now();
                cleansed::encode(&job, &r).unwrap();
                best[3] = best[3].min(t.elapsed().as_nanos());
            }
            eprintln!(
                "{total} rows gzip{gzip}, json {} B: total/sort/raw/cleansed ns/row {:?} sizes {sizes:?}",
                json / total as usize,
                best.map(|b| b / total as u128)
            );
        }
    }
}
