//! GOAL    A warehouse is given nothing before it has read a file of known rows right (section "The warehouse").
//! METHOD  Files that Redshift documents, and files that it does not; a warehouse where the rows come out otherwise.

use actors::loading::{LoadError, Loading};
use actors::ports::warehouse::WarehouseFailure;
use actors::sinks::{Codec, Encoding, Encodings};
use mangrove_tests::world::World;
use messages::EventSchema;

fn loading(world: &World, encoding: Encoding) -> Loading {
    let schema = EventSchema::built_in("climate").unwrap();
    world.loading_with(&schema, |config| config.encoding = encoding)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_known_rows_is_read_once_before_anything_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let analyst = world.analyst();
    let probes = "SELECT COUNT(*) FROM mangrove.schema_versions WHERE statement LIKE 'probe %'";
    for _ in 0..2 {
        loading(&world, Encoding::RECOMMENDED).ensure_tables().await.unwrap();
        assert_eq!(analyst.count(probes).await, 1, "once");
    }
    let rows = Encoding { row_group_rows: 2, ..Encoding::RECOMMENDED };
    loading(&world, rows).ensure_tables().await.unwrap();
    assert_eq!(analyst.count(probes).await, 2, "files of another form are tried again");

    for encoding in [
        Encoding { encodings: Encodings::V2, ..Encoding::RECOMMENDED },
        Encoding { codec: Codec::Zstd, ..Encoding::RECOMMENDED },
    ] {
        let error = loading(&world, encoding).ensure_tables().await.unwrap_err();
        assert!(matches!(error, LoadError::ProbeRefused(_)), "{error}");
        assert_eq!(error.failure(), WarehouseFailure::Denied, "no epoch is at fault");
        let text = error.to_string();
        assert!(text.contains("parquet.compression") && text.contains("Nothing is loaded"), "{text}");
    }
    assert_eq!(analyst.count(probes).await, 2);
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warehouse_that_reads_other_rows_is_given_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path(), 1).await;
    let loading = loading(&world, Encoding::RECOMMENDED);
    let sql = loading.probe().unwrap().statements("").unwrap();
    // As a warehouse that takes microseconds for milliseconds reads it.
    let wrong =
        |read: &str| read.replacen("DATEDIFF(microsecond, TIMESTAMP '1970-01-01 00:00:00', \"micros\")", "1", 1);
    let right = sql.last().unwrap();
    assert_ne!(&wrong(right), right);
    loading.ensure_tables().await.unwrap();
    let columns = "n INTEGER, micros TIMESTAMP, millis TIMESTAMP, word VARCHAR(65535), text VARCHAR(65535), \
                   number DOUBLE PRECISION, small REAL, whole BIGINT, flag BOOLEAN";
    world.analyst().run(&format!("CREATE TABLE probe ({columns})")).await;
    let copy = sql.iter().find(|sql| sql.starts_with("COPY")).unwrap();
    world.analyst().run(copy).await;
    let judge = |rows: &[Vec<actors::warehouse::Cell>]| loading.probe().unwrap().judge(rows);
    assert_eq!(judge(&world.analyst().ask(right).await), Ok(()));
    let misread = judge(&world.analyst().ask(&wrong(right)).await).unwrap_err();
    assert_eq!((misread.column, misread.row), ("micros", 0));
    world.stop().await;
}
