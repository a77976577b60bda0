//! Certificates made on the spot: an authority, the brokers' and the clients' certificates, and
//! those of a stranger whom the brokers do not trust.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};

use crate::java;

/// The common name of the client that may do everything; its Kafka principal is
/// `User:CN=carbon-events-client`.
pub const CLIENT: &str = "carbon-events-client";
/// The common name of the client that may read and not write where access rules are on.
pub const READER: &str = "carbon-events-reader";
/// The password of [`Certs::encrypted_client`] and [`Certs::client_keystore`].
pub const KEY_PASSWORD: &str = "only for tests";

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A certificate and its private key, as paths of PEM files.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: PathBuf,
    /// The key in PKCS #8.
    pub key: PathBuf,
}

/// The files of one cluster; they are removed with it.
#[derive(Debug)]
pub struct Certs {
    dir: PathBuf,
}

impl Certs {
    /// Makes all certificates in `dir`.
    pub(crate) fn make(dir: PathBuf) -> Result<Certs> {
        fs::create_dir_all(&dir)?;
        let certs = Certs { dir };
        let authority = authority("carbon-events test authority")?;
        certs.write("ca.pem", &authority.pem())?;
        certs.write("ca.key.pem", &authority.key().serialize_pem())?;
        let server = certs.issue(&authority, "server", ExtendedKeyUsagePurpose::ServerAuth)?;
        // Kafka's PEM key store is one file: the key followed by its certificate.
        let both = fs::read_to_string(server.key)? + &fs::read_to_string(server.certificate)?;
        certs.write("server-keystore.pem", &both)?;
        certs.issue(&authority, CLIENT, ExtendedKeyUsagePurpose::ClientAuth)?;
        certs.issue(&authority, READER, ExtendedKeyUsagePurpose::ClientAuth)?;

        let stranger = self::authority("an authority that nobody trusts")?;
        certs.write("stranger-ca.pem", &stranger.pem())?;
        certs.issue(&stranger, "stranger", ExtendedKeyUsagePurpose::ClientAuth)?;
        Ok(certs)
    }

    /// The authority that signed the brokers' and the clients' certificates.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// That authority's key, for certificates of a test's own.
    pub fn ca_key(&self) -> PathBuf {
        self.dir.join("ca.key.pem")
    }

    /// The brokers' certificate, for `127.0.0.1` and `localhost`.
    pub fn server(&self) -> Identity {
        self.identity("server")
    }

    pub(crate) fn server_keystore(&self) -> PathBuf {
        self.dir.join("server-keystore.pem")
    }

    /// The client that may do everything.
    pub fn client(&self) -> Identity {
        self.identity(CLIENT)
    }

    /// The client that may read and not write where access rules are on.
    pub fn reader(&self) -> Identity {
        self.identity(READER)
    }

    /// A client whose certificate the brokers do not trust.
    pub fn stranger(&self) -> Identity {
        self.identity("stranger")
    }

    /// An authority that did not sign the brokers' certificate.
    pub fn stranger_ca(&self) -> PathBuf {
        self.dir.join("stranger-ca.pem")
    }

    /// [`client`](Self::client) with its key encrypted under [`KEY_PASSWORD`] (PKCS #8, PBES2 with
    /// AES-256).
    pub fn encrypted_client(&self) -> Result<Identity> {
        let plain = self.client();
        let key = self.dir.join("client-encrypted.key.pem");
        if !key.exists() {
            java::keys("encrypt", &plain, KEY_PASSWORD, &key)?;
        }
        Ok(Identity { key, ..plain })
    }

    /// [`client`](Self::client) as a PKCS #12 key store under [`KEY_PASSWORD`].
    pub fn client_keystore(&self) -> Result<PathBuf> {
        let store = self.dir.join("client.p12");
        if !store.exists() {
            java::keys("pkcs12", &self.client(), KEY_PASSWORD, &store)?;
        }
        Ok(store)
    }

    fn identity(&self, name: &str) -> Identity {
        Identity {
            certificate: self.dir.join(format!("{name}.pem")),
            key: self.dir.join(format!("{name}.key.pem")),
        }
    }

    fn issue(
        &self,
        authority: &Authority,
        name: &str,
        purpose: ExtendedKeyUsagePurpose,
    ) -> Result<Identity> {
        let names = match purpose {
            ExtendedKeyUsagePurpose::ServerAuth => vec!["127.0.0.1".into(), "localhost".into()],
            _ => Vec::new(),
        };
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = common_name(name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, authority)?;
        self.write(&format!("{name}.pem"), &certificate.pem())?;
        self.write(&format!("{name}.key.pem"), &key.serialize_pem())?;
        Ok(self.identity(name))
    }

    fn write(&self, name: &str, pem: &str) -> Result<()> {
        let path = self.dir.join(name);
        write_private(&path, pem).with_context(|| format!("cannot write {}", path.display()))
    }
}

fn authority(name: &str) -> Result<Authority> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

/// Writes a file that only its owner can read.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
