//! The program that herds and faults are tried on, undisturbed.

use std::fs;

use uptree_tests::{Database, Example, on_all};

on_all!(it_migrates_a_folder_and_stays);

fn it_migrates_a_folder_and_stays(database: &Database) {
    let folder = tempfile::tempdir().expect("the temporary folder can be written");
    let file = folder.path().join("0001_orders.sql");
    let sql = "CREATE TABLE orders (id INT); INSERT INTO orders VALUES (7)";
    fs::write(file, sql).expect("the folder is ours");
    for _ in 0..2 {
        let mut process = Example::migrating(&database.url(), folder.path(), &[]);
        process.wait_until_ready();
        assert_eq!(process.status("/ready"), 200);
        assert_eq!(database.query("SELECT id FROM orders"), "7");
        assert_eq!(database.ledger(), "1");
        process.stop();
    }
}
