//! The migrations are embedded in the binary: a new file is a new binary.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
