//! TLS with certificates on both sides.

use std::sync::Arc;

use dunlin_base::{Kind, Result};
use dunlin_shuffle::{TcpOptions, Tls, Workers};
use dunlin_shuffle_service::{Door, DoorOptions};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::{hasty, hasty_door};
use crate::bed::{me, open, soon, workers_at};
use crate::*;

/// The name in every worker's certificate.
const NAME: &str = "worker.test";

struct Authority {
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("chance");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("a root").der().clone();
        Self { root, issuer: Issuer::new(params, key) }
    }

    fn identity(&self) -> Identity {
        let key = KeyPair::generate().expect("chance");
        let params = CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").der().clone();
        (vec![certificate], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).expect("a root");
        Arc::new(roots)
    }

    /// A door that shows a certificate of this authority and asks for one of `clients`.
    fn door(&self, clients: &Self) -> Arc<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(clients.roots(), Arc::clone(&provider));
        let verifier = verifier.build().expect("roots");
        let (chain, key) = self.identity();
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .expect("known")
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key);
        Arc::new(config.expect("the key fits"))
    }

    /// A client that trusts this authority and shows `identity`.
    fn client(&self, identity: Option<Identity>) -> Option<Tls> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .expect("known")
            .with_root_certificates(self.roots());
        let config = match identity {
            Some((chain, key)) => config.with_client_auth_cert(chain, key).expect("the key fits"),
            None => config.with_no_client_auth(),
        };
        Some(Tls { config: Arc::new(config), name: Some(NAME.to_owned()) })
    }
}

async fn door(tls: Option<Arc<ServerConfig>>) -> Door {
    open(in_memory(64 << 20), DoorOptions { tls, ..hasty_door() }).await
}

/// Large and small blocks there and back.
async fn try_it(door: &Door, tls: Option<Tls>) -> Result<()> {
    let options = TcpOptions { tls, ..hasty() };
    let workers = workers_at(&door.address().to_string(), options);
    let api = workers.connect(me()).expect("known");
    let map = attempt(0, 0);
    let lengths = (0..).zip([0, 10, 3_000_000, 70_000]);
    let all: Vec<_> = lengths.map(|(n, length)| block(1, map, n, length)).collect();
    soon("a push", api.push(all.clone())).await?;
    let blocks = soon("a read", read(&api, 1, Some(&[map]))).await?;
    assert!(same(&blocks, &all));
    Ok(())
}

#[tokio::test]
async fn certificates_of_one_authority_on_both_sides_are_let_in() {
    let ours = Authority::new();
    let door = door(Some(ours.door(&ours))).await;
    try_it(&door, ours.client(Some(ours.identity()))).await.expect("let in");
    assert_eq!(door.stats().not_greeted, 0);
}

#[tokio::test]
async fn all_others_are_refused_before_they_can_ask() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let door_of_ours = door(Some(ours.door(&ours))).await;
    let mut wrong_name = ours.client(Some(ours.identity()));
    if let Some(tls) = &mut wrong_name {
        tls.name = Some("elsewhere.test".to_owned());
    }
    let clients = [
        ("no certificate", ours.client(None)),
        ("a foreign certificate", ours.client(Some(theirs.identity()))),
        ("does not trust the door", theirs.client(Some(ours.identity()))),
        ("means another name", wrong_name),
    ];
    for (what, tls) in clients {
        let refused = error(try_it(&door_of_ours, tls).await);
        assert_eq!(refused.kind(), Kind::Invalid, "{what}: {refused}");
    }
    // Without TLS on one side, neither understands the other.
    error(try_it(&door_of_ours, None).await);
    assert_eq!((door_of_ours.stats().asked, door_of_ours.stats().not_greeted), (0, 5));
    let plain = door(None).await;
    error(try_it(&plain, ours.client(Some(ours.identity()))).await);
    assert_eq!(plain.stats().asked, 0);
}

#[tokio::test]
async fn who_comes_from_this_machine_is_known_without() {
    let ours = Authority::new();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("door");
    let tls = Some(ours.door(&ours));
    let options = DoorOptions { tls, on_machine: Some(path.clone()), ..hasty_door() };
    let door = open(in_memory(1 << 20), options).await;
    let (address, tls) = (door.address().to_string(), ours.client(None));
    let workers = dunlin_shuffle::TcpWorkers::with_machine(
        Env::seeded(2),
        TcpOptions { tls, ..hasty() },
        move |_| Some(address.clone()),
        move |_| Some(path.clone()),
    );
    let api = workers.connect(me()).expect("known");
    soon("a push", api.push(vec![block(1, attempt(0, 0), 0, 10)])).await.expect("let in");
    assert_eq!((door.stats().on_machine, door.stats().not_greeted), (1, 0));
}
