CREATE SCHEMA "mangrove";
CREATE TABLE "mangrove"."sensor_readings" (
  "sensor_id" VARCHAR(128) NOT NULL, "event_time" TIMESTAMP NOT NULL, "temperature" DOUBLE PRECISION, "humidity" DOUBLE PRECISION,
  "battery" DOUBLE PRECISION, "firmware" VARCHAR(256), "site" VARCHAR(256), "latitude" DOUBLE PRECISION,
  "longitude" DOUBLE PRECISION, "event_id" VARCHAR(256), "device_sequence" BIGINT, "shard" VARCHAR(128) NOT NULL,
  "sequence" VARCHAR(129) NOT NULL, "sub_sequence" INTEGER NOT NULL, "arrival_time" TIMESTAMP NOT NULL,
  "anomaly_score" REAL NOT NULL, "anomalies" INTEGER NOT NULL, "sensor_version" INTEGER NOT NULL, "late" BOOLEAN NOT NULL,
  "quality" VARCHAR(8) NOT NULL
);
CREATE TABLE "mangrove"."dim_sensors" (
  "sensor_id" VARCHAR(128) NOT NULL, "version" INTEGER NOT NULL, "valid_from" TIMESTAMP NOT NULL, "valid_to" TIMESTAMP,
  "is_current" BOOLEAN NOT NULL, "firmware" VARCHAR(256), "site" VARCHAR(256), "latitude" DOUBLE PRECISION,
  "longitude" DOUBLE PRECISION, "changed" VARCHAR(64) NOT NULL, "shard" VARCHAR(128) NOT NULL, "sequence" VARCHAR(129) NOT NULL,
  "sub_sequence" INTEGER NOT NULL, "arrival_time" TIMESTAMP NOT NULL, "ordinal" BIGINT, "source" VARCHAR(8), "owner" VARCHAR(256)
);
CREATE TABLE "mangrove"."sensor_hourly" (
  "sensor_id" VARCHAR(128) NOT NULL, "field" VARCHAR(256) NOT NULL, "window_start" TIMESTAMP NOT NULL, "revision" INTEGER NOT NULL,
  "count" BIGINT NOT NULL, "sum" DOUBLE PRECISION NOT NULL, "min" DOUBLE PRECISION NOT NULL, "max" DOUBLE PRECISION NOT NULL,
  "mean" DOUBLE PRECISION NOT NULL, "stddev" DOUBLE PRECISION, "first" DOUBLE PRECISION NOT NULL, "last" DOUBLE PRECISION NOT NULL,
  "shard" VARCHAR(128) NOT NULL, "epoch" BIGINT NOT NULL
);
CREATE TABLE "mangrove"."sensor_daily" (LIKE "mangrove"."sensor_hourly");
CREATE TABLE "mangrove"."alerts" (
  "id" VARCHAR(256) NOT NULL, "kind" VARCHAR(16) NOT NULL, "severity" VARCHAR(16) NOT NULL, "sensor_id" VARCHAR(128) NOT NULL,
  "field" VARCHAR(256), "value" DOUBLE PRECISION, "message" VARCHAR(1024) NOT NULL, "event_time" TIMESTAMP NOT NULL,
  "arrival_time" TIMESTAMP NOT NULL, "shard" VARCHAR(128) NOT NULL, "sequence" VARCHAR(129)
);
CREATE TABLE "mangrove"."load_ledger" (
  "stream" VARCHAR(128) NOT NULL, "shard" VARCHAR(128) NOT NULL, "epoch" BIGINT NOT NULL, "to_position" VARCHAR(129) NOT NULL,
  "batch" VARCHAR(32) NOT NULL, "state" VARCHAR(8) NOT NULL, "readings" BIGINT NOT NULL, "loaded_at" TIMESTAMP NOT NULL
);
INSERT INTO "mangrove"."dim_sensors" VALUES
  ('a', 1, '2026-01-01 00:00:00', '2026-01-02 00:00:00', FALSE, '1.0', 'roof', 52.5, 13.4, 'firmware', 's0', '1', 0, '2026-01-01 00:00:01', 1, 'event', 'north'),
  ('a', 2, '2026-01-02 00:00:00', NULL, TRUE, '1.1', 'roof', 52.5, 13.4, 'firmware', 's0', '2', 0, '2026-01-02 00:00:01', 2, 'event', 'south'),
  ('b', 1, '2026-01-01 00:00:00', NULL, TRUE, '1.0', 'cellar', 52.5, 13.5, 'firmware', 's1', '1', 0, '2026-01-01 00:00:01', 1, 'event', NULL);
INSERT INTO "mangrove"."sensor_readings"
  ("sensor_id", "event_time", "temperature", "battery", "event_id", "shard", "sequence", "sub_sequence", "arrival_time", "anomaly_score", "anomalies", "sensor_version", "late", "quality") VALUES
  ('a', '2026-01-01 10:00:00', 10, 80, 'e1', 's0', '10', 0, '2026-01-01 10:00:02', 0.1, 0, 1, FALSE, 'good'),
  ('a', '2026-01-01 10:30:00', 12, 79, 'e1', 's0', '11', 0, '2026-01-01 10:30:04', 0.1, 0, 1, FALSE, 'good'),
  ('a', '2026-01-02 10:00:00', 20, 78, NULL, 's0', '12', 0, '2026-01-02 10:00:06', 9.5, 2, 2, FALSE, 'suspect'),
  ('a', '2026-01-02 11:00:00', 22, 77, NULL, 's0', '13', 0, '2026-01-02 11:00:08', 0.1, 0, 2, FALSE, 'good'),
  ('b', '2026-01-01 10:15:00', 5, 20, NULL, 's1', '10', 0, '2026-01-01 10:15:02', 0.1, 0, 1, FALSE, 'good'),
  ('b', '2026-01-01 09:00:00', 4, 19, NULL, 's1', '11', 0, '2026-01-01 12:00:00', 0.1, 0, 1, TRUE, 'late');
INSERT INTO "mangrove"."sensor_hourly" VALUES
  ('a', 'temperature', '2026-01-01 10:00:00', 1, 2, 22, 10, 12, 11, 1.4, 10, 12, 's0', 1),
  ('a', 'temperature', '2026-01-02 10:00:00', 1, 1, 20, 20, 20, 20, NULL, 20, 20, 's0', 2),
  ('b', 'temperature', '2026-01-01 10:00:00', 1, 1, 5, 5, 5, 5, NULL, 5, 5, 's1', 1);
INSERT INTO "mangrove"."sensor_daily" VALUES
  ('a', 'temperature', '2026-01-01 00:00:00', 1, 2, 22, 10, 12, 11, 1.4, 10, 12, 's0', 1),
  ('a', 'temperature', '2026-01-02 00:00:00', 2, 2, 42, 20, 22, 21, 1.4, 20, 22, 's0', 2),
  ('b', 'temperature', '2026-01-01 00:00:00', 1, 1, 5, 5, 5, 5, NULL, 5, 5, 's1', 1);
INSERT INTO "mangrove"."alerts" VALUES
  ('1', 'score', 'warning', 'a', 'temperature', 20, 'far from what was expected', '2026-01-02 10:00:00', '2026-01-02 10:00:06', 's0', '12'),
  ('2', 'range', 'warning', 'b', 'battery', 4, 'outside', '2026-01-02 09:00:00', '2026-01-02 09:00:01', 's1', '14'),
  ('3', 'score', 'critical', 'a', 'temperature', 25, 'far from what was expected', '2026-01-02 12:00:00', '2026-01-02 12:00:01', 's0', '15');
INSERT INTO "mangrove"."load_ledger" VALUES
  ('climate', 's0', 1, '11', 'x', 'loaded', 2, '2026-01-01 10:31:04'),
  ('climate', 's0', 2, '13', 'y', 'loaded', 2, '2026-01-02 11:01:08'),
  ('climate', 's1', 1, '11', 'x', 'loaded', 2, '2026-01-01 12:01:00'),
  ('climate', 's1', 2, '14', 'z', 'refused', 1, '2026-01-02 12:01:00')
