//! Any bytes are a manifest, or a message about one.

use uptree_kubernetes::workloads;

/// Reads a manifest.
pub fn manifest(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    match workloads(text) {
        Ok(workloads) => {
            for workload in workloads {
                let grace = format!("{workload:?}");
                assert!(!grace.is_empty());
                for container in &workload.containers {
                    let probes = [
                        &container.liveness,
                        &container.readiness,
                        &container.startup,
                    ];
                    for probe in probes.into_iter().flatten() {
                        let _ = probe.asks("/alive");
                    }
                }
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
