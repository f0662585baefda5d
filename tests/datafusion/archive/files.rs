//! Which files are looked at, and what is told of those that are not as they should be.

use icecore::integration::datafusion::register_archive;

use super::*;

/// A range of time looks into the directories that it is in, and into no other: files beside it may
/// be whatever they are.
#[tokio::test]
async fn directories_beside_the_range_are_passed_over() {
    let twins = ten_days();
    let session = twins.session();
    let within = "time >= to_timestamp(2 * 86400) AND time < to_timestamp(4 * 86400)";
    for file in twins.archived_files() {
        let day = file.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        if !["date=1970-01-03", "date=1970-01-04"].contains(&day.as_str()) {
            std::fs::write(&file, b"not Parquet").unwrap();
        }
    }
    let sql = format!("SELECT n FROM history.things WHERE {within}");
    let error = session.sql(&sql).await.map(drop).unwrap_err().to_string();
    assert!(
        error.contains("archive/table=things/date=1970-01-07"),
        "columns come of the last: {error}"
    );
    let twins = ten_days();
    let session = twins.session();
    for sql in [
        format!("SELECT n FROM history.things WHERE {within}"),
        format!("SELECT value FROM history.load WHERE {within}"),
    ] {
        // The tables' columns are known then; scans look at their range alone.
        let frame = session.sql(&sql).await.unwrap();
        for file in twins.archived_files() {
            let day = file.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
            let table = file.parent().unwrap().parent().unwrap().file_name().unwrap().to_owned();
            let of_it = if sql.contains("things") { "table=things" } else { "tier=raw" };
            if table == of_it && !["date=1970-01-03", "date=1970-01-04"].contains(&day.as_str()) {
                std::fs::write(&file, b"not Parquet").unwrap();
            }
        }
        let plan = frame.clone().create_physical_plan().await.unwrap();
        let shown = datafusion::physical_plan::displayable(plan.as_ref()).indent(false).to_string();
        assert!(shown.contains("archived_files=2"), "{shown}");
        let found: usize =
            frame.collect().await.unwrap().iter().map(|batch| batch.num_rows()).sum();
        assert_eq!(found, 200, "{sql}");
    }
}

/// What a session makes of a query: the rows, or the error's text.
async fn outcome(session: &SessionContext, sql: &str) -> Result<usize, String> {
    let told = |error: datafusion::error::DataFusionError| error.to_string();
    let batches = session.sql(sql).await.map_err(told)?.collect().await.map_err(told)?;
    Ok(batches.iter().map(|batch| batch.num_rows()).sum())
}

/// Each of these is an error that names the file, and no answer without its rows.
#[tokio::test]
async fn damaged_and_foreign_files_are_told_of() {
    let twins = ten_days();
    for (table, sql) in [
        ("table=things", "SELECT n, x, b, t, time FROM history.things"),
        ("tier=raw", "SELECT * FROM history.load"),
    ] {
        let dir = twins.dir.path().join("archive").join(table);
        let fails = async |name: &str| {
            let error = outcome(&twins.session(), sql).await.expect_err(name);
            assert!(error.contains(name), "{name}: {error}");
        };
        for name in ["date=1970-01-02/other.parquet", "date=1970-01-02/1-2-3.parquet", "notes.txt"]
        {
            let path = dir.join(name);
            std::fs::write(&path, b"PAR1").unwrap();
            fails(name).await;
            std::fs::remove_file(path).unwrap();
        }
        // A whole file, but of another day.
        let file = files(&dir.join("date=1970-01-02")).remove(0);
        let name = file.file_name().unwrap().to_str().unwrap();
        let moved = dir.join("date=1970-01-05").join(name);
        std::fs::copy(&file, &moved).unwrap();
        fails(name).await;
        std::fs::remove_file(moved).unwrap();
        // A bit, anywhere; what no answer stands on may be damaged.
        let whole = std::fs::read(&file).unwrap();
        let mut told = 0;
        for at in (0..whole.len()).step_by(whole.len() / 40) {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            std::fs::write(&file, &bytes).unwrap();
            match outcome(&twins.session(), sql).await {
                Ok(rows) => assert_eq!(rows, 1000, "byte {at}"),
                Err(error) => {
                    assert!(error.contains(name), "byte {at}: {error}");
                    told += 1;
                }
            }
        }
        assert!(told > 10, "{told} of 40");
        std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        fails(name).await;
        std::fs::write(&file, &whole).unwrap();
        // What is being written, or was when the power went, and what no reader looks at.
        std::fs::write(dir.join("date=1970-01-02").join(format!("{name}.tmp")), b"PA").unwrap();
        std::fs::write(dir.join("date=1970-01-02/_SUCCESS"), b"").unwrap();
        std::fs::write(dir.join(".hidden"), b"").unwrap();
        assert_eq!(outcome(&twins.session(), sql).await, Ok(1000));
    }
}

/// Columns that came later are null in what was archived before; a table that its engine has
/// forgotten is known by its files.
#[tokio::test]
async fn tables_grow_and_are_known_by_their_files() {
    let twins = Twins::new(2);
    let row =
        |day: i64| -> Row { (day * DAY, vec![day.into(), 0.5.into(), true.into(), "a".into()]) };
    twins.both(|engine| {
        for (day, columns) in [(0, 1), (1, 3), (2, 4)] {
            write_rows(engine, columns, &[row(day)]);
            engine.freeze().unwrap();
        }
        let writer = engine.writer("test");
        let late = writer.series(&Series::parse("late").unwrap(), &Metadata::default()).unwrap();
        drop(writer.append_column(&late, vec![9 * DAY], vec![1.0]).unwrap());
        engine.sync().unwrap();
        engine.freeze().unwrap();
    });
    assert_eq!(twins.archive_what_is_old(), 3);
    let session = twins.session();
    compare(&session, "time, n, x, b, t", "things", &[]).await;
    compare(&session, "n", "things", &["t IS NULL".to_owned()]).await;
    assert_eq!(rows(&session, "SELECT n FROM history.things WHERE t IS NULL").await.len(), 2);
    drop(session);
    let Twins { dir, archive, one, twin: _ } = twins;
    Arc::into_inner(one).unwrap().close().unwrap();
    let one = open(&dir.path().join("one"), Some(2), None);
    assert!(one.event_schema("things").is_none(), "nothing of it is left");
    let session =
        SessionContext::new_with_config(SessionConfig::new().with_information_schema(true));
    let options = HistoryOptions { archive: Some(archive.clone()), ..HistoryOptions::default() };
    options.register(&session, &one).unwrap();
    let found = rows(&session, "SELECT n, x, b, t FROM history.things ORDER BY n").await;
    assert_eq!(found, ["0", "1 0.5 true", "2 0.5 true a"]);
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'history' ORDER BY 1";
    assert_eq!(rows(&session, tables).await, ["late", "things"]);
    // Declared with fewer columns than are archived, by an older program.
    write_rows(&one, 1, &[(9 * DAY, vec![9.into()])]);
    let found = rows(&session, "SELECT n, t FROM history.things ORDER BY n").await;
    assert_eq!(found, ["0", "1", "2 a", "9"]);
    // Declared otherwise, which is no table.
    let other = vec![EventColumn::new("n", EventKind::Text)];
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), None, None);
    engine.events(&EventSchema::new("things", other).unwrap()).unwrap();
    options.register(&session, &engine).unwrap();
    let error =
        session.sql("SELECT n FROM history.things").await.map(drop).unwrap_err().to_string();
    assert!(error.contains("archived otherwise"), "{error}");
}

/// An archive can be asked without its engine.
#[tokio::test]
async fn an_archive_alone_has_tables() {
    let twins = ten_days();
    let session =
        SessionContext::new_with_config(SessionConfig::new().with_information_schema(true));
    register_archive(&session, &twins.archive).unwrap();
    let sql = "SELECT count(*), sum(n), count(DISTINCT t) FROM history.things WHERE n >= 0";
    let sum: i64 = (0..7).flat_map(|day| (0..100).map(move |at| day * 100 + at)).sum();
    assert_eq!(rows(&session, sql).await, [format!("700 {sum} 3")]);
    let sql = "SELECT count(*), sum(value) FROM history.load WHERE host = 'c+d'";
    let sum: i64 = (0..100).filter(|at| at % 4 == 2).sum();
    assert_eq!(rows(&session, sql).await, [format!("175 {}.0", 7 * sum)]);
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'history' ORDER BY 1";
    assert_eq!(rows(&session, tables).await, ["aside", "load", "things"]);
    // Limits hold in it as well.
    let limits = icecore::query::Limits { samples_max: 150, ..Default::default() };
    let archive = Some(twins.archive.clone());
    let small =
        HistoryOptions { schema: "small".to_owned(), limits, archive, ..Default::default() };
    small.register_archive(&session).unwrap();
    for table in ["things WHERE n > 3", "load"] {
        let frame = session.sql(&format!("SELECT * FROM small.{table}")).await.unwrap();
        let error = frame.collect().await.unwrap_err().to_string();
        assert!(error.contains("samples"), "{table}: {error}");
    }
    let nowhere = ParquetArchive::new(twins.dir.path().join("nowhere"));
    let error = register_archive(&session, &nowhere).unwrap_err().to_string();
    assert!(error.contains("nowhere"), "{error}");
    assert!(HistoryOptions::default().register_archive(&session).is_err());
    // An engine's archive need not be there yet.
    let options = HistoryOptions { archive: Some(nowhere), ..HistoryOptions::default() };
    options.register(&session, &twins.twin).unwrap();
    assert_eq!(rows(&session, "SELECT count(n) FROM history.things").await, ["1000"]);
}
