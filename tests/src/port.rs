//! Addresses to listen on.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::{env, process};

/// Below the range that systems take the ports of outgoing connections from: a server that is down
/// for a moment must find its port free when it comes back, and a client that keeps trying must not
/// end up connected to itself.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// The ports given out by this process. A locked file stands for each, so that other test processes
/// leave it alone from now until this process ends, in whichever way.
static TAKEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// An address on the loopback interface that nothing listens on.
///
/// Neither this process nor another test that runs at the same time is given the same one again.
pub fn free_addr() -> SocketAddr {
    let folder = locks();
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let start = RandomState::new().hash_one(process::id()) % u64::from(COUNT);
    let start = u16::try_from(start).expect("it is less than COUNT");
    for step in 0..COUNT {
        let port = FIRST + (start + step) % COUNT;
        let lock = File::create(folder.join(port.to_string()));
        let lock = lock.expect("the temporary folder can be written");
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if lock.try_lock().is_ok() && TcpListener::bind(addr).is_ok() {
            taken.push(lock);
            return addr;
        }
    }
    panic!("all of the {COUNT} ports from {FIRST} are taken");
}

/// One folder for all checkouts: their ports are the same.
fn locks() -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    let folder = env::temp_dir().join(format!("uptree-ports-{user}"));
    fs::create_dir_all(&folder).expect("the temporary folder can be written");
    folder
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn no_address_is_given_out_twice() {
        let addresses: HashSet<_> = (0..200).map(|_| super::free_addr()).collect();
        assert_eq!(addresses.len(), 200);
    }
}
