//! Whether a bundle may be served at all: its own cases, and its bytes under its digest. Refuses to know
//! who asks for it.

use crate::boot::Stores;
use crate::crypto::Fast;
use crate::dry::SelfTestFailure;
use crate::ports::PortError;
use crate::workspace::InForce;
use placet_policy::Bundle;
use placet_types::Digest;
use std::sync::Arc;

/// Runs the cases that a bundle brings of what it must deny. Whether the others come out as they should was
/// asked when it was uploaded: what is in force, or was, is not taken away for them.
///
/// # Errors
/// Each case that came out otherwise, in words.
pub(crate) fn self_test(bundle: &Bundle) -> Result<(), Vec<String>> {
    let texts = |it: Vec<SelfTestFailure>| it.iter().map(ToString::to_string).collect();
    crate::dry::self_test(bundle).map_err(texts)
}

/// The bundle that the log says is in force, or why it cannot be: then its workspace is silent, and
/// the others go on.
pub(crate) fn load(
    stores: &Stores,
    given: Option<&Arc<Bundle>>,
    digest: Digest,
) -> Result<InForce, PortError> {
    let found = match given.filter(|bundle| bundle.digest() == digest) {
        Some(bundle) => Ok(bundle.clone()),
        None => match stores.reader.bundle(&digest.0)? {
            None => Err("its bytes are not in the journal".to_owned()),
            Some(bytes) => read(&bytes, digest),
        },
    };
    Ok(served(found, digest))
}

/// What decides where a bundle was found, or not.
fn served(found: Result<Arc<Bundle>, String>, digest: Digest) -> InForce {
    let tested = found.and_then(|bundle| match self_test(&bundle) {
        Ok(()) => Ok(bundle),
        Err(cases) => Err(format!("it fails its own cases: {}", cases.join("; "))),
    });
    match tested {
        Ok(bundle) => InForce::of(Some(bundle)),
        Err(why) => InForce::lost(digest, why),
    }
}

/// A bundle from the bytes that are kept under its digest.
pub(crate) fn read(bytes: &[u8], digest: Digest) -> Result<Arc<Bundle>, String> {
    let bundle = Bundle::from_normalised::<Fast>(bytes)
        .map_err(|found| found.first().map_or_else(String::new, ToString::to_string))?;
    if bundle.digest() == digest {
        Ok(Arc::new(bundle))
    } else {
        Err("its bytes are those of another bundle".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use placet_policy::Source;

    fn bundle(decision: &str) -> Arc<Bundle> {
        let text = format!(
            "version: v1\nrules:\n  - id: transfers\n    match: {{ surfaces: [\"payments.transfer\"] }}\n    \
             decision: {decision}\ntests:\n  - id: no-transfers\n    \
             request: {{ surface: payments.transfer, action: create }}\n    must_deny: true\n"
        );
        let source = Source { name: "policy.yaml".into(), text };
        Arc::new(Bundle::compile::<Fast>(&[source]).unwrap_or_else(|found| panic!("{found:?}")))
    }

    /// What a start does with the bundle that the log names.
    #[test]
    fn a_bundle_that_permits_what_it_must_deny_is_not_served_at_a_start() {
        let (good, bad) = (bundle("deny"), bundle("allow"));
        let served = super::served(read(good.normalised(), good.digest()), good.digest());
        assert_eq!(served.bundle.map(|it| it.digest()), Some(good.digest()));
        let lost = super::served(read(bad.normalised(), bad.digest()), bad.digest());
        assert!(lost.bundle.is_none());
        let (digest, why) = lost.lost.unwrap();
        assert_eq!(digest, bad.digest());
        assert!(why.contains("no-transfers"), "{why}");
    }

    #[test]
    fn other_bytes_are_another_bundle() {
        let (good, bad) = (bundle("deny"), bundle("allow"));
        let swapped = read(bad.normalised(), good.digest());
        assert!(super::served(swapped, good.digest()).bundle.is_none());
        assert!(read(b"{", good.digest()).is_err());
    }
}
