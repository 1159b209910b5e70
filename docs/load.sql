-- One whole load as it is sent to the warehouse: 37 statements, one transaction. Behind it, as one more, the 26 by
-- which a content of the metadata is put in force. What is sent has neither these comments nor this layout.
--
-- Three epochs of two shards, of the built-in event schema climate; metadata knows the owner of a sensor and the
-- region of a site beside it. The statements are made of the templates in actors/src/warehouse/sql/, and this page
-- of them: `UPDATE=1 cargo test --release the_page_shows_a_whole_load`.


---------- A load ----------

-- 1.
-- Transactions of the loader run one after the other, and each sees what the one before has done: the snapshot of a
-- transaction begins with its first read, not with the lock.
LOCK "mangrove"."load_ledger";

-- 2.
-- One row if the load is new, none if the ledger knows one of its epochs. Every write is joined with it: a load that is
-- repeated, or comes late, changes nothing.
CREATE TEMP TABLE "load_guard" AS
SELECT "x"."ok"
FROM (SELECT 1 AS "ok") "x"
WHERE NOT EXISTS (SELECT 1 FROM "mangrove"."load_ledger" WHERE "stream" = 'climate' AND (
    ("shard" = 'shardId-000000000000' AND "epoch" BETWEEN 7 AND 8)
    OR ("shard" = 'shardId-000000000001' AND "epoch" BETWEEN 3 AND 3)
));

-- 3.
-- Spread as the tables that it is joined with: the rows of a sensor meet where they lie.
CREATE TEMP TABLE "stg_dimensions" (
    "sensor_id" VARCHAR(128), "version" INTEGER, "valid_from" TIMESTAMP, "firmware" VARCHAR(256),
    "site" VARCHAR(256), "latitude" DOUBLE PRECISION, "longitude" DOUBLE PRECISION, "changed" VARCHAR(33),
    "shard" VARCHAR(128), "sequence" VARCHAR(129), "sub_sequence" INTEGER, "arrival_time" TIMESTAMP
)
DISTSTYLE KEY DISTKEY ("sensor_id");

-- 4.
-- The files of a manifest. It lies in the bucket and never changes.
COPY "stg_dimensions"
FROM 's3://lake/warehouse/f5732221d75151aecb06c11b/dimensions.manifest'
IAM_ROLE DEFAULT
FORMAT AS PARQUET MANIFEST;

-- 5.
-- Versions that events have told are taken over; those that are known already change nothing.
INSERT INTO "mangrove"."sensor_versions" (
    "sensor_id", "version", "valid_from", "firmware", "site", "latitude", "longitude", "changed", "shard", "sequence",
    "sub_sequence", "arrival_time"
)
SELECT
    "s"."sensor_id", "s"."version", "s"."valid_from", "s"."firmware", "s"."site", "s"."latitude", "s"."longitude",
    "s"."changed", "s"."shard", "s"."sequence", "s"."sub_sequence", "s"."arrival_time"
FROM "stg_dimensions" "s"
CROSS JOIN "load_guard" "g"
LEFT JOIN "mangrove"."sensor_versions" "k"
ON "k"."sensor_id" = "s"."sensor_id"
AND "k"."shard" = "s"."shard"
AND "k"."sequence" = "s"."sequence"
AND "k"."sub_sequence" = "s"."sub_sequence"
AND "k"."version" = "s"."version"
WHERE "k"."shard" IS NULL;

-- 6.
-- What was said of the sensors that this concerns, in order. Of a sensor that several shards have counted versions of,
-- each for itself, the versions as one would have counted them: what a shard says that another has said already is no
-- version, what it says only because it has not heard the last of it is not said, and numbers follow the order. Such a
-- sensor has several versions of one number ("same_number"). Versions of all other sensors are as they came.
CREATE TEMP TABLE "load_reported" AS
SELECT
    "sensor_id",
    CASE
        WHEN "same_number" > 1 AND "source" = 'event'
        THEN CAST(ROW_NUMBER() OVER (PARTITION BY "sensor_id", "source" ORDER BY "place") AS INTEGER)
        ELSE "version"
    END AS "version",
    "valid_from", "firmware", "site", "latitude", "longitude",
    CASE
        WHEN "same_number" > 1 AND "source" = 'event' THEN SUBSTRING(
            CASE WHEN NVL("was_0", '') = NVL("now_0", '') AND NVL2("was_0", 1, 0) = NVL2("now_0", 1, 0) THEN '' ELSE ',firmware' END
            || CASE WHEN NVL("was_1", '') = NVL("now_1", '') AND NVL2("was_1", 1, 0) = NVL2("now_1", 1, 0) THEN '' ELSE ',site' END
            || CASE WHEN NVL("was_2", 0) = NVL("now_2", 0) AND NVL2("was_2", 1, 0) = NVL2("now_2", 1, 0) THEN '' ELSE ',latitude' END
            || CASE WHEN NVL("was_3", 0) = NVL("now_3", 0) AND NVL2("was_3", 1, 0) = NVL2("now_3", 1, 0) THEN '' ELSE ',longitude' END, 2, 65535
        )
        ELSE "changed"
    END AS "changed",
    "shard", "sequence", "sub_sequence", "arrival_time", "source", "owner", "same_number",
    ROW_NUMBER() OVER (PARTITION BY "sensor_id" ORDER BY "place") AS "ordinal"
FROM (
    -- with what was known before of each attribute
    SELECT "h".*
        , LAG("now_0") OVER (PARTITION BY "sensor_id", "source" ORDER BY "place") AS "was_0"
        , LAG("now_1") OVER (PARTITION BY "sensor_id", "source" ORDER BY "place") AS "was_1"
        , LAG("now_2") OVER (PARTITION BY "sensor_id", "source" ORDER BY "place") AS "was_2"
        , LAG("now_3") OVER (PARTITION BY "sensor_id", "source" ORDER BY "place") AS "was_3",
        LAG("place") OVER (PARTITION BY "sensor_id", "source" ORDER BY "place") AS "before"
    FROM (
        -- with what is known from then on of each attribute
        SELECT "t".*
            , LAST_VALUE("firmware") IGNORE NULLS OVER (
                PARTITION BY "sensor_id", "source" ORDER BY "place" ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "now_0"
            , LAST_VALUE("site") IGNORE NULLS OVER (
                PARTITION BY "sensor_id", "source" ORDER BY "place" ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "now_1"
            , LAST_VALUE("latitude") IGNORE NULLS OVER (
                PARTITION BY "sensor_id", "source" ORDER BY "place" ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "now_2"
            , LAST_VALUE("longitude") IGNORE NULLS OVER (
                PARTITION BY "sensor_id", "source" ORDER BY "place" ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "now_3"
        FROM (
            -- with what each version says anew, and nothing else
            SELECT
                CASE
                    WHEN "same_number" > 1 AND "source" = 'event' AND STRPOS(',' || "e"."changed" || ',', ',firmware,') = 0 THEN NULL
                    ELSE "e"."firmware"
                END AS "firmware",
                CASE
                    WHEN "same_number" > 1 AND "source" = 'event' AND STRPOS(',' || "e"."changed" || ',', ',site,') = 0 THEN NULL
                    ELSE "e"."site"
                END AS "site",
                CASE
                    WHEN "same_number" > 1 AND "source" = 'event' AND STRPOS(',' || "e"."changed" || ',', ',latitude,') = 0 THEN NULL
                    ELSE "e"."latitude"
                END AS "latitude",
                CASE
                    WHEN "same_number" > 1 AND "source" = 'event' AND STRPOS(',' || "e"."changed" || ',', ',longitude,') = 0 THEN NULL
                    ELSE "e"."longitude"
                END AS "longitude",
                "e"."sensor_id", "e"."version", "e"."valid_from", "e"."changed", "e"."shard", "e"."sequence", "e"."sub_sequence",
                "e"."arrival_time", "e"."source", "e"."owner", "e"."place", "e"."same_number"
            FROM (
                SELECT "d".*, MAX("namesakes") OVER (PARTITION BY "sensor_id") AS "same_number"
                FROM (
                    SELECT "c".*,
                        COUNT(*) OVER (PARTITION BY "sensor_id", "source", "version") AS "namesakes",
                        ROW_NUMBER() OVER (
                            PARTITION BY "sensor_id"
                            ORDER BY "valid_from", CASE WHEN "source" = 'metadata' THEN 0 ELSE 1 END, "version", "arrival_time", "shard",
                                LEN("sequence"), "sequence", "sub_sequence"
                        ) AS "place"
                    FROM (
                        SELECT
                            "sensor_id" AS "sensor_id", "version" AS "version", "valid_from" AS "valid_from", "firmware" AS "firmware",
                            "site" AS "site", "latitude" AS "latitude", "longitude" AS "longitude", "changed" AS "changed",
                            "shard" AS "shard", "sequence" AS "sequence", "sub_sequence" AS "sub_sequence",
                            "arrival_time" AS "arrival_time", CAST('event' AS VARCHAR(8)) AS "source",
                            CAST(NULL AS VARCHAR(100)) AS "owner"
                        FROM "mangrove"."sensor_versions"
                        WHERE "sensor_id" IN (SELECT "sensor_id" FROM "stg_dimensions")
                        UNION ALL
                        SELECT
                            "sensor_id" AS "sensor_id", "version" AS "version", "valid_from" AS "valid_from", "firmware" AS "firmware",
                            "site" AS "site", "latitude" AS "latitude", "longitude" AS "longitude", "changed" AS "changed",
                            'metadata' AS "shard", CAST(ABS("version") AS VARCHAR(129)) AS "sequence", 0 AS "sub_sequence",
                            "valid_from" AS "arrival_time", CAST('metadata' AS VARCHAR(8)) AS "source", "owner" AS "owner"
                        FROM "mangrove"."sensor_metadata"
                        WHERE "sensor_id" IN (SELECT "sensor_id" FROM "stg_dimensions")
                    ) "c"
                ) "d"
            ) "e"
        ) "t"
    ) "h"
) "k"
WHERE NOT ("same_number" > 1 AND "source" = 'event') OR "before" IS NULL
    OR NOT (NVL("was_0", '') = NVL("now_0", '') AND NVL2("was_0", 1, 0) = NVL2("now_0", 1, 0))
    OR NOT (NVL("was_1", '') = NVL("now_1", '') AND NVL2("was_1", 1, 0) = NVL2("now_1", 1, 0))
    OR NOT (NVL("was_2", 0) = NVL("now_2", 0) AND NVL2("was_2", 1, 0) = NVL2("now_2", 1, 0))
    OR NOT (NVL("was_3", 0) = NVL("now_3", 0) AND NVL2("was_3", 1, 0) = NVL2("now_3", 1, 0));

-- 7.
-- The intervals of these sensors, made anew from all their versions. What events say of an attribute holds from then on;
-- before, and for what they never say, metadata holds. A version that leaves an attribute out says nothing about it: of a
-- version of events counts what it says anew, the rest is what was in force when it came.
CREATE TEMP TABLE "load_intervals" AS
SELECT
    "sensor_id" AS "sensor_id", "version" AS "version", "valid_from" AS "valid_from",
    LEAD("valid_from") OVER (PARTITION BY "sensor_id" ORDER BY "ordinal") AS "valid_to",
    LEAD("valid_from") OVER (PARTITION BY "sensor_id" ORDER BY "ordinal") IS NULL AS "is_current",
    NVL(
        LAST_VALUE(CASE WHEN STRPOS("anew", ',firmware,') > 0 THEN "firmware" END) IGNORE NULLS
            OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING),
        LAST_VALUE(CASE WHEN "source" = 'metadata' THEN "firmware" END) IGNORE NULLS
            OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING)
    ) AS "firmware",
    NVL(
        LAST_VALUE(CASE WHEN STRPOS("anew", ',site,') > 0 THEN "site" END) IGNORE NULLS
            OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING),
        LAST_VALUE(CASE WHEN "source" = 'metadata' THEN "site" END) IGNORE NULLS
            OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING)
    ) AS "site",
    NVL(
        LAST_VALUE(CASE WHEN STRPOS("anew", ',latitude,') > 0 THEN "latitude" END) IGNORE NULLS
            OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING),
        LAST_VALUE(CASE WHEN "source" = 'metadata' THEN "latitude" END) IGNORE NULLS
            OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING)
    ) AS "latitude",
    NVL(
        LAST_VALUE(CASE WHEN STRPOS("anew", ',longitude,') > 0 THEN "longitude" END) IGNORE NULLS
            OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING),
        LAST_VALUE(CASE WHEN "source" = 'metadata' THEN "longitude" END) IGNORE NULLS
            OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING)
    ) AS "longitude",
    "changed" AS "changed", "shard" AS "shard", "sequence" AS "sequence", "sub_sequence" AS "sub_sequence",
    "arrival_time" AS "arrival_time", "ordinal" AS "ordinal", "source" AS "source",
    LAST_VALUE("owner") IGNORE NULLS OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING) AS "owner", "same_number"
FROM (
    SELECT *, CASE WHEN "source" = 'event' THEN ',' || "changed" || ',' ELSE '' END AS "anew" FROM "load_reported"
) "a";

-- 8.
-- The new intervals take the place of the old ones. An update in place would have to know which value came from whom.
DELETE FROM "mangrove"."dim_sensors"
USING "stg_dimensions" "t", "load_guard" "g"
WHERE "dim_sensors"."sensor_id" = "t"."sensor_id";

-- 9.
-- The new intervals.
INSERT INTO "mangrove"."dim_sensors" (
    "sensor_id", "version", "valid_from", "valid_to", "is_current", "firmware", "site", "latitude", "longitude", "changed",
    "shard", "sequence", "sub_sequence", "arrival_time", "ordinal", "source", "owner"
)
SELECT
    "i"."sensor_id", "i"."version", "i"."valid_from", "i"."valid_to", "i"."is_current", "i"."firmware", "i"."site",
    "i"."latitude", "i"."longitude", "i"."changed", "i"."shard", "i"."sequence", "i"."sub_sequence",
    "i"."arrival_time", "i"."ordinal", "i"."source", "i"."owner"
FROM "load_intervals" "i", "load_guard" "g";

-- 10.
-- Gives the readings that are stored already the versions that hold now: in the intervals of the staged versions, because
-- only there another one held before; in all of a sensor that several shards count, because numbers of the others may have
-- moved. The last condition lets the warehouse skip the blocks of earlier readings.
UPDATE "mangrove"."sensor_readings"
SET "sensor_version" = "n"."version"
FROM (
    SELECT "i"."sensor_id", "i"."version",
        CASE WHEN "i"."ordinal" = 1 THEN TIMESTAMP '0001-01-01 00:00:00' ELSE "i"."valid_from" END AS "since",
        NVL("i"."valid_to", TIMESTAMP '9999-12-31 00:00:00') AS "until"
    FROM "load_intervals" "i"
    LEFT JOIN "stg_dimensions" "s"
    ON "i"."sensor_id" = "s"."sensor_id"
    AND "i"."shard" = "s"."shard"
    AND "i"."sequence" = "s"."sequence"
    AND "i"."sub_sequence" = "s"."sub_sequence"
    AND "i"."version" = "s"."version"
    WHERE ("s"."shard" IS NOT NULL OR "i"."same_number" > 1)
) "n", "load_guard" "g"
WHERE "sensor_readings"."sensor_id" = "n"."sensor_id"
AND "sensor_readings"."event_time" >= "n"."since"
AND "sensor_readings"."event_time" < "n"."until"
AND "sensor_readings"."sensor_version" <> "n"."version"
AND "sensor_readings"."event_time" >= (
    SELECT MIN(CASE WHEN "i"."ordinal" = 1 THEN TIMESTAMP '0001-01-01 00:00:00' ELSE "i"."valid_from" END)
    FROM "load_intervals" "i"
    LEFT JOIN "stg_dimensions" "s"
    ON "i"."sensor_id" = "s"."sensor_id"
    AND "i"."shard" = "s"."shard"
    AND "i"."sequence" = "s"."sequence"
    AND "i"."sub_sequence" = "s"."sub_sequence"
    AND "i"."version" = "s"."version"
    WHERE ("s"."shard" IS NOT NULL OR "i"."same_number" > 1)
);

-- 11.
-- The places that versions name.
CREATE TEMP TABLE "load_places" AS
SELECT "d"."site", "d"."latitude", "d"."longitude", MIN("d"."valid_from") AS "first_seen"
    , ANY_VALUE("m"."region") AS "region"
FROM "mangrove"."dim_sensors" "d"
LEFT JOIN "mangrove"."location_metadata" "m" ON "m"."site" = "d"."site"
WHERE "d"."site" IS NOT NULL OR "d"."latitude" IS NOT NULL OR "d"."longitude" IS NOT NULL
GROUP BY "d"."site", "d"."latitude", "d"."longitude";

-- 12.
-- Places that nothing names any more, or that are described otherwise. A table of its own, because DELETE takes tables
-- alone.
CREATE TEMP TABLE "load_gone" AS
SELECT "l"."site", "l"."latitude", "l"."longitude", "l"."first_seen", "l"."region"
FROM "mangrove"."dim_locations" "l"
LEFT JOIN "load_places" "p"
ON NVL("l"."site", '') = NVL("p"."site", '') AND NVL2("l"."site", 1, 0) = NVL2("p"."site", 1, 0)
AND NVL("l"."latitude", 0) = NVL("p"."latitude", 0) AND NVL2("l"."latitude", 1, 0) = NVL2("p"."latitude", 1, 0)
AND NVL("l"."longitude", 0) = NVL("p"."longitude", 0) AND NVL2("l"."longitude", 1, 0) = NVL2("p"."longitude", 1, 0)
AND NVL("l"."first_seen", TIMESTAMP '0001-01-01 00:00:00') = NVL("p"."first_seen", TIMESTAMP '0001-01-01 00:00:00') AND NVL2("l"."first_seen", 1, 0) = NVL2("p"."first_seen", 1, 0)
AND NVL("l"."region", '') = NVL("p"."region", '') AND NVL2("l"."region", 1, 0) = NVL2("p"."region", 1, 0)
WHERE "p"."first_seen" IS NULL;

-- 13.
-- They are taken away.
DELETE FROM "mangrove"."dim_locations"
USING "load_gone" "o", "load_guard" "g"
WHERE NVL("dim_locations"."site", '') = NVL("o"."site", '') AND NVL2("dim_locations"."site", 1, 0) = NVL2("o"."site", 1, 0)
AND NVL("dim_locations"."latitude", 0) = NVL("o"."latitude", 0) AND NVL2("dim_locations"."latitude", 1, 0) = NVL2("o"."latitude", 1, 0)
AND NVL("dim_locations"."longitude", 0) = NVL("o"."longitude", 0) AND NVL2("dim_locations"."longitude", 1, 0) = NVL2("o"."longitude", 1, 0)
AND NVL("dim_locations"."first_seen", TIMESTAMP '0001-01-01 00:00:00') = NVL("o"."first_seen", TIMESTAMP '0001-01-01 00:00:00') AND NVL2("dim_locations"."first_seen", 1, 0) = NVL2("o"."first_seen", 1, 0)
AND NVL("dim_locations"."region", '') = NVL("o"."region", '') AND NVL2("dim_locations"."region", 1, 0) = NVL2("o"."region", 1, 0);

-- 14.
-- Places that were not there as they are now.
INSERT INTO "mangrove"."dim_locations" (
    "site", "latitude", "longitude", "first_seen", "region"
)
SELECT "p"."site", "p"."latitude", "p"."longitude", "p"."first_seen", "p"."region"
FROM "load_places" "p"
CROSS JOIN "load_guard" "g"
LEFT JOIN "mangrove"."dim_locations" "l"
ON NVL("l"."site", '') = NVL("p"."site", '') AND NVL2("l"."site", 1, 0) = NVL2("p"."site", 1, 0)
AND NVL("l"."latitude", 0) = NVL("p"."latitude", 0) AND NVL2("l"."latitude", 1, 0) = NVL2("p"."latitude", 1, 0)
AND NVL("l"."longitude", 0) = NVL("p"."longitude", 0) AND NVL2("l"."longitude", 1, 0) = NVL2("p"."longitude", 1, 0)
AND NVL("l"."first_seen", TIMESTAMP '0001-01-01 00:00:00') = NVL("p"."first_seen", TIMESTAMP '0001-01-01 00:00:00') AND NVL2("l"."first_seen", 1, 0) = NVL2("p"."first_seen", 1, 0)
AND NVL("l"."region", '') = NVL("p"."region", '') AND NVL2("l"."region", 1, 0) = NVL2("p"."region", 1, 0)
WHERE "l"."first_seen" IS NULL;

-- 15.
-- Spread as the tables that it is joined with: the rows of a sensor meet where they lie.
CREATE TEMP TABLE "stg_readings" (
    "sensor_id" VARCHAR(128), "event_time" TIMESTAMP, "temperature" DOUBLE PRECISION,
    "humidity" DOUBLE PRECISION, "battery" DOUBLE PRECISION, "firmware" VARCHAR(256), "site" VARCHAR(256),
    "latitude" DOUBLE PRECISION, "longitude" DOUBLE PRECISION, "event_id" VARCHAR(256),
    "device_sequence" BIGINT, "shard" VARCHAR(128), "sequence" VARCHAR(129), "sub_sequence" INTEGER,
    "arrival_time" TIMESTAMP, "anomaly_score" REAL, "anomalies" INTEGER, "sensor_version" INTEGER,
    "late" BOOLEAN
)
DISTSTYLE KEY DISTKEY ("sensor_id");

-- 16.
-- The files of a manifest. It lies in the bucket and never changes.
COPY "stg_readings"
FROM 's3://lake/warehouse/f5732221d75151aecb06c11b/readings.manifest'
IAM_ROLE DEFAULT
FORMAT AS PARQUET MANIFEST;

-- 17.
-- A reading carries the version of its sensor that holds at its event time, and not that of its arrival: the result must
-- not depend on what came first. What is older than every version belongs to the first.
INSERT INTO "mangrove"."sensor_readings" (
    "sensor_id", "event_time", "temperature", "humidity", "battery", "firmware", "site", "latitude", "longitude",
    "event_id", "device_sequence", "shard", "sequence", "sub_sequence", "arrival_time", "anomaly_score", "anomalies",
    "sensor_version", "late", "quality"
)
SELECT
    "s"."sensor_id", "s"."event_time", "s"."temperature", "s"."humidity", "s"."battery", "s"."firmware", "s"."site",
    "s"."latitude", "s"."longitude", "s"."event_id", "s"."device_sequence", "s"."shard", "s"."sequence",
    "s"."sub_sequence", "s"."arrival_time", "s"."anomaly_score", "s"."anomalies", NVL("v"."version", 0),
    "s"."late",
    CASE WHEN "s"."late" THEN 'late' WHEN "s"."anomalies" <> 0 THEN 'suspect' ELSE 'good' END
FROM "stg_readings" "s"
CROSS JOIN "load_guard" "g"
LEFT JOIN (
    SELECT "sensor_id", "version",
        CASE WHEN "ordinal" = 1 THEN TIMESTAMP '0001-01-01 00:00:00' ELSE "valid_from" END AS "since",
        NVL("valid_to", TIMESTAMP '9999-12-31 00:00:00') AS "until"
    FROM "mangrove"."dim_sensors"
    WHERE "sensor_id" IN (SELECT "sensor_id" FROM "stg_readings")
) "v"
ON "v"."sensor_id" = "s"."sensor_id"
AND "s"."event_time" >= "v"."since"
AND "s"."event_time" < "v"."until";

-- 18.
-- Spread as the tables that it is joined with: the rows of a sensor meet where they lie.
CREATE TEMP TABLE "stg_hourly" (
    "sensor_id" VARCHAR(128), "field" VARCHAR(64), "window_start" TIMESTAMP, "revision" INTEGER, "count" BIGINT,
    "sum" DOUBLE PRECISION, "min" DOUBLE PRECISION, "max" DOUBLE PRECISION, "mean" DOUBLE PRECISION,
    "stddev" DOUBLE PRECISION, "first" DOUBLE PRECISION, "last" DOUBLE PRECISION, "shard" VARCHAR(128),
    "epoch" BIGINT, "first_time" TIMESTAMP, "last_time" TIMESTAMP
)
DISTSTYLE KEY DISTKEY ("sensor_id");

-- 19.
-- The files of a manifest. It lies in the bucket and never changes.
COPY "stg_hourly"
FROM 's3://lake/warehouse/f5732221d75151aecb06c11b/hourly.manifest'
IAM_ROLE DEFAULT
FORMAT AS PARQUET MANIFEST;

-- 20.
-- The latest revision of what a shard has counted takes the place of an earlier one.
DELETE FROM "mangrove"."sensor_hourly_parts"
USING "stg_hourly" "s", "load_guard" "g"
WHERE "sensor_hourly_parts"."sensor_id" = "s"."sensor_id"
AND "sensor_hourly_parts"."field" = "s"."field"
AND "sensor_hourly_parts"."window_start" = "s"."window_start"
AND "sensor_hourly_parts"."shard" = "s"."shard"
AND (
    "sensor_hourly_parts"."revision" < "s"."revision"
    OR ("sensor_hourly_parts"."revision" = "s"."revision" AND "sensor_hourly_parts"."epoch" < "s"."epoch")
);

-- 21.
-- An older one than is there already is not taken.
INSERT INTO "mangrove"."sensor_hourly_parts" (
    "sensor_id", "field", "window_start", "revision", "count", "sum", "min", "max", "mean", "stddev", "first", "last", "shard",
    "epoch", "first_time", "last_time"
)
SELECT
    "t"."sensor_id", "t"."field", "t"."window_start", "t"."revision", "t"."count", "t"."sum", "t"."min", "t"."max",
    "t"."mean", "t"."stddev", "t"."first", "t"."last", "t"."shard", "t"."epoch", "t"."first_time", "t"."last_time"
FROM (
    SELECT
        "sensor_id", "field", "window_start", "revision", "count", "sum", "min", "max", "mean", "stddev", "first", "last", "shard",
        "epoch", "first_time", "last_time",
        ROW_NUMBER() OVER (
            PARTITION BY "sensor_id", "field", "window_start", "shard"
            ORDER BY "revision" DESC, "epoch" DESC
        ) AS "place"
    FROM "stg_hourly"
) "t"
CROSS JOIN "load_guard" "g"
LEFT JOIN "mangrove"."sensor_hourly_parts" "w"
ON "w"."sensor_id" = "t"."sensor_id"
AND "w"."field" = "t"."field"
AND "w"."window_start" = "t"."window_start"
AND "w"."shard" = "t"."shard"
WHERE "t"."place" = 1 AND "w"."sensor_id" IS NULL;

-- 22.
-- The windows that these parts belong to are added up anew.
DELETE FROM "mangrove"."sensor_hourly"
USING "stg_hourly" "s", "load_guard" "g"
WHERE "sensor_hourly"."sensor_id" = "s"."sensor_id"
AND "sensor_hourly"."field" = "s"."field"
AND "sensor_hourly"."window_start" = "s"."window_start";

-- 23.
-- All parts of these windows, added up. A window of one part is that part, bit by bit. Count, least and largest value are
-- those of all values; mean and deviation differ from theirs by rounding alone (Chan, Golub and LeVeque 1979).
-- 5.4e-20 and 1.8e19 are a power of two and its inverse: by it sums are kept within the range of doubles without rounding,
-- because a warehouse refuses the whole load for one number beyond it.
INSERT INTO "mangrove"."sensor_hourly" (
    "sensor_id", "field", "window_start", "revision", "count", "sum", "min", "max", "mean", "stddev", "first", "last", "shard",
    "epoch", "first_time", "last_time", "shards"
)
SELECT
    "p"."sensor_id" AS "sensor_id",
    "p"."field" AS "field",
    "p"."window_start" AS "window_start",
    CAST(SUM("p"."revision") AS INTEGER) AS "revision",
    CAST(SUM("p"."count") AS BIGINT) AS "count",
    -- A sum beyond the range of doubles stands at its end.
    CASE
        WHEN COUNT(*) = 1 THEN MAX("p"."sum")
        WHEN SUM("p"."sum" * 5.421010862427522e-20) >= 9.745314011399998e288 THEN 1.7976931348623157e308
        WHEN SUM("p"."sum" * 5.421010862427522e-20) <= -9.745314011399998e288 THEN -1.7976931348623157e308
        ELSE SUM("p"."sum" * 5.421010862427522e-20) * 1.8446744073709552e19
    END AS "sum",
    MIN("p"."min") AS "min",
    MAX("p"."max") AS "max",
    MAX("p"."whole_mean") AS "mean",
    -- The squared deviations within each part, and those of the parts' means from the mean of all. There is none if a
    -- part's deviations, or its distance from the mean of all, have squares beyond the range.
    CASE
        WHEN COUNT(*) = 1 THEN MAX("p"."stddev")
        WHEN SUM(
            CASE
                WHEN ("p"."count" > 1 AND "p"."stddev" IS NULL) OR "p"."stddev" >= 1e145
                    OR ABS("p"."mean" * 0.5 - "p"."whole_mean" * 0.5) >= 1e145 THEN 1
                ELSE 0
            END
        ) > 0 THEN NULL
        WHEN CAST(SUM("p"."count") AS DOUBLE PRECISION) > 1 THEN SQRT(
            SUM(
                CASE
                    WHEN ("p"."count" > 1 AND "p"."stddev" IS NULL) OR "p"."stddev" >= 1e145
                        OR ABS("p"."mean" * 0.5 - "p"."whole_mean" * 0.5) >= 1e145 THEN 0
                    ELSE NVL("p"."stddev" * "p"."stddev" * ("p"."count" - 1), 0)
                        + "p"."count" * ("p"."mean" - "p"."whole_mean") * ("p"."mean" - "p"."whole_mean")
                END
            ) / (CAST(SUM("p"."count") AS DOUBLE PRECISION) - 1)
        )
    END AS "stddev",
    MAX(CASE WHEN "p"."from_first" = 1 THEN "p"."first" END) AS "first",
    MAX(CASE WHEN "p"."from_last" = 1 THEN "p"."last" END) AS "last",
    MIN("p"."shard") AS "shard",
    MAX("p"."epoch") AS "epoch",
    MIN("p"."first_time") AS "first_time",
    MAX("p"."last_time") AS "last_time",
    COUNT(*) AS "shards"
FROM (
    SELECT "w".*,
        -- A window of one part keeps that one's very mean.
        CASE
            WHEN COUNT(*) OVER (PARTITION BY "w"."sensor_id", "w"."field", "w"."window_start") = 1 THEN "w"."mean"
            ELSE SUM("w"."count" * ("w"."mean" * 5.421010862427522e-20))
                OVER (PARTITION BY "w"."sensor_id", "w"."field", "w"."window_start")
                / CAST(SUM("w"."count") OVER (PARTITION BY "w"."sensor_id", "w"."field", "w"."window_start") AS DOUBLE PRECISION)
                * 1.8446744073709552e19
        END AS "whole_mean",
        -- Its place in the order of time. Parts that were written before they said when have no time of their own.
        ROW_NUMBER() OVER (
            PARTITION BY "w"."sensor_id", "w"."field", "w"."window_start"
            ORDER BY NVL("w"."first_time", "w"."window_start"), "w"."shard"
        ) AS "from_first",
        ROW_NUMBER() OVER (
            PARTITION BY "w"."sensor_id", "w"."field", "w"."window_start"
            ORDER BY NVL("w"."last_time", "w"."window_start") DESC, "w"."shard" DESC
        ) AS "from_last"
    FROM "mangrove"."sensor_hourly_parts" "w"
    JOIN (SELECT DISTINCT "sensor_id", "field", "window_start" FROM "stg_hourly") "s"
    ON "w"."sensor_id" = "s"."sensor_id"
    AND "w"."field" = "s"."field"
    AND "w"."window_start" = "s"."window_start"
) "p"
CROSS JOIN "load_guard" "g"
GROUP BY "p"."sensor_id", "p"."field", "p"."window_start";

-- 24.
-- Spread as the tables that it is joined with: the rows of a sensor meet where they lie.
CREATE TEMP TABLE "stg_daily" (
    "sensor_id" VARCHAR(128), "field" VARCHAR(64), "window_start" TIMESTAMP, "revision" INTEGER, "count" BIGINT,
    "sum" DOUBLE PRECISION, "min" DOUBLE PRECISION, "max" DOUBLE PRECISION, "mean" DOUBLE PRECISION,
    "stddev" DOUBLE PRECISION, "first" DOUBLE PRECISION, "last" DOUBLE PRECISION, "shard" VARCHAR(128),
    "epoch" BIGINT, "first_time" TIMESTAMP, "last_time" TIMESTAMP
)
DISTSTYLE KEY DISTKEY ("sensor_id");

-- 25.
-- The files of a manifest. It lies in the bucket and never changes.
COPY "stg_daily"
FROM 's3://lake/warehouse/f5732221d75151aecb06c11b/daily.manifest'
IAM_ROLE DEFAULT
FORMAT AS PARQUET MANIFEST;

-- 26.
-- The latest revision of what a shard has counted takes the place of an earlier one.
DELETE FROM "mangrove"."sensor_daily_parts"
USING "stg_daily" "s", "load_guard" "g"
WHERE "sensor_daily_parts"."sensor_id" = "s"."sensor_id"
AND "sensor_daily_parts"."field" = "s"."field"
AND "sensor_daily_parts"."window_start" = "s"."window_start"
AND "sensor_daily_parts"."shard" = "s"."shard"
AND (
    "sensor_daily_parts"."revision" < "s"."revision"
    OR ("sensor_daily_parts"."revision" = "s"."revision" AND "sensor_daily_parts"."epoch" < "s"."epoch")
);

-- 27.
-- An older one than is there already is not taken.
INSERT INTO "mangrove"."sensor_daily_parts" (
    "sensor_id", "field", "window_start", "revision", "count", "sum", "min", "max", "mean", "stddev", "first", "last", "shard",
    "epoch", "first_time", "last_time"
)
SELECT
    "t"."sensor_id", "t"."field", "t"."window_start", "t"."revision", "t"."count", "t"."sum", "t"."min", "t"."max",
    "t"."mean", "t"."stddev", "t"."first", "t"."last", "t"."shard", "t"."epoch", "t"."first_time", "t"."last_time"
FROM (
    SELECT
        "sensor_id", "field", "window_start", "revision", "count", "sum", "min", "max", "mean", "stddev", "first", "last", "shard",
        "epoch", "first_time", "last_time",
        ROW_NUMBER() OVER (
            PARTITION BY "sensor_id", "field", "window_start", "shard"
            ORDER BY "revision" DESC, "epoch" DESC
        ) AS "place"
    FROM "stg_daily"
) "t"
CROSS JOIN "load_guard" "g"
LEFT JOIN "mangrove"."sensor_daily_parts" "w"
ON "w"."sensor_id" = "t"."sensor_id"
AND "w"."field" = "t"."field"
AND "w"."window_start" = "t"."window_start"
AND "w"."shard" = "t"."shard"
WHERE "t"."place" = 1 AND "w"."sensor_id" IS NULL;

-- 28.
-- The windows that these parts belong to are added up anew.
DELETE FROM "mangrove"."sensor_daily"
USING "stg_daily" "s", "load_guard" "g"
WHERE "sensor_daily"."sensor_id" = "s"."sensor_id"
AND "sensor_daily"."field" = "s"."field"
AND "sensor_daily"."window_start" = "s"."window_start";

-- 29.
-- All parts of these windows, added up. A window of one part is that part, bit by bit. Count, least and largest value are
-- those of all values; mean and deviation differ from theirs by rounding alone (Chan, Golub and LeVeque 1979).
-- 5.4e-20 and 1.8e19 are a power of two and its inverse: by it sums are kept within the range of doubles without rounding,
-- because a warehouse refuses the whole load for one number beyond it.
INSERT INTO "mangrove"."sensor_daily" (
    "sensor_id", "field", "window_start", "revision", "count", "sum", "min", "max", "mean", "stddev", "first", "last", "shard",
    "epoch", "first_time", "last_time", "shards"
)
SELECT
    "p"."sensor_id" AS "sensor_id",
    "p"."field" AS "field",
    "p"."window_start" AS "window_start",
    CAST(SUM("p"."revision") AS INTEGER) AS "revision",
    CAST(SUM("p"."count") AS BIGINT) AS "count",
    -- A sum beyond the range of doubles stands at its end.
    CASE
        WHEN COUNT(*) = 1 THEN MAX("p"."sum")
        WHEN SUM("p"."sum" * 5.421010862427522e-20) >= 9.745314011399998e288 THEN 1.7976931348623157e308
        WHEN SUM("p"."sum" * 5.421010862427522e-20) <= -9.745314011399998e288 THEN -1.7976931348623157e308
        ELSE SUM("p"."sum" * 5.421010862427522e-20) * 1.8446744073709552e19
    END AS "sum",
    MIN("p"."min") AS "min",
    MAX("p"."max") AS "max",
    MAX("p"."whole_mean") AS "mean",
    -- The squared deviations within each part, and those of the parts' means from the mean of all. There is none if a
    -- part's deviations, or its distance from the mean of all, have squares beyond the range.
    CASE
        WHEN COUNT(*) = 1 THEN MAX("p"."stddev")
        WHEN SUM(
            CASE
                WHEN ("p"."count" > 1 AND "p"."stddev" IS NULL) OR "p"."stddev" >= 1e145
                    OR ABS("p"."mean" * 0.5 - "p"."whole_mean" * 0.5) >= 1e145 THEN 1
                ELSE 0
            END
        ) > 0 THEN NULL
        WHEN CAST(SUM("p"."count") AS DOUBLE PRECISION) > 1 THEN SQRT(
            SUM(
                CASE
                    WHEN ("p"."count" > 1 AND "p"."stddev" IS NULL) OR "p"."stddev" >= 1e145
                        OR ABS("p"."mean" * 0.5 - "p"."whole_mean" * 0.5) >= 1e145 THEN 0
                    ELSE NVL("p"."stddev" * "p"."stddev" * ("p"."count" - 1), 0)
                        + "p"."count" * ("p"."mean" - "p"."whole_mean") * ("p"."mean" - "p"."whole_mean")
                END
            ) / (CAST(SUM("p"."count") AS DOUBLE PRECISION) - 1)
        )
    END AS "stddev",
    MAX(CASE WHEN "p"."from_first" = 1 THEN "p"."first" END) AS "first",
    MAX(CASE WHEN "p"."from_last" = 1 THEN "p"."last" END) AS "last",
    MIN("p"."shard") AS "shard",
    MAX("p"."epoch") AS "epoch",
    MIN("p"."first_time") AS "first_time",
    MAX("p"."last_time") AS "last_time",
    COUNT(*) AS "shards"
FROM (
    SELECT "w".*,
        -- A window of one part keeps that one's very mean.
        CASE
            WHEN COUNT(*) OVER (PARTITION BY "w"."sensor_id", "w"."field", "w"."window_start") = 1 THEN "w"."mean"
            ELSE SUM("w"."count" * ("w"."mean" * 5.421010862427522e-20))
                OVER (PARTITION BY "w"."sensor_id", "w"."field", "w"."window_start")
                / CAST(SUM("w"."count") OVER (PARTITION BY "w"."sensor_id", "w"."field", "w"."window_start") AS DOUBLE PRECISION)
                * 1.8446744073709552e19
        END AS "whole_mean",
        -- Its place in the order of time. Parts that were written before they said when have no time of their own.
        ROW_NUMBER() OVER (
            PARTITION BY "w"."sensor_id", "w"."field", "w"."window_start"
            ORDER BY NVL("w"."first_time", "w"."window_start"), "w"."shard"
        ) AS "from_first",
        ROW_NUMBER() OVER (
            PARTITION BY "w"."sensor_id", "w"."field", "w"."window_start"
            ORDER BY NVL("w"."last_time", "w"."window_start") DESC, "w"."shard" DESC
        ) AS "from_last"
    FROM "mangrove"."sensor_daily_parts" "w"
    JOIN (SELECT DISTINCT "sensor_id", "field", "window_start" FROM "stg_daily") "s"
    ON "w"."sensor_id" = "s"."sensor_id"
    AND "w"."field" = "s"."field"
    AND "w"."window_start" = "s"."window_start"
) "p"
CROSS JOIN "load_guard" "g"
GROUP BY "p"."sensor_id", "p"."field", "p"."window_start";

-- 30.
-- Spread as the tables that it is joined with: the rows of a sensor meet where they lie.
CREATE TEMP TABLE "stg_alerts" (
    "id" VARCHAR(64), "kind" VARCHAR(16), "severity" VARCHAR(16), "sensor_id" VARCHAR(1024), "field" VARCHAR(64),
    "value" DOUBLE PRECISION, "message" VARCHAR(1024), "event_time_us" BIGINT, "arrival_ms" BIGINT,
    "shard" VARCHAR(128), "sequence" VARCHAR(129)
)
DISTSTYLE KEY DISTKEY ("sensor_id");

-- 31.
-- The files of a manifest. It lies in the bucket and never changes.
COPY "stg_alerts"
FROM 's3://lake/warehouse/f5732221d75151aecb06c11b/alerts.manifest'
IAM_ROLE DEFAULT
FORMAT AS JSON 'auto' GZIP MANIFEST;

-- 32.
-- Every alert. The files name times by their units.
INSERT INTO "mangrove"."alerts" (
    "id", "kind", "severity", "sensor_id", "field", "value", "message", "event_time", "arrival_time", "shard", "sequence"
)
SELECT
    "s"."id", "s"."kind", "s"."severity", "s"."sensor_id", "s"."field", "s"."value", "s"."message",
    DATEADD(
            microsecond, CAST("s"."event_time_us" % 1000000 AS INTEGER),
            DATEADD(
                second, CAST("s"."event_time_us" / 1000000 % 86400 AS INTEGER),
                DATEADD(day, CAST("s"."event_time_us" / 86400000000 AS INTEGER), TIMESTAMP '1970-01-01 00:00:00')
            )
        ),
    DATEADD(
            millisecond, CAST("s"."arrival_ms" % 86400000 AS INTEGER),
            DATEADD(day, CAST("s"."arrival_ms" / 86400000 AS INTEGER), TIMESTAMP '1970-01-01 00:00:00')
        ),
    "s"."shard", "s"."sequence"
FROM "stg_alerts" "s", "load_guard" "g";

-- 33.
-- The epochs of this load, and what is in them.
CREATE TEMP TABLE "load_epochs" (
    "shard" VARCHAR(128), "epoch" BIGINT, "to_position" VARCHAR(129), "readings" BIGINT, "content" VARCHAR(64)
);

-- 34.
-- One row for each.
INSERT INTO "load_epochs" VALUES
    ('shardId-000000000000', 7, '700', 10, 'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc'),
    ('shardId-000000000000', 8, '800', 10, 'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc'),
    ('shardId-000000000001', 3, '300', 10, 'cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc');

-- 35.
-- The epochs in the ledger, in the same transaction as what they stand for, with the metadata that was in force.
INSERT INTO "mangrove"."load_ledger" (
    "stream", "shard", "epoch", "to_position", "batch", "state", "readings", "loaded_at", "metadata", "content"
)
SELECT 'climate', "e"."shard", "e"."epoch", "e"."to_position", 'f5732221d75151aecb06c11b', 'loaded', "e"."readings", GETDATE(),
    (
        SELECT MAX("digest") FROM "mangrove"."metadata_versions"
        WHERE "number" = (SELECT MAX("number") FROM "mangrove"."metadata_versions")
    ),
    "e"."content"
FROM "load_epochs" "e", "load_guard" "g";

-- 36.
-- Answers whether this was new: 1 if it was, 0 if it had been done before and nothing has changed.
SELECT COUNT(*) AS "fresh" FROM "load_guard";

-- 37.
-- Answers how old the readings were when they were loaded, in cells of 2 %: however many there are, the answer is short.
-- Clocks differ: what seems to come from the future has no age.
SELECT "a"."cell", COUNT(*) AS "readings"
FROM (
    SELECT CAST(FLOOR(
        50.0 * LN(CAST(GREATEST(1, DATEDIFF(millisecond, "s"."arrival_time", TIMESTAMP '2026-01-01 00:00:00.000')) AS DOUBLE PRECISION))
    ) AS INTEGER) AS "cell"
    FROM "stg_readings" "s", "load_guard" "g"
) "a"
GROUP BY "a"."cell";


---------- A content of the metadata ----------

-- 1.
-- Transactions of the loader run one after the other, and each sees what the one before has done: the snapshot of a
-- transaction begins with its first read, not with the lock.
LOCK "mangrove"."load_ledger";

-- 2.
-- One row if the content is new, none if it, or a newer one, is in force. Every write is joined with it.
CREATE TEMP TABLE "load_guard" AS
SELECT "x"."ok"
FROM (SELECT 1 AS "ok") "x"
WHERE NOT EXISTS (SELECT 1 FROM "mangrove"."metadata_versions" WHERE "number" >= 1);

-- 3.
-- Spread as the tables that it is joined with: the rows of a sensor meet where they lie.
CREATE TEMP TABLE "stg_sensor_metadata" (
    "sensor_id" VARCHAR(1024), "version" INTEGER, "valid_from_us" BIGINT, "firmware" VARCHAR(256),
    "site" VARCHAR(256), "latitude" DOUBLE PRECISION, "longitude" DOUBLE PRECISION, "changed" VARCHAR(39),
    "owner" VARCHAR(100)
)
DISTSTYLE KEY DISTKEY ("sensor_id");

-- 4.
-- The files of a manifest. It lies in the bucket and never changes.
COPY "stg_sensor_metadata"
FROM 's3://lake/metadata/95be58159a353d2ebf13a7b436fe636d93ff568c392a420d6df16932811c904e/sensors.manifest'
IAM_ROLE DEFAULT
FORMAT AS JSON 'auto' MANIFEST;

-- 5.
-- The rows about sensors as the table has them.
CREATE TEMP TABLE "load_metadata" AS
SELECT
    "sensor_id", "version",
    NVL(DATEADD(
            microsecond, CAST("valid_from_us" % 1000000 AS INTEGER),
            DATEADD(
                second, CAST("valid_from_us" / 1000000 % 86400 AS INTEGER),
                DATEADD(day, CAST("valid_from_us" / 86400000000 AS INTEGER), TIMESTAMP '1970-01-01 00:00:00')
            )
        ), TIMESTAMP '0001-01-01 00:00:00') AS "valid_from",
    "firmware", "site", "latitude", "longitude", "changed", "owner"
FROM "stg_sensor_metadata";

-- 6.
-- The sensors of which it says anything else than the content before.
CREATE TEMP TABLE "load_sensors" AS
SELECT "sensor_id" FROM (
    SELECT "sensor_id", "version", "valid_from", "firmware", "site", "latitude", "longitude", "changed", "owner" FROM "load_metadata"
    EXCEPT
    SELECT "sensor_id", "version", "valid_from", "firmware", "site", "latitude", "longitude", "changed", "owner" FROM "mangrove"."sensor_metadata"
) "x"
UNION
SELECT "sensor_id" FROM (
    SELECT "sensor_id", "version", "valid_from", "firmware", "site", "latitude", "longitude", "changed", "owner" FROM "mangrove"."sensor_metadata"
    EXCEPT
    SELECT "sensor_id", "version", "valid_from", "firmware", "site", "latitude", "longitude", "changed", "owner" FROM "load_metadata"
) "x";

-- 7.
-- What it says of them takes the place of what was said before.
DELETE FROM "mangrove"."sensor_metadata"
USING "load_sensors" "t", "load_guard" "g"
WHERE "sensor_metadata"."sensor_id" = "t"."sensor_id";

-- 8.
-- What it says of them.
INSERT INTO "mangrove"."sensor_metadata" (
    "sensor_id", "version", "valid_from", "firmware", "site", "latitude", "longitude", "changed", "owner"
)
SELECT
    "s"."sensor_id", "s"."version", "s"."valid_from", "s"."firmware", "s"."site", "s"."latitude", "s"."longitude",
    "s"."changed", "s"."owner"
FROM "load_metadata" "s"
JOIN "load_sensors" "t" ON "t"."sensor_id" = "s"."sensor_id"
CROSS JOIN "load_guard" "g";

-- 9.
-- What was said of the sensors that this concerns, in order. Of a sensor that several shards have counted versions of,
-- each for itself, the versions as one would have counted them: what a shard says that another has said already is no
-- version, what it says only because it has not heard the last of it is not said, and numbers follow the order. Such a
-- sensor has several versions of one number ("same_number"). Versions of all other sensors are as they came.
CREATE TEMP TABLE "load_reported" AS
SELECT
    "sensor_id",
    CASE
        WHEN "same_number" > 1 AND "source" = 'event'
        THEN CAST(ROW_NUMBER() OVER (PARTITION BY "sensor_id", "source" ORDER BY "place") AS INTEGER)
        ELSE "version"
    END AS "version",
    "valid_from", "firmware", "site", "latitude", "longitude",
    CASE
        WHEN "same_number" > 1 AND "source" = 'event' THEN SUBSTRING(
            CASE WHEN NVL("was_0", '') = NVL("now_0", '') AND NVL2("was_0", 1, 0) = NVL2("now_0", 1, 0) THEN '' ELSE ',firmware' END
            || CASE WHEN NVL("was_1", '') = NVL("now_1", '') AND NVL2("was_1", 1, 0) = NVL2("now_1", 1, 0) THEN '' ELSE ',site' END
            || CASE WHEN NVL("was_2", 0) = NVL("now_2", 0) AND NVL2("was_2", 1, 0) = NVL2("now_2", 1, 0) THEN '' ELSE ',latitude' END
            || CASE WHEN NVL("was_3", 0) = NVL("now_3", 0) AND NVL2("was_3", 1, 0) = NVL2("now_3", 1, 0) THEN '' ELSE ',longitude' END, 2, 65535
        )
        ELSE "changed"
    END AS "changed",
    "shard", "sequence", "sub_sequence", "arrival_time", "source", "owner", "same_number",
    ROW_NUMBER() OVER (PARTITION BY "sensor_id" ORDER BY "place") AS "ordinal"
FROM (
    -- with what was known before of each attribute
    SELECT "h".*
        , LAG("now_0") OVER (PARTITION BY "sensor_id", "source" ORDER BY "place") AS "was_0"
        , LAG("now_1") OVER (PARTITION BY "sensor_id", "source" ORDER BY "place") AS "was_1"
        , LAG("now_2") OVER (PARTITION BY "sensor_id", "source" ORDER BY "place") AS "was_2"
        , LAG("now_3") OVER (PARTITION BY "sensor_id", "source" ORDER BY "place") AS "was_3",
        LAG("place") OVER (PARTITION BY "sensor_id", "source" ORDER BY "place") AS "before"
    FROM (
        -- with what is known from then on of each attribute
        SELECT "t".*
            , LAST_VALUE("firmware") IGNORE NULLS OVER (
                PARTITION BY "sensor_id", "source" ORDER BY "place" ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "now_0"
            , LAST_VALUE("site") IGNORE NULLS OVER (
                PARTITION BY "sensor_id", "source" ORDER BY "place" ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "now_1"
            , LAST_VALUE("latitude") IGNORE NULLS OVER (
                PARTITION BY "sensor_id", "source" ORDER BY "place" ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "now_2"
            , LAST_VALUE("longitude") IGNORE NULLS OVER (
                PARTITION BY "sensor_id", "source" ORDER BY "place" ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
            ) AS "now_3"
        FROM (
            -- with what each version says anew, and nothing else
            SELECT
                CASE
                    WHEN "same_number" > 1 AND "source" = 'event' AND STRPOS(',' || "e"."changed" || ',', ',firmware,') = 0 THEN NULL
                    ELSE "e"."firmware"
                END AS "firmware",
                CASE
                    WHEN "same_number" > 1 AND "source" = 'event' AND STRPOS(',' || "e"."changed" || ',', ',site,') = 0 THEN NULL
                    ELSE "e"."site"
                END AS "site",
                CASE
                    WHEN "same_number" > 1 AND "source" = 'event' AND STRPOS(',' || "e"."changed" || ',', ',latitude,') = 0 THEN NULL
                    ELSE "e"."latitude"
                END AS "latitude",
                CASE
                    WHEN "same_number" > 1 AND "source" = 'event' AND STRPOS(',' || "e"."changed" || ',', ',longitude,') = 0 THEN NULL
                    ELSE "e"."longitude"
                END AS "longitude",
                "e"."sensor_id", "e"."version", "e"."valid_from", "e"."changed", "e"."shard", "e"."sequence", "e"."sub_sequence",
                "e"."arrival_time", "e"."source", "e"."owner", "e"."place", "e"."same_number"
            FROM (
                SELECT "d".*, MAX("namesakes") OVER (PARTITION BY "sensor_id") AS "same_number"
                FROM (
                    SELECT "c".*,
                        COUNT(*) OVER (PARTITION BY "sensor_id", "source", "version") AS "namesakes",
                        ROW_NUMBER() OVER (
                            PARTITION BY "sensor_id"
                            ORDER BY "valid_from", CASE WHEN "source" = 'metadata' THEN 0 ELSE 1 END, "version", "arrival_time", "shard",
                                LEN("sequence"), "sequence", "sub_sequence"
                        ) AS "place"
                    FROM (
                        SELECT
                            "sensor_id" AS "sensor_id", "version" AS "version", "valid_from" AS "valid_from", "firmware" AS "firmware",
                            "site" AS "site", "latitude" AS "latitude", "longitude" AS "longitude", "changed" AS "changed",
                            "shard" AS "shard", "sequence" AS "sequence", "sub_sequence" AS "sub_sequence",
                            "arrival_time" AS "arrival_time", CAST('event' AS VARCHAR(8)) AS "source",
                            CAST(NULL AS VARCHAR(100)) AS "owner"
                        FROM "mangrove"."sensor_versions"
                        WHERE "sensor_id" IN (SELECT "sensor_id" FROM "load_sensors")
                        UNION ALL
                        SELECT
                            "sensor_id" AS "sensor_id", "version" AS "version", "valid_from" AS "valid_from", "firmware" AS "firmware",
                            "site" AS "site", "latitude" AS "latitude", "longitude" AS "longitude", "changed" AS "changed",
                            'metadata' AS "shard", CAST(ABS("version") AS VARCHAR(129)) AS "sequence", 0 AS "sub_sequence",
                            "valid_from" AS "arrival_time", CAST('metadata' AS VARCHAR(8)) AS "source", "owner" AS "owner"
                        FROM "mangrove"."sensor_metadata"
                        WHERE "sensor_id" IN (SELECT "sensor_id" FROM "load_sensors")
                    ) "c"
                ) "d"
            ) "e"
        ) "t"
    ) "h"
) "k"
WHERE NOT ("same_number" > 1 AND "source" = 'event') OR "before" IS NULL
    OR NOT (NVL("was_0", '') = NVL("now_0", '') AND NVL2("was_0", 1, 0) = NVL2("now_0", 1, 0))
    OR NOT (NVL("was_1", '') = NVL("now_1", '') AND NVL2("was_1", 1, 0) = NVL2("now_1", 1, 0))
    OR NOT (NVL("was_2", 0) = NVL("now_2", 0) AND NVL2("was_2", 1, 0) = NVL2("now_2", 1, 0))
    OR NOT (NVL("was_3", 0) = NVL("now_3", 0) AND NVL2("was_3", 1, 0) = NVL2("now_3", 1, 0));

-- 10.
-- The intervals of these sensors, made anew from all their versions. What events say of an attribute holds from then on;
-- before, and for what they never say, metadata holds. A version that leaves an attribute out says nothing about it: of a
-- version of events counts what it says anew, the rest is what was in force when it came.
CREATE TEMP TABLE "load_intervals" AS
SELECT
    "sensor_id" AS "sensor_id", "version" AS "version", "valid_from" AS "valid_from",
    LEAD("valid_from") OVER (PARTITION BY "sensor_id" ORDER BY "ordinal") AS "valid_to",
    LEAD("valid_from") OVER (PARTITION BY "sensor_id" ORDER BY "ordinal") IS NULL AS "is_current",
    NVL(
        LAST_VALUE(CASE WHEN STRPOS("anew", ',firmware,') > 0 THEN "firmware" END) IGNORE NULLS
            OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING),
        LAST_VALUE(CASE WHEN "source" = 'metadata' THEN "firmware" END) IGNORE NULLS
            OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING)
    ) AS "firmware",
    NVL(
        LAST_VALUE(CASE WHEN STRPOS("anew", ',site,') > 0 THEN "site" END) IGNORE NULLS
            OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING),
        LAST_VALUE(CASE WHEN "source" = 'metadata' THEN "site" END) IGNORE NULLS
            OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING)
    ) AS "site",
    NVL(
        LAST_VALUE(CASE WHEN STRPOS("anew", ',latitude,') > 0 THEN "latitude" END) IGNORE NULLS
            OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING),
        LAST_VALUE(CASE WHEN "source" = 'metadata' THEN "latitude" END) IGNORE NULLS
            OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING)
    ) AS "latitude",
    NVL(
        LAST_VALUE(CASE WHEN STRPOS("anew", ',longitude,') > 0 THEN "longitude" END) IGNORE NULLS
            OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING),
        LAST_VALUE(CASE WHEN "source" = 'metadata' THEN "longitude" END) IGNORE NULLS
            OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING)
    ) AS "longitude",
    "changed" AS "changed", "shard" AS "shard", "sequence" AS "sequence", "sub_sequence" AS "sub_sequence",
    "arrival_time" AS "arrival_time", "ordinal" AS "ordinal", "source" AS "source",
    LAST_VALUE("owner") IGNORE NULLS OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING) AS "owner", "same_number"
FROM (
    SELECT *, CASE WHEN "source" = 'event' THEN ',' || "changed" || ',' ELSE '' END AS "anew" FROM "load_reported"
) "a";

-- 11.
-- The new intervals take the place of the old ones. An update in place would have to know which value came from whom.
DELETE FROM "mangrove"."dim_sensors"
USING "load_sensors" "t", "load_guard" "g"
WHERE "dim_sensors"."sensor_id" = "t"."sensor_id";

-- 12.
-- The new intervals.
INSERT INTO "mangrove"."dim_sensors" (
    "sensor_id", "version", "valid_from", "valid_to", "is_current", "firmware", "site", "latitude", "longitude", "changed",
    "shard", "sequence", "sub_sequence", "arrival_time", "ordinal", "source", "owner"
)
SELECT
    "i"."sensor_id", "i"."version", "i"."valid_from", "i"."valid_to", "i"."is_current", "i"."firmware", "i"."site",
    "i"."latitude", "i"."longitude", "i"."changed", "i"."shard", "i"."sequence", "i"."sub_sequence",
    "i"."arrival_time", "i"."ordinal", "i"."source", "i"."owner"
FROM "load_intervals" "i", "load_guard" "g";

-- 13.
-- Gives the readings that are stored already the versions that hold now: in all intervals of these sensors, also where
-- nothing holds any more.
UPDATE "mangrove"."sensor_readings"
SET "sensor_version" = "n"."version"
FROM (
    SELECT "t"."sensor_id", NVL("i"."version", 0) AS "version",
        NVL(
            CASE WHEN "i"."ordinal" = 1 THEN TIMESTAMP '0001-01-01 00:00:00' ELSE "i"."valid_from" END,
            TIMESTAMP '0001-01-01 00:00:00'
        ) AS "since",
        NVL("i"."valid_to", TIMESTAMP '9999-12-31 00:00:00') AS "until"
    FROM "load_sensors" "t"
    LEFT JOIN "load_intervals" "i"
    ON "i"."sensor_id" = "t"."sensor_id"
) "n", "load_guard" "g"
WHERE "sensor_readings"."sensor_id" = "n"."sensor_id"
AND "sensor_readings"."event_time" >= "n"."since"
AND "sensor_readings"."event_time" < "n"."until"
AND "sensor_readings"."sensor_version" <> "n"."version";

-- 14.
-- A temporary table with exactly the columns of the files: COPY takes columns by place.
CREATE TEMP TABLE "stg_location_metadata" (
    "site" VARCHAR(1024), "region" VARCHAR(100)
);

-- 15.
-- The files of a manifest. It lies in the bucket and never changes.
COPY "stg_location_metadata"
FROM 's3://lake/metadata/95be58159a353d2ebf13a7b436fe636d93ff568c392a420d6df16932811c904e/locations.manifest'
IAM_ROLE DEFAULT
FORMAT AS JSON 'auto' MANIFEST;

-- 16.
-- All rows give way to the staged ones.
DELETE FROM "mangrove"."location_metadata" WHERE (SELECT COUNT(*) FROM "load_guard") = 1;

-- 17.
-- The staged rows.
INSERT INTO "mangrove"."location_metadata" (
    "site", "region"
)
SELECT
    "s"."site", "s"."region"
FROM "stg_location_metadata" "s", "load_guard" "g";

-- 18.
-- The places that versions name.
CREATE TEMP TABLE "load_places" AS
SELECT "d"."site", "d"."latitude", "d"."longitude", MIN("d"."valid_from") AS "first_seen"
    , ANY_VALUE("m"."region") AS "region"
FROM "mangrove"."dim_sensors" "d"
LEFT JOIN "mangrove"."location_metadata" "m" ON "m"."site" = "d"."site"
WHERE "d"."site" IS NOT NULL OR "d"."latitude" IS NOT NULL OR "d"."longitude" IS NOT NULL
GROUP BY "d"."site", "d"."latitude", "d"."longitude";

-- 19.
-- Places that nothing names any more, or that are described otherwise. A table of its own, because DELETE takes tables
-- alone.
CREATE TEMP TABLE "load_gone" AS
SELECT "l"."site", "l"."latitude", "l"."longitude", "l"."first_seen", "l"."region"
FROM "mangrove"."dim_locations" "l"
LEFT JOIN "load_places" "p"
ON NVL("l"."site", '') = NVL("p"."site", '') AND NVL2("l"."site", 1, 0) = NVL2("p"."site", 1, 0)
AND NVL("l"."latitude", 0) = NVL("p"."latitude", 0) AND NVL2("l"."latitude", 1, 0) = NVL2("p"."latitude", 1, 0)
AND NVL("l"."longitude", 0) = NVL("p"."longitude", 0) AND NVL2("l"."longitude", 1, 0) = NVL2("p"."longitude", 1, 0)
AND NVL("l"."first_seen", TIMESTAMP '0001-01-01 00:00:00') = NVL("p"."first_seen", TIMESTAMP '0001-01-01 00:00:00') AND NVL2("l"."first_seen", 1, 0) = NVL2("p"."first_seen", 1, 0)
AND NVL("l"."region", '') = NVL("p"."region", '') AND NVL2("l"."region", 1, 0) = NVL2("p"."region", 1, 0)
WHERE "p"."first_seen" IS NULL;

-- 20.
-- They are taken away.
DELETE FROM "mangrove"."dim_locations"
USING "load_gone" "o", "load_guard" "g"
WHERE NVL("dim_locations"."site", '') = NVL("o"."site", '') AND NVL2("dim_locations"."site", 1, 0) = NVL2("o"."site", 1, 0)
AND NVL("dim_locations"."latitude", 0) = NVL("o"."latitude", 0) AND NVL2("dim_locations"."latitude", 1, 0) = NVL2("o"."latitude", 1, 0)
AND NVL("dim_locations"."longitude", 0) = NVL("o"."longitude", 0) AND NVL2("dim_locations"."longitude", 1, 0) = NVL2("o"."longitude", 1, 0)
AND NVL("dim_locations"."first_seen", TIMESTAMP '0001-01-01 00:00:00') = NVL("o"."first_seen", TIMESTAMP '0001-01-01 00:00:00') AND NVL2("dim_locations"."first_seen", 1, 0) = NVL2("o"."first_seen", 1, 0)
AND NVL("dim_locations"."region", '') = NVL("o"."region", '') AND NVL2("dim_locations"."region", 1, 0) = NVL2("o"."region", 1, 0);

-- 21.
-- Places that were not there as they are now.
INSERT INTO "mangrove"."dim_locations" (
    "site", "latitude", "longitude", "first_seen", "region"
)
SELECT "p"."site", "p"."latitude", "p"."longitude", "p"."first_seen", "p"."region"
FROM "load_places" "p"
CROSS JOIN "load_guard" "g"
LEFT JOIN "mangrove"."dim_locations" "l"
ON NVL("l"."site", '') = NVL("p"."site", '') AND NVL2("l"."site", 1, 0) = NVL2("p"."site", 1, 0)
AND NVL("l"."latitude", 0) = NVL("p"."latitude", 0) AND NVL2("l"."latitude", 1, 0) = NVL2("p"."latitude", 1, 0)
AND NVL("l"."longitude", 0) = NVL("p"."longitude", 0) AND NVL2("l"."longitude", 1, 0) = NVL2("p"."longitude", 1, 0)
AND NVL("l"."first_seen", TIMESTAMP '0001-01-01 00:00:00') = NVL("p"."first_seen", TIMESTAMP '0001-01-01 00:00:00') AND NVL2("l"."first_seen", 1, 0) = NVL2("p"."first_seen", 1, 0)
AND NVL("l"."region", '') = NVL("p"."region", '') AND NVL2("l"."region", 1, 0) = NVL2("p"."region", 1, 0)
WHERE "l"."first_seen" IS NULL;

-- 22.
-- A temporary table with exactly the columns of the files: COPY takes columns by place.
CREATE TEMP TABLE "stg_metadata_refused" (
    "object" VARCHAR(1024), "line" BIGINT, "reason" VARCHAR(800)
);

-- 23.
-- All rows give way to the staged ones.
DELETE FROM "mangrove"."metadata_refused" WHERE (SELECT COUNT(*) FROM "load_guard") = 1;

-- 24.
-- The staged rows.
INSERT INTO "mangrove"."metadata_refused" (
    "object", "line", "reason"
)
SELECT
    "s"."object", "s"."line", "s"."reason"
FROM "stg_metadata_refused" "s", "load_guard" "g";

-- 25.
-- From here on it is in force.
INSERT INTO "mangrove"."metadata_versions" (
    "number", "digest", "stream", "sensors", "locations", "refused", "applied_at"
)
SELECT 1, '95be58159a353d2ebf13a7b436fe636d93ff568c392a420d6df16932811c904e', 'climate', 1, 1, 0, GETDATE()
FROM "load_guard";

-- 26.
-- Answers whether this was new: 1 if it was, 0 if it had been done before and nothing has changed.
SELECT COUNT(*) AS "fresh" FROM "load_guard";
