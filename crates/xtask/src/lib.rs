//! What the project's own commands know about the machine they run on, for the tests to know it
//! too.

pub mod servers;
