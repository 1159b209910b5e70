-- Windows over shards: what each has counted, and the sum of it: of hours or of days.

-- name: ForgetParts
-- The latest revision of what a shard has counted takes the place of an earlier one.
DELETE FROM {schema}.{parts}
USING {stage} "s", "load_guard" "g"
WHERE {parts}."sensor_id" = "s"."sensor_id"
AND {parts}."field" = "s"."field"
AND {parts}."window_start" = "s"."window_start"
AND {parts}."shard" = "s"."shard"
AND (
    {parts}."revision" < "s"."revision"
    OR ({parts}."revision" = "s"."revision" AND {parts}."epoch" < "s"."epoch")
)

-- name: Parts
-- An older one than is there already is not taken.
INSERT INTO {schema}.{parts} (
    {columns}
)
SELECT
    {values}
FROM (
    SELECT
        {columns},
        ROW_NUMBER() OVER (
            PARTITION BY "sensor_id", "field", "window_start", "shard"
            ORDER BY "revision" DESC, "epoch" DESC
        ) AS "place"
    FROM {stage}
) "t"
CROSS JOIN "load_guard" "g"
LEFT JOIN {schema}.{parts} "w"
ON "w"."sensor_id" = "t"."sensor_id"
AND "w"."field" = "t"."field"
AND "w"."window_start" = "t"."window_start"
AND "w"."shard" = "t"."shard"
WHERE "t"."place" = 1 AND "w"."sensor_id" IS NULL

-- name: ForgetWindows
-- The windows that these parts belong to are added up anew.
DELETE FROM {schema}.{windows}
USING {stage} "s", "load_guard" "g"
WHERE {windows}."sensor_id" = "s"."sensor_id"
AND {windows}."field" = "s"."field"
AND {windows}."window_start" = "s"."window_start"

-- name: Windows
-- All parts of these windows, added up. A window of one part is that part, bit by bit. Count, least and largest value are
-- those of all values; mean and deviation differ from theirs by rounding alone (Chan, Golub and LeVeque 1979).
-- 5.4e-20 and 1.8e19 are a power of two and its inverse: by it sums are kept within the range of doubles without rounding,
-- because a warehouse refuses the whole load for one number beyond it.
INSERT INTO {schema}.{windows} (
    {columns}
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
    FROM {schema}.{parts} "w"
    JOIN (SELECT DISTINCT "sensor_id", "field", "window_start" FROM {stage}) "s"
    ON "w"."sensor_id" = "s"."sensor_id"
    AND "w"."field" = "s"."field"
    AND "w"."window_start" = "s"."window_start"
) "p"
CROSS JOIN "load_guard" "g"
GROUP BY "p"."sensor_id", "p"."field", "p"."window_start"
