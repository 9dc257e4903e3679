use std::{fs, path::Path, sync::Barrier, thread};

use tempfile::TempDir;

use super::*;

static FIRST: Format = Format { application_id: 77, migrations: &["CREATE TABLE note (text TEXT)"], is_durable: false };
static SECOND: Format = Format {
    application_id: 77,
    migrations: &["CREATE TABLE note (text TEXT)", "ALTER TABLE note ADD COLUMN author TEXT"],
    is_durable: true,
};
static OTHER: Format = Format { application_id: 78, migrations: &["CREATE TABLE note (text TEXT)"], is_durable: false };

fn open(path: &Path, format: &'static Format) -> Opened {
    Database::open(Location::File(path.to_owned()), format).unwrap()
}

fn add(database: &Database, text: &str) {
    database.write(|tx| tx.execute("INSERT INTO note (text) VALUES (?)", [text])).unwrap();
}

fn notes(database: &Database) -> i64 {
    database.read(|c| c.query_row("SELECT count(*) FROM note", [], |row| row.get(0))).unwrap()
}

#[test]
fn a_file_is_made_private_and_kept() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("deep/er/index.db");
    let opened = open(&path, &FIRST);
    assert_eq!(opened.quarantined, None);
    add(&opened.database, "one");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&path.with_file_name("index.db-wal")), 0o600);
    }
    drop(opened);
    let again = open(&path, &FIRST);
    assert_eq!((again.quarantined, notes(&again.database)), (None, 1));
}

#[test]
fn older_files_are_migrated_with_their_content() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("index.db");
    add(&open(&path, &FIRST).database, "one");
    let newer = open(&path, &SECOND);
    assert_eq!((newer.quarantined, notes(&newer.database)), (None, 1));
    newer.database.read(|c| c.execute("UPDATE note SET author = 'me'", [])).unwrap();
}

#[test]
fn what_cannot_be_used_is_moved_aside_and_made_anew() {
    let check = |claim: &str, prepare: &dyn Fn(&Path)| {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("index.db");
        prepare(&path);
        let before = fs::read(&path).unwrap();
        let opened = open(&path, &FIRST);
        let aside = opened.quarantined.unwrap_or_else(|| panic!("{claim}: was not moved aside"));
        assert!(aside.to_str().unwrap().contains("index.db.broken-"), "{claim}: {}", aside.display());
        assert_eq!(fs::read(aside).unwrap(), before, "{claim}: moved as it was");
        assert_eq!(notes(&opened.database), 0, "{claim}");
    };
    let filled = |path: &Path| {
        let opened = open(path, &FIRST);
        (0..2000).for_each(|n| add(&opened.database, &"x".repeat(n % 200)));
    };
    check("no database at all", &|path| fs::write(path, "hello ".repeat(1000)).unwrap());
    check("of another program", &|path| drop(open(path, &OTHER)));
    check("of another program without an id", &|path| {
        Connection::open(path).unwrap().execute_batch("CREATE TABLE cheese (age)").unwrap();
    });
    check("of a newer version", &|path| drop(open(path, &SECOND)));
    check("cut off", &|path| {
        filled(path);
        let content = fs::read(path).unwrap();
        fs::write(path, &content[..content.len() / 2]).unwrap();
    });
    check("overwritten in the middle", &|path| {
        filled(path);
        let mut content = fs::read(path).unwrap();
        let half = content.len() / 2;
        content[half..half + 8192].fill(0xA5);
        fs::write(path, content).unwrap();
    });
}

#[test]
fn an_empty_file_becomes_a_database() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("index.db");
    fs::write(&path, "").unwrap();
    assert_eq!(open(&path, &FIRST).quarantined, None);
}

#[test]
fn damage_found_later_is_replaced_too() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("index.db");
    let opened = open(&path, &FIRST);
    add(&opened.database, "one");
    let aside = opened.database.replace().unwrap().expect("the file was moved");
    assert!(aside.exists());
    assert_eq!(notes(&opened.database), 0);
    add(&opened.database, "two");
    drop(opened);
    assert_eq!(notes(&open(&path, &FIRST).database), 1);
}

#[test]
fn many_can_open_a_new_or_broken_file_at_once() {
    for content in ["", "no database"] {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("index.db");
        fs::write(&path, content).unwrap();
        let barrier = Barrier::new(8);
        let moved: usize = thread::scope(|scope| {
            let open_and_write = || {
                barrier.wait();
                let opened = open(&path, &SECOND);
                add(&opened.database, "mine");
                usize::from(opened.quarantined.is_some())
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open_and_write)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(moved, usize::from(!content.is_empty()), "moved aside once at most");
        assert_eq!(notes(&open(&path, &SECOND).database), 8);
    }
}

#[test]
fn errors_say_what_a_caller_can_live_with() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("index.db");
    let database = open(&path, &FIRST).database;
    database.read(|c| c.pragma_update(None, "max_page_count", 4)).unwrap();
    let full = database
        .write(|tx| {
            (0..1000).try_for_each(|_| tx.execute("INSERT INTO note (text) VALUES (?)", ["y".repeat(900)]).map(drop))
        })
        .unwrap_err();
    assert!(full.is_full() && !full.is_corrupt() && !full.is_busy(), "{full:?}");
    assert_eq!(notes(&database), 0, "an error undoes the transaction");
    assert!(full.to_string().contains("index.db"), "{full}");

    let blocked = Database::open(Location::File(path.join("below a file")), &FIRST).unwrap_err();
    assert!(!blocked.is_full() && !blocked.is_corrupt(), "{blocked:?}");
}
