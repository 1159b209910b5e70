-- What the ledger is asked.

-- name: Tips
-- Answers how far each shard of a stream is loaded.
SELECT "l"."shard", "l"."epoch", "l"."to_position", "l"."content"
FROM {schema}."load_ledger" "l"
JOIN (
    SELECT "shard", MAX("epoch") AS "tip"
    FROM {schema}."load_ledger"
    WHERE "stream" = {stream}
    GROUP BY "shard"
) "t"
ON "l"."shard" = "t"."shard" AND "l"."epoch" = "t"."tip"
WHERE "l"."stream" = {stream}

-- name: Status
-- Answers what is loaded and what is refused of each shard of a stream.
SELECT "shard", MAX("epoch") AS "tip",
    SUM(CASE WHEN "state" = 'loaded' THEN 1 ELSE 0 END) AS "loaded",
    SUM(CASE WHEN "state" = 'refused' THEN 1 ELSE 0 END) AS "refused",
    SUM(CASE WHEN "state" = 'loaded' THEN "readings" ELSE 0 END) AS "loaded_readings",
    CAST(MAX("loaded_at") AS VARCHAR(32)) AS "last_at"
FROM {schema}."load_ledger"
WHERE "stream" = {stream}
GROUP BY "shard"
ORDER BY "shard"

-- name: Loaded
-- Answers which epochs of a shard, in an interval of numbers, are loaded.
SELECT "epoch"
FROM {schema}."load_ledger"
WHERE "stream" = {stream} AND "shard" = {shard} AND "state" = 'loaded' AND "epoch" BETWEEN {first} AND {last}

-- name: Refused
-- Answers the first refused epochs.
SELECT "shard", "epoch", "manifest", "error"
FROM {schema}."load_refused"
WHERE "stream" = {stream}
ORDER BY "shard", "epoch"
LIMIT {n_max}

-- name: Counts
-- Answers how much is in the tables, and how many transactions have brought the stream's epochs.
SELECT (SELECT COUNT(*) FROM {schema}."sensor_readings") AS "sensor_readings",
    (SELECT COUNT(*) FROM {schema}."dim_sensors") AS "dim_sensors",
    (SELECT COUNT(*) FROM {schema}."dim_locations") AS "dim_locations",
    (SELECT COUNT(*) FROM {schema}."sensor_hourly") AS "sensor_hourly",
    (SELECT COUNT(*) FROM {schema}."sensor_daily") AS "sensor_daily",
    (SELECT COUNT(*) FROM {schema}."alerts") AS "alerts",
    (
        SELECT COUNT(DISTINCT "batch") FROM {schema}."load_ledger" WHERE "stream" = {stream} AND "state" = 'loaded'
    ) AS "batches"
FROM (SELECT 1 AS "one") "x"
