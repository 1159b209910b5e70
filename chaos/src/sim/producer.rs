//! The producer of the simulation: what sensors send, the good and the bad.
//!
//! **Promises** a sensor's own counter (`seq`) grows by one with every new event; an event that is sent twice carries its
//! id twice. All content follows from the dice.

use md5::{Digest, Md5};
use rand::Rng;
use rand::rngs::StdRng;

use super::schedule::Habit;
use crate::cloud::Cloud;

const SENSORS: usize = 24;

/// All sensors.
#[derive(Debug)]
pub(super) struct Producer {
    dice: StdRng,
    sent: Vec<Sent>,
    due_ms: i64,
    habit: Habit,
}

#[derive(Clone, Debug, Default)]
struct Sent {
    n: u64,
    firmware: u64,
    last: Option<Vec<u8>>,
}

impl Producer {
    pub(super) fn new(dice: StdRng, now_ms: i64, habit: Habit) -> Self {
        Self { dice, sent: vec![Sent::default(); SENSORS], due_ms: now_ms, habit }
    }

    /// Sends what is due.
    pub(super) fn tick(&mut self, cloud: &Cloud, now_ms: i64) {
        while self.due_ms <= now_ms {
            self.due_ms += self.dice.random_range(5..60);
            let sensor = self.dice.random_range(0..SENSORS);
            let key = match self.habit {
                Habit::Sensor => format!("s-{sensor:03}"),
                Habit::Spread if self.dice.random() => String::new(),
                Habit::Spread | Habit::Switching if self.dice.random_ratio(1, 8) => {
                    let data = self.aggregate(now_ms);
                    cloud.put(now_ms, "a", data);
                    continue;
                }
                Habit::Switching => format!("s-{sensor:03}"),
                Habit::Random | Habit::Spread => format!("{:032x}", self.dice.random::<u128>()),
            };
            let data = self.record(sensor, now_ms);
            cloud.put(now_ms, &key, data);
        }
    }

    /// Events of several sensors in one record, each under its sensor's key, as the Kinesis Producer Library packs them.
    fn aggregate(&mut self, now_ms: i64) -> Vec<u8> {
        let block = |field: u8, bytes: &[u8]| {
            // A length takes two bytes here, also where one would do.
            let length = [bytes.len() as u8 | 0x80, (bytes.len() >> 7) as u8];
            [&[field << 3 | 2], length.as_slice(), bytes].concat()
        };
        let (mut keys, mut records) = (Vec::new(), Vec::new());
        for index in 0..3 {
            let sensor = self.dice.random_range(0..SENSORS);
            keys.extend(block(1, format!("s-{sensor:03}").as_bytes()));
            let event = block(3, &self.event(sensor, now_ms));
            records.extend(block(3, &[&[1 << 3, index], event.as_slice()].concat()));
        }
        let message = [keys, records].concat();
        [b"\xf3\x89\x9a\xc2", message.as_slice(), &Md5::digest(&message)].concat()
    }

    fn record(&mut self, sensor: usize, now_ms: i64) -> Vec<u8> {
        match self.dice.random_range(0..100) {
            // Sent again.
            0..6 => match self.sent[sensor].last.clone() {
                Some(again) => again,
                None => self.event(sensor, now_ms),
            },
            // Cut short.
            6..9 => {
                let event = self.event(sensor, now_ms);
                event[..event.len() / 2].to_vec()
            }
            9 => b"\xff\xfe not text".to_vec(),
            10 => Vec::new(),
            // Several lines in one record.
            11..16 => {
                let mut lines = self.event(sensor, now_ms);
                for _ in 0..self.dice.random_range(1..4) {
                    lines.push(b'\n');
                    lines.extend(self.event(sensor, now_ms));
                }
                lines
            }
            _ => {
                let event = self.event(sensor, now_ms);
                self.sent[sensor].last = Some(event.clone());
                event
            }
        }
    }

    fn event(&mut self, sensor: usize, now_ms: i64) -> Vec<u8> {
        let late_ms = if self.dice.random_bool(0.05) { self.dice.random_range(0..7_200_000) } else { 0 };
        let temperature = match self.dice.random_range(0..200) {
            0 => 70.0,
            1 => 4_000.0,
            _ => 15.0 + f64::from(self.dice.random_range(0..1_000)) / 100.0,
        };
        let sent = &mut self.sent[sensor];
        sent.firmware += u64::from(self.dice.random_bool(0.02));
        let (n, firmware) = (sent.n, sent.firmware);
        sent.n += 1;
        let time = rfc3339(now_ms - late_ms);
        format!(
            r#"{{"sensor_id":"s-{sensor:03}","event_id":"{sensor}-{n}","seq":{n},"ts":"{time}","temperature":{temperature},"humidity":{},"firmware":"1.{firmware}"}}"#,
            40 + n % 7
        )
        .into_bytes()
    }
}

fn rfc3339(ms: i64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(ms).expect("within the years of the simulation");
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}
