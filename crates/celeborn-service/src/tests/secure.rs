//! Encrypted ports.

use std::sync::Arc;
use std::time::Duration;

use dunlin_base::Kind;
use dunlin_celeborn::frame::Mode;
use dunlin_celeborn::push::PushReply;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::bed::{Bed, batch};
use crate::Tls;
use crate::net::Client;

/// Certificates of a cluster on loopback, which believes itself and nobody else.
pub(super) fn certificates() -> Tls {
    let made = generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let CertifiedKey { cert, signing_key } = made;
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).expect("a root");
    let roots = Arc::new(roots);
    let (chain, whole) = (vec![cert.der().clone()], || key.clone_key());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
    let mutual = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_client_cert_verifier(verifier.build().expect("a verifier"))
        .with_single_cert(chain.clone(), whole())
        .expect("they fit");
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain.clone(), whole())
        .expect("they fit");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, whole())
        .expect("they fit");
    Tls { server: Arc::new(server), mutual: Arc::new(mutual), client: Arc::new(client) }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_ports_are_encrypted_and_copies_go_so_too() {
    let bed = Bed::with(2, 8 << 20, Some(certificates())).await;
    let driver = bed.driver(2, true).await;
    for partition in 0..2 {
        let reply = driver.push(partition, batch(0, 0, 100_000)).await;
        assert_eq!(reply.expect("stored"), PushReply::Stored);
        driver.commit(Mode::Primary, &[partition], 1).await;
        driver.commit(Mode::Replica, &[partition], 2).await;
        let location = driver.location(partition);
        let peer = location.peer.expect("two copies").worker;
        for (worker, mode) in [(location.copy.worker, 0), (peer, 1)] {
            let file = format!("{}-{mode}", location.copy.partition);
            let chunks = driver.read(&worker, &file, (0, i32::MAX)).await.expect("here");
            assert_eq!(chunks.concat().len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_believe_the_certificate_or_has_no_tls_is_not_let_in() {
    let bed = Bed::with(1, 1 << 20, Some(certificates())).await;
    let address = format!("127.0.0.1:{}", bed.master.address().port());
    let wait = Duration::from_secs(5);
    let stranger = certificates();
    let refused = Client::connect(&bed.env, &address, (wait, Some(&stranger))).await;
    assert_eq!(refused.err().expect("another authority").kind(), Kind::Invalid);
    let plain = Client::connect(&bed.env, &address, (wait, None)).await.expect("TCP connects");
    let asked = plain.ask(|id| dunlin_celeborn::frame::Frame::RpcRequest(id, Default::default()));
    assert!(bed.env.timeout(wait, asked).await.expect("it closes").is_err());
}
