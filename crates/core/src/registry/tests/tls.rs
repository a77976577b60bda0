//! TLS with the registry: whom we trust and how we show who we are.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use openssl::pkey::PKey;
use openssl::ssl::{HandshakeError, SslAcceptor, SslMethod, SslVerifyMode};
use openssl::x509::X509;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::*;

static AUTHORITIES: AtomicU32 = AtomicU32::new(1);

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // A name of its own: with the same one, certificates would look signed by themselves.
        let name = format!("authority {}", AUTHORITIES.fetch_add(1, Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for a name, and its key, as PEM.
    fn issue(&self, name: &str) -> (String, String) {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        (
            params.signed_by(&key, &self.issuer).unwrap().pem(),
            key.serialize_pem(),
        )
    }
}

/// Answers `{"schema": "\"string\""}` to every call; asks for a certificate of `clients` if given.
fn serve(authority: &Authority, name: &str, clients: Option<&Authority>) -> String {
    let (certificate, key) = authority.issue(name);
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).unwrap();
    acceptor
        .set_certificate(&X509::from_pem(certificate.as_bytes()).unwrap())
        .unwrap();
    acceptor
        .set_private_key(&PKey::private_key_from_pem(key.as_bytes()).unwrap())
        .unwrap();
    if let Some(clients) = clients {
        acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        let trusted = X509::from_pem(clients.pem.as_bytes()).unwrap();
        acceptor.cert_store_mut().add_cert(trusted).unwrap();
    }
    let acceptor = Arc::new(acceptor.build());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // Ends with the process, as test servers may.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = match acceptor.accept(stream) {
                Ok(stream) => stream,
                Err(HandshakeError::Failure(mut refused)) => {
                    // Closing before the client's request is read would reset the connection, and
                    // the client might never see the alert.
                    let _ = refused.get_mut().read_to_end(&mut Vec::new());
                    continue;
                }
                Err(_) => continue,
            };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let body = r#"{"schema": "\"string\""}"#;
            let head = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}",
                body.len()
            );
            let _ = stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes());
            let _ = stream.shutdown();
        }
    });
    format!("https://localhost:{port}")
}

fn ask(settings: RegistrySettings) -> Result<Arc<RegisteredSchema>> {
    let settings = settings.retries(0).timeout(Duration::from_secs(10));
    SchemaRegistry::new(&settings)?.schema_blocking(1)
}

#[test]
fn a_registry_of_a_given_authority_is_trusted_and_no_other() {
    let authority = Authority::new();
    let url = serve(&authority, "localhost", None);
    let settings = RegistrySettings::new(url);
    ask(settings.clone().ssl_ca_pem(&authority.pem)).unwrap();
    for untrusting in [
        settings.clone(),
        settings.clone().ssl_ca_pem(&Authority::new().pem),
    ] {
        let error = ask(untrusting).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
        assert!(error.message().contains("certificate"), "{error}");
    }
    ask(settings.reject_unauthorized(false)).unwrap();
}

#[test]
fn a_certificate_of_another_host_is_refused() {
    let authority = Authority::new();
    let url = serve(&authority, "registry.example", None);
    let error = ask(RegistrySettings::new(url).ssl_ca_pem(&authority.pem)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
}

#[test]
fn a_registry_that_asks_for_a_certificate_gets_ours() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let url = serve(&authority, "localhost", Some(&clients));
    let settings = RegistrySettings::new(url).ssl_ca_pem(&authority.pem);
    let (certificate, key) = clients.issue("billing");
    let ours = settings
        .clone()
        .ssl_certificate_pem(&certificate)
        .ssl_key_pem(&key);
    ask(ours).unwrap();

    let error = ask(settings.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");

    let (certificate, key) = Authority::new().issue("billing");
    let error = ask(settings.ssl_certificate_pem(&certificate).ssl_key_pem(&key)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Authentication, "{error}");
}

#[test]
fn certificates_come_from_files_as_well() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, &authority.pem).unwrap();
    let url = serve(&authority, "localhost", None);
    let settings = RegistrySettings::new(url).ssl_ca_location(file.to_string_lossy());
    ask(settings.clone()).unwrap();
    std::fs::write(&file, "not a certificate").unwrap();
    let error = ask(settings).unwrap_err();
    assert_eq!(
        (error.kind(), error.get("setting")),
        (ErrorKind::InvalidConfig, Some("ssl_ca_location"))
    );
}
