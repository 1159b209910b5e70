-- The statements of a load: one transaction that does all of it, or nothing. Versions and intervals are in
-- versions.sql, windows over shards in windows.sql, the lock and COPY in transaction.sql.

-- name: Guard
-- One row if the load is new, none if the ledger knows one of its epochs. Every write is joined with it: a load that is
-- repeated, or comes late, changes nothing.
CREATE TEMP TABLE "load_guard" AS
SELECT "x"."ok"
FROM (SELECT 1 AS "ok") "x"
WHERE NOT EXISTS (SELECT 1 FROM {schema}."load_ledger" WHERE {known})

-- name: GuardAgain
-- The guard of a second try: the ledger may know the epochs as refused.
CREATE TEMP TABLE "load_guard" AS
SELECT "x"."ok"
FROM (SELECT 1 AS "ok") "x"
WHERE NOT EXISTS (SELECT 1 FROM {schema}."load_ledger" WHERE {known} AND "state" = 'loaded')

-- name: Known
-- The condition that a row is about an epoch of the load.
"stream" = {stream} AND (
    {ranges}
)

-- name: Range
("shard" = {shard} AND "epoch" BETWEEN {first} AND {last})

-- name: ForgetRefused
-- What the first try has left gives way to the second.
DELETE FROM {table} WHERE {known} AND (SELECT COUNT(*) FROM "load_guard") = 1

-- name: Readings
-- A reading carries the version of its sensor that holds at its event time, and not that of its arrival: the result must
-- not depend on what came first. What is older than every version belongs to the first.
INSERT INTO {schema}."sensor_readings" (
    {columns}, "quality"
)
SELECT
    {values},
    CASE WHEN "s"."late" THEN 'late' WHEN "s"."anomalies" <> 0 THEN 'suspect' ELSE 'good' END
FROM "stg_readings" "s"
CROSS JOIN "load_guard" "g"
LEFT JOIN (
    SELECT "sensor_id", "version",
        CASE WHEN "ordinal" = 1 THEN TIMESTAMP '0001-01-01 00:00:00' ELSE "valid_from" END AS "since",
        NVL("valid_to", TIMESTAMP '9999-12-31 00:00:00') AS "until"
    FROM {schema}."dim_sensors"
    WHERE "sensor_id" IN (SELECT "sensor_id" FROM "stg_readings")
) "v"
ON "v"."sensor_id" = "s"."sensor_id"
AND "s"."event_time" >= "v"."since"
AND "s"."event_time" < "v"."until"

-- name: VersionInForce
NVL("v"."version", 0)

-- name: Alerts
-- Every alert. The files name times by their units.
INSERT INTO {schema}."alerts" (
    {columns}
)
SELECT
    {values}
FROM "stg_alerts" "s", "load_guard" "g"

-- name: ArrivalTime
DATEADD(
        millisecond, CAST("s"."arrival_ms" % 86400000 AS INTEGER),
        DATEADD(day, CAST("s"."arrival_ms" / 86400000 AS INTEGER), TIMESTAMP '1970-01-01 00:00:00')
    )

-- name: Epochs
-- The epochs of this load, and what is in them.
CREATE TEMP TABLE "load_epochs" (
    "shard" VARCHAR(128), "epoch" BIGINT, "to_position" VARCHAR(129), "readings" BIGINT, "content" VARCHAR(64)
)

-- name: EpochRows
-- One row for each.
INSERT INTO "load_epochs" VALUES
    {rows}

-- name: EpochRow
({shard}, {epoch}, {to}, {readings}, {content})

-- name: Ledger
-- The epochs in the ledger, in the same transaction as what they stand for, with the metadata that was in force.
INSERT INTO {schema}."load_ledger" (
    "stream", "shard", "epoch", "to_position", "batch", "state", "readings", "loaded_at", "metadata", "content"
)
SELECT {stream}, "e"."shard", "e"."epoch", "e"."to_position", {batch}, {state}, "e"."readings", GETDATE(),
    (
        SELECT MAX("digest") FROM {schema}."metadata_versions"
        WHERE "number" = (SELECT MAX("number") FROM {schema}."metadata_versions")
    ),
    "e"."content"
FROM "load_epochs" "e", "load_guard" "g"

-- name: Refused
-- An epoch that the warehouse refuses is put aside, with the warehouse's own words.
INSERT INTO {schema}."load_refused" (
    "stream", "shard", "epoch", "manifest", "attempts", "error", "refused_at"
)
SELECT {stream}, {shard}, {epoch}, {manifest}, {attempts}, {error}, GETDATE()
FROM "load_guard"

-- name: Ages
-- Answers how old the readings were when they were loaded, in cells of 2 %: however many there are, the answer is short.
-- Clocks differ: what seems to come from the future has no age.
SELECT "a"."cell", COUNT(*) AS "readings"
FROM (
    SELECT CAST(FLOOR(
        50.0 * LN(CAST(GREATEST(1, DATEDIFF(millisecond, "s"."arrival_time", {now})) AS DOUBLE PRECISION))
    ) AS INTEGER) AS "cell"
    FROM "stg_readings" "s", "load_guard" "g"
) "a"
GROUP BY "a"."cell"
