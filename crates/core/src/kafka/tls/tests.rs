//! Against a listener that speaks TLS, notes whose certificate it sees, and closes.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use openssl::ssl::{SslAcceptor, SslMethod, SslVerifyMode};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::*;
use crate::kafka::Handle;

const SOON: Duration = Duration::from_secs(20);

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate and its key, as PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = named(name).signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// What the listener shows and trusts.
fn acceptor(broker: &Authority, clients: &Authority) -> SslAcceptor {
    let (certificate, key) = broker.issue("broker");
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    let certificate = X509::from_pem(certificate.as_bytes()).unwrap();
    acceptor.set_certificate(&certificate).unwrap();
    let key = PKey::private_key_from_pem(key.as_bytes()).unwrap();
    acceptor.set_private_key(&key).unwrap();
    acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    let trusted = X509::from_pem(clients.pem.as_bytes()).unwrap();
    acceptor.cert_store_mut().add_cert(trusted).unwrap();
    acceptor.build()
}

struct Listener {
    address: String,
    acceptor: Arc<Mutex<SslAcceptor>>,
    seen: mpsc::Receiver<String>,
}

impl Listener {
    fn start(acceptor: SslAcceptor) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("localhost:{}", listener.local_addr().unwrap().port());
        let acceptor = Arc::new(Mutex::new(acceptor));
        let (tell, seen) = mpsc::channel();
        let current = Arc::clone(&acceptor);
        // Ends with the process, as test servers may.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                let accepted = current.lock().accept(stream);
                let name = accepted.ok().and_then(|stream| {
                    let certificate = stream.ssl().peer_certificate()?;
                    let name = certificate.subject_name().entries().next()?;
                    Some(name.data().to_string().unwrap())
                });
                let _ = tell.send(name.unwrap_or_else(|| "refused".to_owned()));
            }
        });
        Listener {
            address,
            acceptor,
            seen,
        }
    }

    /// Has the client connect again and again until the listener sees that name.
    fn sees(&self, client: &Arc<Handle>, name: &str) {
        let deadline = Instant::now() + SOON;
        let mut seen = Vec::new();
        while seen.last().map(String::as_str) != Some(name) {
            assert!(Instant::now() < deadline, "{name}: {seen:?}");
            let _ = client.reach(Duration::from_millis(20));
            seen.extend(self.seen.try_iter());
        }
    }
}

fn config(listener: &Listener, files: &[(&str, &Path)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &listener.address)
        .set("security.protocol", "SSL")
        .set("group.id", "tests")
        .set("reconnect.backoff.ms", "1")
        .set("reconnect.backoff.max.ms", "10");
    for (name, file) in files {
        config.set(*name, file.to_str().unwrap());
    }
    config
}

#[test]
fn certificates_and_authorities_that_are_replaced_are_used_by_the_next_connection() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let listener = Listener::start(acceptor(&old, &old));
    let folder = tempfile::tempdir().unwrap();
    let [ca, certificate, key] = ["ca", "crt", "key"].map(|name| folder.path().join(name));
    let write = |(one, its_key): &(String, String)| {
        fs::write(&certificate, one).unwrap();
        fs::write(&key, its_key).unwrap();
    };
    fs::write(&ca, &old.pem).unwrap();
    write(&old.issue("first"));
    let config = config(
        &listener,
        &[
            ("ssl.ca.location", &ca),
            ("ssl.certificate.location", &certificate),
            ("ssl.key.location", &key),
        ],
    );
    for client in [Handle::producer(&config), Handle::consumer(&config)] {
        let client = client.unwrap();
        listener.sees(&client, "first");
        let renewed = old.issue("renewed");
        // In the middle of being replaced: the key is not there yet.
        fs::write(&certificate, &renewed.0).unwrap();
        listener.sees(&client, "first");
        write(&renewed);
        listener.sees(&client, "renewed");
        // The brokers' authority and ours are replaced, and the files follow.
        *listener.acceptor.lock() = acceptor(&new, &new);
        listener.sees(&client, "refused");
        fs::write(&ca, &new.pem).unwrap();
        write(&new.issue("of the new authority"));
        listener.sees(&client, "of the new authority");
        // As it began, for the other client.
        *listener.acceptor.lock() = acceptor(&old, &old);
        fs::write(&ca, &old.pem).unwrap();
        write(&old.issue("first"));
        listener.sees(&client, "first");
    }
}

#[test]
fn a_key_store_that_is_replaced_is_used_by_the_next_connection() {
    let authority = Authority::new("authority");
    let listener = Listener::start(acceptor(&authority, &authority));
    let folder = tempfile::tempdir().unwrap();
    let [ca, store] = ["ca", "p12"].map(|name| folder.path().join(name));
    fs::write(&ca, &authority.pem).unwrap();
    let write = |name: &str| {
        let (certificate, key) = authority.issue(name);
        let store_of_it = Pkcs12::builder()
            .cert(&X509::from_pem(certificate.as_bytes()).unwrap())
            .pkey(&PKey::private_key_from_pem(key.as_bytes()).unwrap())
            .build2("secret")
            .unwrap();
        fs::write(&store, store_of_it.to_der().unwrap()).unwrap();
    };
    write("first");
    let files: &[(&str, &Path)] = &[("ssl.ca.location", &ca), ("ssl.keystore.location", &store)];
    let mut config = config(&listener, files);
    config.set("ssl.keystore.password", "secret");
    let client = Handle::producer(&config).unwrap();
    listener.sees(&client, "first");
    write("renewed");
    listener.sees(&client, "renewed");
    fs::write(&store, b"cut off").unwrap();
    listener.sees(&client, "renewed");
}
