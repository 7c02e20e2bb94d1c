//! What the fuzzers have kept, played back.

use std::{fs, path::Path};

#[track_caller]
fn play(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let files = fs::read_dir(corpus.join(target)).expect("it is kept");
    let mut played = 0;
    for file in files {
        let file = file.expect("it can be listed").path();
        println!("{}", file.display());
        run(&fs::read(&file).expect("it can be read"));
        played += 1;
    }
    assert!(played > 0, "nothing is kept for {target}");
}

#[test]
fn http() {
    play("http", uptree_fuzz::http);
}

#[test]
fn settings() {
    play("settings", uptree_fuzz::settings);
}

#[test]
fn manifest() {
    play("manifest", uptree_fuzz::manifest);
}
