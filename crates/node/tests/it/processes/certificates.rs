//! Certificates for the processes of a test.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// Files with an authority, and a certificate of it for 127.0.0.1.
pub(super) struct Certificates {
    pub(super) authority: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Certificates {
    pub(super) fn make(folder: &Path) -> Self {
        let root_key = KeyPair::generate().expect("chance");
        let mut root = CertificateParams::new(Vec::new()).expect("no names");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = root.self_signed(&root_key).expect("a root").der().to_vec();
        let issuer = Issuer::new(root, root_key);
        let key = KeyPair::generate().expect("chance");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &issuer).expect("signed").der().to_vec();
        let write = |name: &str, label: &str, der: &[u8]| {
            let path = folder.join(name);
            std::fs::write(&path, pem(label, der)).expect("written");
            path
        };
        Self {
            authority: write("ca.pem", "CERTIFICATE", &authority),
            certificate: write("process.pem", "CERTIFICATE", &certificate),
            key: write("process.key", "PRIVATE KEY", &key.serialize_der()),
        }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("letters and digits"))
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
