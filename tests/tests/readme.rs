//! What README shows is what the example is.

use std::path::Path;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(path)).expect("a file of the project")
}

/// The code of `text` from `fn main` on, without comments and indentation.
fn code(text: &str) -> Vec<&str> {
    let main = text.lines().skip_while(|line| !line.starts_with("fn main"));
    main.take_while(|line| *line != "```")
        .map(|line| line.split("//").next().unwrap_or(line).trim())
        .filter(|line| !line.is_empty())
        .collect()
}

#[test]
fn readme_shows_the_child_list_of_the_example() {
    let example = read("examples/service/src/main.rs");
    assert_eq!(code(&read("README.md")), code(&example));
}

#[test]
fn the_examples_are_as_short_as_readme_says() {
    assert!(read("examples/service/src/main.rs").lines().count() < 25);
    assert_eq!(read("examples/minimal/src/main.rs").lines().count(), 20);
}
