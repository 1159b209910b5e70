//! The statements and their parts, as templates: `sql/*.sql`, each a section that says what it is for.
//!
//! **Owns** which slots each template has: a struct with a field for each, so that one that is left out, or is none, does
//! not compile. A test holds the structs against the files.
//! **Not here**: how a slot is filled (`literal/template.rs`), with what (the modules that are called as the files are).

macro_rules! templates {
    ($($file:ident { $($name:ident { $($slot:ident),* })+ })+) => {
        $(pub(super) mod $file {
            use crate::warehouse::literal::{Sql, fill, section};

            const FILE: &str = include_str!(concat!("sql/", stringify!($file), ".sql"));

            $(pub(in crate::warehouse) struct $name {
                $(pub(in crate::warehouse) $slot: Sql,)*
            }

            impl $name {
                pub(in crate::warehouse) fn sql(self) -> Sql {
                    const TEXT: &str = section(FILE, stringify!($name));
                    fill(TEXT, &[$((stringify!($slot), self.$slot)),*])
                }
            })+
        })+

        /// Every file: its name, its text, and its templates with their slots.
        #[cfg(test)]
        pub(super) const ALL: &[(&str, &str, &[(&str, &[&str])])] = &[$((
            stringify!($file),
            include_str!(concat!("sql/", stringify!($file), ".sql")),
            &[$((stringify!($name), &[$(stringify!($slot)),*])),+],
        )),+];
    };
}

templates! {
    transaction {
        Lock { schema }
        Fresh {}
        Stage { stage, columns }
        StageBySensor { stage, columns }
        StageColumn { name, kind }
        SinceEpoch { us }
        Copy { stage, from, role, format }
        Parquet {}
        Json {}
        GzippedJson {}
    }
    load {
        Guard { schema, known }
        GuardAgain { schema, known }
        Known { stream, ranges }
        Range { shard, first, last }
        ForgetRefused { table, known }
        Readings { schema, columns, values }
        VersionInForce {}
        Alerts { schema, columns, values }
        ArrivalTime {}
        Epochs {}
        EpochRows { rows }
        EpochRow { shard, epoch, to, readings, content }
        Ledger { schema, stream, batch, state }
        Refused { schema, stream, shard, epoch, manifest, attempts, error }
        Ages { now }
    }
    probe {
        Version {}
        Known { schema, mark }
        Mark { schema, digest, mark }
        Read { stage }
    }
    versions {
        Say { schema, columns, values }
        Every { schema, events, metadata, touched }
        As { value, name }
        Source { source }
        NumberAsSequence {}
        NoValue { kind }
        ReportedAsCounted { columns, every }
        Reported { kept, known, heard, told, every, news }
        Told { mark, name }
        Heard { name, now }
        KnownBefore { now, was }
        News { same }
        NameIfNew { same, text }
        NumberKept { name }
        ChangedKept { names, name }
        Equal { left, right, none }
        Beginning {}
        False {}
        Intervals { values }
        ValidTo {}
        IsCurrent {}
        Attribute { mark, name }
        Declared { name }
        ForgetSensors { schema, touched }
        Sensors { schema, columns, values }
        ReassignNew { schema, fresh }
        FreshIntervals {}
        ReassignAll { schema, touched }
        Places { schema, place, values, join, some }
        Described { name }
        DescribedPlaces { schema }
        Named { name }
        Gone { schema, values, alike }
        ForgetPlaces { schema, alike }
        Locations { schema, columns, values, alike }
    }
    windows {
        ForgetParts { schema, parts, stage }
        Parts { schema, parts, stage, columns, values }
        ForgetWindows { schema, windows, stage }
        Windows { schema, windows, parts, stage, columns }
    }
    describe {
        InForce { schema }
        Guard { schema, number }
        Rows { values }
        ValidFrom { from, name }
        Touched { schema, columns }
        ForgetSensors { schema }
        Sensors { schema, columns, values }
        Clear { table }
        Fill { table, columns, values, staged }
        Version { schema, number, digest, stream, sensors, locations, refused }
    }
    ledger {
        Tips { schema, stream }
        Status { schema, stream }
        Loaded { schema, stream, shard, first, last }
        Refused { schema, stream, n_max }
        Counts { schema, stream }
    }
    tables {
        HasNamespace { namespace }
        CreateNamespace { schema }
        Columns { namespace }
        Record { schema, fingerprint, statement }
        AddColumn { table, name, kind }
        Widen { table, name, kind }
        Keep { source, columns, table }
    }
    external {
        CreateNamespace { namespace, database, role }
        Create { table, columns, parts, location }
        Column { name, kind }
        Part { name }
        Drop { table }
        Exists { namespace, table }
        Made { schema }
        Add { table, partitions }
        Partition { values, url }
        Value { name, value }
    }
    views {
        View { name, rows }
        Files { files, types }
        PartType { part }
        Windows { files, parts }
        PartOfWindow { part }
    }
}
