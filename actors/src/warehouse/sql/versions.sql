-- Versions of sensors: what was said of them, the intervals that follow, and which version a reading carries.
-- "load_reported" holds every version of the sensors concerned, in order; "load_intervals" what follows from it.

-- name: Say
-- Versions that events have told are taken over; those that are known already change nothing.
INSERT INTO {schema}."sensor_versions" (
    {columns}
)
SELECT
    {values}
FROM "stg_dimensions" "s"
CROSS JOIN "load_guard" "g"
LEFT JOIN {schema}."sensor_versions" "k"
ON "k"."sensor_id" = "s"."sensor_id"
AND "k"."shard" = "s"."shard"
AND "k"."sequence" = "s"."sequence"
AND "k"."sub_sequence" = "s"."sub_sequence"
AND "k"."version" = "s"."version"
WHERE "k"."shard" IS NULL

-- name: Every
-- Every version of the sensors concerned, with its place in the order of its sensor's: by the time from which they hold,
-- metadata before events, then as they came. Numbers grow with arrival.
SELECT "c".*,
    COUNT(*) OVER (PARTITION BY "sensor_id", "source", "version") AS "namesakes",
    ROW_NUMBER() OVER (
        PARTITION BY "sensor_id"
        ORDER BY "valid_from", CASE WHEN "source" = 'metadata' THEN 0 ELSE 1 END, "version", "arrival_time", "shard",
            LEN("sequence"), "sequence", "sub_sequence"
    ) AS "place"
FROM (
    SELECT
        {events}
    FROM {schema}."sensor_versions"
    WHERE "sensor_id" IN (SELECT "sensor_id" FROM {touched})
    UNION ALL
    SELECT
        {metadata}
    FROM {schema}."sensor_metadata"
    WHERE "sensor_id" IN (SELECT "sensor_id" FROM {touched})
) "c"

-- name: As
{value} AS {name}

-- name: Source
CAST({source} AS VARCHAR(8))

-- name: NumberAsSequence
CAST(ABS("version") AS VARCHAR(129))

-- name: NoValue
CAST(NULL AS {kind})

-- name: ReportedAsCounted
-- What was said of the sensors that this concerns. So many attributes that a longer statement would not be taken: versions
-- stand as each shard has counted them.
CREATE TEMP TABLE "load_reported" AS
SELECT {columns}, "namesakes" AS "same_number", "place" AS "ordinal"
FROM (
    {every}
) "d"

-- name: Reported
-- What was said of the sensors that this concerns, in order. Of a sensor that several shards have counted versions of,
-- each for itself, the versions as one would have counted them: what a shard says that another has said already is no
-- version, what it says only because it has not heard the last of it is not said, and numbers follow the order. Such a
-- sensor has several versions of one number ("same_number"). Versions of all other sensors are as they came.
CREATE TEMP TABLE "load_reported" AS
SELECT
    {kept}, "same_number",
    ROW_NUMBER() OVER (PARTITION BY "sensor_id" ORDER BY "place") AS "ordinal"
FROM (
    -- with what was known before of each attribute
    SELECT "h".*
        {known},
        LAG("place") OVER (PARTITION BY "sensor_id", "source" ORDER BY "place") AS "before"
    FROM (
        -- with what is known from then on of each attribute
        SELECT "t".*
            {heard}
        FROM (
            -- with what each version says anew, and nothing else
            SELECT
                {told}, "e"."place", "e"."same_number"
            FROM (
                SELECT "d".*, MAX("namesakes") OVER (PARTITION BY "sensor_id") AS "same_number"
                FROM (
                    {every}
                ) "d"
            ) "e"
        ) "t"
    ) "h"
) "k"
WHERE NOT ("same_number" > 1 AND "source" = 'event') OR "before" IS NULL
    {news}

-- name: Told
CASE
    WHEN "same_number" > 1 AND "source" = 'event' AND STRPOS(',' || "e"."changed" || ',', {mark}) = 0 THEN NULL
    ELSE "e".{name}
END AS {name}

-- name: Heard
, LAST_VALUE({name}) IGNORE NULLS OVER (
    PARTITION BY "sensor_id", "source" ORDER BY "place" ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
) AS {now}

-- name: KnownBefore
, LAG({now}) OVER (PARTITION BY "sensor_id", "source" ORDER BY "place") AS {was}

-- name: News
OR NOT ({same})

-- name: NameIfNew
CASE WHEN {same} THEN '' ELSE {text} END

-- name: NumberKept
CASE
    WHEN "same_number" > 1 AND "source" = 'event'
    THEN CAST(ROW_NUMBER() OVER (PARTITION BY "sensor_id", "source" ORDER BY "place") AS INTEGER)
    ELSE {name}
END AS {name}

-- name: ChangedKept
CASE
    WHEN "same_number" > 1 AND "source" = 'event' THEN SUBSTRING(
        {names}, 2, 65535
    )
    ELSE {name}
END AS {name}

-- name: Equal
-- Two values are equal, or both missing. Without OR: so it can be a key of a hash join.
NVL({left}, {none}) = NVL({right}, {none}) AND NVL2({left}, 1, 0) = NVL2({right}, 1, 0)

-- name: Beginning
TIMESTAMP '0001-01-01 00:00:00'

-- name: False
FALSE

-- name: Intervals
-- The intervals of these sensors, made anew from all their versions. What events say of an attribute holds from then on;
-- before, and for what they never say, metadata holds. A version that leaves an attribute out says nothing about it: of a
-- version of events counts what it says anew, the rest is what was in force when it came.
CREATE TEMP TABLE "load_intervals" AS
SELECT
    {values}, "same_number"
FROM (
    SELECT *, CASE WHEN "source" = 'event' THEN ',' || "changed" || ',' ELSE '' END AS "anew" FROM "load_reported"
) "a"

-- name: ValidTo
LEAD("valid_from") OVER (PARTITION BY "sensor_id" ORDER BY "ordinal")

-- name: IsCurrent
LEAD("valid_from") OVER (PARTITION BY "sensor_id" ORDER BY "ordinal") IS NULL

-- name: Attribute
NVL(
    LAST_VALUE(CASE WHEN STRPOS("anew", {mark}) > 0 THEN {name} END) IGNORE NULLS
        OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING),
    LAST_VALUE(CASE WHEN "source" = 'metadata' THEN {name} END) IGNORE NULLS
        OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING)
)

-- name: Declared
LAST_VALUE({name}) IGNORE NULLS OVER (PARTITION BY "sensor_id" ORDER BY "ordinal" ROWS UNBOUNDED PRECEDING)

-- name: ForgetSensors
-- The new intervals take the place of the old ones. An update in place would have to know which value came from whom.
DELETE FROM {schema}."dim_sensors"
USING {touched} "t", "load_guard" "g"
WHERE "dim_sensors"."sensor_id" = "t"."sensor_id"

-- name: Sensors
-- The new intervals.
INSERT INTO {schema}."dim_sensors" (
    {columns}
)
SELECT
    {values}
FROM "load_intervals" "i", "load_guard" "g"

-- name: ReassignNew
-- Gives the readings that are stored already the versions that hold now: in the intervals of the staged versions, because
-- only there another one held before; in all of a sensor that several shards count, because numbers of the others may have
-- moved. The last condition lets the warehouse skip the blocks of earlier readings.
UPDATE {schema}."sensor_readings"
SET "sensor_version" = "n"."version"
FROM (
    SELECT "i"."sensor_id", "i"."version",
        CASE WHEN "i"."ordinal" = 1 THEN TIMESTAMP '0001-01-01 00:00:00' ELSE "i"."valid_from" END AS "since",
        NVL("i"."valid_to", TIMESTAMP '9999-12-31 00:00:00') AS "until"
    FROM {fresh}
) "n", "load_guard" "g"
WHERE "sensor_readings"."sensor_id" = "n"."sensor_id"
AND "sensor_readings"."event_time" >= "n"."since"
AND "sensor_readings"."event_time" < "n"."until"
AND "sensor_readings"."sensor_version" <> "n"."version"
AND "sensor_readings"."event_time" >= (
    SELECT MIN(CASE WHEN "i"."ordinal" = 1 THEN TIMESTAMP '0001-01-01 00:00:00' ELSE "i"."valid_from" END)
    FROM {fresh}
)

-- name: FreshIntervals
"load_intervals" "i"
LEFT JOIN "stg_dimensions" "s"
ON "i"."sensor_id" = "s"."sensor_id"
AND "i"."shard" = "s"."shard"
AND "i"."sequence" = "s"."sequence"
AND "i"."sub_sequence" = "s"."sub_sequence"
AND "i"."version" = "s"."version"
WHERE ("s"."shard" IS NOT NULL OR "i"."same_number" > 1)

-- name: ReassignAll
-- Gives the readings that are stored already the versions that hold now: in all intervals of these sensors, also where
-- nothing holds any more.
UPDATE {schema}."sensor_readings"
SET "sensor_version" = "n"."version"
FROM (
    SELECT "t"."sensor_id", NVL("i"."version", 0) AS "version",
        NVL(
            CASE WHEN "i"."ordinal" = 1 THEN TIMESTAMP '0001-01-01 00:00:00' ELSE "i"."valid_from" END,
            TIMESTAMP '0001-01-01 00:00:00'
        ) AS "since",
        NVL("i"."valid_to", TIMESTAMP '9999-12-31 00:00:00') AS "until"
    FROM {touched} "t"
    LEFT JOIN "load_intervals" "i"
    ON "i"."sensor_id" = "t"."sensor_id"
) "n", "load_guard" "g"
WHERE "sensor_readings"."sensor_id" = "n"."sensor_id"
AND "sensor_readings"."event_time" >= "n"."since"
AND "sensor_readings"."event_time" < "n"."until"
AND "sensor_readings"."sensor_version" <> "n"."version"

-- name: Places
-- The places that versions name.
CREATE TEMP TABLE "load_places" AS
SELECT {place}, MIN("d"."valid_from") AS "first_seen"
    {values}
FROM {schema}."dim_sensors" "d"
{join}
WHERE {some}
GROUP BY {place}

-- name: Described
-- Any of them: a site stands there once.
, ANY_VALUE("m".{name}) AS {name}

-- name: DescribedPlaces
LEFT JOIN {schema}."location_metadata" "m" ON "m"."site" = "d"."site"

-- name: Named
{name} IS NOT NULL

-- name: Gone
-- Places that nothing names any more, or that are described otherwise. A table of its own, because DELETE takes tables
-- alone.
CREATE TEMP TABLE "load_gone" AS
SELECT {values}
FROM {schema}."dim_locations" "l"
LEFT JOIN "load_places" "p"
ON {alike}
WHERE "p"."first_seen" IS NULL

-- name: ForgetPlaces
-- They are taken away.
DELETE FROM {schema}."dim_locations"
USING "load_gone" "o", "load_guard" "g"
WHERE {alike}

-- name: Locations
-- Places that were not there as they are now.
INSERT INTO {schema}."dim_locations" (
    {columns}
)
SELECT {values}
FROM "load_places" "p"
CROSS JOIN "load_guard" "g"
LEFT JOIN {schema}."dim_locations" "l"
ON {alike}
WHERE "l"."first_seen" IS NULL
