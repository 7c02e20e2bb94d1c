use std::fs;

use super::*;

fn folder<B: AsRef<[u8]>>(files: &[(&str, B)]) -> (tempfile::TempDir, Source) {
    let folder = tempfile::tempdir().unwrap();
    for (name, sql) in files {
        fs::write(folder.path().join(name), sql).unwrap();
    }
    let source = Source::Folder(folder.path().to_owned());
    (folder, source)
}

fn names(files: &[File]) -> Vec<String> {
    files.iter().map(ToString::to_string).collect()
}

fn warnings(loaded: &Loaded) -> Vec<String> {
    loaded.warnings.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_folder_is_read_as_sqlx_reads_it() {
    let (folder, source) = folder(&[
        ("0010_last.sql", "SELECT 10"),
        ("2_no_tx.sql", "-- no-transaction\nSELECT 2"),
        ("3_bom.sql", "\u{feff}SELECT 3;\r\nSELECT 4;\r\n"),
        ("4_late_word.sql", "\n-- no-transaction\nSELECT 5"),
        ("5_empty.sql", ""),
        ("6_only_a_comment.sql", "-- nothing to do\n"),
        ("7_bom_no_tx.sql", "\u{feff}-- no-transaction\nSELECT 7"),
        ("0001_two_words.up.sql", "SELECT 1"),
        ("0001_two_words.down.sql", "SELECT -1"),
        ("8_.sql.sql", "SELECT 8"),
        ("9__two__.sql", "SELECT 9"),
        ("README.md", "not a migration"),
        ("notes_for_me.txt", "not a migration"),
        ("0003.sql", "not a migration: it has no description"),
    ]);
    fs::create_dir(folder.path().join("0004_folder.sql")).unwrap();

    let ours = source.load().unwrap().files;
    let theirs = sqlx::migrate::Migrator::new(folder.path()).await.unwrap();
    let (up, down): (Vec<_>, Vec<_>) = theirs
        .iter()
        .partition(|theirs| theirs.migration_type.is_up_migration());

    assert_eq!(ours.len(), up.len());
    for (ours, theirs) in ours.iter().zip(up) {
        let ours = &ours.migration;
        assert_eq!(ours.version, theirs.version);
        assert_eq!(ours.description, theirs.description);
        assert_eq!(ours.checksum, theirs.checksum);
        assert_eq!(ours.migration_type, theirs.migration_type);
        assert_eq!(ours.no_tx, theirs.no_tx);
        assert_eq!(ours.sql.as_str(), theirs.sql.as_str());
    }
    let [down] = &*down else { panic!("{down:?}") };
    assert_eq!(ours[0].down().unwrap().migration.checksum, down.checksum);
    let expected = [
        "0001_two_words.up.sql",
        "2_no_tx.sql",
        "3_bom.sql",
        "4_late_word.sql",
        "5_empty.sql",
        "6_only_a_comment.sql",
        "7_bom_no_tx.sql",
        "8_.sql.sql",
        "9__two__.sql",
        "0010_last.sql",
    ];
    assert_eq!(names(&ours), expected);
}

#[test]
fn a_byte_order_mark_is_not_sent() {
    let (_folder, source) = folder(&[
        ("1_a.up.sql", "\u{feff}SELECT 1"),
        ("1_a.down.sql", "\u{feff}SELECT 2"),
    ]);
    let file = &source.load().unwrap().files[0];
    assert_eq!(file.sql(), "SELECT 1");
    assert_eq!(file.down().unwrap().sql(), "SELECT 2");
    assert_ne!(
        file.checksum(),
        File::with_sql(1, "a", "SELECT 1").checksum()
    );
    assert_eq!(
        file.checksum(),
        File::with_sql(1, "a", "\u{feff}SELECT 1").checksum()
    );
}

#[test]
fn what_leads_back_is_kept_beside_what_it_leads_back_from() {
    let (_folder, source) = folder(&[
        ("1_a.up.sql", ""),
        ("1_a.down.sql", "-- no-transaction\nSELECT 1"),
        ("2_b.sql", ""),
        ("2_other.down.sql", "SELECT 2"),
        ("3_c.sql", ""),
        ("4_d.down.sql", ""),
    ]);
    let loaded = source.load().unwrap();
    let downs: Vec<_> = loaded
        .files
        .iter()
        .map(|file| file.down().map(ToString::to_string))
        .collect();
    let expected = [Some("1_a.down.sql"), Some("2_other.down.sql"), None];
    assert_eq!(downs, expected.map(|name| name.map(ToOwned::to_owned)));
    assert!(!loaded.files[0].down().unwrap().in_transaction());
    assert!(loaded.files[1].down().unwrap().in_transaction());
    let expected = ["4_d.down.sql: there is no file that it leads back from: it is left out"];
    assert_eq!(warnings(&loaded), expected);

    let (_folder, source) = folder(&[("1_a.down.sql", ""), ("1_b.down.sql", "")]);
    let message = source.load().unwrap_err().to_string();
    assert_eq!(
        message,
        "1_a.down.sql and 1_b.down.sql have the same version"
    );
}

#[tokio::test]
async fn embedded_files_are_what_their_folder_is() {
    let (folder, source) = folder(&[
        ("0001_a.up.sql", "-- requires: 1\nSELECT 1"),
        ("0001_a.down.sql", "SELECT -1"),
        ("0002_b.sql", "-- no-transaction\nSELECT 2"),
    ]);
    let theirs = sqlx::migrate::Migrator::new(folder.path()).await.unwrap();
    let embedded = Source::embedded(&theirs.migrations).load().unwrap().files;
    let read = source.load().unwrap().files;
    assert_eq!(names(&embedded), names(&read));
    for (embedded, read) in embedded.iter().zip(&read) {
        assert_eq!(embedded.checksum(), read.checksum());
        assert_eq!(embedded.directives(), read.directives());
        assert_eq!(embedded.in_transaction(), read.in_transaction());
        assert_eq!(embedded.down().is_some(), read.down().is_some());
    }
    assert_eq!(read[0].directives().requires, Some(1));
}

#[test]
fn what_is_wrong_with_a_folder_is_told_with_its_path() {
    let missing = Source::Folder("/nowhere/at/all".into()).load();
    let message = missing.unwrap_err().to_string();
    assert_eq!(message, "cannot read the migrations in /nowhere/at/all");

    let (_folder, source) = folder(&[("first_table.sql", "SELECT 1")]);
    let message = source.load().unwrap_err().to_string();
    assert!(message.contains("first_table.sql"), "{message}");
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere_is_not_left_out() {
    let (folder, source) = folder::<&str>(&[]);
    let link = folder.path().join("0001_a.sql");
    std::os::unix::fs::symlink(folder.path().join("gone"), link).unwrap();
    let message = source.load().unwrap_err().to_string();
    assert!(message.ends_with("0001_a.sql"), "{message}");
}

#[test]
fn a_file_that_is_no_text_is_told_with_the_byte() {
    let (_folder, source) = folder(&[("1_a.sql", &b"SELECT 1;\nSELECT '\xe4';\n"[..])]);
    let error = source.load().unwrap_err();
    let message = error.to_string();
    let expected = "1_a.sql is not UTF-8: line 2 has something else, at byte 18";
    assert!(message.ends_with(expected), "{message}");
    assert_eq!(help(error), "save it as UTF-8");

    let (_folder, source) = folder(&[("1_a.sql", &b"\xff\xfeS\0E\0"[..])]);
    let error = source.load().unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("line 1 has something else, at byte 0")
    );
    assert_eq!(help(error), "it looks like UTF-16: save it as UTF-8");
}

#[test]
fn a_file_that_is_too_large_is_not_read() {
    let (folder, source) = folder::<&str>(&[]);
    let path = folder.path().join("1_a.sql");
    // It has no bytes of its own.
    let file = fs::File::create(path).unwrap();
    file.set_len((256 << 20) + 1).unwrap();
    let error = source.load().unwrap_err();
    let message = error.to_string();
    let expected = "1_a.sql has 257 MiB, and a migration can have 256";
    assert!(message.ends_with(expected), "{message}");
    assert!(help(error).contains("from code"));
}

#[test]
fn what_is_named_nearly_like_a_migration_is_warned_of() {
    let (_folder, source) = folder(&[("0001_a.SQL", ""), ("0002.sql", ""), ("schema.sql", "")]);
    let loaded = source.load().unwrap();
    assert_eq!(names(&loaded.files), [""; 0]);
    let mut warnings = warnings(&loaded);
    warnings.sort();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("0001_a.SQL: it is not taken for a migration"));
    assert!(warnings[1].starts_with("0002.sql: it is not taken for a migration"));
}

#[cfg(feature = "sqlite")]
#[test]
fn code_is_told_by_its_description() {
    let code = || Code::new::<sqlx::Sqlite>(Box::new(|_| Box::pin(async { Ok(()) })));
    let file = File::from_code(5, "trim names".into(), code());
    assert_eq!(file.to_string(), "0005_trim_names");
    assert_eq!(file.description(), "trim names");
    assert_eq!(file.sql(), "-- code trim names");
    assert!(file.in_transaction());
    assert!(file.code().is_some());
    let of_text = File::with_sql(5, "x", "-- code trim names");
    assert_eq!(file.checksum(), of_text.checksum());
}

fn help(error: MigrateError) -> String {
    match error {
        MigrateError::File(error) => error.remedy(),
        error => panic!("{error}"),
    }
}
